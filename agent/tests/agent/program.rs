//! The agent's own small program: its exit codes, and what it leaves behind.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use easyenclave_agent::exit;
use easyenclave_processes::{Process, labels};
use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::wire::{AgentConfig, CONFIG_ID, PlatformConfig, WorkloadState, routes};
use easyenclave_schemas::{Digest, Generation};
use easyenclave_tests::put_program;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::fleet::{Forget, Reconciler, SOON, Script, config, copy, instructed, memory, workload};

const PROGRAM: &str = env!("CARGO_BIN_EXE_easyenclave-agent");

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    spawn(command)
}

fn spawn(mut command: Command) -> Child {
    command
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command.spawn().expect("it starts")
}

/// Waits for the end. Answers what was said on stderr; stdout is for data, of which there is none.
async fn end(child: Child) -> (ExitStatus, String) {
    let output = timeout(SOON, child.wait_with_output())
        .await
        .expect("it ends")
        .expect("its output");
    assert!(output.stdout.is_empty());
    (
        output.status,
        String::from_utf8(output.stderr).expect("text"),
    )
}

fn write(config: &AgentConfig, folder: &Path) -> String {
    let path = folder.join("config.json");
    std::fs::write(&path, serde_json::to_vec(config).expect("plain data")).expect("written");
    path.display().to_string()
}

#[tokio::test]
async fn a_wrong_call_says_how_it_is_called() {
    for arguments in [
        &[][..],
        &["--config"],
        &["--help"],
        &["--config", "/nowhere", "more"],
    ] {
        let (status, said) = end(start(arguments)).await;
        assert_eq!(status.code(), Some(i32::from(exit::USAGE)), "{arguments:?}");
        assert!(
            said.contains("usage: easyenclave-agent --config FILE"),
            "{said}"
        );
    }
    let (status, said) = end(start(&["--config", "/nowhere/config.json"])).await;
    assert_eq!(status.code(), Some(i32::from(exit::USAGE)));
    assert!(said.contains("/nowhere/config.json"), "{said}");
}

#[tokio::test]
async fn a_refused_agent_says_so_and_gives_no_secret_away() {
    let key = Keypair::generate().expect("a key");
    let reconciler = Reconciler::start(copy(&key)).await;
    reconciler.script().refusals = vec![(StatusCode::FORBIDDEN, "EE-ATT-031"); 100];
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(&reconciler.url, &key.public(), folder.path());
    config.bootstrap_token = easyenclave_schemas::Secret::new("s3cr3t".into());
    let (status, said) = end(start(&["--config", &write(&config, folder.path())])).await;
    assert_eq!(status.code(), Some(i32::from(exit::REFUSED)));
    let last = said.lines().last().expect("last words");
    assert!(
        last.contains("refuses this agent with EE-ATT-031: as the test says"),
        "{said}"
    );
    assert!(!said.contains("s3cr3t"), "{said}");
}

/// Whoever started the machine has named one configuration, and given this one or another.
#[tokio::test]
async fn a_bound_agent_shows_nobody_evidence_that_names_another_configuration_than_its_own() {
    let key = Keypair::generate().expect("a key");
    let reconciler = Reconciler::start(copy(&key)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(&reconciler.url, &key.public(), folder.path());
    let _forget = Forget(config.order_id.clone());
    let path = write(&config, folder.path());
    let PlatformConfig::Simulated { dir, .. } = &config.platform else {
        panic!("a simulated platform")
    };
    let started_for = dir.join(CONFIG_ID);
    for named in [None, Some([7; 48])] {
        if let Some(named) = named {
            std::fs::write(&started_for, hex::encode(named)).expect("written");
        }
        let (status, said) = end(start(&["--config", &path, "--bound"])).await;
        assert_eq!(status.code(), Some(i32::from(exit::USAGE)), "{said}");
        let last = said.lines().last().expect("last words");
        assert!(last.contains("started for another configuration"), "{said}");
        assert!(reconciler.script().registrations.is_empty());
    }
    let text = std::fs::read(&path).expect("the configuration");
    let own = ring::digest::digest(&ring::digest::SHA384, &text);
    std::fs::write(&started_for, hex::encode(own)).expect("written");
    let child = start(&["--config", &path, "--bound"]);
    let beat = |script: &Script| script.beats.first().map(|_| ());
    reconciler.until("it reports", beat).await;
    drop(child);
    std::fs::write(&started_for, "no digest").expect("written");
    let (status, said) = end(start(&["--config", &path])).await;
    assert_eq!(status.code(), Some(i32::from(exit::FAILED)), "{said}");
    assert!(said.contains("platform/mrconfigid"), "{said}");
}

#[tokio::test]
async fn it_ends_well_when_it_is_told_to() {
    let key = Keypair::generate().expect("a key");
    let reconciler = Reconciler::start(copy(&key)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(&reconciler.url, &key.public(), folder.path());
    let _forget = Forget(config.order_id.clone());
    for (before, signal) in ["-TERM", "-INT"].into_iter().enumerate() {
        let child = start(&["--config", &write(&config, folder.path())]);
        let beat = |script: &Script| {
            script.registrations.get(before)?;
            script.beats.first().map(|_| ())
        };
        reconciler.until("it reports", beat).await;
        let pid = child.id().expect("it runs").to_string();
        let sent = Command::new("kill")
            .args([signal, &pid])
            .status()
            .await
            .expect("kill runs");
        assert!(sent.success());
        let (status, said) = end(child).await;
        assert_eq!(status.code(), Some(i32::from(exit::DONE)), "{said}");
        assert_eq!(workload(&config.order_id), 0);
    }
}

/// Starts an agent that finds no programs but those of a folder: in one that is not there, no engine either.
fn alone(path: &str, programs: &str) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(["--config", path]).env("PATH", programs);
    spawn(command)
}

/// At a boot, an agent can be there before its engine.
#[tokio::test]
async fn an_engine_that_is_there_later_is_found_and_told() {
    let stage = Killed::new().await;
    let programs = stage.folder.path().join("programs");
    std::fs::create_dir(&programs).expect("a folder");
    let child = alone(&stage.path, &programs.display().to_string());
    let reconciler = &stage.reconciler;
    let said = |script: &Script| Some(script.registrations.first()?.runtimes.clone());
    let said = reconciler.until("it registers", said).await;
    assert_eq!(said, Runtime::usual());
    let beat = |script: &Script| script.beats.last()?.runtimes.clone();
    assert_eq!(reconciler.until("it reports", beat).await, said);

    let script = "#!/bin/sh\nif test \"$1\" = version; then echo 27.0.0; else echo 2.40.3; fi\n";
    put_program(&programs.join("docker"), script);
    let found = |script: &Script| {
        let said = script.beats.last()?.runtimes.as_deref();
        (said == Some(&Runtime::ALL)).then_some(())
    };
    reconciler.until("it tells of its engine", found).await;
    drop(child);
}

/// Starts an agent, and waits until it has registered once more than before. Answers it, its key and its address.
async fn registered(reconciler: &Reconciler, path: &str) -> (Child, String, String) {
    let before = reconciler.script().registrations.len();
    let child = alone(path, "/nowhere");
    let new = |script: &Script| {
        let last = script.registrations.get(before)?;
        Some((last.public_key.clone(), last.address.clone()))
    };
    let (key, address) = reconciler.until("it registers", new).await;
    (child, key, address)
}

/// An agent that runs containers, as far as it can without an engine.
struct Killed {
    key: Keypair,
    reconciler: Reconciler,
    folder: tempfile::TempDir,
    config: AgentConfig,
    path: String,
    _forget: Forget,
}

impl Killed {
    async fn new() -> Self {
        let key = Keypair::generate().expect("a key");
        let reconciler = Reconciler::start(copy(&key)).await;
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(&reconciler.url, &key.public(), folder.path());
        let path = write(&config, folder.path());
        Self {
            key,
            reconciler,
            folder,
            _forget: Forget(config.order_id.clone()),
            config,
            path,
        }
    }

    /// Instructs an agent. Answers the code of its refusal, or null.
    async fn deploy(&self, address: &str, numbers: (u64, u64), workload: &Value) -> Value {
        let (generation, epoch) = numbers;
        let message = json!({
            "agent_id": self.config.order_id.agent(), "epoch": epoch, "generation": generation,
            "deployment": "acme/web", "workload_digest": Digest::of(workload.to_string().as_bytes()),
            "workload": workload,
        });
        let (_, body) = instructed(&self.key, address, routes::DEPLOY, &message).await;
        body["code"].clone()
    }

    /// Waits until an agent tells of an instruction's workload.
    async fn told(&self, generation: u64) {
        let told = |script: &Script| {
            let report = script.beats.last()?.workload.clone()?;
            (report.generation == Generation(generation) && report.state != WorkloadState::Stopping)
                .then_some(())
        };
        self.reconciler.until("it tells of it", told).await;
    }

    fn file(&self) -> PathBuf {
        let mut found = memory(&self.config.order_id);
        found.pop().unwrap_or_default().join("agent.json")
    }
}

fn containers() -> Value {
    json!({ "compose": { "source": { "inline": "services: {web: {image: web}}\n" } } })
}

#[tokio::test]
async fn one_that_was_killed_beside_containers_is_the_same_agent_when_it_is_started_again() {
    let stage = Killed::new().await;
    let (reconciler, path) = (&stage.reconciler, &stage.path);
    let (mut child, first, address) = registered(reconciler, path).await;
    assert!(!stage.file().exists(), "nothing would outlive it");
    assert!(
        stage
            .deploy(&address, (7, 2), &containers())
            .await
            .is_null()
    );
    stage.told(7).await;
    assert!(stage.file().exists());
    let (status, said) = end(alone(path, "/nowhere")).await;
    assert_eq!(status.code(), Some(i32::from(exit::FAILED)), "{said}");
    assert!(said.contains("another agent of this order lives"), "{said}");
    child.kill().await.expect("killed");

    // Anybody can refuse it: who has taken no instruction in takes nothing away.
    reconciler.script().refusals = vec![(StatusCode::FORBIDDEN, "EE-ATT-031"); 3];
    let (status, said) = end(alone(path, "/nowhere")).await;
    assert_eq!(status.code(), Some(i32::from(exit::REFUSED)), "{said}");
    let (mut child, second, address) = registered(reconciler, path).await;
    assert_eq!(second, first);
    let refused = async |numbers| stage.deploy(&address, numbers, &containers()).await;
    assert_eq!(refused((6, 2)).await, "stale_generation");
    assert_eq!(refused((8, 1)).await, "stale_epoch");
    assert!(refused((7, 2)).await.is_null(), "the newest may come again");
    child.kill().await.expect("killed");

    // Who obeys another reconciler is another agent.
    let mut strange = stage.config.clone();
    strange.reconciler_key = Keypair::generate().expect("a key").public().to_string();
    let strange = write(&strange, stage.folder.path());
    let (mut child, third, _) = registered(reconciler, &strange).await;
    assert_ne!(third, first);
    child.kill().await.expect("killed");
}

#[tokio::test]
async fn no_process_runs_beside_the_key_and_who_was_killed_beside_one_is_a_stranger() {
    let stage = Killed::new().await;
    let (mut child, first, address) = registered(&stage.reconciler, &stage.path).await;
    assert!(
        stage
            .deploy(&address, (1, 2), &containers())
            .await
            .is_null()
    );
    stage.told(1).await;
    let file = stage.file();
    assert!(file.exists());
    let look = format!("test ! -e {} && exec /bin/sleep 300", file.display());
    let process = json!({ "process": { "command": ["/bin/sh", "-c", look] } });
    assert!(stage.deploy(&address, (2, 2), &process).await.is_null());
    let ready = |script: &Script| {
        let report = script.beats.last()?.workload.clone()?;
        assert_eq!(report.restarts, 0, "it has seen the file");
        (report.generation == Generation(2) && report.state == WorkloadState::Ready).then_some(())
    };
    stage.reconciler.until("it runs", ready).await;
    assert!(!file.exists());
    child.kill().await.expect("killed");
    let order = stage.config.order_id.clone();
    let belongs = move |other: &Process, _| other.label(labels::ORDER) == Some(order.as_str());
    let ended = easyenclave_processes::end(belongs, |_| true, Duration::ZERO).await;
    ended.expect("ended");
    let (mut child, second, _) = registered(&stage.reconciler, &stage.path).await;
    assert_ne!(second, first);
    child.kill().await.expect("killed");
}

#[tokio::test]
async fn one_that_ends_by_itself_is_another_agent_when_it_is_started_again() {
    let key = Keypair::generate().expect("a key");
    let reconciler = Reconciler::start(copy(&key)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(&reconciler.url, &key.public(), folder.path());
    let _forget = Forget(config.order_id.clone());
    let path = write(&config, folder.path());
    let (child, first, _) = registered(&reconciler, &path).await;
    let pid = child.id().expect("it runs").to_string();
    let told = Command::new("kill").arg(&pid).status().await;
    assert!(told.expect("kill runs").success());
    assert_eq!(end(child).await.0.code(), Some(i32::from(exit::DONE)));
    let left = memory(&config.order_id);
    assert!(left.is_empty(), "{left:?} in memory");
    let (mut child, second, _) = registered(&reconciler, &path).await;
    assert_ne!(second, first);
    child.kill().await.expect("killed");
}
