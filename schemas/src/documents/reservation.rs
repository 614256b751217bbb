//! Kind CapacityReservation: agents kept for an owner.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{TargetName, Timestamp};

/// A reservation: `count` agents of a target that only its owner may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReservationSpec {
    /// The target whose agents are kept.
    pub target: TargetName,
    /// How many.
    #[cfg_attr(feature = "documents", schemars(range(min = 1, max = 100_000)))]
    pub count: u32,
    /// When it ends; never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "documents",
        schemars(with = "String", extend("format" = "date-time"))
    )]
    pub until: Option<Timestamp>,
    /// Whether somebody pays for it. It is a note for people: what is paid for and what is not are treated alike.
    #[serde(default)]
    pub paid: bool,
}
