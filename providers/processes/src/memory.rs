//! A folder in memory for what belongs to a unit and must never come to a disk. It is named by the unit's labels, so
//! whoever ends what an agent left behind can remove it too, as it ends the agent's processes.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

/// Where the system has a file system in memory for every user.
const ROOT: &str = "/dev/shm";

/// What the kernel calls `tmpfs`.
const TMPFS: u64 = 0x0102_1994;

/// What the kernel calls `ramfs`.
const RAMFS: u64 = 0x8584_58f6;

/// How the names of these folders begin.
const PREFIX: &str = "easyenclave.";

/// The longest name of a folder, in bytes.
const NAME: usize = 255;

/// The folder of a unit. It is not made by naming it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory(PathBuf);

/// Why there is no such folder.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The file system is one on a disk, or of a kind that is not known.
    #[error("{} is in no file system that is in memory (tmpfs)", .0.display())]
    OnDisk(PathBuf),
    /// Somebody else could read it.
    #[error("{} is there already, and not this user's alone", .0.display())]
    NotOurs(PathBuf),
    /// The system refuses.
    #[error("folder {}", path.display())]
    System {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Memory {
    /// Of the unit with these labels.
    pub fn of(fleet: &str, order: &str) -> Self {
        Self::below(Path::new(ROOT), fleet, order)
    }

    /// The same below another folder than the system's own.
    pub fn below(root: &Path, fleet: &str, order: &str) -> Self {
        let plain = |c: char| match c.is_ascii_alphanumeric() || "@-".contains(c) {
            true => c,
            false => '_',
        };
        let [fleet, order] =
            [fleet, order].map(|label| label.chars().map(plain).collect::<String>());
        let mut name = format!("{PREFIX}{fleet}.{order}");
        name.truncate(NAME);
        Self(root.join(name))
    }

    /// Those that are there of an order, of whatever fleet whose label ends so.
    ///
    /// # Errors
    /// When nobody can look.
    pub fn found(mark: &str, order: &str) -> Result<Vec<Self>, MemoryError> {
        Self::found_in(Path::new(ROOT), mark, order)
    }

    fn found_in(root: &Path, mark: &str, order: &str) -> Result<Vec<Self>, MemoryError> {
        let failed = |source| MemoryError::System {
            path: root.to_owned(),
            source,
        };
        let any = Self::below(root, mark, order);
        let ends = any
            .0
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix(PREFIX));
        let entries = match fs::read_dir(root) {
            // A system without such a file system never had a folder there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_prefix(PREFIX));
            if name
                .zip(ends)
                .is_some_and(|(name, ends)| name.ends_with(ends))
            {
                found.push(Self(path));
            }
        }
        Ok(found)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder for this user alone. One that is there already is as good, with what is in it.
    ///
    /// # Errors
    /// When it would not be in memory, is somebody else's, or cannot be made.
    pub fn make(&self) -> Result<(), MemoryError> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(self.failed(error));
            }
            _ => {}
        }
        // No link is followed: in a folder that everybody may write to, it could lead anywhere.
        let found = fs::symlink_metadata(&self.0).map_err(|error| self.failed(error))?;
        if !is_own(&found) {
            return Err(MemoryError::NotOurs(self.0.clone()));
        }
        match is_memory(&self.0).map_err(|error| self.failed(error))? {
            true => Ok(()),
            false => {
                let _ = fs::remove_dir(&self.0);
                Err(MemoryError::OnDisk(self.0.clone()))
            }
        }
    }

    /// Removes the folder with all that is in it, if it is there.
    ///
    /// # Errors
    /// When something may be left.
    pub fn remove(&self) -> Result<(), MemoryError> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, source: io::Error) -> MemoryError {
        let path = self.0.clone();
        MemoryError::System { path, source }
    }
}

/// Has the system write no image of this process, or of what it starts, when they crash: what is in their memory would come
/// to a disk. One byte rather than none, because where a program is given the image, nothing else keeps the kernel
/// from making it.
///
/// # Errors
/// When the system refuses.
pub fn forbid_core_dumps() -> io::Result<()> {
    let most = getrlimit(Resource::Core).maximum;
    let limit = Some(most.map_or(1, |most| most.min(1)));
    let none = Rlimit {
        current: limit,
        maximum: limit,
    };
    Ok(setrlimit(Resource::Core, none)?)
}

/// Whether a folder is in memory.
fn is_memory(path: &Path) -> io::Result<bool> {
    let kind = statfs(path)?.f_type as u64;
    Ok([TMPFS, RAMFS].contains(&kind))
}

fn is_own(found: &Metadata) -> bool {
    found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder of this test in memory.
    fn root() -> tempfile::TempDir {
        tempfile::tempdir_in(ROOT).expect("a folder in memory")
    }

    #[test]
    fn a_folder_is_made_for_this_user_alone_and_removed_with_what_is_in_it() {
        let root = root();
        let memory = Memory::below(root.path(), "demo@0123", "tiny-1");
        memory.remove().expect("nothing is there");
        memory.make().expect("made");
        memory.make().expect("there");
        let mode = fs::metadata(memory.path()).expect("there").mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::write(memory.path().join("value"), "s3cr3t").expect("written");
        memory.remove().expect("removed");
        assert!(!memory.path().exists());
    }

    #[test]
    fn whoever_knows_how_a_label_ends_finds_the_folders_of_an_order() {
        let root = root();
        let below = |fleet, order| Memory::below(root.path(), fleet, order);
        let own = [below("demo@01", "a-1"), below("other@01", "a-1")];
        for memory in &own {
            memory.make().expect("made");
        }
        for (fleet, order) in [
            ("demo@02", "a-1"),
            ("demo@01", "b-a-1"),
            ("demo@01", "a-11"),
        ] {
            below(fleet, order).make().expect("made");
        }
        let mut found = Memory::found_in(root.path(), "@01", "a-1").expect("looked");
        found.sort_by_key(|memory| memory.0.clone());
        assert_eq!(found, own);
    }

    #[test]
    fn labels_lead_to_no_other_folder() {
        let at = |fleet, order| Memory::below(Path::new("/m"), fleet, order).0;
        assert_eq!(
            at("demo@01", "a-1"),
            Path::new("/m/easyenclave.demo@01.a-1")
        );
        assert_eq!(at("../..", "/etc"), Path::new("/m/easyenclave._____._etc"));
        assert_ne!(at("a.b", "c"), at("a", "b.c"));
        assert!(at(&"f".repeat(999), "a").file_name().expect("a name").len() <= NAME);
    }

    #[test]
    fn what_somebody_else_made_or_can_read_is_not_used() {
        let root = root();
        let memory = Memory::below(root.path(), "demo", "a");
        symlink(root.path(), memory.path()).expect("a link");
        let error = memory.make().expect_err("a link");
        assert!(matches!(error, MemoryError::NotOurs(_)), "{error}");
        fs::remove_file(memory.path()).expect("removed");
        DirBuilder::new()
            .mode(0o755)
            .create(memory.path())
            .expect("made");
        let error = memory.make().expect_err("open to all");
        assert!(matches!(error, MemoryError::NotOurs(_)), "{error}");
    }

    #[test]
    fn no_image_of_a_process_that_crashes_is_written() {
        forbid_core_dumps().expect("allowed");
        let limits = fs::read_to_string("/proc/self/limits").expect("limits");
        let line = limits.lines().find(|line| line.starts_with("Max core"));
        let values: Vec<_> = line
            .expect("a limit")
            .split_whitespace()
            .skip(4)
            .take(2)
            .collect();
        assert!(matches!(values[..], ["1", "1"] | ["0", "0"]), "{values:?}");
    }

    #[test]
    fn only_a_file_system_in_memory_is_taken_for_one() {
        assert!(is_memory(Path::new(ROOT)).expect("there"));
        assert!(!is_memory(Path::new("/proc")).expect("there"));
    }
}
