//! The agent's own reconciler: what runs follows what is wanted, always the newest. A new instruction
//! ends what the last one started before anything else is started, unless it is another version of services, which are
//! updated in place. What is given secrets is not started before they are there. No process is started before the file with the
//! agent's key is gone, and no container before it is there.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use easyenclave_schemas::Generation;
use easyenclave_schemas::documents::Workload;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::instructions::{Assignment, Wanted};
use crate::node::Node;
use crate::runtime::{END_AGAIN, Place, compose, starting, supervise};

/// Runs what is wanted until the sender of `stop` is dropped; then nothing runs any more.
pub(crate) async fn converge(node: Arc<Node>, place: Arc<Place>, mut stop: watch::Receiver<()>) {
    let mut wanted = node.wanted.subscribe();
    while stop.has_changed().is_ok() {
        let now = wanted.borrow_and_update().clone();
        let told = stop.clone();
        let news = async {
            tokio::select! {
                _ = wanted.changed() => {}
                _ = stop.changed() => {}
            }
        };
        let mut news = pin!(news);
        let Some(assignment) = now.assignment else {
            if node.is_instructed() {
                empty(&node, &place).await;
            }
            news.await;
            continue;
        };
        node.measure(assignment.digest).await;
        let prepared = async {
            make_way(&node, &place, now.generation, &assignment).await;
            place.vault.obtain(&node, now.generation, &assignment).await;
        };
        tokio::select! {
            () = prepared => {
                let goes_on = |assignment: &Assignment| {
                    told.has_changed().is_ok() && is_update(assignment, &node.wanted.borrow())
                };
                run(&node, &place, (now.generation, assignment), news, goes_on).await;
            }
            // What runs of the version before is the next turn's.
            () = &mut news => {}
        }
    }
    if node.is_instructed() {
        empty(&node, &place).await;
    }
}

/// What an agent of before has left goes, unless it is the same deployment's. May be dropped at any point.
async fn make_way(node: &Node, place: &Place, generation: Generation, assignment: &Assignment) {
    let board = &node.workload;
    let tell = |trouble: compose::Trouble| trouble.show(board, starting(generation, assignment));
    match &assignment.workload {
        Workload::Compose(_) => {
            if !compose::has(place, &assignment.deployment, tell).await {
                compose::clear(place, tell).await;
                place.vault.clear();
            }
            node.keep();
        }
        Workload::Process(_) => {
            compose::clear(place, tell).await;
            place.vault.clear();
            forget(node).await;
        }
    }
}

/// Runs one assignment until there are news.
async fn run(
    node: &Node,
    place: &Place,
    (generation, assignment): (Generation, Arc<Assignment>),
    news: impl Future<Output = ()>,
    goes_on: impl Fn(&Assignment) -> bool,
) {
    let board = &node.workload;
    match &assignment.workload {
        Workload::Compose(_) => {
            let goes_on = || goes_on(&assignment);
            let assignment = Arc::clone(&assignment);
            compose::supervise(place, generation, assignment, board, news, goes_on).await;
        }
        Workload::Process(_) => supervise(place, generation, assignment, board, news).await,
    }
}

/// Nothing is to run: what an agent of before, or a version before, has left goes too.
async fn empty(node: &Node, place: &Place) {
    compose::clear(place, |_| ()).await;
    place.forget_output().await;
    forget(node).await;
    place.vault.give_up(&node.workload);
}

/// Returns when the agent's key is in no file any more.
async fn forget(node: &Node) {
    while let Err(error) = node.forget() {
        tracing::error!(error = %error, "the agent's key cannot be removed from memory");
        sleep(END_AGAIN).await;
    }
}

/// Whether what is wanted now is another version of the same deployment, which compose brings to what runs.
fn is_update(before: &Assignment, now: &Wanted) -> bool {
    now.assignment.as_ref().is_some_and(|next| {
        next.deployment == before.deployment && matches!(next.workload, Workload::Compose(_))
    })
}
