//! The kernel and those of its modules that a virtual machine needs before it has anything else, in the order in which
//! they can be loaded. Debian's cloud kernels have nearly nothing built in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ImageError;
use crate::child::Tool;
use crate::deb::Unpacked;

/// A machine without these reaches nobody.
const NEEDED: [&str; 3] = ["virtio_pci", "virtio_net", "qemu_fw_cfg"];

/// What some kernels have and some machines need: a data disk, and evidence of Intel TDX (Linux 6.7 and later).
const WELCOME: [&str; 4] = ["virtio_blk", "configfs", "tsm", "tdx_guest"];

/// Newer kernels' modules are compressed. The archive is not, so that what it holds depends on no compressor.
const UNPACK: Tool = Tool {
    program: "xz",
    package: "xz-utils",
    limit: Duration::from_secs(60),
};

/// A kernel, ready for the archive.
pub(crate) struct Kernel {
    /// What boots.
    pub(crate) program: Vec<u8>,
    /// Name and bytes of its modules, each after those that it needs.
    pub(crate) modules: Vec<(String, Vec<u8>)>,
}

impl Kernel {
    /// Takes a kernel out of its package.
    ///
    /// # Errors
    /// When the package has no kernel, or a module that is needed is neither in it nor built in.
    pub(crate) async fn of(package: &Unpacked) -> Result<Self, ImageError> {
        let boot = package.files("boot")?;
        let name = |path: &&PathBuf| file_name(path).starts_with("vmlinuz-");
        let program = boot
            .iter()
            .find(name)
            .ok_or_else(|| package.lacks("boot/vmlinuz"))?;
        let program = fs::read(program).map_err(ImageError::file(program))?;
        let mut modules = Modules::of(package)?;
        for name in NEEDED {
            modules.load(name, package, true).await?;
        }
        for name in WELCOME {
            modules.load(name, package, false).await?;
        }
        let modules = modules.loaded;
        Ok(Self { program, modules })
    }
}

/// The modules of a package.
struct Modules {
    /// Where each is, by its name with underscores.
    files: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
    loaded: Vec<(String, Vec<u8>)>,
}

impl Modules {
    fn of(package: &Unpacked) -> Result<Self, ImageError> {
        let mut files = package.files("lib/modules")?;
        files.extend(package.files("usr/lib/modules")?);
        let list = files
            .iter()
            .find(|path| file_name(path) == "modules.builtin");
        let list = list.ok_or_else(|| package.lacks("modules.builtin"))?;
        let list = fs::read_to_string(list).map_err(ImageError::file(list))?;
        let built_in = list.lines().map(|line| module_name(Path::new(line)));
        Ok(Self {
            built_in: built_in.collect(),
            files: files
                .into_iter()
                .map(|path| (module_name(&path), path))
                .collect(),
            loaded: Vec::new(),
        })
    }

    /// Puts a module behind those that it needs. The list is a walk with a stack: a module that is met again is loaded.
    async fn load(&mut self, name: &str, package: &Unpacked, must: bool) -> Result<(), ImageError> {
        let mut waiting = vec![name.to_owned()];
        let mut met = BTreeSet::new();
        while let Some(name) = waiting.last().cloned() {
            if self.is_there(&name) {
                waiting.pop();
                continue;
            }
            let Some(file) = self.files.get(&name) else {
                return match must || waiting.len() > 1 {
                    true => Err(package.lacks(&format!("module {name}"))),
                    false => Ok(()),
                };
            };
            let bytes = content(file).await?;
            let needs = depends(&bytes);
            let open: Vec<_> = needs
                .into_iter()
                .filter(|need| !self.is_there(need))
                .collect();
            match open.is_empty() || !met.insert(name.clone()) {
                true => self.loaded.push((name, bytes)),
                false => waiting.extend(open),
            }
        }
        Ok(())
    }

    fn is_there(&self, name: &str) -> bool {
        self.built_in.contains(name) || self.loaded.iter().any(|(loaded, _)| loaded == name)
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

/// `drivers/virt/coco/tdx-guest.ko.xz` is the module `tdx_guest`.
fn module_name(path: &Path) -> String {
    let name = file_name(path);
    name.split('.').next().unwrap_or_default().replace('-', "_")
}

async fn content(file: &Path) -> Result<Vec<u8>, ImageError> {
    match file.extension().and_then(|end| end.to_str()) {
        Some("xz") => {
            let args = [Path::new("--decompress"), Path::new("--stdout"), file];
            UNPACK.run(Path::new("/"), &args).await
        }
        Some("ko") => fs::read(file).map_err(ImageError::file(file)),
        // The machine could not load it, and what it needs cannot be read.
        _ => Err(ImageError::Module(file_name(file).to_owned())),
    }
}

/// The modules that a module says it needs, in the text `depends=a,b` between zeros.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let rest = &module[at + KEY.len()..];
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(0);
    let names = String::from_utf8_lossy(&rest[..end]).replace('-', "_");
    let names = names.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_what_it_needs() {
        let module = b"\x7fELF..\0license=GPL\0depends=virtio,net-failover\0name=virtio_net\0";
        assert_eq!(depends(module), ["virtio", "net_failover"]);
        assert!(depends(b"\0depends=\0name=virtio\0").is_empty());
        assert!(depends(b"nothing").is_empty() && depends(b"\0depends=cut").is_empty());
    }

    #[tokio::test]
    async fn a_module_in_an_unknown_form_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, taken) in [
            ("tsm.ko", true),
            ("tsm.ko.zst", false),
            ("tsm.ko.gz", false),
        ] {
            let file = dir.path().join(name);
            fs::write(&file, b"module").expect("written");
            let content = content(&file).await;
            assert_eq!(content.is_ok(), taken, "{name}: {content:?}");
        }
    }

    #[test]
    fn a_module_has_one_name_however_its_file_is_called() {
        assert_eq!(module_name(Path::new("a/tdx-guest.ko.xz")), "tdx_guest");
        assert_eq!(
            module_name(Path::new("kernel/fs/configfs/configfs.ko")),
            "configfs"
        );
    }
}
