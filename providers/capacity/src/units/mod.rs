//! Units on this machine: each is a folder and a labelled process, whatever that process is. There is no database:
//! folders and labelled processes are what is, so a restarted worker finds its units again. Never touches a
//! process without its own label.

mod look;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use easyenclave_processes::{Memory, Process, end, labels, take_lock};
use easyenclave_schemas::wire::Unit;
use easyenclave_schemas::{Digest, OrderId};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::{LaunchRequest, ProvideError, Provider, log};
use look::{CLAIM, Seen, claim, is_agent, look, owner};

/// What sets the units of one provider apart from those of another: what is in their folders, and what runs.
#[async_trait]
pub trait Maker: Send + Sync {
    /// How long a unit may take to end when it is asked to, before it is killed with all that belongs to it.
    const GRACE: Duration;

    /// What of a request is not to be made here at all. Asked before anything is done for it.
    ///
    /// # Errors
    /// When it is not.
    fn refuse(&self, request: &LaunchRequest) -> Result<(), ProvideError>;

    /// Writes what the unit is given into its folder, and says how it is started there. Labels, folder, group and
    /// output are not its business.
    ///
    /// # Errors
    /// When something cannot be written or found.
    fn prepare(&self, request: &LaunchRequest, folder: &Path) -> Result<Command, ProvideError>;

    /// Waits until what was started is surely running, or has surely failed.
    ///
    /// # Errors
    /// When it has failed.
    async fn started(&self, folder: &Path, child: &mut Child) -> Result<(), ProvideError>;

    /// Asks a unit to end, in its own way. What does not is ended anyway.
    async fn stop(&self, folder: &Path);

    /// Removes what outlives a unit's processes, once they have ended. `mark` ends the fleet label of the unit.
    ///
    /// # Errors
    /// When something may be left.
    async fn empty(&self, order: &OrderId, mark: &str, folder: &Path) -> Result<(), ProvideError>;
}

/// The units under a folder.
#[derive(Debug)]
pub struct Units<M> {
    maker: M,
    units: PathBuf,
    /// Ends the fleet label of this provider's processes.
    mark: String,
    /// One call at a time for each order.
    orders: std::sync::Mutex<BTreeMap<OrderId, Arc<Mutex<()>>>>,
    /// Held while a unit is between its folder and its process, so that no listing takes it for dead.
    making: Mutex<()>,
    /// Held for as long as this provider lives.
    _lock: File,
}

impl<M: Maker> Units<M> {
    /// The units under this folder.
    ///
    /// # Errors
    /// When the folder cannot be made, or another provider uses it.
    pub(crate) fn under(data_dir: &Path, maker: M) -> Result<Self, ProvideError> {
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
            maker,
            units,
            mark,
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

    /// Ends every process of an order, and removes what outlives them.
    async fn end(&self, order: &OrderId) -> Result<(), ProvideError> {
        let folder = self.folder(order);
        self.maker.stop(&folder).await;
        let (mark, name) = (self.mark.clone(), order.clone());
        let belongs = move |process: &Process, _| owner(process, &mark) == Some(name.as_str());
        let ended = end(belongs, is_agent, M::GRACE).await;
        ended.map_err(|error| ProvideError::Retry {
            what: format!("processes of {order} cannot be ended"),
            source: io::Error::other(error),
        })?;
        self.forget(order)?;
        self.maker.empty(order, &self.mark, &folder).await
    }

    /// Removes what an agent that was killed held in memory. An engine may be down for long, and that waits for none.
    fn forget(&self, order: &OrderId) -> Result<(), ProvideError> {
        let in_memory = Memory::found(&self.mark, order.as_str());
        let removed = in_memory.and_then(|found| found.iter().try_for_each(Memory::remove));
        removed.map_err(|error| ProvideError::Retry {
            what: format!("folder of {order} in memory"),
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

    /// Writes the folder and starts the process, if there is room for one more.
    async fn make(&self, request: &LaunchRequest, folder: &Path) -> Result<Child, ProvideError> {
        let _making = self.making.lock().await;
        let seen = self.look().await?;
        let alive = seen.values().filter(|seen| seen.alive).count();
        let limit = request.spec.max_units;
        if alive >= limit as usize {
            return Err(ProvideError::NoCapacity { limit });
        }
        // The claim comes first: no agent runs in a folder that names another.
        private_folder(folder)
            .and_then(|()| write_private(&folder.join(CLAIM), request.fence.to_string().as_bytes()))
            .map_err(|error| ProvideError::of(format!("folder of {}", request.order), error))?;
        let command = self.maker.prepare(request, folder)?;
        let program = command.as_std().get_program().to_string_lossy();
        let what = format!("agent program {program}");
        self.spawn(request, folder, command)
            .map_err(|error| ProvideError::of(what, error))
    }

    /// The process is in a group of its own, so that a terminal's Ctrl-C reaches the worker alone.
    fn spawn(
        &self,
        request: &LaunchRequest,
        folder: &Path,
        mut command: Command,
    ) -> io::Result<Child> {
        let log = log::open(folder)?;
        command.env(labels::FLEET, format!("{}{}", request.fleet, self.mark));
        command
            .env(labels::ORDER, request.order.as_str())
            .env(labels::ROLE, labels::AGENT);
        command.current_dir(folder).process_group(0);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        command.spawn()
    }
}

#[async_trait]
impl<M: Maker> Provider for Units<M> {
    async fn ensure(&self, request: &LaunchRequest) -> Result<(), ProvideError> {
        let turn = self.turn(&request.order);
        let _turn = turn.lock().await;
        if self.is_made(request).await? {
            return Ok(());
        }
        self.end(&request.order).await?;
        self.maker.refuse(request)?;
        let folder = self.folder(&request.order);
        let mut child = self.make(request, &folder).await?;
        let started = self.maker.started(&folder, &mut child).await;
        // Somebody has to take note of its end, or it stays as a zombie.
        tokio::spawn(async move { child.wait().await });
        if started.is_err() {
            // Whatever is left of it would be taken for a unit that was made.
            self.end(&request.order).await?;
        }
        started
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
    match take_lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "another worker uses it at the moment",
        )),
    }
}

/// Written aside and renamed, so that a crash leaves the old file or the new one.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What runs, and is not what was wanted.
    struct Broken;

    #[async_trait]
    impl Maker for Broken {
        const GRACE: Duration = Duration::from_secs(2);

        fn refuse(&self, _: &LaunchRequest) -> Result<(), ProvideError> {
            Ok(())
        }

        fn prepare(&self, _: &LaunchRequest, _: &Path) -> Result<Command, ProvideError> {
            let mut command = Command::new("sleep");
            command.arg("300");
            Ok(command)
        }

        async fn started(&self, _: &Path, child: &mut Child) -> Result<(), ProvideError> {
            assert!(child.try_wait().expect("its state").is_none(), "it runs");
            let source = io::Error::other("its state is internal-error");
            let what = "the machine".into();
            Err(ProvideError::Retry { what, source })
        }

        async fn stop(&self, _: &Path) {}

        async fn empty(&self, _: &OrderId, _: &str, _: &Path) -> Result<(), ProvideError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_runs_and_has_failed_is_not_taken_for_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let units = Units::under(folder.path(), Broken).expect("a provider");
        let request = crate::conformance::request("a", 4);
        for _ in 0..2 {
            let error = units.ensure(&request).await.expect_err("failed");
            assert_eq!(error.to_string(), "the machine");
            let listed = units.list().await.expect("listed");
            assert!(listed.iter().all(|unit| !unit.alive), "{listed:?}");
        }
    }
}
