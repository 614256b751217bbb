//! The status of targets and of the reservations on them.

use std::collections::BTreeMap;

use easyenclave_plan::{OrderState, Subject, Target};
use easyenclave_schemas::status::{
    AgentPhase, AgentStatus, CapacityStatus, ConditionStatus, ConditionType, ReservationStatus,
};
use easyenclave_schemas::{AgentId, TargetName};

use super::Sight;
use super::conditions::{Conditions, when};

/// Every target that is wanted.
pub(super) fn targets(
    sight: &Sight<'_>,
    agents: &BTreeMap<AgentId, AgentStatus>,
) -> BTreeMap<TargetName, CapacityStatus> {
    let mut of_target: BTreeMap<&TargetName, Vec<&AgentStatus>> = BTreeMap::new();
    for agent in agents.values() {
        of_target.entry(&agent.target).or_default().push(agent);
    }
    let desired = &sight.report.revision.desired.targets;
    desired
        .iter()
        .map(|(name, target)| {
            let agents = of_target.get(name).map(Vec::as_slice).unwrap_or_default();
            (name.clone(), status(sight, name, target, agents))
        })
        .collect()
}

fn status(
    sight: &Sight<'_>,
    name: &TargetName,
    target: &Target,
    agents: &[&AgentStatus],
) -> CapacityStatus {
    let count = |test: &dyn Fn(&AgentStatus) -> bool| {
        u32::try_from(agents.iter().filter(|agent| test(agent)).count()).unwrap_or(u32::MAX)
    };
    let waits = sight.waits(&Subject::Target(name.clone()));
    let pending = pending(sight, name);
    let retiring = count(&|agent| agent.phase == AgentPhase::Retired);
    let idle = count(&|agent| agent.phase == AgentPhase::Idle);
    let moving = pending > 0 || retiring > 0;
    let previous = sight
        .previous
        .and_then(|previous| previous.capacity.get(name));
    let previous = previous.map(|previous| previous.conditions.as_slice());
    let gone = [
        AgentPhase::Retired,
        AgentPhase::Quarantined,
        AgentPhase::Lost,
    ];
    let there = count(&|agent| !gone.contains(&agent.phase));
    let full = agents.len() >= target.max as usize;
    let (status, reason, message) = available(target, there, idle, full);
    CapacityStatus {
        target: name.clone(),
        datacenter: target.datacenter.clone(),
        node_size: target.size.clone(),
        phase: match (moving, waits.is_empty()) {
            (true, _) => "scaling",
            (false, true) => "steady",
            (false, false) => "blocked",
        }
        .into(),
        min: target.min,
        max: target.max,
        warm: target.warm,
        agents: count(&|_| true),
        assigned: count(&|agent| agent.assigned.is_some()),
        idle,
        pending,
        retiring,
        reservations: reservations(sight, name),
        conditions: Conditions::new(previous, sight.now())
            .add(ConditionType::Available, status, reason, message)
            .done(),
        waits,
    }
}

/// Whether as many agents can serve as are wanted at the least, and as many of them are idle.
fn available(
    target: &Target,
    there: u32,
    idle: u32,
    full: bool,
) -> (ConditionStatus, &'static str, String) {
    let enough = idle >= target.warm || full;
    let warm = format!("{idle} idle, {} wanted idle", target.warm);
    match (there >= target.min, enough) {
        (false, _) => {
            let few = format!("{there} there, {} wanted at the least", target.min);
            (when(false), "TooFewAgents", few)
        }
        (true, true) => (when(true), "WarmEnough", warm),
        (true, false) => (when(false), "TooFewIdle", warm),
    }
}

fn pending(sight: &Sight<'_>, name: &TargetName) -> u32 {
    let launches = sight.report.observed.launches.values();
    let pending = launches
        .filter(|order| order.target == *name && OrderState::is_pending(order.state))
        .count();
    u32::try_from(pending).unwrap_or(u32::MAX)
}

fn reservations(sight: &Sight<'_>, name: &TargetName) -> Vec<ReservationStatus> {
    let reservations = &sight.report.revision.desired.reservations;
    reservations
        .iter()
        .filter(|(_, reservation)| reservation.target == *name)
        .map(|(id, reservation)| ReservationStatus {
            reservation: id.clone(),
            count: reservation.count,
            until: reservation.until,
            waits: sight.waits(&Subject::Reservation(id.clone())),
        })
        .collect()
}
