//! Whether there is an engine to run Compose files on: looked for at the start, and again for as long as there is none.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use easyenclave_engine::Engine;
use easyenclave_schemas::documents::Runtime;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::project::Ground;
use crate::clock;
use crate::runtime::process::Place;

/// How long an agent that starts waits for an engine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// While there is none, it is looked for again after pauses that grow from this …
const AGAIN: Duration = Duration::from_secs(2);
/// … to this: one that is there and down is asked by starting a program or two.
const SELDOM: Duration = Duration::from_secs(60);

/// How long such a look may take.
const LOOK: Duration = Duration::from_secs(30);

/// What this agent can run, by what is there at its start. An engine that does not say so at once is none yet.
pub(crate) async fn runtimes(place: &Place) -> Vec<Runtime> {
    match finds(place, AT_ONCE).await {
        true => Runtime::ALL.into(),
        false => Runtime::usual(),
    }
}

/// Looks for an engine until there is one, and tells: at a boot, an agent can be there before its engine. One that was there
/// is never taken back, because it may come back: what runs there waits for it.
pub(crate) async fn look_for_engine(
    place: &Place,
    runtimes: &watch::Sender<Vec<Runtime>>,
) -> Infallible {
    let mut looks = 0;
    while !runtimes.borrow().contains(&Runtime::Compose) {
        looks += 1;
        sleep(clock::pause(looks, AGAIN, SELDOM)).await;
        if finds(place, LOOK).await {
            tracing::info!("there is a container engine by now");
            runtimes.send_replace(Runtime::ALL.into());
        }
    }
    pending().await
}

/// Whether there is an engine, and a compose.
async fn finds(place: &Place, within: Duration) -> bool {
    let at = Ground::of(place).at;
    let look = async { Engine::find(&at).await.ok()?.compose().await };
    matches!(timeout(within, look).await, Ok(Some(_)))
}
