//! What an agent says of itself to anybody who asks: who it is, what it does, how it is trusted.

use serde::{Deserialize, Serialize};

use crate::evidence::{RootKeyId, TcbStatus};
use crate::{AgentId, Timestamp};

/// The answer to a GET of the agent's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentHealth {
    /// Its id.
    pub agent_id: AgentId,
    /// Changes with every boot of the machine.
    pub boot_id: String,
    /// The agent's version.
    pub version: String,
    /// What it does.
    pub phase: AgentActivity,
    /// How it is trusted; nothing before it is, and when its trust was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictSummary>,
}

/// What an agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentActivity {
    /// It asks to be taken in.
    Registering,
    /// It has nothing to run.
    Idle,
    /// Its workload is not ready yet, or not any more.
    Deploying,
    /// Its workload is ready, or has done its work.
    Running,
    /// Its workload is being stopped.
    Draining,
}

/// The part of a verdict that visitors may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictSummary {
    /// Whether the platform is a simulated one.
    pub simulated: bool,
    /// The root that vouches for the platform.
    pub trust_root: RootKeyId,
    /// How current the platform is.
    pub tcb_status: TcbStatus,
    /// Until when the agent is trusted.
    pub trusted_until: Timestamp,
}
