//! What an agent does when it is told something, and what it refuses to hear.

use easyenclave_schemas::Generation;
use easyenclave_schemas::signature::{Keypair, sign_request};
use easyenclave_schemas::wire::{
    AgentActivity, CallRefusal, ErrorBody, WorkloadCause, WorkloadState, routes,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::fleet::{Agent, now, unique};

fn ready(generation: Generation) -> impl Fn(&easyenclave_schemas::wire::WorkloadReport) -> bool {
    move |report| report.generation == generation && report.state == WorkloadState::Ready
}

#[tokio::test]
async fn it_runs_what_it_is_told_and_the_newest_replaces_the_last() {
    let mut agent = Agent::start().await;
    let first = agent.run("echo one; exec sleep 300").await;
    agent.reported("the first is ready", ready(first)).await;
    assert_eq!(agent.health().await.phase, AgentActivity::Running);
    let second = agent.run("echo two; exec sleep 300").await;
    let report = agent.reported("the second is ready", ready(second)).await;
    assert_eq!(report.deployment.to_string(), "acme/web");
    assert_eq!(agent.processes(), 1, "the first has ended");
    agent
        .logged("/api/logs/acme/web?lines=5", |log| log == "two\n")
        .await;
    let message = agent.undeploy();
    let (status, _) = agent.instruct(routes::UNDEPLOY, &message).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    agent.idle(Generation(3)).await;
    assert_eq!(
        (agent.processes(), agent.health().await.phase),
        (0, AgentActivity::Idle)
    );
    agent.stop().await;
}

#[tokio::test]
async fn the_workload_ends_with_its_agent() {
    let mut agent = Agent::start().await;
    let generation = agent
        .run("trap '' TERM; sleep 300 & while :; do sleep 300; done")
        .await;
    agent.reported("it is ready", ready(generation)).await;
    agent.stop().await;
}

#[tokio::test]
async fn the_same_instruction_again_changes_nothing() {
    let mut agent = Agent::start().await;
    let message = agent.deploy("echo $$; exec sleep 300");
    for _ in 0..3 {
        let (status, body) = agent.instruct(routes::DEPLOY, &message).await;
        assert_eq!(
            (status, body),
            (StatusCode::ACCEPTED, json!({ "generation": 1 }))
        );
        agent.reported("it is ready", ready(Generation(1))).await;
    }
    let once = |log: &str| log.lines().count() == 1;
    agent.logged("/api/logs/acme/web", once).await;
    agent.stop().await;
}

#[tokio::test]
async fn numbers_below_what_was_seen_are_refused() {
    let mut agent = Agent::start().await;
    agent.run("exec sleep 300").await;
    let generation = agent.run("exec sleep 300").await;
    agent.reported("it is ready", ready(generation)).await;
    let with = |message: &Value, field: &str, value: Value| {
        let mut message = message.clone();
        message[field] = value;
        message
    };
    let message = agent.deploy("exec sleep 301");
    let cases = [
        ("wrong_agent", with(&message, "agent_id", "another".into())),
        ("stale_epoch", with(&message, "epoch", 1.into())),
        ("stale_generation", with(&message, "generation", 1.into())),
        (
            "generation_conflict",
            with(&message, "generation", 2.into()),
        ),
    ];
    for (code, message) in cases {
        let (status, body) = agent.instruct(routes::DEPLOY, &message).await;
        assert_eq!(
            (status, &body["code"]),
            (StatusCode::CONFLICT, &Value::from(code)),
            "{body}"
        );
    }
    let (status, body) = agent
        .instruct(routes::DEPLOY, &json!({ "agent_id": 1 }))
        .await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::BAD_REQUEST, &Value::from("invalid_body"))
    );
    let counts = [
        (CallRefusal::WrongAgent, 1),
        (CallRefusal::StaleEpoch, 1),
        (CallRefusal::StaleGeneration, 1),
        (CallRefusal::GenerationConflict, 1),
        (CallRefusal::InvalidBody, 1),
    ];
    agent.refused(&counts).await;
    let report = agent.reported("the second goes on", |_| true).await;
    assert_eq!((report.generation, report.restarts), (generation, 0));
    agent.stop().await;
}

#[tokio::test]
async fn only_the_reconcilers_own_words_count_and_only_once() {
    let mut agent = Agent::start().await;
    agent.address().await;
    let message = agent.deploy("exec sleep 300");
    let refused = async |message: &Value, headers: HeaderMap| {
        let (status, _, body) = agent.post(routes::DEPLOY, message, headers).await;
        let body: ErrorBody = serde_json::from_slice(&body).expect("an error");
        (status.as_u16(), body.code)
    };
    let code = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(
        refused(&message, HeaderMap::new()).await,
        code(401, "unsigned")
    );
    let stranger = Keypair::generate().expect("a key");
    let body = message.to_string();
    let signed_by = |key: &Keypair, time| -> HeaderMap {
        let signed = sign_request(
            key,
            "POST",
            routes::DEPLOY,
            body.as_bytes(),
            time,
            &unique(),
        );
        let pair = |(name, value): (&'static str, String)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(&value).expect("ASCII"),
            )
        };
        signed.into_iter().map(pair).collect()
    };
    let bad = code(401, "bad_signature");
    assert_eq!(refused(&message, signed_by(&stranger, now())).await, bad);
    let other = json!({ "agent_id": agent.id(), "epoch": 2, "generation": 9 });
    assert_eq!(refused(&other, signed_by(&agent.keypair, now())).await, bad);
    let for_undeploy = agent.signature(routes::UNDEPLOY, &message, "n1");
    assert_eq!(refused(&message, for_undeploy).await, bad);
    let old = now().minus(std::time::Duration::from_secs(130));
    let outside = code(401, "outside_window");
    assert_eq!(
        refused(&message, signed_by(&agent.keypair, old)).await,
        outside
    );
    let once = signed_by(&agent.keypair, now());
    let (status, _, _) = agent.post(routes::DEPLOY, &message, once.clone()).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(refused(&message, once).await, code(409, "replayed"));
    let counts = [
        (CallRefusal::Unsigned, 1),
        (CallRefusal::BadSignature, 3),
        (CallRefusal::OutsideWindow, 1),
        (CallRefusal::Replayed, 1),
    ];
    agent.refused(&counts).await;
    agent.stop().await;
}

#[tokio::test]
async fn logs_are_for_the_reconciler_and_bounded() {
    let mut agent = Agent::start().await;
    let generation = agent.run("seq 5000; exec sleep 300").await;
    agent.reported("it is ready", ready(generation)).await;
    let all = |log: &str| log == "5000\n";
    agent.logged("/api/logs/acme/web?lines=1", all).await;
    let lines = async |target: &str| {
        let (status, _, body) = agent.get(target).await;
        let text = String::from_utf8(body).expect("text");
        (
            status.as_u16(),
            text.lines().count(),
            text.lines().last().unwrap_or("").to_owned(),
        )
    };
    assert_eq!(
        lines("/api/logs/acme/web?lines=3").await,
        (200, 3, "5000".into())
    );
    assert_eq!(lines("/api/logs/acme/web").await, (200, 200, "5000".into()));
    assert_eq!(
        lines("/api/logs/acme/web?lines=100000").await,
        (200, 1000, "5000".into())
    );
    assert_eq!(lines("/api/logs/acme/web?lines=x").await.0, 400);
    assert_eq!(lines("/api/logs/acme/No_Name").await.0, 400);
    let url = format!("{}/api/logs/acme/web", agent.address().await);
    let answer = reqwest::Client::builder()
        .build()
        .expect("a client")
        .get(url)
        .send()
        .await;
    assert_eq!(answer.expect("answered").status(), StatusCode::UNAUTHORIZED);
    agent.stop().await;
}

#[tokio::test]
async fn what_one_deployment_printed_is_never_given_out_as_anothers() {
    let mut agent = Agent::start().await;
    let ours = agent.run("echo ours; exec sleep 300").await;
    agent.reported("it is ready", ready(ours)).await;
    agent
        .logged("/api/logs/acme/web", |log| log == "ours\n")
        .await;
    let mut theirs = agent.deploy("echo theirs; exec sleep 300");
    theirs["deployment"] = json!("other/web");
    theirs["secrets"] = json!([{ "name": "db", "env": "DB" }]);
    theirs["secrets_digest"] = json!("ab".repeat(32));
    let targets = ["acme/web", "other/web"].map(|of| {
        let target = format!("/api/logs/{of}");
        [format!("{target}?after="), target]
    });
    let (status, _) = agent.instruct(routes::DEPLOY, &theirs).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    // What another one left is not its own, whether it is told to run or waits for its secrets.
    for _ in 0..2 {
        for target in targets.as_flattened() {
            let (status, _, body) = agent.get(target).await;
            let text = String::from_utf8_lossy(&body);
            assert!(
                status == StatusCode::OK && !text.contains("ours"),
                "{target}: {text}"
            );
        }
        agent
            .reported("it waits", |report| {
                report.cause == Some(WorkloadCause::SecretsUnavailable)
            })
            .await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused() {
    let agent = Agent::start().await;
    let message = json!({ "agent_id": "x".repeat(300_000) });
    let headers = agent.signature(routes::DEPLOY, &message, "n1");
    let (status, _, _) = agent.post(routes::DEPLOY, &message, headers).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    agent.stop().await;
}
