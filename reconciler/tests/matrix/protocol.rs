//! The launcher protocol over HTTP, from a claim to a retirement and through every refusal: what is asked and what is
//! answered is as the document says that the reconciler serves.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use easyenclave_schemas::records::{OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::wire::routes;
use easyenclave_schemas::{OrderId, StageTimes};
use serde_json::{Value, json};

use crate::api::serve;
use crate::document::Worker;
use crate::launchers::KEY;
use crate::place::{Agent, Place, name};

/// Says this. Answers the status and the body.
async fn say(worker: &Worker<'_>, path: &str, message: &Value) -> (u16, Value) {
    worker
        .say(path, Some(KEY), message.to_string().into_bytes())
        .await
}

async fn served(worker: &Worker<'_>, path: &str, message: &Value) -> Value {
    let (status, answer) = say(worker, path, message).await;
    assert_eq!(status, 200, "{message}: {answer}");
    answer
}

async fn refused(worker: &Worker<'_>, path: &str, message: &Value) -> (u16, String) {
    let (status, answer) = say(worker, path, message).await;
    (
        status,
        answer["code"].as_str().unwrap_or_default().to_owned(),
    )
}

/// A claim of the worker that every order of a place is held by.
fn claim() -> Value {
    json!({"worker_id": "worker", "provider": "local"})
}

fn report(status: &str) -> Value {
    json!({"worker_id": "worker", "fence": 1, "status": status})
}

fn listing(units: &Value) -> Value {
    json!({"worker_id": "worker", "provider": "local", "datacenter": "local", "units": units})
}

/// An open order, in a datacenter, to retire the machine of this agent.
pub(crate) fn retire(agent: &Agent, worker: &str, datacenter: &str) -> OrderRecord {
    OrderRecord {
        order: OrderId::retire(&agent.order.agent()),
        datacenter: name(datacenter),
        provider: name("local"),
        worker: Some(name(worker)),
        work: WorkRecord::Retire {
            agent: agent.order.agent(),
            reason: "excess".into(),
        },
        state: OrderPhase::Open,
        opened_at: "2026-05-01T12:00:00Z".parse().expect("a time"),
        claim: None,
        error: None,
        cause: None,
        console: None,
        times: StageTimes::default(),
        unaccounted: false,
    }
}

/// Keeps an order as it is given.
pub(crate) async fn put(place: &Place, order: OrderRecord) {
    let kept = place.world.journal.transact(move |_, change| {
        change.put_order(order);
        Ok::<_, ()>(())
    });
    kept.await.expect("kept").expect("put");
}

#[tokio::test]
async fn a_launch_is_claimed_reported_and_over_as_the_document_says() {
    let place = Place::new(&json!({}));
    let server = serve(&place).await;
    let worker = Worker::of(&server).await;
    let nothing = served(&worker, routes::CLAIM, &claim()).await;
    assert_eq!(nothing["claimed"], false);
    let agent = place.agent().await;
    let order = routes::order(&agent.order);
    for provider in [
        json!({"process": {}}),
        json!({"qemu": {}}),
        json!({"gcp": {"project": "p", "image": "projects/p/global/images/i", "zones": ["us-central1-a"],
            "sizes": {"tiny": {"machineTypes": ["c3-standard-4"]}}}}),
    ] {
        place.provided(&provider);
        let claimed = served(&worker, routes::CLAIM, &claim()).await;
        assert_eq!(claimed["order"]["order_id"], agent.order.as_str());
        assert_eq!(claimed["order"]["work"]["kind"], "launch");
        assert!(claimed["bootstrap_token"].is_string(), "{provider}");
        let kind = provider.as_object().and_then(|spec| spec.keys().next());
        let machine = &claimed["order"]["work"]["machine"]["kind"];
        match machine.as_str() {
            Some(machine) => assert_eq!(Some(machine), kind.map(String::as_str)),
            None => assert_eq!(kind.map(String::as_str), Some("process")),
        }
    }
    let in_hand = json!({"worker_id": "worker", "provider": "local", "in_hand": [agent.order.as_str()], "wait_millis": 1});
    assert_eq!(
        served(&worker, routes::CLAIM, &in_hand).await["claimed"],
        false
    );
    let mut made = report("provisioning");
    made["stage"] = "made".into();
    assert_eq!(
        served(&worker, &order, &made).await["status"],
        "provisioning"
    );
    place.join(&agent).await.expect("accepted");
    assert_eq!(served(&worker, &order, &made).await["status"], "fulfilled");
    assert_eq!(
        served(&worker, &order, &report("removed")).await["status"],
        "cancelled",
        "its worker has taken it along"
    );
    let other = place.agent().await;
    let mut failed = report("failed");
    failed["error"] = "it ended".into();
    failed["cause"] = "machine_died".into();
    failed["console"] = "Kernel panic".into();
    let order = routes::order(&other.order);
    for remains in [true, false] {
        failed["remains"] = remains.into();
        assert_eq!(served(&worker, &order, &failed).await["status"], "failed");
    }
}

#[tokio::test]
async fn listings_and_retirements_are_as_the_document_says() {
    let place = Place::new(&json!({}));
    let server = serve(&place).await;
    let worker = Worker::of(&server).await;
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    let unit =
        |fence: u64| json!([{"order_id": agent.order.as_str(), "alive": true, "fence": fence}]);
    let none = served(&worker, routes::INVENTORY, &listing(&json!([]))).await;
    assert_eq!(none["superseded"], json!([]));
    let kept = served(&worker, routes::INVENTORY, &listing(&unit(1))).await;
    assert_eq!(kept["superseded"], json!([]));
    let older = served(&worker, routes::INVENTORY, &listing(&unit(0))).await;
    let named = json!([{"order_id": agent.order.as_str(), "fence": 1}]);
    assert_eq!(older["superseded"], named);
    put(&place, retire(&agent, "worker", "local")).await;
    let mut claim = claim();
    claim["work"] = "retire".into();
    let claimed = served(&worker, routes::CLAIM, &claim).await;
    let work = json!({"kind": "retire", "unit": agent.order.as_str()});
    assert_eq!(claimed["order"]["work"], work);
    assert_eq!(claimed["bootstrap_token"], Value::Null);
    let order = routes::order(&OrderId::retire(&agent.order.agent()));
    let done = served(&worker, &order, &report("removed")).await;
    assert_eq!(done["status"], "fulfilled");
    assert!(place.world.journal.read().agents.is_empty());
}

/// Those that launchers of before were set up with.
#[tokio::test]
async fn a_filter_may_be_a_token_of_before_or_empty() {
    let place = Place::new(&json!({}));
    let server = serve(&place).await;
    let worker = Worker::of(&server).await;
    let agent = place.agent().await;
    put(&place, retire(&agent, "shed", "gcp-us-central1-a")).await;
    let claim = |datacenter: &str| json!({"worker_id": "shed", "provider": "local", "datacenter": datacenter, "node_size": "", "work": "retire"});
    for other in ["local", "gcp:us-central1-b", "gcp"] {
        let answer = served(&worker, routes::CLAIM, &claim(other)).await;
        assert_eq!(answer["claimed"], false, "{other}");
    }
    for token in ["Google:us-central1_a", "gcp-us-central1-a", ""] {
        let answer = served(&worker, routes::CLAIM, &claim(token)).await;
        assert_eq!(
            answer["order"]["datacenter"], "gcp-us-central1-a",
            "{token}"
        );
    }
    let (status, code) = refused(&worker, routes::CLAIM, &claim("no name")).await;
    assert_eq!((status, code.as_str()), (400, "invalid_body"));
    let mut listing = listing(&json!([]));
    listing["datacenter"] = "gcp:us-central1-a".into();
    served(&worker, routes::INVENTORY, &listing).await;
}

#[tokio::test]
async fn each_refusal_of_the_document_is_heard_and_no_other() {
    let place = Place::new(&json!({}));
    let server = serve(&place).await;
    let worker = Worker::of(&server).await;
    let agent = place.agent().await;
    let order = routes::order(&agent.order);
    let paths = [routes::CLAIM, routes::INVENTORY, order.as_str()];
    for path in paths {
        for key in [None, Some("another"), Some(KEY)] {
            worker.say(path, key, b"{}".to_vec()).await;
        }
        worker.say(path, Some(KEY), vec![b' '; 3_000_000]).await;
    }
    let mut lost = report("provisioning");
    lost["fence"] = 2.into();
    assert_eq!(refused(&worker, &order, &lost).await.1, "claim_lost");
    let removed = refused(&worker, &order, &report("removed")).await;
    assert_eq!(removed.1, "wrong_report");
    let unknown = routes::order(&name("nobody-1"));
    let unknown = refused(&worker, &unknown, &report("provisioning")).await;
    assert_eq!(unknown, (404, "order_not_found".into()));
    let units: Vec<_> = (0..10_001)
        .map(|n| json!({"order_id": format!("tiny-{n}"), "alive": true}))
        .collect();
    let long = refused(&worker, routes::INVENTORY, &listing(&units.into())).await;
    assert_eq!(long, (422, "listing_too_long".into()));
    let (mut staging, mut elsewhere) = (listing(&json!([])), listing(&json!([])));
    staging["fleet"] = "staging".into();
    elsewhere["project"] = "staging".into();
    place.provided(&json!({"gcp": {
        "project": "prod", "image": "projects/p/global/images/i", "zones": ["europe-west4-a"],
        "sizes": {"tiny": {"machineTypes": ["c3-standard-4"]}},
    }}));
    for (listing, code) in [(staging, "wrong_fleet"), (elsewhere, "wrong_project")] {
        let wrong = refused(&worker, routes::INVENTORY, &listing).await;
        assert_eq!(wrong, (409, code.into()));
    }
    place.store.fails.store(true, Ordering::SeqCst);
    for (path, message) in [(routes::CLAIM, claim()), (&order, report("provisioning"))] {
        let full = refused(&worker, path, &message).await;
        assert_eq!(full, (503, "store_unavailable".into()), "{path}");
    }
    // Who sends too slowly, or too much beside many others, is another test's matter.
    let unheard = worker.unheard().into_iter();
    let unheard = unheard.filter(|(_, _, code)| code != "body_too_slow" && code != "busy");
    assert_eq!(unheard.collect::<BTreeSet<_>>(), BTreeSet::new());
}
