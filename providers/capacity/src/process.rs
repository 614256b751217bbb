//! The process provider: a unit is a folder and an agent process on this machine. There is no database:
//! folders and labelled processes are what is, so a restarted worker finds its units again. Never touches a
//! process without its own label.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use easyenclave_processes::{LEAVE, Process, end, labels, list};
use easyenclave_schemas::wire::{AgentConfig, PlatformConfig, Unit};
use easyenclave_schemas::{Digest, OrderId};
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::config::AgentProgram;
use crate::{LaunchRequest, ProvideError, Provider, log};

/// How long an agent may take to end its workload and itself before it is killed with it: as long as an agent
/// allows itself, and a moment for its own end.
const GRACE: Duration = LEAVE.saturating_add(Duration::from_secs(2));

/// The file of a unit that names the claim under which it was made.
const CLAIM: &str = "claim";

/// Units as processes on this machine.
#[derive(Debug)]
pub struct ProcessProvider {
    units: PathBuf,
    /// Ends the fleet label of this provider's processes.
    mark: String,
    program: AgentProgram,
    platform: PlatformConfig,
    /// One call at a time for each order.
    orders: std::sync::Mutex<BTreeMap<OrderId, Arc<Mutex<()>>>>,
    /// Held while a unit is between its folder and its process, so that no listing takes it for dead.
    making: Mutex<()>,
    /// Held for as long as this provider lives.
    _lock: File,
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
        let named = |error| ProvideError::of(format!("folder {}", data_dir.display()), error);
        let units = data_dir.join("units");
        private_folder(&units).map_err(named)?;
        let units = units.canonicalize().map_err(named)?;
        let lock = lock(data_dir).map_err(named)?;
        let mark = format!(
            "@{}",
            Digest::of(units.as_os_str().as_encoded_bytes()).short(12)
        );
        Ok(Self {
            units,
            mark,
            program,
            platform,
            orders: std::sync::Mutex::default(),
            making: Mutex::default(),
            _lock: lock,
        })
    }

    fn folder(&self, order: &OrderId) -> PathBuf {
        self.units.join(order.as_str())
    }

    /// The lock of an order. Those that nobody holds are forgotten.
    fn turn(&self, order: &OrderId) -> Arc<Mutex<()>> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(orders.entry(order.clone()).or_default())
    }

    async fn look(&self) -> Result<BTreeMap<OrderId, Seen>, ProvideError> {
        let (units, mark) = (self.units.clone(), self.mark.clone());
        let looked = tokio::task::spawn_blocking(move || look(&units, &mark)).await;
        looked
            .unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
            .map_err(|source| ProvideError::Retry {
                what: "units cannot be listed".into(),
                source,
            })
    }

    /// Whether an agent of this very claim lives. A claim that says nothing is another; while it cannot be read,
    /// nobody knows, and nothing may be ended.
    async fn is_made(&self, request: &LaunchRequest) -> Result<bool, ProvideError> {
        let order = &request.order;
        if !self.look().await?.get(order).is_some_and(|seen| seen.alive) {
            return Ok(false);
        }
        let claim = claim(&self.folder(order)).map_err(|source| ProvideError::Retry {
            what: format!("claim of {order}"),
            source,
        })?;
        Ok(claim == Some(request.fence))
    }

    /// Keeps agents' logs bounded. Called with each listing, which a worker makes every second.
    async fn cut_logs(&self, folders: Vec<PathBuf>) {
        let cut = move || {
            for folder in folders {
                if let Err(error) = log::cut(&folder) {
                    tracing::warn!(folder = %folder.display(), error = %error, "log cannot be cut");
                }
            }
        };
        // It only panics with the program.
        let _ = tokio::task::spawn_blocking(cut).await;
    }

    /// Ends every process of an order.
    async fn end(&self, order: &OrderId) -> Result<(), ProvideError> {
        let (mark, order) = (self.mark.clone(), order.clone());
        let what = format!("processes of {order} cannot be ended");
        let belongs = move |process: &Process, _| owner(process, &mark) == Some(order.as_str());
        let ended = end(belongs, is_agent, GRACE).await;
        ended.map(|_| ()).map_err(|error| ProvideError::Retry {
            what,
            source: io::Error::other(error),
        })
    }

    /// Ends every process of an order and removes its folder.
    async fn clear(&self, order: &OrderId) -> Result<(), ProvideError> {
        self.end(order).await?;
        match tokio::fs::remove_dir_all(self.folder(order)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ProvideError::of(format!("folder of {order}"), error))
            }
            _ => Ok(()),
        }
    }

    /// Writes the folder and starts the agent.
    fn make(&self, request: &LaunchRequest) -> Result<(), ProvideError> {
        let folder = self.folder(&request.order);
        let config = folder.join("config.json");
        // The claim comes first: no agent runs in a folder that names another.
        private_folder(&folder)
            .and_then(|()| write_private(&folder.join(CLAIM), request.fence.to_string().as_bytes()))
            .and_then(|()| write_private(&config, &self.config(request, &folder)))
            .map_err(|error| ProvideError::of(format!("folder of {}", request.order), error))?;
        let program = self.program.program.display();
        self.spawn(request, &folder, &config)
            .map_err(|error| ProvideError::of(format!("agent program {program}"), error))
    }

    fn config(&self, request: &LaunchRequest, folder: &Path) -> Vec<u8> {
        let config = AgentConfig {
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
        };
        serde_json::to_vec_pretty(&config).expect("a configuration is plain data")
    }

    /// The agent is in a group of its own, so that a terminal's Ctrl-C reaches the worker alone.
    fn spawn(&self, request: &LaunchRequest, folder: &Path, config: &Path) -> io::Result<()> {
        let log = log::open(folder)?;
        let mut command = Command::new(&self.program.program);
        command
            .args(&self.program.arguments)
            .arg("--config")
            .arg(config);
        command
            .env_clear()
            .envs(self.program.environment.iter().cloned());
        command.env(labels::FLEET, format!("{}{}", request.fleet, self.mark));
        command
            .env(labels::ORDER, request.order.as_str())
            .env(labels::ROLE, labels::AGENT);
        command.current_dir(folder).process_group(0);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut child = command.spawn()?;
        // Somebody has to take note of its end, or it stays as a zombie.
        tokio::spawn(async move { child.wait().await });
        Ok(())
    }
}

#[async_trait]
impl Provider for ProcessProvider {
    async fn ensure(&self, request: &LaunchRequest) -> Result<(), ProvideError> {
        let turn = self.turn(&request.order);
        let _turn = turn.lock().await;
        if self.is_made(request).await? {
            return Ok(());
        }
        self.end(&request.order).await?;
        let _making = self.making.lock().await;
        let alive = self
            .look()
            .await?
            .values()
            .filter(|seen| seen.alive)
            .count();
        let limit = request.spec.max_units;
        if alive >= limit as usize {
            return Err(ProvideError::NoCapacity { limit });
        }
        self.make(request)
    }

    async fn remove(&self, order: &OrderId) -> Result<(), ProvideError> {
        let turn = self.turn(order);
        let _turn = turn.lock().await;
        self.clear(order).await
    }

    async fn remove_older(&self, order: &OrderId, fence: u64) -> Result<(), ProvideError> {
        let turn = self.turn(order);
        let _turn = turn.lock().await;
        let made_under = self.look().await?.get(order).and_then(|seen| seen.fence);
        match made_under {
            Some(older) if older < fence => self.clear(order).await,
            _ => Ok(()),
        }
    }

    async fn list(&self) -> Result<Vec<Unit>, ProvideError> {
        let _making = self.making.lock().await;
        let seen = self.look().await?;
        self.cut_logs(seen.keys().map(|order| self.folder(order)).collect())
            .await;
        Ok(seen
            .into_iter()
            .map(|(order_id, Seen { alive, fence })| Unit {
                order_id,
                alive,
                fence,
            })
            .collect())
    }

    async fn last_words(&self, order: &OrderId) -> Result<String, ProvideError> {
        log::last_line(&self.folder(order))
            .map_err(|error| ProvideError::of(format!("log of {order}"), error))
    }

    async fn console(&self, order: &OrderId) -> Result<String, ProvideError> {
        log::tail(&self.folder(order))
            .map_err(|error| ProvideError::of(format!("log of {order}"), error))
    }
}

#[derive(Default)]
struct Seen {
    alive: bool,
    /// The claim that its folder names, as far as it can be read.
    fence: Option<u64>,
}

/// Folders and processes together: either is a unit.
fn look(units: &Path, mark: &str) -> io::Result<BTreeMap<OrderId, Seen>> {
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir(units)? {
        let entry = entry?;
        let name = entry.file_name();
        let order = name.to_str().and_then(|name| OrderId::new(name).ok());
        let folder = || Seen {
            alive: false,
            fence: claim(&entry.path()).ok().flatten(),
        };
        seen.extend(order.map(|order| (order, folder())));
    }
    for process in list()? {
        let order = owner(&process, mark).and_then(|order| OrderId::new(order).ok());
        let Some(order) = order else { continue };
        let unit: &mut Seen = seen.entry(order).or_default();
        unit.alive |= is_agent(&process);
    }
    Ok(seen)
}

/// The claim under which a unit was made; none where nothing is written, or no number.
fn claim(folder: &Path) -> io::Result<Option<u64>> {
    match fs::read(folder.join(CLAIM)) {
        Ok(text) => Ok(str::from_utf8(&text)
            .ok()
            .and_then(|text| text.parse().ok())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The order that a process belongs to, if it is one of this provider's.
fn owner<'a>(process: &'a Process, mark: &str) -> Option<&'a str> {
    process
        .label(labels::FLEET)
        .filter(|fleet| fleet.ends_with(mark))?;
    process.label(labels::ORDER)
}

fn is_agent(process: &Process) -> bool {
    process.label(labels::ROLE) == Some(labels::AGENT)
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Two workers on one folder would list and remove each other's units.
fn lock(data_dir: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(data_dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "another worker uses it at the moment",
        )),
    }
}

/// Written aside and renamed, so that a crash leaves the old file or the new one.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(aside, path)
}
