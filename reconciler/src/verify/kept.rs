//! The evidence that a status commit holds, held against policies that are not in force: what the reconciler would say of
//! it, as far as it can be read without an identity.

use easyenclave_attestation::{Again, Policy};
use easyenclave_git::{CommitId, Past};
use easyenclave_schemas::AgentId;
use easyenclave_schemas::evidence::Outcome;
use easyenclave_schemas::status::paths;

use super::evidence::{Claim, Shared, Tree};

/// Evidence in the tree of a status commit.
pub struct Kept {
    past: Past,
    commit: CommitId,
    shared: Shared,
}

impl Kept {
    /// The evidence of a commit.
    pub fn new(past: Past, commit: CommitId) -> Self {
        Self {
            past,
            commit,
            shared: Shared::default(),
        }
    }

    /// What a policy says of an agent's newest evidence, judged again as the reconciler does it after a change of policy.
    /// None when that is sealed, not kept, or damaged.
    pub fn again(&self, agent: &AgentId, policy: &Policy) -> Option<Again> {
        let tree = Tree {
            past: &self.past,
            opener: None,
            commit: self.commit,
            shared: &self.shared,
        };
        let path = paths::agent(agent);
        let blob = self.past.file(self.commit, &path).ok()??;
        let Ok(Claim::Record(claimed)) = tree.claim(&path, blob) else {
            return None;
        };
        let exhibit = tree.exhibit_of(&claimed).ok()?.ok()?;
        let before = match &claimed.record.outcome {
            Outcome::Accepted(verdict) => Some(verdict.as_ref()),
            Outcome::Refused(_) => None,
        };
        Some(exhibit.again(policy, before))
    }
}
