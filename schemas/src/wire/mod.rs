//! Messages between reconciler, workers and agents: JSON with snake_case names, as users of the
//! HTTP API know them. Readers ignore fields that they do not know.

mod agents;
mod api;
mod config;
mod deploy;
#[cfg(feature = "documents")]
mod document;
mod error;
mod health;
pub(crate) mod known;
mod logs;
mod machine;
#[cfg(test)]
mod openapi;
mod orders;
mod refusals;
mod secrets;
mod tunnels;
mod workload;

pub use agents::{
    AttestRequest, Challenge, HeartbeatRequest, HeartbeatResponse, ItaChallenge, ItaMint,
    RegisterRequest, RegisterResponse,
};
pub use api::{
    DeployCall, DeployProblem, DeployRefusal, DeployState, Deployed, DeploymentView, Issue, Me,
    Preflight, ReplicaView,
};
pub use config::{AgentConfig, CONFIG_ID, PlatformConfig, TrustAuthorityConfig, WorkloadPort};
pub use deploy::{DeployAccepted, DeployRequest, UndeployRequest};
#[cfg(feature = "documents")]
pub use document::{openapi, owners_openapi, owners_routes};
pub use error::ErrorBody;
pub use health::{AgentActivity, AgentHealth, VerdictSummary};
pub use logs::{LOG_BYTES, LOG_LINES, LOG_WAIT, LogPage, is_cursor};
pub use machine::{GcpMachine, Machine, QemuMachine, image_label};
pub use orders::{
    CLAIM, CONSOLE, ClaimRequest, ClaimResponse, InventoryRequest, InventoryResponse, LaunchSpec,
    Order, OrderReport, OrderStatus, OrderUpdate, OrderWork, Superseded, Unit, WorkKind, console,
};
pub use refusals::{CallRefusal, CallRefusals};
pub use secrets::{SealedAnswer, SecretValues, SecretsRequest};
pub use tunnels::{ConnectorState, TunnelOrder, TunnelRequest, TunnelToken};
pub use workload::{
    RunningImage, SERVICES, ServiceReport, WorkloadCause, WorkloadReport, WorkloadState,
};

/// The launcher protocol as an OpenAPI 3.1 document in JSON: what a worker of anybody's can rely on.
pub const LAUNCHER_OPENAPI: &str = include_str!("../../openapi/launcher.json");

/// The routes, named once for servers and clients.
pub mod routes {
    /// GET: a nonce.
    pub const CHALLENGE: &str = "/api/v1/agents/challenge";
    /// POST: registration.
    pub const REGISTER: &str = "/api/v1/agents/register";
    /// POST: a worker asks for an order.
    pub const CLAIM: &str = "/api/v1/launchers/capacity/orders/claim";
    /// POST: a worker lists all its machines.
    pub const INVENTORY: &str = "/api/v1/launchers/capacity/inventory";
    /// GET, public: what owners and workers say, as an OpenAPI document.
    pub const OPENAPI: &str = "/api/v1/openapi.json";
    /// GET: who calls.
    pub const ME: &str = "/api/v1/me";
    /// POST, of an owner: what should run.
    pub const OWNER_DEPLOY: &str = "/api/v1/deploy";
    /// GET, of an owner: all that runs. Below it, by `owner/name`: one deployment, with GET or DELETE.
    pub const DEPLOYMENTS: &str = "/api/v1/deployments";
    /// On the agent, POST: run this.
    pub const DEPLOY: &str = "/api/deploy";
    /// On the agent, POST: stop what runs.
    pub const UNDEPLOY: &str = "/api/undeploy";
    /// On the agent, GET, public: liveness, identity and verdict.
    pub const AGENT_HEALTH: &str = "/api/health";
    /// On the agent, GET, signed: below it, by `owner/name`, the output of a deployment while that runs there.
    pub const AGENT_LOGS: &str = "/api/logs";

    /// On the agent, GET, signed: the output of this deployment while it runs there. An agent of before knows no such place, and
    /// so gives nothing that may be another's.
    pub fn agent_logs(deployment: &crate::DeploymentId) -> String {
        format!("{AGENT_LOGS}/{deployment}")
    }

    /// POST: a heartbeat of this agent.
    pub fn heartbeat(agent: &crate::AgentId) -> String {
        format!("/api/v1/agents/{agent}/heartbeat")
    }

    /// POST: fresh evidence of this agent.
    pub fn attest(agent: &crate::AgentId) -> String {
        format!("/api/v1/agents/{agent}/attest")
    }

    /// POST: the secrets of what this agent was told to run.
    pub fn secrets(agent: &crate::AgentId) -> String {
        format!("/api/v1/agents/{agent}/secrets")
    }

    /// POST: the token of this agent's tunnel.
    pub fn tunnel(agent: &crate::AgentId) -> String {
        format!("/api/v1/agents/{agent}/tunnel")
    }

    /// POST: what became of this order.
    pub fn order(order: &crate::OrderId) -> String {
        format!("/api/v1/launchers/capacity/orders/{order}")
    }
}
