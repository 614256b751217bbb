//! Which agents another policy would refuse, from the verdicts on the status branch: for whoever reviews the change
//! of a policy, before it is merged.

use std::collections::BTreeSet;

use easyenclave_attestation::{Foresight, Policy, TrustRoot, foresee};
use easyenclave_plan::{Observed, Remedy, Trust};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::status::AgentStatus;

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
