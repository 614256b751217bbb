//! Orders that the records have lost. The id of a launch order is a hash of its target, slot and number, so a machine
//! that a worker lists tells where it belongs; with that and the claim under which it was made, its agent's token can be
//! checked and the agent taken in again. Never for a slot that a record names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use easyenclave_schemas::records::{ClaimRecord, OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::{FleetId, OrderId, StageTimes, TargetName, Timestamp};

use crate::journal::Records;
use crate::revision::Revision;
use crate::world::World;

/// So many ids are tried for a target, or twice its slots, the first numbers of all slots before the second ones. A
/// slot whose launches failed more often than that reaches is not found, and its machine belongs to nothing.
const TRIED: u64 = 100_000;

/// Slots beyond a target's maximum that are tried all the same: it may have been lowered.
const MORE_SLOTS: u32 = 32;

/// Where a machine belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Its target.
    pub target: TargetName,
    /// Its slot.
    pub slot: u32,
    /// The number of its order in that slot.
    pub generation: u64,
}

/// What was found out under one revision.
#[derive(Debug, Default)]
pub struct Recall(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    revision: String,
    homes: BTreeMap<OrderId, Option<Home>>,
}

impl Recall {
    /// Looks for the homes of these machines. What was looked for before costs nothing.
    pub fn look(&self, revision: &Revision, unknown: BTreeSet<OrderId>) -> BTreeMap<OrderId, Home> {
        let mut found = self.lock();
        if found.revision != revision.commit {
            found.revision.clone_from(&revision.commit);
            found.homes.clear();
        }
        let new = unknown
            .iter()
            .filter(|id| !found.homes.contains_key(*id))
            .cloned();
        let new: BTreeSet<OrderId> = new.collect();
        for (target, spec) in &revision.desired.targets {
            let slots = spec.max.saturating_mul(2).saturating_add(MORE_SLOTS);
            let homes = search(&revision.desired.fleet, target, slots, &new);
            found
                .homes
                .extend(homes.into_iter().map(|(id, home)| (id, Some(home))));
        }
        for id in new {
            found.homes.entry(id).or_default();
        }
        let home = |id: OrderId| Some((id.clone(), found.homes.get(&id)?.clone()?));
        unknown.into_iter().filter_map(home).collect()
    }

    /// The home of a machine, if it was looked for.
    fn known(&self, id: &OrderId) -> Option<Home> {
        self.lock().homes.get(id)?.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn search(
    fleet: &FleetId,
    target: &TargetName,
    slots: u32,
    unknown: &BTreeSet<OrderId>,
) -> BTreeMap<OrderId, Home> {
    let prefix = format!("{target}-");
    let ours = unknown
        .iter()
        .filter(|id| id.as_str().starts_with(&prefix))
        .count();
    let tries = TRIED.max(u64::from(slots) * 2);
    let generations = 1..=tries / u64::from(slots);
    let all = generations.flat_map(|generation| (0..slots).map(move |slot| (slot, generation)));
    let home = |(slot, generation)| {
        let id = OrderId::launch(fleet, target, slot, generation);
        let target = target.clone();
        unknown.contains(&id).then_some((
            id,
            Home {
                target,
                slot,
                generation,
            },
        ))
    };
    match ours {
        0 => BTreeMap::new(),
        ours => all.filter_map(home).take(ours).collect(),
    }
}

/// The order behind a machine that a worker lists and no record knows.
pub fn order(
    world: &World,
    records: &Records,
    id: &OrderId,
    now: Timestamp,
) -> Option<OrderRecord> {
    let home = world.recall.known(id)?;
    if !is_vacant(records, &home.target, home.slot) {
        return None;
    }
    let revision = world.revision()?;
    let spec = revision.desired.targets.get(&home.target)?;
    let listed = world.presence.listed(id)?;
    Some(OrderRecord {
        order: id.clone(),
        datacenter: listed.datacenter,
        provider: listed.provider,
        worker: None,
        work: WorkRecord::Launch {
            target: home.target,
            slot: home.slot,
            generation: home.generation,
            failures: 0,
            size: spec.size.clone(),
            policy: spec.policy.clone(),
            zone: None,
            shape: None,
        },
        state: OrderPhase::Provisioning,
        opened_at: now,
        claim: Some(ClaimRecord {
            worker: listed.worker,
            fence: listed.fence?,
            expires_at: now,
        }),
        error: None,
        cause: None,
        console: None,
        times: StageTimes::default(),
        unaccounted: false,
    })
}

/// Whether no record names a slot.
pub fn is_vacant(records: &Records, target: &TargetName, slot: u32) -> bool {
    !slots(records).any(|taken| taken == (target, slot))
}

/// The slots that records name.
pub fn slots(records: &Records) -> impl Iterator<Item = (&TargetName, u32)> {
    let launched = records
        .orders
        .values()
        .filter_map(|order| match &order.work {
            WorkRecord::Launch { target, slot, .. } => Some((target, *slot)),
            WorkRecord::Retire { .. } => None,
        });
    let agents = records.agents.values();
    launched.chain(agents.map(|agent| (&agent.target, agent.slot)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_slot_and_number_and_a_strangers_tells_nothing() {
        let (fleet, target) = (
            "test".parse().expect("a name"),
            "tiny".parse().expect("a name"),
        );
        let mine = OrderId::launch(&fleet, &target, 3, 2);
        let other = OrderId::launch(&"other".parse().expect("a name"), &target, 3, 2);
        let unknown = BTreeSet::from([mine.clone(), other, "tiny-x".parse().expect("a name")]);
        let home = Home {
            target: target.clone(),
            slot: 3,
            generation: 2,
        };
        let found = search(&fleet, &target, 8, &unknown);
        assert_eq!(found, BTreeMap::from([(mine, home)]));
    }
}
