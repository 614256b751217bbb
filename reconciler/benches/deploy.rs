//! From a call of the deploy API to its answer, which comes when an agent has taken the instruction in, over 200 deploys
//! to warm agents; beside it what the Git commit costs alone. Real Git, real processes, real HTTP. Run with
//! `cargo bench -p easyenclave --bench deploy`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use easyenclave::clock::{Clock, System};
use easyenclave::examples;
use easyenclave_attestation::simulated::Platform;
use easyenclave_git::{commit_files, init_repository};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_easyenclave");
const DEPLOYS: usize = 200;
const WARM: u32 = 6;
const AUTHOR: (&str, &str) = ("Ada", "ada@example.invalid");

/// So many deployments stay while further ones come, so that agents are told to stop in the meantime.
const BEHIND: usize = 3;

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let state = dir.path().join("state.git");
    prepare(dir.path(), &state);
    let state = state.display().to_string();
    let serve = start(
        dir.path(),
        &["serve", "--listen", "127.0.0.1:0", "--repo", &state],
    );
    let settings = dir.path().join("data/settings.json");
    while !settings.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let worker = start(dir.path(), &["worker", "--stop-units-on-exit"]);
    let settings: Value = read(&settings);
    let key = key(dir.path());
    let url = settings["url"].as_str().expect("a url").to_owned();
    let owner = Owner {
        http: reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client"),
        url,
        key,
    };
    let (times, pending) = runtime.block_on(deploys(&owner));
    drop((worker, serve));
    println!(
        "from a call of the deploy API to its answer with the agent that was told, {DEPLOYS} deploys, {pending} of them answered \
         without an agent after two seconds"
    );
    print(times);
    println!("the Git commit alone, {DEPLOYS} commits to the same repository");
    print(commits(&state));
}

fn print(mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1].as_secs_f64() * 1e3;
    println!("  p50 {:>8.1} ms", at(50));
    println!("  p99 {:>8.1} ms", at(99));
}

struct Owner {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Owner {
    async fn deploy(&self, name: &str) -> Value {
        let body = json!({
            "app_name": name,
            "process": {"command": ["easyenclave", "hello-tdx"]},
            "health": {"probe": {"http": {"path": "/healthz"}}, "interval": "100ms"},
        });
        let call = self.http.post(format!("{}/api/v1/deploy", self.url));
        let answer = call.bearer_auth(&self.key).json(&body).send().await;
        let answer = answer.expect("an answer").json().await;
        answer.expect("JSON")
    }

    async fn remove(&self, name: &str) -> Value {
        let call = self
            .http
            .delete(format!("{}/api/v1/deployments/acme/{name}", self.url));
        let answer = call.bearer_auth(&self.key).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }
}

/// The times of deploys, and how many of them no agent had taken in when they were answered.
async fn deploys(owner: &Owner) -> (Vec<Duration>, usize) {
    let mut times = Vec::new();
    let mut pending = 0;
    let mut names: Vec<String> = Vec::new();
    // One stays, so that taking others away never leaves the owner with nothing.
    while owner.deploy("stays").await["status"] != "deploying" {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    for n in 0.. {
        let name = format!("app-{n}");
        let since = Instant::now();
        let answer = owner.deploy(&name).await;
        let took = since.elapsed();
        match answer["status"].as_str() {
            Some("deploying") => {}
            Some("pending") => pending += 1,
            _ => panic!("{answer}"),
        }
        times.push(took);
        names.push(name);
        if times.len() == DEPLOYS {
            return (times, pending);
        }
        if names.len() > BEHIND {
            let answer = owner.remove(&names.remove(0)).await;
            assert_eq!(answer["status"], "removing", "{answer}");
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    (times, pending)
}

fn commits(state: &str) -> Vec<Duration> {
    let commit = |n: usize| {
        let text = format!("# {n}\n").repeat(20).into_bytes();
        let changes = BTreeMap::from([(format!("notes/{n}.md"), Some(text))]);
        let since = Instant::now();
        commit_files(state, "main", &changes, "a note", AUTHOR, 2).expect("committed");
        since.elapsed()
    };
    (0..DEPLOYS).map(commit).collect()
}

fn prepare(dir: &Path, state: &Path) {
    let platform = Platform::open_or_create(&dir.join("data/platform"), System.now());
    let root = platform.expect("a platform").root_key_id().to_string();
    let mut files = examples::files(Some(&root));
    files.retain(|path, _| !path.starts_with("deployments/"));
    let target = format!(
        "apiVersion: easyenclave.dev/v1\nkind: CapacityTarget\nmetadata:\n  name: tiny\nspec:\n  datacenter: local\n  \
         nodeSize: tiny\n  provider: local\n  policy: simulated\n  max: 20\n  warm: {WARM}\n"
    );
    files.insert("capacity/tiny.yaml".into(), target.into());
    init_repository(state, "main", &files, "start", AUTHOR, 1).expect("made");
}

/// A key of acme, made on the command line.
fn key(dir: &Path) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(["key", "new", "acme", "--name", "bench", "--data"]);
    let made = command.arg(dir.join("data")).output().expect("it runs");
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout)
        .expect("UTF-8")
        .trim()
        .to_owned()
}

fn read(path: &Path) -> Value {
    let text = std::fs::read(path).expect("there");
    serde_json::from_slice(&text).expect("JSON")
}

/// Ended with the benchmark, however it ends; the worker stops its units as it goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn start(dir: &Path, args: &[&str]) -> Running {
    let log = std::fs::File::create(dir.join(format!("{}.log", args[0]))).expect("a log");
    let mut command = Command::new(PROGRAM);
    command.args(args).arg("--data").arg(dir.join("data"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    Running(command.spawn().expect("started"))
}
