//! What sled leaves to the system: its flush hands the log to the disk, but neither the log's length nor
//! the disk's own cache, and nothing of the values that are too long for the log. Here both are synced.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The files of one store, below the engine.
#[derive(Debug)]
pub(crate) struct Disk {
    log: File,
    blobs: PathBuf,
    /// Long values that were synced, and how long they were then. One that has grown since was still
    /// being written.
    synced: Mutex<BTreeMap<OsString, u64>>,
}

impl Disk {
    /// The files of a store that the engine has opened, with their names synced.
    pub(crate) fn of(dir: &Path) -> io::Result<Self> {
        let disk = Self {
            log: File::open(dir.join("db"))?,
            blobs: dir.join("blobs"),
            synced: Mutex::default(),
        };
        disk.sync()?;
        for folder in [Some(dir), dir.parent()].into_iter().flatten() {
            sync_folder(folder)?;
        }
        Ok(disk)
    }

    /// Returns when all that the engine has written is on the disk. After an error there is nothing to ask again: what
    /// was not written may be gone without another error.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.sync_blobs()?;
        self.log.sync_data()
    }

    fn sync_blobs(&self) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.blobs)? {
            let entry = entry?;
            let length = match entry.metadata() {
                Ok(metadata) => metadata.len(),
                // The engine has rewritten it elsewhere meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            found.insert(entry.file_name(), length);
        }
        let is_new = |(name, length): &(&OsString, &u64)| synced.get(*name) != Some(*length);
        let mut new = found.iter().filter(is_new).peekable();
        let some = new.peek().is_some();
        for (name, _) in new {
            sync_file(&self.blobs.join(name))?;
        }
        if some {
            sync_folder(&self.blobs)?;
        }
        *synced = found;
        Ok(())
    }
}

fn sync_file(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(file) => file.sync_data(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A relative path of one name has an empty parent.
fn sync_folder(path: &Path) -> io::Result<()> {
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    File::open(path)?.sync_all()
}
