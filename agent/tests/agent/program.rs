//! The agent's own small program: its exit codes, and what it leaves behind.

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use easyenclave_agent::exit;
use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::wire::{AgentConfig, CONFIG_ID, PlatformConfig, routes};
use http::StatusCode;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::fleet::{Reconciler, SOON, Script, config, copy, forget, instructed, workload};

const PROGRAM: &str = env!("CARGO_BIN_EXE_easyenclave-agent");

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
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
    forget(&config.order_id);
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
    for signal in ["-TERM", "-INT"] {
        reconciler.script().beats.clear();
        let child = start(&["--config", &write(&config, folder.path())]);
        let beat = |script: &Script| script.beats.first().map(|_| ());
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

/// Starts an agent, and waits until it has registered once more than before. Answers it, its key and its address.
async fn registered(reconciler: &Reconciler, path: &str) -> (Child, String, String) {
    let before = reconciler.script().registrations.len();
    // Each start counts its heartbeats anew.
    reconciler.script().beats.clear();
    let child = start(&["--config", path]);
    let new = |script: &Script| {
        let last = script.registrations.get(before)?;
        Some((last.public_key.clone(), last.address.clone()))
    };
    let (key, address) = reconciler.until("it registers", new).await;
    (child, key, address)
}

#[tokio::test]
async fn one_that_was_killed_is_the_same_agent_when_it_is_started_again() {
    let key = Keypair::generate().expect("a key");
    let reconciler = Reconciler::start(copy(&key)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(&reconciler.url, &key.public(), folder.path());
    let path = write(&config, folder.path());
    let undeploy = |generation: u64, epoch: u64| json!({ "agent_id": config.order_id.agent(), "epoch": epoch, "generation": generation });
    let (mut child, first, address) = registered(&reconciler, &path).await;
    let (status, _) = instructed(&key, &address, routes::UNDEPLOY, &undeploy(7, 2)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    child.kill().await.expect("killed");

    let (mut child, second, address) = registered(&reconciler, &path).await;
    assert_eq!(second, first);
    let refused = async |generation, epoch| {
        let message = undeploy(generation, epoch);
        instructed(&key, &address, routes::UNDEPLOY, &message)
            .await
            .1["code"]
            .clone()
    };
    assert_eq!(refused(6, 2).await, "stale_generation");
    assert_eq!(refused(8, 1).await, "stale_epoch");
    let (status, _) = instructed(&key, &address, routes::UNDEPLOY, &undeploy(7, 2)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "the newest may come again");
    child.kill().await.expect("killed");

    // Who obeys another reconciler is another agent.
    let mut strange = config.clone();
    strange.reconciler_key = Keypair::generate().expect("a key").public().to_string();
    let strange = write(&strange, folder.path());
    let (mut child, third, _) = registered(&reconciler, &strange).await;
    assert_ne!(third, first);
    child.kill().await.expect("killed");
    forget(&config.order_id);
}

#[tokio::test]
async fn one_that_ends_by_itself_is_another_agent_when_it_is_started_again() {
    let key = Keypair::generate().expect("a key");
    let reconciler = Reconciler::start(copy(&key)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(&reconciler.url, &key.public(), folder.path());
    let path = write(&config, folder.path());
    let (child, first, _) = registered(&reconciler, &path).await;
    let pid = child.id().expect("it runs").to_string();
    let told = Command::new("kill").arg(&pid).status().await;
    assert!(told.expect("kill runs").success());
    assert_eq!(end(child).await.0.code(), Some(i32::from(exit::DONE)));
    assert!(!forget(&config.order_id), "nothing is left in memory");
    let (mut child, second, _) = registered(&reconciler, &path).await;
    assert_ne!(second, first);
    child.kill().await.expect("killed");
    forget(&config.order_id);
}
