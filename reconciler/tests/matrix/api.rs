//! What a caller sees: refusals with a stable code and a safe sentence, an acceptance with the fields of the
//! protocol and no others, and a policy that nobody can read.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use easyenclave::api;
use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::evidence::{MeasurementDigest, ReasonCode};
use easyenclave_schemas::signature::{Signs, sign_request};
use easyenclave_schemas::wire::{
    CallRefusals, HeartbeatRequest, RegisterRequest, WorkloadReport, WorkloadState, routes,
};
use easyenclave_schemas::{Digest, Generation};
use reqwest::header::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::place::{Agent, Mood, Place};

/// The nonce of each message.
pub(crate) const NONCE: &str = "n1";

/// The API of a place on a port of its own.
pub(crate) struct Served {
    pub(crate) url: String,
    server: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) async fn serve(place: &Place) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let world = Arc::clone(&place.world);
    let server = tokio::spawn(async move {
        api::serve(listener, world, None).await;
    });
    Served { url, server }
}

/// Registers over HTTP. Answers the status and the body.
async fn register(served: &Served, agent: &Agent, request: &RegisterRequest) -> (u16, Value) {
    post(served, agent, routes::REGISTER, request).await
}

/// Sends a message that the agent signed. Answers the status and the body.
pub(crate) async fn post(
    served: &Served,
    agent: &Agent,
    path: &str,
    request: &impl Serialize,
) -> (u16, Value) {
    let (status, _, body) = send(served, &agent.key, path, request).await;
    (status, serde_json::from_slice(&body).expect("JSON"))
}

/// Sends a signed message. Answers the status, the headers and the body.
pub(crate) async fn send(
    served: &Served,
    key: &impl Signs,
    path: &str,
    request: &impl Serialize,
) -> (u16, HeaderMap, Vec<u8>) {
    let body = serde_json::to_vec(request).expect("plain data");
    let now = easyenclave::clock::Clock::now(&crate::place::SetClock::default());
    let signed = sign_request(key, "POST", path, &body, now, NONCE);
    deliver(served, path, signed, body).await
}

/// Sends a message with a signature that may be of another one.
pub(crate) async fn deliver(
    served: &Served,
    path: &str,
    signed: [(&'static str, String); 3],
    body: Vec<u8>,
) -> (u16, HeaderMap, Vec<u8>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .no_proxy();
    let mut call = client
        .build()
        .expect("a client")
        .post(format!("{}{path}", served.url))
        .header("content-type", "application/json");
    for (name, value) in signed {
        call = call.header(name, value);
    }
    let answer = call.body(body).send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.bytes().await.expect("a body").to_vec();
    (status, headers, body)
}

async fn honest(place: &Place, agent: &Agent) -> RegisterRequest {
    let nonce = place.nonce().await;
    place.request(agent, &nonce, place.evidence(agent, &nonce))
}

fn fields(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value
        .as_object()
        .expect("fields")
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn matrix_api_001_a_refusal_has_a_stable_code_and_a_safe_sentence() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let mut agent = place.agent().await;
    agent.body.mrtd = MeasurementDigest::new([9; 48]);
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let request = honest(&place, &agent).await;
        let (status, body) = register(&served, &agent, &request).await;
        assert_eq!(status, 403, "{body}");
        assert_eq!(fields(&body), ["code", "message", "request_id"]);
        assert_eq!(body["code"], "EE-ATT-014");
        for secret in [request.nonce.as_str(), request.bootstrap_token.reveal()] {
            assert!(!body.to_string().contains(secret), "{body}");
        }
        bodies.push(body);
    }
    assert_eq!(bodies[0], bodies[1], "the same fault has the same answer");
}

/// What is not the agent's fault is another status: it may come again.
#[tokio::test]
async fn matrix_api_001_what_is_nobodys_fault_may_be_tried_again() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let agent = place.agent().await;
    place.source.is(Mood::Unavailable);
    let (status, body) = register(&served, &agent, &honest(&place, &agent).await).await;
    assert_eq!(
        (status, &body["code"]),
        (503, &json!("EE-ATT-018")),
        "{body}"
    );
    assert!(
        !body.to_string().contains("the network is down"),
        "no internals: {body}"
    );
}

#[tokio::test]
async fn matrix_api_002_an_acceptance_has_the_fields_of_the_protocol() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let agent = place.agent().await;
    let request = honest(&place, &agent).await;
    let (status, body) = register(&served, &agent, &request).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        fields(&body),
        ["agent_id", "epoch", "heartbeat_millis", "verdict"]
    );
    assert_eq!(body["verdict"]["simulated"], true);
    for secret in [request.nonce.as_str(), request.bootstrap_token.reveal()] {
        assert!(!body.to_string().contains(secret), "{body}");
    }
}

/// An attested agent chooses where it is called, so no more than that.
#[tokio::test]
async fn matrix_api_001_an_address_that_is_no_origin_is_refused() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let agent = place.agent().await;
    for address in ["http://127.0.0.1:9/admin?x=", "file:///etc/passwd", ""] {
        let mut request = honest(&place, &agent).await;
        request.address = address.into();
        let (status, body) = register(&served, &agent, &request).await;
        assert_eq!(
            (status, &body["code"]),
            (400, &json!("invalid_body")),
            "{body}"
        );
    }
    let mut request = honest(&place, &agent).await;
    request.boot_id = "b".repeat(101);
    assert_eq!(register(&served, &agent, &request).await.0, 400);
}

#[tokio::test]
async fn matrix_api_002_a_heartbeat_says_where_an_agent_answers_and_no_more_than_that() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    let id = agent.order.agent();
    let beat = |sequence: u64, address: &str| HeartbeatRequest {
        sequence,
        boot_id: "boot".into(),
        address: address.into(),
        generation: Generation(0),
        workload: Some(WorkloadReport {
            generation: Generation(0),
            deployment: "acme/web".parse().expect("an id"),
            workload: Digest::of(b"x"),
            state: WorkloadState::Ready,
            restarts: 0,
            message: "m".repeat(5000),
            url: Some("javascript:alert(1)".into()),
            serving: None,
            cause: None,
            images: Vec::new(),
            services: Vec::new(),
        }),
        refusals: CallRefusals::default(),
        session: None,
        connector: None,
        runtimes: None,
    };
    let path = routes::heartbeat(&id);
    let known = || place.world.journal.read().agents[&id].address.clone();
    let (status, body) = post(&served, &agent, &path, &beat(1, "http://127.0.0.1:10")).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(known(), "http://127.0.0.1:10");
    let heard = place.world.presence.heard(&id).expect("heard");
    let workload = heard.workload.expect("a workload");
    assert_eq!((workload.message.len(), workload.url), (300, None));
    let (status, _) = post(&served, &agent, &path, &beat(1, "http://127.0.0.1:11")).await;
    assert_ne!(status, 200, "it was sent before");
    let (status, body) = post(&served, &agent, &path, &beat(2, "http://127.0.0.1:11/x")).await;
    assert_eq!(
        (status, &body["code"]),
        (400, &json!("invalid_body")),
        "{body}"
    );
    assert_eq!(known(), "http://127.0.0.1:10");
}

#[tokio::test]
async fn a_heartbeat_says_what_an_agent_can_run_by_now_and_one_of_before_says_nothing_of_it() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    let id = agent.order.agent();
    let path = routes::heartbeat(&id);
    let beat = |sequence: u64| json!({"sequence": sequence, "boot_id": "boot", "address": "http://127.0.0.1:9", "generation": 0});
    let known = || place.world.journal.read().agents[&id].runtimes.clone();
    let (usual, all) = (Runtime::usual(), Runtime::ALL.to_vec());
    assert_eq!(known(), usual);
    for (sequence, said, then) in [
        (
            1,
            json!(["compose", "process", "compose", "unikernel"]),
            &all,
        ),
        (2, json!(null), &all),
        (3, json!(["process"]), &usual),
    ] {
        let mut beat = beat(sequence);
        if !said.is_null() {
            beat["runtimes"] = said;
        }
        let (status, body) = post(&served, &agent, &path, &beat).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(known(), *then, "{sequence}");
    }
}

/// Begins a long registration and waits for an answer.
async fn half_a_body(address: String) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(&address).await.expect("connected");
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 1000000\r\n\r\n{{",
        routes::REGISTER
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 1000];
    let length = stream.read(&mut answer).await.expect("an answer");
    answer.truncate(length);
    (String::from_utf8_lossy(&answer).into_owned(), stream)
}

/// Long bodies are held in memory before anybody has proved anything.
#[tokio::test]
async fn matrix_api_001_many_long_bodies_at_a_time_are_refused_and_hold_up_no_short_one() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let agent = place.agent().await;
    let address = served.url.replace("http://", "");
    let mut senders = JoinSet::new();
    for _ in 0..33 {
        senders.spawn(half_a_body(address.clone()));
    }
    let (answer, _open) = senders.join_next().await.expect("33").expect("no panic");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let short = honest(&place, &agent).await;
    let (status, body) = register(&served, &agent, &short).await;
    assert_eq!(status, 200, "{body}");
}

/// A policy that contradicts itself, should it ever get past the check, refuses everybody.
#[tokio::test]
async fn matrix_api_003_a_policy_that_cannot_be_applied_refuses_with_its_code() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let agent = place.agent().await;
    let request = honest(&place, &agent).await;
    let mut spec = place.spec();
    spec.verifiers.dcap = None;
    place.adopt(spec);
    for _ in 0..2 {
        let (status, body) = register(&served, &agent, &request).await;
        assert_eq!(
            (status, &body["code"]),
            (403, &json!("EE-ATT-017")),
            "{body}"
        );
    }
    let told = crate::log::attempts(agent.order.as_str());
    assert!(
        told.iter()
            .all(|event| event["reason_code"] == "EE-ATT-017")
    );
    assert_eq!(told.len(), 2);
    assert!(
        place
            .world
            .metrics
            .text()
            .contains(ReasonCode::PolicyInvalid.code())
    );
}

/// A mode that nobody knows is refused before it is in force, by file, line and column; and where there is no
/// readable version of the policy, nobody is let in by it.
#[tokio::test]
async fn matrix_api_003_an_unknown_mode_is_refused_by_the_check_and_lets_nobody_in() {
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples-state/invalid/policy-mode");
    let output = Command::new(env!("CARGO_BIN_EXE_easyenclave"))
        .arg("check")
        .arg(&example)
        .output()
        .expect("runs");
    assert!(!output.status.success());
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("UTF-8");
    let place_of_it =
        "policies/simulated.yaml:13:10: `spec.modes.tcb`: expected one of strict, warn, disabled";
    assert!(said.contains(place_of_it), "{said}");

    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    let request = honest(&place, &agent).await;
    place.adopt_none();
    let rejection = place.register(request).await.expect_err("refused");
    assert_eq!(rejection.code, ReasonCode::PolicyInvalid);
}
