//! A Cloudflare on this machine, for tests: real HTTP on a port of 127.0.0.1, the paths, envelopes and codes of the real one as far
//! as tunnels and records go, and its faults as values. It knows nothing of the client, and writes down all that is said.

mod answers;
mod faults;
mod records;
mod state;
mod tunnels;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Query, State as Shared};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use answers::Answer;
pub use faults::{Fault, Verb};
use state::{Hold, State};

/// The account of the tests.
pub const ACCOUNT: &str = "699d98642c564d2e855e9661899b7252";

/// Their zone's id.
pub const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

/// Their zone's name.
pub const ZONE_NAME: &str = "example.com";

/// What who asks has to show.
pub const TOKEN: &str = "api-token-of-the-tests-0123456789abcdef";

/// The longest body that it reads, in bytes.
const BODY: usize = 1 << 20;

/// One request and what was answered.
#[derive(Debug, Clone)]
pub struct Said {
    /// The method, such as `GET`.
    pub method: String,
    /// The path below the API's own, such as `/zones/…/dns_records`.
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

impl Said {
    /// Whether it asks for a change.
    pub fn is_change(&self) -> bool {
        self.method != "GET"
    }

    fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A request that is kept waiting, from when it arrives until this is dropped.
#[derive(Debug)]
pub struct Held {
    arrived: oneshot::Receiver<()>,
    _go: oneshot::Sender<()>,
}

impl Held {
    /// Waits for the request.
    ///
    /// # Panics
    /// When the server ends before.
    pub async fn arrived(&mut self) {
        (&mut self.arrived).await.expect("the server runs");
    }
}

/// The Cloudflare; it ends when this is dropped.
pub struct Server {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Server {
    /// Starts one that has nothing.
    pub async fn start() -> Self {
        Self::with(State::default()).await
    }

    /// Starts one that answers about tunnels that never were, to whomever, as the SDK's own tests expect.
    pub async fn lenient() -> Self {
        let state = State {
            lenient: true,
            ..State::default()
        };
        Self::with(state).await
    }

    async fn with(state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
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

    /// Where its API is.
    pub fn api(&self) -> String {
        format!("http://{}{}", self.address, answers::BASE)
    }

    /// The next request of its kind meets this.
    pub fn meet(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// The next request of its kind, for this page, is kept waiting; those after it are not.
    pub fn hold(&self, verb: Verb, page: usize) -> Held {
        let ((arrives, arrived), (_go, goes)) = (oneshot::channel(), oneshot::channel());
        self.state().holds.push(Hold {
            verb,
            page,
            arrives,
            goes,
        });
        Held { arrived, _go }
    }

    /// A page of a listing holds no more than this.
    pub fn set_page(&self, size: usize) {
        self.state().page = size;
    }

    /// Whether filters of listings count for nothing: all that there is comes, deleted tunnels too.
    pub fn set_deaf(&self, deaf: bool) {
        self.state().deaf = deaf;
    }

    /// Whether every listing lacks its last entry, and says how many there are.
    pub fn set_short(&self, short: bool) {
        self.state().short = short;
    }

    /// After so many requests all are too many.
    pub fn set_limit(&self, limit: Option<usize>) {
        self.state().limit = limit;
    }

    /// From now on nothing goes wrong, and listings have all there is.
    pub fn heal(&self) {
        self.state().heal();
    }

    /// Puts a tunnel there that nobody asked this for. Answers with its id.
    pub fn put_tunnel(&self, name: &str) -> String {
        self.state().put_tunnel(name, "cloudflare")
    }

    /// The same for one whose rules are on its machine.
    pub fn put_local_tunnel(&self, name: &str) -> String {
        self.state().put_tunnel(name, "local")
    }

    /// A tunnel with this id is deleted, as by a person.
    pub fn delete_tunnel(&self, id: &str) {
        self.state().set_deleted(id);
    }

    /// Puts a record there. Answers with its id.
    pub fn put_record(
        &self,
        kind: &str,
        name: &str,
        content: &str,
        comment: Option<&str>,
    ) -> String {
        self.state().put_record(kind, name, content, comment)
    }

    /// A field of a record becomes this, as when somebody changes it by hand.
    pub fn set_record(&self, id: &str, field: &str, value: Value) {
        self.state().set_record(id, field, value);
    }

    /// A field of a tunnel's configuration becomes this, as when somebody changes it by hand.
    pub fn set_config(&self, id: &str, field: &str, value: Value) {
        self.state().set_config(id, field, value);
    }

    /// The connectors of the tunnels with this name connect or go.
    pub fn connect(&self, name: &str, is_connected: bool) {
        self.state().connect(name, is_connected, 0);
    }

    /// They connect, and come back so many times when they are dropped.
    pub fn connect_stubbornly(&self, name: &str, times: u32) {
        self.state().connect(name, true, times);
    }

    /// The id of the tunnel with this name that is there.
    pub fn tunnel_id(&self, name: &str) -> Option<String> {
        self.state().find(name).map(|tunnel| tunnel.id.clone())
    }

    /// All tunnels, with their rules, deleted ones too.
    pub fn tunnels(&self) -> Vec<Value> {
        self.state().dump()
    }

    /// All records.
    pub fn records(&self) -> Vec<Value> {
        self.state().records.clone()
    }

    /// Everything with one of these ids, as text to compare.
    pub fn shown(&self, ids: &BTreeSet<String>) -> String {
        let all = self.tunnels().into_iter().chain(self.records());
        let those = all.filter(|one| one["id"].as_str().is_some_and(|id| ids.contains(id)));
        those.map(|one| format!("{one}\n")).collect()
    }

    /// Names and contents of the records, and the names of tunnels that are there.
    pub fn summary(&self) -> Vec<String> {
        let state = self.state();
        let there = state.tunnels.iter().filter(|tunnel| !tunnel.deleted);
        let mut lines: Vec<String> = there
            .map(|tunnel| format!("tunnel {}", tunnel.name))
            .collect();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        lines.extend(state.records.iter().map(|record| {
            let content = text(&record["content"]);
            let to = state
                .tunnels
                .iter()
                .find(|tunnel| content.starts_with(&tunnel.id));
            let to = to.map_or(content.clone(), |tunnel| tunnel.name.clone());
            format!("{} -> {to}", text(&record["name"]))
        }));
        lines.sort();
        lines
    }

    /// All that was said so far.
    pub fn said(&self) -> Vec<Said> {
        self.state().said.clone()
    }

    /// The changes that were asked for so far, such as `DELETE /zones/…/dns_records/…`.
    pub fn changes(&self) -> Vec<String> {
        let said = self.said().into_iter().filter(Said::is_change);
        said.map(|said| format!("{} {}", said.method, said.path))
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(Shared(state): Shared<Arc<Mutex<State>>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY).await.unwrap_or_default();
    let query = Query::<Vec<(String, String)>>::try_from_uri(&head.uri);
    let token = head.headers.get(header::AUTHORIZATION);
    let is_known = token.is_some_and(|token| *token == *format!("Bearer {TOKEN}"));
    let path = head.uri.path();
    let mut said = Said {
        method: head.method.to_string(),
        path: path.strip_prefix(answers::BASE).unwrap_or("").to_owned(),
        query: query.map(|query| query.0).unwrap_or_default(),
        body: serde_json::from_slice(&body).ok(),
        status: 0,
        answer: Value::Null,
    };
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let hold = lock().hold(&said);
    if let Some(hold) = hold {
        let _ = hold.arrives.send(());
        let _ = hold.goes.await;
    }
    let mut state = lock();
    let answer = state.answer(&said, is_known);
    said.status = answer.status;
    said.answer = answer.body.clone();
    state.said.push(said);
    drop(state);
    match answer.lost {
        true => broken(),
        false => whole(&answer),
    }
}

fn whole(answer: &Answer) -> Response {
    let code = StatusCode::from_u16(answer.status).expect("a status");
    let mut response = Response::builder().status(code);
    response = response.header(header::CONTENT_TYPE, "application/json");
    if let Some(seconds) = answer.retry_after {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    let body = Body::from(answer.body.to_string());
    response.body(body).expect("an answer")
}

/// An answer that breaks off before it says anything.
fn broken() -> Response {
    let cut = std::io::Error::other("the connection is cut");
    let nothing = futures_util::stream::iter([Err::<Vec<u8>, _>(cut)]);
    Response::new(Body::from_stream(nothing))
}
