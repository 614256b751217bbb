//! How many machines workers have of each target, as far as records tell: agents, and launches that are held.

use std::collections::BTreeMap;

use easyenclave_schemas::records::{AgentRecord, OrderRecord, WorkRecord};
use easyenclave_schemas::{TargetName, WorkerId};

/// Counts of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Machines(BTreeMap<TargetName, BTreeMap<WorkerId, u32>>);

impl Machines {
    pub(super) fn put_agent(&mut self, agent: &AgentRecord) {
        self.add(&agent.target, &agent.worker);
    }

    pub(super) fn take_agent(&mut self, agent: &AgentRecord) {
        self.sub(&agent.target, &agent.worker);
    }

    pub(super) fn put_order(&mut self, order: &OrderRecord) {
        if let Some((target, worker)) = held(order) {
            self.add(target, worker);
        }
    }

    pub(super) fn take_order(&mut self, order: &OrderRecord) {
        if let Some((target, worker)) = held(order) {
            self.sub(target, worker);
        }
    }

    /// Those of a target with other workers.
    pub(super) fn elsewhere(&self, target: &TargetName, worker: &WorkerId) -> u32 {
        let of_target = self.0.get(target).into_iter().flatten();
        of_target
            .filter(|(other, _)| *other != worker)
            .map(|(_, count)| count)
            .sum()
    }

    /// Those of other targets with a worker.
    pub(super) fn beside(&self, target: &TargetName, worker: &WorkerId) -> u32 {
        let others = self.0.iter().filter(|(other, _)| *other != target);
        others.filter_map(|(_, workers)| workers.get(worker)).sum()
    }

    fn add(&mut self, target: &TargetName, worker: &WorkerId) {
        let workers = self.0.entry(target.clone()).or_default();
        *workers.entry(worker.clone()).or_default() += 1;
    }

    fn sub(&mut self, target: &TargetName, worker: &WorkerId) {
        let Some(workers) = self.0.get_mut(target) else {
            return;
        };
        if let Some(count) = workers.get_mut(worker) {
            *count -= 1;
            if *count == 0 {
                workers.remove(worker);
            }
        }
        if workers.is_empty() {
            self.0.remove(target);
        }
    }
}

/// The target and the holder of a launch that is under way.
fn held(order: &OrderRecord) -> Option<(&TargetName, &WorkerId)> {
    match (&order.work, &order.claim) {
        (WorkRecord::Launch { target, .. }, Some(claim)) if order.state.is_held() => {
            Some((target, &claim.worker))
        }
        _ => None,
    }
}
