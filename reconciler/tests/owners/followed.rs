//! Following what a replica prints: for as long as whoever follows may.

use reqwest::Method;
use serde_json::json;

use crate::deploys::{DEPLOY, fleet, running};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_is_sent_nothing_more_once_the_key_is_revoked() {
    let (fleet, caller, key) = fleet(1).await;
    let prints = json!(["sh", "-c", "while :; do echo a line; sleep 0.3; done"]);
    let talks = json!({"app_name": "talks", "process": {"command": prints}});
    let (status, answer) = caller.call(Method::POST, DEPLOY, &key, Some(talks)).await;
    assert_eq!(status, 202, "{answer}");
    running(&caller, &key, "/api/v1/deployments/acme/talks").await;
    let id = key.split('_').nth(1).expect("an id");
    let path = "/api/v1/deployments/acme/talks/logs?follow=true";
    let mut followed = caller.follow(path, &key).await;
    assert_eq!(followed.lines(1).await, ["a line"]);
    let revoked = fleet.run(&["key", "revoke", id, "--data", "data"]);
    assert!(revoked.status.success(), "{revoked:?}");
    followed.end().await;
    assert!(!fleet.workloads().is_empty(), "it runs on");
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_misses_no_line_however_many_come_at_once() {
    const LINES: usize = 30_000;
    let (fleet, caller, key) = fleet(1).await;
    let go = fleet.path("go").display().to_string();
    let script = format!(
        "echo ready; until test -e {go}; do sleep 0.1; done; seq 1 {LINES}; exec sleep 1000"
    );
    let talks = json!({"app_name": "talks", "process": {"command": ["sh", "-c", script]}});
    let (status, answer) = caller.call(Method::POST, DEPLOY, &key, Some(talks)).await;
    assert_eq!(status, 202, "{answer}");
    running(&caller, &key, "/api/v1/deployments/acme/talks").await;
    let path = "/api/v1/deployments/acme/talks/logs?lines=1&follow=true";
    let mut followed = caller.follow(path, &key).await;
    assert_eq!(followed.lines(1).await, ["ready"]);
    std::fs::write(&go, "").expect("written");
    let lines = followed.lines(1 + LINES).await;
    let expected = (1..=LINES).map(|number| number.to_string());
    assert!(lines.into_iter().skip(1).eq(expected), "each once");
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_is_told_where_lines_may_be_missing_and_goes_on() {
    let (fleet, caller, key) = fleet(1).await;
    let version = |word: &str| {
        let script = format!("echo {word}; exec sleep 1000");
        json!({"app_name": "talks", "process": {"command": ["sh", "-c", script]}})
    };
    let deploy = async |word: &str| {
        let call = Some(version(word));
        let (status, answer) = caller.call(Method::POST, DEPLOY, &key, call).await;
        assert_eq!(status, 202, "{answer}");
    };
    deploy("one").await;
    running(&caller, &key, "/api/v1/deployments/acme/talks").await;
    let path = "/api/v1/deployments/acme/talks/logs?follow=true";
    let mut followed = caller.follow(path, &key).await;
    assert_eq!(followed.lines(1).await, ["one"]);
    // The same agent begins another log.
    deploy("two").await;
    let lines = followed.lines(3).await;
    assert_eq!(
        lines,
        ["one", "[easyenclave] lines are missing here", "two"]
    );
    fleet.stop();
}
