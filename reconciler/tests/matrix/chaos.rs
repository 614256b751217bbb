//! Workers of one reconciler whose messages get lost, on providers in memory, and a count of what is live and open at
//! each change of the records and of the providers. The workers are the real ones and speak real HTTP; time is virtual.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use easyenclave_capacity::fake::FakeProvider;
use easyenclave_capacity::worker::{WorkerConfig, WorkerError, run_with};
use easyenclave_capacity::{LaunchRequest, ProvideError, Provider};
use easyenclave_schemas::records::{OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::wire::{PlatformConfig, Unit};
use easyenclave_schemas::{OrderId, Secret};
use easyenclave_store::{Batch, Space};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::launchers::KEY;
use crate::place::name;

/// The longest message that is passed on, in bytes.
const MESSAGE: usize = 2_000_000;

/// What is live and what is open.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Launches that are under way.
    pending: BTreeSet<String>,
    /// Machines that run, by worker.
    live: BTreeMap<usize, BTreeSet<OrderId>>,
    /// The most that there ever were of both together.
    pub(crate) most: usize,
    /// So often it was counted.
    pub(crate) counted: usize,
}

impl Tally {
    /// A change of the records.
    pub(crate) fn records(&mut self, batch: &Batch) {
        for (space, key, value) in batch.writes() {
            if space == Space::Orders {
                match value.is_some_and(is_pending_launch) {
                    true => self.pending.insert(key.to_owned()),
                    false => self.pending.remove(key),
                };
            }
        }
        self.count();
    }

    fn machines(&mut self, worker: usize, units: &[Unit]) {
        let live = units.iter().filter(|unit| unit.alive);
        let live = live.map(|unit| unit.order_id.clone()).collect();
        self.live.insert(worker, live);
        self.count();
    }

    /// Two machines of one order are two.
    fn count(&mut self) {
        let live: Vec<&OrderId> = self.live.values().flatten().collect();
        let made: BTreeSet<&str> = live.iter().map(|order| order.as_str()).collect();
        let open = self.pending.iter().filter(|o| !made.contains(o.as_str()));
        self.most = self.most.max(live.len() + open.count());
        self.counted += 1;
    }
}

fn is_pending_launch(record: &[u8]) -> bool {
    let order: OrderRecord = serde_json::from_slice(record).expect("a record");
    let is_launch = matches!(order.work, WorkRecord::Launch { .. });
    let held = [
        OrderPhase::Open,
        OrderPhase::Claimed,
        OrderPhase::Provisioning,
    ];
    is_launch && held.contains(&order.state)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The fake, counted after each change of it.
pub(crate) struct Counted {
    pub(crate) fake: FakeProvider,
    number: usize,
    tally: Arc<Mutex<Tally>>,
}

impl Counted {
    pub(crate) async fn note(&self) {
        let units = self.fake.list().await.expect("it sees");
        lock(&self.tally).machines(self.number, &units);
    }
}

#[async_trait]
impl Provider for Counted {
    async fn ensure(&self, request: &LaunchRequest) -> Result<(), ProvideError> {
        let made = self.fake.ensure(request).await;
        self.note().await;
        made
    }

    async fn remove(&self, order: &OrderId) -> Result<(), ProvideError> {
        let removed = self.fake.remove(order).await;
        self.note().await;
        removed
    }

    async fn remove_older(&self, order: &OrderId, fence: u64) -> Result<(), ProvideError> {
        let removed = self.fake.remove_older(order, fence).await;
        self.note().await;
        removed
    }

    async fn list(&self) -> Result<Vec<Unit>, ProvideError> {
        self.fake.list().await
    }

    async fn last_words(&self, order: &OrderId) -> Result<String, ProvideError> {
        self.fake.last_words(order).await
    }

    async fn console(&self, order: &OrderId) -> Result<String, ProvideError> {
        self.fake.console(order).await
    }
}

/// What comes of messages between a worker and the reconciler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// They arrive.
    Good,
    /// Questions get lost.
    Cut,
    /// Answers get lost.
    Deaf,
}

/// A worker, its provider, and the line between it and the reconciler.
pub(crate) struct Hand {
    pub(crate) provider: Arc<Counted>,
    config: WorkerConfig,
    line: Arc<AtomicU8>,
    worker: JoinHandle<Result<(), WorkerError>>,
    _gate: JoinHandle<()>,
}

impl Hand {
    pub(crate) async fn start(number: usize, reconciler: &str, tally: &Arc<Mutex<Tally>>) -> Self {
        let line = Arc::new(AtomicU8::new(Line::Good as u8));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let gate = Gate {
            line: Arc::clone(&line),
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
            reconciler: reconciler.to_owned(),
        };
        let router = Router::new().fallback(pass_on).with_state(gate);
        let gate =
            tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        let provider = Arc::new(Counted {
            fake: FakeProvider::default(),
            number,
            tally: Arc::clone(tally),
        });
        let config = config(&url, &format!("worker-{number}"));
        let worker = work(&provider, &config);
        Self {
            provider,
            config,
            line,
            worker,
            _gate: gate,
        }
    }

    pub(crate) fn is(&self, line: Line) {
        self.line.store(line as u8, Ordering::SeqCst);
    }

    /// The worker is killed and started again: it has forgotten everything but its name.
    pub(crate) fn restart(&mut self) {
        self.worker.abort();
        self.worker = work(&self.provider, &self.config);
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.worker.abort();
        self._gate.abort();
    }
}

fn work(provider: &Arc<Counted>, config: &WorkerConfig) -> JoinHandle<Result<(), WorkerError>> {
    let provider = Arc::clone(provider) as Arc<dyn Provider>;
    let config = config.clone();
    tokio::spawn(async move { run_with(provider, &config, std::future::pending()).await })
}

fn config(url: &str, worker: &str) -> WorkerConfig {
    let nowhere = Path::new("/nowhere");
    WorkerConfig {
        reconciler_url: url.into(),
        launcher_key: Secret::new(KEY.into()),
        worker_id: name(worker),
        provider: name("local"),
        datacenter: name("local"),
        fleet: None,
        project: None,
        node_size: None,
        data_dir: nowhere.into(),
        platform: PlatformConfig::Simulated {
            dir: nowhere.into(),
            image: None,
        },
        trust_authority: None,
        agent_program: nowhere.into(),
        agent_args: Vec::new(),
        one_shot: false,
        max_orders: 0,
        stop_units_on_exit: false,
    }
}

#[derive(Clone)]
struct Gate {
    line: Arc<AtomicU8>,
    http: reqwest::Client,
    reconciler: String,
}

async fn pass_on(State(gate): State<Gate>, request: Request) -> Response<Body> {
    let is = |line: Line| gate.line.load(Ordering::SeqCst) == line as u8;
    if is(Line::Cut) {
        return lost();
    }
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MESSAGE).await.expect("a message");
    let call = gate
        .http
        .post(format!("{}{}", gate.reconciler, head.uri.path()));
    let answer = call
        .headers(head.headers)
        .body(body)
        .send()
        .await
        .expect("an answer");
    let status = answer.status();
    let body = answer.bytes().await.expect("a body");
    match is(Line::Good) {
        true => Response::builder()
            .status(status)
            .body(Body::from(body))
            .expect("a response"),
        false => lost(),
    }
}

fn lost() -> Response<Body> {
    let response = Response::builder().status(StatusCode::BAD_GATEWAY);
    response.body(Body::empty()).expect("a response")
}
