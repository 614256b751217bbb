//! The worker in a shell of docs/CAPACITY_LAUNCHER.md, run as it stands there against a reconciler.

use std::convert::Infallible;
use std::time::Duration;

use easyenclave_schemas::records::OrderPhase;
use easyenclave_schemas::wire::routes;
use easyenclave_tests::program_given;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use crate::api::serve;
use crate::launchers::KEY;
use crate::place::{Agent, Place};
use crate::protocol::{put, retire};

const PAGE: &str = include_str!("../../../docs/CAPACITY_LAUNCHER.md");

/// The page's blocks of shell, in one.
fn script() -> String {
    let blocks = PAGE.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > 4, "{} blocks", blocks.len());
    format!("set -eu\n{}", blocks.concat())
}

/// Whether the programs of the example are there.
fn is_possible() -> bool {
    let how = "Debian: apt-get install curl jq";
    let found = ["curl", "jq"].map(|name| program_given(name, how));
    found.iter().all(Option::is_some)
}

/// An agent whose launch nobody has claimed yet.
async fn unclaimed(place: &Place) -> Agent {
    let agent = place.agent().await;
    let order = place.world.journal.read().orders[&agent.order].clone();
    let mut order = order.as_ref().clone();
    (order.state, order.claim) = (OrderPhase::Open, None);
    put(place, order).await;
    agent
}

#[tokio::test]
async fn the_worker_of_the_page_serves_a_launch_and_a_retirement() {
    if !is_possible() {
        return;
    }
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let agent = unclaimed(&place).await;
    put(&place, retire(&agent, "shed-1", "local")).await;
    let dir = tempfile::tempdir().expect("a folder");
    let key = dir.path().join("launcher.key");
    std::fs::write(&key, KEY).expect("written");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script()).kill_on_drop(true);
    shell.env("RECONCILER", &served.url).env("KEY", &key);
    shell.env("TMPDIR", dir.path()).current_dir(dir.path());
    let shell = timeout(Duration::from_secs(60), shell.output());
    let machine = async {
        while place.world.journal.read().orders[&agent.order].state != OrderPhase::Provisioning {
            place.world.wake.notified().await;
        }
        place.join(&agent).await.expect("accepted");
        std::future::pending::<Infallible>().await
    };
    let output = tokio::select! {
        output = shell => output,
        never = machine => match never {},
    };
    let output = output.expect("it ends").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{wrong}");
    for line in [
        format!("{} has joined", agent.order),
        format!("{} is gone", agent.order),
    ] {
        assert!(said.lines().any(|said| *said == *line), "{said}{wrong}");
    }
    let records = place.world.journal.read();
    assert!(records.agents.is_empty(), "it was retired");
    let left = std::fs::read_dir(dir.path()).expect("a folder").count();
    assert_eq!(left, 1, "the key alone is left");
}

#[test]
fn every_route_of_workers_is_on_the_page() {
    let order = "/api/v1/launchers/capacity/orders/{order}";
    for route in [routes::CLAIM, routes::INVENTORY, routes::OPENAPI, order] {
        assert!(PAGE.contains(route), "{route}");
    }
}
