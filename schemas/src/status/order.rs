//! `orders/<2 hex>/<order>.yaml`: one order that is under way, or the newest of its slot.

use serde::{Deserialize, Serialize};

use super::{Condition, WaitStatus};
use crate::{
    AgentId, Datacenter, FailureCause, OrderId, ProviderName, Shape, StageTimes, TargetName,
    Timestamp, WorkerId, Zone,
};

/// One order, as last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderStatus {
    /// The order.
    pub order: OrderId,
    /// What it asks for.
    pub work: OrderKind,
    /// Where.
    pub datacenter: Datacenter,
    /// Who serves it.
    pub provider: ProviderName,
    /// `open`, `claimed`, `provisioning`, `fulfilled`, `failed` or `cancelled`.
    pub phase: String,
    /// When it was opened, in whole seconds.
    pub opened_at: Timestamp,
    /// When it failed, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    /// The worker that holds or held it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailureCause>,
    /// The end of what its machine has put out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// When it reached its stages, in whole seconds.
    #[serde(default, skip_serializing_if = "StageTimes::is_empty")]
    pub times: StageTimes,
    /// It is over, and its machine may still be there: it counts against its target's maximum.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unaccounted: bool,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// What it waits for.
    pub waits: Vec<WaitStatus>,
}

/// What an order asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OrderKind {
    /// A machine with an agent.
    #[serde(rename_all = "camelCase")]
    Launch {
        /// The target.
        target: TargetName,
        /// The slot.
        slot: u32,
        /// Counts the orders of the slot.
        generation: u64,
        /// Failed orders of the slot just before this one.
        failures: u32,
        /// The provider's zone, where it has such.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<Zone>,
        /// The provider's own kind of machine, where it has such.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shape: Option<Shape>,
    },
    /// The end of a machine.
    #[serde(rename_all = "camelCase")]
    Retire {
        /// The agent whose machine goes.
        agent: AgentId,
        /// Why.
        reason: String,
    },
}
