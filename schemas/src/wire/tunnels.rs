//! The tunnel through which an agent is reached: who it is for is told with heartbeats, its token only when asked for.

use serde::{Deserialize, Serialize};

use crate::{Digest, Secret};

/// The tunnel that an agent should serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelOrder {
    /// Another value is another tunnel or token, which the agent asks for.
    pub version: Digest,
}

/// The connector of an agent's tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorState {
    /// The order that it follows.
    pub version: Digest,
    /// Whether it is connected.
    pub connected: bool,
}

/// An agent asks for the token of its tunnel. Signed with its own key; the answer is a
/// [`SealedAnswer`](super::SealedAnswer).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelRequest {
    /// The boot that asks; another one than its evidence is of gets nothing.
    pub boot_id: String,
    /// The order that it was told.
    pub version: Digest,
    /// The half of a key exchange that the answer is sealed to, as for secrets.
    pub public_key: String,
}

/// What the sealed answer holds, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelToken {
    /// What the connector shows to its tunnel.
    pub token: Secret<String>,
}
