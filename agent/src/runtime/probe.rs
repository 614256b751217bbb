//! Tells whether a workload is ready: tries what its document says, again and again, each try with a time limit.

use std::convert::Infallible;
use std::future::pending;
use std::process::Stdio;
use std::time::Duration;

use easyenclave_schemas::documents::{Health, Probe};
use easyenclave_schemas::wire::WorkloadState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::process::{Launch, end_group};

/// A workload without a probe is ready when it has run for so long: one that cannot even start would
/// otherwise look ready for a moment at each try.
const RUNS: Duration = Duration::from_millis(300);

/// Until it is ready for the first time, tries follow each other faster, from this on.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// A try takes at least so long to fail, whatever the document says.
const SHORTEST: Duration = Duration::from_millis(10);

/// What is probed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// A process, which has a port and can be given commands.
    Process(&'a Launch),
    /// A port of this machine that leads to the workload, if there is one.
    Port(Option<u16>),
}

impl Target<'_> {
    fn port(&self) -> Result<u16, String> {
        match self {
            Self::Process(launch) => Ok(launch.port()),
            Self::Port(port) => port.ok_or_else(|| "no service answers for the deployment".into()),
        }
    }
}

/// Probes a running workload for as long as it is polled. `changed` is told each state with a message.
pub(super) async fn watch(
    health: Option<&Health>,
    target: Target<'_>,
    mut changed: impl FnMut(WorkloadState, String),
) -> Infallible {
    let Some(health) = health else {
        sleep(RUNS).await;
        changed(WorkloadState::Ready, String::new());
        return pending().await;
    };
    let mut verdict = Judge::new(health.failures);
    let mut pause = FIRST_PAUSE;
    loop {
        let result = probe(&health.probe, target, health.timeout.get().max(SHORTEST)).await;
        if let Some((state, message)) = verdict.judge(result) {
            changed(state, message);
        }
        let interval = health.interval.get().max(SHORTEST);
        sleep(if verdict.was_ready {
            interval
        } else {
            pause.min(interval)
        })
        .await;
        pause = (pause * 2).min(interval);
    }
}

/// What a row of results means.
struct Judge {
    threshold: u32,
    failures: u32,
    was_ready: bool,
}

impl Judge {
    fn new(threshold: u32) -> Self {
        Self {
            threshold: threshold.max(1),
            failures: 0,
            was_ready: false,
        }
    }

    /// The state after a result, unless it stays what it was.
    fn judge(&mut self, result: Result<(), String>) -> Option<(WorkloadState, String)> {
        let Err(message) = result else {
            self.failures = 0;
            self.was_ready = true;
            return Some((WorkloadState::Ready, String::new()));
        };
        self.failures = self.failures.saturating_add(1);
        let state = if self.was_ready {
            WorkloadState::Unready
        } else {
            WorkloadState::Starting
        };
        (self.failures >= self.threshold).then_some((state, message))
    }
}

async fn probe(probe: &Probe, target: Target<'_>, limit: Duration) -> Result<(), String> {
    let late = |_| Err(format!("probe took longer than {} ms", limit.as_millis()));
    match probe {
        Probe::Http(http) => {
            let tried = timeout(limit, get(target.port()?, &http.path))
                .await
                .unwrap_or_else(late);
            tried.map_err(|error| format!("GET {}: {error}", http.path))
        }
        Probe::Tcp {} => {
            let tried = timeout(limit, connect(target.port()?)).await;
            tried
                .map(|connected| connected.map(drop))
                .unwrap_or_else(late)
        }
        Probe::Command(line) => match target {
            Target::Process(launch) => command(launch, line, limit).await,
            Target::Port(_) => Err("a command can be tried on a process alone".into()),
        },
    }
}

async fn connect(port: u16) -> Result<TcpStream, String> {
    let connected = TcpStream::connect(("127.0.0.1", port)).await;
    connected.map_err(|error| format!("cannot connect to port {port}: {error}"))
}

/// Reads no more of an answer than its status.
async fn get(port: u16, path: &str) -> Result<(), String> {
    let plain = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain {
        return Err("the path is not a plain one".into());
    }
    let mut stream = connect(port).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: easyenclave-agent\r\n\
         accept: */*\r\nconnection: close\r\n\r\n"
    );
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        let mut start = [0; 12];
        stream.read_exact(&mut start).await?;
        std::io::Result::Ok(start)
    };
    let start = exchange
        .await
        .map_err(|error| format!("no answer: {error}"))?;
    match status(&start) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("answered {status}")),
        None => Err("the answer is not HTTP".into()),
    }
}

fn status(start: &[u8; 12]) -> Option<u16> {
    let text = std::str::from_utf8(start).ok()?;
    let code = text
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| text.strip_prefix("HTTP/1.0 "))?;
    code.parse().ok()
}

/// The command has the workload's environment and labels, and a group of its own.
async fn command(launch: &Launch, line: &[String], limit: Duration) -> Result<(), String> {
    let program = line.first().map_or("", String::as_str);
    let failed = |error| format!("probe {program:?} cannot be run: {error}");
    let mut command = launch.command(line).map_err(failed)?;
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    let leader = child.id().unwrap_or_default();
    match timeout(limit, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(match status.code() {
            Some(code) => format!("probe {program:?} exited with code {code}"),
            None => format!("probe {program:?} was killed"),
        }),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => {
            end_group(leader)
                .await
                .map_err(|error| format!("probe {program:?}: {error}"))?;
            Err(format!(
                "probe {program:?} took longer than {} ms",
                limit.as_millis()
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_workload_has_to_fail_often_enough() {
        let mut judge = Judge::new(2);
        let fail = || Err("no".to_owned());
        let starting = Some((WorkloadState::Starting, "no".to_owned()));
        let unready = Some((WorkloadState::Unready, "no".to_owned()));
        let ready = Some((WorkloadState::Ready, String::new()));
        assert_eq!((judge.judge(fail()), judge.judge(fail())), (None, starting));
        assert_eq!(judge.judge(Ok(())), ready);
        assert_eq!(
            (judge.judge(fail()), judge.judge(fail())),
            (None, unready.clone())
        );
        assert_eq!(judge.judge(fail()), unready);
        assert_eq!(judge.judge(Ok(())), ready);
        assert_eq!(judge.judge(fail()), None);
    }

    #[test]
    fn a_status_is_read_strictly() {
        assert_eq!(status(b"HTTP/1.1 204"), Some(204));
        assert_eq!(status(b"HTTP/1.0 404"), Some(404));
        assert_eq!(status(b"HTTP/1.1 2x4"), None);
        assert_eq!(status(b"SSH-2.0-Open"), None);
    }
}
