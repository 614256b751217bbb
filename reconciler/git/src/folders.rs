//! The folders of the commit that was read last, so that the next one costs what has changed. Holds one
//! tree and never more: a daemon reads new commits for months.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use git2::{ObjectType, Oid, Repository};

use crate::GitError;

/// The most files, and the most files and folders, in one tree.
const ENTRIES: usize = 100_000;

/// The deepest folder.
pub(crate) const DEPTH: usize = 20;

/// The modes of files. Other things, such as links, are none.
pub(crate) const PLAIN: i32 = 0o100_644;
pub(crate) const RUNS: i32 = 0o100_755;
pub(crate) const SHARED: i32 = 0o100_664;

/// A folder as it is in some tree.
#[derive(Debug)]
pub(crate) struct Folder {
    tree: Oid,
    files: Vec<(String, Oid)>,
    /// Links and submodules.
    others: Vec<String>,
    folders: BTreeMap<String, Arc<Folder>>,
    /// Files and folders in it, at any depth.
    size: usize,
}

impl Folder {
    /// Calls back with every file's path and blob.
    pub(crate) fn each(&self, prefix: &str, call: &mut dyn FnMut(&str, Oid)) {
        for (name, blob) in &self.files {
            call(&format!("{prefix}{name}"), *blob);
        }
        for (name, folder) in &self.folders {
            folder.each(&format!("{prefix}{name}/"), call);
        }
    }

    /// Calls back with the path of everything that is neither a file nor a folder.
    pub(crate) fn each_other(&self, prefix: &str, call: &mut dyn FnMut(&str)) {
        for name in &self.others {
            call(&format!("{prefix}{name}"));
        }
        for (name, folder) in &self.folders {
            folder.each_other(&format!("{prefix}{name}/"), call);
        }
    }
}

/// Reads folders, and counts what it reads.
pub(crate) struct Walk<'a> {
    repository: &'a Repository,
    /// Folders read from the repository.
    pub(crate) read: usize,
    entries: usize,
}

impl<'a> Walk<'a> {
    /// A walk that has read nothing.
    pub(crate) fn new(repository: &'a Repository) -> Self {
        Self {
            repository,
            read: 0,
            entries: 0,
        }
    }

    /// Reads a tree whole. What `old` has in the same place is not read again.
    pub(crate) fn folder(
        &mut self,
        tree: Oid,
        old: Option<&Arc<Folder>>,
        depth: usize,
    ) -> Result<Arc<Folder>, GitError> {
        if let Some(same) = old.filter(|old| old.tree == tree) {
            self.count(same.size)?;
            return Ok(Arc::clone(same));
        }
        if depth > DEPTH {
            let message = format!("folders are deeper than {DEPTH}");
            return Err(GitError::TooLarge(message));
        }
        self.read += 1;
        let before = self.entries;
        let (mut files, mut others, mut folders) = (Vec::new(), Vec::new(), BTreeMap::new());
        for entry in &self.repository.find_tree(tree)? {
            self.count(1)?;
            // A document with an odd name is one all the same; only its older versions are not found.
            let name = name_as_text(entry.name_bytes());
            match (entry.kind(), entry.filemode()) {
                (Some(ObjectType::Blob), PLAIN | RUNS | SHARED) => {
                    files.push((name, entry.id()));
                }
                (Some(ObjectType::Tree), _) => {
                    let old = old.and_then(|old| old.folders.get(&name));
                    let folder = self.folder(entry.id(), old, depth + 1)?;
                    folders.insert(name, folder);
                }
                _ => others.push(name),
            }
        }
        Ok(Arc::new(Folder {
            tree,
            files,
            others,
            folders,
            size: self.entries - before,
        }))
    }

    /// Folders count too: a few trees that name each other many times are endless without a file.
    fn count(&mut self, more: usize) -> Result<(), GitError> {
        self.entries += more;
        match self.entries > ENTRIES {
            true => Err(GitError::TooLarge(format!(
                "the tree holds more than {ENTRIES} files and folders"
            ))),
            false => Ok(()),
        }
    }
}

/// A name as text: a byte that is no UTF-8 becomes `\xe9`, and a backslash two, so that two names stay two.
pub fn name_as_text(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', r"\\"));
        for byte in chunk.invalid() {
            write!(text, r"\x{byte:02x}").expect("a text takes everything");
        }
    }
    text
}

/// Every wanted file of a tree with its bytes, which are `most` together at most.
pub(crate) fn contents(
    repository: &Repository,
    tree: Oid,
    wanted: &dyn Fn(&str) -> bool,
    most: usize,
) -> Result<BTreeMap<String, Vec<u8>>, GitError> {
    let mut blobs = Vec::new();
    let root = Walk::new(repository).folder(tree, None, 0)?;
    root.each("", &mut |path, blob| {
        if wanted(path) {
            blobs.push((path.to_owned(), blob));
        }
    });
    let odb = repository.odb()?;
    let mut left = most;
    let read = |(path, blob)| {
        let (size, _) = odb.read_header(blob)?;
        left = left
            .checked_sub(size)
            .ok_or_else(|| GitError::TooLarge(format!("the tree holds more than {most} bytes")))?;
        Ok((path, repository.find_blob(blob)?.content().to_vec()))
    };
    blobs.into_iter().map(read).collect()
}

/// Fails when a folder of a tree is missing or damaged. One that is too large is not.
pub(crate) fn readable(repository: &Repository, tree: Oid) -> Result<(), GitError> {
    match Walk::new(repository).folder(tree, None, 0) {
        Ok(_) | Err(GitError::TooLarge(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Fails when a folder or file of a tree is missing or damaged, as far as its head tells.
pub(crate) fn intact(repository: &Repository, tree: Oid) -> Result<(), GitError> {
    let root = match Walk::new(repository).folder(tree, None, 0) {
        Err(GitError::TooLarge(_)) => return Ok(()),
        root => root?,
    };
    let odb = repository.odb()?;
    let mut found = Ok(());
    root.each("", &mut |_, blob| {
        if found.is_ok() {
            found = odb.read_header(blob).map(|_| ());
        }
    });
    Ok(found?)
}

#[cfg(test)]
mod tests {
    use git2::FileMode;

    use super::*;

    /// Trees that each name the one before `times` times.
    fn nested(repository: &Repository, levels: usize, times: usize) -> Oid {
        let mut tree = repository
            .treebuilder(None)
            .expect("made")
            .write()
            .expect("written");
        for _ in 0..levels {
            let mut builder = repository.treebuilder(None).expect("made");
            for name in 0..times {
                builder
                    .insert(name.to_string(), tree, FileMode::Tree.into())
                    .expect("a name");
            }
            tree = builder.write().expect("written");
        }
        tree
    }

    #[test]
    fn trees_without_an_end_are_given_up() {
        let dir = tempfile::tempdir().expect("a folder");
        let repository = Repository::init_bare(dir.path()).expect("made");
        for (levels, times, says) in [(15, 10, "more than"), (21, 1, "deeper than")] {
            let tree = nested(&repository, levels, times);
            let error = Walk::new(&repository)
                .folder(tree, None, 0)
                .expect_err("too large");
            assert!(error.to_string().contains(says), "{error}");
        }
        let tree = nested(&repository, DEPTH, 1);
        Walk::new(&repository).folder(tree, None, 0).expect("read");
    }

    #[test]
    fn two_names_stay_two() {
        let names: [&[u8]; 5] = [b"\xe9", b"\xe8", "\u{fffd}".as_bytes(), br"\xe9", br"\\xe9"];
        let texts: std::collections::BTreeSet<_> = names.map(name_as_text).into();
        assert_eq!(texts.len(), names.len(), "{texts:?}");
        assert_eq!(name_as_text("café.yaml".as_bytes()), "café.yaml");
    }

    #[test]
    fn a_name_that_is_no_utf_8_is_not_passed_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let repository = Repository::init_bare(dir.path()).expect("made");
        let blob = repository.blob(b"1").expect("written");
        let mut builder = repository.treebuilder(None).expect("made");
        builder
            .insert(b"caf\xe9.yaml".as_slice(), blob, FileMode::Blob.into())
            .expect("a name");
        let tree = builder.write().expect("written");
        let folder = Walk::new(&repository).folder(tree, None, 0).expect("read");
        let mut paths = Vec::new();
        folder.each("", &mut |path, _| paths.push(path.to_owned()));
        assert_eq!(paths, [r"caf\xe9.yaml"]);
        assert_eq!(
            contents(&repository, tree, &|_| true, 1)
                .expect("read")
                .len(),
            1
        );
        let error = contents(&repository, tree, &|_| true, 0).expect_err("too long");
        assert!(matches!(error, GitError::TooLarge(_)), "{error}");
    }
}
