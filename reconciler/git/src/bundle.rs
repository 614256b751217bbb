//! A bundle: branches with all their history in one file, as `git bundle create` makes it, for those who have no clone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clone::{absolute, open_bare};
use crate::process::{first_words, git};
use crate::{GitError, Past};

/// The largest bundle, in bytes.
const LARGEST: u64 = 8 << 30;

/// Why a bundle cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// There is no such file, or it cannot be read.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// It is too large.
    #[error("{} has more than {LARGEST} bytes", .0.display())]
    TooLarge(PathBuf),
    /// It is no bundle, or not of whole branches.
    #[error(
        "{path} is no bundle of whole branches ({said}): make it with `git bundle create FILE main status` in a clone",
        path = .0.display(), said = .1
    )]
    Content(PathBuf, String),
    /// It cannot be unpacked.
    #[error("unpacking {}", .0.display())]
    Unpacked(PathBuf, #[source] GitError),
}

/// Unpacks the branches of a bundle into a folder, which becomes a repository.
///
/// # Errors
/// When it is no bundle, has less than the whole history of its branches, or takes longer than the deadline.
pub async fn unbundle(
    bundle: &Path,
    folder: &Path,
    deadline: Duration,
) -> Result<Past, BundleError> {
    let file = |error| BundleError::File(bundle.to_path_buf(), error);
    let metadata = std::fs::metadata(bundle).map_err(file)?;
    if metadata.len() > LARGEST {
        return Err(BundleError::TooLarge(bundle.to_path_buf()));
    }
    let content = |said: String| BundleError::Content(bundle.to_path_buf(), said);
    if !metadata.is_file() {
        return Err(content("it is no file".into()));
    }
    let unpacked = |error| BundleError::Unpacked(bundle.to_path_buf(), error);
    drop(open_bare(folder).map_err(unpacked)?);
    let address = absolute(&bundle.display().to_string());
    let args = [
        "fetch",
        "--quiet",
        "--no-tags",
        &address,
        "+refs/heads/*:refs/heads/*",
        "+refs/remotes/*:refs/remotes/*",
    ];
    let fetched = git(folder, "unbundle", &args, deadline).await;
    let fetched = fetched.map_err(unpacked)?;
    match fetched.success {
        true => Past::open(folder).map_err(unpacked),
        false => Err(content(first_words(&fetched.stderr))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use super::*;
    use crate::{commit_files, init_repository};

    const AUTHOR: (&str, &str) = ("Ada", "ada@example.invalid");
    const LIMIT: Duration = Duration::from_secs(60);

    fn bundle(dir: &Path, of: &[&str]) -> PathBuf {
        let file = dir.join("state.bundle");
        let made = Command::new("git")
            .arg("-C")
            .arg(dir.join("state.git"))
            .args(["bundle", "create", "--quiet"])
            .arg(&file)
            .args(of)
            .status();
        assert!(made.expect("git runs").success());
        file
    }

    fn state() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("state.git");
        let files = BTreeMap::from([("a.yaml".to_owned(), b"1".to_vec())]);
        init_repository(&state, "main", &files, "one", AUTHOR, 1).expect("made");
        let files = BTreeMap::from([("a.yaml".to_owned(), Some(b"2".to_vec()))]);
        let place = state.display().to_string();
        commit_files(&place, "main", &files, "two", AUTHOR, 2).expect("committed");
        dir
    }

    #[tokio::test]
    async fn branches_come_out_whole() {
        let dir = state();
        let file = bundle(dir.path(), &["main"]);
        let past = unbundle(&file, &dir.path().join("out"), LIMIT).await;
        let past = past.expect("unpacked");
        let tip = past.resolve("main").expect("a branch");
        assert_eq!(
            past.chain(None, tip).expect("read").map(|all| all.len()),
            Some(2)
        );
    }

    #[tokio::test]
    async fn a_part_of_a_history_and_other_files_are_refused_with_what_to_do() {
        let dir = state();
        let part = bundle(dir.path(), &["main~1..main"]);
        let text = dir.path().join("text");
        std::fs::write(&text, "no bundle").expect("written");
        for (number, file) in [part, text, dir.path().to_path_buf()].iter().enumerate() {
            let folder = dir.path().join(format!("out{number}"));
            let error = unbundle(file, &folder, LIMIT).await.err();
            let error = error.expect("refused").to_string();
            assert!(
                error.contains("git bundle create FILE main status"),
                "{error}"
            );
        }
        let none = unbundle(&dir.path().join("none"), &dir.path().join("out"), LIMIT).await;
        assert!(matches!(none, Err(BundleError::File(..))));
    }
}
