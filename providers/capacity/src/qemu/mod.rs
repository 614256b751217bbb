//! The QEMU provider: a unit's process is a virtual machine on this host, whose first program runs the agent and ends
//! the machine with it. So a dead process is a dead unit, and machines outlive the worker as agents do.

mod command;
mod host;
mod network;
mod qmp;

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use easyenclave_schemas::documents::{Accelerator, TdxUse};
use easyenclave_schemas::evidence::MeasurementDigest;
use easyenclave_schemas::wire::{
    AgentConfig, Machine, PlatformConfig, QemuMachine, WorkloadPort, image_label,
};
use easyenclave_schemas::{Digest, OrderId};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::config::handed_on;
use crate::units::{Maker, Units, write_private};
use crate::{LaunchRequest, ProvideError, log};
use command::{CONFIG, DISK, Kind, Plan, SOCKET, arguments};
use host::Abilities;
pub use network::{Bridge, Network, NotBridge};
use network::{Link, out_of_reach};
use qmp::{Qmp, QmpError};

/// How long a machine that was started may take to answer before it is left to itself.
const START: Duration = Duration::from_secs(10);
/// The pause between two tries to reach it.
const BETWEEN: Duration = Duration::from_millis(20);
/// How long one command may take.
const COMMAND: Duration = Duration::from_secs(2);

/// Where a machine has what its agent writes: on the disk for data, where there is one.
const DATA: &str = "/var/lib/easyenclave";
/// Where its first program puts the files of a simulated platform.
const PLATFORM: &str = "/run/easyenclave/platform";

/// A platform has no more files than this, with names of no more bytes.
const FILES: usize = 16;
const NAME: usize = 30;

/// Units as virtual machines on this host.
pub type QemuProvider = Units<Machines>;

/// What machines start from.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name: what is the same for two images that boot the same.
    pub digest: Digest,
    /// The kernel's file.
    pub kernel: PathBuf,
    /// The file of the archive that the kernel unpacks.
    pub initramfs: PathBuf,
    /// The kernel's command line.
    pub command_line: String,
}

/// How machines are made here.
#[derive(Debug, Clone)]
pub struct Setup {
    /// QEMU's program.
    pub program: PathBuf,
    /// What they start from.
    pub image: Image,
    /// The folder with a guest's part of the simulated platform, for plain machines.
    pub platform: PathBuf,
    /// The firmware of trust domains.
    pub firmware: PathBuf,
    /// How they are connected.
    pub network: Network,
}

impl Setup {
    /// QEMU is started in its unit's folder, where relative paths lead elsewhere. A bare name is looked for by the
    /// system.
    fn settle(&mut self) {
        let image = &mut self.image;
        let mut paths = vec![
            &mut image.kernel,
            &mut image.initramfs,
            &mut self.platform,
            &mut self.firmware,
        ];
        if self.program.components().count() > 1 {
            paths.push(&mut self.program);
        }
        for path in paths {
            if let Ok(absolute) = std::path::absolute(&*path) {
                *path = absolute;
            }
        }
    }
}

/// Makes virtual machines.
#[derive(Debug)]
pub struct Machines {
    setup: Setup,
    abilities: Abilities,
}

impl QemuProvider {
    /// The units under this folder.
    ///
    /// # Errors
    /// When QEMU cannot be run, the folder cannot be made, or another provider uses it.
    pub async fn open(data_dir: &Path, mut setup: Setup) -> Result<Self, ProvideError> {
        setup.settle();
        let abilities = look(&setup.program).await?;
        tracing::info!(
            kvm = abilities.kvm,
            tdx = abilities.tdx,
            image = %setup.image.digest,
            "machines are made by QEMU"
        );
        Self::under(data_dir, Machines { setup, abilities })
    }
}

/// Whether QEMU is there, before anything is made for it.
///
/// # Errors
/// When it cannot be run.
pub async fn find(program: &Path) -> Result<(), ProvideError> {
    look(program).await.map(|_| ())
}

async fn look(program: &Path) -> Result<Abilities, ProvideError> {
    let what = || format!("QEMU's program {}", program.display());
    let abilities = host::abilities(program).await;
    abilities.map_err(|error| ProvideError::of(what(), error))
}

impl Machines {
    /// The machine that the order asks for, and whether it is a trust domain.
    fn machine<'a>(
        &self,
        request: &'a LaunchRequest,
    ) -> Result<(&'a QemuMachine, bool), ProvideError> {
        let Some(Machine::Qemu(machine)) = &request.spec.machine else {
            return Err(unsuited("the order names no machine of QEMU".into()));
        };
        let ours = self.setup.image.digest;
        if let Some(other) = machine.image.filter(|digest| *digest != ours) {
            return Err(unsuited(format!(
                "the order wants image {other}, and this is {ours}"
            )));
        }
        // A simulated root does not trust a trust domain, nor Intel's a plain machine.
        let tdx = match machine.tdx {
            TdxUse::Required => true,
            TdxUse::Never => false,
            TdxUse::Auto => !request.spec.simulated,
        };
        match (tdx, self.abilities.tdx, request.spec.simulated) {
            (true, false, _) => Err(unsuited("this host makes no trust domains".into())),
            (false, _, false) => Err(unsuited(
                "a plain machine is made under a simulated root only".into(),
            )),
            (true, _, true) => Err(unsuited("no simulated root trusts a trust domain".into())),
            _ => Ok((machine, tdx)),
        }
    }

    fn config(&self, request: &LaunchRequest, tdx: bool, link: &Link) -> AgentConfig {
        let size = &request.spec.node_size;
        let listen = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let (agent, workload) = link.addresses().unzip();
        let url = &request.spec.reconciler_url;
        AgentConfig {
            fleet_id: request.fleet.clone(),
            order_id: request.order.clone(),
            bootstrap_token: request.bootstrap_token.clone(),
            reconciler_url: network::from_inside(&self.setup.network, url),
            reconciler_key: request.spec.reconciler_key.clone(),
            datacenter: request.datacenter.clone(),
            node_size: size.clone(),
            platform: match tdx {
                true => PlatformConfig::Tdx { root: "/".into() },
                false => PlatformConfig::Simulated {
                    dir: PLATFORM.into(),
                    image: Some(image_label(&self.setup.image.digest, size)),
                },
            },
            // A key of its own would have to pass through the host, which may see no secret.
            trust_authority: None,
            data_dir: DATA.into(),
            worker_id: request.worker.clone(),
            listen: Some(listen(network::AGENT)),
            address: agent,
            workload: Some(WorkloadPort {
                listen: listen(network::WORKLOAD),
                address: workload,
            }),
        }
    }

    /// Writes the files and puts the command line together.
    fn write(&self, request: &LaunchRequest, folder: &Path) -> io::Result<Vec<OsString>> {
        let (machine, tdx) = self.machine(request).map_err(io::Error::other)?;
        let link = Link::new(&self.setup.network, request)?;
        let config = serde_json::to_vec(&self.config(request, tdx, &link))
            .expect("a configuration is plain data");
        write_private(&folder.join(CONFIG), &config)?;
        if machine.data_gib > 0 {
            disk(&folder.join(DISK), machine.data_gib)?;
        }
        let platform = match tdx {
            true => Vec::new(),
            false => platform(&self.setup.platform)?,
        };
        let kind = match tdx {
            true => Kind::Tdx {
                firmware: &self.setup.firmware,
            },
            false => Kind::Plain {
                kvm: self.by_kvm(machine.accelerator),
                platform: &platform,
            },
        };
        let image = &self.setup.image;
        arguments(&Plan {
            name: request.order.as_str(),
            vcpus: machine.vcpus,
            memory: machine.memory_mib,
            disk: machine.data_gib > 0,
            kind,
            config_id: config_id(&config),
            kernel: &image.kernel,
            initramfs: &image.initramfs,
            command_line: &image.command_line,
            link: &link,
        })
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }

    fn by_kvm(&self, accelerator: Accelerator) -> bool {
        match accelerator {
            Accelerator::Auto => self.abilities.kvm,
            Accelerator::Kvm => true,
            Accelerator::Tcg => false,
        }
    }
}

#[async_trait]
impl Maker for Machines {
    /// QEMU ends at once when it is told to; it asks nobody in the machine.
    const GRACE: Duration = Duration::from_secs(2);

    fn refuse(&self, request: &LaunchRequest) -> Result<(), ProvideError> {
        if let Some(why) = out_of_reach(&self.setup.network, &request.spec.reconciler_url) {
            return Err(unsuited(format!("{why}, where the reconciler is")));
        }
        self.machine(request).map(|_| ())
    }

    fn prepare(&self, request: &LaunchRequest, folder: &Path) -> Result<Command, ProvideError> {
        let arguments = self.write(request, folder);
        let arguments = arguments
            .map_err(|error| ProvideError::of(format!("machine of {}", request.order), error))?;
        let mut command = Command::new(&self.setup.program);
        command.args(arguments).env_clear().envs(handed_on());
        Ok(command)
    }

    /// QEMU answers as soon as the machine runs, long before anything in it does.
    async fn started(&self, folder: &Path, child: &mut Child) -> Result<(), ProvideError> {
        let asked = tokio::select! {
            ended = child.wait() => Err(match ended {
                Ok(status) => format!("QEMU ended with {status}"),
                Err(error) => format!("QEMU: {error}"),
            }),
            running = running(folder) => running,
        };
        asked.map_err(|what| ProvideError::Retry {
            what,
            source: io::Error::other(log::last_line(folder).unwrap_or_default()),
        })
    }

    /// All that a machine has is in its folder.
    async fn empty(&self, _: &OrderId, _: &str, _: &Path) -> Result<(), ProvideError> {
        Ok(())
    }

    async fn stop(&self, folder: &Path) {
        let quit = async {
            let mut qmp = Qmp::connect(&folder.join(SOCKET), COMMAND).await?;
            qmp.execute("quit").await
        };
        match quit.await {
            // Nothing is there to be stopped.
            Ok(_) | Err(QmpError::Socket(_)) => {}
            Err(error) => {
                let folder = folder.display();
                tracing::warn!(%folder, error = %error, "QEMU does not quit, and is ended");
            }
        }
    }
}

/// Waits until a machine runs, for as long as it may take. One that does not answer by then goes on all the same: whether
/// it comes to anything is for its deadlines to say.
async fn running(folder: &Path) -> Result<(), String> {
    let deadline = Instant::now() + START;
    loop {
        let error = match status(folder).await {
            Ok(status) if status == "running" => return Ok(()),
            Ok(status) => return Err(format!("the machine's state is {status}")),
            Err(error) => error,
        };
        if Instant::now() >= deadline {
            tracing::warn!(folder = %folder.display(), error = %error, "QEMU does not answer");
            return Ok(());
        }
        sleep(BETWEEN).await;
    }
}

async fn status(folder: &Path) -> Result<String, QmpError> {
    let mut qmp = Qmp::connect(&folder.join(SOCKET), COMMAND).await?;
    let answer = qmp.execute("query-status").await?;
    let status = answer.get("status").and_then(|status| status.as_str());
    Ok(status.unwrap_or("unknown").to_owned())
}

/// What a machine's quotes say of its configuration: the digest of the bytes that it reads.
fn config_id(config: &[u8]) -> MeasurementDigest {
    let digest = ring::digest::digest(&ring::digest::SHA384, config);
    let mut id = [0; 48];
    id.copy_from_slice(digest.as_ref());
    MeasurementDigest::new(id)
}

/// A disk on which nothing was written yet takes no room.
fn disk(path: &Path, gib: u32) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.set_len(u64::from(gib) << 30)
}

/// The files of a guest's part of the simulated platform, by name.
fn platform(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let named = |error: io::Error| {
        let what = format!("the platform's files in {}: {error}", folder.display());
        io::Error::new(error.kind(), what)
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(named)? {
        let entry = entry.map_err(named)?;
        let path = fs::canonicalize(entry.path()).map_err(named)?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if files.len() == FILES || !is_given(&name) || !path.is_file() {
            let what = format!(
                "{}: expected at most {FILES} files, named by at most {NAME} letters, digits, `.` and `-`",
                entry.path().display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        files.push((name, path));
    }
    files.sort();
    Ok(files)
}

/// Whether a machine can be given a file of this name.
fn is_given(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    (1..=NAME).contains(&name.len()) && name.bytes().all(plain)
}

fn unsuited(why: String) -> ProvideError {
    ProvideError::NeedsPerson {
        what: "the machine cannot be made here".into(),
        source: io::Error::new(io::ErrorKind::Unsupported, why),
    }
}

#[cfg(test)]
mod tests;
