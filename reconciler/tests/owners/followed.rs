//! Following what a replica prints: for as long as whoever follows may, over the API and by the command that calls it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::json;

use crate::deploys::{DEPLOY, fleet, running};
use crate::harness::{Fleet, PROGRAM};

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

/// What `logs` prints, what it says beside that, and its exit code.
fn logs(fleet: &Fleet, args: &[&str]) -> (String, String, Option<i32>) {
    let ended = fleet.run(&[&["logs", "--data", "data"], args].concat());
    let [told, said] = [ended.stdout, ended.stderr].map(|it| String::from_utf8(it).expect("UTF-8"));
    (told, said, ended.status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_shows_the_last_lines_and_what_comes_and_says_why_not() {
    let (fleet, caller, key) = fleet(1).await;
    let go = fleet.path("go").display().to_string();
    let script = format!(
        "seq 1 5; until test -e {go}; do sleep 0.1; done; printf 'a\\033]0;b\\n'; exec sleep 1000"
    );
    let talks = json!({"app_name": "talks", "process": {"command": ["sh", "-c", script]}});
    let (status, answer) = caller.call(Method::POST, DEPLOY, &key, Some(talks)).await;
    assert_eq!(status, 202, "{answer}");
    running(&caller, &key, "/api/v1/deployments/acme/talks").await;
    std::fs::write(fleet.path("key"), format!("{key}\n")).expect("written");
    let by = |args: &[&str]| logs(&fleet, &[&["--key-file", "key"], args].concat());
    let (told, said, code) = by(&["talks", "--lines", "2"]);
    assert_eq!((told.as_str(), code), ("4\n5\n", Some(0)), "{said}");
    assert!(said.starts_with("acme/talks on tiny-"), "{said}");

    // What it refuses, in words, and with the key nowhere in them.
    let (_, said, code) = by(&["acme/other"]);
    assert!(
        said.contains("deployment_not_found") && code == Some(1),
        "{said}"
    );
    let (_, said, _) = by(&["talks", "--service", "web"]);
    assert!(said.contains("service_not_found"), "{said}");
    let (_, said, _) = logs(&fleet, &["talks"]);
    assert!(said.contains("EASYENCLAVE_API_KEY"), "{said}");
    std::fs::write(fleet.path("wrong"), "ee_aaaaaaaaaaaaaaaaaaaaaaaaaa_secret").expect("written");
    let (_, said, code) = logs(&fleet, &["talks", "--key-file", "wrong"]);
    assert!(
        said.contains("invalid_api_key") && said.contains("key new") && code == Some(1),
        "{said}"
    );
    assert!(!said.contains("secret"), "{said}");

    // What comes, as it is where nobody's terminal would obey it; the environment has the key; and no signal is
    // handled, so that each ends it at once.
    let mut command = Command::new(PROGRAM);
    let line = [
        "logs",
        "talks",
        "--follow",
        "--lines",
        "1",
        "--server",
        &fleet.url(),
    ];
    command.args(line).env("EASYENCLAVE_API_KEY", &key);
    let mut follower = command.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(follower.stdout.take().expect("piped")).split(b'\n');
    let mut next = || lines.next().expect("a line").expect("read");
    assert_eq!(next(), b"5");
    std::fs::write(&go, "").expect("written");
    assert_eq!(next(), b"a\x1b]0;b");
    crate::harness::signal(follower.id(), "TERM");
    assert!(!follower.wait().expect("ended").success());
    fleet.stop();
}
