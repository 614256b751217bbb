//! Publishes replicas that are ready, and takes back those that are not. Silence alone changes nothing that is
//! published; nothing is published without fresh trust.

use easyenclave_schemas::DeploymentId;

use crate::draft::{Draft, Fate};
use crate::view::{AgentIx, AgentView, Instruction, Life, Standing, View, Wanted};
use crate::{Action, Exposure};

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    for agent in view.all_agents() {
        let facts = view.agent(agent);
        match &facts.fact.exposed {
            Exposure::Exposed(deployment) if !stays(view, draft, agent, deployment) => {
                draft.act(Action::Unexpose {
                    agent: facts.id.clone(),
                    deployment: deployment.clone(),
                });
            }
            Exposure::Exposed(_) => {}
            Exposure::Hidden => publish(view, draft, agent),
        }
    }
}

fn stays(view: &View, draft: &Draft, agent: AgentIx, published: &DeploymentId) -> bool {
    let facts = view.agent(agent);
    let assigned = facts.fact.assigned.as_ref();
    let same = assigned.is_some_and(|assigned| assigned.deployment == *published);
    let kept = matches!(draft.fate(agent), Fate::Stays | Fate::Held(_));
    same && kept
        && draft.is_there(view, agent)
        && !matches!(facts.standing, Standing::Quarantined(_))
        && (facts.frozen || is_unknown(facts) || facts.instruction == Instruction::Ready)
        && wants(view, facts) != Some(false)
}

/// Whether it cannot be said how its replica is.
fn is_unknown(facts: &AgentView) -> bool {
    facts.life != Life::Heard || facts.instruction == Instruction::Unknown
}

/// Whether the deployment on an agent is to be published, as far as the desired state says.
fn wants(view: &View, facts: &AgentView) -> Option<bool> {
    match view.deployment(facts.deployment?).state {
        Wanted::Yes(spec) => Some(spec.exposed),
        Wanted::No | Wanted::Frozen => None,
    }
}

fn publish(view: &View, draft: &mut Draft, agent: AgentIx) {
    let facts = view.agent(agent);
    let Some(deployment) = facts.deployment else {
        return;
    };
    let fits = match view.deployment(deployment).state {
        Wanted::Yes(spec) => spec.exposed && view.admits(spec, facts.target) && !facts.drifted,
        Wanted::No | Wanted::Frozen => false,
    };
    let kept = matches!(draft.fate(agent), Fate::Stays | Fate::Held(_));
    if fits && kept && facts.is_ready() && !facts.frozen && draft.is_there(view, agent) {
        draft.act(Action::Expose {
            agent: facts.id.clone(),
            deployment: view.deployment(deployment).id.clone(),
        });
    }
}
