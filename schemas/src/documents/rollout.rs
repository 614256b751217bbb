//! How a change of a deployment rolls out.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;
use crate::Timestamp;

/// How a change rolls out: a canary, then waves, then all; within each step, as many at a time as `max_unavailable` and
/// `max_surge` allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rollout {
    /// So many replicas may be unready at a time because of a roll-out. With 0, a replacement is
    /// made ready on another agent before an old replica stops.
    pub max_unavailable: u32,
    /// So many replicas may run beyond those that are wanted, at most 100000. With 0 here and in `maxUnavailable`, it is 1.
    #[serde(skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "documents", schemars(range(max = 100_000)))]
    pub max_surge: u32,
    /// So many replicas change first, at most 100000; none when 0.
    #[serde(skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "documents", schemars(range(max = 100_000)))]
    pub canary: u32,
    /// Then so many percent of the replicas, rising, each 1 to 100, at most 20; then all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "documents",
        schemars(length(max = 20), inner(range(min = 1, max = 100)))
    )]
    pub waves: Vec<u32>,
    /// A changed replica must have been ready for so long before it counts for the next step; when left out, 10 s with
    /// `revert: automatic`, or else no time at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_healthy: Option<Span>,
    /// A changed replica that is not ready after so long has failed; the fleet's `timing.readyWithin` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// What happens when a change has failed by its own fault.
    #[serde(skip_serializing_if = "RevertMode::is_never")]
    pub revert: RevertMode,
    /// Another number tries again what was reverted, at most 1000000.
    #[serde(skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "documents", schemars(range(max = 1_000_000)))]
    pub attempt: u32,
    /// Nothing more changes for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            max_unavailable: 1,
            max_surge: 0,
            canary: 0,
            waves: Vec::new(),
            min_healthy: None,
            deadline: None,
            revert: RevertMode::Never,
            attempt: 0,
            pause: None,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What happens when a change has failed by its own fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum RevertMode {
    /// It waits for a person.
    #[default]
    Never,
    /// The last version known to be healthy takes its place, until the document changes.
    Automatic,
}

impl RevertMode {
    fn is_never(&self) -> bool {
        *self == Self::Never
    }
}

/// A roll-out that waits, by somebody, for a reason and until a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pause {
    /// Whom to ask.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 100)))]
    pub owner: String,
    /// Why.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 500)))]
    pub reason: String,
    /// When it goes on.
    #[cfg_attr(
        feature = "documents",
        schemars(with = "String", extend("format" = "date-time"))
    )]
    pub until: Timestamp,
}
