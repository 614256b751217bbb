//! A tree that changes in memory. Folders are read when a change leads into them and written when
//! something in them changed; every other entry keeps its id and its mode, whatever it is.

use std::collections::BTreeMap;
use std::io::Write;

use git2::{ObjectType, Oid, Repository};

use crate::folders::DEPTH;
use crate::sums::SUMS;
use crate::{GitError, LedgerError};

/// The modes that are written here. What is there already may have others.
const FOLDER: i32 = 0o040_000;
const FILE: i32 = 0o100_644;
const EXECUTABLE: i32 = 0o100_755;

/// Entries in Git's order. A folder's name ends with a slash here, which is what that order takes it for.
type Entries = BTreeMap<Vec<u8>, Entry>;

/// A folder: its id while nothing in it has changed, and its entries once they were needed.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    id: Option<Oid>,
    entries: Option<Entries>,
}

#[derive(Debug)]
enum Entry {
    Folder(Folder),
    /// A file, a link, a submodule: a mode and an id.
    Leaf(i32, Oid),
}

impl Folder {
    /// The folder that a tree is; an empty one without it. Nothing is read yet.
    pub(crate) fn of(tree: Option<Oid>) -> Self {
        Self {
            id: tree,
            entries: None,
        }
    }

    /// Puts a file at a path, in place of whatever is there. An executable stays one.
    pub(crate) fn set(
        &mut self,
        repository: &Repository,
        path: &str,
        blob: Oid,
    ) -> Result<(), GitError> {
        let entries = self.entries(repository)?;
        match path.split_once('/') {
            None => {
                let mode = match entries.get(path.as_bytes()) {
                    Some(Entry::Leaf(EXECUTABLE, _)) => EXECUTABLE,
                    _ => FILE,
                };
                entries.remove(&folder_key(path));
                entries.insert(path.into(), Entry::Leaf(mode, blob));
            }
            Some((name, rest)) => {
                entries.remove(name.as_bytes());
                let entry = entries
                    .entry(folder_key(name))
                    .or_insert_with(|| Entry::Folder(Self::default()));
                if let Entry::Folder(folder) = entry {
                    folder.set(repository, rest, blob)?;
                }
            }
        }
        self.id = None;
        Ok(())
    }

    /// The file at a path.
    pub(crate) fn get(
        &mut self,
        repository: &Repository,
        path: &str,
    ) -> Result<Option<Oid>, GitError> {
        let entries = self.entries(repository)?;
        match path.split_once('/') {
            None => Ok(match entries.get(path.as_bytes()) {
                Some(Entry::Leaf(FILE | EXECUTABLE, id)) => Some(*id),
                _ => None,
            }),
            Some((name, rest)) => match entries.get_mut(&folder_key(name)) {
                Some(Entry::Folder(folder)) => folder.get(repository, rest),
                _ => Ok(None),
            },
        }
    }

    /// The paths of all files below a folder, which ends with a slash.
    pub(crate) fn paths(
        &mut self,
        repository: &Repository,
        folder: &str,
    ) -> Result<Vec<String>, GitError> {
        let mut paths = Vec::new();
        for (name, entry) in self.entries(repository)? {
            let name = String::from_utf8_lossy(name);
            let (below, rest) = match folder.split_once('/') {
                None => (true, ""),
                Some((first, rest)) => (name.strip_suffix('/') == Some(first), rest),
            };
            match entry {
                Entry::Folder(inner) if below => {
                    let inner = inner.paths(repository, rest)?;
                    paths.extend(inner.iter().map(|path| format!("{name}{path}")));
                }
                Entry::Leaf(FILE | EXECUTABLE, _) if folder.is_empty() => {
                    paths.push(name.into_owned());
                }
                _ => {}
            }
        }
        Ok(paths)
    }

    /// Whether something else than a file lies at a path, or something else than a folder on the way.
    pub(crate) fn is_taken(
        &mut self,
        repository: &Repository,
        path: &str,
    ) -> Result<bool, GitError> {
        let entries = self.entries(repository)?;
        let file = |mode: i32| mode & 0o170_000 == 0o100_000;
        Ok(match path.split_once('/') {
            None => match entries.get(path.as_bytes()) {
                Some(Entry::Leaf(mode, _)) => !file(*mode),
                _ => entries.contains_key(&folder_key(path)),
            },
            Some((name, rest)) => match entries.get_mut(&folder_key(name)) {
                Some(Entry::Folder(folder)) => folder.is_taken(repository, rest)?,
                _ => entries.contains_key(name.as_bytes()),
            },
        })
    }

    /// Takes a file away, and folders that it leaves empty; tells whether there was one. A folder of that
    /// name stays.
    pub(crate) fn remove(&mut self, repository: &Repository, path: &str) -> Result<bool, GitError> {
        let entries = self.entries(repository)?;
        let removed = match path.split_once('/') {
            None => entries.remove(path.as_bytes()).is_some(),
            Some((name, rest)) => {
                let key = folder_key(name);
                let Some(Entry::Folder(folder)) = entries.get_mut(&key) else {
                    return Ok(false);
                };
                let removed = folder.remove(repository, rest)?;
                if removed && folder.entries(repository)?.is_empty() {
                    entries.remove(&key);
                }
                removed
            }
        };
        if removed {
            self.id = None;
        }
        Ok(removed)
    }

    /// Hands the folders that changed to `keep`, those below others first, and answers the tree's id.
    pub(crate) fn write(
        &mut self,
        repository: &Repository,
        keep: &mut dyn FnMut(&[u8]) -> Result<Oid, GitError>,
    ) -> Result<Oid, GitError> {
        if let Some(id) = self.id {
            return Ok(id);
        }
        let mut bytes = Vec::new();
        for (name, entry) in self.entries(repository)? {
            let (mode, id) = match entry {
                Entry::Leaf(mode, id) => (*mode, *id),
                Entry::Folder(folder) => (FOLDER, folder.write(repository, keep)?),
            };
            let name = name.strip_suffix(b"/").unwrap_or(name);
            write!(bytes, "{mode:o} ").expect("memory takes every write");
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend_from_slice(id.as_bytes());
        }
        // Not by the library's builder, which refuses entries that are there already and changes modes.
        let id = keep(&bytes)?;
        self.id = Some(id);
        Ok(id)
    }

    fn entries(&mut self, repository: &Repository) -> Result<&mut Entries, GitError> {
        if self.entries.is_none() {
            self.entries = Some(match self.id {
                Some(tree) => read(repository, tree)?,
                None => Entries::new(),
            });
        }
        Ok(self.entries.get_or_insert_default())
    }
}

/// Whether every Git takes a path for one.
pub(crate) fn is_path(path: &str) -> bool {
    let bad = |part: &str| {
        let git = part.eq_ignore_ascii_case(".git") || part.eq_ignore_ascii_case("git~1");
        part.is_empty() || part == "." || part == ".." || git || part.contains('\0')
    };
    !path.split('/').any(bad)
}

/// Only what every Git takes, and what is not the ledger's own, can be set.
pub(crate) fn check(path: &str) -> Result<(), LedgerError> {
    match is_portable(path) && path != SUMS {
        true => Ok(()),
        false => Err(LedgerError::Path(path.chars().take(100).collect())),
    }
}

/// Whether every Git on every system takes a path for one, and a `Source` reads it back.
fn is_portable(path: &str) -> bool {
    let strange = |letter: char| letter.is_control() || letter == '\\' || letter == ':';
    let bad = |part: &str| {
        let part = part.to_ascii_lowercase();
        part.starts_with(".git") || part.starts_with("git~") || part.len() > 255
    };
    let deep = path.split('/').count() > DEPTH;
    is_path(path)
        && !deep
        && !path.contains(strange)
        && !path.split('/').any(bad)
        && path.len() <= 1000
}

fn read(repository: &Repository, tree: Oid) -> Result<Entries, GitError> {
    let tree = repository.find_tree(tree)?;
    let entry = |entry: git2::TreeEntry<'_>| {
        let mut name = entry.name_bytes().to_vec();
        match entry.kind() {
            Some(ObjectType::Tree) => {
                name.push(b'/');
                (name, Entry::Folder(Folder::of(Some(entry.id()))))
            }
            _ => (name, Entry::Leaf(entry.filemode_raw(), entry.id())),
        }
    };
    Ok(tree.iter().map(entry).collect())
}

fn folder_key(name: &str) -> Vec<u8> {
    format!("{name}/").into_bytes()
}
