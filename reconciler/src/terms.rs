//! An order as the worker that has claimed it sees it. It carries all that its provider needs, so that workers read no
//! state repository.

use easyenclave_schemas::documents::{ProviderSpec, TrustRootKind};
use easyenclave_schemas::records::{OrderRecord, WorkRecord};
use easyenclave_schemas::wire::{LaunchSpec, Machine, Order, OrderWork};
use easyenclave_schemas::{FleetId, PolicyName, ProviderName};

use crate::revision::Revision;
use crate::world::World;

/// An order as it is handed out; none unless somebody has claimed it.
pub(crate) fn of(world: &World, revision: &Revision, order: &OrderRecord) -> Option<Order> {
    let claim = order.claim.as_ref()?;
    let lost_after = revision.desired.limits.worker_lost_after;
    let fleet: FleetId = revision.desired.fleet.clone();
    let work = match &order.work {
        WorkRecord::Launch {
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
                max_units: max_units(revision, &order.provider),
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

/// The worker's own ceiling. A provider whose document is gone makes nothing more.
fn max_units(revision: &Revision, provider: &ProviderName) -> u32 {
    revision
        .providers
        .get(provider)
        .map_or(0, ProviderSpec::max_agents)
}

/// Whether a policy trusts a simulated root; not, while it cannot be read.
fn trusts_simulated(revision: &Revision, policy: &PolicyName) -> bool {
    let policy = revision.policies.get(policy);
    policy.is_some_and(|spec| spec.trust_root.kind == TrustRootKind::Simulated)
}
