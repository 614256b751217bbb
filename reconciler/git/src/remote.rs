//! The remote's copy of the one branch that a ledger writes. Pushes are fast-forward or they fail; there
//! is no force here.

use std::path::Path;
use std::time::Duration;

use git2::{Oid, Repository};
use tokio::time::Instant;

use crate::GitError;
use crate::changes::{refusal, tip};
use crate::process::{Output, first_fetch, first_words, git};

/// What is known to be at the remote.
pub(crate) const KNOWN: &str = "refs/remotes/origin/ledger";

/// After a push that took too long, the remote is asked for this long at most what became of it.
const ASK: Duration = Duration::from_secs(10);

/// The end of a call that has several steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until {
    end: Instant,
    limit: Duration,
}

impl Until {
    /// From now on.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            end: Instant::now() + limit,
            limit,
        }
    }

    /// What is left; nothing when it is over.
    pub(crate) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

/// One branch of a remote, seen from a clone.
pub(crate) struct Remote<'a> {
    /// The clone.
    pub(crate) clone: &'a Path,
    /// The remote's path or URL.
    pub(crate) location: &'a str,
    /// The branch.
    pub(crate) branch: &'a str,
}

impl Remote<'_> {
    /// The remote's tip as far as it is known.
    pub(crate) fn known(&self) -> Result<Option<Oid>, GitError> {
        tip(&Repository::open(self.clone)?, KNOWN)
    }

    /// As `fetch`, and when nothing is known of the remote yet, what arrives may take half an hour.
    pub(crate) async fn sync(&self, until: Until) -> Result<(), GitError> {
        match self.known()? {
            Some(_) => self.fetch(until).await,
            None => self.learn(until, true).await,
        }
    }

    /// Learns the remote's tip. A branch that does not exist there is not an error.
    pub(crate) async fn fetch(&self, until: Until) -> Result<(), GitError> {
        self.learn(until, false).await
    }

    async fn learn(&self, until: Until, is_first: bool) -> Result<(), GitError> {
        let name = self.name();
        let list = ["ls-remote", "--", self.location, &name];
        let listed = readable(self.git("fetch", &list, until).await?)?;
        let wanted = format!("\t{name}");
        if !listed.stdout.lines().any(|line| line.ends_with(&wanted)) {
            return self.forget();
        }
        let spec = format!("+{name}:{KNOWN}");
        let fetch = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--",
            self.location,
            &spec,
        ];
        let fetched = match is_first {
            true => first_fetch(self.clone, &fetch, until.left()).await?,
            false => self.git("fetch", &fetch, until).await?,
        };
        readable(fetched).map(|_| ())
    }

    /// Pushes a commit. Tells when the branch was found behind what it is known to have had.
    pub(crate) async fn push(&self, ours: Oid, until: Until) -> Result<Option<String>, GitError> {
        let spec = format!("{ours}:{}", self.name());
        let args = [
            "push",
            "--porcelain",
            "--no-verify",
            "--",
            self.location,
            &spec,
        ];
        let output = match self.git("push", &args, until).await {
            Err(timeout @ GitError::Timeout { .. }) => return self.ask(ours, until, timeout).await,
            output => output?,
        };
        if !output.success {
            return Err(refusal(&output.stdout, &output.stderr));
        }
        let repository = Repository::open(self.clone)?;
        let lost = lost(&repository, tip(&repository, KNOWN)?, &output.stdout);
        repository.reference(KNOWN, ours, true, "push")?;
        Ok(lost)
    }

    /// A push that was stopped may have landed: only the remote knows, if it can be asked.
    async fn ask(
        &self,
        ours: Oid,
        until: Until,
        timeout: GitError,
    ) -> Result<Option<String>, GitError> {
        let asked = self.fetch(Until::new(until.limit.min(ASK))).await.is_ok();
        match asked && self.known()? == Some(ours) {
            true => Ok(None),
            false => Err(timeout),
        }
    }

    /// The limit that is told is the caller's, so that the same trouble has the same words.
    async fn git(
        &self,
        operation: &'static str,
        args: &[&str],
        until: Until,
    ) -> Result<Output, GitError> {
        let timeout = GitError::Timeout {
            operation,
            limit: until.limit,
        };
        if until.left().is_zero() {
            return Err(timeout);
        }
        match git(self.clone, operation, args, until.left()).await {
            Err(GitError::Timeout { .. }) => Err(timeout),
            output => output,
        }
    }

    fn forget(&self) -> Result<(), GitError> {
        let repository = Repository::open(self.clone)?;
        if let Ok(mut known) = repository.find_reference(KNOWN) {
            known.delete()?;
        }
        Ok(())
    }

    fn name(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }
}

fn readable(output: Output) -> Result<Output, GitError> {
    match output.success {
        true => Ok(output),
        false => Err(GitError::Unreachable {
            operation: "fetch",
            message: first_words(&output.stderr),
        }),
    }
}

/// Whether the push put back what somebody had taken away, from what `git push --porcelain` printed.
fn lost(repository: &Repository, known: Option<Oid>, stdout: &str) -> Option<String> {
    let known = known?;
    if stdout.lines().any(|line| line.starts_with("*\t")) {
        return Some("the branch was deleted; its history was pushed again".into());
    }
    let line = stdout.lines().find(|line| line.starts_with(" \t"))?;
    let (before, _) = line.rsplit_once('\t')?.1.split_once("..")?;
    let before = repository.revparse_single(before).ok()?.id();
    // Ahead of what is known is no loss: an earlier push may have landed unnoticed.
    let rewound = repository.graph_descendant_of(known, before).ok()?;
    let short: String = before.to_string().chars().take(12).collect();
    rewound.then(|| format!("the branch was taken back to {short}; its history was pushed again"))
}
