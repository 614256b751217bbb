//! Conditions and waits: what holds of a thing, since when, and what it waits for.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// One condition of a thing. True is the good state for every type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which condition.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One word from a fixed list.
    pub reason: String,
    /// One bounded sentence.
    pub message: String,
    /// When `status` or `reason` last changed, in whole seconds.
    pub last_transition: Timestamp,
}

/// The conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionType {
    /// The agent's evidence was accepted.
    Attested,
    /// The verdict has not run out.
    Fresh,
    /// The agent is heard of, and what should run on it is ready.
    Healthy,
    /// What runs is the newest version.
    UpToDate,
    /// The address is published.
    Exposed,
    /// The order has come to its good end.
    Fulfilled,
    /// As much runs, or is there, as is wanted.
    Available,
    /// The newest revision could be read whole.
    Readable,
    /// What was seen has reached the status branch's remote.
    Published,
    /// Nothing is held for a person.
    Unheld,
    /// What verification needs is at hand, and will be for a week.
    Verifiable,
    /// Evidence is kept as the fleet's document asks.
    Auditable,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

/// Why something that is not where it should be is not moving.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitStatus {
    /// One word from a fixed list.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// When it ends by itself at the latest, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}
