//! `deployments/<owner>/<name>.yaml`: one deployment.

use serde::{Deserialize, Serialize};

use super::{Condition, WaitStatus};
use crate::documents::{Pause, Runtime};
use crate::{AgentId, DeploymentId, Digest, Hostname, PastRollout, Revert, RolloutStep, Timestamp};

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
    /// Replicas of the wanted version that have an agent, and no other version goes on there.
    pub updated: u32,
    /// Replicas that are ready, or go on serving in the version before theirs.
    pub ready: u32,
    /// How its roll-out stands, once anything is known of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Roll-outs that are over, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<PastRollout>,
    /// The host's name under which it is reached, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
    /// Where people open it under that name, once the name leads to a replica that is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The replicas, by agent.
    pub replicas: Vec<PlacedReplica>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// What it waits for.
    pub waits: Vec<WaitStatus>,
}

/// How a deployment's roll-out stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The version that replicas are brought to: the wanted one, or a healthy one while that is taken back.
    pub aim: Digest,
    /// The digest of the wanted version and of `rollout.attempt`.
    pub attempt: Digest,
    /// The commit with which it began, 40 hex digits.
    pub commit: String,
    /// When it began, in whole seconds.
    pub since: Timestamp,
    /// How far it is.
    pub step: RolloutStep,
    /// The last version that was known to be healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<Digest>,
    /// What an agent needs in order to run that; unknown in what older versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_runtime: Option<Runtime>,
    /// What was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted: Option<Revert>,
    /// Who lets it wait, why, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
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
    /// No document of it can be used, or it may have moved to one that cannot: nothing of it is touched.
    Frozen,
}

impl DeploymentPhase {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Progressing,
        Self::Running,
        Self::Stopped,
        Self::Removing,
        Self::Frozen,
    ];
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacedReplica {
    /// The agent.
    pub agent: AgentId,
    /// Whether it is ready, or goes on serving in the version before.
    pub ready: bool,
    /// Whether it is of the wanted version.
    pub updated: bool,
    /// Where it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}
