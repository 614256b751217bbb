//! Orders: what a worker claims, renews and reports. A worker proves itself with its launcher key.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Machine;
use crate::{
    Datacenter, Epoch, FailureCause, FleetId, NodeSize, OrderId, ProviderName, Secret, Stage,
    Timestamp, WorkerId, token,
};

/// A claim lapses so long after the order was given out, or after the last report that was answered.
pub const CLAIM: Duration = Duration::from_secs(60);

/// The longest end of a console in a report, in bytes of UTF-8.
pub const CONSOLE: usize = 4096;

/// The end of what a machine has put out, as it is reported and shown: at most [`CONSOLE`] bytes, with no control
/// characters but line feeds.
pub fn console(text: &str) -> String {
    let plain: String = text
        .chars()
        .filter(|c| *c == '\n' || !c.is_control())
        .collect();
    let start = plain.len().saturating_sub(CONSOLE);
    let start = (start..=plain.len()).find(|at| plain.is_char_boundary(*at));
    start.map(|at| plain[at..].to_owned()).unwrap_or_default()
}

/// A worker asks for the oldest order that it can serve.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// The worker; stable over its restarts, so that it gets back what it held.
    pub worker_id: WorkerId,
    /// The provider that it serves.
    pub provider: ProviderName,
    /// Where it works; anywhere when left out or empty. Tokens are read too, as [`Datacenter::of_token`] does.
    #[serde(default, deserialize_with = "token::any_datacenter")]
    pub datacenter: Option<Datacenter>,
    /// The size that it makes; any when left out or empty.
    #[serde(default, deserialize_with = "token::any_size")]
    pub node_size: Option<NodeSize>,
    /// Orders that this process is working on. Others that the worker holds are given to it again at
    /// once: it held them before it was restarted.
    #[serde(default)]
    pub in_hand: Vec<OrderId>,
    /// How long the reconciler may hold the request until there is an order, at most 30 seconds.
    #[serde(default)]
    pub wait_millis: u64,
    /// Only orders of this kind; any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<WorkKind>,
}

/// A kind of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// A machine with an agent.
    Launch,
    /// The end of a machine.
    Retire,
}

/// The answer to a claim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimResponse {
    /// Whether there was an order.
    pub claimed: bool,
    /// The order.
    #[serde(default)]
    pub order: Option<Order>,
    /// Proves a launch order at registration, once.
    #[serde(default)]
    pub bootstrap_token: Option<Secret<String>>,
}

/// One order, as its claimer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its id: the label of the machine, the config of the agent, the key of the evidence.
    pub order_id: OrderId,
    /// The fleet.
    pub fleet_id: FleetId,
    /// Where.
    pub datacenter: Datacenter,
    /// The provider that serves it.
    pub provider: ProviderName,
    /// The reconciler's epoch.
    pub epoch: Epoch,
    /// Counts the claims of this order; a report with a lower one is refused.
    pub fence: u64,
    /// The claim lapses then, unless it is renewed.
    pub claim_expires_at: Timestamp,
    /// The fleet's `timing.workerLostAfter`: a worker that was silent for so long counts as lost, and another may make the
    /// machine. Before that it removes the one of a launch that is not fulfilled. Older reconcilers say nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_lost_after_millis: Option<u64>,
    /// What to do.
    pub work: OrderWork,
}

/// What an order asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum OrderWork {
    /// Make a machine with an agent in it.
    Launch(LaunchSpec),
    /// Destroy the machine that this launch order made, and all that is left of it.
    Retire {
        /// The launch order.
        unit: OrderId,
    },
}

/// What a launch needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// The size of the machine.
    pub node_size: NodeSize,
    /// The most machines that this worker may have: what the provider document allows, and no more of the order's target
    /// than its maximum less what other workers have of it.
    pub max_units: u32,
    /// Where the agent finds the reconciler.
    pub reconciler_url: String,
    /// The reconciler's Ed25519 key in 64 hex digits.
    pub reconciler_key: String,
    /// The machine, for providers that make one. Without it they refuse the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// Whether the target's policy trusts a simulated root. Unless it surely does, nobody makes a plain machine for it.
    #[serde(default)]
    pub simulated: bool,
}

/// What became of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderUpdate {
    /// Who reports.
    pub worker_id: WorkerId,
    /// The claim's number.
    pub fence: u64,
    /// Where it stands.
    pub status: OrderReport,
    /// What went wrong, at most 450 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it failed, of those causes that are known. A failure without one has [`FailureCause::NotMade`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailureCause>,
    /// The end of what the machine has put out, at most [`CONSOLE`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// How far it has come: `made` once the machine has been started. A worker says nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// With `failed`: what was made for it has yet to be removed, which another report says when it is done. Who leaves
    /// this out has removed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remains: bool,
}

/// What a worker may report. Only a registration makes a launch order fulfilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderReport {
    /// The machine is being made. Also renews the claim.
    Provisioning,
    /// The machine is gone: a retire order is done. Of a launch order that is fulfilled, the worker has ended the machine
    /// on purpose, as one that takes its machines with it; an older reconciler leaves the order as it was.
    Removed,
    /// It did not work.
    Failed,
}

/// The answer to a report: where the order stands now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderStatus {
    /// The order.
    pub order_id: OrderId,
    /// `open`, `claimed`, `provisioning`, `fulfilled`, `failed` or `cancelled`.
    pub status: String,
    /// The claim lapses then.
    pub claim_expires_at: Option<Timestamp>,
    /// The reconciler's epoch; the worker heeds no lower one than it has seen. An older reconciler gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
}

/// A worker lists every machine of this fleet that its provider has. Only a complete listing is sent:
/// what is missing from it is proved absent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InventoryRequest {
    /// Who lists.
    pub worker_id: WorkerId,
    /// The provider.
    pub provider: ProviderName,
    /// The datacenter that the listing covers. Tokens are read too, as [`Datacenter::of_token`] does.
    #[serde(deserialize_with = "token::datacenter")]
    pub datacenter: Datacenter,
    /// The fleet whose machines are listed, where the worker was told of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetId>,
    /// The project of Google Cloud that was listed, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The machines.
    pub units: Vec<Unit>,
}

/// One machine in a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unit {
    /// The launch order that made it.
    pub order_id: OrderId,
    /// Whether it works: a process provider's agent process runs. What does not still has to be removed.
    pub alive: bool,
    /// The number of the claim under which it was made, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
}

/// The answer to a listing. An older reconciler answers with nothing at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryResponse {
    /// The reconciler's epoch; the worker heeds no lower one than it has seen.
    pub epoch: Epoch,
    /// Listed machines that can never join any more: a later claim than theirs makes the one of their order.
    #[serde(default)]
    pub superseded: Vec<Superseded>,
}

/// A machine whose order was claimed again after it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    /// The launch order.
    pub order_id: OrderId,
    /// Its newest claim. Only what was made under a lower one may be removed.
    pub fence: u64,
}
