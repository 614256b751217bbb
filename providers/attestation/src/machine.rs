//! Where the kernel of a TDX guest shows what attestation needs: the report interface, the event log, the runtime
//! registers, the boot's id. Paths only, all under one root, which is `/` on a real machine and never the environment's.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The devices through which a guest of real TEE hardware attests.
const DEVICES: [&str; 3] = ["dev/tdx_guest", "dev/tdx-guest", "dev/sev-guest"];

/// A boot id is 36 characters and a line feed.
const BOOT_ID: usize = 64;

/// The kernel interfaces of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// The machine whose root is here: `/` for this one.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// This machine.
    pub fn this() -> Self {
        Self::at(Path::new("/"))
    }

    /// The report interface of configfs-tsm: a folder for each request is made in it.
    pub fn reports(&self) -> PathBuf {
        self.root.join("sys/kernel/config/tsm/report")
    }

    /// The event log that the ACPI table CCEL points to.
    pub fn event_log(&self) -> PathBuf {
        self.root.join("sys/firmware/acpi/tables/data/CCEL")
    }

    /// A runtime register: 48 raw bytes to read, and 48 bytes written to it extend it.
    pub fn register(&self, index: usize) -> PathBuf {
        let measurements = "sys/devices/virtual/misc/tdx_guest/measurements";
        self.root
            .join(measurements)
            .join(format!("rtmr{index}:sha384"))
    }

    /// The devices of real TEE hardware, whether they exist or not.
    pub fn devices(&self) -> impl Iterator<Item = PathBuf> {
        DEVICES.iter().map(|device| self.root.join(device))
    }

    /// The id of this boot, which is another one after each start of the kernel.
    ///
    /// # Errors
    /// When the kernel does not give it, or gives something else than one short line.
    pub fn boot_id(&self) -> io::Result<String> {
        let path = self.root.join("proc/sys/kernel/random/boot_id");
        let text = String::from_utf8(bounded(&path, BOOT_ID)?).map_err(io::Error::other)?;
        let id = text.trim();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        match !id.is_empty() && id.bytes().all(plain) {
            true => Ok(id.to_owned()),
            false => Err(io::Error::other("the boot id is not one word")),
        }
    }
}

/// What a file holds, up to `longest` bytes; a longer one is an error.
pub(crate) fn bounded(path: &Path, longest: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
    fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    match bytes.len() > longest {
        true => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_under_the_root() {
        let machine = Machine::at(Path::new("/elsewhere"));
        let paths = [machine.reports(), machine.event_log(), machine.register(3)];
        for path in paths.into_iter().chain(machine.devices()) {
            assert!(path.starts_with("/elsewhere"), "{}", path.display());
        }
        assert_eq!(
            Machine::this().reports(),
            Path::new("/sys/kernel/config/tsm/report")
        );
    }

    #[test]
    fn a_boot_id_is_one_short_word() {
        let this = Machine::this().boot_id().expect("Linux has one");
        assert_eq!(this.len(), 36, "{this}");
        let folder = tempfile::tempdir().expect("a folder");
        let machine = Machine::at(folder.path());
        assert!(machine.boot_id().is_err());
        let file = folder.path().join("proc/sys/kernel/random");
        fs::create_dir_all(&file).expect("a folder");
        for wrong in ["", "\n", "a b\n", &"a".repeat(100)] {
            fs::write(file.join("boot_id"), wrong).expect("written");
            assert!(machine.boot_id().is_err(), "{wrong:?}");
        }
        fs::write(file.join("boot_id"), "a-1\n").expect("written");
        assert_eq!(machine.boot_id().expect("one"), "a-1");
    }
}
