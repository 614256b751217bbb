//! An hour of a target whose launches all fail: when they are tried, what its status says in the end, and what `why` says
//! of it. The reconciler is the real one; one worker speaks to it, and time is the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;

use easyenclave::orders::claim;
use easyenclave::report::{self, Notes};
use easyenclave::revision::Revision;
use easyenclave_git::init_repository;
use easyenclave_schemas::wire::{ClaimRequest, Order, OrderReport, OrderUpdate, routes};
use easyenclave_schemas::{FailureCause, OrderId, Spot, Stage};
use expect_test::expect;
use serde_json::json;

use crate::api::{Served, serve};
use crate::place::{Place, name};
use crate::worker::{asks, report};

const HOUR: u32 = 3600;

/// What becomes of each machine.
enum Fate {
    /// It is not made, for this reason.
    NotMade(FailureCause, &'static str),
    /// It is made and boots, says this, and its agent never registers.
    Silent(&'static str),
}

struct Hour {
    place: Place,
    served: Served,
    fate: Fate,
    /// Launches of which the worker has not heard that they are over.
    held: BTreeMap<OrderId, u64>,
}

/// Three agents are wanted, at one of these places.
async fn hour(zones: &[&str], fate: Fate) -> Hour {
    let place = Place::new(&json!({}));
    let mut revision = Revision::clone(&place.world.revision().expect("a revision"));
    let target = revision
        .desired
        .targets
        .get_mut("tiny")
        .expect("the target");
    let spot = |zone: &&str| Spot {
        provider: name("local"),
        datacenter: name("local"),
        zone: Some(name(zone)),
        shape: Some(name("c3-4")),
    };
    (target.min, target.spots) = (3, zones.iter().map(spot).collect());
    place.world.adopt(Arc::new(revision));
    let served = serve(&place).await;
    Hour {
        place,
        served,
        fate,
        held: BTreeMap::new(),
    }
}

impl Hour {
    /// Lives through it. Answers the minute and second of each try, and how many launches it had.
    async fn tries(&mut self) -> String {
        let mut tries = Vec::new();
        for second in 0..HOUR {
            self.place.list("w-1", &[]);
            self.place.pass().await;
            let mut launched = 0;
            while let Some(order) = self.take().await {
                self.held.insert(order.order_id, order.fence);
                launched += 1;
            }
            if launched > 0 {
                tries.push(format!("{:02}:{:02} {launched}", second / 60, second % 60));
            }
            self.work(second).await;
        }
        tries.join("\n")
    }

    async fn take(&self) -> Option<Order> {
        let request = ClaimRequest {
            in_hand: self.held.keys().cloned().collect(),
            ..asks("w-1")
        };
        let claimed = claim(&self.place.world, &request).await;
        claimed.expect("answered").order
    }

    /// The worker goes on with what it holds.
    async fn work(&mut self, second: u32) {
        for (order, fence) in self.held.clone() {
            let said = match self.fate {
                Fate::NotMade(cause, error) => OrderUpdate {
                    cause: Some(cause),
                    error: Some(error.into()),
                    ..report("w-1", fence, OrderReport::Failed)
                },
                Fate::Silent(_) => OrderUpdate {
                    stage: Some(Stage::Made),
                    ..report("w-1", fence, OrderReport::Provisioning)
                },
            };
            let answer = self.place.tell(&order, said).await.expect("it holds it");
            match (answer.status.as_str(), &self.fate) {
                ("failed", Fate::Silent(console)) => {
                    let end = OrderUpdate {
                        console: Some((*console).into()),
                        ..report("w-1", fence, OrderReport::Failed)
                    };
                    self.place.tell(&order, end).await.expect("it held it");
                    self.held.remove(&order);
                }
                ("failed", _) => drop(self.held.remove(&order)),
                _ if second.is_multiple_of(30) => self.boot(&order).await,
                _ => {}
            }
        }
    }

    /// Somebody inside the machine asks for a nonce.
    async fn boot(&self, order: &OrderId) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        let url = format!("{}{}?order={order}", self.served.url, routes::CHALLENGE);
        let answer = http.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }

    /// What the status branch has of the target, and what the command answers that reads it.
    async fn told(&self) -> (String, String) {
        let report = self.place.pass().await;
        let world = &self.place.world;
        let records = world.journal.read().clone();
        let notes = Notes::default();
        let status = report::status(&report, &records, &world.presence, &notes, None);
        let waits: BTreeSet<_> = status
            .capacity
            .values()
            .flat_map(|one| &one.waits)
            .collect();
        let waits: Vec<_> = waits
            .into_iter()
            .map(|wait| {
                let until = wait.until.map(|at| format!(", until {at}"));
                let until = until.unwrap_or_default();
                format!("{}: {}{until}", wait.reason, wait.message)
            })
            .collect();
        let shortages = status.fleet.shortages.iter().map(|one| {
            format!(
                "short: {}: {}, {} in a row, until {}",
                one.spot, one.cause, one.failures, one.until
            )
        });
        let said: Vec<_> = waits.into_iter().chain(shortages).collect();
        let files = status.changes(None).into_iter();
        let files = files
            .filter_map(|(path, file)| Some((path, file?)))
            .collect();
        let dir = tempfile::tempdir().expect("a folder");
        let repository = dir.path().join("state.git");
        let author = ("Ada", "ada@example.invalid");
        init_repository(&repository, "status", &files, "status", author, 1).expect("made");
        let mut why = Command::new(env!("CARGO_BIN_EXE_easyenclave"));
        let why = why
            .args(["why", "tiny", "--repo"])
            .arg(&repository)
            .output();
        let why = String::from_utf8(why.expect("it runs").stdout).expect("UTF-8");
        let from = why.find("target tiny").expect("an answer");
        (said.join("\n"), why[from..].to_owned())
    }
}

#[tokio::test]
async fn an_hour_of_zones_without_capacity() {
    let error = "ZONE_RESOURCE_POOL_EXHAUSTED";
    let fate = Fate::NotMade(FailureCause::NoCapacity, error);
    let mut hour = hour(&["us-a", "us-b"], fate).await;
    expect![[r#"
        00:00 3
        00:01 1
        00:31 1
        01:31 1
        02:00 1
        03:31 1
        06:00 1
        07:31 1
        14:00 1
        15:31 1
        30:00 1
        31:31 1"#]]
    .assert_eq(&hour.tries().await);
    let (status, why) = hour.told().await;
    expect![[r#"
        PlacesShort: places without room now: 2; the place has no room, until 2026-05-01T13:00:01Z
        short: local in local zone us-a shape c3-4: the place has no room, 7 in a row, until 2026-05-01T13:00:01Z
        short: local in local zone us-b shape c3-4: the place has no room, 7 in a row, until 2026-05-01T13:01:32Z"#]].assert_eq(&status);
    expect![[r#"
        target tiny is blocked
          Available  TooFewAgents since 2026-05-01T13:00:00Z: 0 there, 3 wanted at the least
          waits for PlacesShort: places without room now: 2; the place has no room (until 2026-05-01T13:00:01Z)
          the last launch that failed, tiny-28040389430e: the place has no room: ZONE_RESOURCE_POOL_EXHAUSTED
    "#]].assert_eq(&why);
}

#[tokio::test]
async fn an_hour_of_a_provider_that_is_down() {
    let error = "connection refused";
    let fate = Fate::NotMade(FailureCause::ProviderDown, error);
    let mut hour = hour(&[], fate).await;
    expect![[r#"
        00:00 3
        00:03 1
        00:08 1
        00:17 1
        00:34 1
        01:12 1
        02:18 1
        04:49 1
        09:37 1
        19:12 1
        30:05 1
        41:05 1
        52:35 1"#]]
    .assert_eq(&hour.tries().await);
    let (status, why) = hour.told().await;
    expect!["LaunchBackoff: launches failed in a row: 13; the provider cannot now, until 2026-05-01T13:03:35Z"].assert_eq(&status);
    expect![[r#"
        target tiny is blocked
          Available  TooFewAgents since 2026-05-01T13:00:00Z: 0 there, 3 wanted at the least
          waits for LaunchBackoff: launches failed in a row: 13; the provider cannot now (until 2026-05-01T13:03:35Z)
          the last launch that failed, tiny-3fc4884de8b7: the provider cannot now: connection refused
    "#]].assert_eq(&why);
}

#[tokio::test]
async fn an_hour_of_agents_that_boot_and_never_register() {
    let fate = Fate::Silent("agent: the reconciler is not reached");
    let mut hour = hour(&[], fate).await;
    expect![[r#"
        00:00 3
        10:03 1
        20:35 1
        31:09 1
        41:47 1
        52:38 1"#]]
    .assert_eq(&hour.tries().await);
    let (status, why) = hour.told().await;
    expect!["LaunchesProbing: slots whose last launch failed: 2; its agent has not registered in time; one launch tries for all"].assert_eq(&status);
    expect![[r#"
        target tiny is scaling
          Available  TooFewAgents since 2026-05-01T13:00:00Z: 0 there, 3 wanted at the least
          waits for LaunchesProbing: slots whose last launch failed: 2; its agent has not registered in time; one launch tries for all
          the last launch that failed, tiny-b8d0b89caf02: its agent has not registered in time
          console: agent: the reconciler is not reached
    "#]].assert_eq(&why);
}
