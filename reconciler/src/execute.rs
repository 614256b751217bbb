//! Executes a plan: writes every decision as one durable change, then wakes those who carry it out.
//! It has no choices left. A record is the intent behind an effect: the delivery to an agent, the
//! claim of a worker. After a crash the records are delivered again under the same generation and id.

use std::collections::BTreeSet;
use std::sync::Arc;

use easyenclave_plan::{Action, CancelReason, Plan, Quarantine, RetireReason};
use easyenclave_schemas::records::{
    AgentRecord, AssignmentRecord, OrderPhase, OrderRecord, QuarantineRecord, WorkRecord,
};
use easyenclave_schemas::{
    AgentId, Datacenter, FailureCause, Generation, OrderId, ProviderName, StageTimes, Timestamp,
    WorkerId,
};

use crate::journal::{Change, JournalError, Records};
use crate::revision::Revision;
use crate::world::World;
use crate::{history, losses, rollouts};

/// What an action did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The action.
    pub action: Action,
    /// What came of it.
    pub result: Result<(), Skipped>,
}

/// Why an action did nothing: the world has moved on since the plan was made. The next pass sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// The agent or order is no more.
    Gone,
    /// A later instruction was given already, or the order has moved on.
    Overtaken,
}

/// Makes a plan's decisions durable.
///
/// # Errors
/// When the records cannot be written: then nothing of the plan has happened.
pub async fn execute(
    world: &World,
    revision: &Arc<Revision>,
    plan: &Plan,
    now: Timestamp,
) -> Result<Vec<Outcome>, JournalError> {
    let is_done = rollouts::gone(&world.journal.read(), &Change::default(), revision).is_empty();
    if plan.actions.is_empty() && is_done {
        return Ok(Vec::new());
    }
    let listed = listed(world);
    let decide = Decide {
        revision: Arc::clone(revision),
        listed,
        kept: history::kept(world, revision, now),
        now,
    };
    let actions = plan.actions.clone();
    let outcomes = world
        .journal
        .transact(move |records, change| {
            let mut draft = Draft { records, change };
            let actions = actions.into_iter();
            let outcomes = actions
                .map(|action| decide.run(&mut draft, action))
                .collect();
            rollouts::forget(records, change, &decide.revision);
            Ok::<_, ()>(outcomes)
        })
        .await?
        .unwrap_or_else(|()| Vec::new());
    announce(world, &outcomes, now);
    Ok(outcomes)
}

/// Effects that live in memory only, after the change is on the disk.
fn announce(world: &World, outcomes: &[Outcome], now: Timestamp) {
    for outcome in outcomes.iter().filter(|outcome| outcome.result.is_ok()) {
        match &outcome.action {
            Action::Challenge { agent } => world.challenge(agent.clone(), now),
            Action::Launch { .. } | Action::Retire { .. } => world.orders.notify_waiters(),
            _ => {}
        }
        tracing::info!(action = %outcome.action, "decided");
    }
}

/// Where machines are listed, for those that have no agent.
fn listed(world: &World) -> Vec<(OrderId, WorkerId, ProviderName)> {
    let listings = world.presence.listings();
    listings
        .into_iter()
        .flat_map(|(worker, listing)| {
            let provider = listing.provider;
            listing
                .units
                .into_keys()
                .map(move |order| (order, worker.clone(), provider.clone()))
        })
        .collect()
}

struct Decide {
    revision: Arc<Revision>,
    listed: Vec<(OrderId, WorkerId, ProviderName)>,
    /// Ended orders that say how short a place is, or whose machines may still be there.
    kept: BTreeSet<OrderId>,
    now: Timestamp,
}

/// The records as this change leaves them so far.
struct Draft<'a> {
    records: &'a Records,
    change: &'a mut Change,
}

impl Draft<'_> {
    fn agent(&self, agent: &AgentId) -> Option<AgentRecord> {
        match self.change.staged_agent(agent) {
            Some(staged) => staged.cloned(),
            None => self
                .records
                .agents
                .get(agent)
                .map(|record| AgentRecord::clone(record)),
        }
    }

    fn edit(
        &mut self,
        agent: &AgentId,
        edit: impl FnOnce(&mut AgentRecord) -> Result<(), Skipped>,
    ) -> Result<(), Skipped> {
        let mut record = self.agent(agent).ok_or(Skipped::Gone)?;
        edit(&mut record)?;
        self.change.put_agent(record);
        Ok(())
    }
}

impl Decide {
    fn run(&self, draft: &mut Draft<'_>, action: Action) -> Outcome {
        let result = match &action {
            Action::Unexpose { agent, .. } => draft.edit(agent, |record| {
                record.exposed = None;
                Ok(())
            }),
            Action::Expose { agent, deployment } => draft.edit(agent, |record| {
                record.exposed = Some(deployment.clone());
                Ok(())
            }),
            Action::Unpoint { agent, hostname } => draft.edit(agent, |record| {
                let is_it = record.hostname.as_ref() == Some(hostname);
                record.hostname = record.hostname.take().filter(|_| !is_it);
                Ok(())
            }),
            Action::Point {
                agent, hostname, ..
            } => draft.edit(agent, |record| {
                record.hostname = Some(hostname.clone());
                Ok(())
            }),
            Action::Quarantine { agent, reason } => draft.edit(agent, |record| {
                record.quarantined = Some(match reason {
                    Quarantine::TrustLapsed => QuarantineRecord::TrustLapsed,
                    Quarantine::Refused => QuarantineRecord::Refused,
                });
                Ok(())
            }),
            Action::Release { agent } => draft.edit(agent, |record| {
                record.quarantined = None;
                Ok(())
            }),
            Action::Challenge { agent } => draft.edit(agent, |_| Ok(())),
            Action::Unassign { .. } | Action::Assign { .. } => self.instruct(draft, &action),
            Action::Cancel { order, reason } => self.cancel(draft, order, *reason),
            Action::Retire {
                agent,
                datacenter,
                reason,
            } => self.retire(draft, agent, datacenter, *reason),
            Action::Launch { .. } => self.launch(draft, &action),
            Action::Settle { .. } | Action::Revert { .. } => {
                let by = (self.revision.as_ref(), self.now);
                rollouts::record(draft.records, draft.change, by, &action)
            }
        };
        Outcome { action, result }
    }

    /// Gives an agent its next instruction.
    fn instruct(&self, draft: &mut Draft<'_>, action: &Action) -> Result<(), Skipped> {
        let (agent, generation, assigned) = match action {
            Action::Assign {
                agent,
                generation,
                deployment,
                workload,
            } => {
                let what = (deployment, *workload);
                let version = rollouts::version(draft.records, &self.revision, what)
                    .ok_or(Skipped::Overtaken)?;
                let assigned = AssignmentRecord {
                    deployment: deployment.clone(),
                    digest: *workload,
                    workload: version.workload,
                    health: version.health,
                    secrets: version.secrets,
                    secrets_digest: version.secrets_digest,
                    since: self.now,
                };
                (agent, *generation, Some(assigned))
            }
            Action::Unassign {
                agent, generation, ..
            } => (agent, *generation, None),
            _ => return Ok(()),
        };
        let now = self.now;
        draft.edit(agent, |record| instruct(record, generation, assigned, now))
    }

    /// An order that nobody fulfilled in time has failed; one that is not wanted is withdrawn.
    fn cancel(
        &self,
        draft: &mut Draft<'_>,
        order: &OrderId,
        reason: CancelReason,
    ) -> Result<(), Skipped> {
        let mut record = draft
            .records
            .orders
            .get(order)
            .ok_or(Skipped::Gone)?
            .as_ref()
            .clone();
        // Somebody may have claimed it since the plan was made.
        let is_for_open = matches!(
            reason,
            CancelReason::PlaceRemoved | CancelReason::Expired(FailureCause::NotClaimed)
        );
        let is_open = record.state == OrderPhase::Open;
        if !record.state.is_pending() || (is_for_open && !is_open) {
            return Err(Skipped::Overtaken);
        }
        // Whoever holds it may be making its machine, and has yet to hear that it is over.
        record.unaccounted = !is_open;
        match reason {
            CancelReason::Expired(cause) => {
                record.state = OrderPhase::Failed(self.now);
                record.cause = Some(cause);
                record.error.get_or_insert_with(|| cause.to_string());
            }
            CancelReason::Surplus | CancelReason::TargetRemoved | CancelReason::PlaceRemoved => {
                record.state = OrderPhase::Cancelled;
            }
        }
        draft.change.put_order(record);
        Ok(())
    }

    fn retire(
        &self,
        draft: &mut Draft<'_>,
        agent: &AgentId,
        datacenter: &Datacenter,
        reason: RetireReason,
    ) -> Result<(), Skipped> {
        let order = OrderId::retire(agent);
        let known = draft.records.orders.get(&order);
        if known.is_some_and(|known| known.state.is_pending()) {
            return Ok(());
        }
        let (provider, worker) = self.maker(draft, agent)?;
        if matches!(reason, RetireReason::Gone | RetireReason::Lost) {
            self.note_early_loss(draft, agent);
        }
        draft.change.put_order(OrderRecord {
            order,
            datacenter: datacenter.clone(),
            provider,
            worker: Some(worker),
            work: WorkRecord::Retire {
                agent: agent.clone(),
                reason: reason.to_string(),
            },
            state: OrderPhase::Open,
            opened_at: self.now,
            claim: known.and_then(|known| known.claim.clone()),
            error: None,
            cause: None,
            console: None,
            times: StageTimes::default(),
            unaccounted: false,
        });
        Ok(())
    }

    /// An agent that is lost soon after it registered makes its launch one that failed.
    fn note_early_loss(&self, draft: &mut Draft<'_>, agent: &AgentId) {
        let order = draft.records.orders.get(&agent.order());
        let lost = draft.agent(agent);
        if let Some((order, lost)) = order.zip(lost)
            && let Some(failed) = losses::failed_early(order, lost.registered_at, self.now)
        {
            draft.change.put_order(failed);
        }
    }

    /// Who made an agent's machine: only that worker can destroy it.
    fn maker(
        &self,
        draft: &Draft<'_>,
        agent: &AgentId,
    ) -> Result<(ProviderName, WorkerId), Skipped> {
        if let Some(record) = draft.agent(agent) {
            return Ok((record.provider, record.worker));
        }
        let unit = agent.order();
        let listed = self.listed.iter().find(|(order, ..)| *order == unit);
        listed
            .map(|(_, worker, provider)| (provider.clone(), worker.clone()))
            .ok_or(Skipped::Gone)
    }

    fn launch(&self, draft: &mut Draft<'_>, action: &Action) -> Result<(), Skipped> {
        let Action::Launch {
            order,
            target,
            slot,
            generation,
            failures,
            datacenter,
            provider,
            zone,
            shape,
            size,
            policy,
        } = action
        else {
            return Ok(());
        };
        if draft.records.orders.contains_key(order) {
            return Err(Skipped::Overtaken);
        }
        for outlived in history::outlived(draft.records, (target, *slot), &self.kept) {
            draft.change.drop_order(&outlived);
        }
        draft.change.put_order(OrderRecord {
            order: order.clone(),
            datacenter: datacenter.clone(),
            provider: provider.clone(),
            worker: None,
            work: WorkRecord::Launch {
                target: target.clone(),
                slot: *slot,
                generation: *generation,
                failures: *failures,
                size: size.clone(),
                policy: policy.clone(),
                zone: zone.clone(),
                shape: shape.clone(),
            },
            state: OrderPhase::Open,
            opened_at: self.now,
            claim: None,
            error: None,
            cause: None,
            console: None,
            times: StageTimes::default(),
            unaccounted: false,
        });
        Ok(())
    }
}

/// The generation guards against a plan that was overtaken. It may leave numbers out: an agent can be ahead of its
/// record, as after the store was lost.
fn instruct(
    record: &mut AgentRecord,
    generation: Generation,
    assigned: Option<AssignmentRecord>,
    now: Timestamp,
) -> Result<(), Skipped> {
    if generation <= record.generation {
        return Err(Skipped::Overtaken);
    }
    record.generation = generation;
    record.idle_since = assigned.is_none().then_some(now);
    record.assigned = assigned;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(generation: u64) -> AgentRecord {
        let zero = "00".repeat(32);
        let record = serde_json::json!({
            "agent": "tiny-1", "target": "tiny", "slot": 0, "datacenter": "local", "size": "tiny",
            "provider": "local", "worker": "worker-1", "publicKey": zero, "address": "http://127.0.0.1:9",
            "bootId": "b", "version": "0", "registeredAt": "2026-01-01T00:00:00Z",
            "trust": {"refused": {"code": "EE-ATT-014", "message": "no", "policy": zero}},
            "generation": generation,
        });
        serde_json::from_value(record).expect("a record")
    }

    #[test]
    fn an_instruction_is_above_the_record_however_far_the_agent_is_ahead() {
        let mut agent = record(3);
        let now = agent.registered_at;
        for overtaken in [2, 3] {
            let result = instruct(&mut agent, Generation(overtaken), None, now);
            assert_eq!(result, Err(Skipped::Overtaken));
        }
        assert_eq!(instruct(&mut agent, Generation(7), None, now), Ok(()));
        assert_eq!(agent.generation, Generation(7));
        assert_eq!(agent.idle_since, Some(now));
    }
}
