//! Heartbeats: often enough to be taken for alive, and at once when the workload's state changes or there is more that the agent can run. A reconciler that
//! has forgotten the agent is joined again. Trouble on the network, or an answer that is not the reconciler's, never
//! touches the workload.

use std::sync::Arc;
use std::time::Duration;

use easyenclave_schemas::signature::{Session, SessionOffer};
use easyenclave_schemas::wire::{HeartbeatRequest, HeartbeatResponse, routes};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::CallError;
use crate::node::Node;
use crate::{attest, clock, join};

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

/// The reconciler has to say so often in a row that it does not know the agent, because a refusal is not signed. Joining
/// again in vain does no harm: the same key and order is the same agent.
const FORGOTTEN: u32 = 3;

/// The longest pause while the reconciler answers and does not know the agent. A machine that belongs to nobody is
/// removed after 30 seconds, so there have to be several tries within that time.
const LONGEST_ABSENCE: Duration = Duration::from_secs(4);

/// The longest time for one registration, quote included.
const JOIN: Duration = Duration::from_secs(60);

/// Sends heartbeats until it is dropped.
pub(crate) async fn report(node: Arc<Node>, interval: Duration) {
    let (mut changes, mut links) = (node.workload.subscribe(), node.connector.subscribe());
    let mut finds = node.runtimes.subscribe();
    let mut pulse = Pulse {
        sequence: 0,
        failures: 0,
        unknown: 0,
        interval: interval.clamp(OFTENEST, RAREST),
        session: None,
    };
    let mut attestations = JoinSet::new();
    loop {
        changes.mark_unchanged();
        links.mark_unchanged();
        finds.mark_unchanged();
        let pause = pulse.beat(&node, &mut attestations).await;
        tokio::select! {
            () = sleep(pause) => {}
            _ = changes.changed() => sleep(TOGETHER).await,
            _ = links.changed() => sleep(TOGETHER).await,
            _ = finds.changed() => {}
        }
        while attestations.try_join_next().is_some() {}
    }
}

struct Pulse {
    sequence: u64,
    failures: u32,
    /// How often in a row the reconciler did not know this agent.
    unknown: u32,
    interval: Duration,
    session: Option<Session>,
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
            session: None,
            connector: *node.connector.borrow(),
            runtimes: Some(node.runtimes.borrow().clone()),
        };
        match self.send(node, request).await {
            Ok(answer) => {
                self.recovered();
                self.heed(node, answer, attestations);
                self.interval
            }
            Err(error) => self.failed(node, error).await,
        }
    }

    /// Sends a heartbeat in the session, if there is one. A reconciler that was started again knows none, so what it
    /// refuses is sent once more with the agent's own key, and asks for a session. As another message, with a number of
    /// its own: the first one may have been taken, and only its answer lost to whoever stands between.
    async fn send(
        &mut self,
        node: &Node,
        mut request: HeartbeatRequest,
    ) -> Result<HeartbeatResponse, CallError> {
        let path = routes::heartbeat(&node.id);
        if let Some(session) = self.session.take() {
            let answer = node.client.post_in(&session, &path, &request).await;
            if !answer.as_ref().is_err_and(is_final) {
                self.session = Some(session);
                return answer;
            }
            self.sequence += 1;
            request.sequence = self.sequence;
        }
        let offer = SessionOffer::new().ok();
        request.session = offer.as_ref().map(|offer| offer.public().to_owned());
        let answer: HeartbeatResponse = node.client.post(&path, &request).await?;
        self.session = offer
            .zip(answer.session.as_deref())
            .and_then(|(offer, answer)| offer.asked(answer, &node.keypair.public()).ok());
        Ok(answer)
    }

    /// Answers when the next heartbeat is due after one that failed.
    async fn failed(&mut self, node: &Node, error: CallError) -> Duration {
        self.failures += 1;
        let is_unknown = is_unknown(&error);
        if self.failures.is_power_of_two() {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(failures = self.failures, error, "heartbeat failed");
        }
        if !is_unknown {
            self.unknown = 0;
            return clock::pause(self.failures, FIRST_PAUSE, LONGEST_PAUSE);
        }
        self.unknown += 1;
        if self.unknown >= FORGOTTEN && self.join_again(node).await {
            return FIRST_PAUSE;
        }
        clock::pause(self.unknown, FIRST_PAUSE, LONGEST_ABSENCE)
    }

    /// Registers once more, as after the reconciler has lost its store. Whatever comes of it, the workload runs on: a
    /// reconciler that does not want this agent has its machine removed.
    async fn join_again(&mut self, node: &Node) -> bool {
        let error = match timeout(JOIN, join::attempt(node)).await {
            Ok(Ok(interval)) => {
                self.unknown = 0;
                self.interval = interval.clamp(OFTENEST, RAREST);
                return true;
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("it took longer than {} seconds", JOIN.as_secs()),
        };
        if self.unknown.is_power_of_two() {
            tracing::warn!(unknown = self.unknown, error, "not taken in again");
        }
        false
    }

    fn recovered(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "heartbeats arrive again");
        }
        (self.failures, self.unknown) = (0, 0);
    }

    /// An answer of an older leader says nothing.
    fn heed(&mut self, node: &Arc<Node>, answer: HeartbeatResponse, running: &mut JoinSet<()>) {
        if !node.see(answer.epoch) {
            return;
        }
        self.interval = Duration::from_millis(answer.heartbeat_millis).clamp(OFTENEST, RAREST);
        node.trusted(answer.trusted_until);
        node.wants_tunnel(answer.tunnel.map(|tunnel| tunnel.version));
        if let Some(challenge) = answer.challenge.filter(|_| running.is_empty()) {
            running.spawn(attest::answer(Arc::clone(node), challenge));
        }
    }
}

/// Whether the same message would not be taken in the same session again.
fn is_final(error: &CallError) -> bool {
    match error {
        CallError::Refused { later, .. } => !later,
        CallError::Untrusted(_) => true,
        CallError::Network(_) | CallError::Answer => false,
    }
}

/// Whether the reconciler says that it has no such agent. A bare 404 of whoever stands in its place says nothing.
fn is_unknown(error: &CallError) -> bool {
    matches!(error, CallError::Refused { code, .. } if code == "agent_not_found")
}
