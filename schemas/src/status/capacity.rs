//! `capacity/<target>.yaml`: one target with the reservations on it.

use serde::{Deserialize, Serialize};

use super::{Condition, WaitStatus};
use crate::{Datacenter, NodeSize, ReservationId, TargetName, Timestamp};

/// One capacity target, as last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CapacityStatus {
    /// The target.
    pub target: TargetName,
    /// Where.
    pub datacenter: Datacenter,
    /// The size of its agents.
    pub node_size: NodeSize,
    /// `steady`, `scaling` or `blocked`.
    pub phase: String,
    /// Never fewer agents.
    pub min: u32,
    /// Never more agents.
    pub max: u32,
    /// Idle agents wanted.
    pub warm: u32,
    /// Agents that are there, retiring ones included.
    pub agents: u32,
    /// Agents that run or should run something.
    pub assigned: u32,
    /// Agents that could take work now.
    pub idle: u32,
    /// Launch orders under way.
    pub pending: u32,
    /// Agents on their way out.
    pub retiring: u32,
    /// Reservations on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reservations: Vec<ReservationStatus>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// What it waits for.
    pub waits: Vec<WaitStatus>,
}

/// One reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReservationStatus {
    /// The reservation.
    pub reservation: ReservationId,
    /// How many agents it keeps.
    pub count: u32,
    /// Its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What it waits for.
    pub waits: Vec<WaitStatus>,
}
