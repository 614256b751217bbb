//! Which commit brought a file as it is, and who made that commit.

use std::path::Path;

use git2::{Commit, ErrorCode, Oid};

use crate::{CommitId, GitError, Source};

/// The most commits that are looked through.
const WALK: usize = 1000;

/// The commit that brought a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// Which one.
    pub commit: CommitId,
    /// The name of its author, as the author wrote it.
    pub author: String,
    /// When, in seconds since the epoch.
    pub when: i64,
}

impl Source {
    /// The commit that brought a file as it is in `from`, along first parents. None when the file is not there, or was
    /// brought too many commits ago.
    ///
    /// # Errors
    /// When history cannot be read.
    pub fn brought(&self, path: &str, from: CommitId) -> Result<Option<Brought>, GitError> {
        let repository = self.repository()?;
        let mut commit = repository.find_commit(from.oid())?;
        let Some(file) = entry(&commit, path)? else {
            return Ok(None);
        };
        for _ in 0..WALK {
            let parent = match commit.parent_count() {
                0 => return Ok(Some(told(&commit))),
                _ => commit.parent(0)?,
            };
            if entry(&parent, path)? != Some(file) {
                return Ok(Some(told(&commit)));
            }
            commit = parent;
        }
        Ok(None)
    }
}

fn entry(commit: &Commit<'_>, path: &str) -> Result<Option<Oid>, GitError> {
    match commit.tree()?.get_path(Path::new(path)) {
        Ok(entry) => Ok(Some(entry.id())),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn told(commit: &Commit<'_>) -> Brought {
    Brought {
        commit: CommitId::of(commit.id()),
        author: String::from_utf8_lossy(commit.author().name_bytes()).into_owned(),
        when: commit.time().seconds(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{commit_files, init_repository};

    #[test]
    fn the_commit_that_brought_a_file_is_told_and_not_a_later_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("state.git");
        let files = |text: &str| BTreeMap::from([("a".to_owned(), text.as_bytes().to_vec())]);
        let (ada, bob) = (
            ("Ada", "ada@example.invalid"),
            ("Bob", "bob@example.invalid"),
        );
        let first = init_repository(&state, "main", &files("1"), "1", ada, 1).expect("made");
        let place = state.display().to_string();
        let commit = |path: &str, author, when| {
            let change = BTreeMap::from([(path.to_owned(), Some(b"2".to_vec()))]);
            commit_files(&place, "main", &change, "m", author, when).expect("made")
        };
        let other = commit("b", bob, 2);
        let source = Source::open(&place, dir.path(), "main").expect("opened");
        let brought = |path, from| source.brought(path, from).expect("read");
        let is = |commit, author: &str, when| {
            let author = author.into();
            Some(Brought {
                commit,
                author,
                when,
            })
        };
        assert_eq!(brought("a", other), is(first, "Ada", 1));
        let changed = commit("a", bob, 3);
        let last = commit("c", ada, 4);
        assert_eq!(brought("a", last), is(changed, "Bob", 3));
        assert_eq!(brought("a", other), is(first, "Ada", 1));
        assert_eq!(brought("d", last), None);
    }
}
