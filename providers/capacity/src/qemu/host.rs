//! What this host can do for machines: looked at once, when the provider is opened. What only seems to be there does
//! not count: a machine that does not boot is worse than a slow one.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// How long QEMU may take to say what it has.
const ANSWER: Duration = Duration::from_secs(20);

/// How to get what is missing.
const ABSENT: &str = "it is not there; Debian has it in a package: `apt-get install --no-install-recommends qemu-system-x86`";

/// What this host can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Plain machines by KVM.
    pub(super) kvm: bool,
    /// Trust domains of Intel TDX.
    pub(super) tdx: bool,
}

/// Asks QEMU and the kernel.
///
/// # Errors
/// When QEMU cannot be run.
pub(super) async fn abilities(program: &Path) -> io::Result<Abilities> {
    let root = Path::new("/");
    let knows_tdx = objects(program).await?.contains("tdx-guest");
    Ok(Abilities {
        kvm: has_kvm(root),
        tdx: knows_tdx && has_tdx(root),
    })
}

/// The names of the objects that QEMU can make.
async fn objects(program: &Path) -> io::Result<String> {
    let mut command = Command::new(program);
    command
        .args(["-machine", "none", "-object", "help"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not say what it has");
    let output = timeout(ANSWER, command.output()).await.map_err(late)?;
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(error.kind(), ABSENT),
        _ => error,
    })?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(io::Error::other(format!(
            "`-object help` ended with {}",
            output.status
        ))),
    }
}

/// The device alone proves nothing: there are kernels without hardware behind it, in which a usual kernel does not
/// boot. The module for the processor, and the processor's own word, have to be there too.
fn has_kvm(root: &Path) -> bool {
    let device = root.join("dev/kvm");
    let opens = OpenOptions::new().read(true).write(true).open(device);
    let module = ["kvm_intel", "kvm_amd"]
        .iter()
        .any(|name| root.join("sys/module").join(name).is_dir());
    let text = fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    let flags = text.lines().find(|line| line.starts_with("flags"));
    let hardware = flags.is_some_and(|flags| {
        let mut words = flags.split_whitespace();
        words.any(|word| ["vmx", "svm"].contains(&word))
    });
    opens.is_ok() && module && hardware
}

fn has_tdx(root: &Path) -> bool {
    let parameter = root.join("sys/module/kvm_intel/parameters/tdx");
    let text = fs::read_to_string(parameter).unwrap_or_default();
    has_kvm(root) && ["Y", "1"].contains(&text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with these files.
    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        root
    }

    const DEVICE: (&str, &str) = ("dev/kvm", "");
    const FLAGS: (&str, &str) = ("proc/cpuinfo", "processor : 0\nflags : fpu vmx sse\n");
    const INTEL: (&str, &str) = ("sys/module/kvm_intel/parameters/tdx", "N\n");

    #[test]
    fn kvm_takes_a_device_a_module_and_the_hardware() {
        assert!(has_kvm(host(&[DEVICE, FLAGS, INTEL]).path()));
        assert!(!has_kvm(host(&[FLAGS, INTEL]).path()), "no device");
        let other = ("sys/module/kvm_pvm/version", "");
        assert!(!has_kvm(host(&[DEVICE, FLAGS, other]).path()), "no module");
        let flags = ("proc/cpuinfo", "flags : fpu sse\nbugs : vmx\n");
        assert!(
            !has_kvm(host(&[DEVICE, flags, INTEL]).path()),
            "no hardware"
        );
        assert!(!has_kvm(host(&[]).path()));
    }

    #[test]
    fn tdx_takes_a_kernel_that_has_switched_it_on() {
        assert!(!has_tdx(host(&[DEVICE, FLAGS, INTEL]).path()));
        let on = ("sys/module/kvm_intel/parameters/tdx", "Y\n");
        assert!(has_tdx(host(&[DEVICE, FLAGS, on]).path()));
        assert!(!has_tdx(host(&[FLAGS, on]).path()), "no device");
    }

    #[tokio::test]
    async fn a_program_that_is_missing_or_another_is_an_error() {
        let error = abilities(Path::new("/nowhere/qemu")).await;
        let error = error.expect_err("missing").to_string();
        assert!(error.contains("apt-get install"), "{error}");
        assert!(abilities(Path::new("false")).await.is_err());
    }
}
