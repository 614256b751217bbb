//! Taking deployments away over the API: what the breaker lets go goes, and what it does not waits for a person, as after a
//! person's commit.

use reqwest::Method;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::deploys::{DEPLOY, fleet, hello, running};
use crate::harness::Fleet;

fn path(name: &str) -> String {
    format!("/api/v1/deployments/acme/{name}")
}

async fn remove(caller: &Caller, key: &str, name: &str) -> Value {
    let (status, answer) = caller.call(Method::DELETE, &path(name), key, None).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["deployment_id"], format!("acme/{name}"));
    answer
}

/// Waits until nothing of it is left in the status.
async fn gone(fleet: &Fleet, name: &str) {
    let name = format!("acme/{name}");
    fleet.wait("it is gone", |status| {
        let all = status["deployments"].as_array().expect("a list");
        all.iter().all(|one| one["deployment"] != name.as_str())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_goes_at_once_or_is_held_until_a_person_approves_it() {
    let (fleet, caller, key) = fleet(3).await;
    for (name, replicas) in [("one", 1), ("two", 2)] {
        let mut call = hello(name, "1");
        call["replicas"] = replicas.into();
        let (status, answer) = caller.call(Method::POST, DEPLOY, &key, Some(call)).await;
        assert_eq!(status, 202, "{answer}");
    }
    for name in ["one", "two"] {
        running(&caller, &key, &path(name)).await;
    }
    // It leaves the owner others that are ready.
    let answer = remove(&caller, &key, "one").await;
    assert_eq!(
        (&answer["status"], &answer["held"]),
        (&json!("removing"), &Value::Null)
    );
    gone(&fleet, "one").await;
    // These two leave nothing.
    let answer = remove(&caller, &key, "two").await;
    assert_eq!(answer["status"], "held", "{answer}");
    let digest = answer["held"].as_str().expect("a digest");
    let is_held = |status: &Value| status["fleet"]["held"].to_string().contains(digest);
    fleet.wait("it is held", is_held);
    assert_eq!(fleet.workloads().len(), 2, "they run on");
    let line = [
        "approve",
        digest,
        "--reason",
        "it is over",
        "--data",
        "data",
    ];
    let approved = fleet.run(&line);
    assert!(approved.status.success(), "{approved:?}");
    gone(&fleet, "two").await;
    fleet.until("they have ended", || fleet.workloads().is_empty());
    fleet.stop();
}
