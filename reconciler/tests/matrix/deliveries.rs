//! What the reconciler believes of an agent's answers to its instructions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use easyenclave::clock::Clock;
use easyenclave::deliver;
use easyenclave_schemas::signature::{Keypair, PublicKey, sign_response, verify_request};
use easyenclave_schemas::wire::{CallRefusals, DeployAccepted, HeartbeatRequest};
use easyenclave_schemas::{AgentId, Generation};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::place::{Place, SetClock};

/// How an agent answers.
struct Answers {
    reconciler: PublicKey,
    /// Whose signature is under the answer.
    key: Option<Keypair>,
    generation: u64,
    clock: Arc<SetClock>,
    calls: AtomicU64,
}

/// Who signs an agent's answers.
#[derive(Clone, Copy)]
enum Signer {
    Nobody,
    Stranger,
    Agent,
}

async fn answer(
    State(answers): State<Arc<Answers>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answers.calls.fetch_add(1, Ordering::SeqCst);
    let generation = Generation(answers.generation);
    let taken = serde_json::to_vec(&DeployAccepted { generation }).expect("plain data");
    let (now, window) = (answers.clock.now(), Duration::from_secs(120));
    let request = verify_request(
        &answers.reconciler,
        "POST",
        uri.path(),
        &body,
        &headers,
        now,
        window,
    )
    .expect("signed by the reconciler");
    let mut response = (StatusCode::ACCEPTED, taken.clone()).into_response();
    if let Some(key) = &answers.key {
        let at = answers.clock.now();
        for (name, value) in sign_response(key, 202, &taken, &request, at) {
            let value = value.parse().expect("ASCII");
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// An agent that has joined, was heard of, and is to be instructed with generation 3.
async fn instructed(place: &Place, signer: Signer, generation: u64) -> (AgentId, Arc<Answers>) {
    let agent = place.agent().await;
    place.join(&agent).await.expect("it joins");
    let key = match signer {
        Signer::Nobody => None,
        Signer::Stranger => Some(Keypair::generate().expect("randomness")),
        Signer::Agent => Some(Keypair::from_pkcs8(agent.key.pkcs8().reveal()).expect("a key")),
    };
    let answers = Arc::new(Answers {
        reconciler: place.world.keypair.public(),
        key,
        generation,
        clock: Arc::clone(&place.clock),
        calls: AtomicU64::new(0),
    });
    let id = agent.order.agent();
    tell(place, &id, listen(&answers).await).await;
    let beat = HeartbeatRequest {
        sequence: 1,
        boot_id: "boot".into(),
        address: "http://127.0.0.1:9".into(),
        generation: Generation(0),
        workload: None,
        refusals: CallRefusals::default(),
        session: None,
        connector: None,
        runtimes: None,
    };
    place.world.presence.heartbeat(&id, beat, place.clock.now());
    (id, answers)
}

async fn listen(answers: &Arc<Answers>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let router = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(answers));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn tell(place: &Place, id: &AgentId, address: String) {
    let named = id.clone();
    let told = place.world.journal.transact(move |records, change| {
        let mut record = records.agents[&named].as_ref().clone();
        record.address = address;
        record.generation = Generation(3);
        change.put_agent(record);
        Ok::<_, ()>(())
    });
    told.await.expect("kept").expect("put");
}

/// Delivers until `over`, over pauses too.
async fn deliver_until(place: &Place, over: impl Fn() -> bool) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let changed = Arc::new(Notify::new());
    let delivery = tokio::spawn(deliver::run(Arc::clone(&place.world), Arc::clone(&changed)));
    let deadline = Instant::now() + Duration::from_secs(30);
    while !over() {
        assert!(Instant::now() < deadline, "waited in vain");
        place.clock.forward(Duration::from_secs(1));
        changed.notify_one();
        sleep(Duration::from_millis(10)).await;
    }
    delivery.abort();
}

#[tokio::test]
async fn only_the_agents_own_answer_of_this_instruction_is_believed() {
    let cases = [
        (Signer::Nobody, 3),
        (Signer::Stranger, 3),
        (Signer::Agent, 2),
    ];
    for (signer, generation) in cases {
        let place = Place::new(&json!({}));
        let (id, answers) = instructed(&place, signer, generation).await;
        let again = || answers.calls.load(Ordering::SeqCst) >= 3;
        deliver_until(&place, again).await;
        let heard = place.world.presence.heard(&id).expect("heard");
        assert_eq!((heard.acknowledged, heard.sequence), (Generation(0), 1));
    }
}

#[tokio::test]
async fn an_answer_counts_for_no_more_than_what_was_sent() {
    for generation in [3, u64::MAX] {
        let place = Place::new(&json!({}));
        let (id, _answers) = instructed(&place, Signer::Agent, generation).await;
        let known = || place.world.presence.heard(&id).expect("heard").acknowledged;
        deliver_until(&place, || known() > Generation(0)).await;
        assert_eq!(known(), Generation(3));
    }
}
