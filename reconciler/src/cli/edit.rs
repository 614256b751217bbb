//! Commits that the command line makes in a state repository on a person's behalf.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use easyenclave_git as git;

use super::read::Place;
use crate::clock::{Clock, System};
use crate::config;

/// A push by the command line may take this long.
const DEADLINE: Duration = Duration::from_secs(60);

/// Commits files to a branch of a repository, local or not, and tells the commit.
pub(super) async fn commit(
    place: &Place,
    files: BTreeMap<String, Option<Vec<u8>>>,
    message: &str,
) -> anyhow::Result<String> {
    let Place { repository, branch } = place;
    let (name, email) = identity(Path::new(repository));
    let when = System.now().as_millis() / 1000;
    let commit = if Path::new(repository).exists() {
        let author = (name.as_str(), email.as_str());
        git::commit_files(repository, branch, &files, message, author, when)
    } else {
        let scratch = config::scratch()?;
        let proposal = git::Proposal {
            branch: branch.clone(),
            onto: None,
            changes: files,
            message: message.into(),
            author: (name, email),
            when,
        };
        git::commit_and_push(repository, scratch.path(), proposal, DEADLINE).await
    };
    Ok(commit
        .with_context(|| format!("committing to {}", git::redact(repository)))?
        .to_string())
}

/// Commits files to a new branch that starts at the desired state, for somebody to review, and tells the commit.
pub(super) fn propose(
    place: &Place,
    branch: &str,
    files: &BTreeMap<String, Option<Vec<u8>>>,
    message: &str,
) -> anyhow::Result<String> {
    let Place {
        repository,
        branch: base,
    } = place;
    let shown = git::redact(repository);
    if !Path::new(repository).exists() {
        bail!(
            "{shown} is not on this machine: run this in a clone, with --repo, and push the branch"
        );
    }
    let (name, email) = identity(Path::new(repository));
    let when = System.now().as_millis() / 1000;
    git::create_branch(repository, branch, base)
        .with_context(|| format!("making branch {branch} in {shown}"))?;
    let author = (name.as_str(), email.as_str());
    let commit = git::commit_files(repository, branch, files, message, author, when);
    Ok(commit
        .with_context(|| format!("committing to {shown}"))?
        .to_string())
}

/// Who commits: what Git's variables or the repository's configuration say, or else this program.
pub(super) fn identity(repository: &Path) -> (String, String) {
    config::git_identity()
        .or_else(|| git::configured_identity(repository))
        .unwrap_or_else(|| {
            (
                "EasyEnclave".into(),
                "easyenclave@easyenclave.invalid".into(),
            )
        })
}
