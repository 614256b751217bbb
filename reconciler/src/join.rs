//! Registration: an agent is taken in when its order is open to it, its token is its own, its nonce is
//! fresh and its evidence is accepted. Only this makes a launch order fulfilled.

use std::collections::BTreeSet;
use std::sync::Arc;

use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::evidence::{Outcome, ReasonCode, Rejection, Verdict};
use easyenclave_schemas::records::{AgentRecord, OrderPhase, OrderRecord, TrustRecord, WorkRecord};
use easyenclave_schemas::wire::RegisterRequest;
use easyenclave_schemas::{Generation, OrderId, Timestamp};
use easyenclave_store::Space;

use crate::journal::Records;
use crate::revision::Applied;
use crate::trust::{self, Attempt, BoundTo, Exhibit, Filing, Judgement, Tried, counts, internal};
use crate::world::World;
use crate::{recall, stages};

/// Takes an agent in. The request's signature was checked against the key that it names.
///
/// # Errors
/// A rejection with the first reason that was found.
pub async fn register(
    world: &World,
    request: RegisterRequest,
    now: Timestamp,
) -> Result<Verdict, Rejection> {
    let mut tried = Tried::new(request.order_id.clone(), &request.nonce);
    let result = admitted(world, request, now, &mut tried).await;
    trust::tell(world, &tried, result.as_ref());
    result
}

/// Notes whether the agent of an order could not be judged: a machine that no record knows is nobody's only when nothing
/// but its own agent's silence keeps it from being taken in again.
pub(crate) fn note(world: &World, order: &OrderId, refused: Option<&Rejection>) {
    let unjudged = refused.is_some_and(|rejection| trust::may_be_over(rejection.code));
    let at = unjudged.then(|| world.clock.now());
    world.presence.unjudged(order, at);
}

async fn admitted(
    world: &World,
    request: RegisterRequest,
    now: Timestamp,
    tried: &mut Tried,
) -> Result<Verdict, Rejection> {
    let open = open_order(world, &request, now)?;
    let id = open.0.order.clone();
    let result = taken_in(world, request, open, tried, now).await;
    note(world, &id, result.as_ref().err());
    result
}

async fn taken_in(
    world: &World,
    request: RegisterRequest,
    (order, before): (Arc<OrderRecord>, Option<TrustRecord>),
    tried: &mut Tried,
    now: Timestamp,
) -> Result<Verdict, Rejection> {
    let applied = policy_for(world, &order)?;
    tried.under(&applied.policy);
    let attempt = Attempt {
        order: request.order_id.clone(),
        evidence: request.evidence.clone(),
        bound: BoundTo {
            nonce: request.nonce.clone(),
            ita: request.ita_nonce.clone(),
            public_key: request.public_key.clone(),
        },
    };
    let applied = Arc::new(applied);
    let judged = trust::judge(world, attempt, Arc::clone(&applied), now).await;
    let (verdict, exhibit) = match judged {
        Ok(accepted) => accepted,
        Err(turned) => {
            stages::refused(world, &order, turned.rejection.code).await;
            return Err(turned.rejection);
        }
    };
    let revision = world.revision().ok_or(ReasonCode::DependencyUnavailable)?;
    let judgement = Judgement {
        agent: order.order.agent(),
        exhibit: Arc::clone(&exhibit),
        applied,
        outcome: Outcome::Accepted(Box::new(verdict.clone())),
    };
    let filing = world.judge.file(judgement, &revision).await;
    let accepted = Accepted {
        order,
        before,
        verdict: verdict.clone(),
        filing: filing.ok_or(ReasonCode::Internal)?,
        exhibit,
    };
    admit(world, request, accepted, now).await?;
    world.wake.notify_one();
    world.orders.notify_waiters();
    Ok(verdict)
}

/// The order of this id, as it is recorded or as the machine that it made tells of it.
pub(crate) fn find_order(
    world: &World,
    records: &Records,
    id: &OrderId,
    now: Timestamp,
) -> Option<Arc<OrderRecord>> {
    let recorded = records.orders.get(id).cloned();
    recorded.or_else(|| recall::order(world, records, id, now).map(Arc::new))
}

/// The order behind a registration, when it is open to this agent and the token is its own, and what was known of the agent.
fn open_order(
    world: &World,
    request: &RegisterRequest,
    now: Timestamp,
) -> Result<(Arc<OrderRecord>, Option<TrustRecord>), Rejection> {
    let records = world.journal.read();
    let order = find_order(world, &records, &request.order_id, now);
    let order = order.ok_or(ReasonCode::OrderUnknown)?;
    admissible(world, &records, &order, request)?;
    let known = records.agents.get(&order.order.agent());
    let before = known.map(|known| known.trust.clone());
    Ok((order, before))
}

/// The same key and order is the same agent; another key under a used token is a stranger.
fn admissible(
    world: &World,
    records: &Records,
    order: &OrderRecord,
    request: &RegisterRequest,
) -> Result<(), Rejection> {
    if !world
        .tokens
        .is_bootstrap(&request.bootstrap_token, &order.order, fence(order))
    {
        return Err(ReasonCode::TokenWrong.into());
    }
    match order.state {
        OrderPhase::Claimed | OrderPhase::Provisioning => Ok(()),
        OrderPhase::Fulfilled => match records.agents.get(&order.order.agent()) {
            Some(known) if known.public_key == request.public_key => Ok(()),
            _ => Err(ReasonCode::TokenUsed.into()),
        },
        OrderPhase::Open | OrderPhase::Failed(_) | OrderPhase::Cancelled => {
            Err(ReasonCode::OrderUnknown.into())
        }
    }
}

pub(crate) fn policy_for(world: &World, order: &OrderRecord) -> Result<Applied, Rejection> {
    let WorkRecord::Launch {
        policy,
        size,
        target,
        ..
    } = &order.work
    else {
        return Err(ReasonCode::OrderUnknown.into());
    };
    let revision = world.revision().ok_or(ReasonCode::DependencyUnavailable)?;
    // The target's policy of now counts, not that of the day when the order was opened.
    let policy = revision
        .desired
        .targets
        .get(target)
        .map_or(policy, |target| &target.policy);
    revision.policy(policy, size)
}

/// The number of an order's newest claim; tokens are good for one.
fn fence(order: &OrderRecord) -> u64 {
    order.claim.as_ref().map_or(0, |claim| claim.fence)
}

/// While the evidence was judged, the order can have ended, or its claim have lapsed and another worker have taken
/// it: the agent would count as a machine of that worker's.
fn still_open(order: &OrderRecord, claim: u64) -> Result<(), Rejection> {
    match order.state {
        OrderPhase::Claimed | OrderPhase::Provisioning | OrderPhase::Fulfilled => {}
        OrderPhase::Open | OrderPhase::Failed(_) | OrderPhase::Cancelled => {
            return Err(ReasonCode::OrderUnknown.into());
        }
    }
    if fence(order) != claim {
        return Err(ReasonCode::TokenWrong.into());
    }
    Ok(())
}

/// What was found good.
struct Accepted {
    /// The order under whose claim the token is good.
    order: Arc<OrderRecord>,
    /// What was known of the agent when its evidence was taken.
    before: Option<TrustRecord>,
    verdict: Verdict,
    exhibit: Arc<Exhibit>,
    filing: Filing,
}

/// Writes the agent and fulfils its order, if nobody else has done so meanwhile.
async fn admit(
    world: &World,
    request: RegisterRequest,
    accepted: Accepted,
    now: Timestamp,
) -> Result<(), Rejection> {
    let evidence = serde_json::to_vec(&*accepted.exhibit).expect("evidence is plain data");
    // Before its record is seen by a pass: an agent that comes back may carry a replica, and must not be given another.
    if !world.journal.read().orders.contains_key(&request.order_id) {
        world.presence.returned(&request, now);
    }
    world
        .journal
        .transact(move |records, change| {
            let order = newest(records, &accepted.order)?;
            still_open(order, fence(&accepted.order))?;
            let known = records.agents.get(&order.order.agent());
            if known.is_some_and(|known| known.public_key != request.public_key) {
                return Err(ReasonCode::TokenUsed.into());
            }
            let mut agent = agent_record(
                order,
                &request,
                accepted.verdict,
                now,
                known.map(AsRef::as_ref),
            )?;
            if known
                .is_some_and(|known| !counts(&agent.trust, accepted.before.as_ref(), &known.trust))
            {
                return Err(overtaken());
            }
            let before = known.and_then(|known| known.evidence);
            agent.evidence = Some(accepted.filing.record);
            accepted.filing.put(change, before);
            change.put(Space::Evidence, agent.agent.as_str(), evidence);
            change.put_agent(agent);
            let mut order = OrderRecord::clone(order);
            order.state = OrderPhase::Fulfilled;
            order.error = None;
            order.cause = None;
            order.times.registered_at.get_or_insert(now);
            change.put_order(order);
            Ok(())
        })
        .await
        .map_err(|error| internal(&error))?
}

/// What was found of newer evidence meanwhile stands; fresh evidence may change it.
fn overtaken() -> Rejection {
    let message = "the nonce is older than the evidence that this agent has shown since";
    Rejection::new(ReasonCode::NonceExpired, message)
}

/// The order as it is recorded by now. One that the records had lost counts as it was found, unless its slot has been
/// given away meanwhile.
fn newest<'a>(
    records: &'a Records,
    judged: &'a Arc<OrderRecord>,
) -> Result<&'a Arc<OrderRecord>, Rejection> {
    if let Some(order) = records.orders.get(&judged.order) {
        return Ok(order);
    }
    match &judged.work {
        WorkRecord::Launch { target, slot, .. } if recall::is_vacant(records, target, *slot) => {
            tracing::info!(agent = %judged.order, "an agent that no record knew is taken in again");
            Ok(judged)
        }
        _ => Err(ReasonCode::OrderUnknown.into()),
    }
}

fn agent_record(
    order: &OrderRecord,
    request: &RegisterRequest,
    verdict: Verdict,
    now: Timestamp,
    known: Option<&AgentRecord>,
) -> Result<AgentRecord, Rejection> {
    let WorkRecord::Launch {
        target, slot, size, ..
    } = &order.work
    else {
        return Err(ReasonCode::OrderUnknown.into());
    };
    let worker = order.claim.as_ref().map(|claim| claim.worker.clone());
    Ok(AgentRecord {
        agent: order.order.agent(),
        target: target.clone(),
        slot: *slot,
        datacenter: order.datacenter.clone(),
        size: size.clone(),
        provider: order.provider.clone(),
        worker: worker.ok_or(ReasonCode::OrderUnknown)?,
        public_key: request.public_key.clone(),
        address: request.address.clone(),
        boot_id: request.boot_id.clone(),
        version: request.version.chars().take(40).collect(),
        runtimes: runtimes(&request.runtimes),
        registered_at: known.map_or(now, |known| known.registered_at),
        trust: TrustRecord::Accepted(Box::new(verdict)),
        evidence: None,
        generation: known.map_or(Generation::default(), |known| known.generation),
        assigned: known.and_then(|known| known.assigned.clone()),
        idle_since: known.and_then(|known| known.idle_since),
        quarantined: known.and_then(|known| known.quarantined),
        exposed: known.and_then(|known| known.exposed.clone()),
        hostname: known.and_then(|known| known.hostname.clone()),
    })
}

/// Each once: whoever says more says nothing more.
pub(crate) fn runtimes(said: &[Runtime]) -> Vec<Runtime> {
    let said: BTreeSet<_> = said.iter().copied().collect();
    said.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::testing::launch;

    #[test]
    fn an_order_that_another_worker_has_taken_meanwhile_takes_nobody_in() {
        let held = launch("tiny-1", OrderPhase::Provisioning, "worker-2", 2);
        assert_eq!(still_open(&held, 2), Ok(()));
        let code = |order: &OrderRecord, claim| still_open(order, claim).map_err(|no| no.code);
        assert_eq!(code(&held, 1), Err(ReasonCode::TokenWrong));
        let over = launch("tiny-1", OrderPhase::Cancelled, "worker-2", 2);
        assert_eq!(code(&over, 2), Err(ReasonCode::OrderUnknown));
    }
}
