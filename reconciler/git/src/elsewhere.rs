//! Commits for people to repositories that lie elsewhere: made in a clone of ours, and pushed from exactly the commit that
//! they were made on. Somebody who takes the branch elsewhere meanwhile, and be it back, is never undone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::Repository;
use tokio::task::spawn_blocking;

use crate::changes::{Proposal, commit_onto, refusal, tip};
use crate::clone::open_bare;
use crate::process::{first_words, git};
use crate::remote::Until;
use crate::{CommitId, GitError};

/// Commits changes to a branch of a repository that lies elsewhere, in `scratch`, and pushes them. Scratch is nobody
/// else's, and `tidy` keeps it small.
///
/// A push whose answer was lost may have landed; doing it again is no harm.
///
/// # Errors
/// As `commit_files`; `Moved` when somebody else moved the branch meanwhile, forwards or back; otherwise when the remote
/// cannot be read or refuses.
pub async fn commit_and_push(
    url: &str,
    scratch: &Path,
    proposal: Proposal,
    deadline: Duration,
) -> Result<CommitId, GitError> {
    let until = Until::new(deadline);
    let clone = scratch.to_path_buf();
    aside(move || open_bare(&clone).map(drop)).await?;
    let name = format!("refs/heads/{}", proposal.branch);
    fetch(url, scratch, &name, until).await?;
    let (clone, at) = (scratch.to_path_buf(), name.clone());
    let (from, commit) = aside(move || commit(clone, &at, proposal)).await?;
    push(url, scratch, (&name, &from), commit, until).await?;
    Ok(commit)
}

async fn fetch(url: &str, scratch: &Path, name: &str, until: Until) -> Result<(), GitError> {
    let spec = format!("+{name}:{name}");
    let args = ["fetch", "--quiet", "--no-tags", "--", url, &spec];
    let fetched = git(scratch, "fetch", &args, until.left()).await?;
    match fetched.success {
        true => Ok(()),
        false => Err(GitError::Unreachable {
            operation: "fetch",
            message: first_words(&fetched.stderr),
        }),
    }
}

/// Commits onto what was fetched. Answers that, too: empty for nothing.
fn commit(
    clone: PathBuf,
    name: &str,
    mut proposal: Proposal,
) -> Result<(String, CommitId), GitError> {
    let fetched = tip(&Repository::open(&clone)?, name)?.map(CommitId::of);
    proposal.onto = proposal.onto.or(fetched);
    let commit = commit_onto(&clone.display().to_string(), &proposal)?;
    let from = fetched.map(|fetched| fetched.to_string());
    Ok((from.unwrap_or_default(), commit))
}

/// Pushes where the branch is what was fetched still. That is always forwards, so the lease allows nothing that a push
/// without it would not, and refuses when the branch was taken back.
async fn push(
    url: &str,
    scratch: &Path,
    (name, from): (&str, &str),
    commit: CommitId,
    until: Until,
) -> Result<(), GitError> {
    let lease = format!("--force-with-lease={name}:{from}");
    let spec = format!("{commit}:{name}");
    let args = ["push", "--porcelain", &lease, "--", url, &spec];
    let pushed = git(scratch, "push", &args, until.left()).await?;
    match pushed.success {
        true => Ok(()),
        false => Err(refusal(&pushed.stdout, &pushed.stderr)),
    }
}

/// Does what waits for the disk where nobody else waits for it.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GitError> + Send + 'static,
) -> Result<T, GitError> {
    spawn_blocking(work).await.expect("it does not panic")
}
