//! Keeps a repository small and quick for months: a pack for each commit of ours, and some loose objects for each
//! fetch, become few packs. Nothing is ever dropped, whether it is reachable or not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::Repository;
use tokio::task::spawn_blocking;

use crate::GitError;
use crate::process::{Output, git, git_beside_others};

/// So many packs are put together.
const PACKS: usize = 50;

/// So many loose objects in one of the 256 folders, as Git itself counts: about 6,700 in all.
const LOOSE: usize = 27;

/// One thread and little memory: this runs beside the daemon's work.
const REPACK: [&str; 8] = [
    "-c",
    "pack.threads=1",
    "-c",
    "pack.windowMemory=32m",
    "repack",
    "--geometric=2",
    "-d",
    "--quiet",
];

/// Repacks a clone of ours when there is something to gain. Nobody may fetch or push there meanwhile; whoever reads goes on, since
/// objects only move into a pack. It can always be done later, so a failure is only noted.
pub async fn tidy(repository: &Path, deadline: Duration) {
    if deadline.is_zero() || !(packs(repository) >= PACKS || has_many_loose(repository)) {
        return;
    }
    noted(git(repository, "repack", &REPACK, deadline).await);
}

/// Repacks a repository on this machine that we commit to when it has many packs. Others may be at work in it, Git's own
/// tidying among them. It can always be done later, so a failure is only noted.
pub async fn tidy_beside_others(location: &str, deadline: Duration) {
    let location = location.to_owned();
    let many = spawn_blocking(move || {
        let repository = Repository::open(location).ok()?.commondir().to_path_buf();
        (packs(&repository) >= PACKS).then_some(repository)
    });
    if let Ok(Some(repository)) = many.await {
        noted(git_beside_others(&repository, "repack", &REPACK, deadline).await);
    }
}

fn noted(done: Result<Output, GitError>) {
    match done {
        Ok(output) if output.success => {}
        Ok(output) => tracing::warn!(said = output.stderr, "repository not repacked"),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "repository not repacked"
        ),
    }
}

fn packs(repository: &Path) -> usize {
    let packs = names(repository, "objects/pack");
    packs
        .filter(|name| name.extension().is_some_and(|x| x == "pack"))
        .count()
}

fn has_many_loose(repository: &Path) -> bool {
    names(repository, "objects/17").count() >= LOOSE
}

fn names(repository: &Path, folder: &str) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(repository.join(folder));
    let names = entries.into_iter().flatten().flatten();
    names.map(|entry| entry.path())
}
