//! What becomes of roll-outs: how far one is, what was reverted and why, and what ran before.

use serde::{Deserialize, Serialize};

use crate::wire::WorkloadCause;
use crate::{Digest, Timestamp};

/// How far a roll-out is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RolloutStep {
    /// The first replicas change.
    Canary,
    /// A wave.
    #[serde(rename_all = "camelCase")]
    Wave {
        /// Which one, from 1.
        number: u32,
        /// How many there are.
        of: u32,
    },
    /// All that is left changes.
    All,
    /// All replicas are of the version and have been healthy for long enough.
    Settled,
}

/// A version that was taken back by its own fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revert {
    /// The digest of the version and of `rollout.attempt`: it stays taken back for as long as that is wanted.
    pub attempt: Digest,
    /// The version that was taken back.
    pub from: Digest,
    /// The one in its place, the last that was known to be healthy.
    pub to: Digest,
    /// What was wrong with it.
    pub cause: WorkloadCause,
    /// When, in whole seconds.
    pub at: Timestamp,
}

/// A roll-out that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastRollout {
    /// Its version.
    pub version: Digest,
    /// The digest of the version and of `rollout.attempt`.
    pub attempt: Digest,
    /// The commit that asked for it, 40 hex digits.
    pub commit: String,
    /// When it began, in whole seconds.
    pub from: Timestamp,
    /// When it was over, in whole seconds.
    pub to: Timestamp,
    /// What became of it.
    pub outcome: RolloutOutcome,
    /// What was wrong with it, if it was reverted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<WorkloadCause>,
}

impl PastRollout {
    /// So many are remembered of a deployment.
    pub const MOST: usize = 20;
}

/// What became of a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RolloutOutcome {
    /// All replicas were of the version and healthy for long enough.
    Settled,
    /// It was taken back.
    Reverted,
    /// Another version was wanted before it came to either.
    Superseded,
}
