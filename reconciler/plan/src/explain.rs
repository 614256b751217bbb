//! Says what replicas and reservations without an agent wait for, and which reservations end soon. Decides nothing.

use easyenclave_schemas::{FailureCause, Timestamp};

use crate::draft::{Draft, Unplaced};
use crate::pools::{Pools, Share, Shares};
use crate::reserve::{self, Reserved};
use crate::rules::place::is_free;
use crate::slots::Rest;
use crate::spots::{self, Short};
use crate::view::{DeploymentIx, TargetIx, View, Wanted};
use crate::{Subject, WaitReason};

/// What was done for a target that lacks agents.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Provided {
    /// Orders under way, those of this pass included.
    pub(crate) ordered: u32,
    /// The rest after most failures, when launches rest.
    pub(crate) rest: Option<Rest>,
    /// No place has room now.
    pub(crate) short: Option<Short>,
    /// One launch tries for all whether what they failed of is gone.
    pub(crate) probe: Option<(FailureCause, u32)>,
    /// What is missing may turn up.
    pub(crate) returning: bool,
    /// Nothing is ordered before a worker has listed its machines.
    pub(crate) unheard: bool,
}

/// Adds the waits of deployments.
pub(crate) fn deployments(
    view: &View,
    draft: &mut Draft,
    pools: &Pools,
    provided: &[Provided],
    shares: &[Shares],
) {
    for Shares {
        unplaced,
        shares,
        beyond_quota,
    } in shares
    {
        let deployment = unplaced.deployment;
        for Share { target, count } in shares.iter().filter(|_| unplaced.waits) {
            let provided = provided[target.at()];
            let provided = Provided {
                returning: provided.returning || unplaced.returning,
                ..provided
            };
            let (mut reason, until) = of(view, provided, *target, *count);
            let runtime = view.deployment(deployment).runtime(unplaced.version);
            if let (WaitReason::FreeAgentsUnusable { missing }, Some(runtime)) = (&reason, runtime)
                && pools.is_lacking(*target, unplaced)
            {
                let missing = *missing;
                reason = WaitReason::RuntimeMissing { missing, runtime };
            }
            draft.wait_deployment(view, deployment, reason, until);
        }
        if *beyond_quota > 0 {
            quota(view, draft, deployment);
        }
        let covered: u32 = shares.iter().map(|share| share.count).sum();
        let missing = unplaced.count - covered - beyond_quota;
        if missing > 0 {
            let reason = unprovided(view, pools, unplaced, missing);
            draft.wait_deployment(view, deployment, reason, None);
        }
    }
}

/// Why no target provides for so many replicas.
fn unprovided(view: &View, pools: &Pools, unplaced: &Unplaced, missing: u32) -> WaitReason {
    let of = view.deployment(unplaced.deployment);
    let (Some(spec), Some(runtime)) = (of.state.spec(), of.runtime(unplaced.version)) else {
        return WaitReason::NoTarget;
    };
    let lacks = WaitReason::RuntimeMissing { missing, runtime };
    let mut admitted = pools.admitted(unplaced).peekable();
    if let Some(agent) = spec.placement.agent.clone() {
        WaitReason::AgentNotFree { agent }
    } else if admitted.peek().is_none() {
        let is_open = |target: TargetIx| view.is_open_to(spec, target);
        match view.all_targets().any(is_open) {
            true => lacks,
            false => WaitReason::NoTarget,
        }
    } else if unplaced.reserved {
        WaitReason::ReservedForOthers { missing }
    } else if admitted.any(|target| pools.is_lacking(target, unplaced)) {
        lacks
    } else {
        WaitReason::CapacityExhausted { missing }
    }
}

fn quota(view: &View, draft: &mut Draft, deployment: DeploymentIx) {
    let owner = &view.deployment(deployment).id.owner;
    if let Some(quota) = view.desired.quotas.get(owner) {
        let reason = WaitReason::QuotaExceeded {
            owner: owner.clone(),
            quota: *quota,
        };
        draft.wait_deployment(view, deployment, reason, None);
    }
}

fn of(
    view: &View,
    provided: Provided,
    target: TargetIx,
    missing: u32,
) -> (WaitReason, Option<Timestamp>) {
    if let Some(none) = provided.short {
        return (short(none), Some(none.until));
    }
    if let Some((cause, slots)) = provided.probe {
        return (WaitReason::LaunchesProbing { cause, slots }, None);
    }
    match (provided.rest, view.target(target).state.spec()) {
        (Some(rest), _) => (resting(rest), Some(rest.until)),
        (None, Some(spec)) if provided.unheard => {
            let unusable = WaitReason::FreeAgentsUnusable { missing };
            (spots::unheard(view, spec).unwrap_or(unusable), None)
        }
        _ if provided.returning => (WaitReason::AgentsMayReturn { missing }, None),
        _ if provided.ordered > 0 => (WaitReason::CapacityOrdered { missing }, None),
        _ => (WaitReason::FreeAgentsUnusable { missing }, None),
    }
}

/// What a launch waits for that has no place.
pub(crate) fn short(Short { places, cause, .. }: Short) -> WaitReason {
    WaitReason::PlacesShort { places, cause }
}

/// What a resting launch waits for.
pub(crate) fn resting(
    Rest {
        failures, cause, ..
    }: Rest,
) -> WaitReason {
    WaitReason::LaunchBackoff { failures, cause }
}

/// Adds the waits of reservations that free agents do not cover.
pub(crate) fn reservations(view: &View, draft: &mut Draft, pools: &Pools, provided: &[Provided]) {
    if view.desired.reservations.is_empty() {
        return;
    }
    let mut left = Reserved::new(view, draft);
    let mut free = free(view, draft);
    for (id, reservation) in &view.desired.reservations {
        if !reserve::is_current(view, reservation) {
            continue;
        }
        let subject = Subject::Reservation(id.clone());
        let found = view
            .find_target(&reservation.target)
            .zip(view.owner(&id.owner));
        let Some((target, owner)) = found else {
            draft.wait(subject, WaitReason::NoTarget, None);
            continue;
        };
        if let Some(until) = reserve::near_end(view, reservation) {
            let ends = WaitReason::ReservationEnds {
                target: reservation.target.clone(),
                count: reservation.count,
            };
            draft.wait(subject.clone(), ends, Some(until));
        }
        let mine = reservation.count.min(left.own(target, owner));
        left.take(target, owner, mine);
        let covered = mine.min(free[target.at()]);
        free[target.at()] -= covered;
        if mine > covered {
            let (reason, until) = uncovered(view, pools, provided, target, mine - covered);
            draft.wait(subject, reason, until);
        }
    }
}

/// Agents of each target that can take work now.
fn free(view: &View, draft: &Draft) -> Vec<u32> {
    let mut free = vec![0; view.targets.len()];
    for agent in view.all_agents() {
        free[view.agent(agent).target.at()] += u32::from(is_free(view, draft, agent));
    }
    free
}

fn uncovered(
    view: &View,
    pools: &Pools,
    provided: &[Provided],
    target: TargetIx,
    missing: u32,
) -> (WaitReason, Option<Timestamp>) {
    let supply = pools.supply(target);
    match view.target(target).state {
        Wanted::No => (WaitReason::NoTarget, None),
        Wanted::Frozen => (view.why_target_frozen(target), None),
        Wanted::Yes(_) => match of(view, provided[target.at()], target, missing) {
            (WaitReason::FreeAgentsUnusable { .. }, _) if supply.free + supply.unsure == 0 => {
                (WaitReason::CapacityExhausted { missing }, None)
            }
            reason => reason,
        },
    }
}
