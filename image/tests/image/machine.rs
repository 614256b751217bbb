//! A machine under QEMU, until it ends by itself.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use easyenclave_image::Manifest;
use easyenclave_tests::given;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

/// A machine that never ends is ended. One that boots and ends takes four seconds by itself.
const LIMIT: Duration = Duration::from_secs(90);

/// What a machine is started with.
pub(crate) struct Machine {
    image: PathBuf,
    manifest: Manifest,
    /// Names and texts under `opt/easyenclave`.
    pub(crate) given: Vec<(String, String)>,
    /// A raw disk.
    pub(crate) disk: Option<PathBuf>,
    /// A sector of the disk that cannot be read.
    pub(crate) broken_sector: Option<u32>,
}

impl Machine {
    /// A machine of this image.
    pub(crate) fn of(image: PathBuf, manifest: Manifest) -> Self {
        Self {
            image,
            manifest,
            given: Vec::new(),
            disk: None,
            broken_sector: None,
        }
    }

    /// Gives it a text under a name.
    pub(crate) fn give(&mut self, name: &str, text: &str) {
        self.given.push((name.into(), text.into()));
    }

    /// Boots it, waits for its end, and gives its console. None where there is no QEMU.
    pub(crate) async fn boot(&self) -> Option<String> {
        let start = Instant::now();
        let files = tempfile::tempdir().expect("a folder");
        let mut qemu = self.command(files.path());
        let ended = timeout(LIMIT, qemu.output())
            .await
            .expect("the machine has not ended");
        let output = given("QEMU", "Debian: apt-get install qemu-system-x86", ended)?;
        println!(
            "the machine has ended after {:.1} s",
            start.elapsed().as_secs_f64()
        );
        assert!(output.status.success(), "{output:?}");
        let console = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        Some(console)
    }

    /// Without KVM, which not every machine has that calls itself able to.
    fn command(&self, files: &std::path::Path) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ]);
        qemu.args(["-machine", "q35", "-accel", "tcg,tb-size=64", "-cpu", "max"]);
        qemu.args(["-smp", "1", "-m", "384", "-serial", "stdio"]);
        qemu.arg("-kernel")
            .arg(self.manifest.kernel_in(&self.image));
        qemu.arg("-initrd")
            .arg(self.manifest.initramfs_in(&self.image));
        qemu.args(["-append", &self.manifest.command_line]);
        qemu.args([
            "-netdev",
            "user,id=n0",
            "-device",
            "virtio-net-pci,netdev=n0,romfile=",
        ]);
        for (index, (name, text)) in self.given.iter().enumerate() {
            let file = files.join(index.to_string());
            std::fs::write(&file, text).expect("written");
            let given = format!("name=opt/easyenclave/{name},file={}", file.display());
            qemu.args(["-fw_cfg", &given]);
        }
        if let Some(disk) = &self.disk {
            let file = format!("driver=file,node-name=f0,filename={}", disk.display());
            let mut faults = "driver=blkdebug,node-name=d0,image=f0".to_owned();
            if let Some(sector) = self.broken_sector {
                let fault = format!("event=none,iotype=read,sector={sector},errno=5");
                let fault = fault
                    .split(',')
                    .map(|part| format!(",inject-error.0.{part}"));
                faults.extend(fault);
            }
            qemu.args(["-blockdev", &file, "-blockdev", &faults]);
            qemu.args(["-device", "virtio-blk-pci,drive=d0"]);
        }
        qemu.stdin(Stdio::null()).kill_on_drop(true);
        qemu
    }
}
