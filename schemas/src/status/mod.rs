//! The files of the status branch: what a person or a program reads to know what is, and why.
//! Bounded, sorted and free of heartbeat times, so that an unchanged world gives the same bytes.

mod agent;
mod capacity;
mod condition;
mod deployment;
mod fleet;
mod order;
mod problem;
mod sighting;

pub use agent::{
    AgentPhase, AgentStatus, AssignmentStatus, LivenessStatus, ReplicaStatus, TrustStatus,
};
pub use capacity::{CapacityStatus, ReservationStatus};
pub use condition::{Condition, ConditionStatus, ConditionType, WaitStatus};
pub use deployment::{DeploymentPhase, DeploymentStatus, PlacedReplica, RolloutStatus};
pub use fleet::{
    Counts, FleetStatus, FrontsStatus, HeldStatus, Refusal, ShortageStatus, SpentApproval,
    UnheardStatus, UnownedStatus,
};
pub use order::{OrderKind, OrderStatus};
pub use problem::ProblemStatus;
pub use sighting::Sighting;

use crate::{AgentId, DeploymentId, Digest, OrderId, TargetName};

/// Paths on the status branch, named once for writers and readers.
pub mod paths {
    use super::{AgentId, DeploymentId, Digest, OrderId, TargetName};

    /// What a person reads first.
    pub const README: &str = "README.md";
    /// The fleet as a whole.
    pub const FLEET: &str = "fleet.yaml";
    /// Rejected documents.
    pub const PROBLEMS: &str = "problems.yaml";
    /// The folder of agents.
    pub const AGENTS: &str = "agents/";
    /// The folder of orders.
    pub const ORDERS: &str = "orders/";
    /// The folder of targets and reservations.
    pub const CAPACITY: &str = "capacity/";
    /// The folder of deployments.
    pub const DEPLOYMENTS: &str = "deployments/";

    /// The folder of evidence.
    pub const EVIDENCE: &str = "evidence/";

    /// Two hex digits spread files over folders, because hosts limit how wide a folder may be.
    fn spread(name: &str) -> String {
        crate::Digest::of(name.as_bytes()).short(2)
    }

    /// The file of an agent.
    pub fn agent(agent: &AgentId) -> String {
        format!("{AGENTS}{}/{agent}.yaml", spread(agent.as_str()))
    }

    /// The file of a record of evidence, or of a part of it.
    pub fn evidence(digest: &Digest) -> String {
        format!("{EVIDENCE}{}/{digest}", digest.short(2))
    }

    /// The file of an order.
    pub fn order(order: &OrderId) -> String {
        format!("{ORDERS}{}/{order}.yaml", spread(order.as_str()))
    }

    /// The file of a target.
    pub fn capacity(target: &TargetName) -> String {
        format!("{CAPACITY}{target}.yaml")
    }

    /// The file of a deployment.
    pub fn deployment(deployment: &DeploymentId) -> String {
        format!("{DEPLOYMENTS}{}/{}.yaml", deployment.owner, deployment.name)
    }
}
