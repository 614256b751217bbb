//! The agent's own reconciler: what runs follows what is wanted, always the newest. A new instruction
//! ends what the last one started before anything else is started.

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
                supervise(&place, now.generation, assignment, &node.workload, news).await;
            }
            None => news.await,
        }
    }
}
