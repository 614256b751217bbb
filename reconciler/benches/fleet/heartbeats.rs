//! Signed heartbeats of every agent, sent over loopback.

use std::net::SocketAddr;

use easyenclave::clock::{Clock, System};
use easyenclave_schemas::signature::{Session, SessionOffer, Signs, sign_request};
use easyenclave_schemas::wire::{
    CallRefusals, HeartbeatRequest, HeartbeatResponse, WorkloadReport, WorkloadState, routes,
};
use easyenclave_schemas::{Generation, OrderId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::DEPLOYMENTS;
use crate::setup::{Setup, workload};

const ROUNDS: u64 = 3;
const CONNECTIONS: usize = 16;

/// Sends the requests over a few connections, each in its order, and expects each to be taken. Answers the bodies of
/// the answers, in the order of the requests.
pub(crate) async fn send_all(address: SocketAddr, requests: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let count = requests.len();
    let mut shares: Vec<Vec<Vec<u8>>> = (0..CONNECTIONS).map(|_| Vec::new()).collect();
    for (index, request) in requests.into_iter().enumerate() {
        shares[index % CONNECTIONS].push(request);
    }
    let sends = shares.into_iter().map(|share| send(address, share));
    let mut answers = futures_util::future::join_all(sends).await;
    let answer =
        |index: usize| std::mem::take(&mut answers[index % CONNECTIONS][index / CONNECTIONS]);
    (0..count).map(answer).collect()
}

/// The first heartbeat of every agent: signed with its own key, it asks for a session.
pub(crate) fn first(setup: &Setup) -> (Vec<SessionOffer>, Vec<Vec<u8>>) {
    let orders = setup.orders.iter().enumerate();
    let asking = orders.map(|(slot, order)| {
        let offer = SessionOffer::new().expect("randomness");
        let mut beat = beat(1, slot);
        beat.session = Some(offer.public().to_owned());
        (offer, request(&*setup.key, order, &beat, slot))
    });
    asking.unzip()
}

/// The sessions that the answers to the first heartbeats give.
pub(crate) fn sessions(
    setup: &Setup,
    offers: Vec<SessionOffer>,
    answers: &[Vec<u8>],
) -> Vec<Session> {
    let session = |(offer, answer): (SessionOffer, &Vec<u8>)| {
        let answer: HeartbeatResponse = serde_json::from_slice(answer).expect("an answer");
        let half = answer.session.expect("a session");
        offer.asked(&half, &setup.key.public()).expect("a session")
    };
    offers.into_iter().zip(answers).map(session).collect()
}

/// Signed in advance in the agents' sessions, in the order in which an agent would send them.
pub(crate) fn requests(setup: &Setup, sessions: &[Session]) -> Vec<Vec<u8>> {
    let rounds = (2..=ROUNDS + 1).flat_map(|sequence| {
        let agents = setup.orders.iter().zip(sessions).enumerate();
        agents.map(move |(slot, (order, session))| {
            request(session, order, &beat(sequence, slot), slot)
        })
    });
    rounds.collect()
}

fn beat(sequence: u64, slot: usize) -> HeartbeatRequest {
    let version = easyenclave::revision::WorkloadVersion {
        workload: workload(),
        health: None,
        secrets: Vec::new(),
        secrets_digest: None,
    }
    .digest();
    let slot = u32::try_from(slot).expect("small");
    HeartbeatRequest {
        sequence,
        boot_id: "boot".into(),
        address: "http://127.0.0.1:9".into(),
        generation: Generation(1),
        workload: Some(WorkloadReport {
            generation: Generation(1),
            deployment: format!("acme/d{}", slot % DEPLOYMENTS)
                .parse()
                .expect("a name"),
            workload: version,
            state: WorkloadState::Ready,
            restarts: 0,
            message: String::new(),
            url: Some("http://127.0.0.1:9".into()),
            serving: None,
            cause: None,
            images: Vec::new(),
            services: Vec::new(),
        }),
        refusals: CallRefusals::default(),
        session: None,
        connector: None,
        runtimes: None,
    }
}

fn request(key: &impl Signs, order: &OrderId, beat: &HeartbeatRequest, nonce: usize) -> Vec<u8> {
    let body = serde_json::to_vec(beat).expect("plain data");
    let path = routes::heartbeat(&order.agent());
    let headers = sign_request(
        key,
        "POST",
        &path,
        &body,
        System.now(),
        &format!("n{nonce}"),
    );
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

async fn send(address: SocketAddr, requests: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.set_nodelay(true).expect("set");
    let mut buffer = vec![0; 16 * 1024];
    let mut bodies = Vec::with_capacity(requests.len());
    for request in requests {
        stream.write_all(&request).await.expect("sent");
        let read = stream.read(&mut buffer).await.expect("answered");
        let answer = &buffer[..read];
        let text = String::from_utf8_lossy(answer);
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        let head = text.find("\r\n\r\n").expect("a whole head");
        bodies.push(answer[head + 4..].to_vec());
    }
    bodies
}
