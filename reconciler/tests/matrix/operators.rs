//! `easyenclave worker` as operators set it up: by the names that its environment always had, with datacenters as they
//! were called, and with exit codes that a supervisor can go by.

use std::process::Output;
use std::time::Duration;

use easyenclave_schemas::records::OrderRecord;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::api::{Served, serve};
use crate::launchers::KEY;
use crate::place::Place;
use crate::protocol::{put, retire};

/// A name in the environment and its value.
type Setting<'a> = (&'a str, &'a str);

/// A worker with this environment and no other, in a folder of its own.
fn worker(dir: &TempDir, environment: &[Setting]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_easyenclave"));
    command.arg("worker").current_dir(dir.path()).env_clear();
    command.env("PATH", std::env::var_os("PATH").expect("a search path"));
    command.envs(environment.iter().copied()).kill_on_drop(true);
    command
}

async fn ended(mut command: Command) -> Output {
    let output = timeout(Duration::from_secs(60), command.output());
    output.await.expect("it ends").expect("it runs")
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(text).expect("UTF-8")
}

/// A place with an order to retire what is not there, in this datacenter, for any worker.
async fn with_an_order(datacenter: &str) -> (Place, Served, OrderRecord) {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let agent = place.agent().await;
    let mut order = retire(&agent, "worker", datacenter);
    order.worker = None;
    put(&place, order.clone()).await;
    (place, served, order)
}

#[tokio::test]
async fn a_worker_is_set_up_by_the_environment_that_operators_know() {
    let (place, served, order) = with_an_order("gcp-us-central1-a").await;
    let dir = tempfile::tempdir().expect("a folder");
    let output = ended(worker(
        &dir,
        &[
            ("CP_URL", &served.url),
            ("LAUNCHER_API_KEY", KEY),
            ("LAUNCHER_PROVIDERS", "local"),
            ("LAUNCHER_DATACENTER", "google:us-central1_a"),
            ("LAUNCHER_NODE_SIZE", ""),
            ("LAUNCHER_MAX_ORDERS", "1"),
            ("LAUNCHER_POLL_SECONDS", "10"),
            ("ITA_API_KEY", "never shown"),
        ],
    ))
    .await;
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!place.world.journal.read().orders.contains_key(&order.order));
    for setting in ["LAUNCHER_POLL_SECONDS", "ITA_API_KEY"] {
        let told = |line: &str| line.contains(setting) && line.contains("has no effect");
        assert!(said.lines().any(told), "{setting}: {said}");
    }
    for secret in [KEY, "never shown"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn an_option_comes_before_the_environment() {
    let (place, served, order) = with_an_order("metal-1").await;
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("key"), format!("{KEY}\n")).expect("written");
    let mut command = worker(
        &dir,
        &[
            ("CP_URL", "http://127.0.0.1:9"),
            ("LAUNCHER_API_KEY", "another"),
            ("LAUNCHER_DATACENTER", "gcp:us-central1-a"),
            ("LAUNCHER_NODE_SIZE", "llm"),
            ("LAUNCHER_MAX_ORDERS", ""),
        ],
    );
    command.args(["--reconciler", &served.url, "--launcher-key", "key"]);
    command.args(["--datacenter", "metal-1", "--one-shot"]);
    let output = ended(command).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!place.world.journal.read().orders.contains_key(&order.order));
}

#[tokio::test]
async fn exit_codes_say_whether_another_start_helps() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let dir = tempfile::tempdir().expect("a folder");
    let cases: [(&[Setting], i32, &str); 6] = [
        (&[("LAUNCHER_API_KEY", KEY)], 1, "easyenclave-data"),
        (&[("LAUNCHER_DATACENTER", "gcp:a_")], 2, "--datacenter"),
        (&[("LAUNCHER_NODE_SIZE", "a:b")], 2, "--node-size"),
        (&[("LAUNCHER_MAX_ORDERS", "many")], 2, "--max-orders"),
        (
            &[("LAUNCHER_PROVIDERS", "gcp,baremetal")],
            2,
            "one provider",
        ),
        (
            &[("CP_URL", &served.url), ("LAUNCHER_API_KEY", "another")],
            3,
            "refused",
        ),
    ];
    for (environment, code, words) in cases {
        let output = ended(worker(&dir, environment)).await;
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{environment:?}: {said}");
        assert!(said.contains(words), "{environment:?}: {said}");
        assert!(!said.contains("another"), "{said}");
    }
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_ends_well() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let dir = tempfile::tempdir().expect("a folder");
    let environment = [("CP_URL", served.url.as_str()), ("LAUNCHER_API_KEY", KEY)];
    let mut worker = worker(&dir, &environment).spawn().expect("it runs");
    let listed = async {
        while place.world.presence.listings().is_empty() {
            place.world.wake.notified().await;
        }
    };
    let listed = timeout(Duration::from_secs(60), listed).await;
    listed.expect("it lists what it has");
    let id = worker.id().expect("it runs").to_string();
    let mut kill = Command::new("kill");
    let told = kill.args(["-TERM", &id]).status().await.expect("it runs");
    assert!(told.success());
    let status = timeout(Duration::from_secs(60), worker.wait()).await;
    let status = status.expect("it ends").expect("waited for");
    assert_eq!(status.code(), Some(0));
}
