//! Heartbeats: often enough to be taken for alive, and at once when the workload's state changes. Trouble on
//! the network, or an answer that is not the reconciler's, never touches the workload.

use std::sync::Arc;
use std::time::Duration;

use easyenclave_schemas::wire::{HeartbeatRequest, HeartbeatResponse, routes};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::attest;
use crate::clock;
use crate::node::Node;

/// Changes that come within this time of each other travel together.
const TOGETHER: Duration = Duration::from_millis(20);

/// A reconciler may ask for heartbeats no more often than this …
const OFTENEST: Duration = Duration::from_millis(50);
/// … and no more rarely.
const RAREST: Duration = Duration::from_secs(60);

/// The pauses after failures grow from this …
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// … to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Sends heartbeats until it is dropped.
pub(crate) async fn report(node: Arc<Node>, interval: Duration) {
    let mut changes = node.workload.subscribe();
    let mut pulse = Pulse {
        sequence: 0,
        failures: 0,
        interval: interval.clamp(OFTENEST, RAREST),
    };
    let mut attestations = JoinSet::new();
    loop {
        changes.mark_unchanged();
        let pause = pulse.beat(&node, &mut attestations).await;
        tokio::select! {
            () = sleep(pause) => {}
            _ = changes.changed() => sleep(TOGETHER).await,
        }
        while attestations.try_join_next().is_some() {}
    }
}

struct Pulse {
    sequence: u64,
    failures: u32,
    interval: Duration,
}

impl Pulse {
    /// Sends one heartbeat. Answers when the next one is due.
    async fn beat(&mut self, node: &Arc<Node>, attestations: &mut JoinSet<()>) -> Duration {
        self.sequence += 1;
        let request = HeartbeatRequest {
            sequence: self.sequence,
            boot_id: node.boot_id(),
            address: node.address.clone(),
            generation: node.wanted.borrow().generation,
            workload: node.workload.borrow().clone(),
            refusals: node.refusals(),
        };
        let path = routes::heartbeat(&node.id);
        let answer: Result<HeartbeatResponse, _> = node.client.post(&path, &request).await;
        match answer {
            Ok(answer) => {
                self.recovered();
                self.heed(node, answer, attestations);
                self.interval
            }
            Err(error) => {
                self.failures += 1;
                if self.failures.is_power_of_two() {
                    let error = format!("{:#}", anyhow::Error::from(error));
                    tracing::warn!(failures = self.failures, error, "heartbeat failed");
                }
                clock::pause(self.failures, FIRST_PAUSE, LONGEST_PAUSE)
            }
        }
    }

    fn recovered(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "heartbeats arrive again");
        }
        self.failures = 0;
    }

    /// An answer of an older leader says nothing.
    fn heed(&mut self, node: &Arc<Node>, answer: HeartbeatResponse, running: &mut JoinSet<()>) {
        if !node.see(answer.epoch) {
            return;
        }
        self.interval = Duration::from_millis(answer.heartbeat_millis).clamp(OFTENEST, RAREST);
        node.trusted(answer.trusted_until);
        if let Some(challenge) = answer.challenge.filter(|_| running.is_empty()) {
            running.spawn(attest::answer(Arc::clone(node), challenge));
        }
    }
}
