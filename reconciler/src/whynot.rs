//! Why a deployment has no more agents than it has, in the codes that people know: for the deploy API's answer and for
//! `easyenclave why-not`. Runs the rules as a plan does, and changes nothing.

use std::collections::BTreeSet;

use easyenclave_plan::{
    Agent, Deployment, Desired, Issue, Observed, Plan, Subject, Trust, Wait, whynot,
};
use easyenclave_schemas::{AgentId, DeploymentId, TargetName, Timestamp};

/// Said of an agent that is kept free until a deployment is given it.
pub(crate) const WARM: &str = "WARM_RESERVATION_PENDING";

/// How a deployment stands with every agent.
pub(crate) struct WhyNot {
    /// Agents that have a replica and keep it.
    pub(crate) has: BTreeSet<AgentId>,
    /// Agents that are given one now.
    pub(crate) gets: BTreeSet<AgentId>,
    /// Of those, the ones that are kept free until then, with their targets.
    pub(crate) warm: Vec<(AgentId, TargetName)>,
    /// All others, each with the one reason that comes first.
    pub(crate) not: Vec<(AgentId, Issue)>,
    /// What the deployment waits for.
    pub(crate) waits: Vec<Wait>,
}

impl WhyNot {
    /// Of a deployment that is wanted, with the plan of it all.
    pub(crate) fn of(
        id: &DeploymentId,
        desired: &Desired,
        observed: &Observed,
        planned: &Plan,
        now: Timestamp,
    ) -> Self {
        let not = whynot(desired, observed, id, now);
        let others: BTreeSet<_> = not.iter().map(|(agent, _)| agent).collect();
        let chosen = observed.agents.iter();
        let chosen = chosen.filter(|(agent, _)| !others.contains(agent));
        let (has, gets): (Vec<_>, Vec<_>) = chosen.partition(|(_, agent)| has(agent, id));
        Self {
            warm: warm(id, &gets, desired, now),
            has: has.into_iter().map(|(agent, _)| agent.clone()).collect(),
            gets: gets.into_iter().map(|(agent, _)| agent.clone()).collect(),
            not,
            waits: waits(id, planned).cloned().collect(),
        }
    }

    /// How many replicas neither have an agent nor are given one.
    pub(crate) fn missing(&self, wanted: &Deployment) -> usize {
        let replicas = usize::try_from(wanted.replicas).unwrap_or(usize::MAX);
        replicas.saturating_sub(self.placed())
    }

    /// How many replicas have an agent or are given one.
    pub(crate) fn placed(&self) -> usize {
        self.has.len() + self.gets.len()
    }
}

/// What a plan says that a deployment waits for.
pub(crate) fn waits<'p>(id: &DeploymentId, plan: &'p Plan) -> impl Iterator<Item = &'p Wait> {
    let about = move |subject: &Subject| matches!(subject, Subject::Deployment(it) if it == id);
    plan.waits.iter().filter(move |wait| about(&wait.subject))
}

/// Said of a deployment that names an agent which is nowhere.
pub(crate) const NOT_FOUND: &str = "AGENT_NOT_FOUND";

/// The agent that a deployment names, if it is surely not there and is not being launched either. Its machine may be there before it
/// has registered, as after a lost store, and where no worker has listed its machines any may be.
pub(crate) fn not_found<'d>(observed: &Observed, wanted: &'d Deployment) -> Option<&'d AgentId> {
    let is_known = |agent: &AgentId| {
        observed.agents.contains_key(agent)
            || observed.launches.contains_key(agent.as_str())
            || observed.orphans.contains_key(agent.as_str())
    };
    let named = wanted.placement.agent.as_ref();
    named.filter(|agent| observed.unheard.is_empty() && !is_known(agent))
}

/// Why a deployment lacks agents, in one code.
pub(crate) fn summary(observed: &Observed, wanted: &Deployment, now: Timestamp) -> &'static str {
    if not_found(observed, wanted).is_some() {
        return NOT_FOUND;
    }
    let is_trusted = |agent: &Agent| match agent.trust {
        Trust::Accepted(until) => until > now && agent.quarantined.is_none(),
        Trust::Refused | Trust::Unknown => false,
    };
    let mut agents = observed.agents.values();
    match agents.any(|agent| agent.size == wanted.size && is_trusted(agent)) {
        true => "NO_ELIGIBLE_AGENTS",
        false => "NO_VERIFIED_CAPACITY",
    }
}

/// Whether a deployment has an agent already.
fn has(agent: &Agent, id: &DeploymentId) -> bool {
    let assigned = agent.assigned.as_ref();
    assigned.is_some_and(|assigned| assigned.deployment == *id)
}

/// The agents that are kept free, by their target or for the owner, until the deployment is given them.
fn warm(
    id: &DeploymentId,
    gets: &[(&AgentId, &Agent)],
    desired: &Desired,
    now: Timestamp,
) -> Vec<(AgentId, TargetName)> {
    let is_kept = |target: &TargetName| {
        let mut kept = desired.reservations.iter();
        let kept = kept.any(|(reservation, it)| {
            let is_current = it.until.is_none_or(|until| until > now);
            reservation.owner == id.owner && it.target == *target && is_current
        });
        let spec = desired.targets.get(target);
        kept || spec.is_some_and(|spec| spec.warm > 0)
    };
    let gets = gets.iter().filter(|(_, agent)| is_kept(&agent.target));
    let named = gets.map(|(name, agent)| ((*name).clone(), agent.target.clone()));
    named.collect()
}

#[cfg(test)]
mod tests {
    use easyenclave_plan::Orphan;

    use super::*;
    use crate::hope::tests::{NOW, desired, name};

    #[test]
    fn an_agent_whose_machine_is_or_may_be_there_is_not_called_unknown() {
        let desired = desired(1, 1);
        let mut wanted = desired.deployments[&name::<DeploymentId>("acme/new")].clone();
        wanted.placement.agent = Some(name("tiny-1"));
        let is_called = |observed: &Observed| {
            let is = not_found(observed, &wanted).is_some();
            assert_eq!(is, summary(observed, &wanted, NOW) == NOT_FOUND);
            is
        };
        assert!(is_called(&Observed::default()));
        let mut listed = Observed::default();
        let orphan = Orphan {
            target: Some(name("tiny")),
            datacenter: name("local"),
            provider: name("local"),
            slot: Some(0),
            policy: None,
            since: NOW,
            unjudged: false,
        };
        listed.orphans.insert(name("tiny-1"), orphan);
        assert!(!is_called(&listed), "it has not registered again yet");
        let mut unheard = Observed::default();
        unheard.unheard.insert((name("local"), name("local")));
        assert!(!is_called(&unheard), "nobody has said what is there");
    }
}
