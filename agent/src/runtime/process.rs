//! One workload's processes: what they are given, how the first is started, how all are ended. They get
//! exactly the environment that is put together here, and nothing of the agent's own.

use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use easyenclave_processes::{EndError, Process, end, labels};
use easyenclave_schemas::documents::Workload;
use easyenclave_schemas::{DeploymentId, Generation, OrderId, Secret};
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::log::Log;
use crate::config::Surroundings;
use crate::forward::Door;
use crate::instructions::Assignment;
use crate::vault::Vault;

/// How long the end of the output is waited for after all processes have gone.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(500);

/// Where workloads run on this agent.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) surroundings: Surroundings,
    pub(crate) order: OrderId,
    /// Where the agent's own API answers.
    pub(crate) agent_url: String,
    /// The agent's own folder.
    pub(crate) data: PathBuf,
    /// The workload's own folder.
    pub(crate) home: PathBuf,
    pub(crate) log: Log,
    /// The way to the workload from outside this machine; others reach it as programs on this machine do where there
    /// is none.
    pub(crate) door: Option<Door>,
    /// The secrets of what runs.
    pub(crate) vault: Vault,
}

/// What tells the processes of one assignment from all others, and the port that it keeps.
#[derive(Debug)]
pub(crate) struct Scope {
    labels: Vec<(&'static str, String)>,
    port: Option<u16>,
}

/// Everything that a process of the workload is given.
#[derive(Debug)]
pub(crate) struct Launch {
    command: Vec<String>,
    env: Vec<(OsString, OsString)>,
    /// What the workload has besides, and no probe.
    secrets: Vec<(OsString, Secret<OsString>)>,
    home: PathBuf,
    port: u16,
    log: Log,
}

/// The first process of a workload, and its output.
#[derive(Debug)]
pub(crate) struct Running {
    leader: u32,
    output: JoinHandle<()>,
    waiting: JoinHandle<()>,
    exit: Option<oneshot::Receiver<Exit>>,
}

/// How a workload ended.
#[derive(Debug)]
pub(crate) enum Exit {
    /// It could not be started, and the error names the program.
    NotStarted(io::Error),
    /// It ran and has ended.
    Ended(ExitStatus),
    /// It cannot be told.
    Unknown,
}

impl Exit {
    pub(crate) fn is_success(&self) -> bool {
        matches!(self, Self::Ended(status) if status.success())
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(error) => error.fmt(f),
            Self::Ended(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "exited with code {code}"),
                (None, Some(signal)) => write!(f, "killed by signal {signal}"),
                (None, None) => f.write_str("ended"),
            },
            Self::Unknown => f.write_str("ended, and the system does not say how"),
        }
    }
}

impl Place {
    /// The scope of an assignment.
    pub(crate) fn scope(&self, generation: Generation, assignment: &Assignment) -> Scope {
        let labels = vec![
            (labels::FLEET, self.surroundings.fleet.clone()),
            (labels::ORDER, self.order.to_string()),
            (labels::DEPLOYMENT, assignment.deployment.to_string()),
            (labels::GENERATION, generation.to_string()),
        ];
        Scope { labels, port: None }
    }

    /// Empties the workload's folder and its log, which may be another workload's: they are this deployment's from now on.
    pub(crate) async fn clear(&self, next: &DeploymentId) -> io::Result<()> {
        let named = |error| named(error, format!("cannot clear {}", self.home.display()));
        match tokio::fs::remove_dir_all(&self.home).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(error)),
            _ => {}
        }
        tokio::fs::create_dir_all(&self.home).await.map_err(named)?;
        self.log.begin(next).await
    }

    /// What was printed goes with whoever printed it: the next deployment here may be another owner's.
    pub(crate) async fn forget_output(&self) {
        if let Err(error) = self.log.clear().await {
            tracing::error!(error = %error, "output stays on the disk, and is given to nobody");
        }
    }

    /// Where others reach what listens on this port. The way there is open from now on.
    pub(super) fn url(&self, port: u16) -> String {
        match &self.door {
            Some(door) => {
                door.open(port);
                door.address.clone()
            }
            None => format!("http://127.0.0.1:{port}"),
        }
    }

    /// All that a start needs. The port stays the same for as long as nobody else takes it.
    pub(crate) async fn launch(
        &self,
        scope: &mut Scope,
        assignment: &Assignment,
    ) -> io::Result<Launch> {
        let missing = |error| named(error, format!("no folder {}", self.home.display()));
        tokio::fs::create_dir_all(&self.home)
            .await
            .map_err(missing)?;
        let port = match scope
            .port
            .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        {
            Some(port) => port,
            None => free_port().map_err(|error| named(error, "no free port".into()))?,
        };
        scope.port = Some(port);
        let Workload::Process(process) = &assignment.workload else {
            let message = "this agent runs processes only";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        };
        let documented = process
            .env
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        // Later values win: a document cannot take away a label, or the port.
        let mut env: Vec<(OsString, OsString)> = documented.collect();
        env.push(("PATH".into(), self.surroundings.path.clone()));
        env.push(("HOME".into(), self.home.clone().into()));
        env.push(("PORT".into(), port.to_string().into()));
        let uses = &assignment.secrets;
        if uses.iter().any(|one| one.file.is_some()) {
            let folder = self.vault.files(uses, assignment.secrets_digest);
            env.push(("EASYENCLAVE_SECRETS".into(), folder.into()));
        }
        env.push((
            "EASYENCLAVE_AGENT_URL".into(),
            self.agent_url.clone().into(),
        ));
        env.extend(
            scope
                .labels
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        let (home, log) = (self.home.clone(), self.log.clone());
        Ok(Launch {
            command: process.command.clone(),
            env,
            secrets: self.vault.env(uses),
            home,
            port,
            log,
        })
    }
}

/// A port that nobody listens on now.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl Launch {
    /// The port that the workload should listen on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A command with the workload's environment but for its secrets, in a group of its own.
    pub(crate) fn command(&self, line: &[String]) -> io::Result<Command> {
        let (program, arguments) = line
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.env.iter().cloned());
        command
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    /// Starts the workload.
    pub(crate) fn start(&self) -> io::Result<Running> {
        let program = self.command.first().map_or("", String::as_str);
        let failed = |error| named(error, format!("cannot start {program:?}"));
        let (sink, output) = self.log.sink().map_err(failed)?;
        let mut command = self.command(&self.command).map_err(failed)?;
        command
            .stdout(sink.try_clone().map_err(failed)?)
            .stderr(sink);
        for (name, value) in &self.secrets {
            command.env(name, value.reveal());
        }
        let mut child = command.spawn().map_err(failed)?;
        // The command holds the writing end; the output ends only when nobody holds it.
        drop(command);
        let leader = child.id().unwrap_or_default();
        let (tell, exit) = oneshot::channel();
        let waiting = tokio::spawn(async move {
            let exit = child.wait().await.map_or(Exit::Unknown, Exit::Ended);
            // Nobody listens when the workload is being stopped.
            let _ = tell.send(exit);
        });
        Ok(Running {
            leader,
            output,
            waiting,
            exit: Some(exit),
        })
    }
}

impl Running {
    /// How it will have ended. Can be taken once.
    pub(crate) fn take_exit(&mut self) -> impl Future<Output = Exit> + use<> {
        let exit = self.exit.take();
        async {
            match exit {
                Some(exit) => exit.await.unwrap_or(Exit::Unknown),
                None => Exit::Unknown,
            }
        }
    }

    /// Waits a moment for the last words, then closes the output.
    pub(crate) async fn close(mut self) {
        // A time-out means that a process escaped with the other end; it is closed by force.
        let _ = timeout(LAST_WORDS, &mut self.output).await;
        let _ = timeout(LAST_WORDS, &mut self.waiting).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.output.abort();
        self.waiting.abort();
    }
}

impl Scope {
    /// Ends every process of the assignment: those with its labels, and those in the group of its
    /// first process.
    pub(crate) async fn end(
        &self,
        running: Option<&Running>,
        grace: Duration,
    ) -> Result<(), EndError> {
        let (labels, leader) = (self.labels.clone(), running.map(|running| running.leader));
        let belongs = move |process: &Process, session| {
            let labelled = labels
                .iter()
                .all(|(name, value)| process.label(name) == Some(value));
            // The leader's number may be another's by now, who leads a group of the same number.
            let is_anothers = labels
                .iter()
                .any(|(name, value)| process.label(name).is_some_and(|other| other != value));
            let in_group = leader.is_some_and(|leader| process.is_in_group(leader, session));
            labelled || (in_group && !is_anothers)
        };
        end(belongs, |_| true, grace).await.map(|_| ())
    }
}

/// Ends the group of a process that took too long.
pub(crate) async fn end_group(leader: u32) -> Result<(), EndError> {
    let belongs = move |process: &Process, session| process.is_in_group(leader, session);
    end(belongs, |_| true, Duration::ZERO).await.map(|_| ())
}

/// The same error with what was tried.
pub(crate) fn named(error: io::Error, what: String) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
