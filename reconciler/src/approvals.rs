//! Which approvals have had their occasion. Kept durably, because an approval that came back to life with a restart
//! would let removals through that nobody was asked about.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use easyenclave_plan::{Approval, spent};
use easyenclave_schemas::status::SpentApproval;
use easyenclave_store::Space;

use crate::journal::{Journal, JournalError};
use crate::pass::Report;
use crate::report::Status;
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

    /// Goes on from what was kept; from what the status branch says where nothing was, as after the store was lost.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn recall(
        &self,
        journal: &Journal,
        reported: Option<&Status>,
    ) -> Result<(), JournalError> {
        let kept = journal.get(Space::Meta, KEY.into()).await?;
        let kept = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let reported = || reported.map(|status| status.fleet.spent_approvals.clone());
        let kept: Vec<SpentApproval> = kept.or_else(reported).unwrap_or_default();
        self.set(kept.iter().map(approval).collect());
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
