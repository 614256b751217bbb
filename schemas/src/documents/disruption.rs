//! How agents of a capacity target may be taken away on purpose.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;
use crate::{DisruptionReason, Share, TimeOfDay, Weekday};

/// How agents may be taken away on purpose: for being too many, or not what they should be. What is lost, or not wanted
/// any more, is not held back by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DisruptionSpec {
    /// How many may go at a time, and when; all budgets that hold at a time hold together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 20)))]
    pub budgets: Vec<BudgetSpec>,
    /// Agents go for being too many only when they have been too many for so long.
    pub consolidate_after: Span,
    /// The machine of an agent that is to go and was told to stop is destroyed after this time, stopped or not, at least
    /// 10s; it waits for its workload for ever when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_within: Option<Span>,
}

impl Default for DisruptionSpec {
    fn default() -> Self {
        Self {
            budgets: Vec::new(),
            consolidate_after: Span::from_secs(0),
            drain_within: None,
        }
    }
}

/// How many agents of a target may go at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BudgetSpec {
    /// Those that go for these reasons; for any when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 3)))]
    pub reasons: Vec<DisruptionReason>,
    /// So many, or such a part of the target's agents: rounded down, one at least, and none with 0 alone.
    pub max: Share,
    /// When it holds; always when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 20)))]
    pub windows: Vec<WindowSpec>,
}

/// A time that comes again every week, in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WindowSpec {
    /// The days on which it begins; every day when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 7)))]
    pub days: Vec<Weekday>,
    /// When it begins.
    pub from: TimeOfDay,
    /// How long it lasts, at least 1m and at most 7d. It may end on another day.
    #[serde(rename = "for")]
    pub lasts: Span,
}
