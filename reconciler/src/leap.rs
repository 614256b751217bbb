//! Jumps of time: the machine was suspended, this process was stopped, or the clock was set. Whoever was not heard
//! because nobody listened gets its time again, and what is dated ahead of the clock counts as of now.

use std::time::Duration;

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::records::{AgentRecord, OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::wire::CLAIM;

use crate::journal::{Change, Records};
use crate::world::World;

/// Turns follow each other within a few seconds. After more than this nobody has listened meanwhile, and everybody
/// would look silent.
const FORWARD: Duration = Duration::from_secs(15);

/// A clock that is kept in time moves back by less than this.
const BACK: Duration = Duration::from_secs(1);

/// When the world was looked at last.
#[derive(Debug, Default)]
pub struct Leaps {
    last: Option<Timestamp>,
}

impl Leaps {
    /// Notices a jump since the last turn, and sets right what depends on the time.
    pub async fn look(&mut self, world: &World, now: Timestamp) {
        let Some(last) = self.last.replace(now) else {
            // The clock may have been ahead when the records were written, and nobody has listened since.
            return redate(world, now, true).await;
        };
        let (back, forward) = (now.plus(BACK) < last, now.since(last) > FORWARD);
        if back || forward {
            tracing::warn!(back, "time has jumped; silence counts from now");
            world.presence.listen_from(now);
        }
        if back || forward {
            redate(world, now, forward).await;
        }
    }
}

/// What is dated ahead counts as of now. What was under way while nobody listened has its time again.
async fn redate(world: &World, now: Timestamp, unheard: bool) {
    let dated = move |records: &Records, change: &mut Change| {
        for record in records.agents.values() {
            let agent = agent_by(record, now, unheard);
            if agent != **record {
                change.put_agent(agent);
            }
        }
        for record in records.orders.values() {
            let order = order_by(record, now, unheard);
            if order != **record {
                change.put_order(order);
            }
        }
        Ok::<_, ()>(())
    };
    if let Err(error) = world.journal.transact(dated).await {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "what is dated ahead of the clock stays so");
    }
}

/// What verification said keeps its times: they belong to the evidence. Who was told to stop may not have been reached,
/// so its time to do so counts anew; it is not known who has stopped long ago.
fn agent_by(record: &AgentRecord, now: Timestamp, unheard: bool) -> AgentRecord {
    let mut agent = record.clone();
    agent.registered_at = agent.registered_at.min(now);
    let since = |since: Timestamp| if unheard { now } else { since.min(now) };
    agent.idle_since = agent.idle_since.map(since);
    if let Some(assigned) = &mut agent.assigned {
        assigned.since = assigned.since.min(now);
    }
    agent
}

fn order_by(record: &OrderRecord, now: Timestamp, unheard: bool) -> OrderRecord {
    let mut order = record.clone();
    order.opened_at = order.opened_at.min(now);
    order.times = order.times.by(now);
    let is_launch = matches!(order.work, WorkRecord::Launch { .. });
    if unheard && is_launch && order.state.is_pending() {
        order.times.listened_again_at = Some(now);
    }
    if let OrderPhase::Failed(at) = order.state {
        order.state = OrderPhase::Failed(at.min(now));
    }
    if let Some(claim) = &mut order.claim {
        claim.expires_at = claim.expires_at.min(now.plus(CLAIM));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::testing::launch;

    #[test]
    fn what_is_dated_ahead_of_the_clock_counts_as_of_now() {
        let now = Timestamp::from_millis(1_000_000);
        let mut ahead = launch("tiny-1", OrderPhase::Failed(now.plus(CLAIM)), "worker-1", 1);
        ahead.opened_at = now.plus(CLAIM * 5);
        ahead.claim.as_mut().expect("a claim").expires_at = now.plus(CLAIM * 9);
        let order = order_by(&ahead, now, true);
        assert_eq!(
            (order.opened_at, order.state),
            (now, OrderPhase::Failed(now))
        );
        assert_eq!(order.claim.expect("a claim").expires_at, now.plus(CLAIM));
        let past = launch("tiny-1", OrderPhase::Fulfilled, "worker-1", 1);
        assert_eq!(order_by(&past, now, true), past);
        for phase in [OrderPhase::Open, OrderPhase::Claimed] {
            let pending = launch("tiny-1", phase, "worker-1", 1);
            assert_eq!(order_by(&pending, now, false), pending);
            let again = order_by(&pending, now, true).times.listened_again_at;
            assert_eq!(again, Some(now));
        }
    }
}
