//! What a worker hands to an agent that it starts.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Datacenter, FleetId, NodeSize, OrderId, Secret, WorkerId};

/// An agent's whole configuration: small, and nothing in it is worth anything after registration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentConfig {
    /// The fleet that it belongs to.
    pub fleet_id: FleetId,
    /// The launch order that makes it.
    pub order_id: OrderId,
    /// Proves the order once.
    pub bootstrap_token: Secret<String>,
    /// Where the reconciler answers.
    pub reconciler_url: String,
    /// The reconciler's Ed25519 key in 64 hex digits; the agent takes instructions from nobody else.
    pub reconciler_key: String,
    /// Where it runs.
    pub datacenter: Datacenter,
    /// Its size.
    pub node_size: NodeSize,
    /// Who makes its quotes.
    pub platform: PlatformConfig,
    /// Its own access to Intel Trust Authority, for policies that want agents to ask for their tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_authority: Option<TrustAuthorityConfig>,
    /// A folder of its own, for logs and its state.
    pub data_dir: PathBuf,
    /// The worker that started it.
    pub worker_id: WorkerId,
    /// Where its API listens; a port of 127.0.0.1 that the system chooses when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Where others reach its API, such as `http://127.0.0.1:40001`; where it listens when left out, and when that is
    /// every address of its machine, at the one from which it reaches the reconciler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Where its workload is reached from outside its machine; at the workload's own port when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadPort>,
}

/// Where a workload is reached from outside its machine. The workload itself listens on 127.0.0.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadPort {
    /// Where the agent takes connections for it.
    pub listen: SocketAddr,
    /// Where others reach that, such as `http://127.0.0.1:40002`; as with the agent's own API when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Who makes an agent's quotes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlatformConfig {
    /// A simulated platform, whose guest part lies in this folder.
    Simulated {
        /// The folder.
        dir: PathBuf,
        /// The name of the image that is measured; that of the node size when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<String>,
    },
    /// The kernel of the TDX guest in which it runs.
    Tdx {
        /// Where the kernel's interfaces are: `/`, but for tests.
        #[serde(default = "this_machine")]
        root: PathBuf,
    },
}

/// The file beside the keys of a simulated guest that says what the machine was started for, as MRCONFIGID of its quotes:
/// 96 hex digits. Zeros where there is none.
pub const CONFIG_ID: &str = "mrconfigid";

/// An agent's own access to Intel Trust Authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustAuthorityConfig {
    /// The base of its API. The key is sent nowhere else, whatever a challenge names.
    pub api_url: String,
    /// A file that holds the key, one line: never the key itself, because a configuration may be seen by a host.
    pub key_file: PathBuf,
}

fn this_machine() -> PathBuf {
    "/".into()
}
