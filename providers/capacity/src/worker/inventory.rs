//! Listings: every machine of the provider, soon after something has changed and regularly anyway. A listing that
//! is not complete is not sent, because what is missing from one counts as gone.

use std::convert::Infallible;
use std::time::Duration;

use easyenclave_schemas::wire::{InventoryRequest, Unit};
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
        let error = match desk.provider.list().await {
            Ok(units) if is_known(&sent, &units) => None,
            Ok(units) => match desk.client.inventory(&listing(desk, config, &units)).await {
                Ok(()) => {
                    sent = Some((units, Instant::now()));
                    None
                }
                Err(error) => Some(chain(&error)),
            },
            Err(error) => Some(chain(&error)),
        };
        let pause = match error {
            None => {
                pace.worked();
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

fn is_known(sent: &Option<(Vec<Unit>, Instant)>, units: &[Unit]) -> bool {
    sent.as_ref()
        .is_some_and(|(last, at)| last == units && at.elapsed() < SEND)
}

fn listing(desk: &Desk, config: &WorkerConfig, units: &[Unit]) -> InventoryRequest {
    InventoryRequest {
        worker_id: desk.worker.clone(),
        provider: config.provider.clone(),
        datacenter: config.datacenter.clone(),
        units: units.to_vec(),
    }
}
