//! The reader: heads, trees and blobs of one branch. It cannot write anything but its own mirror.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use git2::{Commit, ErrorCode, ObjectType, Repository};

use crate::clone::{open_sound, sweep};
use crate::folders::{Folder, Walk, intact, readable};
use crate::process::{first_fetch, first_words, git};
use crate::tidy::tidy;
use crate::{BlobId, CommitId, GitError, Location};

/// The most commits that are looked through for older versions of a file.
const WALK: usize = 1000;

/// Reads a repository: in place when it is local, through a mirror when it is not.
#[derive(Clone)]
pub struct Source(Arc<Inner>);

struct Inner {
    /// Where it is fetched from; nowhere for a local one.
    url: Option<String>,
    path: PathBuf,
    branch: String,
    /// Whether a remote has answered since this was opened.
    has_fetched: AtomicBool,
    /// Two fetches at a time would be in each other's way, and one that ended badly is swept away before the next.
    fetching: tokio::sync::Mutex<()>,
    last: Mutex<Last>,
}

/// The commit that was read last.
#[derive(Default)]
struct Last {
    root: Option<Arc<Folder>>,
    #[cfg(test)]
    folders_read: usize,
}

impl Source {
    /// Opens a repository. `location` is a local path, or any URL that `git` can fetch; `mirror` is where
    /// the latter is kept.
    ///
    /// # Errors
    /// When nothing or no repository is at a local path, or the mirror cannot be made.
    pub fn open(location: &str, mirror: &Path, branch: &str) -> Result<Self, GitError> {
        let (url, path) = match Location::of(location)? {
            Location::Local(path) => (None, Repository::open(path)?.path().to_path_buf()),
            Location::Remote(url) => {
                open_sound(mirror, |mirror| sound(mirror, branch))?;
                (Some(url), mirror.to_path_buf())
            }
        };
        Ok(Self(Arc::new(Inner {
            url,
            path,
            branch: branch.into(),
            has_fetched: AtomicBool::new(false),
            fetching: tokio::sync::Mutex::default(),
            last: Mutex::default(),
        })))
    }

    /// Whether the repository is read in place.
    pub fn is_local(&self) -> bool {
        self.0.url.is_none()
    }

    /// Brings the mirror up to date; does nothing for a local repository. A first fetch that brings
    /// something before the deadline may take half an hour.
    ///
    /// # Errors
    /// When the remote cannot be read before the deadline.
    pub async fn fetch(&self, deadline: Duration) -> Result<(), GitError> {
        let Some(url) = &self.0.url else {
            return Ok(());
        };
        let args = [
            "fetch",
            "--quiet",
            "--prune",
            "--no-tags",
            "--no-write-fetch-head",
            "--",
            url,
            "+refs/heads/*:refs/heads/*",
        ];
        let path = &self.0.path;
        let turn = tokio::time::timeout(deadline, self.0.fetching.lock()).await;
        let _turn = turn.map_err(|_| GitError::Timeout {
            operation: "fetch",
            limit: deadline,
        })?;
        sweep(path);
        let is_first = self.repository()?.references()?.next().is_none();
        let output = match is_first {
            true => first_fetch(path, &args, deadline).await?,
            false => git(path, "fetch", &args, deadline).await?,
        };
        if output.success {
            self.0.has_fetched.store(true, Ordering::Relaxed);
            return Ok(());
        }
        Err(GitError::Unreachable {
            operation: "fetch",
            message: first_words(&output.stderr),
        })
    }

    /// Keeps the mirror small, when there is something to gain and nobody fetches. Does nothing to a local repository.
    pub async fn tidy(&self, deadline: Duration) {
        if !self.is_local()
            && let Ok(_turn) = self.0.fetching.try_lock()
        {
            tidy(&self.0.path, deadline).await;
        }
    }

    /// The branch's tip; none when the branch does not exist.
    ///
    /// # Errors
    /// When the repository cannot be read. That is never taken for an absent branch.
    pub fn head(&self) -> Result<Option<CommitId>, GitError> {
        let repository = self.repository()?;
        let name = format!("refs/heads/{}", self.0.branch);
        match repository.find_reference(&name) {
            Ok(reference) => Ok(Some(CommitId::of(reference.peel_to_commit()?.id()))),
            Err(error) if error.code() == ErrorCode::NotFound => self.absent(),
            Err(error) => Err(error.into()),
        }
    }

    /// A mirror that has never been filled tells nothing of its remote.
    fn absent(&self) -> Result<Option<CommitId>, GitError> {
        match self.is_local() || self.0.has_fetched.load(Ordering::Relaxed) {
            true => Ok(None),
            false => Err(GitError::Unreachable {
                operation: "reading",
                message: "nothing has been fetched yet".into(),
            }),
        }
    }

    /// The commit behind a name, as `git rev-parse` takes it.
    ///
    /// # Errors
    /// When there is none.
    pub fn resolve(&self, rev: &str) -> Result<CommitId, GitError> {
        let repository = self.repository()?;
        let object = repository.revparse_single(rev)?;
        Ok(CommitId::of(object.peel_to_commit()?.id()))
    }

    /// Whether history goes on from `ancestor` to `commit`; a commit goes on from itself. Nothing goes
    /// on from a commit that is not there at all.
    ///
    /// # Errors
    /// When a commit of that history cannot be read.
    pub fn is_ancestor(&self, ancestor: CommitId, commit: CommitId) -> Result<bool, GitError> {
        if ancestor == commit {
            return Ok(true);
        }
        let repository = self.repository()?;
        match repository.find_commit(ancestor.oid()) {
            Ok(_) => Ok(repository.graph_descendant_of(commit.oid(), ancestor.oid())?),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Every file of a commit whose path is wanted. Links and submodules are no files. A folder that is
    /// the same in the commit read before is not read again.
    ///
    /// # Errors
    /// When the commit cannot be read or is larger than allowed.
    pub fn entries(
        &self,
        commit: CommitId,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, BlobId>, GitError> {
        let root = self.folder(commit)?;
        let mut files = BTreeMap::new();
        root.each("", &mut |path, blob| {
            if wanted(path) {
                files.insert(path.to_owned(), BlobId::of(blob));
            }
        });
        Ok(files)
    }

    /// Every link and submodule of a commit whose path is wanted: what was a file there has not been taken
    /// away, and cannot be read.
    ///
    /// # Errors
    /// As `entries`.
    pub fn others(
        &self,
        commit: CommitId,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<String>, GitError> {
        let root = self.folder(commit)?;
        let mut others = Vec::new();
        root.each_other("", &mut |path| {
            if wanted(path) {
                others.push(path.to_owned());
            }
        });
        Ok(others)
    }

    fn folder(&self, commit: CommitId) -> Result<Arc<Folder>, GitError> {
        let repository = self.repository()?;
        let tree = repository.find_commit(commit.oid())?.tree_id();
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut walk = Walk::new(&repository);
        let root = walk.folder(tree, last.root.as_ref(), 0)?;
        #[cfg(test)]
        {
            last.folders_read += walk.read;
        }
        last.root = Some(Arc::clone(&root));
        Ok(root)
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// When it is missing, or longer than `most` bytes.
    pub fn blob(&self, id: BlobId, most: usize) -> Result<Vec<u8>, GitError> {
        let repository = self.repository()?;
        let (size, _) = repository.odb()?.read_header(id.oid())?;
        if size > most {
            let message = format!("a file of {size} bytes is longer than {most} bytes");
            return Err(GitError::TooLarge(message));
        }
        Ok(repository.find_blob(id.oid())?.content().to_vec())
    }

    /// Older versions of a file, newest first, without the one in `from`: along first parents, at most
    /// `most` versions.
    ///
    /// # Errors
    /// When history cannot be read.
    pub fn history(
        &self,
        path: &str,
        from: CommitId,
        most: usize,
    ) -> Result<Vec<BlobId>, GitError> {
        let repository = self.repository()?;
        let version = |commit: &Commit<'_>| match commit.tree()?.get_path(Path::new(path)) {
            Ok(entry) if entry.kind() == Some(ObjectType::Blob) => Ok(Some(BlobId::of(entry.id()))),
            Ok(_) => Ok(None),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let mut commit = repository.find_commit(from.oid())?;
        let newest = version(&commit)?;
        let mut versions = Vec::new();
        for _ in 1..WALK {
            if versions.len() >= most || commit.parent_count() == 0 {
                break;
            }
            commit = commit.parent(0)?;
            if let Some(blob) = version(&commit)?
                && Some(blob) != newest
                && !versions.contains(&blob)
            {
                versions.push(blob);
            }
        }
        Ok(versions)
    }

    /// Opened anew for each call, so that what other processes wrote is seen.
    pub(crate) fn repository(&self) -> Result<Repository, GitError> {
        Ok(Repository::open(&self.0.path)?)
    }

    #[cfg(test)]
    fn folders_read(&self) -> usize {
        let last = self.0.last.lock();
        last.unwrap_or_else(PoisonError::into_inner).folders_read
    }
}

/// Whether a mirror can be fetched into, which takes the tip of every branch, and read from.
fn sound(mirror: &Repository, branch: &str) -> Result<(), GitError> {
    let ours = format!("refs/heads/{branch}");
    for reference in mirror.references()? {
        let reference = reference?;
        let Some(tip) = reference.target() else {
            continue;
        };
        let tree = mirror.find_commit(tip)?.tree_id();
        match reference.name_bytes() == ours.as_bytes() {
            true => intact(mirror, tree)?,
            false => readable(mirror, tree)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use git2::Oid;

    use super::*;
    use crate::changes::{commit_files, init_repository};

    const AUTHOR: (&str, &str) = ("Ada", "ada@example.invalid");

    fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs
            .iter()
            .map(|(path, text)| ((*path).into(), text.as_bytes().to_vec()))
            .collect()
    }

    fn change(path: &str, text: Option<&str>) -> BTreeMap<String, Option<Vec<u8>>> {
        BTreeMap::from([(path.into(), text.map(|text| text.as_bytes().to_vec()))])
    }

    #[test]
    fn only_changed_folders_are_read_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut many = BTreeMap::new();
        for folder in 0..50 {
            for file in 0..20 {
                many.insert(format!("deployments/o{folder}/d{file}.yaml"), b"x".to_vec());
            }
        }
        let location = dir.path().join("state.git");
        init_repository(&location, "main", &many, "start", AUTHOR, 1).expect("made");
        let location = location.to_str().expect("utf-8");
        let source = Source::open(location, dir.path(), "main").expect("opened");
        let head = source.head().expect("readable").expect("a tip");
        assert_eq!(source.entries(head, &|_| true).expect("read").len(), 1000);
        let cold = source.folders_read();
        let changed = change("deployments/o7/d7.yaml", Some("y"));
        let head = commit_files(location, "main", &changed, "one", AUTHOR, 2).expect("committed");
        assert_eq!(source.entries(head, &|_| true).expect("read").len(), 1000);
        assert_eq!(source.folders_read() - cold, 3, "the root and two folders");
    }

    /// Files of a folder and those below it.
    fn below(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("a folder").flatten();
        let inner = |path: PathBuf| match path.is_dir() {
            true => below(&path),
            false => vec![path],
        };
        entries.flat_map(|entry| inner(entry.path())).collect()
    }

    fn empty(file: &Path) {
        // Git takes the right to write from what it keeps.
        std::fs::remove_file(file).expect("removed");
        std::fs::write(file, "").expect("written");
    }

    /// Makes one file for each object, and empties that of an object.
    fn lose(mirror: &Path, object: Oid) {
        let packs = below(&mirror.join("objects/pack"));
        let is_pack = |path: &&PathBuf| path.extension().is_some_and(|x| x == "pack");
        let pack = packs.iter().find(is_pack).expect("a fetch is one pack");
        let aside = mirror.join("aside");
        std::fs::rename(pack, &aside).expect("moved");
        for rest in below(&mirror.join("objects/pack")) {
            std::fs::remove_file(rest).expect("removed");
        }
        let mut unpack = Command::new("git");
        let unpack = unpack.arg("--git-dir").arg(mirror);
        let pack = std::fs::File::open(&aside).expect("there");
        let done = unpack.args(["unpack-objects", "-q"]).stdin(pack).status();
        assert!(done.expect("git runs").success());
        let name = object.to_string();
        empty(&mirror.join("objects").join(&name[..2]).join(&name[2..]));
    }

    #[tokio::test]
    async fn a_mirror_that_a_power_cut_damaged_is_made_anew() {
        let dir = tempfile::tempdir().expect("a folder");
        let (state, mirror) = (dir.path().join("state.git"), dir.path().join("mirror.git"));
        let head = init_repository(&state, "main", &files(&[("a", "1")]), "1", AUTHOR, 1);
        let head = head.expect("made");
        let tree = Repository::open(&state).expect("opened");
        let tree = tree.find_commit(head.oid()).expect("there").tree_id();
        let blob = Oid::hash_object(ObjectType::Blob, b"1").expect("an id");
        let url = format!("file://{}", state.display());
        let limit = Duration::from_secs(60);
        for lost in [head.oid(), tree, blob] {
            let source = Source::open(&url, &mirror, "main").expect("opened");
            source.fetch(limit).await.expect("fetched");
            lose(&mirror, lost);
            let source = Source::open(&url, &mirror, "main").expect("made anew");
            source.fetch(limit).await.expect("fetched");
            let entries = source.entries(head, &|_| true).expect("read");
            assert_eq!(source.blob(entries["a"], 1).expect("read"), b"1");
        }
        let reopened = Source::open(&url, &mirror, "main").expect("opened");
        assert_eq!(reopened.head().expect("readable"), Some(head), "kept");
    }

    #[test]
    fn older_versions_come_newest_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let location = dir.path().join("state.git");
        init_repository(
            &location,
            "main",
            &files(&[("a", "1"), ("b", "1")]),
            "1",
            AUTHOR,
            1,
        )
        .expect("made");
        let location = location.to_str().expect("utf-8");
        for (path, text) in [("a", "2"), ("b", "2"), ("a", "3")] {
            commit_files(location, "main", &change(path, Some(text)), "m", AUTHOR, 2)
                .expect("made");
        }
        let source = Source::open(location, dir.path(), "main").expect("opened");
        let head = source.head().expect("readable").expect("a tip");
        let older = source.history("a", head, 10).expect("read");
        let texts: Vec<_> = older
            .iter()
            .map(|id| source.blob(*id, 10).expect("there"))
            .collect();
        assert_eq!(texts, [b"2".to_vec(), b"1".to_vec()]);
        assert_eq!(source.history("a", head, 1).expect("read").len(), 1);
        assert!(matches!(
            source.blob(older[0], 0),
            Err(GitError::TooLarge(_))
        ));
    }

    #[tokio::test]
    async fn a_fetch_that_was_killed_is_in_nobodys_way_and_two_take_turns() {
        let dir = tempfile::tempdir().expect("a folder");
        let (state, mirror) = (dir.path().join("state.git"), dir.path().join("mirror.git"));
        init_repository(&state, "main", &files(&[("a", "1")]), "1", AUTHOR, 1).expect("made");
        let url = format!("file://{}", state.display());
        let limit = Duration::from_secs(60);
        let source = Source::open(&url, &mirror, "main").expect("opened");
        source.fetch(limit).await.expect("fetched");
        for round in ["2", "3"] {
            std::fs::write(mirror.join("refs/heads/main.lock"), "").expect("left behind");
            let location = state.to_str().expect("utf-8");
            let head = commit_files(location, "main", &change("a", Some(round)), "m", AUTHOR, 2);
            let (one, other) = tokio::join!(source.fetch(limit), source.fetch(limit));
            one.expect("fetched");
            other.expect("fetched, too");
            let seen = source.head().expect("readable");
            assert_eq!(seen, Some(head.expect("committed")));
        }
    }

    #[tokio::test]
    async fn a_branch_is_absent_only_once_the_remote_has_answered() {
        let dir = tempfile::tempdir().expect("a folder");
        let (state, mirror) = (dir.path().join("state.git"), dir.path().join("mirror.git"));
        let url = format!("file://{}", state.display());
        let source = Source::open(&url, &mirror, "main").expect("opened");
        let limit = Duration::from_secs(60);
        assert!(source.fetch(limit).await.is_err());
        assert!(matches!(source.head(), Err(GitError::Unreachable { .. })));
        Repository::init_bare(&state).expect("made");
        source.fetch(limit).await.expect("fetched");
        assert_eq!(source.head().expect("readable"), None);
    }

    #[test]
    fn an_absent_branch_is_not_an_error_and_a_missing_repository_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let location = dir.path().join("state.git");
        init_repository(&location, "main", &files(&[("a", "1")]), "1", AUTHOR, 1).expect("made");
        let location = location.to_str().expect("utf-8");
        let source = Source::open(location, dir.path(), "other").expect("opened");
        assert_eq!(source.head().expect("readable"), None);
        std::fs::remove_dir_all(location).expect("removed");
        assert!(source.head().is_err());
    }
}
