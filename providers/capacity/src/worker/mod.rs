//! The worker: claims orders, has its provider carry them out, and lists what there is. It keeps nothing but its
//! own name; what it held before a restart, the reconciler gives it again, and the provider finds what exists.

mod client;
mod inventory;
mod launch;
mod lease;
mod leave;
mod name;
mod orders;
mod pace;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use easyenclave_schemas::wire::{ClaimRequest, ClaimResponse, OrderWork, WorkKind};
use easyenclave_schemas::{Epoch, OrderId, WorkerId};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep};

pub use crate::config::WorkerConfig;
use crate::process::ProcessProvider;
use crate::{ProvideError, Provider};
pub use client::KeyNotSendable;
use client::{CallError, Client};
pub use name::worker_id;
use pace::Pace;

/// So many units are made at a time, and so many removed. A unit that was made and has yet to join takes no place, nor
/// does one that cannot be removed, between two tries.
const AT_ONCE: usize = 8;

/// So many orders of each kind are in hand at most. Each is a small task that mostly waits, and an id in every claim.
const IN_HAND: usize = 256;

/// How long the reconciler is asked to wait for an order.
const WAIT: Duration = Duration::from_secs(20);

/// The same while only one kind of order is asked for: an order of the other kind may be over any moment.
const WAIT_FOR_ONE_KIND: Duration = Duration::from_secs(1);

/// The pause after an answer without an order, in case the reconciler does not wait.
const NOTHING: Duration = Duration::from_millis(200);

/// The pause after an order that cannot be taken: it is offered again at once.
const NOT_TAKEN: Duration = Duration::from_secs(5);

/// Why a worker ends.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The provider cannot be set up, or units cannot be removed.
    #[error("provider of the worker")]
    Provider(#[from] ProvideError),
    /// Its name cannot be kept.
    #[error("worker id in {}", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The launcher key cannot be sent.
    #[error(transparent)]
    Key(#[from] KeyNotSendable),
    /// No HTTP client can be made.
    #[error("HTTP client of the worker")]
    Client(#[from] reqwest::Error),
    /// The reconciler does not accept the launcher key.
    #[error("the reconciler refuses the worker: {0}")]
    Refused(String),
}

/// Runs a worker of the process provider until `shutdown`.
///
/// # Errors
/// When it cannot be set up, or the reconciler does not accept its key. An outage is no error.
pub async fn run(
    config: WorkerConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), WorkerError> {
    let provider = processes(&config)?;
    run_on(Arc::new(provider), config, shutdown).await
}

/// The process provider of a worker with these settings.
///
/// # Errors
/// When it cannot be set up, as while another worker uses its folder.
pub fn processes(config: &WorkerConfig) -> Result<ProcessProvider, ProvideError> {
    ProcessProvider::open(&config.data_dir, config.agent(), config.platform.clone())
}

/// Runs a worker of this provider until `shutdown`. Its units stay, or end with it, as its configuration says.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    provider: Arc<dyn Provider>,
    config: WorkerConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), WorkerError> {
    let result = run_with(Arc::clone(&provider), &config, shutdown).await;
    match config.stop_units_on_exit {
        true => leave::with_all(provider, &config).await?,
        false => leave::without(&*provider).await,
    }
    result
}

/// Runs a worker of any provider until `shutdown`; its units stay.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    provider: Arc<dyn Provider>,
    config: &WorkerConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), WorkerError> {
    let desk = Arc::new(Desk {
        client: Client::new(&config.reconciler_url, &config.launcher_key)?,
        worker: config.worker_id.clone(),
        provider,
        changed: Notify::new(),
        away: AtomicBool::new(false),
        making: Semaphore::new(AT_ONCE),
        removing: Semaphore::new(AT_ONCE),
        epoch: Mutex::default(),
    });
    tracing::info!(worker = %desk.worker, provider = %config.provider, "worker started");
    let mut in_hand = InHand::default();
    let result = tokio::select! {
        result = take_orders(&desk, config, &mut in_hand) => result,
        never = inventory::keep(&desk, config) => match never {},
        () = shutdown => Ok(()),
    };
    // Nothing makes a unit any more when this returns, and nothing holds the provider.
    in_hand.tasks.shutdown().await;
    result
}

/// What those who work on orders share.
struct Desk {
    client: Client,
    worker: WorkerId,
    provider: Arc<dyn Provider>,
    /// Told when a unit was made or removed, so that it is listed at once.
    changed: Notify,
    /// The reconciler could not be asked for orders. It may have been restarted, and then it opens none before it was
    /// told what there is.
    away: AtomicBool,
    /// Places for making units, and for removing them: neither waits for the other.
    making: Semaphore,
    removing: Semaphore,
    /// The highest that was seen.
    epoch: Mutex<Epoch>,
}

impl Desk {
    /// Whether an order of this epoch counts.
    fn see(&self, epoch: Epoch) -> bool {
        let mut seen = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = epoch.max(*seen);
        *seen == epoch
    }

    /// Waits for a place.
    async fn place<'a>(&self, places: &'a Semaphore) -> SemaphorePermit<'a> {
        places.acquire().await.expect("places are never closed")
    }

    /// Tries to remove a unit, when it is its turn.
    async fn remove(&self, unit: &OrderId) -> Result<(), ProvideError> {
        let _place = self.place(&self.removing).await;
        self.provider.remove(unit).await
    }
}

/// Orders that are worked on.
#[derive(Default)]
struct InHand {
    tasks: JoinSet<()>,
    orders: BTreeMap<OrderId, (Id, WorkKind)>,
    taken: u64,
}

impl InHand {
    fn start(&mut self, desk: &Arc<Desk>, claim: orders::Claim) {
        let order = claim.order.order_id.clone();
        let kind = match claim.order.work {
            OrderWork::Launch(_) => WorkKind::Launch,
            OrderWork::Retire { .. } => WorkKind::Retire,
        };
        let task = self.tasks.spawn(orders::work(Arc::clone(desk), claim));
        self.orders.insert(order, (task.id(), kind));
        self.taken += 1;
    }

    fn is_full(&self, kind: WorkKind) -> bool {
        let of_kind = self.orders.values().filter(|(_, other)| *other == kind);
        of_kind.count() >= IN_HAND
    }

    /// The only kind that there is room for, if it is one.
    fn only(&self) -> Option<WorkKind> {
        match (
            self.is_full(WorkKind::Launch),
            self.is_full(WorkKind::Retire),
        ) {
            (true, _) => Some(WorkKind::Retire),
            (false, true) => Some(WorkKind::Launch),
            (false, false) => None,
        }
    }

    /// Puts away what is done; waits for one order when there is room for none.
    async fn tidy(&mut self) {
        while let Some(done) =
            match self.is_full(WorkKind::Launch) && self.is_full(WorkKind::Retire) {
                true => self.tasks.join_next_with_id().await,
                false => self.tasks.try_join_next_with_id(),
            }
        {
            self.put_away(done);
        }
    }

    /// Waits until all is done.
    async fn finish(&mut self) {
        while let Some(done) = self.tasks.join_next_with_id().await {
            self.put_away(done);
        }
    }

    fn put_away(&mut self, done: Result<(Id, ()), JoinError>) {
        let id = done
            .as_ref()
            .map_or_else(|error| error.id(), |(id, ())| *id);
        if let Err(error) = done {
            tracing::error!(error = %error, "work on an order broke off");
        }
        self.orders.retain(|_, (task, _)| *task != id);
    }
}

async fn take_orders(
    desk: &Arc<Desk>,
    config: &WorkerConfig,
    in_hand: &mut InHand,
) -> Result<(), WorkerError> {
    let mut pace = Pace::default();
    loop {
        in_hand.tidy().await;
        if in_hand.taken >= config.most_orders() {
            in_hand.finish().await;
            return Ok(());
        }
        let asked = Instant::now();
        let answer = desk.client.claim(&ask(desk, config, in_hand)).await;
        match answer.map(|answer| acceptable(desk, config, in_hand, (asked, answer))) {
            Ok(Ok(Some(claim))) => {
                pace.answered();
                in_hand.start(desk, claim);
            }
            Ok(Ok(None)) => {
                pace.answered();
                sleep(NOTHING).await;
            }
            Ok(Err(reason)) => {
                tracing::warn!(reason, "an order is not taken");
                sleep(NOT_TAKEN).await;
            }
            Err(error) if is_about_the_key(&error) => {
                return Err(WorkerError::Refused(error.to_string()));
            }
            Err(error) => {
                let pause = pace.failed();
                desk.away.store(true, Ordering::Relaxed);
                if pace.is_told() {
                    let (failures, error) = (pace.failures(), chain(&error));
                    tracing::warn!(failures, error, "orders cannot be claimed");
                }
                sleep(pause).await;
            }
        }
    }
}

fn ask(desk: &Desk, config: &WorkerConfig, in_hand: &InHand) -> ClaimRequest {
    let work = in_hand.only();
    let wait = work.map_or(WAIT, |_| WAIT_FOR_ONE_KIND);
    ClaimRequest {
        worker_id: desk.worker.clone(),
        provider: config.provider.clone(),
        datacenter: Some(config.datacenter.clone()),
        node_size: config.node_size.clone(),
        in_hand: in_hand.orders.keys().cloned().collect(),
        wait_millis: u64::try_from(wait.as_millis()).unwrap_or(0),
        work,
    }
}

/// The claimed order, unless it is not for this worker to carry out.
fn acceptable(
    desk: &Desk,
    config: &WorkerConfig,
    in_hand: &InHand,
    (asked, answer): (Instant, ClaimResponse),
) -> Result<Option<orders::Claim>, String> {
    let Some(order) = answer.order.filter(|_| answer.claimed) else {
        return Ok(None);
    };
    let id = order.order_id.clone();
    if !desk.see(order.epoch) {
        return Err(format!(
            "{id} has epoch {}, and a higher one was seen",
            order.epoch
        ));
    }
    if order.provider != config.provider || order.datacenter != config.datacenter {
        return Err(format!(
            "{id} is for {} in {}",
            order.provider, order.datacenter
        ));
    }
    if in_hand.orders.contains_key(&id) {
        return Err(format!("{id} is worked on already"));
    }
    Ok(Some(orders::Claim {
        order,
        bootstrap_token: answer.bootstrap_token,
        asked,
    }))
}

fn is_about_the_key(error: &CallError) -> bool {
    ["invalid_launcher_key", "missing_launcher_key"].contains(&error.code())
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod testing {
    use easyenclave_schemas::Timestamp;
    use easyenclave_schemas::wire::Order;

    use super::*;

    /// An order to retire a unit.
    pub(super) fn retirement(name: &str) -> Order {
        let id = |name: &str| OrderId::new(name).expect("a name");
        Order {
            order_id: id(&format!("{name}-x")),
            fleet_id: "demo".parse().expect("a name"),
            datacenter: "local".parse().expect("a name"),
            provider: "local".parse().expect("a name"),
            epoch: Epoch(1),
            fence: 1,
            claim_expires_at: Timestamp::default(),
            worker_lost_after_millis: None,
            work: OrderWork::Retire { unit: id(name) },
        }
    }
}
