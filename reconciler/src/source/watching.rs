//! Wakes passes when the state repository may have changed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use easyenclave_git::Watch;
use tokio::time::sleep;

use super::Source;
use crate::outage::Outage;
use crate::report::Trouble;
use crate::world::World;

/// A remote is asked for news this often, give or take.
const POLL: Duration = Duration::from_secs(15);

/// A fetch that takes longer is stopped.
const FETCH: Duration = Duration::from_secs(60);

/// Owners' changes fetch as well, and wait for no longer than this for the copy of the repository to be tidied up.
const TIDY: Duration = Duration::from_secs(10);

/// Wakes a pass when the state repository may have changed: at once when it is local, after a poll
/// when it is not, or cannot be watched. After errors a poll comes later, never sooner.
pub async fn watch(
    world: Arc<World>,
    source: Source,
    repository: String,
    outage: Outage,
) -> Infallible {
    if source.is_local() {
        match Watch::local(repository.as_ref()) {
            Ok(mut watch) => loop {
                watch.changed().await;
                world.wake.notify_one();
            },
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "refs are not watched, but polled"
                );
            }
        }
    }
    let mut failures = 0;
    loop {
        let fetched = source.fetch(FETCH).await;
        failures = fetched.as_ref().err().map_or(0, |_| failures + 1);
        let trouble = fetched.err().map(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                failures,
                "not fetched"
            );
            Trouble {
                reason: "Unreachable",
                message: error.to_string().chars().take(200).collect(),
            }
        });
        outage.set(trouble);
        world.wake.notify_one();
        source.tidy(TIDY).await;
        let pause = POLL.saturating_mul(1 << failures.min(5));
        sleep(pause.mul_f64(1.0 + world.entropy.fraction() / 4.0)).await;
    }
}
