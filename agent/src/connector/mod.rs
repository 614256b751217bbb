//! The connector of this agent's tunnel: a program that keeps the way to this machine open from inside, for as long as the
//! reconciler wants one. Its token comes sealed, is handed over by a pipe, and is on no disk, in no argument and in no environment.

mod child;
mod listener;
mod token;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use easyenclave_schemas::wire::ConnectorState;
use easyenclave_schemas::{Digest, Secret};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::clock;
use crate::node::Node;
pub(crate) use child::Kit;
use child::Running;

/// The pauses between starts grow from this …
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// … to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// After being connected for so long, the next failure counts as the first.
const SETTLED: Duration = Duration::from_secs(30);

/// How often it is asked whether it is connected.
const LOOK: Duration = Duration::from_secs(1);

/// The longest that the reconciler may take to give the token.
const TOKEN: Duration = Duration::from_secs(30);

/// Serves the tunnels that the reconciler wants until the sender of `stop` is dropped; then no connector runs any more.
pub(crate) async fn serve(node: Arc<Node>, kit: Kit, stop: watch::Receiver<()>) {
    let wanted = node.tunnel.subscribe();
    let ask = async |version| token::ask(&node, version).await;
    follow(wanted, &node.connector, ask, &kit, stop).await;
}

/// Runs a connector for the newest version, and none when there is none.
async fn follow<F>(
    mut wanted: watch::Receiver<Option<Digest>>,
    board: &watch::Sender<Option<ConnectorState>>,
    ask: impl Fn(Digest) -> F,
    kit: &Kit,
    mut stop: watch::Receiver<()>,
) where
    F: Future<Output = anyhow::Result<Secret<String>>>,
{
    while stop.has_changed().is_ok() {
        let now = *wanted.borrow_and_update();
        let news = async {
            tokio::select! {
                _ = wanted.changed() => {}
                _ = stop.changed() => {}
            }
        };
        match now {
            Some(version) => {
                tokio::select! {
                    () = keep(version, board, &ask, kit) => {}
                    () = news => {}
                }
                kit.end().await;
                board.send_replace(None);
            }
            None => {
                // An earlier process of this agent may have left one.
                kit.end().await;
                news.await;
            }
        }
    }
}

/// Keeps a connector running, for ever. May be dropped at any point; [`Kit::end`] then finds what runs.
async fn keep<F>(
    version: Digest,
    board: &watch::Sender<Option<ConnectorState>>,
    ask: &impl Fn(Digest) -> F,
    kit: &Kit,
) where
    F: Future<Output = anyhow::Result<Secret<String>>>,
{
    let show = |connected| {
        let state = Some(ConnectorState { version, connected });
        board.send_if_modified(|shown| std::mem::replace(shown, state) != state);
    };
    let mut failures = 0_u32;
    loop {
        show(false);
        let mut connected = None;
        let Err(error) = once(version, ask, kit, |is| {
            // How long it was connected is still to be known when it has ended.
            connected = connected.or(is.then(Instant::now));
            show(is);
        })
        .await;
        show(false);
        kit.end().await;
        let settled = connected.is_some_and(|since| since.elapsed() >= SETTLED);
        failures = if settled { 1 } else { failures + 1 };
        if failures.is_power_of_two() {
            let error = format!("{error:#}");
            tracing::warn!(failures, error, "the tunnel's connector does not run");
        }
        sleep(clock::pause(failures, FIRST_PAUSE, LONGEST_PAUSE)).await;
    }
}

/// Starts a connector and watches it until it has ended, which is an error whatever it says.
async fn once<F>(
    version: Digest,
    ask: &impl Fn(Digest) -> F,
    kit: &Kit,
    mut show: impl FnMut(bool),
) -> anyhow::Result<std::convert::Infallible>
where
    F: Future<Output = anyhow::Result<Secret<String>>>,
{
    // The token costs calls of an allowance that all agents share.
    kit.find()?;
    let token = timeout(TOKEN, ask(version)).await??;
    // What an earlier process of this agent has left would serve beside it.
    kit.end().await;
    let Running { exit, ready } = kit.start(&token)?;
    tokio::pin!(exit);
    loop {
        tokio::select! {
            words = &mut exit => anyhow::bail!("{}", token.hide_in(&words)),
            is_connected = ready.look() => show(is_connected),
        }
        tokio::select! {
            words = &mut exit => anyhow::bail!("{}", token.hide_in(&words)),
            () = sleep(LOOK) => {}
        }
    }
}

#[cfg(test)]
mod tests;
