//! A reconciler that says what a test wants, and remembers what it was told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use easyenclave_capacity::conformance::request;
use easyenclave_schemas::wire::{
    ClaimRequest, ClaimResponse, ErrorBody, InventoryRequest, InventoryResponse, Order,
    OrderStatus, OrderUpdate, OrderWork, routes,
};
use easyenclave_schemas::{Epoch, OrderId, Secret, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(crate) const KEY: &str = "launcher-key";

/// What the reconciler says next, and what it was told.
#[derive(Default)]
pub(crate) struct Script {
    /// Orders to give out.
    pub(crate) orders: VecDeque<Order>,
    /// How each order stands; a code of a refusal after a `!`.
    pub(crate) standing: BTreeMap<OrderId, String>,
    /// Every answer is 503 while this is set.
    pub(crate) down: bool,
    /// The answer to a launch's failure, where its agent has joined before it was heard of.
    pub(crate) joined: bool,
    /// Every answer to a report is 503 while this is set.
    pub(crate) deaf: bool,
    /// The epoch of answers to reports; an older reconciler gives none.
    pub(crate) epoch: Option<Epoch>,
    /// How many were answered with 503.
    turned_away: usize,
    pub(crate) claims: Vec<ClaimRequest>,
    pub(crate) updates: Vec<(OrderId, OrderUpdate)>,
    pub(crate) listings: Vec<InventoryRequest>,
    /// The answer to listings; an older reconciler has none.
    pub(crate) inventory: Option<InventoryResponse>,
}

/// The bootstrap token of every launch.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

pub(crate) struct Reconciler {
    pub(crate) url: String,
    script: Arc<Mutex<Script>>,
    server: JoinHandle<()>,
}

impl Reconciler {
    pub(crate) async fn start() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let router = Router::new()
            .route(routes::CLAIM, post(claim))
            .route(routes::INVENTORY, post(inventory))
            .route("/api/v1/launchers/capacity/orders/{order}", post(update))
            .with_state(Arc::clone(&script));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server =
            tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self {
            url,
            script,
            server,
        }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no panic holds it")
    }

    /// Offers a launch.
    pub(crate) fn launch(&self, name: &str) -> OrderId {
        self.offer(name, OrderWork::Launch(request(name, 4).spec), 1)
    }

    /// Offers a retirement.
    pub(crate) fn retire(&self, unit: &str) -> OrderId {
        let unit = OrderId::new(unit).expect("a name");
        self.offer(&format!("{unit}-x"), OrderWork::Retire { unit }, 1)
    }

    pub(crate) fn offer(&self, name: &str, work: OrderWork, epoch: u64) -> OrderId {
        let made_by = request(name, 4);
        let order = Order {
            order_id: made_by.order.clone(),
            fleet_id: made_by.fleet,
            datacenter: made_by.datacenter,
            provider: "local".parse().expect("a name"),
            epoch: Epoch(epoch),
            fence: 3,
            claim_expires_at: Timestamp::default(),
            worker_lost_after_millis: Some(600_000),
            work,
        };
        self.script().orders.push_back(order);
        made_by.order
    }

    pub(crate) fn stands(&self, order: &OrderId, standing: &str) {
        self.script()
            .standing
            .insert(order.clone(), standing.into());
    }

    /// Waits until so many more calls were answered with 503.
    pub(crate) async fn turned_away(&self, more: usize) {
        let enough = self.script().turned_away + more;
        let so_many = |script: &Script| (script.turned_away >= enough).then_some(());
        self.until("it calls while nobody listens", so_many).await;
    }

    /// Waits until the reconciler was told what is looked for.
    pub(crate) async fn until<T>(&self, what: &str, find: impl Fn(&Script) -> Option<T>) -> T {
        // After an outage a worker may pause for 22.5 s. Where time is the test's own this costs nothing.
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = find(&self.script()) {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: {:?}",
                self.script().updates
            );
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Shared = State<Arc<Mutex<Script>>>;

fn refuse(status: StatusCode, code: &str) -> Response {
    (status, Json(ErrorBody::new(code, "as the test says"))).into_response()
}

fn denied(script: &mut Script, headers: &HeaderMap) -> Option<Response> {
    let shown = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    if shown != Some(&format!("Bearer {KEY}")) {
        return Some(refuse(StatusCode::FORBIDDEN, "invalid_launcher_key"));
    }
    script.down.then(|| unavailable(script))
}

fn unavailable(script: &mut Script) -> Response {
    script.turned_away += 1;
    refuse(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
}

async fn claim(
    State(script): Shared,
    headers: HeaderMap,
    Json(request): Json<ClaimRequest>,
) -> Response {
    let order = {
        let mut script = script.lock().expect("no panic holds it");
        if let Some(denied) = denied(&mut script, &headers) {
            return denied;
        }
        script.claims.push(request);
        script.orders.pop_front()
    };
    if order.is_none() {
        sleep(Duration::from_millis(20)).await;
    }
    let launch = order
        .as_ref()
        .is_some_and(|order| matches!(order.work, OrderWork::Launch(_)));
    Json(ClaimResponse {
        claimed: order.is_some(),
        order,
        bootstrap_token: launch.then(|| Secret::new(TOKEN.into())),
    })
    .into_response()
}

async fn update(
    State(script): Shared,
    Path(order): Path<OrderId>,
    headers: HeaderMap,
    Json(update): Json<OrderUpdate>,
) -> Response {
    let mut script = script.lock().expect("no panic holds it");
    if let Some(denied) = denied(&mut script, &headers) {
        return denied;
    }
    if script.deaf {
        return unavailable(&mut script);
    }
    let ended = match update.status {
        easyenclave_schemas::wire::OrderReport::Provisioning => None,
        easyenclave_schemas::wire::OrderReport::Removed => Some("fulfilled"),
        easyenclave_schemas::wire::OrderReport::Failed if script.joined => Some("fulfilled"),
        easyenclave_schemas::wire::OrderReport::Failed => Some("failed"),
    };
    script.updates.push((order.clone(), update));
    let told = script
        .standing
        .get(&order)
        .map_or("provisioning", String::as_str);
    if let Some(code) = told.strip_prefix('!') {
        let body = ErrorBody {
            epoch: script.epoch,
            ..ErrorBody::new(code, "as the test says")
        };
        return (StatusCode::CONFLICT, Json(body)).into_response();
    }
    let status = ended.unwrap_or(told).to_owned();
    Json(OrderStatus {
        order_id: order,
        status,
        claim_expires_at: None,
        epoch: script.epoch,
    })
    .into_response()
}

async fn inventory(
    State(script): Shared,
    headers: HeaderMap,
    Json(listing): Json<InventoryRequest>,
) -> Response {
    let mut script = script.lock().expect("no panic holds it");
    if let Some(denied) = denied(&mut script, &headers) {
        return denied;
    }
    script.listings.push(listing);
    match &script.inventory {
        Some(answer) => Json(answer).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}
