//! Whether a deployment that no agent is there for may get one although no other document changes. A call is refused only
//! where that is surely not so: what is committed waits, and what is refused is lost.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_plan::{
    Action, Agent, Deployment, Desired, Liveness, Observed, Plan, Reported, Trust, WaitReason,
};
use easyenclave_schemas::{AgentId, DeploymentId, OwnerName, TargetName};

use crate::whynot::waits;

/// Whether only another document helps. It does not where the plan provides for a part of the replicas, or machines that
/// are in the way are on their way out.
pub(crate) fn is_hopeless(
    id: &DeploymentId,
    desired: &Desired,
    observed: &Observed,
    plan: &Plan,
) -> bool {
    let wanted = desired.deployments.get(id);
    let makes_room = || wanted.is_some_and(|wanted| makes_room(wanted, desired, observed, plan));
    let is_final = |reason: &WaitReason| match reason {
        WaitReason::NoTarget => true,
        WaitReason::QuotaExceeded { owner, quota } => wanted_by(owner, desired) > u64::from(*quota),
        WaitReason::CapacityExhausted { .. } | WaitReason::ReservedForOthers { .. } => {
            !makes_room()
        }
        _ => false,
    };
    // What moves waits for a replacement, of which the others speak.
    let waits = waits(id, plan).filter(|wait| wait.reason != WaitReason::Moving);
    let mut waits = waits.peekable();
    waits.peek().is_some() && waits.all(|wait| is_final(&wait.reason))
}

/// What all documents of an owner want together. What fills a quota beside that, such as a roll-out's agents beyond the
/// wanted ones, goes by itself.
fn wanted_by(owner: &OwnerName, desired: &Desired) -> u64 {
    let theirs = desired
        .deployments
        .iter()
        .filter(|(id, _)| id.owner == *owner);
    theirs.map(|(_, wanted)| u64::from(wanted.replicas)).sum()
}

/// Whether something goes from the targets that a deployment may use.
fn makes_room(wanted: &Deployment, desired: &Desired, observed: &Observed, plan: &Plan) -> bool {
    let admits = |name: &TargetName| {
        desired.targets.get(name).is_some_and(|target| {
            target.size == wanted.size
                && target.runtimes.contains(&wanted.runtime)
                && wanted.placement.admits(name, target)
        })
    };
    let told = told_to_go(plan);
    let beyond = beyond(desired, observed);
    let mut agents = observed.agents.iter();
    let mut orphans = observed.orphans.values();
    let mut launches = observed.launches.values();
    agents.any(|(id, agent)| {
        let is_told = told.contains(id) || observed.retires.contains_key(id);
        let carried = agent.assigned.as_ref();
        let is_beyond = carried.is_some_and(|it| beyond.contains(&it.deployment));
        admits(&agent.target) && (is_told || is_beyond || is_leaving(agent))
    }) || orphans.any(|orphan| orphan.target.as_ref().is_some_and(admits))
        || launches.any(|launch| launch.unaccounted && admits(&launch.target))
}

/// Agents that the plan has go, or stop what they run.
fn told_to_go(plan: &Plan) -> BTreeSet<&AgentId> {
    let agents = plan.actions.iter().filter_map(|action| match action {
        Action::Retire { agent, .. } | Action::Unassign { agent, .. } => Some(agent),
        _ => None,
    });
    agents.collect()
}

/// Deployments with more agents than they want, as during a roll-out.
fn beyond<'o>(desired: &Desired, observed: &'o Observed) -> BTreeSet<&'o DeploymentId> {
    let mut counts: BTreeMap<&DeploymentId, u32> = BTreeMap::new();
    for assigned in observed
        .agents
        .values()
        .filter_map(|it| it.assigned.as_ref())
    {
        *counts.entry(&assigned.deployment).or_default() += 1;
    }
    counts.retain(|id, count| {
        let wanted = desired.deployments.get(*id);
        *count > wanted.map_or(0, |wanted| wanted.replicas)
    });
    counts.into_keys().collect()
}

/// Whether an agent does not answer, is not trusted, or has not yet stopped what it is to stop.
fn is_leaving(agent: &Agent) -> bool {
    let is_idle = matches!(agent.reported, Reported::Idle(_));
    agent.liveness != Liveness::Heard
        || agent.quarantined.is_some()
        || agent.trust == Trust::Refused
        || (agent.assigned.is_none() && !is_idle)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use easyenclave_plan::{Assigned, Exposure, Quarantine, Remedy, plan};
    use easyenclave_schemas::documents::Runtime;
    use easyenclave_schemas::{Digest, Generation, Timestamp};

    use super::*;
    use crate::desired::{Loader, is_read};
    use crate::examples;

    pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    pub(crate) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("a name")
    }

    /// The example, with so many agents at most, and so many replicas wanted of a deployment beside its own.
    pub(crate) fn desired(max: u32, replicas: u32) -> Desired {
        let root = "ab".repeat(48);
        let files: Vec<_> = examples::files(Some(&root))
            .into_iter()
            .filter(|(path, _)| is_read(path))
            .collect();
        let key = |at: usize| [u8::try_from(at).expect("few files"); 20];
        let paths = files.iter().map(|(path, _)| path.clone());
        let keys = paths.zip((1..).map(key)).collect();
        let blob = |of: [u8; 20]| Ok(files[usize::from(of[0]) - 1].1.clone());
        let loaded = Loader::default().load(&keys, &blob, &|_| Ok(Vec::new()));
        assert_eq!(loaded.problems, vec![]);
        let mut desired = loaded.model.expect("a model").desired;
        let target = desired.targets.get_mut("tiny").expect("a target");
        (target.min, target.max, target.warm) = (0, max, 0);
        let mut new = desired.deployments[&name::<DeploymentId>("acme/hello")].clone();
        new.replicas = replicas;
        desired.deployments.insert(name("acme/new"), new);
        desired
    }

    /// An agent that runs the example's own deployment.
    pub(crate) fn busy(desired: &Desired, slot: u32) -> Agent {
        let deployment: DeploymentId = name("acme/hello");
        let workload = desired.deployments[&deployment].workload;
        let since = NOW;
        Agent {
            target: name("tiny"),
            slot,
            datacenter: name("local"),
            size: name("tiny"),
            runtimes: Runtime::ALL.into(),
            liveness: Liveness::Heard,
            trust: Trust::Accepted(NOW.plus(Duration::from_secs(3600))),
            attested: None,
            remedy: Remedy::FreshEvidence,
            challenged: None,
            quarantined: None,
            generation: Generation(1),
            assigned: Some(Assigned {
                deployment,
                workload,
                since,
            }),
            idle_since: None,
            reported: Reported::Unknown,
            exposed: Exposure::Hidden,
        }
    }

    fn hopeless(desired: &Desired, agents: &[Agent]) -> bool {
        let mut observed = Observed::default();
        for (agent, at) in agents.iter().zip(0..) {
            observed
                .agents
                .insert(name(&format!("a{at}")), agent.clone());
        }
        let planned = plan(desired, &observed, NOW);
        is_hopeless(&name("acme/new"), desired, &observed, &planned)
    }

    #[test]
    fn what_a_part_is_provided_for_is_not_hopeless() {
        let full = desired(1, 5);
        assert!(hopeless(&full, &[busy(&full, 0)]), "no room for any");
        let part = desired(4, 5);
        assert!(
            !hopeless(&part, &[busy(&part, 0)]),
            "room for three of five"
        );
        assert!(hopeless(&desired(0, 1), &[]), "never any");
    }

    #[test]
    fn a_quota_that_is_full_of_what_no_document_wants_is_not_hopeless() {
        let with = |quota: u32, max: u32, agents: u32| {
            let mut desired = desired(max, 1);
            desired.quotas.insert(name("acme"), quota);
            let agents: Vec<Agent> = (0..agents).map(|slot| busy(&desired, slot)).collect();
            hopeless(&desired, &agents)
        };
        // The example's own documents want three, and the new one wants one.
        assert!(!with(4, 9, 4), "three of four are there for a roll-out");
        assert!(with(3, 9, 1), "the documents want more than the quota");
        assert!(with(3, 9, 3), "and do so whatever a roll-out has beside");
    }

    #[test]
    fn what_waits_for_a_machine_to_go_is_not_hopeless() {
        let desired = desired(1, 1);
        let with = |change: fn(&mut Agent)| {
            let mut agent = busy(&desired, 0);
            change(&mut agent);
            hopeless(&desired, &[agent])
        };
        assert!(with(|_| {}));
        assert!(!with(|agent| agent.quarantined = Some(Quarantine::Refused)));
        assert!(!with(|agent| agent.liveness = Liveness::Silent(NOW)));
        assert!(!with(|agent| agent.assigned = None), "it is stopping");
        let gone = name("acme/gone");
        let surge = [busy(&desired, 0), busy(&desired, 1)];
        assert!(!hopeless(&desired, &surge), "one is there for a roll-out");
        let mut other = busy(&desired, 0);
        other.assigned = Some(Assigned {
            deployment: gone,
            workload: Digest::of(b"gone"),
            since: NOW,
        });
        assert!(!hopeless(&desired, &[other]), "nobody wants what it runs");
    }
}
