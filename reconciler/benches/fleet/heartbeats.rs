//! Signed heartbeats of every agent, sent over loopback.

use std::net::SocketAddr;
use std::time::Duration;

use easyenclave::clock::{Clock, System};
use easyenclave_schemas::signature::{sign_request, sign_response, verify_request};
use easyenclave_schemas::wire::{
    CallRefusals, HeartbeatRequest, WorkloadReport, WorkloadState, routes,
};
use easyenclave_schemas::{Generation, OrderId, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::DEPLOYMENTS;
use crate::reconciler::{OWN, time_of};
use crate::setup::{Setup, workload};

const ROUNDS: u64 = 3;
const CONNECTIONS: usize = 16;

/// Sends the requests over a few connections, each in its order, and expects each to be taken.
pub(crate) async fn send_all(address: SocketAddr, requests: Vec<Vec<u8>>) {
    let mut shares: Vec<Vec<Vec<u8>>> = (0..CONNECTIONS).map(|_| Vec::new()).collect();
    for (index, request) in requests.into_iter().enumerate() {
        shares[index % CONNECTIONS].push(request);
    }
    let sends = shares.into_iter().map(|share| send(address, share));
    futures_util::future::join_all(sends).await;
}

/// Signed exchanges in a second of processor time, with nothing else around them: a request verified and its
/// answer signed. No server can take more heartbeats than this.
pub(crate) fn bare(setup: &Setup) -> f64 {
    let (key, now, count) = (&setup.key, System.now(), 30_000_u32);
    let body = serde_json::to_vec(&beat(1, 0)).expect("plain data");
    let path = routes::heartbeat(&setup.orders[0].agent());
    let signed = sign_request(key, "POST", &path, &body, now, "n");
    let headers = signed
        .into_iter()
        .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("text")))
        .collect();
    let window = Duration::from_secs(60);
    let started = time_of(OWN);
    for _ in 0..count {
        let verified = verify_request(&key.public(), "POST", &path, &body, &headers, now, window);
        sign_response(key, 200, &body, &verified.expect("genuine"), now);
    }
    f64::from(count) / (time_of(OWN) - started).as_secs_f64()
}

/// Signed in advance, in the order in which an agent would send them.
pub(crate) fn requests(setup: &Setup) -> Vec<Vec<u8>> {
    let now = System.now();
    let mut requests = Vec::new();
    for sequence in 1..=ROUNDS {
        for (slot, order) in setup.orders.iter().enumerate() {
            let body = serde_json::to_vec(&beat(sequence, slot)).expect("plain data");
            requests.push(request(setup, order, &body, now, requests.len()));
        }
    }
    requests
}

fn beat(sequence: u64, slot: usize) -> HeartbeatRequest {
    let version = easyenclave::revision::WorkloadVersion {
        workload: workload(),
        health: None,
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
        }),
        refusals: CallRefusals::default(),
    }
}

fn request(setup: &Setup, order: &OrderId, body: &[u8], now: Timestamp, nonce: usize) -> Vec<u8> {
    let path = routes::heartbeat(&order.agent());
    let headers = sign_request(&setup.key, "POST", &path, body, now, &format!("n{nonce}"));
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn send(address: SocketAddr, requests: Vec<Vec<u8>>) {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.set_nodelay(true).expect("set");
    let mut buffer = vec![0; 16 * 1024];
    for request in requests {
        stream.write_all(&request).await.expect("sent");
        let read = stream.read(&mut buffer).await.expect("answered");
        let answer = String::from_utf8_lossy(&buffer[..read]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
