//! The end of a worker. One that leaves its units says so. One that takes them with it leaves nothing when a newcomer's fleet
//! ends, and the reconciler hears that it was meant, so that it takes none of it for a launch that failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use easyenclave_schemas::WorkerId;
use easyenclave_schemas::wire::{OrderReport, OrderUpdate, Unit};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::Client;
use super::{WorkerConfig, WorkerError, chain};
use crate::{ProvideError, Provider};

/// So many units are removed at a time.
const AT_ONCE: usize = 16;

/// How long a worker that ends looks what it leaves.
const LOOK: Duration = Duration::from_secs(2);

/// Removes every unit, and says so while the reconciler answers.
pub(super) async fn with_all(
    provider: Arc<dyn Provider>,
    config: &WorkerConfig,
) -> Result<(), WorkerError> {
    let units = provider.list().await?;
    let leave = Arc::new(Leave {
        provider,
        client: Client::new(&config.reconciler_url, &config.launcher_key)?,
        worker: config.worker_id.clone(),
        unheard: AtomicBool::new(false),
    });
    let mut removals = JoinSet::new();
    let mut result = Ok(());
    for unit in units {
        if removals.len() >= AT_ONCE {
            result = result.and(joined(&mut removals).await);
        }
        removals.spawn(Arc::clone(&leave).remove(unit));
    }
    while !removals.is_empty() {
        result = result.and(joined(&mut removals).await);
    }
    Ok(result?)
}

/// Says how many units go on without their worker. They may be there where that cannot be told in time.
pub(super) async fn without(provider: &dyn Provider) {
    let Ok(Ok(units)) = timeout(LOOK, provider.list()).await else {
        return;
    };
    let units = units.iter().filter(|unit| unit.alive).count();
    if units > 0 {
        tracing::info!(
            units,
            "the worker ends, and its machines go on; --stop-units-on-exit would have ended them"
        );
    }
}

struct Leave {
    provider: Arc<dyn Provider>,
    client: Client,
    worker: WorkerId,
    /// The reconciler did not answer, and is not waited for again.
    unheard: AtomicBool,
}

impl Leave {
    async fn remove(self: Arc<Self>, unit: Unit) -> Result<(), ProvideError> {
        self.provider.remove(&unit.order_id).await?;
        self.tell(&unit).await;
        Ok(())
    }

    /// The reconciler learns of it from the next listing anyway. What is lost without a word is that it was meant.
    async fn tell(&self, unit: &Unit) {
        let Some(fence) = unit.fence.filter(|_| !self.unheard.load(Ordering::Relaxed)) else {
            return;
        };
        let update = OrderUpdate {
            worker_id: self.worker.clone(),
            fence,
            status: OrderReport::Removed,
            error: None,
            cause: None,
            console: None,
            stage: None,
            remains: false,
        };
        if let Err(error) = self.client.update(&unit.order_id, &update).await {
            let away = error.code().is_empty();
            self.unheard.fetch_or(away, Ordering::Relaxed);
            tracing::debug!(unit = %unit.order_id, error = chain(&error), "a removal is not heard of");
        }
    }
}

async fn joined(removals: &mut JoinSet<Result<(), ProvideError>>) -> Result<(), ProvideError> {
    match removals.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(error)) => {
            let what = "removal of a unit broke off".into();
            Err(ProvideError::Retry {
                what,
                source: std::io::Error::other(error),
            })
        }
        None => Ok(()),
    }
}
