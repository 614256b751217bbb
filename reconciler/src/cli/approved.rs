//! Approvals that the desired state has already: whoever approves once more changes nothing, and no second reason takes
//! the place of the first.

use easyenclave_git::{Brought, CommitId, Source};
use easyenclave_plan::Approval;
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::{ApprovalSpec, Document};

use super::outlook::load;
use super::read::{self, Place};
use crate::desired::Loader;

/// An approval, and where it is.
pub(super) struct Approved {
    pub(super) approval: Approval,
    path: String,
    reason: String,
    tip: CommitId,
    /// None when that was too long ago, or cannot be told.
    brought: Option<Brought>,
}

impl Approved {
    /// The commit that brought it, or else one that has it.
    pub(super) fn commit(&self) -> CommitId {
        self.brought.as_ref().map_or(self.tip, |by| by.commit)
    }

    /// By whom, when and why.
    pub(super) fn words(&self) -> String {
        let by = self.brought.as_ref().map(|by| {
            let author: String = by.author.chars().take(100).collect();
            let at = Timestamp::from_millis(by.when.saturating_mul(1000));
            format!(" by {author} at {at}")
        });
        let why = match self.reason.as_str() {
            "" => "without a reason".into(),
            reason => format!("reason {reason:?}"),
        };
        format!("already approved{}, {why}", by.unwrap_or_default())
    }

    /// The file that it is in.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// The approvals of a plan, by the digits that its digest begins with, that are in force at the tip of a branch: a
/// document that the reconciler refuses approves nothing.
pub(super) async fn of(place: &Place, digits: &str) -> anyhow::Result<Vec<Approved>> {
    read::at_tip(place, |source, tip| {
        let mut loader = Loader::default();
        load(&mut loader, source, tip)?;
        let approvals = loader.by_path().filter_map(|(path, document)| {
            let Document::Approval(document) = document else {
                return None;
            };
            let spec = &document.spec;
            let is_asked = spec.plan_digest.to_string().starts_with(digits);
            is_asked.then(|| approved(source, tip, path, spec))
        });
        Ok(approvals.collect())
    })
    .await
}

fn approved(source: &Source, tip: CommitId, path: &str, spec: &ApprovalSpec) -> Approved {
    Approved {
        approval: Approval {
            held: spec.plan_digest,
            revision: spec.revision.clone(),
        },
        brought: source.brought(path, tip).ok().flatten(),
        path: path.into(),
        reason: spec.reason.clone(),
        tip,
    }
}
