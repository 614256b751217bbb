//! Which agents another policy would refuse, from the verdicts on the status branch: for whoever reviews the change
//! of a policy, before it is merged.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_attestation::{Foresight, Policy, TrustRoot, foresee};
use easyenclave_plan::{Agent, Observed, Remedy, Trust};
use easyenclave_schemas::status::AgentStatus;
use easyenclave_schemas::{TargetName, Timestamp};

use crate::desired::Model;
use crate::report::Status;

/// Puts what the policies of `model` would say of each agent into the observation, as the daemon would before
/// its first plan. Answers the agents for which that is a change, a line each.
pub(super) fn apply(
    observed: &mut Observed,
    status: &Status,
    model: &Model,
    now: Timestamp,
) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (id, agent) in &mut observed.agents {
        let Some(seen) = status.agents.get(id) else {
            continue;
        };
        let Some(policy) = policy(model, seen) else {
            continue;
        };
        let stamp = match policy.trust_root {
            TrustRoot::Simulated(_) => " (simulated)",
            TrustRoot::Intel => "",
        };
        match judged(seen, &policy) {
            Foresight::Accepts(until) => {
                if until <= now {
                    lines.insert(format!(
                        "agent {id}: its evidence would be too old, and it would have to attest again"
                    ));
                } else if agent.trust == Trust::Refused {
                    lines.insert(format!("agent {id}: would be accepted{stamp}"));
                }
                agent.trust = Trust::Accepted(until);
            }
            Foresight::Refuses(rejection) => {
                if agent.trust != Trust::Refused {
                    lines.insert(format!("agent {id}: would be refused, {rejection}"));
                }
                agent.trust = Trust::Refused;
                agent.remedy = match rejection.code.may_pass() {
                    true => Remedy::FreshEvidence,
                    false => Remedy::NotItsOwn,
                };
            }
            Foresight::Unknown => {
                lines.insert(format!(
                    "agent {id}: would have to attest again before it is judged"
                ));
                agent.trust = Trust::Unknown;
                agent.remedy = Remedy::FreshEvidence;
            }
        }
    }
    lines
}

/// Targets all of whose agents a policy change takes out of service, a line each.
pub(super) fn outages(before: &Observed, after: &Observed, now: Timestamp) -> Vec<String> {
    let serves = |agent: &Agent| match agent.trust {
        Trust::Accepted(until) => until > now && agent.quarantined.is_none(),
        Trust::Refused | Trust::Unknown => false,
    };
    let mut targets: BTreeMap<&TargetName, (usize, usize)> = BTreeMap::new();
    for (id, was) in before.agents.iter().filter(|(_, was)| serves(was)) {
        // Whoever cannot be judged yet keeps what it has.
        let stays = |is: &Agent| is.trust == Trust::Unknown || serves(is);
        let (had, left) = targets.entry(&was.target).or_default();
        *had += 1;
        *left += usize::from(after.agents.get(id).is_some_and(stays));
    }
    let out = targets.into_iter().filter(|(_, (_, left))| *left == 0);
    out.map(|(target, (had, _))| {
        let agents = match had {
            1 => "the only agent".into(),
            _ => format!("all {had} agents"),
        };
        format!(
            "OUT OF SERVICE: {agents} of target {target} would not be trusted any more, and nothing that runs there \
             would be published; nobody is asked first"
        )
    })
    .collect()
}

/// The policy that an agent would have to satisfy, when it differs from the one that judged it.
fn policy(model: &Model, seen: &AgentStatus) -> Option<Policy> {
    let target = model.desired.targets.get(&seen.target)?;
    let spec = model.policies.get(&target.policy)?;
    let policy = Policy::new(spec, &seen.node_size).ok()?;
    (seen.trust.policy != Some(policy.digest)).then_some(policy)
}

/// An agent whose evidence was refused has no verdict; another policy has to see the evidence itself.
fn judged(seen: &AgentStatus, policy: &Policy) -> Foresight {
    let verdict = seen.trust.verdict.as_ref();
    verdict.map_or(Foresight::Unknown, |verdict| foresee(verdict, policy))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::samples;
    use crate::report;

    #[test]
    fn a_target_that_loses_all_its_agents_is_told_and_one_that_keeps_some_is_not() {
        let before = report::observed(&samples::status());
        let now = samples::noon();
        let after = |trust: Trust| {
            let mut after = before.clone();
            for agent in after.agents.values_mut() {
                agent.trust = trust;
            }
            outages(&before, &after, now)
        };
        let refused = after(Trust::Refused);
        assert_eq!(refused.len(), 1, "{refused:?}");
        // The sample's other agent is in quarantine already.
        assert!(
            refused[0].starts_with("OUT OF SERVICE: the only agent of target tiny"),
            "{refused:?}"
        );
        assert_eq!(
            after(Trust::Accepted(now)).len(),
            1,
            "trust runs out at once"
        );
        assert_eq!(after(Trust::Unknown), Vec::<String>::new());
        let later = now.plus(Duration::from_secs(1));
        assert_eq!(after(Trust::Accepted(later)), Vec::<String>::new());
    }
}
