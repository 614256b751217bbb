//! The reader: heads, trees and blobs of one branch. It cannot write anything but its own mirror.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use git2::{Commit, ErrorCode, ObjectType, Repository};

use crate::clone::open_bare;
use crate::folders::{Folder, Walk};
use crate::process::{first_words, git};
use crate::tidy::tidy;
use crate::{BlobId, CommitId, GitError};

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
    /// When a local path is no repository, or the mirror cannot be made.
    pub fn open(location: &str, mirror: &Path, branch: &str) -> Result<Self, GitError> {
        let local = Path::new(location);
        let (url, path) = if local.exists() {
            let found = Repository::open(local)
                .map_err(|_| GitError::NotARepository(local.to_path_buf()))?;
            (None, found.path().to_path_buf())
        } else {
            open_bare(mirror)?;
            (Some(location.to_owned()), mirror.to_path_buf())
        };
        Ok(Self(Arc::new(Inner {
            url,
            path,
            branch: branch.into(),
            last: Mutex::default(),
        })))
    }

    /// Whether the repository is read in place.
    pub fn is_local(&self) -> bool {
        self.0.url.is_none()
    }

    /// Brings the mirror up to date; does nothing for a local repository.
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
        let output = git(&self.0.path, "fetch", &args, deadline).await?;
        if output.success {
            tidy(&self.0.path, deadline).await;
            return Ok(());
        }
        Err(GitError::Unreachable {
            operation: "fetch",
            message: first_words(&output.stderr),
        })
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
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error.into()),
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
        let mut files = BTreeMap::new();
        root.each("", &mut |path, blob| {
            if wanted(path) {
                files.insert(path.to_owned(), BlobId::of(blob));
            }
        });
        Ok(files)
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
    fn repository(&self) -> Result<Repository, GitError> {
        Ok(Repository::open(&self.0.path)?)
    }

    #[cfg(test)]
    fn folders_read(&self) -> usize {
        let last = self.0.last.lock();
        last.unwrap_or_else(PoisonError::into_inner).folders_read
    }
}

#[cfg(test)]
mod tests {
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
