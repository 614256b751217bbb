//! `deployments/<owner>/<name>.yaml`: one deployment.

use serde::{Deserialize, Serialize};

use super::{Condition, WaitStatus};
use crate::{AgentId, DeploymentId, Digest};

/// One deployment, as last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentStatus {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Where it stands.
    pub phase: DeploymentPhase,
    /// The wanted version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Digest>,
    /// Replicas that are wanted.
    pub wanted: u32,
    /// Replicas that have an agent.
    pub assigned: u32,
    /// Replicas of the wanted version that have an agent.
    pub updated: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// The replicas, by agent.
    pub replicas: Vec<PlacedReplica>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// What it waits for.
    pub waits: Vec<WaitStatus>,
}

/// Where a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeploymentPhase {
    /// Nothing runs yet.
    Pending,
    /// Not all that is wanted is ready.
    Progressing,
    /// All that is wanted is ready, in the wanted version.
    Running,
    /// No replicas are wanted, and none are there.
    Stopped,
    /// It is no longer in the state repository, and replicas are still there.
    Removing,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacedReplica {
    /// The agent.
    pub agent: AgentId,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is of the wanted version.
    pub updated: bool,
    /// Where it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}
