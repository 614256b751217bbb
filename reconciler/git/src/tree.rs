//! A tree in memory that is written from the changed folders up; untouched folders keep their id.

use std::collections::BTreeMap;

use git2::{FileMode, ObjectType, Oid, Repository};

use crate::GitError;

/// A folder: its entries, and its id while nothing below it has changed.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    entries: BTreeMap<String, Entry>,
    written: Option<Oid>,
}

#[derive(Debug)]
enum Entry {
    Blob(Oid),
    Folder(Folder),
}

impl Folder {
    /// Reads a tree whole.
    pub(crate) fn read(repository: &Repository, tree: Oid) -> Result<Self, GitError> {
        let object = repository.find_tree(tree)?;
        let mut entries = BTreeMap::new();
        for entry in &object {
            let Ok(name) = entry.name() else { continue };
            let read = match entry.kind() {
                Some(ObjectType::Blob) => Entry::Blob(entry.id()),
                Some(ObjectType::Tree) => Entry::Folder(Self::read(repository, entry.id())?),
                _ => continue,
            };
            entries.insert(name.to_owned(), read);
        }
        Ok(Self {
            entries,
            written: Some(tree),
        })
    }

    /// Puts a blob at a path.
    pub(crate) fn set(&mut self, path: &str, blob: Oid) {
        self.written = None;
        match path.split_once('/') {
            None => {
                self.entries.insert(path.to_owned(), Entry::Blob(blob));
            }
            Some((folder, rest)) => {
                let entry = self
                    .entries
                    .entry(folder.to_owned())
                    .or_insert_with(|| Entry::Folder(Self::default()));
                if matches!(entry, Entry::Blob(_)) {
                    *entry = Entry::Folder(Self::default());
                }
                if let Entry::Folder(folder) = entry {
                    folder.set(rest, blob);
                }
            }
        }
    }

    /// Takes a file away, and folders that it leaves empty. A folder of that name stays.
    pub(crate) fn remove(&mut self, path: &str) {
        self.written = None;
        match path.split_once('/') {
            None => {
                if let Some(Entry::Blob(_)) = self.entries.get(path) {
                    self.entries.remove(path);
                }
            }
            Some((name, rest)) => {
                if let Some(Entry::Folder(folder)) = self.entries.get_mut(name) {
                    folder.remove(rest);
                    if folder.entries.is_empty() {
                        self.entries.remove(name);
                    }
                }
            }
        }
    }

    /// Writes the folders that changed, notes them in `new`, and answers the tree's id.
    pub(crate) fn write(
        &mut self,
        repository: &Repository,
        new: &mut Vec<Oid>,
    ) -> Result<Oid, GitError> {
        if let Some(written) = self.written {
            return Ok(written);
        }
        let mut builder = repository.treebuilder(None)?;
        for (name, entry) in &mut self.entries {
            match entry {
                Entry::Blob(blob) => builder.insert(name, *blob, FileMode::Blob.into())?,
                Entry::Folder(folder) => {
                    let tree = folder.write(repository, new)?;
                    builder.insert(name, tree, FileMode::Tree.into())?
                }
            };
        }
        let tree = builder.write()?;
        self.written = Some(tree);
        new.push(tree);
        Ok(tree)
    }

    /// Every file with its blob.
    pub(crate) fn files(&self) -> BTreeMap<String, Oid> {
        let mut files = BTreeMap::new();
        self.gather("", &mut files);
        files
    }

    fn gather(&self, prefix: &str, files: &mut BTreeMap<String, Oid>) {
        for (name, entry) in &self.entries {
            let path = format!("{prefix}{name}");
            match entry {
                Entry::Blob(blob) => {
                    files.insert(path, *blob);
                }
                Entry::Folder(folder) => folder.gather(&format!("{path}/"), files),
            }
        }
    }
}
