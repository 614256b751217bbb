//! `easyenclave worker`: a capacity worker. Beside a reconciler the data directory says all it needs.

use std::path::PathBuf;

use anyhow::Context;
use easyenclave_attestation::simulated::Platform;
use easyenclave_capacity::worker::{self, WorkerConfig, WorkerError};
use easyenclave_schemas::documents::ItaSpec;
use easyenclave_schemas::wire::{PlatformConfig, TrustAuthorityConfig};
use easyenclave_schemas::{Datacenter, NodeSize, ProviderName, Secret};

use super::{Ended, absent, exit, read, shutdown};
use crate::config::DataDir;
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The data directory of a reconciler on this machine: its address, key and platform are used [default:
    /// easyenclave-data, here or in a folder above]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The reconciler's URL [default: from --data]
    #[arg(long, value_name = "URL")]
    reconciler: Option<String>,
    /// A file that holds the launcher key [default: from --data]
    #[arg(long, value_name = "FILE")]
    launcher_key: Option<PathBuf>,
    /// The provider document that this worker serves
    #[arg(long, value_name = "NAME", default_value = "local")]
    provider: String,
    /// The datacenter that it works in
    #[arg(long, value_name = "NAME", default_value = "local")]
    datacenter: String,
    /// Take launch orders of this size only
    #[arg(long, value_name = "SIZE")]
    node_size: Option<String>,
    /// Where the worker keeps its machines [default: worker under --data]
    #[arg(long, value_name = "DIR")]
    worker_data: Option<PathBuf>,
    /// Agents attest as TDX guests, through the kernel of the guest in which this worker runs
    #[arg(long)]
    tdx: bool,
    /// A file that holds the agents' own key for Intel Trust Authority, where policies want agents to ask it
    #[arg(long, value_name = "FILE")]
    agent_ita_key: Option<PathBuf>,
    /// Where agents ask Intel Trust Authority with that key, and nowhere else
    #[arg(long, value_name = "URL", default_value_t = ItaSpec::default().api_url, requires = "agent_ita_key")]
    agent_ita_url: String,
    /// Serve at most one order, then exit
    #[arg(long)]
    one_shot: bool,
    /// Serve at most so many orders, then exit; 0 is no limit
    #[arg(long, default_value_t = 0)]
    max_orders: u64,
    /// Stop all machines when the worker is stopped
    #[arg(long)]
    stop_units_on_exit: bool,
}

pub(super) async fn run(args: Args) -> Ended {
    let config = config(args)?;
    match worker::run(config, shutdown()).await {
        Err(error @ WorkerError::Refused(_)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "refused for good");
            Ok(exit::REFUSED)
        }
        ended => ended.map(|_| exit::OK).map_err(Into::into),
    }
}

fn config(args: Args) -> anyhow::Result<WorkerConfig> {
    let named = args.data.as_deref();
    let (data, settings) = match &args.reconciler {
        Some(_) => (
            DataDir::new(named.unwrap_or(DataDir::DEFAULT.as_ref()))?,
            None,
        ),
        None => {
            let data = read::installation(named)?;
            let settings = Settings::load(&data)?;
            (data, Some(settings))
        }
    };
    let key = args.launcher_key.unwrap_or_else(|| data.launcher_key());
    let launcher_key = std::fs::read_to_string(&key)
        .map_err(|error| absent::because("the launcher key", &key, error))?;
    let platform = settings
        .as_ref()
        .map_or_else(|| data.platform(), |s| s.platform.clone());
    let data_dir = args.worker_data.unwrap_or_else(|| data.worker());
    let url = args.reconciler.or(settings.map(|settings| settings.url));
    let mut config = local(
        &data_dir,
        &platform,
        url.unwrap_or_default(),
        launcher_key.trim(),
    )?;
    config.provider = ProviderName::new(args.provider).context("--provider")?;
    config.datacenter = Datacenter::new(args.datacenter).context("--datacenter")?;
    config.node_size = args
        .node_size
        .map(NodeSize::new)
        .transpose()
        .context("--node-size")?;
    if args.tdx {
        config.platform = PlatformConfig::Tdx { root: "/".into() };
    }
    config.trust_authority = args.agent_ita_key.map(|key_file| TrustAuthorityConfig {
        api_url: args.agent_ita_url,
        key_file: std::path::absolute(&key_file).unwrap_or(key_file),
    });
    config.one_shot = args.one_shot;
    config.max_orders = args.max_orders;
    config.stop_units_on_exit = args.stop_units_on_exit;
    Ok(config)
}

/// A worker that starts agents as processes of this very program.
pub(super) fn local(
    data_dir: &std::path::Path,
    platform: &std::path::Path,
    reconciler_url: String,
    launcher_key: &str,
) -> anyhow::Result<WorkerConfig> {
    std::fs::create_dir_all(data_dir)?;
    let local = "local";
    Ok(WorkerConfig {
        reconciler_url,
        launcher_key: Secret::new(launcher_key.to_owned()),
        worker_id: worker::worker_id(data_dir)?,
        provider: ProviderName::new(local)?,
        datacenter: Datacenter::new(local)?,
        node_size: None,
        data_dir: data_dir.into(),
        platform: PlatformConfig::Simulated {
            dir: Platform::guest_dir(platform),
            image: None,
        },
        trust_authority: None,
        agent_program: std::env::current_exe().context("finding this program")?,
        agent_args: vec!["agent".into()],
        one_shot: false,
        max_orders: 0,
        stop_units_on_exit: false,
    })
}
