//! What the planner is told of names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use easyenclave_plan::Fronts;
use easyenclave_schemas::records::AgentRecord;

use crate::journal::Records;
use crate::revision::Revision;
use crate::world::World;

/// Where names lead, as far as deployments have or had any.
pub fn fronts(world: &World, revision: &Revision, records: &Records) -> Fronts {
    let records = || records.agents.values();
    let decided = records().filter_map(|record| {
        let hostname = record.hostname.clone()?;
        Some((hostname, record.agent.clone()))
    });
    let decided: BTreeMap<_, _> = decided.collect();
    let wanted = &revision.desired.hostnames;
    if wanted.is_empty() && decided.is_empty() {
        return Fronts::default();
    }
    let names = world.ways.names();
    let known: BTreeSet<_> = wanted.values().chain(decided.keys()).collect();
    let listed = names.is_some();
    let dead = world.ways.dead();
    let leads = names.into_iter().flatten();
    let leads = leads.filter(|(name, _)| known.contains(name) && !dead.contains(name));
    let is_named = |record: &&Arc<AgentRecord>| {
        let deployment = record.exposed.as_ref();
        deployment.is_some_and(|deployment| wanted.contains_key(deployment))
    };
    let open = records().filter(is_named).filter_map(|record| {
        let is_open = world.ways.is_open(&record.agent, &world.presence)?;
        Some((record.agent.clone(), is_open))
    });
    Fronts {
        listed,
        leads: leads.collect(),
        open: open.collect(),
        decided,
    }
}
