//! A directory on disk, checked as if it were a revision without a past. Follows no link and reads no more
//! of a file than a document may have.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use easyenclave_schemas::decode::MAX_BYTES;

use super::blobs::BlobKey;
use super::loader::Loader;
use super::paths::{FLEET, FOLDERS, is_document};
use super::report::Checked;

/// Checks all documents of a directory that is laid out like a state repository.
///
/// # Errors
/// When the directory or a document in it cannot be read.
pub fn check_dir(dir: &Path) -> io::Result<Checked> {
    let read = |path: String| read(&dir.join(&path)).map(|text| (path, text));
    let files = paths(dir)?
        .into_iter()
        .map(read)
        .collect::<io::Result<_>>()?;
    Ok(check_files(&files))
}

/// Checks documents by their paths, relative to the repository's root. Other files are passed over.
pub fn check_files(files: &BTreeMap<String, Vec<u8>>) -> Checked {
    let documents: Vec<_> = files.iter().filter(|(path, _)| is_document(path)).collect();
    let keys = (0..documents.len()).map(key);
    let tree: BTreeMap<_, _> = documents
        .iter()
        .map(|(path, _)| (*path).clone())
        .zip(keys)
        .collect();
    let blob = |key| Ok(documents[index(key)].1.clone());
    Checked {
        documents: tree.len(),
        problems: Loader::default().check(&tree, &blob),
    }
}

fn paths(dir: &Path) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    fs::read_dir(dir)?;
    if is_file(&dir.join(FLEET))? {
        paths.push(FLEET.to_owned());
    }
    for folder in FOLDERS {
        collect(dir, folder, &mut paths)?;
    }
    paths.retain(|path| is_document(path));
    Ok(paths)
}

/// Within one directory, a file's number serves as the id of its content.
fn key(index: usize) -> BlobKey {
    let mut key = BlobKey::default();
    key[..8].copy_from_slice(&(index as u64).to_be_bytes());
    key
}

fn index(key: BlobKey) -> usize {
    let bytes = *key.first_chunk().expect("a key has 20 bytes");
    usize::try_from(u64::from_be_bytes(bytes)).expect("made from an index")
}

fn is_file(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(metadata) => Ok(metadata.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn collect(dir: &Path, folder: &str, paths: &mut Vec<String>) -> io::Result<()> {
    let entries = match fs::read_dir(dir.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let path = format!("{folder}/{}", name.to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(dir, &path, paths)?;
        } else if kind.is_file() && name.to_str().is_some() {
            paths.push(path);
        }
    }
    Ok(())
}

/// One byte more than a document may have, so that the decoder sees that it is too long.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut text)?;
    Ok(text)
}
