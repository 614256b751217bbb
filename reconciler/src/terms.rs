//! An order as the worker that has claimed it sees it. It carries all that its provider needs, so that workers read no
//! state repository.

use easyenclave_schemas::documents::{ProviderSpec, TrustRootKind};
use easyenclave_schemas::records::{OrderRecord, WorkRecord};
use easyenclave_schemas::wire::{LaunchSpec, Machine, Order, OrderWork};
use easyenclave_schemas::{FleetId, OrderId, PolicyName, TargetName};

use crate::revision::Revision;
use crate::world::World;

/// An order as it is handed out; none unless somebody has claimed it.
pub(crate) fn of(world: &World, revision: &Revision, order: &OrderRecord) -> Option<Order> {
    let claim = order.claim.as_ref()?;
    let lost_after = revision.desired.limits.worker_lost_after;
    let fleet: FleetId = revision.desired.fleet.clone();
    let work = match &order.work {
        WorkRecord::Launch {
            target,
            size,
            policy,
            zone,
            shape,
            ..
        } => {
            let provider = revision.providers.get(&order.provider);
            let (zone, shape) = (zone.as_ref(), shape.as_ref());
            OrderWork::Launch(LaunchSpec {
                node_size: size.clone(),
                max_units: max_units(world, revision, order, target),
                reconciler_url: world.public_url.clone(),
                reconciler_key: world.keypair.public().to_string(),
                machine: provider.and_then(|spec| Machine::of(spec, size, zone, shape)),
                simulated: trusts_simulated(revision, policy),
            })
        }
        WorkRecord::Retire { agent, .. } => OrderWork::Retire {
            unit: agent.order(),
        },
    };
    Some(Order {
        order_id: order.order.clone(),
        fleet_id: fleet,
        datacenter: order.datacenter.clone(),
        provider: order.provider.clone(),
        epoch: world.epoch,
        fence: claim.fence,
        claim_expires_at: claim.expires_at,
        worker_lost_after_millis: u64::try_from(lost_after.as_millis()).ok(),
        work,
    })
}

/// The most machines that the worker may have: what its provider allows, and no more of the target than its maximum
/// less what others have of it. What the worker has beside, of other targets or of nobody, takes nothing of that. A
/// provider whose document is gone makes nothing more.
fn max_units(world: &World, revision: &Revision, order: &OrderRecord, target: &TargetName) -> u32 {
    let provider = revision.providers.get(&order.provider);
    let most = provider.map_or(0, ProviderSpec::max_agents);
    let claim = order.claim.as_ref();
    let (Some(spec), Some(claim)) = (revision.desired.targets.get(target), claim) else {
        return most;
    };
    let records = world.journal.read();
    let (elsewhere, beside) = records.machines(target, &claim.worker);
    let units = world.presence.units(&claim.worker);
    let is_known = |unit: &&OrderId| {
        let order = records.orders.get(*unit);
        let is_held = order.is_some_and(|order| order.state.is_held());
        is_held || records.agents.contains_key(unit.as_str())
    };
    let strangers = units.iter().filter(|unit| !is_known(unit)).count();
    let beside = beside.saturating_add(u32::try_from(strangers).unwrap_or(u32::MAX));
    let own = spec.max.saturating_sub(elsewhere);
    most.min(own.saturating_add(beside))
}

/// Whether a policy trusts a simulated root; not, while it cannot be read.
fn trusts_simulated(revision: &Revision, policy: &PolicyName) -> bool {
    let policy = revision.policies.get(policy);
    policy.is_some_and(|spec| spec.trust_root.kind == TrustRootKind::Simulated)
}
