//! How many verdicts were made again, whose they are, and how many were not and why.

use easyenclave_schemas::evidence::RootKeyId;
use serde::Serialize;

use super::evidence::Made;
use super::parts::Closed;

/// How many verdicts were made again. Each record counts once, however many commits name it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Made again, with the same result.
    pub recomputed: usize,
    /// Those of them that a simulated platform vouches for, accepted or refused.
    pub simulated: usize,
    /// Those of them, all refused, of which it is not seen which root vouches for the platform.
    pub root_not_known: usize,
    /// Not made again: digests only are kept.
    pub not_kept: usize,
    /// Not made again: sealed, and nobody brought an identity.
    pub sealed: usize,
    /// Not made again: sealed for others than whose identities were brought.
    pub not_opened: usize,
    /// Refusals that followed from an earlier verdict too, or from what nobody asked the agent for: only that this
    /// evidence is not accepted was seen again.
    pub not_accepted: usize,
    /// Those of them that a simulated platform vouches for.
    pub not_accepted_simulated: usize,
    /// Times that a file of an agent has a verdict and names no evidence.
    pub without_evidence: usize,
}

impl Tally {
    pub(super) fn count(&mut self, made: Made, root: Option<RootKeyId>) {
        let simulated = usize::from(root.is_some_and(|root| root.is_simulated()));
        match made {
            Made::Same => {
                self.recomputed += 1;
                self.simulated += simulated;
                self.root_not_known += usize::from(root.is_none());
            }
            Made::NotAccepted => {
                self.not_accepted += 1;
                self.not_accepted_simulated += simulated;
            }
            Made::Not(Closed::NotKept) => self.not_kept += 1,
            Made::Not(Closed::Sealed) => self.sealed += 1,
            Made::Not(Closed::NotOpened) => self.not_opened += 1,
        }
    }
}
