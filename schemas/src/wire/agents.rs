//! What agents send to the reconciler, and its answers. Requests are signed with the agent's key,
//! answers with the reconciler's.

use serde::{Deserialize, Serialize};

use super::{CallRefusals, ConnectorState, TunnelOrder, WorkloadReport, known};
use crate::documents::{ItaVersion, Runtime, SigningAlgorithm};
use crate::evidence::{Evidence, ItaNonce, Verdict};
use crate::{AgentId, Epoch, Generation, OrderId, Secret, Timestamp};

/// A nonce to bind into a quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// 32 bytes in 64 hex digits, good for one attempt.
    pub nonce: String,
    /// How long it is good for.
    pub expires_in_seconds: u64,
    /// Where the agent's policy asks Intel Trust Authority: the nonce that the quote has to bind instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ita: Option<ItaChallenge>,
}

/// What an agent needs for Intel Trust Authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItaChallenge {
    /// The nonce that the quote has to bind.
    pub nonce: ItaNonce,
    /// Where the agent has to ask for a token itself; the reconciler asks when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mint: Option<ItaMint>,
}

/// How an agent asks for a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItaMint {
    /// The base of the Trust Authority's API.
    pub api_url: String,
    /// The version of the call.
    pub version: ItaVersion,
    /// How the token should be signed.
    pub algorithm: SigningAlgorithm,
    /// Policies that must match.
    pub policy_ids: Vec<String>,
}

/// An agent asks to be taken in. Signed with the key that it names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RegisterRequest {
    /// The launch order that made it.
    pub order_id: OrderId,
    /// The token that came with the order; good once.
    pub bootstrap_token: Secret<String>,
    /// Its Ed25519 key, raw 32 bytes in 64 hex digits; the quote binds it.
    pub public_key: String,
    /// The nonce of the challenge.
    pub nonce: String,
    /// The Trust Authority's nonce of the challenge, if it had one: the quote binds it instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ita_nonce: Option<ItaNonce>,
    /// The evidence.
    pub evidence: Evidence,
    /// Where the agent's own API answers, such as `http://127.0.0.1:40001`.
    pub address: String,
    /// Changes with every boot of the machine.
    pub boot_id: String,
    /// The agent's version.
    pub version: String,
    /// The highest instruction that the agent has taken in, when it was registered before.
    #[serde(default)]
    pub generation: Generation,
    /// What it can run; processes where it does not say.
    #[serde(
        default = "Runtime::usual",
        deserialize_with = "known::list",
        skip_serializing_if = "Runtime::is_usual"
    )]
    pub runtimes: Vec<Runtime>,
    /// What runs on it already: a reconciler that has forgotten the agent must not take it for idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadReport>,
}

/// The agent is taken in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RegisterResponse {
    /// The agent's id from now on.
    pub agent_id: AgentId,
    /// How often to send a heartbeat, in milliseconds.
    pub heartbeat_millis: u64,
    /// The reconciler's epoch; the agent refuses a lower one.
    pub epoch: Epoch,
    /// What verification said.
    pub verdict: Verdict,
}

/// An agent is alive, and so is its workload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeartbeatRequest {
    /// Grows with each heartbeat of a boot; one that does not is a replay.
    pub sequence: u64,
    /// Changes with every boot of the machine.
    pub boot_id: String,
    /// Where the agent's own API answers.
    pub address: String,
    /// The highest instruction that the agent has taken in.
    pub generation: Generation,
    /// What runs; nothing when it is idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadReport>,
    /// Calls that the agent refused since it started.
    #[serde(default, skip_serializing_if = "CallRefusals::is_empty")]
    pub refusals: CallRefusals,
    /// Asks for a session: half of a key exchange, see [`SessionOffer`](crate::signature::SessionOffer). Counts only in a
    /// heartbeat that is signed with the agent's own key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The connector of its tunnel, while it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<ConnectorState>,
    /// What it can run by now; as it said when it registered where it does not say, as agents of before.
    #[serde(
        default,
        deserialize_with = "known::some_list",
        skip_serializing_if = "Option::is_none"
    )]
    pub runtimes: Option<Vec<Runtime>>,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeartbeatResponse {
    /// The reconciler's epoch.
    pub epoch: Epoch,
    /// When to send the next one, in milliseconds.
    pub heartbeat_millis: u64,
    /// The agent should attest again with this nonce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Challenge>,
    /// Until when the agent is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_until: Option<Timestamp>,
    /// The other half of the exchange that was asked for: heartbeats may be signed with the session's key from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The tunnel that its connector should serve; none when it should have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelOrder>,
}

/// Fresh evidence. The answer is a verdict.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttestRequest {
    /// The boot that it is of. Older agents do not say; then it is the one of their last heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The nonce of the challenge.
    pub nonce: String,
    /// The Trust Authority's nonce of the challenge, if it had one: the quote binds it instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ita_nonce: Option<ItaNonce>,
    /// The evidence.
    pub evidence: Evidence,
}
