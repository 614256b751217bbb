//! Listings: every machine of the provider, soon after something has changed and regularly anyway. A listing that
//! is not complete is not sent, because what is missing from one counts as gone. The answer names units that a
//! later claim has superseded; they are removed.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use easyenclave_schemas::wire::{InventoryRequest, InventoryResponse, Superseded, Unit};
use tokio::time::{Instant, sleep};

use super::pace::Pace;
use super::{Desk, WorkerConfig, chain};

/// How often the provider is asked.
const LOOK: Duration = Duration::from_secs(1);

/// An unchanged listing is sent this often.
const SEND: Duration = Duration::from_secs(5);

/// Sends listings for as long as it is polled.
pub(super) async fn keep(desk: &Desk, config: &WorkerConfig) -> Infallible {
    let mut sent: Option<(Vec<Unit>, Instant)> = None;
    let mut pace = Pace::default();
    loop {
        if desk.away.swap(false, Ordering::Relaxed) {
            sent = None;
        }
        let error = match desk.provider.list().await {
            Ok(units) if is_known(&sent, &units) => None,
            Ok(units) => match desk.client.inventory(&listing(desk, config, &units)).await {
                Ok(answer) => {
                    sent = Some((units, Instant::now()));
                    sweep(desk, answer).await;
                    None
                }
                Err(error) => Some(chain(&error)),
            },
            Err(error) => Some(chain(&error)),
        };
        let pause = match error {
            None => {
                if pace.worked() {
                    tracing::info!("listings are sent again");
                }
                LOOK
            }
            Some(error) => {
                let pause = pace.failed();
                if pace.is_told() {
                    tracing::warn!(failures = pace.failures(), error, "no listing was sent");
                }
                pause
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = desk.changed.notified() => {}
        }
    }
}

/// Removes what can never join any more. The provider looks at the claim once more, so that a unit which an
/// order of this worker has made meanwhile stays. What fails comes again with the next answer.
async fn sweep(desk: &Desk, answer: InventoryResponse) {
    if answer.superseded.is_empty() || !desk.see(answer.epoch) {
        return;
    }
    for Superseded { order_id, fence } in answer.superseded {
        match desk.provider.remove_older(&order_id, fence).await {
            Ok(()) => tracing::info!(unit = %order_id, fence, "unit of an older claim removed"),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(unit = %order_id, error, "unit of an older claim cannot be removed");
            }
        }
    }
    desk.changed.notify_one();
}

fn is_known(sent: &Option<(Vec<Unit>, Instant)>, units: &[Unit]) -> bool {
    sent.as_ref()
        .is_some_and(|(last, at)| last == units && at.elapsed() < SEND)
}

fn listing(desk: &Desk, config: &WorkerConfig, units: &[Unit]) -> InventoryRequest {
    InventoryRequest {
        worker_id: desk.worker.clone(),
        provider: config.provider.clone(),
        datacenter: config.datacenter.clone(),
        fleet: config.fleet.clone(),
        project: config.project.clone(),
        units: units.to_vec(),
    }
}
