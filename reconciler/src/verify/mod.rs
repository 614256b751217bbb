//! A status branch held against itself, by somebody who trusts neither the reconciler's host nor the Git host: each
//! commit's signature, that the branch only grew, what each commit wrote, and each verdict made again from its evidence.

mod evidence;
mod parts;
mod signing;
#[cfg(test)]
mod tests;

use easyenclave_git::{CommitId, Deeds, Flaw, FlawKind, GitError, Past, Saying, SignatureFlaw};
use easyenclave_schemas::status::paths;
use serde::Serialize;

use crate::seal::Opener;
use evidence::Evidence;
pub use evidence::Tally;
pub use signing::Signing;

/// So many findings are told; the rest is counted.
const FINDINGS: usize = 200;

/// Which commits are looked at.
#[derive(Debug, Clone, Copy)]
pub enum Scope {
    /// All up to this one.
    Upto(CommitId),
    /// Those after the first up to the second.
    Range(CommitId, CommitId),
    /// This one alone, with everything that is in its tree.
    At(CommitId),
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// The last commit that was looked at.
    pub commit: String,
    /// How many were.
    pub commits: usize,
    /// How many of them are of the time before commits said what they wrote.
    pub without_sums: usize,
    /// The verdicts.
    pub verdicts: Tally,
    /// What is wrong, oldest commit first.
    pub findings: Vec<Finding>,
    /// Commits that are not as they were signed because they build on one that is among the findings.
    pub builds_on: usize,
    /// Findings that are not listed.
    pub more: usize,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The commit.
    pub commit: String,
    /// The file; none when it is the commit itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `signature`, `history`, `files` or `evidence`.
    pub kind: &'static str,
    /// In words.
    pub message: String,
}

/// Looks at these commits, and with an opener into what is sealed.
///
/// # Errors
/// When the repository does not hold them whole.
pub fn audit(
    past: &Past,
    signing: Signing<'_>,
    scope: Scope,
    opener: Option<&Opener>,
) -> Result<Audit, GitError> {
    let mut walk = Walk {
        past,
        signing,
        evidence: Evidence::new(past, opener),
        audit: Audit::default(),
        broken: false,
    };
    walk.all(scope)?;
    walk.audit.verdicts = walk.evidence.tally;
    Ok(walk.audit)
}

struct Walk<'a> {
    past: &'a Past,
    signing: Signing<'a>,
    evidence: Evidence<'a>,
    audit: Audit,
    /// Whether the signature of the commit before does not hold.
    broken: bool,
}

impl Walk<'_> {
    fn all(&mut self, scope: Scope) -> Result<(), GitError> {
        let (after, to) = match scope {
            Scope::Upto(to) => (None, to),
            Scope::Range(after, to) => (Some(after), to),
            Scope::At(at) => (self.past.commit(at)?.parents.first().copied(), at),
        };
        self.audit.commit = to.to_string();
        let Some(chain) = self.past.chain(after, to)? else {
            let message =
                "does not follow on the first commit of the range: the branch was taken back";
            self.found(to, None, "history", message.into());
            return Ok(());
        };
        let mut before = after.map(|after| self.past.commit(after)).transpose()?;
        if let Some(before) = &before {
            self.signing.start(before);
        }
        for commit in chain {
            let saying = self.past.commit(commit)?;
            self.one(&saying, before.as_ref(), matches!(scope, Scope::At(_)))?;
            before = Some(saying);
        }
        Ok(())
    }

    fn one(
        &mut self,
        saying: &Saying,
        before: Option<&Saying>,
        whole_tree: bool,
    ) -> Result<(), GitError> {
        self.audit.commits += 1;
        if let Err(flaw) = saying.follows(before) {
            self.flaw(saying.commit, flaw);
        }
        self.signature(saying);
        let Deeds {
            mut written,
            flaws,
            silent,
        } = self.past.deeds(saying, before);
        self.audit.without_sums += usize::from(silent);
        if whole_tree && flaws.is_empty() {
            written = self.past.files(saying.commit)?;
        }
        for flaw in &flaws {
            // Its bytes are not those that were written: what they say is nobody's word.
            if let Some(path) = &flaw.path {
                written.remove(path);
            }
        }
        for flaw in flaws {
            self.flaw(saying.commit, flaw);
        }
        for (path, blob) in written {
            if !path.starts_with(paths::AGENTS) {
                continue;
            }
            if let Err(wrong) = self.evidence.agent(saying.commit, &path, blob) {
                self.found(saying.commit, Some(wrong.path), "evidence", wrong.message);
            }
        }
        Ok(())
    }

    fn signature(&mut self, saying: &Saying) {
        let signed = match self.signing.signers(self.past, saying) {
            Ok(signers) => saying.signed_by(signers),
            Err(message) => return self.found(saying.commit, None, "signature", message),
        };
        match signed {
            Ok(()) => {
                self.broken = false;
                if let Err(message) = self.signing.went_on(self.past, saying) {
                    self.found(saying.commit, None, "history", message);
                }
            }
            Err(SignatureFlaw::Altered) if self.broken => self.audit.builds_on += 1,
            Err(flaw) => {
                self.broken = true;
                self.found(saying.commit, None, "signature", flaw.to_string());
            }
        }
    }

    fn flaw(&mut self, commit: CommitId, flaw: Flaw) {
        let kind = match flaw.kind {
            FlawKind::Signature => "signature",
            FlawKind::History => "history",
            FlawKind::Files => "files",
        };
        self.found(commit, flaw.path, kind, flaw.message);
    }

    fn found(
        &mut self,
        commit: CommitId,
        path: Option<String>,
        kind: &'static str,
        message: String,
    ) {
        if self.audit.findings.len() == FINDINGS {
            self.audit.more += 1;
            return;
        }
        self.audit.findings.push(Finding {
            commit: commit.to_string(),
            path,
            kind,
            message,
        });
    }
}
