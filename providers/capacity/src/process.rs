//! The process provider: a unit's process is the agent itself, on this machine. It makes no machine, and serves no order
//! that names one.

use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use easyenclave_processes::LEAVE;
use easyenclave_schemas::wire::{AgentConfig, PlatformConfig};
use tokio::process::{Child, Command};

use crate::config::AgentProgram;
use crate::units::{Maker, Units, write_private};
use crate::{LaunchRequest, ProvideError};

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
        let file = folder.join("config.json");
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
}
