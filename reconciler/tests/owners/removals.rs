//! Taking deployments away over the API: what the breaker lets go goes, and what it does not waits for a person, as after a
//! person's commit.

use reqwest::Method;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::deploys::{DEPLOY, fleet, hello, refs, running};
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

/// A file may move, and has no name by where it lies.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_for_one_deployment_never_touches_the_file_of_another() {
    let (fleet, caller, key) = fleet(0).await;
    let named = |name: &str| {
        let mut call = hello(name, "1");
        call["replicas"] = 0.into();
        call
    };
    let post = |name: &str| caller.call(Method::POST, DEPLOY, &key, Some(named(name)));
    let delete = async |name: &str| caller.call(Method::DELETE, &path(name), &key, None).await;
    let (status, answer) = post("web").await;
    assert_eq!(status, 202, "{answer}");
    let (from, to) = (
        "deployments/acme/web.yaml",
        "deployments/acme/frontend.yaml",
    );
    let web = fleet.file(from);
    let moved = fleet.commit_all(&[(from, None), (to, Some(&web))]);
    fleet.wait("it is in force", |status| {
        status["fleet"]["desiredCommit"].as_str() == Some(moved.as_str())
    });
    let (status, answer) = delete("frontend").await;
    assert_eq!(
        (status, &answer["code"]),
        (404, &json!("deployment_not_found"))
    );
    let (status, answer) = post("frontend").await;
    assert_eq!((status, &answer["code"]), (409, &json!("written_by_hand")));
    assert_eq!(refs(&fleet).trim(), moved, "nothing is committed");
    // It can be deployed and taken away by its name still.
    let mut next = named("web");
    next["process"]["env"]["VERSION"] = "2".into();
    let (status, answer) = caller.call(Method::POST, DEPLOY, &key, Some(next)).await;
    assert_eq!(status, 202, "{answer}");
    assert!(fleet.file(to).contains("VERSION: \"2\""));
    let (status, answer) = delete("web").await;
    assert_eq!(status, 202, "{answer}");
    let left = fleet.git(&["ls-tree", "-r", "--name-only", "main", "deployments"]);
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    fleet.stop();
}
