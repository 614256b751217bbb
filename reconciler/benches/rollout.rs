//! From `git push` to the first deploy call that an agent takes in, over 20 changes of `replicas`, with
//! warm agents. Real Git, real processes. Run with `cargo bench -p easyenclave --bench rollout`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use easyenclave::clock::{Clock, System};
use easyenclave::examples;
use easyenclave_attestation::simulated::Platform;
use easyenclave_git::init_repository;

const PROGRAM: &str = env!("CARGO_BIN_EXE_easyenclave");
const CHANGES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = dir.path().join("state.git");
    prepare(dir.path(), &state);
    let mut serve = start(
        dir.path(),
        &["serve", "--listen", "127.0.0.1:0", "--repo"],
        Some(&state),
    );
    let calls = calls(serve.0.stderr.take().expect("piped"));
    let settings = dir.path().join("data/settings.json");
    while !settings.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let worker = start(dir.path(), &["worker", "--stop-units-on-exit"], None);
    calls.recv_timeout(PATIENCE).expect("the first replica");
    let clone = dir.path().join("clone");
    git(
        dir.path(),
        &["clone", "--quiet", &state.display().to_string(), "clone"],
    );
    let mut times: Vec<Duration> = (2..2 + CHANGES)
        .map(|n| change(&clone, n, &calls))
        .collect();
    drop((worker, serve));
    times.sort();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1].as_secs_f64() * 1e3;
    println!("from the start of `git push` to the first deploy call taken in, {CHANGES} changes");
    println!("  p50 {:>8.1} ms", at(50));
    println!("  p99 {:>8.1} ms   bar: at most 250 ms", at(99));
}

/// Raises `replicas`, pushes, and waits for the call. Warm agents are there again before the next.
fn change(clone: &Path, replicas: usize, calls: &Receiver<Instant>) -> Duration {
    std::thread::sleep(Duration::from_secs(2));
    while calls.try_recv().is_ok() {}
    let file = clone.join("deployments/acme/hello.yaml");
    let text = std::fs::read_to_string(&file).expect("there");
    let old = format!("replicas: {}", replicas - 1);
    std::fs::write(&file, text.replace(&old, &format!("replicas: {replicas}"))).expect("written");
    git(clone, &["commit", "--quiet", "--all", "--message=more"]);
    let pushed = Instant::now();
    git(clone, &["push", "--quiet"]);
    calls
        .recv_timeout(PATIENCE)
        .expect("a deploy call")
        .saturating_duration_since(pushed)
}

fn prepare(dir: &Path, state: &Path) {
    let platform = Platform::open_or_create(&dir.join("data/platform"), System.now());
    let root = platform.expect("a platform").root_key_id().to_string();
    let mut files = examples::files(Some(&root));
    files.remove("deployments/acme/hello-again.yaml");
    // Room for every change: the example's owner may use fewer agents.
    let owner = String::from_utf8(files["owners/acme.yaml"].clone()).expect("UTF-8");
    files.insert(
        "owners/acme.yaml".into(),
        owner.replace("agents: 20", "agents: 40").into(),
    );
    init_repository(
        state,
        "main",
        &files,
        "start",
        ("Ada", "ada@example.invalid"),
        1,
    )
    .expect("made");
}

/// Ended with the benchmark, however it ends; the worker stops its units as it goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn start(dir: &Path, args: &[&str], repository: Option<&Path>) -> Running {
    let log = std::fs::File::create(dir.join(format!("{}.log", args[0]))).expect("a log");
    let mut command = Command::new(PROGRAM);
    command
        .args(args)
        .args(repository)
        .arg("--data")
        .arg(dir.join("data"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(if repository.is_some() {
            Stdio::piped()
        } else {
            log.into()
        });
    Running(command.spawn().expect("started"))
}

/// The moments at which the reconciler logs that an agent took an instruction in.
fn calls(stderr: ChildStderr) -> Receiver<Instant> {
    let (sender, receiver) = sync_channel(1000);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if line.contains("instruction taken in") {
                let _ = sender.try_send(Instant::now());
            }
        }
    });
    receiver
}

fn git(folder: &Path, args: &[&str]) {
    let who = [
        "-c",
        "user.name=Ada",
        "-c",
        "user.email=ada@example.invalid",
    ];
    let status = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(who)
        .args(args)
        .status();
    assert!(status.expect("git runs").success(), "git {args:?}");
}
