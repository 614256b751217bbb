//! Which approvals have had their occasion. Kept durably, because an approval that came back to life with a restart
//! would let removals through that nobody was asked about.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use easyenclave_plan::{Approval, spent};
use easyenclave_schemas::status::SpentApproval;
use easyenclave_store::Space;

use crate::journal::{Journal, JournalError};
use crate::pass::Report;
use crate::world::World;

/// The key in [`Space::Meta`].
const KEY: &str = "spent-approvals";

/// Approvals that are over, of those that the desired state names.
#[derive(Debug, Default)]
pub struct Spent(RwLock<BTreeSet<Approval>>);

impl Spent {
    /// Those that are over now.
    pub fn all(&self) -> BTreeSet<Approval> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Goes on from what was kept and what the status branch says: the store may be lost, or be an older copy of itself.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn recall(
        &self,
        journal: &Journal,
        reported: &[SpentApproval],
    ) -> Result<(), JournalError> {
        let kept = journal.get(Space::Meta, KEY.into()).await?;
        let kept = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let kept: Vec<SpentApproval> = kept.unwrap_or_default();
        self.set(kept.iter().chain(reported).map(approval).collect());
        Ok(())
    }

    async fn keep(&self, journal: &Journal, spent: BTreeSet<Approval>) -> Result<(), JournalError> {
        let list: Vec<_> = spent.iter().map(reported).collect();
        let bytes = serde_json::to_vec(&list).expect("plain data");
        journal.keep(Space::Meta, KEY, bytes).await?;
        self.set(spent);
        Ok(())
    }

    fn set(&self, spent: BTreeSet<Approval>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = spent;
    }
}

/// Keeps which approvals are over after a pass that could see the whole fleet, and has that reported.
pub(crate) async fn settle(world: &World, report: &Report) {
    let desired = &report.revision.desired;
    let over = spent(desired, &report.observed, &report.plan);
    if over == report.observed.spent {
        return;
    }
    match world.spent.keep(&world.journal, over).await {
        Ok(()) => world.wake.notify_one(),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "approvals not kept");
        }
    }
}

/// As it is kept and reported.
pub(crate) fn reported(approval: &Approval) -> SpentApproval {
    SpentApproval {
        plan_digest: approval.held,
        revision: approval.revision.clone(),
    }
}

/// As the planner knows it.
pub(crate) fn approval(spent: &SpentApproval) -> Approval {
    Approval {
        held: spent.plan_digest,
        revision: spent.revision.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use easyenclave_schemas::Digest;
    use easyenclave_store::SledStore;

    use super::*;

    #[tokio::test]
    async fn a_store_that_is_lost_or_older_revives_no_approval_that_status_tells_is_spent() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = SledStore::open(dir.path()).expect("a store");
        let journal = Journal::open(Arc::new(store)).expect("a journal");
        let one = |word: &str| SpentApproval {
            plan_digest: Digest::of(word.as_bytes()),
            revision: Some("1".repeat(40)),
        };
        let all = |words: &[&str]| words.iter().map(|word| approval(&one(word))).collect();
        let recalled = async || {
            let spent = Spent::default();
            let reported = [one("older"), one("newer")];
            spent.recall(&journal, &reported).await.expect("read");
            spent.all()
        };
        assert_eq!(recalled().await, all(&["older", "newer"]), "it is lost");
        let kept = Spent::default();
        let older = all(&["older", "unpublished"]);
        kept.keep(&journal, older).await.expect("kept");
        assert_eq!(recalled().await, all(&["older", "newer", "unpublished"]));
    }
}
