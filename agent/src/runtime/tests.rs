//! Workloads as real processes. Each test has labels of its own and ends by showing that nothing carries
//! them any more.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use easyenclave_processes::{AFTER_KILL, LEAVE, Memory, labels, list};
use easyenclave_schemas::documents::SecretUse;
use easyenclave_schemas::wire::{WorkloadCause, WorkloadReport, WorkloadState};
use easyenclave_schemas::{Digest, Generation, OrderId};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::process::LAST_WORDS;
use super::{Board, GRACE, Log, Place, compose, supervise};
use crate::clock;
use crate::config::Surroundings;
use crate::instructions::Assignment;
use crate::vault::Vault;

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// One agent's place, on which one workload runs.
struct Stage {
    folder: tempfile::TempDir,
    fleet: String,
    place: Arc<Place>,
    board: Arc<Board>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    secrets: Vec<SecretUse>,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let fleet = format!("test@{}", clock::unique());
        let place = Place {
            surroundings: Surroundings {
                path: std::env::var_os("PATH").expect("a search path"),
                fleet: fleet.clone(),
                engine: None,
                is_root: false,
            },
            order: OrderId::new("tiny-1").expect("a name"),
            agent_url: "http://127.0.0.1:9".into(),
            data: folder.path().to_owned(),
            home: folder.path().join("work"),
            log: Log::new(folder.path()),
            door: None,
            vault: Vault::new(Memory::of(&fleet, "tiny-1")),
        };
        let board = Arc::new(watch::Sender::default());
        Self {
            folder,
            fleet,
            place: Arc::new(place),
            board,
            running: None,
            secrets: Vec::new(),
        }
    }

    /// A stage on which this runs.
    fn with(workload: &Value, health: &Value) -> Self {
        let mut stage = Self::new();
        stage.start(workload, health);
        stage
    }

    fn start(&mut self, workload: &Value, health: &Value) {
        let assignment = Arc::new(self.assignment(workload, health));
        let (stop, stopped) = oneshot::channel();
        let (place, board) = (Arc::clone(&self.place), Arc::clone(&self.board));
        let run = tokio::spawn(async move {
            let told = async { stopped.await.expect("the stage lives") };
            supervise(&place, Generation(7), assignment, &board, told).await;
        });
        self.running = Some((stop, run));
    }

    fn assignment(&self, workload: &Value, health: &Value) -> Assignment {
        let workload = json!({ "process": workload });
        Assignment {
            deployment: "acme/web".parse().expect("a deployment"),
            digest: Digest::of(b"version"),
            workload: serde_json::from_value(workload).expect("a workload"),
            health: serde_json::from_value(health.clone()).expect("a probe"),
            secrets: self.secrets.clone(),
            secrets_digest: None,
        }
    }

    /// Waits for a report of a kind.
    async fn until(&self, what: impl Fn(&WorkloadReport) -> bool) -> WorkloadReport {
        let mut reports = self.board.subscribe();
        let wanted = reports.wait_for(|report| report.as_ref().is_some_and(&what));
        let found = timeout(SOON, wanted).await;
        let found = found.unwrap_or_else(|_| panic!("last: {:?}", self.board.borrow()));
        found.expect("the board lives").clone().expect("a report")
    }

    async fn state(&self, state: WorkloadState) -> WorkloadReport {
        self.until(|report| report.state == state).await
    }

    /// Waits until the workload has written so many lines.
    async fn lines(&self, count: usize) -> Vec<String> {
        let of = "acme/web".parse().expect("a deployment");
        let read = async {
            loop {
                let text = self.place.log.tail(&of, 100).await.expect("a log");
                if text.lines().count() >= count {
                    return text.lines().map(str::to_owned).collect();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, read).await.expect("the lines come")
    }

    /// Processes with this stage's labels.
    fn count(&self) -> usize {
        let ours = |process: &_| {
            easyenclave_processes::Process::label(process, labels::FLEET) == Some(&self.fleet)
        };
        list()
            .expect("listed")
            .iter()
            .filter(|process| ours(process))
            .count()
    }

    /// Stops the workload, and shows that nothing is left.
    async fn stop(mut self) {
        let (stop, run) = self.running.take().expect("something was started");
        stop.send(()).expect("it listens");
        timeout(SOON, run)
            .await
            .expect("it stops")
            .expect("it does not panic");
        assert_eq!(*self.board.borrow(), None);
        assert_eq!(self.count(), 0);
    }
}

/// What a test that fails has left in memory goes.
impl Drop for Stage {
    fn drop(&mut self) {
        let _ = Memory::of(&self.fleet, "tiny-1").remove();
    }
}

fn shell(script: &str) -> Value {
    json!({ "command": ["sh", "-c", script] })
}

fn never(script: &str) -> Value {
    json!({ "command": ["sh", "-c", script], "restart": "never" })
}

fn health(probe: Value) -> Value {
    json!({ "probe": probe, "interval": "100ms", "timeout": "300ms", "failures": 2 })
}

const NO_PROBE: Value = Value::Null;

#[tokio::test]
async fn a_workload_is_given_exactly_its_environment() {
    let mut workload = never("env; echo warn >&2; pwd; read line || echo no input");
    let documented = json!({ "GREETING": "hello", "PORT": "1", "EASYENCLAVE_ORDER": "other" });
    workload["env"] = documented;
    let stage = Stage::with(&workload, &NO_PROBE);
    let report = stage.state(WorkloadState::Completed).await;
    assert_eq!((report.generation, report.restarts), (Generation(7), 0));
    let lines = stage.lines(13).await;
    let mut env: BTreeMap<_, _> = lines
        .iter()
        .filter_map(|line| line.split_once('='))
        .collect();
    for made_by_the_shell in ["PWD", "SHLVL", "_", "OLDPWD"] {
        env.remove(made_by_the_shell);
    }
    let home = stage.folder.path().join("work").display().to_string();
    let path = std::env::var("PATH").expect("a search path");
    let url = report.url.clone().expect("a port");
    let expected = BTreeMap::from([
        ("GREETING", "hello"),
        ("PATH", path.as_str()),
        ("HOME", home.as_str()),
        ("PORT", url.rsplit(':').next().expect("a port")),
        ("EASYENCLAVE_AGENT_URL", "http://127.0.0.1:9"),
        ("EASYENCLAVE_FLEET", stage.fleet.as_str()),
        ("EASYENCLAVE_ORDER", "tiny-1"),
        ("EASYENCLAVE_DEPLOYMENT", "acme/web"),
        ("EASYENCLAVE_GENERATION", "7"),
    ]);
    assert_eq!(env, expected);
    for line in ["warn", home.as_str(), "no input"] {
        assert!(
            lines.iter().any(|found| found == line),
            "{line} is not in {lines:?}"
        );
    }
    stage.stop().await;
}

#[tokio::test]
async fn policies_say_what_follows_an_exit() {
    let cases = [
        ("never", 0, WorkloadState::Completed),
        ("never", 3, WorkloadState::Failed),
        ("onFailure", 0, WorkloadState::Completed),
        ("onFailure", 3, WorkloadState::Restarting),
        ("always", 0, WorkloadState::Restarting),
    ];
    for (restart, code, expected) in cases {
        let mut workload = shell(&format!("exit {code}"));
        workload["restart"] = restart.into();
        let stage = Stage::with(&workload, &NO_PROBE);
        let report = stage.state(expected).await;
        assert_eq!(
            report.message,
            format!("exited with code {code}"),
            "{restart}"
        );
        stage.stop().await;
    }
}

#[tokio::test]
async fn it_is_started_again_with_growing_pauses_and_keeps_its_port() {
    let stage = Stage::with(&shell("date +%s%3N; echo $PORT; exit 1"), &NO_PROBE);
    let report = stage.until(|report| report.restarts == 3).await;
    let lines = stage.lines(8).await;
    let times: Vec<i64> = lines
        .iter()
        .step_by(2)
        .map(|line| line.parse().expect("ms"))
        .collect();
    let pauses: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least) in pauses.iter().zip([200, 400, 800]) {
        assert!(*pause >= least, "{pauses:?}");
    }
    let port = report
        .url
        .expect("a port")
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    assert!(
        lines.iter().skip(1).step_by(2).all(|line| *line == port),
        "{lines:?}"
    );
    stage.stop().await;
}

#[tokio::test]
async fn a_port_that_somebody_took_is_given_up() {
    let stage = Stage::with(&shell("echo $PORT; exit 1"), &NO_PROBE);
    let first = stage.lines(1).await.remove(0);
    let port: u16 = first.parse().expect("a port");
    let taken = async {
        loop {
            // The agent looks whether it is free in the same way, for a moment.
            match std::net::TcpListener::bind(("127.0.0.1", port)) {
                Ok(taken) => return taken,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    let _taken = timeout(SOON, taken).await.expect("free meanwhile");
    let ports = async {
        let mut count = 2;
        loop {
            let last = stage.lines(count).await.pop().expect("a line");
            if last != first {
                return last;
            }
            count += 1;
        }
    };
    timeout(SOON, ports).await.expect("another port");
    stage.stop().await;
}

#[tokio::test]
async fn what_cannot_be_started_is_a_state_that_names_the_program() {
    let stage = Stage::with(&json!({ "command": ["no-such-program"] }), &NO_PROBE);
    let report = stage.state(WorkloadState::Restarting).await;
    assert!(
        report
            .message
            .starts_with("cannot start \"no-such-program\": "),
        "{report:?}"
    );
    stage.stop().await;
    let denied = json!({ "command": ["/etc/passwd", "x"], "restart": "never" });
    let stage = Stage::with(&denied, &NO_PROBE);
    let report = stage.state(WorkloadState::Failed).await;
    assert!(
        report
            .message
            .contains("\"/etc/passwd\": Permission denied"),
        "{report:?}"
    );
    stage.stop().await;
    let stage = Stage::with(&json!({ "command": [], "restart": "never" }), &NO_PROBE);
    let report = stage.state(WorkloadState::Failed).await;
    assert_eq!(report.message, "cannot start \"\": the command is empty");
    stage.stop().await;
}

#[tokio::test]
async fn a_signal_is_told() {
    let stage = Stage::with(&never("kill -9 $$"), &NO_PROBE);
    assert_eq!(
        stage.state(WorkloadState::Failed).await.message,
        "killed by signal 9"
    );
    stage.stop().await;
}

#[tokio::test]
async fn one_that_ignores_the_request_to_end_is_killed_with_all_its_children() {
    let script = "trap '' TERM; sleep 300 & (setsid sleep 300 &) ; env -i sleep 300 & \
                  echo up; while :; do sleep 300; done";
    let stage = Stage::with(&shell(script), &NO_PROBE);
    stage.lines(1).await;
    stage.state(WorkloadState::Ready).await;
    assert!(stage.count() >= 3, "{}", stage.count());
    let group = leader(&stage);
    stage.stop().await;
    let left: Vec<PathBuf> = members(&group);
    assert_eq!(
        left,
        Vec::<PathBuf>::new(),
        "the one without labels is gone too"
    );
}

/// Asked, then killed, then its output closed: all of that comes before whoever ends the agent loses patience.
#[test]
fn the_longest_end_of_a_workload_fits_into_the_agents_own() {
    let longest = GRACE + AFTER_KILL + 2 * LAST_WORDS;
    assert!(longest < LEAVE, "{longest:?}, and {LEAVE:?} in all");
}

#[tokio::test]
async fn what_a_workload_leaves_behind_goes_before_it_is_started_again() {
    let stage = Stage::with(&shell("sleep 300 & setsid sleep 300 & exit 1"), &NO_PROBE);
    stage.until(|report| report.restarts >= 2).await;
    assert!(stage.count() <= 4, "{} processes", stage.count());
    stage.stop().await;
}

#[tokio::test]
async fn a_new_assignment_finds_an_empty_folder_and_an_empty_log() {
    let mut stage = Stage::with(&never("touch here; echo old"), &NO_PROBE);
    stage.lines(1).await;
    stage.state(WorkloadState::Completed).await;
    let (stop, run) = stage.running.take().expect("running");
    stop.send(()).expect("it listens");
    run.await.expect("ended");
    stage.start(&never("ls; echo new"), &NO_PROBE);
    stage.state(WorkloadState::Completed).await;
    assert_eq!(stage.lines(1).await, ["new"]);
    let log = stage.place.log.clone();
    stage.stop().await;
    let left = log.tail(&"acme/web".parse().expect("a name"), 9).await;
    assert_eq!(left.expect("read"), "", "its output goes with it");
}

#[tokio::test]
async fn what_cannot_be_read_may_be_the_deployments_own_and_is_waited_for() {
    let stage = Stage::new();
    let deployment = "acme/web".parse().expect("a deployment");
    let own =
        async |tell: &dyn Fn(compose::Trouble)| compose::has(&stage.place, &deployment, tell).await;
    assert!(!own(&|_| panic!("nothing is there")).await);
    let folder = stage.folder.path().join("compose");
    std::fs::create_dir_all(folder.join("volumes")).expect("made");
    let note = folder.join("deployment");
    std::fs::write(&note, "other/web").expect("written");
    assert!(!own(&|_| panic!("it can be read")).await);
    // The file cannot be read, as with a disk that fails, until somebody has been told.
    std::fs::remove_file(&note).expect("removed");
    std::fs::create_dir(&note).expect("made");
    let told = std::cell::Cell::new(0);
    let mend = |_: compose::Trouble| {
        told.set(told.get() + 1);
        std::fs::remove_dir(&note).expect("removed");
        std::fs::write(&note, "acme/web").expect("written");
    };
    assert!(own(&mend).await);
    assert_eq!(told.get(), 1);
    assert!(folder.join("volumes").is_dir());
}

/// The group of the workload's first process.
fn leader(stage: &Stage) -> String {
    let processes = list().expect("listed");
    let ours = processes
        .iter()
        .find(|process| process.label(labels::FLEET) == Some(&stage.fleet));
    group(&format!("/proc/{}", ours.expect("one runs").id())).expect("it has a group")
}

fn group(folder: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("{folder}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (fields[0] != "Z").then(|| fields[2].to_owned())
}

fn members(leader: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/proc")
        .expect("listed")
        .flatten()
        .map(|entry| entry.path());
    let of_group = |path: &PathBuf| group(&path.display().to_string()).as_deref() == Some(leader);
    entries.filter(of_group).collect()
}

mod secrets;

mod probes {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A workload that does nothing, and a server of ours in its place on its port.
    async fn served(stage: &Stage, answer: &'static str) -> JoinHandle<()> {
        let url = stage
            .until(|report| report.url.is_some())
            .await
            .url
            .expect("a port");
        let address = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind(address).await.expect("the port is free");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                if answer.is_empty() {
                    tokio::time::sleep(SOON).await;
                }
            }
        })
    }

    #[tokio::test]
    async fn http_is_ready_by_its_status() {
        let probe = health(json!({ "http": { "path": "/up?a=b" } }));
        let stage = Stage::with(&shell("exec sleep 300"), &probe);
        let refused = stage
            .until(|report| report.message.contains("cannot connect"))
            .await;
        assert_eq!(refused.state, WorkloadState::Starting);
        let server = served(&stage, "HTTP/1.1 404 Not Found\r\n\r\n").await;
        let report = stage
            .until(|report| report.message.contains("answered"))
            .await;
        assert_eq!(report.message, "GET /up?a=b: answered 404");
        server.abort();
        assert!(server.await.is_err());
        let server = served(&stage, "HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(stage.state(WorkloadState::Ready).await.message, "");
        server.abort();
        let report = stage.state(WorkloadState::Unready).await;
        assert!(
            report.message.starts_with("GET /up?a=b: cannot connect"),
            "{report:?}"
        );
        stage.stop().await;
    }

    #[tokio::test]
    async fn http_that_does_not_answer_in_time_is_not_ready() {
        let probe = health(json!({ "http": { "path": "/" } }));
        let stage = Stage::with(&shell("exec sleep 300"), &probe);
        let server = served(&stage, "").await;
        let report = stage
            .until(|report| report.message.contains("longer than 300 ms"))
            .await;
        assert_eq!(report.state, WorkloadState::Starting);
        server.abort();
        stage.stop().await;
    }

    #[tokio::test]
    async fn tcp_is_ready_when_somebody_listens() {
        let stage = Stage::with(&shell("exec sleep 300"), &health(json!({ "tcp": {} })));
        stage
            .until(|report| report.message.contains("cannot connect"))
            .await;
        let server = served(&stage, "").await;
        stage.state(WorkloadState::Ready).await;
        server.abort();
        stage.stop().await;
    }

    #[tokio::test]
    async fn a_command_is_ready_by_its_exit_code() {
        let test = health(json!({ "command": ["sh", "-c", "test -e $HOME/up"] }));
        let stage = Stage::with(&shell("exec sleep 300"), &test);
        // A try that the machine has no time for takes too long.
        stage
            .until(|report| report.message == "probe \"sh\" exited with code 1")
            .await;
        std::fs::write(stage.place.home.join("up"), "").expect("written");
        stage.state(WorkloadState::Ready).await;
        stage.stop().await;
        let missing = health(json!({ "command": ["no-such-probe"] }));
        let stage = Stage::with(&shell("exec sleep 300"), &missing);
        let report = stage.until(|report| !report.message.is_empty()).await;
        assert!(
            report
                .message
                .starts_with("probe \"no-such-probe\" cannot be run"),
            "{report:?}"
        );
        stage.stop().await;
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_killed_with_its_children() {
        let slow = health(json!({ "command": ["sh", "-c", "sleep 300 & sleep 300"] }));
        let stage = Stage::with(&shell("exec sleep 300"), &slow);
        let report = stage
            .until(|report| report.message.contains("longer than"))
            .await;
        assert_eq!(report.message, "probe \"sh\" took longer than 300 ms");
        assert!(
            stage.count() <= 4,
            "one workload, at most one probe: {}",
            stage.count()
        );
        stage.stop().await;
    }
}

#[tokio::test]
async fn what_keeps_a_workload_from_being_ready_is_told_until_it_is() {
    let missing = Stage::with(&json!({ "command": ["no-such-program"] }), &Value::Null);
    let told = missing.until(|report| report.cause.is_some()).await;
    assert_eq!(told.cause, Some(WorkloadCause::StartFailed));
    missing.stop().await;

    let exits = Stage::with(&shell("exit 3"), &Value::Null);
    let told = exits.until(|report| report.cause.is_some()).await;
    assert_eq!(told.cause, Some(WorkloadCause::Exited));
    let again =
        exits.until(|report| report.restarts > 0 && report.state == WorkloadState::Starting);
    assert_eq!(
        again.await.cause,
        Some(WorkloadCause::Exited),
        "it has not been ready since"
    );
    exits.stop().await;

    let done = Stage::with(&never("exit 0"), &Value::Null);
    assert_eq!(done.state(WorkloadState::Completed).await.cause, None);
    done.stop().await;

    let probe = json!({ "probe": { "command": ["test", "-e", "good"] }, "interval": "100ms", "failures": 1 });
    let probed = Stage::with(&shell("exec sleep 60"), &probe);
    let told = probed.until(|report| report.cause.is_some()).await;
    assert_eq!(told.cause, Some(WorkloadCause::ProbeFailing));
    std::fs::write(probed.place.home.join("good"), "").expect("written");
    assert_eq!(probed.state(WorkloadState::Ready).await.cause, None);
    probed.stop().await;
}
