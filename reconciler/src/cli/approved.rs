//! Approvals that the desired state has already: whoever approves once more changes nothing, and no second reason takes
//! the place of the first.

use easyenclave_git::{Brought, CommitId, Source};
use easyenclave_plan::Approval;
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::decode::{MAX_BYTES, decode};
use easyenclave_schemas::documents::Document;

use super::read::{self, Place};

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

/// The approvals of a branch, by path.
pub(super) async fn all(place: &Place) -> anyhow::Result<Vec<Approved>> {
    read::at_tip(place, |source, tip| {
        let mut all = Vec::new();
        for (path, blob) in source.entries(tip, &crate::desired::is_document)? {
            let bytes = source.blob(blob, MAX_BYTES).unwrap_or_default();
            all.extend(approved(source, tip, path, &bytes));
        }
        Ok(all)
    })
    .await
}

/// What is no approval, or a broken one, approves nothing.
fn approved(source: &Source, tip: CommitId, path: String, bytes: &[u8]) -> Option<Approved> {
    let word = b"Approval";
    if !bytes.windows(word.len()).any(|part| part == word) {
        return None;
    }
    let Document::Approval(document) = decode(bytes).ok()?.document else {
        return None;
    };
    let spec = document.spec;
    Some(Approved {
        approval: Approval {
            held: spec.plan_digest,
            revision: spec.revision,
        },
        brought: source.brought(&path, tip).ok().flatten(),
        path,
        reason: spec.reason,
        tip,
    })
}
