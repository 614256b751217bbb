//! `easyenclave worker`: a capacity worker. Beside a reconciler the data directory says all it needs.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use easyenclave_attestation::simulated::Platform;
use easyenclave_capacity::ProvideError;
use easyenclave_capacity::qemu::{Bridge, Image, Network, QemuProvider, Setup};
use easyenclave_capacity::worker::{self, WorkerConfig, WorkerError};
use easyenclave_gcp::names::Owner;
use easyenclave_gcp::{self as gcp, GcpProvider};
use easyenclave_image::Manifest;
use easyenclave_schemas::documents::ItaSpec;
use easyenclave_schemas::wire::{PlatformConfig, TrustAuthorityConfig};
use easyenclave_schemas::{Datacenter, FleetId, NameError, NodeSize, ProviderName, Secret};

use super::{Ended, absent, exit, read, shutdown};
use crate::config::{self, DataDir};
use crate::settings::Settings;

/// What agents run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Machines {
    /// Processes of this machine
    Process,
    /// Virtual machines on this machine
    Qemu,
    /// Confidential virtual machines of Google Cloud
    Gcp,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The data directory of a reconciler on this machine: its address, key and platform are used [default:
    /// easyenclave-data, here or in a folder above]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The reconciler's URL [default: from --data]
    #[arg(long, value_name = "URL", env = "CP_URL")]
    reconciler: Option<String>,
    /// A file that holds the launcher key [default: from --data, or LAUNCHER_API_KEY, the key itself]
    #[arg(long, value_name = "FILE")]
    launcher_key: Option<PathBuf>,
    /// The one provider document that this worker serves
    #[arg(long, value_name = "NAME", env = "LAUNCHER_PROVIDERS", default_value = LOCAL, value_parser = provider)]
    provider: ProviderName,
    /// The datacenter that it works in; `cloud:place` is read as `cloud-place`
    #[arg(long, value_name = "NAME", env = "LAUNCHER_DATACENTER", default_value = LOCAL, value_parser = datacenter)]
    datacenter: Datacenter,
    /// Take launch orders of this size only [default: any]
    #[arg(long, value_name = "SIZE", env = "LAUNCHER_NODE_SIZE", default_value = "", hide_default_value = true,
        value_parser = size)]
    node_size: Size,
    /// Where the worker keeps its machines [default: worker under --data]
    #[arg(long, value_name = "DIR")]
    worker_data: Option<PathBuf>,
    /// What agents run in; the provider document has to be of the same kind
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Machines::Process)]
    machines: Machines,
    /// The folder of the image that virtual machines start from; see `image build`
    #[arg(long, value_name = "DIR", required_if_eq("machines", "qemu"))]
    image: Option<PathBuf>,
    /// QEMU's program
    #[arg(long, value_name = "FILE", default_value = QEMU)]
    qemu: PathBuf,
    /// The firmware of trust domains that QEMU makes
    #[arg(long, value_name = "FILE", default_value = FIRMWARE)]
    firmware: PathBuf,
    /// The address of this host at which virtual machines are reached, through ports of it [default: 127.0.0.1, for a
    /// reconciler on this host]
    #[arg(long, value_name = "IP", conflicts_with = "bridge")]
    address: Option<Ipv4Addr>,
    /// A bridge of this host to which virtual machines are connected; somebody on it gives addresses by DHCP
    #[arg(long, value_name = "NAME")]
    bridge: Option<Bridge>,
    /// The project of Google Cloud that has the machines
    #[arg(long, value_name = "ID", required_if_eq("machines", "gcp"))]
    project: Option<String>,
    /// The fleet whose machines the project has; a worker of Google Cloud touches no others
    #[arg(long, value_name = "NAME", required_if_eq("machines", "gcp"))]
    fleet: Option<FleetId>,
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
    #[arg(long, value_name = "NUMBER", env = "LAUNCHER_MAX_ORDERS", default_value = "0", value_parser = number)]
    max_orders: u64,
    /// Stop all machines when the worker is stopped
    #[arg(long)]
    stop_units_on_exit: bool,
}

/// QEMU's program, where none is named.
pub(super) const QEMU: &str = "qemu-system-x86_64";

/// The firmware of trust domains, where none is named.
const FIRMWARE: &str = "/usr/share/ovmf/OVMF.fd";

/// The name of what everything on one machine is called, if it is not called anything else.
pub(super) const LOCAL: &str = "local";

/// A size, or any.
#[derive(Debug, Clone)]
struct Size(Option<NodeSize>);

/// An environment often has a name with nothing in it, and means that it is not set.
fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    let text = text.trim();
    if text.is_empty() { default } else { text }
}

fn provider(text: &str) -> anyhow::Result<ProviderName> {
    if text.contains(',') {
        bail!("a worker serves one provider; start one for each");
    }
    Ok(ProviderName::new(or(text, LOCAL))?)
}

fn datacenter(text: &str) -> Result<Datacenter, NameError> {
    Datacenter::of_token(or(text, LOCAL))
}

fn size(text: &str) -> Result<Size, NameError> {
    let text = or(text, "");
    let size = (!text.is_empty()).then(|| NodeSize::new(text)).transpose();
    size.map(Size)
}

fn number(text: &str) -> Result<u64, ParseIntError> {
    or(text, "0").parse()
}

pub(super) async fn run(args: Args) -> Ended {
    for (setting, instead) in config::without_effect() {
        tracing::warn!(
            setting,
            instead,
            "a setting of the environment has no effect"
        );
    }
    let (machines, cloud) = (machines(&args)?, cloud(&args)?);
    let mut config = configured(args)?;
    let ended = match (machines, cloud) {
        (None, None) => worker::run(config, shutdown()).await,
        (_, Some(cloud)) => {
            config.worker_id = cloud.owner.worker_id();
            config.fleet = Some(cloud.owner.fleet.clone());
            config.project = Some(cloud.project.clone());
            let provider = GcpProvider::open(cloud).await?;
            worker::run_on(Arc::new(provider), config, shutdown()).await
        }
        (Some(machines), None) => {
            let setup = machines.setup(&config.platform)?;
            let provider = QemuProvider::open(&config.data_dir, setup).await;
            let provider = provider.map_err(|error| elsewhere(error.into()))?;
            worker::run_on(Arc::new(provider), config, shutdown()).await
        }
    };
    match ended {
        Err(error @ WorkerError::Refused(_)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "refused for good");
            Ok(exit::REFUSED)
        }
        ended => ended.map(|_| exit::OK).map_err(elsewhere),
    }
}

/// Says the way out of a folder that another worker uses, or that may not be used.
fn elsewhere(error: WorkerError) -> anyhow::Error {
    let is_closed = matches!(&error, WorkerError::Provider(ProvideError::NeedsPerson { source, .. })
        if source.kind() == ErrorKind::PermissionDenied);
    let error = anyhow::Error::from(error);
    match is_closed {
        true => anyhow!("{error:#}; --worker-data DIR names another folder"),
        false => error,
    }
}

/// The virtual machines that are asked for, if any.
fn machines(args: &Args) -> anyhow::Result<Option<Virtual>> {
    let image = match (args.machines, &args.image) {
        (Machines::Process | Machines::Gcp, None)
            if args.address.is_some() || args.bridge.is_some() =>
        {
            bail!("--address and --bridge are for --machines qemu")
        }
        (Machines::Process | Machines::Gcp, None) => return Ok(None),
        (Machines::Process | Machines::Gcp, Some(_)) => bail!("--image is for --machines qemu"),
        (Machines::Qemu, None) => bail!("--machines qemu takes an --image"),
        (Machines::Qemu, Some(image)) => image,
    };
    no_processes(args)?;
    Ok(Some(Virtual {
        program: args.qemu.clone(),
        firmware: args.firmware.clone(),
        network: match &args.bridge {
            Some(bridge) => Network::Bridge(bridge.clone()),
            None => Network::User(args.address.unwrap_or(Ipv4Addr::LOCALHOST)),
        },
        ..Virtual::of(image, &Manifest::open(image)?)
    }))
}

/// The machines of Google Cloud that are asked for, if any.
fn cloud(args: &Args) -> anyhow::Result<Option<gcp::Settings>> {
    let asked = args.machines == Machines::Gcp;
    let (project, fleet) = match (asked, &args.project, &args.fleet) {
        (false, None, None) => return Ok(None),
        (false, ..) => bail!("--project and --fleet are for --machines gcp"),
        (true, Some(project), Some(fleet)) => (project.clone(), fleet.clone()),
        (true, ..) => bail!("--machines gcp takes a --project and a --fleet"),
    };
    no_processes(args)?;
    let owner = Owner {
        fleet,
        provider: args.provider.clone(),
        datacenter: args.datacenter.clone(),
    };
    Ok(Some(gcp::Settings::of(project, owner)))
}

/// What is for agents that are processes is not for those in machines.
fn no_processes(args: &Args) -> anyhow::Result<()> {
    if args.tdx {
        bail!("--tdx is for agents that are processes: the order says what a virtual machine is");
    }
    if args.agent_ita_key.is_some() {
        bail!("--agent-ita-key is for agents that are processes: a machine's host may see no key");
    }
    Ok(())
}

/// Virtual machines, as far as the command line says how they are made.
pub(super) struct Virtual {
    image: Image,
    program: PathBuf,
    firmware: PathBuf,
    network: Network,
}

impl Virtual {
    /// Machines that start from the image in this folder, by the usual programs, reached from this host.
    pub(super) fn of(folder: &Path, manifest: &Manifest) -> Self {
        Self {
            image: Image {
                digest: manifest.digest(),
                kernel: manifest.kernel_in(folder),
                initramfs: manifest.initramfs_in(folder),
                command_line: manifest.command_line.clone(),
            },
            program: QEMU.into(),
            firmware: FIRMWARE.into(),
            network: Network::User(Ipv4Addr::LOCALHOST),
        }
    }

    /// With the guest's part of the platform that agents of this worker have.
    pub(super) fn setup(self, platform: &PlatformConfig) -> anyhow::Result<Setup> {
        let PlatformConfig::Simulated { dir, .. } = platform else {
            bail!("plain machines take a simulated platform");
        };
        Ok(Setup {
            program: self.program,
            image: self.image,
            platform: dir.clone(),
            firmware: self.firmware,
            network: self.network,
        })
    }
}

fn configured(args: Args) -> anyhow::Result<WorkerConfig> {
    let named = args.data.as_deref();
    let url = args.reconciler.filter(|url| !url.is_empty());
    let (data, settings) = match &url {
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
    let launcher_key = launcher_key(args.launcher_key, &data)?;
    let platform = settings
        .as_ref()
        .map_or_else(|| data.platform(), |s| s.platform.clone());
    let data_dir = args.worker_data.unwrap_or_else(|| data.worker());
    let url = url.or(settings.map(|settings| settings.url));
    let mut config = local(
        &data_dir,
        &platform,
        url.unwrap_or_default(),
        launcher_key.reveal().trim(),
    )?;
    config.provider = args.provider;
    config.datacenter = args.datacenter;
    config.node_size = args.node_size.0;
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

/// The key of a file that is named, or else of the environment, or else of the data directory.
fn launcher_key(named: Option<PathBuf>, data: &DataDir) -> anyhow::Result<Secret<String>> {
    if let Some(key) = config::launcher_api_key().filter(|_| named.is_none()) {
        return Ok(key);
    }
    let file = named.unwrap_or_else(|| data.launcher_key());
    let key = std::fs::read_to_string(&file);
    let key = key.map_err(|error| absent::because("the launcher key", &file, error))?;
    Ok(Secret::new(key))
}

/// A worker that starts agents as processes of this very program.
pub(super) fn local(
    data_dir: &Path,
    platform: &Path,
    reconciler_url: String,
    launcher_key: &str,
) -> anyhow::Result<WorkerConfig> {
    std::fs::create_dir_all(data_dir)?;
    Ok(WorkerConfig {
        reconciler_url,
        launcher_key: Secret::new(launcher_key.to_owned()),
        worker_id: worker::worker_id(data_dir)?,
        provider: ProviderName::new(LOCAL)?,
        datacenter: Datacenter::new(LOCAL)?,
        fleet: None,
        project: None,
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Worker {
        #[command(flatten)]
        args: Args,
    }

    /// Whether virtual machines are asked for, or why that is no use.
    fn asked(words: &[&str]) -> Result<bool, String> {
        let words = std::iter::once(&"worker").chain(words);
        let worker = Worker::try_parse_from(words).map_err(|error| error.to_string())?;
        let machines = machines(&worker.args).map_err(|error| format!("{error:#}"))?;
        let cloud = cloud(&worker.args).map_err(|error| format!("{error:#}"))?;
        Ok(machines.is_some() || cloud.is_some())
    }

    #[test]
    fn machines_take_an_image_and_nothing_of_processes() {
        assert_eq!(asked(&[]), Ok(false));
        assert_eq!(asked(&["--machines", "process"]), Ok(false));
        for (words, reason) in [
            (&["--machines", "qemu"][..], "--image <DIR>"),
            (&["--image", "/i"], "--image is for --machines qemu"),
            (&["--bridge", "br0"], "--bridge are for --machines qemu"),
            (&["--address", "10.0.0.1"], "are for --machines qemu"),
            (&["--bridge", "br 0"], "expected a bridge's name"),
            (
                &["--machines", "qemu", "--image", "/i", "--tdx"],
                "--tdx is for agents",
            ),
            (
                &[
                    "--machines",
                    "qemu",
                    "--image",
                    "/i",
                    "--agent-ita-key",
                    "/k",
                ],
                "--agent-ita-key is for agents",
            ),
            (&["--machines", "qemu", "--image", "/nowhere"], "/nowhere"),
            (&["--machines", "gcp", "--fleet", "demo"], "--project <ID>"),
            (&["--machines", "gcp", "--project", "p"], "--fleet <NAME>"),
            (&["--project", "p"], "are for --machines gcp"),
        ] {
            let error = asked(words).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }
    #[test]
    fn machines_of_google_cloud_take_a_project_and_a_fleet() {
        let gcp = ["--machines", "gcp", "--project", "p", "--fleet", "demo"];
        assert_eq!(asked(&gcp), Ok(true));
        for more in [["--image", "/i"], ["--agent-ita-key", "/k"]] {
            let words = [&gcp[..], &more].concat();
            let error = asked(&words).expect_err(more[0]);
            assert!(error.starts_with(more[0]), "{error}");
        }
    }
}
