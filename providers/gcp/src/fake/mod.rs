//! A Compute Engine on this machine, for tests: real HTTP on a port of 127.0.0.1, the paths, fields and states of the real
//! one as far as machines go, and its faults as values. It knows nothing of the provider, and writes down all that is said.

mod answers;
mod faults;
mod filter;
mod state;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State as Shared;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use answers::Answer;
pub use faults::{Fault, Verb};
use state::State;

/// The longest body that it reads, in bytes.
const BODY: usize = 1 << 20;

/// One request and what was answered.
#[derive(Debug, Clone)]
pub struct Said {
    /// The method, such as `GET`.
    pub method: String,
    /// The path, such as `/compute/v1/projects/p/aggregated/instances`.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The request's body, if it had one.
    pub body: Option<Value>,
    /// The answer's status.
    pub status: u16,
    /// The answer's body.
    pub answer: Value,
}

/// The Compute Engine; it ends when this is dropped.
pub struct Fake {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Fake {
    /// Starts one with these zones.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start(zones: &[&str]) -> Self {
        let state = Arc::new(Mutex::new(State::new(zones)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let app = Router::new().fallback(serve).with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("served");
        });
        Self {
            state,
            address,
            server,
        }
    }

    /// Where it answers, such as `http://127.0.0.1:40001`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request of its kind meets this.
    pub fn meet(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Listings lack something from now on, and say so in this way; none when they are whole again.
    pub fn set_partial(&self, partial: Option<Partial>) {
        self.state().partial = partial;
    }

    /// A page of a listing holds no more than this.
    pub fn set_page(&self, size: usize) {
        self.state().page = size;
    }

    /// Listings lack these names without a word.
    pub fn hide(&self, names: &[&str]) {
        self.state().hidden = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// From now on nothing goes wrong, listings have all there is, and what never ended goes on.
    pub fn heal(&self) {
        self.state().heal();
    }

    /// There is no room for this kind of machine in this zone from now on.
    pub fn fill(&self, zone: &str, shape: &str) {
        self.state().full.insert((zone.into(), shape.into()));
    }

    /// Puts a machine there that nobody asked this for. Answers with its number.
    pub fn put(&self, zone: &str, machine: Value) -> u64 {
        self.state().put(zone, machine)
    }

    /// A machine's status becomes this, as when it is taken away.
    pub fn set_status(&self, name: &str, status: &str) {
        self.state().set(name, "status", &status.into());
    }

    /// A machine's labels become these, as when somebody changes them by hand.
    pub fn set_labels(&self, name: &str, labels: &Value) {
        self.state().set(name, "labels", labels);
    }

    /// What a machine has written to its serial port.
    pub fn set_serial(&self, name: &str, text: &str) {
        self.state().serial.insert(name.into(), text.into());
    }

    /// All machines that exist.
    pub fn machines(&self) -> Vec<Value> {
        self.state().machines()
    }

    /// How many operations on machines of this name are not over.
    pub fn under_way(&self, name: &str) -> usize {
        self.state().under_way(name)
    }

    /// All that was said so far.
    pub fn said(&self) -> Vec<Said> {
        self.state().said.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// How a listing says that it is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partial {
    /// It names places that cannot be reached.
    Unreachable,
    /// It warns as a whole.
    Warning,
    /// It warns within one zone.
    InZone,
}

async fn serve(Shared(state): Shared<Arc<Mutex<State>>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY).await.unwrap_or_default();
    let query = head.uri.query().unwrap_or_default();
    let mut said = Said {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: decode(query),
        body: serde_json::from_slice(&body).ok(),
        status: 0,
        answer: Value::Null,
    };
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let (Answer { status, body }, lost) = state.answer(&said);
    said.status = status;
    said.answer = body.clone();
    state.said.push(said);
    drop(state);
    match lost {
        true => broken(),
        false => whole(status, &body),
    }
}

fn whole(status: u16, body: &Value) -> Response {
    let code = StatusCode::from_u16(status).expect("a status");
    let answer = Response::builder().status(code);
    let answer = answer.header(header::CONTENT_TYPE, "application/json");
    answer
        .body(Body::from(body.to_string()))
        .expect("an answer")
}

/// An answer that breaks off before it says anything.
fn broken() -> Response {
    let cut = std::io::Error::other("the connection is cut");
    let nothing = futures_util::stream::iter([Err::<Vec<u8>, _>(cut)]);
    Response::new(Body::from_stream(nothing))
}

/// The names and values of a query.
fn decode(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let decoded = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (plain(name), plain(value))
    });
    decoded.collect()
}

/// A text without the escapes of a URL.
fn plain(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        let hex = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(match (hex, byte) {
            (Some(byte), _) => byte,
            (None, b'+') => b' ',
            (None, byte) => *byte,
        });
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}
