//! A status branch held against itself, by somebody who trusts neither the reconciler's host nor the Git host: each
//! commit's signature, that the branch only grew, what each commit wrote, and each verdict made again from its evidence.

mod agrees;
mod evidence;
mod kept;
mod lines;
mod memo;
mod nearest;
mod parts;
mod policies;
mod shown;
mod signing;
mod spread;
mod tally;
#[cfg(test)]
mod tests;
mod today;
mod walk;

use easyenclave_git::{CommitId, GitError, Past};
use serde::Serialize;

use crate::seal::Opener;
pub use kept::Kept;
pub use shown::{Advice, Guest, LogShown, Nearest, PolicyShown, ShowError, Shown, shown};
pub use signing::{Signing, is_status_commit};
pub use tally::Tally;
pub use today::{AgentToday, Standing, Today, today};
use walk::Walk;

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
    /// Whether each verdict's policy was looked for in the desired state.
    pub policies_looked_for: bool,
    /// What is wrong, oldest commit first.
    pub findings: Vec<Finding>,
    /// Commits that are not as they were signed because they build on one that is among the findings.
    pub builds_on: usize,
    /// Findings that are not listed.
    pub more: usize,
    /// What the policies of today say, when that was asked for. Nothing of it is a finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub today: Option<Today>,
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
    /// `signature`, `history`, `files`, `evidence` or `policy`.
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
    Walk::new(past, signing, opener).all(scope)
}
