//! Orders as workers are given them, found without a look at all of them.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_schemas::records::{OrderPhase, OrderRecord};
use easyenclave_schemas::{OrderId, ProviderName, Timestamp, WorkerId};

/// An order by its age.
type Entry = (Timestamp, OrderId);

/// The pending orders of the records.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    /// Those that nobody holds, by who may have them: a provider's workers, or only one of them.
    open: BTreeMap<(ProviderName, Option<WorkerId>), BTreeSet<Entry>>,
    /// Those that a worker holds, by worker.
    held: BTreeMap<WorkerId, BTreeSet<Entry>>,
    /// The same, by the time at which the claim lapses.
    ends: BTreeSet<Entry>,
}

impl Queue {
    /// Takes a record in.
    pub(super) fn put(&mut self, order: &OrderRecord) {
        match (order.state, &order.claim) {
            (OrderPhase::Open, _) => {
                let queue = self.open.entry(may_have(order)).or_default();
                queue.insert(entry(order));
            }
            (OrderPhase::Claimed | OrderPhase::Provisioning, Some(claim)) => {
                let of_worker = self.held.entry(claim.worker.clone()).or_default();
                of_worker.insert(entry(order));
                self.ends.insert((claim.expires_at, order.order.clone()));
            }
            _ => {}
        }
    }

    /// Takes a record out, as it was put in.
    pub(super) fn take(&mut self, order: &OrderRecord) {
        take_from(&mut self.open, &may_have(order), &entry(order));
        if let Some(claim) = &order.claim {
            take_from(&mut self.held, &claim.worker, &entry(order));
            self.ends.remove(&(claim.expires_at, order.order.clone()));
        }
    }

    /// The open orders that only this worker may have, or any of the provider, oldest first.
    pub(super) fn open(
        &self,
        provider: &ProviderName,
        only: Option<&WorkerId>,
    ) -> impl Iterator<Item = &OrderId> {
        let queue = self.open.get(&(provider.clone(), only.cloned()));
        queue.into_iter().flatten().map(|(_, order)| order)
    }

    /// What a worker holds, oldest first.
    pub(super) fn held(&self, worker: &WorkerId) -> impl Iterator<Item = &OrderId> {
        let queue = self.held.get(worker);
        queue.into_iter().flatten().map(|(_, order)| order)
    }

    /// Those whose claims have lapsed.
    pub(super) fn lapsed(&self, now: Timestamp) -> impl Iterator<Item = &OrderId> {
        let lapsed = self.ends.iter().take_while(move |(at, _)| *at <= now);
        lapsed.map(|(_, order)| order)
    }
}

fn entry(order: &OrderRecord) -> Entry {
    (order.opened_at, order.order.clone())
}

fn may_have(order: &OrderRecord) -> (ProviderName, Option<WorkerId>) {
    (order.provider.clone(), order.worker.clone())
}

fn take_from<K: Ord>(queues: &mut BTreeMap<K, BTreeSet<Entry>>, key: &K, entry: &Entry) {
    if let Some(queue) = queues.get_mut(key) {
        queue.remove(entry);
        if queue.is_empty() {
            queues.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::testing::launch;

    fn ids<'a>(orders: impl Iterator<Item = &'a OrderId>) -> Vec<&'a str> {
        orders.map(OrderId::as_str).collect()
    }

    #[test]
    fn an_order_is_where_its_state_and_its_claim_say_and_leaves_nothing_behind() {
        let (provider, worker) = (
            "local".parse().expect("a name"),
            "w-1".parse().expect("a name"),
        );
        let at = Timestamp::from_millis;
        let mut queue = Queue::default();
        let mut older = launch("b", OrderPhase::Open, "w-1", 1);
        let mut open = launch("a", OrderPhase::Open, "w-1", 1);
        open.opened_at = at(5);
        queue.put(&open);
        queue.put(&older);
        assert_eq!(ids(queue.open(&provider, None)), ["b", "a"]);
        queue.take(&older);
        older.worker = Some(worker);
        queue.put(&older);
        let worker = older.worker.clone();
        assert_eq!(ids(queue.open(&provider, worker.as_ref())), ["b"]);
        queue.take(&open);
        open.state = OrderPhase::Claimed;
        queue.put(&open);
        let worker = worker.expect("set");
        assert_eq!(ids(queue.held(&worker)), ["a"]);
        let ends = open.claim.as_ref().expect("a claim").expires_at;
        assert_eq!(ids(queue.lapsed(ends)), ["a"]);
        assert!(ids(queue.lapsed(at(ends.as_millis() - 1))).is_empty());
        for order in [&older, &open] {
            queue.take(order);
        }
        let left = (queue.open.len(), queue.held.len(), queue.ends.len());
        assert_eq!(left, (0, 0, 0));
    }
}
