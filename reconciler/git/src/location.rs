//! Where a repository lies. A path on this machine that is not there is a mistake; it is not taken for a remote that
//! may come back.

use std::path::{Path, PathBuf};

use git2::Repository;

use crate::GitError;

/// Where a repository lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// On this machine, by its absolute path.
    Local(PathBuf),
    /// Anywhere that `git` can fetch from.
    Remote(String),
}

impl Location {
    /// What a location means, as `git` takes it: a path, or a URL, or `host:path`.
    ///
    /// # Errors
    /// When it is a path, and nothing is there or no repository.
    pub fn of(location: &str) -> Result<Self, GitError> {
        let path = Path::new(location);
        let unusable = |error| GitError::File(path.to_path_buf(), error);
        if !path.exists() && !is_path(location) {
            return Ok(Self::Remote(location.into()));
        }
        match path.try_exists() {
            Ok(false) => Err(GitError::Absent(path.to_path_buf())),
            Ok(true) if Repository::open(path).is_err() => {
                Err(GitError::NotARepository(path.to_path_buf()))
            }
            there => there
                .and_then(|_| std::path::absolute(path))
                .map(Self::Local)
                .map_err(unusable),
        }
    }
}

/// Whether `git` would look for it on this machine.
fn is_path(location: &str) -> bool {
    let scheme = location.contains("://");
    let before = location.split('/').next().unwrap_or_default();
    !scheme && !before.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_from_a_remote_and_has_to_be_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let (state, other) = (dir.path().join("state.git"), dir.path().join("other"));
        Repository::init_bare(&state).expect("made");
        std::fs::create_dir(&other).expect("made");
        let of = |path: &Path| Location::of(&path.display().to_string());
        assert!(matches!(of(&state), Ok(Location::Local(path)) if path == state));
        assert!(matches!(of(&other), Err(GitError::NotARepository(_))));
        let mistyped = dir.path().join("sate.git");
        assert!(matches!(of(&mistyped), Err(GitError::Absent(path)) if path == mistyped));
        for path in ["sate.git", "./sate:git", "../nowhere", ""] {
            let absent = Location::of(path);
            assert!(matches!(absent, Err(GitError::Absent(_))), "{path}");
        }
        for remote in [
            "https://git.example.invalid/state.git",
            "ssh://git@git.example.invalid/state.git",
            "git@git.example.invalid:state.git",
            "host:state.git",
            "file:///nowhere/state.git",
        ] {
            let found = Location::of(remote).expect("a remote");
            assert_eq!(found, Location::Remote(remote.into()));
        }
    }
}
