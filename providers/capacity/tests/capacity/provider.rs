//! The conformance suite on the process provider with a small real program, and on the fake.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use easyenclave_capacity::conformance::{Stand, conformance, request};
use easyenclave_capacity::fake::FakeProvider;
use easyenclave_capacity::process::ProcessProvider;
use easyenclave_capacity::{AgentProgram, ProvideError, Provider};
use easyenclave_processes::{Process, labels, list};
use easyenclave_schemas::OrderId;
use easyenclave_schemas::wire::{AgentConfig, PlatformConfig};
use tokio::time::{Instant, sleep};

/// An agent with a workload that knows nothing of it, and one that clears up when it is asked to end. It is `up` when its
/// workload has its own environment: until then that looks like a second agent.
const KIND: &str =
    "rm -f own; env -u EASYENCLAVE_ROLE EASYENCLAVE_GENERATION=1 sh -c 'touch own; exec sleep 300' & workload=$!
    trap 'kill $workload; exit 0' TERM; until [ -e own ]; do sleep 0.01; done; echo up >> up; wait";

/// One that does not, and whose workload is in a session of its own.
const DEAF: &str =
    "rm -f own; env -u EASYENCLAVE_ROLE EASYENCLAVE_GENERATION=1 setsid sh -c 'touch own; exec sleep 300' &
    trap '' TERM; until [ -e own ]; do sleep 0.01; done; echo up >> up; while :; do sleep 300; done";

/// One that ends at once.
const BROKEN: &str =
    "echo starting; echo 'refused with EE-ATT-031: the token is wrong' >&2; exit 3";

pub(crate) fn program(script: &str) -> AgentProgram {
    AgentProgram {
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into(), "agent".into()],
        environment: vec![(
            "PATH".into(),
            std::env::var_os("PATH").expect("a search path"),
        )],
        trust_authority: None,
    }
}

pub(crate) fn open(folder: &Path, script: &str) -> Result<ProcessProvider, ProvideError> {
    let platform = PlatformConfig::Simulated {
        dir: folder.join("guest"),
        image: None,
    };
    ProcessProvider::open(folder, program(script), platform)
}

/// The fleet label that a provider in this folder gives, without the fleet's name.
fn ours(folder: &Path, process: &Process) -> bool {
    // A provider that has not opened its folder yet has no process either.
    let Ok(units) = folder.join("units").canonicalize() else {
        return false;
    };
    let mark = easyenclave_schemas::Digest::of(units.as_os_str().as_encoded_bytes()).short(12);
    process.label(labels::FLEET) == Some(format!("demo@{mark}").as_str())
}

/// Every process of a provider in this folder.
pub(crate) fn processes(folder: &Path) -> Vec<Process> {
    let mut found = list().expect("listed");
    found.retain(|process| ours(folder, process));
    found
}

pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    // Longer than anything here takes on a busy machine.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A folder of units, seen without its provider.
pub(crate) struct Ground(pub(crate) tempfile::TempDir);

impl Ground {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn unit(&self, order: &OrderId) -> PathBuf {
        self.path().join("units").join(order.as_str())
    }

    fn aside(&self) -> PathBuf {
        self.path().join("aside")
    }

    pub(crate) fn of(&self, order: &OrderId) -> Vec<Process> {
        let mut found = processes(self.path());
        found.retain(|process| process.label(labels::ORDER) == Some(order.as_str()));
        found
    }

    pub(crate) fn kill(&self, order: &OrderId) {
        self.signal(order, "-KILL");
    }

    /// Sends a signal to the agent of a unit.
    pub(crate) fn signal(&self, order: &OrderId, signal: &str) {
        let agents = self
            .of(order)
            .into_iter()
            .filter(|process| process.label(labels::ROLE) == Some(labels::AGENT));
        for agent in agents {
            let pid = agent.id().to_string();
            let killed = Command::new("kill").args([signal, &pid]).status();
            assert!(killed.expect("kill").success());
        }
    }

    /// The folder of units is put aside, and a file is in its place.
    pub(crate) fn blind(&self) {
        let units = self.path().join("units");
        std::fs::rename(&units, self.aside()).expect("put aside");
        std::fs::write(units, "no folder").expect("written");
    }

    pub(crate) fn see(&self) {
        let units = self.path().join("units");
        std::fs::remove_file(&units).expect("removed");
        std::fs::rename(self.aside(), units).expect("put back");
    }

    pub(crate) fn things(&self, order: &OrderId) -> usize {
        let folders = [self.unit(order), self.aside().join(order.as_str())];
        self.of(order).len() + folders.iter().filter(|folder| folder.exists()).count()
    }
}

struct ProcessStand {
    ground: Ground,
    provider: Option<Arc<ProcessProvider>>,
}

impl ProcessStand {
    fn new() -> Self {
        let ground = Ground::new();
        let provider = Some(Arc::new(open(ground.path(), KIND).expect("opened")));
        Self { ground, provider }
    }

    fn unit(&self, order: &OrderId) -> PathBuf {
        self.ground.unit(order)
    }

    fn of(&self, order: &OrderId) -> Vec<Process> {
        self.ground.of(order)
    }
}

#[async_trait]
impl Stand for ProcessStand {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(self.provider.as_ref().expect("open")) as Arc<dyn Provider>
    }

    async fn restart(&mut self) {
        self.provider = None;
        let again = open(self.ground.path(), KIND).expect("opened again");
        self.provider = Some(Arc::new(again));
    }

    async fn crash(&self, order: &OrderId) {
        // The script writes its line when the workload runs and the trap is set.
        until("the agent is up", || self.unit(order).join("up").exists()).await;
        self.ground.kill(order);
    }

    async fn blind(&mut self) {
        self.ground.blind();
    }

    async fn see(&mut self) {
        self.ground.see();
    }

    async fn things(&self, order: &OrderId) -> usize {
        self.ground.things(order)
    }
}

struct FakeStand(Arc<FakeProvider>);

#[async_trait]
impl Stand for FakeStand {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.0) as Arc<dyn Provider>
    }

    async fn restart(&mut self) {}

    async fn crash(&self, order: &OrderId) {
        self.0.crash(order, "");
    }

    async fn blind(&mut self) {
        self.0.set_blind(true);
    }

    async fn see(&mut self) {
        self.0.set_blind(false);
    }

    async fn things(&self, order: &OrderId) -> usize {
        usize::from(self.0.request(order).is_some())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_provider_conforms() {
    conformance(ProcessStand::new).await;
}

#[tokio::test]
async fn the_fake_conforms() {
    conformance(|| FakeStand(Arc::default())).await;
}

#[tokio::test]
async fn an_agent_is_given_its_configuration_and_nothing_of_the_workers() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "env > env; cp \"$2\" seen; echo up > up; exec sleep 300";
    let provider = open(folder.path(), script).expect("opened");
    provider.ensure(&request("a", 1)).await.expect("ensured");
    let unit = folder.path().join("units/a");
    until("it is up", || unit.join("up").exists()).await;
    let env = std::fs::read_to_string(unit.join("env")).expect("written");
    let mut names: Vec<_> = env
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    names.retain(|name| !["_", "PWD", "SHLVL", "OLDPWD"].contains(name));
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "EASYENCLAVE_FLEET",
            "EASYENCLAVE_ORDER",
            "EASYENCLAVE_ROLE",
            "PATH"
        ]
    );
    let config = std::fs::read(unit.join("seen")).expect("copied");
    let config: AgentConfig = serde_json::from_slice(&config).expect("a configuration");
    assert_eq!(config.bootstrap_token.reveal(), "token");
    assert_eq!(
        config.data_dir,
        unit.canonicalize().expect("there").join("state")
    );
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: PathBuf| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(
        (mode(unit.join("config.json")), mode(unit.clone())),
        (0o600, 0o700)
    );
    provider
        .remove(&request("a", 1).order)
        .await
        .expect("removed");
    assert!(processes(folder.path()).is_empty() && !unit.exists());
}

#[tokio::test]
async fn an_agent_that_does_not_listen_is_killed_with_its_workload() {
    let folder = tempfile::tempdir().expect("a folder");
    let provider = open(folder.path(), DEAF).expect("opened");
    provider.ensure(&request("a", 1)).await.expect("ensured");
    until("it is up", || folder.path().join("units/a/up").exists()).await;
    until("both run", || processes(folder.path()).len() >= 2).await;
    provider
        .remove(&request("a", 1).order)
        .await
        .expect("removed");
    assert_eq!(processes(folder.path()), []);
}

#[tokio::test]
async fn an_agent_that_ends_at_once_leaves_its_last_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let provider = open(folder.path(), BROKEN).expect("opened");
    let order = request("a", 1).order;
    assert_eq!(provider.last_words(&order).await.expect("no words"), "");
    provider.ensure(&request("a", 1)).await.expect("ensured");
    until("it has ended", || processes(folder.path()).is_empty()).await;
    let words = provider.last_words(&order).await.expect("words");
    assert_eq!(words, "refused with EE-ATT-031: the token is wrong");
    let units = provider.list().await.expect("listed");
    assert!(units.len() == 1 && !units[0].alive, "{units:?}");
    provider.remove(&order).await.expect("removed");
}

#[tokio::test]
async fn the_log_of_an_agent_that_talks_for_months_stays_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "yes 'a line of the log' | head -c 4000000; echo up >> up; exec sleep 300";
    let provider = open(folder.path(), script).expect("opened");
    let order = request("a", 1).order;
    provider.ensure(&request("a", 1)).await.expect("ensured");
    let unit = folder.path().join("units/a");
    until("it has talked", || unit.join("up").exists()).await;
    provider.list().await.expect("listed");
    let size = |name: &str| std::fs::metadata(unit.join(name)).expect("there").len();
    assert_eq!((size("agent.log"), size("agent.log.1")), (0, 1024 * 1024));
    let words = provider.last_words(&order).await.expect("words");
    assert!("a line of the log".starts_with(&words), "{words}");
    provider.remove(&order).await.expect("removed");
}

#[tokio::test]
async fn a_folder_without_a_process_is_a_dead_unit() {
    let folder = tempfile::tempdir().expect("a folder");
    let provider = open(folder.path(), KIND).expect("opened");
    std::fs::create_dir(folder.path().join("units/a")).expect("made");
    std::fs::create_dir(folder.path().join("units/NOT A NAME")).expect("made");
    let units = provider.list().await.expect("listed");
    assert_eq!((units.len(), units[0].alive), (1, false));
    provider
        .ensure(&request("a", 1))
        .await
        .expect("the crashed launch goes on");
    assert!(provider.list().await.expect("listed")[0].alive);
    provider
        .remove(&request("a", 1).order)
        .await
        .expect("removed");
    assert_eq!(provider.list().await.expect("listed"), []);
}

/// A claim that says nothing is not the newest: an agent of an older one has a token that is worth nothing.
#[tokio::test]
async fn a_living_unit_whose_claim_says_nothing_is_made_anew() {
    let stand = ProcessStand::new();
    let order = request("a", 1).order;
    let claim = stand.unit(&order).join("claim");
    let provider = stand.provider();
    let agents = || {
        let mut agents = stand.of(&order);
        agents.retain(|process| process.label(labels::ROLE) == Some(labels::AGENT));
        agents
    };
    provider.ensure(&request("a", 1)).await.expect("ensured");
    let damages: [&dyn Fn(); 2] = [&|| std::fs::remove_file(&claim).expect("removed"), &|| {
        std::fs::write(&claim, b"\xff\0").expect("written")
    }];
    for damage in damages {
        until("the agent is up", || stand.unit(&order).join("up").exists()).await;
        let before = agents();
        damage();
        provider.ensure(&request("a", 1)).await.expect("made anew");
        assert_ne!(agents(), before);
        let units = provider.list().await.expect("listed");
        assert_eq!(
            (units.len(), units[0].alive, units[0].fence),
            (1, true, Some(3))
        );
    }
    provider.remove(&order).await.expect("removed");
    assert_eq!(stand.things(&order).await, 0);
}

/// An error of the system says nothing about the claim, so nothing is ended for it.
#[tokio::test]
async fn a_living_unit_whose_claim_cannot_be_read_just_now_is_left_alone() {
    let stand = ProcessStand::new();
    let order = request("a", 1).order;
    let (claim, aside) = (
        stand.unit(&order).join("claim"),
        stand.unit(&order).join("aside"),
    );
    let provider = stand.provider();
    provider.ensure(&request("a", 1)).await.expect("ensured");
    until("the agent is up", || stand.unit(&order).join("up").exists()).await;
    let ids = || -> Vec<_> { stand.of(&order).iter().map(Process::id).collect() };
    let before = ids();
    std::fs::rename(&claim, &aside).expect("moved");
    std::fs::create_dir(&claim).expect("it is there, and reading it is an error");
    let error = provider.ensure(&request("a", 1)).await.expect_err("unread");
    assert!(matches!(error, ProvideError::Retry { .. }), "{error:?}");
    std::fs::remove_dir(&claim).expect("removed");
    std::fs::rename(&aside, &claim).expect("moved back");
    provider
        .ensure(&request("a", 1))
        .await
        .expect("it is there");
    assert_eq!(ids(), before);
    provider.remove(&order).await.expect("removed");
}

#[tokio::test]
async fn a_program_that_is_missing_needs_a_person_and_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let platform = PlatformConfig::Simulated {
        dir: folder.path().into(),
        image: None,
    };
    let missing = AgentProgram {
        program: "/nowhere/agent".into(),
        ..program("")
    };
    let provider = ProcessProvider::open(folder.path(), missing, platform).expect("opened");
    let error = provider
        .ensure(&request("a", 1))
        .await
        .expect_err("missing");
    assert!(
        matches!(error, ProvideError::NeedsPerson { .. }),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "agent program /nowhere/agent");
    provider
        .remove(&request("a", 1).order)
        .await
        .expect("removed");
}

#[tokio::test]
async fn two_providers_do_not_share_a_folder_and_two_folders_share_nothing() {
    let (one, two) = (
        tempfile::tempdir().expect("one"),
        tempfile::tempdir().expect("two"),
    );
    let first = open(one.path(), KIND).expect("opened");
    let error = open(one.path(), KIND).expect_err("in use");
    assert!(
        matches!(error, ProvideError::NeedsPerson { .. }),
        "{error:?}"
    );
    let second = open(two.path(), KIND).expect("opened");
    first.ensure(&request("a", 1)).await.expect("ensured");
    second.ensure(&request("a", 1)).await.expect("ensured");
    first.remove(&request("a", 1).order).await.expect("removed");
    assert_eq!(first.list().await.expect("listed"), []);
    assert!(
        second.list().await.expect("listed")[0].alive,
        "another fleet's unit of that name"
    );
    second
        .remove(&request("a", 1).order)
        .await
        .expect("removed");
    assert!(processes(one.path()).is_empty() && processes(two.path()).is_empty());
}
