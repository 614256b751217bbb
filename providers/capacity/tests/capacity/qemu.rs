//! The conformance suite on the QEMU provider with real machines, and what is QEMU's own.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use easyenclave_capacity::conformance::{Stand, conformance, request};
use easyenclave_capacity::qemu::{Image, Network, QemuProvider, Setup};
use easyenclave_capacity::{LaunchRequest, ProvideError, Provider};
use easyenclave_schemas::documents::{Accelerator, TdxUse};
use easyenclave_schemas::wire::{AgentConfig, Machine, PlatformConfig, QemuMachine};
use easyenclave_schemas::{Digest, OrderId};
use easyenclave_tests::program_given;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::kernel::{Then, kernel};
use crate::provider::{Ground, processes, until};

const QEMU: &str = "qemu-system-x86_64";

/// Whether this machine lacks QEMU, so that these tests cannot be.
pub(crate) fn skipped() -> bool {
    program_given(QEMU, "Debian: apt-get install qemu-system-x86").is_none()
}

/// How machines with this kernel are made.
fn setup(folder: &Path, kernel: &[u8]) -> Setup {
    let image = folder.join("image");
    let platform = folder.join("platform");
    std::fs::create_dir_all(&image).expect("made");
    std::fs::create_dir_all(&platform).expect("made");
    std::fs::write(platform.join("pck.key"), "a key").expect("written");
    std::fs::write(image.join("kernel"), kernel).expect("written");
    std::fs::write(image.join("archive"), "nothing").expect("written");
    Setup {
        program: QEMU.into(),
        image: Image {
            digest: Digest::of(kernel),
            kernel: image.join("kernel"),
            initramfs: image.join("archive"),
            command_line: "console=ttyS0".into(),
        },
        platform,
        firmware: "/nowhere/firmware".into(),
        network: Network::User(Ipv4Addr::LOCALHOST),
    }
}

fn machine() -> QemuMachine {
    QemuMachine {
        vcpus: 1,
        memory_mib: 128,
        data_gib: 0,
        accelerator: Accelerator::Tcg,
        tdx: TdxUse::Never,
        image: None,
    }
}

/// A folder in which machines run until this is dropped.
pub(crate) struct QemuStand {
    ground: Ground,
    kernel: Vec<u8>,
    network: Network,
    provider: Option<Arc<QemuProvider>>,
}

impl QemuStand {
    /// For kernels that write this and then do that.
    fn new(text: &str, then: Then) -> Self {
        Self::on(Network::User(Ipv4Addr::LOCALHOST), text, then)
    }

    /// Connected so.
    pub(crate) fn on(network: Network, text: &str, then: Then) -> Self {
        let mut stand = Self {
            ground: Ground::new(),
            kernel: kernel(text, then),
            network,
            provider: None,
        };
        stand.open();
        stand
    }

    fn open(&mut self) {
        // The folder is one provider's at a time.
        self.provider = None;
        let mut setup = setup(self.ground.path(), &self.kernel);
        setup.network = self.network.clone();
        let opening = QemuProvider::open(self.ground.path(), setup);
        let opened = block_in_place(|| Handle::current().block_on(opening));
        self.provider = Some(Arc::new(opened.expect("opened")));
    }

    pub(crate) fn request(
        &self,
        name: &str,
        change: impl FnOnce(&mut QemuMachine),
    ) -> LaunchRequest {
        let mut request = request(name, 4);
        let mut machine = machine();
        change(&mut machine);
        request.spec.machine = Some(Machine::Qemu(machine));
        request
    }

    fn unit(&self, order: &OrderId) -> PathBuf {
        self.ground.unit(order)
    }
}

impl Drop for QemuStand {
    fn drop(&mut self) {
        for process in processes(self.ground.path()) {
            let pid = process.id().to_string();
            let _ = std::process::Command::new("kill")
                .args(["-9", &pid])
                .status();
        }
    }
}

#[async_trait]
impl Stand for QemuStand {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(self.provider.as_ref().expect("open")) as Arc<dyn Provider>
    }

    async fn restart(&mut self) {
        self.open();
    }

    async fn crash(&self, order: &OrderId) {
        self.ground.kill(order);
    }

    async fn blind(&mut self) {
        self.ground.blind();
    }

    async fn see(&mut self) {
        self.ground.see();
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn machine(&self) -> Option<Machine> {
        Some(Machine::Qemu(machine()))
    }

    async fn things(&self, order: &OrderId) -> usize {
        self.ground.things(order)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_qemu_provider_conforms() {
    if !skipped() {
        conformance(|| QemuStand::new("up\n", Then::Wait)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_ends_leaves_its_last_words_and_is_dead() {
    if skipped() {
        return;
    }
    let stand = QemuStand::new("starting\nthe agent ended with 3\n", Then::End);
    let request = stand.request("a", |_| ());
    let provider = stand.provider();
    // It may end before it was asked how it is, which says the same.
    if let Err(error) = provider.ensure(&request).await {
        assert!(matches!(error, ProvideError::Retry { .. }), "{error:?}");
    }
    until("it has ended", || processes(stand.ground.path()).is_empty()).await;
    let words = provider.last_words(&request.order).await.expect("words");
    assert_eq!(words, "the agent ended with 3");
    let console = provider.console(&request.order).await.expect("a console");
    assert!(console.contains("starting\nthe agent ended"), "{console}");
    let units = provider.list().await.expect("listed");
    assert!(units.len() == 1 && !units[0].alive, "{units:?}");
    provider.remove(&request.order).await.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_that_never_stops_stays_bounded() {
    if skipped() {
        return;
    }
    let stand = QemuStand::new("a line of a flood of lines\n", Then::Repeat);
    let request = stand.request("a", |_| ());
    let provider = stand.provider();
    provider.ensure(&request).await.expect("ensured");
    let length = |name: &str| {
        let metadata = std::fs::metadata(stand.unit(&request.order).join(name));
        metadata.map_or(0, |metadata| metadata.len())
    };
    for _ in 0..2 {
        until("it is too long", || length("agent.log") > 1024 * 1024).await;
        let before = length("agent.log");
        provider.list().await.expect("listed");
        assert!(length("agent.log") < before, "it was cut");
        assert_eq!(length("agent.log.1"), 1024 * 1024);
    }
    let log = std::fs::read(stand.unit(&request.order).join("agent.log")).expect("read");
    assert!(
        !log.contains(&0),
        "it is written at its end, and has no hole"
    );
    let console = provider.console(&request.order).await.expect("a console");
    assert!(console.len() <= 4096, "{}", console.len());
    provider.remove(&request.order).await.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_given_its_configuration_and_nothing_of_the_workers() {
    if skipped() {
        return;
    }
    let stand = QemuStand::new("up\n", Then::Wait);
    let request = stand.request("a", |machine| machine.data_gib = 2);
    let provider = stand.provider();
    provider.ensure(&request).await.expect("ensured");
    let unit = stand.unit(&request.order);
    let config = std::fs::read(unit.join("config.json")).expect("read");
    let config: AgentConfig = serde_json::from_slice(&config).expect("a configuration");
    assert_eq!(config.reconciler_url, "http://10.0.2.2:9");
    let label = format!("image-{}-tiny", Digest::of(&stand.kernel));
    let dir = "/run/easyenclave/platform".into();
    let image = Some(label);
    assert_eq!(config.platform, PlatformConfig::Simulated { dir, image });
    assert!(config.trust_authority.is_none());
    let [process] = &stand.ground.of(&request.order)[..] else {
        panic!("one process")
    };
    let environ = std::fs::read(format!("/proc/{}/environ", process.id())).expect("read");
    let environ = String::from_utf8(environ).expect("text");
    let mut names: Vec<_> = environ
        .split('\0')
        .filter_map(|entry| Some(entry.split_once('=')?.0))
        .collect();
    names.sort_unstable();
    names.retain(|name| *name != "EASYENCLAVE_LOG");
    let labels = [
        "EASYENCLAVE_FLEET",
        "EASYENCLAVE_ORDER",
        "EASYENCLAVE_ROLE",
        "PATH",
    ];
    assert_eq!(names, labels);
    // No secret is on a command line, which every user of the host can read.
    let line = std::fs::read(format!("/proc/{}/cmdline", process.id())).expect("read");
    assert!(!String::from_utf8_lossy(&line).contains("token"));
    let disk = std::fs::metadata(unit.join("data.raw")).expect("a disk");
    assert_eq!(disk.len(), 2 << 30);
    provider.remove(&request.order).await.expect("removed");
    assert_eq!(stand.things(&request.order).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_qemu_does_not_start_says_why() {
    if skipped() {
        return;
    }
    let stand = QemuStand::new("up\n", Then::Wait);
    std::fs::write(stand.ground.path().join("image/kernel"), "no kernel").expect("written");
    let request = stand.request("a", |_| ());
    let error = stand
        .provider()
        .ensure(&request)
        .await
        .expect_err("no kernel");
    let ProvideError::Retry { what, source } = &error else {
        panic!("{error:?}")
    };
    assert!(what.starts_with("QEMU ended with"), "{what}");
    assert!(source.to_string().contains("kernel"), "{source}");
    stand
        .provider()
        .remove(&request.order)
        .await
        .expect("removed");
}

/// A machine that hangs answers nobody, and neither does one whose socket somebody else holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_answer_is_listed_and_removed_all_the_same() {
    if skipped() {
        return;
    }
    let stand = QemuStand::new("up\n", Then::Wait);
    let request = stand.request("a", |_| ());
    let provider = stand.provider();
    provider.ensure(&request).await.expect("ensured");
    stand.ground.signal(&request.order, "-STOP");
    let units = provider.list().await.expect("listed");
    assert!(units.len() == 1 && units[0].alive, "{units:?}");
    provider.remove(&request.order).await.expect("removed");
    assert_eq!(stand.things(&request.order).await, 0);
}

/// What must not be made here is refused before anything of it is there, however often it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_suit_this_host_is_refused_and_leaves_nothing() {
    if skipped() {
        return;
    }
    let stand = QemuStand::new("up\n", Then::Wait);
    let other = stand.request("a", |machine| machine.image = Some(Digest::of(b"other")));
    let mut nameless = request("b", 4);
    nameless.spec.machine = None;
    let mut intel = stand.request("c", |machine| machine.tdx = TdxUse::Never);
    intel.spec.simulated = false;
    for (request, reason) in [
        (other, "the order wants image"),
        (nameless, "the order names no machine of QEMU"),
        (intel, "a plain machine is made under a simulated root only"),
    ] {
        let error = stand.provider().ensure(&request).await.expect_err(reason);
        let ProvideError::NeedsPerson { source, .. } = &error else {
            panic!("{error:?}")
        };
        assert!(source.to_string().starts_with(reason), "{source}");
        assert_eq!(stand.things(&request.order).await, 0);
    }
}

#[tokio::test]
async fn a_program_that_is_missing_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut setup = setup(folder.path(), b"kernel");
    setup.program = "/nowhere/qemu".into();
    let error = QemuProvider::open(folder.path(), setup)
        .await
        .expect_err("missing");
    assert_eq!(error.to_string(), "QEMU's program /nowhere/qemu");
}
