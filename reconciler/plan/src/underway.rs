//! Says of every agent that is on its way somewhere that it is. Runs after the rules and decides nothing.

use crate::WaitReason;
use crate::draft::{Draft, Fate};
use crate::view::{AgentIx, Instruction, Life, View, Wanted};

/// Adds what agents wait for by themselves.
pub(crate) fn report(view: &View, draft: &mut Draft) {
    for agent in view.all_agents() {
        let facts = view.agent(agent);
        if !draft.is_there(view, agent) || facts.life != Life::Heard {
            continue;
        }
        match facts.instruction {
            Instruction::Unknown => {
                draft.wait_agent(view, agent, WaitReason::AgentNotHeardYet, None)
            }
            Instruction::UnderWay if matches!(draft.fate(agent), Fate::Stays | Fate::Held(_)) => {
                draft.wait_agent(view, agent, WaitReason::InstructionUnderWay, None);
            }
            Instruction::UnderWay
            | Instruction::Idle
            | Instruction::NotReady
            | Instruction::Ready
            | Instruction::Astray => {}
        }
        if facts.frozen && !is_as_wanted(view, agent) {
            draft.wait_agent(view, agent, view.why_frozen(agent), None);
        }
    }
}

/// Whether what a frozen agent carries is what its deployment wants, as far as that is known.
fn is_as_wanted(view: &View, agent: AgentIx) -> bool {
    let facts = view.agent(agent);
    match facts.deployment.map(|d| view.deployment(d).state) {
        None => true,
        Some(Wanted::Frozen) => facts.instruction != Instruction::Astray,
        Some(Wanted::No) => false,
        Some(Wanted::Yes(_)) => facts.current,
    }
}
