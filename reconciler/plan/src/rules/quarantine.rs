//! Takes agents without fresh accepted evidence out of service, puts those that have it back, and asks for
//! evidence in time. Never waits for silence or a frozen document: trust that ran out is a fact.

use std::time::Duration;

use crate::draft::Draft;
use crate::view::{AgentIx, Life, Standing, View};
use crate::{Action, Quarantine, Trust, WaitReason};

/// How long before its end trust is renewed: a verifier may be away for that long.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// How long an agent has to answer a challenge before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(60);

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    for agent in view.all_agents() {
        if draft.is_there(view, agent) {
            judge(view, draft, agent);
            challenge(view, draft, agent);
        }
    }
}

fn judge(view: &View, draft: &mut Draft, agent: AgentIx) {
    let facts = view.agent(agent);
    let id = || facts.id.clone();
    match (facts.standing, facts.fact.quarantined) {
        (Standing::Accepted, None) => {}
        (Standing::Accepted, Some(_)) => draft.act(Action::Release { agent: id() }),
        (Standing::Unjudged, _) => draft.wait_agent(view, agent, WaitReason::TrustUnknown, None),
        (Standing::Quarantined(reason), before) => {
            if before != Some(reason) {
                draft.act(Action::Quarantine {
                    agent: id(),
                    reason,
                });
            }
            draft.wait_agent(view, agent, still(facts.fact.trust, reason), None);
        }
    }
}

fn still(trust: Trust, reason: Quarantine) -> WaitReason {
    match trust {
        Trust::Unknown => WaitReason::TrustUnknown,
        Trust::Accepted(_) | Trust::Refused => WaitReason::InQuarantine { reason },
    }
}

/// Evidence that is refused is not asked for again: the same machine would give the same evidence.
fn challenge(view: &View, draft: &mut Draft, agent: AgentIx) {
    let facts = view.agent(agent);
    let due = match facts.fact.trust {
        Trust::Accepted(until) => until <= view.now.plus(MARGIN),
        Trust::Refused | Trust::Unknown => false,
    };
    if !due || facts.life != Life::Heard {
        return;
    }
    match facts.fact.challenged.map(|asked| asked.plus(ASK_AGAIN)) {
        Some(again) if view.now < again => {
            draft.wait_agent(view, agent, WaitReason::AttestationUnderWay, Some(again));
        }
        _ => draft.act(Action::Challenge {
            agent: facts.id.clone(),
        }),
    }
}
