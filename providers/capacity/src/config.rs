//! What a worker is given, and what its agents are given of its surroundings. The environment is read here
//! and nowhere else.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use easyenclave_schemas::wire::{PlatformConfig, TrustAuthorityConfig};
use easyenclave_schemas::{Datacenter, FleetId, NodeSize, ProviderName, Secret, WorkerId};

/// All of the worker's environment that what it starts gets. The rest may hold secrets.
const HANDED_ON: [&str; 2] = ["PATH", "EASYENCLAVE_LOG"];

/// What agents on this machine get besides: where the container engine listens.
const ENGINE: &str = "DOCKER_HOST";

/// What a worker needs.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Where the reconciler answers.
    pub reconciler_url: String,
    /// Proves the worker.
    pub launcher_key: Secret<String>,
    /// Its name, stable over restarts; see [`crate::worker::worker_id`].
    pub worker_id: WorkerId,
    /// The provider document that it serves.
    pub provider: ProviderName,
    /// Where it works.
    pub datacenter: Datacenter,
    /// The fleet whose machines it has, where it is told.
    pub fleet: Option<FleetId>,
    /// The project of Google Cloud that has them, if one has.
    pub project: Option<String>,
    /// The only size that it makes, if not any.
    pub node_size: Option<NodeSize>,
    /// Its own folder: its name, and its units.
    pub data_dir: PathBuf,
    /// Who makes the quotes of its agents.
    pub platform: PlatformConfig,
    /// The access to Intel Trust Authority that its agents have, if any.
    pub trust_authority: Option<TrustAuthorityConfig>,
    /// The agent's program.
    pub agent_program: PathBuf,
    /// Its first arguments; `--config FILE` follows.
    pub agent_args: Vec<String>,
    /// It ends when it has worked on one order.
    pub one_shot: bool,
    /// It ends when it has worked on so many orders; 0 is no limit.
    pub max_orders: u64,
    /// Whether its units end with it. Otherwise they go on, and its next start finds them.
    pub stop_units_on_exit: bool,
}

impl WorkerConfig {
    /// How many orders it works on in its life.
    pub(crate) fn most_orders(&self) -> u64 {
        match (self.one_shot, self.max_orders) {
            (true, _) => 1,
            (false, 0) => u64::MAX,
            (false, most) => most,
        }
    }

    /// How its agents are started.
    pub(crate) fn agent(&self) -> AgentProgram {
        AgentProgram {
            program: self.agent_program.clone(),
            arguments: self.agent_args.iter().map(OsString::from).collect(),
            environment: [handed_on(), given(&[ENGINE])].concat(),
            trust_authority: self.trust_authority.clone(),
        }
    }
}

/// The environment of whatever a provider starts, beside the labels.
pub(crate) fn handed_on() -> Vec<(OsString, OsString)> {
    given(&HANDED_ON)
}

fn given(names: &[&str]) -> Vec<(OsString, OsString)> {
    let value = |name: &&str| Some(((*name).into(), env::var_os(name)?));
    names.iter().filter_map(value).collect()
}

/// How an agent is started. `--config FILE` is added to the arguments.
#[derive(Debug, Clone)]
pub struct AgentProgram {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<OsString>,
    /// Its whole environment beside the labels; `PATH` at least.
    pub environment: Vec<(OsString, OsString)>,
    /// Its own access to Intel Trust Authority, if any.
    pub trust_authority: Option<TrustAuthorityConfig>,
}
