//! What the reconciler tells an agent. Signed with the reconciler's key; each call names the agent
//! that it is meant for, and a generation.

use serde::{Deserialize, Serialize};

use crate::documents::{Health, SecretUse, Workload};
use crate::{AgentId, DeploymentId, Digest, Epoch, Generation};

/// Run this, instead of whatever runs. Answered with 202 at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeployRequest {
    /// The agent that this is meant for; another refuses it.
    pub agent_id: AgentId,
    /// The reconciler's epoch; the agent refuses a lower one than it has seen.
    pub epoch: Epoch,
    /// The instruction's number; the agent refuses a lower one than it has seen.
    pub generation: Generation,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The version, a digest over workload, health and secrets.
    pub workload_digest: Digest,
    /// What runs.
    pub workload: Workload,
    /// How to tell that it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The secrets that it is given: names and ways, never values. The agent asks for those itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
    /// The version of those secrets; another one is another version of what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets_digest: Option<Digest>,
}

/// Stop what runs, its whole process group. Answered with 202 at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndeployRequest {
    /// The agent that this is meant for.
    pub agent_id: AgentId,
    /// The reconciler's epoch.
    pub epoch: Epoch,
    /// The instruction's number.
    pub generation: Generation,
}

/// The agent has taken an instruction in and works on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployAccepted {
    /// The highest instruction that the agent has taken in.
    pub generation: Generation,
}
