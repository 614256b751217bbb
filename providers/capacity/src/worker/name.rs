//! A worker's name, kept in its folder: the same over restarts, so that it gets back what it held.

use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::Path;

use easyenclave_schemas::WorkerId;

use super::WorkerError;

/// The name kept in a worker's folder, or a new one that is kept from now on.
///
/// # Errors
/// When it cannot be kept, or what is kept is not a name.
pub fn worker_id(data_dir: &Path) -> Result<WorkerId, WorkerError> {
    let path = data_dir.join("worker-id");
    let name = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path),
        Ok(text) => WorkerId::new(text.trim()).map_err(io::Error::other),
        Err(error) => Err(error),
    };
    name.map_err(|source| WorkerError::Name { path, source })
}

/// Written aside and renamed: a crash leaves a whole name or none.
fn make(path: &Path) -> io::Result<WorkerId> {
    let name = format!("worker-{:016x}", RandomState::new().hash_one(0_u8));
    let aside = path.with_extension("new");
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&aside)?;
    file.write_all(name.as_bytes())?;
    file.sync_all()?;
    fs::rename(aside, path)?;
    WorkerId::new(name).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_once_and_a_wrong_one_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = worker_id(folder.path()).expect("made");
        assert_eq!(worker_id(folder.path()).expect("kept"), name);
        let other = tempfile::tempdir().expect("a folder");
        assert_ne!(worker_id(other.path()).expect("made"), name);
        fs::write(other.path().join("worker-id"), "No Name").expect("written");
        let error = worker_id(other.path()).expect_err("not a name");
        assert!(error.to_string().ends_with("worker-id"), "{error}");
    }
}
