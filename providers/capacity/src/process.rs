//! The process provider: a unit's process is the agent itself, on this machine. It makes no machine, and serves no order
//! that names one.

use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use easyenclave_engine::{Owner, Surroundings, Traces};
use easyenclave_processes::{LEAVE, labels};
use easyenclave_schemas::wire::{AgentConfig, PlatformConfig};
use easyenclave_schemas::{FleetId, OrderId};
use tokio::process::{Child, Command};

use crate::config::AgentProgram;
use crate::units::{Maker, Units, write_private};
use crate::{LaunchRequest, ProvideError};

/// The file of a unit that its agent is given.
const CONFIG: &str = "config.json";

/// Units as processes on this machine.
pub type ProcessProvider = Units<Agents>;

/// Makes agents as processes.
#[derive(Debug)]
pub struct Agents {
    program: AgentProgram,
    platform: PlatformConfig,
}

impl ProcessProvider {
    /// The units under this folder.
    ///
    /// # Errors
    /// When the folder cannot be made, or another provider uses it.
    pub fn open(
        data_dir: &Path,
        program: AgentProgram,
        platform: PlatformConfig,
    ) -> Result<Self, ProvideError> {
        Self::under(data_dir, Agents { program, platform })
    }
}

impl Agents {
    fn config(&self, request: &LaunchRequest, folder: &Path) -> AgentConfig {
        AgentConfig {
            fleet_id: request.fleet.clone(),
            order_id: request.order.clone(),
            bootstrap_token: request.bootstrap_token.clone(),
            reconciler_url: request.spec.reconciler_url.clone(),
            reconciler_key: request.spec.reconciler_key.clone(),
            datacenter: request.datacenter.clone(),
            node_size: request.spec.node_size.clone(),
            platform: self.platform.clone(),
            trust_authority: self.program.trust_authority.clone(),
            data_dir: folder.join("state"),
            worker_id: request.worker.clone(),
            listen: None,
            address: None,
            workload: None,
        }
    }

    /// What an engine's programs are given: what the agent would give them.
    fn surroundings(&self, traces: &Traces, owner: &Owner) -> Surroundings {
        let given = |name: &str| {
            let mut given = self.program.environment.iter();
            let found = given.find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        };
        Surroundings {
            path: given("PATH").unwrap_or_default(),
            host: given("DOCKER_HOST").and_then(|host| host.into_string().ok()),
            home: traces.home.clone(),
            labels: vec![
                (labels::FLEET, owner.fleet.clone()),
                (labels::ORDER, owner.order.clone()),
            ],
        }
    }
}

#[async_trait]
impl Maker for Agents {
    /// As long as an agent allows itself to end its workload, and a moment for its own end.
    const GRACE: Duration = LEAVE.saturating_add(Duration::from_secs(2));

    /// Who asks for a machine trusts what is in it less than this host does.
    fn refuse(&self, request: &LaunchRequest) -> Result<(), ProvideError> {
        match &request.spec.machine {
            None => Ok(()),
            Some(_) => Err(ProvideError::NeedsPerson {
                what: "the machine cannot be made here".into(),
                source: io::Error::new(
                    io::ErrorKind::Unsupported,
                    "the order names a virtual machine, and this worker makes processes",
                ),
            }),
        }
    }

    fn prepare(&self, request: &LaunchRequest, folder: &Path) -> Result<Command, ProvideError> {
        let file = folder.join(CONFIG);
        let config = serde_json::to_vec_pretty(&self.config(request, folder))
            .expect("a configuration is plain data");
        write_private(&file, &config)
            .map_err(|error| ProvideError::of(format!("folder of {}", request.order), error))?;
        let mut command = Command::new(&self.program.program);
        command
            .args(&self.program.arguments)
            .arg("--config")
            .arg(file);
        command
            .env_clear()
            .envs(self.program.environment.iter().cloned());
        Ok(command)
    }

    async fn started(&self, _: &Path, _: &mut Child) -> Result<(), ProvideError> {
        Ok(())
    }

    /// The signal that it gets anyway is its way.
    async fn stop(&self, _: &Path) {}

    /// What an agent that was killed has left on a container engine, if it has used one.
    async fn empty(&self, order: &OrderId, mark: &str, folder: &Path) -> Result<(), ProvideError> {
        // Without a configuration there was no agent.
        let Some(fleet) = fleet(folder).map_err(|error| left(order, error))? else {
            return Ok(());
        };
        let owner = Owner {
            fleet: format!("{fleet}{mark}"),
            order: order.to_string(),
        };
        let traces = Traces::of(&folder.join("state"));
        let removed = traces
            .remove(&self.surroundings(&traces, &owner), &owner)
            .await;
        removed.map_err(|error| left(order, io::Error::other(error)))
    }
}

/// The fleet of the agent in a folder; none where none was made ready.
fn fleet(folder: &Path) -> io::Result<Option<FleetId>> {
    let text = match std::fs::read(folder.join(CONFIG)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    // An error of the reader could quote a token.
    let config: Result<AgentConfig, _> = serde_json::from_slice(&text);
    let config = config.map_err(|_| io::Error::other("its configuration cannot be read"))?;
    Ok(Some(config.fleet_id))
}

fn left(order: &OrderId, source: io::Error) -> ProvideError {
    ProvideError::Retry {
        what: format!("what {order} has left cannot be removed"),
        source,
    }
}
