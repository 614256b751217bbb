//! The connector's process: how it is started, asked and ended. It gets an environment that is put together here, and its token by
//! its standard input.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use easyenclave_processes::{Process, end, labels};
use easyenclave_schemas::wire::AgentConfig;
use easyenclave_schemas::{OrderId, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::{sleep, timeout};

use super::listener;
use crate::config::Surroundings;

/// The program, looked for in the agent's search path.
const PROGRAM: &str = "cloudflared";

/// How long it may take to end by itself when it is asked to: what passes through it is cut off after that.
const GRACE: Duration = Duration::from_secs(3);

/// The pause before trying again to end what could not be ended.
const END_AGAIN: Duration = Duration::from_secs(2);

/// The longest that it may take to say whether it is connected.
const ANSWER: Duration = Duration::from_secs(2);

/// The longest that it may take to read its token.
const READ: Duration = Duration::from_secs(10);

/// So much of what it says is kept, in bytes, and the last words of that are shown.
const WORDS: usize = 2048;

/// What a connector is started with.
#[derive(Debug)]
pub(crate) struct Kit {
    pub(crate) surroundings: Surroundings,
    pub(crate) order: OrderId,
    /// A folder that it may call its own.
    pub(crate) home: PathBuf,
}

/// A connector that runs.
pub(super) struct Running<E> {
    /// Its last words, when it has ended.
    pub(super) exit: E,
    pub(super) ready: Ready,
}

/// Where it says whether it is connected.
pub(super) struct Ready {
    client: reqwest::Client,
    port: u16,
    pid: u32,
}

impl Kit {
    /// That of an agent.
    pub(crate) fn of(config: &AgentConfig, surroundings: &Surroundings) -> Self {
        Self {
            surroundings: surroundings.clone(),
            order: config.order_id.clone(),
            home: config.data_dir.join("connector"),
        }
    }

    /// Looks whether the program is there.
    pub(super) fn find(&self) -> anyhow::Result<()> {
        let is_program = |folder: PathBuf| {
            let found = std::fs::metadata(folder.join(PROGRAM));
            found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        let is_there = std::env::split_paths(&self.surroundings.path).any(is_program);
        anyhow::ensure!(is_there, "there is no {PROGRAM} in the search path");
        Ok(())
    }

    /// Starts the connector of this token.
    pub(super) fn start(
        &self,
        token: &Secret<String>,
    ) -> anyhow::Result<Running<impl Future<Output = String> + use<>>> {
        std::fs::create_dir_all(&self.home).context("no folder for the tunnel's connector")?;
        let port = free_port().context("no free port")?;
        let mut child = self
            .command(port)
            .spawn()
            .with_context(|| format!("cannot start {PROGRAM}"))?;
        let pid = child.id().context("it has just been started")?;
        let mut input = child.stdin.take().context("a pipe is there")?;
        let words = child.stderr.take().context("a pipe is there")?;
        let token = token.clone();
        let hand_over = async move {
            // One that ends before it has read says why.
            let _ = timeout(READ, input.write_all(token.reveal().as_bytes())).await;
        };
        Ok(Running {
            exit: exit(child, words, hand_over),
            ready: Ready::new(port, pid)?,
        })
    }

    fn command(&self, port: u16) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(["tunnel", "--no-autoupdate", "--metrics"])
            .arg(format!("127.0.0.1:{port}"))
            .args(["run", "--token-file", "/dev/stdin"])
            .env_clear()
            .envs(self.labels())
            .env("PATH", &self.surroundings.path)
            .env("HOME", &self.home)
            .current_dir(&self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }

    fn labels(&self) -> [(&'static str, OsString); 3] {
        [
            (labels::FLEET, self.surroundings.fleet.clone().into()),
            (labels::ORDER, self.order.as_str().into()),
            (labels::ROLE, labels::CONNECTOR.into()),
        ]
    }

    /// Ends every connector of this agent, and keeps trying for as long as one is left.
    pub(super) async fn end(&self) {
        loop {
            let labels = self.labels();
            let belongs = move |process: &Process, _| {
                let has = |(name, value): &(&'static str, OsString)| {
                    process.label(name).is_some_and(|label| value == label)
                };
                labels.iter().all(has)
            };
            let Err(error) = end(belongs, |_| true, GRACE).await else {
                return;
            };
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(error, "the tunnel's connector cannot be ended");
            sleep(END_AGAIN).await;
        }
    }
}

/// Hands the token over, waits until the process has ended, and answers with its last words.
async fn exit(
    mut child: Child,
    mut words: ChildStderr,
    hand_over: impl Future<Output = ()>,
) -> String {
    let (mut last, mut buffer) = (Vec::new(), [0; WORDS]);
    let reading = async {
        while let Ok(count @ 1..) = words.read(&mut buffer).await {
            last.extend_from_slice(&buffer[..count]);
            let surplus = last.len().saturating_sub(WORDS);
            last.drain(..surplus);
        }
    };
    let ((), ()) = tokio::join!(hand_over, reading);
    let status = child.wait().await;
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    let last = String::from_utf8_lossy(&last);
    let line = last.lines().rev().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or_default().chars().filter(|c| !c.is_control());
    format!(
        "{PROGRAM} ended ({status}): {}",
        line.take(300).collect::<String>()
    )
}

impl Ready {
    fn new(port: u16, pid: u32) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(ANSWER)
            .connect_timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { client, port, pid })
    }

    /// Whether it is connected now. Another program that has its port says nothing of it.
    pub(super) async fn look(&self) -> bool {
        if !listener::is(self.pid, self.port) {
            return false;
        }
        let url = format!("http://127.0.0.1:{}/ready", self.port);
        let answer = self.client.get(url).send().await;
        answer.is_ok_and(|answer| answer.status() == reqwest::StatusCode::OK)
    }
}

/// A port that nobody listens on now.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
