//! The agent's own reconciler: what runs follows what is wanted, always the newest. A new instruction
//! ends what the last one started before anything else is started. What is given secrets is not started before they
//! are there.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::watch;

use crate::node::Node;
use crate::runtime::{Place, supervise};

/// Runs what is wanted until the sender of `stop` is dropped; then nothing runs any more.
pub(crate) async fn converge(node: Arc<Node>, place: Place, mut stop: watch::Receiver<()>) {
    let mut wanted = node.wanted.subscribe();
    while stop.has_changed().is_ok() {
        let now = wanted.borrow_and_update().clone();
        let news = async {
            tokio::select! {
                _ = wanted.changed() => {}
                _ = stop.changed() => {}
            }
        };
        match now.assignment {
            Some(assignment) => {
                node.measure(assignment.digest).await;
                let mut news = pin!(news);
                tokio::select! {
                    () = place.vault.obtain(&node, now.generation, &assignment) => {
                        supervise(&place, now.generation, assignment, &node.workload, news).await;
                    }
                    () = &mut news => place.vault.give_up(&node.workload),
                }
            }
            None => news.await,
        }
    }
}
