//! Tells when a ref of a local repository may have changed. Says no more than that: the reader looks.

use std::path::Path;

use git2::Repository;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::GitError;

/// Watches the refs of a local repository.
pub struct Watch {
    changes: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches the repository at a path.
    ///
    /// # Errors
    /// When it is no repository, or the system cannot watch it.
    pub fn local(path: &Path) -> Result<Self, GitError> {
        let repository =
            Repository::open(path).map_err(|_| GitError::NotARepository(path.to_path_buf()))?;
        // Not `path`: a linked work tree has its refs in the repository that it belongs to.
        let folder = repository.commondir().to_path_buf();
        // Capacity one: many changes before the reader looks are one.
        let (sender, changes) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let reading = |event: &Event| matches!(event.kind, EventKind::Access(_));
            if !event.as_ref().is_ok_and(reading) {
                let _ = sender.try_send(());
            }
        })
        .map_err(watching)?;
        // `packed-refs` lies in the folder itself; loose refs lie below `refs`.
        watcher
            .watch(&folder, RecursiveMode::NonRecursive)
            .map_err(watching)?;
        watcher
            .watch(&folder.join("refs"), RecursiveMode::Recursive)
            .map_err(watching)?;
        Ok(Self {
            changes,
            _watcher: watcher,
        })
    }

    /// Waits for a change.
    pub async fn changed(&mut self) {
        // The sender lives in the watcher, which lives as long as this.
        let _ = self.changes.recv().await;
    }
}

fn watching(error: notify::Error) -> GitError {
    GitError::Objects(
        format!("refs cannot be watched: {error}")
            .chars()
            .take(200)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::changes::{commit_files, init_repository};

    #[tokio::test]
    async fn a_commit_wakes_the_watch() {
        let dir = tempfile::tempdir().expect("a folder");
        let author = ("Ada", "ada@example.invalid");
        let files = BTreeMap::from([("a".to_owned(), b"1".to_vec())]);
        init_repository(dir.path(), "main", &files, "1", author, 1).expect("made");
        let mut watch = Watch::local(dir.path()).expect("watched");
        let changes = BTreeMap::from([("a".to_owned(), Some(b"2".to_vec()))]);
        let location = dir.path().to_str().expect("utf-8");
        commit_files(location, "main", &changes, "2", author, 2).expect("committed");
        timeout(Duration::from_secs(1), watch.changed())
            .await
            .expect("woken");
    }

    #[tokio::test]
    async fn a_linked_work_tree_hears_of_its_repositorys_refs() {
        let dir = tempfile::tempdir().expect("a folder");
        let (state, linked) = (dir.path().join("state"), dir.path().join("linked"));
        let author = ("Ada", "ada@example.invalid");
        let files = BTreeMap::from([("a".to_owned(), b"1".to_vec())]);
        init_repository(&state, "main", &files, "1", author, 1).expect("made");
        let repository = Repository::open(&state).expect("opened");
        repository
            .worktree("linked", &linked, None)
            .expect("a work tree");
        let mut watch = Watch::local(&linked).expect("watched");
        let changes = BTreeMap::from([("a".to_owned(), Some(b"2".to_vec()))]);
        let location = state.to_str().expect("utf-8");
        commit_files(location, "main", &changes, "2", author, 2).expect("committed");
        timeout(Duration::from_secs(1), watch.changed())
            .await
            .expect("woken");
    }
}
