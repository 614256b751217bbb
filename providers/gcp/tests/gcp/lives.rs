//! Whole lives of machines, and what is said for them: in the words of Google's own document, and no more than is needed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use easyenclave_capacity::{ProvideError, Provider};
use easyenclave_gcp::fake::Partial;
use easyenclave_gcp::{CONFIG, PORTS, Pace};
use easyenclave_schemas::wire::AgentConfig;
use serde_json::{Value, json};

use crate::oracle::contract;
use crate::stand::{PACE, Side, open, open_at, order, owner, wanted};

/// The body of the only request for a machine.
fn body(side: &Side) -> Value {
    let said = side.said("POST");
    assert_eq!(said.len(), 1);
    said[0].body.clone().expect("a body")
}

#[tokio::test]
async fn every_word_of_a_life_is_in_googles_document() {
    let Some(contract) = contract() else {
        return;
    };
    let side = Side::new().await;
    let everything = wanted("b", |machine| {
        machine.subnetwork = Some("agents".into());
        machine.external_address = true;
        machine.service_account = Some("agent@p.iam.gserviceaccount.com".into());
        machine.preemptible = true;
    });
    side.ensure("a").await.expect("made");
    side.provider.ensure(&everything).await.expect("made");
    side.fake.set_page(1);
    side.listed().await.expect("listed");
    side.provider.console(&order("a")).await.expect("read");
    side.fake
        .set_status(&owner().machine(&order("b")), "TERMINATED");
    side.listed().await.expect("listed");
    for partial in [Partial::Unreachable, Partial::Warning, Partial::InZone] {
        side.fake.set_partial(Some(partial));
        side.listed().await.expect_err("not all is there");
    }
    side.fake.set_partial(None);
    for name in ["a", "b"] {
        side.remove(name).await.expect("removed");
    }
    let said = side.fake.said();
    for said in &said {
        assert_eq!(
            contract.judge(said),
            Vec::<String>::new(),
            "{} {}",
            said.method,
            said.path
        );
    }
    let methods = |method| said.iter().filter(|said| said.method == method).count();
    assert_eq!((methods("POST"), methods("DELETE")), (2, 2));
}

#[tokio::test]
async fn a_machine_is_a_trust_domain_that_starts_once() {
    let side = Side::new().await;
    side.ensure("a").await.expect("made");
    let body = body(&side);
    assert_eq!(body["name"], json!(owner().machine(&order("a"))));
    assert_eq!(
        body["machineType"],
        "zones/us-central1-a/machineTypes/c3-standard-4"
    );
    assert_eq!(
        body["confidentialInstanceConfig"],
        json!({"confidentialInstanceType": "TDX"})
    );
    assert_eq!(
        body["scheduling"],
        json!({"onHostMaintenance": "TERMINATE", "automaticRestart": false, "provisioningModel": "STANDARD"})
    );
    assert_eq!(
        body["disks"],
        json!([{
            "boot": true, "autoDelete": true, "type": "PERSISTENT", "interface": "NVME",
            "initializeParams": {
                "sourceImage": "projects/p/global/images/agent-1", "diskSizeGb": "80",
                "labels": body["labels"],
            },
        }])
    );
    assert_eq!(
        body["networkInterfaces"],
        json!([{"network": "projects/p/global/networks/default", "nicType": "GVNIC"}])
    );
    assert_eq!(
        body["shieldedInstanceConfig"],
        json!({"enableSecureBoot": true, "enableVtpm": true, "enableIntegrityMonitoring": true})
    );
    assert_eq!(body["deletionProtection"], false);
    assert_eq!(body["serviceAccounts"], Value::Null);
    assert_eq!(
        body["labels"],
        json!({
            "easyenclave-fleet": "demo", "easyenclave-provider": "cloud", "easyenclave-datacenter": "gcp-us",
            "easyenclave-order": "a", "easyenclave-fence": "3",
        })
    );
}

#[tokio::test]
async fn a_machine_is_given_its_agents_configuration_and_no_other_secret() {
    let side = Side::new().await;
    side.ensure("a").await.expect("made");
    let body = body(&side);
    let items = body["metadata"]["items"].as_array().expect("items");
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["key"], CONFIG);
    let config = items[0]["value"].as_str().expect("a text");
    let config: AgentConfig = serde_json::from_str(config).expect("a configuration");
    assert_eq!(config.order_id, order("a"));
    assert_eq!(config.bootstrap_token.reveal(), "token");
    assert!(config.trust_authority.is_none());
    let listen = config.listen.expect("an address");
    assert!(listen.ip().is_unspecified() && listen.port() == PORTS.0 && config.address.is_none());
    let mut elsewhere = body.clone();
    elsewhere["metadata"] = Value::Null;
    let elsewhere = elsewhere.to_string();
    assert!(!elsewhere.contains("token"), "{elsewhere}");
}

#[tokio::test]
async fn what_an_order_asks_for_beyond_the_usual_is_in_the_request() {
    let side = Side::new().await;
    let request = wanted("a", |machine| {
        machine.subnetwork = Some("agents".into());
        machine.external_address = true;
        machine.service_account = Some("agent@p.iam.gserviceaccount.com".into());
        machine.preemptible = true;
    });
    side.provider.ensure(&request).await.expect("made");
    let body = body(&side);
    assert_eq!(
        body["networkInterfaces"][0]["subnetwork"],
        "projects/p/regions/us-central1/subnetworks/agents"
    );
    assert_eq!(
        body["networkInterfaces"][0]["accessConfigs"][0]["type"],
        "ONE_TO_ONE_NAT"
    );
    assert_eq!(
        body["serviceAccounts"][0]["email"],
        "agent@p.iam.gserviceaccount.com"
    );
    assert_eq!(body["scheduling"]["provisioningModel"], "SPOT");
    assert_eq!(body["scheduling"]["instanceTerminationAction"], "STOP");
}

#[tokio::test]
async fn what_cannot_be_made_here_is_refused_before_anything_is_said() {
    let side = Side::new().await;
    let plain = wanted("a", |_| {});
    let mut none = plain.clone();
    none.spec.machine = None;
    let elsewhere = wanted("a", |machine| machine.project = "q".into());
    let mut stranger = plain.clone();
    stranger.fleet = "other".parse().expect("a name");
    let mut simulated = plain.clone();
    simulated.spec.simulated = true;
    let mut unreachable = plain.clone();
    unreachable.spec.reconciler_url = "http://127.0.0.1:8700".into();
    for (request, why) in [
        (none, "the order names no machine of Google Cloud"),
        (elsewhere, "the order is for project q"),
        (stranger, "the order is of fleet other"),
        (simulated, "a simulated root trusts no machine"),
        (
            unreachable,
            "no machine of Google Cloud reaches http://127.0.0.1:8700",
        ),
    ] {
        match side.provider.ensure(&request).await {
            Err(ProvideError::NeedsPerson { source, .. }) => {
                assert!(source.to_string().starts_with(why), "{source}");
            }
            other => panic!("{other:?}, not {why}"),
        }
    }
    assert_eq!(side.fake.said().len(), 0);
}

#[tokio::test]
async fn last_words_are_the_end_of_the_serial_port_without_control_characters() {
    let side = Side::new().await;
    side.ensure("a").await.expect("made");
    let name = owner().machine(&order("a"));
    assert_eq!(
        side.provider.last_words(&order("a")).await.expect("read"),
        ""
    );
    side.fake
        .set_serial(&name, "booting\r\nrefused\u{1b}[0m with EE-ATT-031\r\n\r\n");
    let words = side.provider.last_words(&order("a")).await.expect("read");
    assert_eq!(words, "refused[0m with EE-ATT-031");
    // The buffer holds the last mebibyte.
    side.fake
        .set_serial(&name, &format!("{}\nlast", "x".repeat(2 << 20)));
    let console = side.provider.console(&order("a")).await.expect("read");
    assert!(
        console.len() == 4096 && console.ends_with("\nlast"),
        "{}",
        console.len()
    );
    side.fake.set_status(&name, "TERMINATED");
    let console = side.provider.console(&order("a")).await.expect("read");
    assert_eq!(console, "", "a machine that is off says nothing");
    assert_eq!(
        side.provider
            .console(&order("never"))
            .await
            .expect("nothing"),
        ""
    );
}

#[tokio::test]
async fn a_dropped_launch_is_taken_up_again_by_whoever_comes_next() {
    let side = Side::new().await;
    for steps in 0..12_u32 {
        let name = format!("a{steps}");
        let request = wanted(&name, |_| {});
        // Let go after so long, wherever it is by then.
        let mut ensure = Box::pin(side.provider.ensure(&request));
        let so_long = Duration::from_millis(steps.into());
        let _ = tokio::time::timeout(so_long, &mut ensure).await;
        drop(ensure);
        let next = open(&side.fake).await;
        next.ensure(&request).await.expect("made");
        let of: Vec<_> = side
            .names()
            .into_iter()
            .filter(|made| *made == owner().machine(&request.order))
            .collect();
        assert_eq!(of.len(), 1);
        next.remove(&request.order).await.expect("removed");
    }
    assert_eq!(side.names(), Vec::<String>::new());
}

#[tokio::test]
async fn however_many_ask_the_cloud_is_asked_at_its_own_pace() {
    let side = Side::new().await;
    let pause = Duration::from_millis(50);
    let pace = Pace {
        listing: pause,
        ..PACE
    };
    let provider = open_at(&side.fake, pace).await;
    let start = Instant::now();
    for _ in 0..3 {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let provider = Arc::clone(&provider);
            calls.spawn(async move { provider.list().await });
        }
        while let Some(listed) = calls.join_next().await {
            listed.expect("no panic").expect("listed");
        }
    }
    let listings = side.fake.said().len();
    let most = start.elapsed().as_millis() / pause.as_millis() + 1;
    assert!(
        listings as u128 <= most,
        "{listings} listings, and {most} at most"
    );
    assert!(listings >= 3, "each was begun after it was asked for");
}

#[tokio::test]
async fn a_spot_machine_that_is_taken_away_is_listed_as_dead() {
    let side = Side::new().await;
    let request = wanted("a", |machine| machine.preemptible = true);
    side.provider.ensure(&request).await.expect("made");
    let name = owner().machine(&order("a"));
    for status in ["STOPPING", "TERMINATED", "SUSPENDED", "STOPPED"] {
        side.fake.set_status(&name, status);
        assert_eq!(
            side.listed().await.expect("listed"),
            [("a".to_owned(), false)],
            "{status}"
        );
    }
    for status in [
        "PROVISIONING",
        "STAGING",
        "RUNNING",
        "REPAIRING",
        "SOMETHING_NEW",
    ] {
        side.fake.set_status(&name, status);
        assert_eq!(
            side.listed().await.expect("listed"),
            [("a".to_owned(), true)],
            "{status}"
        );
    }
    side.remove("a").await.expect("removed");
}
