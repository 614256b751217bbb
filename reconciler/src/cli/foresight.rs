//! Which agents another policy would refuse or take back, from the verdicts on the status branch and, where they do not say
//! enough, from the evidence there: for whoever reviews the change of a policy, before it is merged.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_attestation::{Again, Foresight, Policy, foresee};
use easyenclave_plan::{Agent, Observed, Remedy, Trust};
use easyenclave_schemas::evidence::stamp;
use easyenclave_schemas::status::AgentStatus;
use easyenclave_schemas::{AgentId, TargetName, Timestamp};

use crate::desired::Model;
use crate::report::Status;

/// What a policy says of the evidence that is kept of an agent; none where that cannot be read.
pub(super) type Kept<'a> = &'a dyn Fn(&AgentId, &Policy) -> Option<Again>;

/// Puts what the policies of `model` would say of each agent into the observation, as the daemon would before
/// its first plan. Answers the agents for which that is a change, a line each.
pub(super) fn apply(
    observed: &mut Observed,
    status: &Status,
    model: &Model,
    kept: Kept<'_>,
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
        let said = judged(seen, &policy, kept);
        let stamp = match said {
            Foresight::Accepts(_) => stamp(Some(policy.trust_root.key_id())),
            _ => seen.trust.stamp(),
        };
        let words = changed(agent, &said, stamp, now);
        lines.extend(words.map(|words| format!("agent {id}: {words}")));
        take(agent, &said);
    }
    lines
}

/// What is new of an agent, in words.
fn changed(agent: &Agent, said: &Foresight, stamp: &str, now: Timestamp) -> Option<String> {
    let was_refused = agent.trust == Trust::Refused;
    Some(match said {
        Foresight::Accepts(until) if *until <= now => {
            "its evidence would be too old, and it would have to attest again".into()
        }
        Foresight::Accepts(_) => was_refused.then(|| format!("would be accepted{stamp}"))?,
        Foresight::Refuses(_) if was_refused => return None,
        Foresight::Refuses(rejection) => format!("would be refused, {rejection}{stamp}"),
        Foresight::Unsaid => {
            "its kept evidence would be judged again, which cannot be done here".into()
        }
        Foresight::Unknown => "would have to attest again before it is judged".into(),
    })
}

/// Puts what is said of an agent into its observation.
fn take(agent: &mut Agent, said: &Foresight) {
    (agent.trust, agent.remedy) = match said {
        Foresight::Accepts(until) => (Trust::Accepted(*until), agent.remedy),
        Foresight::Refuses(rejection) if rejection.code.may_pass() => {
            (Trust::Refused, Remedy::FreshEvidence)
        }
        Foresight::Refuses(_) => (Trust::Refused, Remedy::NotItsOwn),
        // Nobody is asked before it is judged.
        Foresight::Unsaid => (Trust::Unknown, Remedy::NotItsOwn),
        Foresight::Unknown => (Trust::Unknown, Remedy::FreshEvidence),
    };
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

/// What a policy would say of the evidence that is kept. The reconciler judges that again and asks the agent only for what
/// is not in it. Where the verdict does not say enough, as of an agent that is refused, the evidence itself is judged here.
fn judged(seen: &AgentStatus, policy: &Policy, kept: Kept<'_>) -> Foresight {
    let verdict = seen.trust.verdict.as_ref();
    let said = verdict.map(|verdict| foresee(verdict, policy));
    match said.unwrap_or(Foresight::Unsaid) {
        Foresight::Unsaid => match kept(&seen.agent, policy) {
            Some(Again::Accepts(verdict)) => Foresight::Accepts(verdict.trusted_until),
            Some(Again::Refuses(rejection)) => Foresight::Refuses(rejection),
            Some(Again::Unknown) => Foresight::Unknown,
            None => Foresight::Unsaid,
        },
        said => said,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use easyenclave_schemas::evidence::ReasonCode;

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

    #[test]
    fn nobody_is_asked_for_what_kept_evidence_can_say() {
        let status = samples::status();
        let mut refused = status.agents.values().next().expect("an agent").clone();
        refused.trust.verdict = None;
        let spec = serde_json::from_value(serde_json::json!({ "measurements": [] }));
        let policy = Policy::new(&spec.expect("a policy"), &refused.node_size).expect("applies");
        let mut agent = report::observed(&status).agents[&refused.agent].clone();
        let mut asked = |kept: Option<Again>| {
            let said = judged(&refused, &policy, &|_, _| kept.clone());
            let words = changed(&agent, &said, "", samples::noon());
            take(&mut agent, &said);
            (words.unwrap_or_default(), agent.trust, agent.remedy)
        };
        let (words, trust, remedy) = asked(None);
        assert!(
            words.starts_with("its kept evidence would be judged again"),
            "{words}"
        );
        assert_eq!((trust, remedy), (Trust::Unknown, Remedy::NotItsOwn));
        let (words, trust, remedy) = asked(Some(Again::Unknown));
        assert_eq!(words, "would have to attest again before it is judged");
        assert_eq!((trust, remedy), (Trust::Unknown, Remedy::FreshEvidence));
        let (_, trust, _) = asked(Some(Again::Refuses(ReasonCode::MrtdUntrusted.into())));
        assert_eq!(trust, Trust::Refused);
    }
}
