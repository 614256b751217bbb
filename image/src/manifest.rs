//! What an image is made of, as the file `image.json` beside it. Its digest is that of what boots: kernel, archive and
//! command line. Packages and programs are in these already, and stand in the manifest for those who look.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use easyenclave_schemas::wire::image_label;
use easyenclave_schemas::{Digest, NodeSize};
use serde::{Deserialize, Serialize};

use crate::ImageError;

/// How the kernel is started. Its messages go to the serial port, but for those of trouble; a panic ends the machine,
/// and nothing is asked of a BIOS that is not there.
pub const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 edd=off";

/// The version of the manifest's format.
const FORMAT: u32 = 1;

/// The longest manifest that is read, in bytes.
const LONGEST: u64 = 256 * 1024;

/// An image, by its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    /// The digest of kernel, archive and command line: the image's name.
    digest: Digest,
    /// The kernel's command line.
    pub command_line: String,
    /// The kernel.
    pub kernel: Part,
    /// The archive that the kernel unpacks.
    pub initramfs: Part,
    /// The agent's command in the machine.
    pub agent: Vec<String>,
    /// The programs in it that are ours, without symbols, the agent first.
    pub programs: Vec<Program>,
    /// The packages that it is made of, by name.
    pub packages: Vec<Package>,
    /// What took the programs' symbols away, with its version: another one may give other bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip: Option<String>,
}

/// A file of an image, which lies beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name.
    pub file: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A program that was put into an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Its name, in `/usr/bin`.
    pub name: String,
    /// Its digest there.
    pub sha256: Digest,
    /// The digest of the file that was given, with its symbols.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Digest>,
}

/// A package of a distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub sha256: Digest,
}

/// What a manifest is made of.
pub(crate) struct Parts {
    pub(crate) kernel: Vec<u8>,
    pub(crate) initramfs: Vec<u8>,
    pub(crate) agent: Vec<String>,
    pub(crate) programs: Vec<Program>,
    pub(crate) packages: Vec<Package>,
    pub(crate) strip: Option<String>,
}

impl Manifest {
    /// The manifest's file in an image's folder.
    pub const FILE: &str = "image.json";

    /// The image of these parts, under the usual command line.
    pub(crate) fn of(parts: &Parts) -> Self {
        let part = |file: &str, bytes: &[u8]| Part {
            file: file.into(),
            sha256: Digest::of(bytes),
            bytes: bytes.len() as u64,
        };
        let kernel = part("vmlinuz", &parts.kernel);
        let initramfs = part("initramfs.cpio", &parts.initramfs);
        Self {
            format: FORMAT,
            digest: name(&kernel, &initramfs, COMMAND_LINE),
            command_line: COMMAND_LINE.into(),
            kernel,
            initramfs,
            agent: parts.agent.clone(),
            programs: parts.programs.clone(),
            packages: parts.packages.clone(),
            strip: parts.strip.clone(),
        }
    }

    /// Reads the manifest of the image in a folder, or a manifest by its file, and does not look at the image.
    ///
    /// # Errors
    /// When there is none, or it contradicts itself.
    pub fn load(path: &Path) -> Result<Self, ImageError> {
        let path = if path.is_dir() {
            path.join(Self::FILE)
        } else {
            path.to_path_buf()
        };
        let wrong = |reason: String| {
            let path = path.clone();
            ImageError::Manifest { path, reason }
        };
        let mut text = Vec::new();
        let file = File::open(&path).map_err(ImageError::file(&path))?;
        let read = file.take(LONGEST + 1).read_to_end(&mut text);
        read.map_err(ImageError::file(&path))?;
        if text.len() as u64 > LONGEST {
            return Err(wrong(format!("it is longer than {LONGEST} bytes")));
        }
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        manifest.check().map_err(wrong)?;
        Ok(manifest)
    }

    /// Opens the image in a folder: reads its manifest and every byte that it speaks of.
    ///
    /// # Errors
    /// As [`Self::load`], and when a file is missing or has other bytes.
    pub fn open(folder: &Path) -> Result<Self, ImageError> {
        let manifest = Self::load(&folder.join(Self::FILE))?;
        for part in [&manifest.kernel, &manifest.initramfs] {
            let path = folder.join(&part.file);
            let bytes = fs::read(&path).map_err(ImageError::file(&path))?;
            let found = Digest::of(&bytes);
            if found != part.sha256 {
                return Err(ImageError::Digest {
                    what: path.display().to_string(),
                    expected: part.sha256,
                    found,
                });
            }
        }
        Ok(manifest)
    }

    /// The digest of kernel, archive and command line.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What a simulated platform measures of a machine of this size with this image.
    pub fn label(&self, size: &NodeSize) -> String {
        image_label(&self.digest, size)
    }

    /// The kernel's file in the image's folder.
    pub fn kernel_in(&self, folder: &Path) -> PathBuf {
        folder.join(&self.kernel.file)
    }

    /// The archive's file in the image's folder.
    pub fn initramfs_in(&self, folder: &Path) -> PathBuf {
        folder.join(&self.initramfs.file)
    }

    /// As text, ending with a line's end.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("a manifest is plain data") + "\n"
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!(
                "its format is {}, and {FORMAT} is known",
                self.format
            ));
        }
        for part in [&self.kernel, &self.initramfs] {
            if part.file.contains('/') || part.file.starts_with('.') || part.file.is_empty() {
                return Err(format!("{:?} is no name of a file beside it", part.file));
            }
        }
        let digest = name(&self.kernel, &self.initramfs, &self.command_line);
        match digest == self.digest {
            true => Ok(()),
            false => Err(format!(
                "its digest is {}, and of its parts {digest}",
                self.digest
            )),
        }
    }
}

/// The digest of what boots.
fn name(kernel: &Part, initramfs: &Part, command_line: &str) -> Digest {
    let digests = [kernel.sha256.as_bytes(), initramfs.sha256.as_bytes()];
    let [kernel, initramfs] = digests.map(<[u8; 32]>::as_slice);
    let what = b"easyenclave image 1".as_slice();
    Digest::of_list([what, kernel, initramfs, command_line.as_bytes()])
}

/// A manifest of nothing but packages.
#[cfg(test)]
pub(crate) fn example(packages: Vec<Package>) -> Manifest {
    Manifest::of(&Parts {
        kernel: b"kernel".to_vec(),
        initramfs: b"archive".to_vec(),
        agent: vec!["/usr/bin/easyenclave-agent".into()],
        programs: Vec::new(),
        packages,
        strip: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join(Manifest::FILE), text).expect("written");
        fs::write(dir.path().join("vmlinuz"), b"kernel").expect("written");
        fs::write(dir.path().join("initramfs.cpio"), b"archive").expect("written");
        dir
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let manifest = example(Vec::new());
        let dir = written(&manifest.text());
        assert_eq!(Manifest::load(dir.path()).expect("read"), manifest);
        let file = dir.path().join(Manifest::FILE);
        assert_eq!(Manifest::load(&file).expect("read"), manifest);
        assert_eq!(Manifest::open(dir.path()).expect("whole"), manifest);
    }

    #[test]
    fn an_image_with_another_byte_is_not_opened() {
        let dir = written(&example(Vec::new()).text());
        fs::write(dir.path().join("initramfs.cpio"), b"Archive").expect("written");
        let error = Manifest::open(dir.path()).expect_err("changed");
        assert!(matches!(error, ImageError::Digest { .. }), "{error}");
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_refused() {
        let text = example(Vec::new()).text();
        let changes = [
            ("quiet", "debug", "and of its parts"),
            ("\"format\": 1", "\"format\": 2", "its format is 2"),
            ("\"vmlinuz\"", "\"../vmlinuz\"", "no name of a file"),
            ("\"agent\"", "\"agents\"", "unknown field"),
        ];
        for (from, to, reason) in changes {
            let dir = written(&text.replacen(from, to, 1));
            let error = Manifest::load(dir.path()).expect_err(to).to_string();
            assert!(error.contains(reason), "{error}");
        }
        let dir = written(&" ".repeat(300_000));
        assert!(Manifest::load(dir.path()).is_err());
    }

    #[test]
    fn size_and_command_line_tell_machines_apart() {
        let manifest = example(Vec::new());
        let size = |name: &str| name.parse::<NodeSize>().expect("a size");
        assert_ne!(manifest.label(&size("tiny")), manifest.label(&size("llm")));
        let other = name(&manifest.kernel, &manifest.initramfs, "console=ttyS0");
        assert_ne!(other, manifest.digest());
    }
}
