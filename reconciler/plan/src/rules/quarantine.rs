//! Takes agents without fresh accepted evidence out of service, puts those that have it back, and asks for
//! evidence in time. Never waits for silence or a frozen document: trust that ran out is a fact.

use std::time::Duration;

use easyenclave_schemas::Timestamp;

use crate::draft::Draft;
use crate::view::{AgentIx, Life, Standing, View};
use crate::{Action, Agent, Quarantine, Remedy, Trust, WaitReason};

/// How long before its end trust is renewed at most: a verifier may be away for that long. Agents attest again
/// by themselves well before; this is for those that do not.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// Trust that is short anyway is renewed in the last quarter of its time, so that it is not asked for all the time.
const QUARTER: u32 = 4;

/// How long an agent has to answer a challenge before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// How long after evidence that was refused an agent is asked for other evidence. It weighs an agent whose token or
/// quote failed by accident against one that fails each time.
const REFUSED_AGAIN: Duration = Duration::from_secs(5 * 60);

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
            let again = asked_again(facts.fact).filter(|again| *again > view.now);
            draft.wait_agent(view, agent, still(facts.fact.trust, reason), again);
        }
    }
}

fn still(trust: Trust, reason: Quarantine) -> WaitReason {
    match trust {
        Trust::Unknown => WaitReason::TrustUnknown,
        Trust::Accepted(_) | Trust::Refused => WaitReason::InQuarantine { reason },
    }
}

/// Evidence is asked for where it may change something: what is refused for what the machine is would be refused again,
/// and what is still to be judged is not asked for anew.
fn challenge(view: &View, draft: &mut Draft, agent: AgentIx) {
    let facts = view.agent(agent);
    let due = match facts.fact.trust {
        Trust::Accepted(until) => until <= view.now.plus(margin(facts.fact, until)),
        Trust::Unknown => facts.fact.remedy == Remedy::FreshEvidence,
        Trust::Refused => asked_again(facts.fact).is_some_and(|again| again <= view.now),
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

/// When an agent whose evidence is refused is asked for other evidence, if that may help.
fn asked_again(agent: &Agent) -> Option<Timestamp> {
    let shown = agent.attested.unwrap_or_default();
    (agent.trust == Trust::Refused && agent.remedy == Remedy::FreshEvidence)
        .then(|| shown.plus(REFUSED_AGAIN))
}

fn margin(agent: &Agent, until: Timestamp) -> Duration {
    let life = agent.attested.map(|attested| until.since(attested));
    life.map_or(MARGIN, |life| MARGIN.min(life / QUARTER))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    const ONE: &str = "target tiny 1 2\ndeploy acme/a x1 v1 exposed";

    #[test]
    fn lapsed_trust_takes_an_agent_out_even_if_it_is_silent() {
        check(
            ONE,
            "agent a tiny #0 runs acme/a v1 exposed acme/a lapsed 1",
            expect![[r#"
                unexpose acme/a on a
                quarantine a: its trust ran out
                challenge a
                wait: deployment acme/a: the replica on a is not ready
                wait: agent a: in quarantine: its trust ran out"#]],
        );
        let silent = "agent a tiny #0 runs acme/a v1 exposed acme/a lapsed 1 silent 5";
        check(
            ONE,
            silent,
            expect![[r#"
                unexpose acme/a on a
                quarantine a: its trust ran out
                wait: deployment acme/a: the replica on a is not ready
                wait: agent a: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:25Z)
                wait: agent a: in quarantine: its trust ran out"#]],
        );
    }

    #[test]
    fn refused_evidence_is_not_asked_for_again() {
        check(
            "target tiny 1 2",
            "agent a tiny #0 refused out-refused",
            expect![[r#"
                retire a in local: its evidence is refused
                launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in local by process under sim
                wait: agent a: in quarantine: its evidence is refused"#]],
        );
    }

    #[test]
    fn what_fresh_evidence_may_cure_is_asked_for_at_a_bounded_rate() {
        let state = "target tiny 1 1\nfreeze-target tiny";
        let world = "agent a tiny #0 out-refused doubted";
        check(
            state,
            &format!("{world} 299"),
            expect![[r#"
                wait: target tiny: kept as it is: its.yaml cannot be used
                wait: agent a: in quarantine: its evidence is refused (until 2026-01-01T00:00:01Z)"#]],
        );
        check(
            state,
            &format!("{world} 300"),
            expect![[r#"
                challenge a
                wait: target tiny: kept as it is: its.yaml cannot be used
                wait: agent a: in quarantine: its evidence is refused"#]],
        );
    }

    #[test]
    fn what_is_still_to_be_judged_is_not_asked_for_and_gets_nothing_new() {
        check(
            ONE,
            "agent a tiny #0 unread",
            expect![[r#"
                wait: deployment acme/a: agents missing: 1; the free ones cannot take work now
                wait: agent a: its evidence cannot be judged now"#]],
        );
    }

    #[test]
    fn accepted_evidence_puts_an_agent_back_into_work_at_once() {
        check(
            ONE,
            "agent a tiny #0 runs acme/a v1 out-lapsed",
            expect![[r#"
                release a
                expose acme/a on a"#]],
        );
    }

    #[test]
    fn what_cannot_be_judged_keeps_what_it_has() {
        check(
            ONE,
            "agent a tiny #0 runs acme/a v1 exposed acme/a unjudged",
            expect![[r#"
                challenge a
                wait: deployment acme/a: the replica on a is not ready
                wait: agent a: its evidence cannot be judged now"#]],
        );
        check(
            ONE,
            "agent a tiny #0 unjudged",
            expect![[r#"
                challenge a
                wait: deployment acme/a: agents missing: 1; the free ones cannot take work now
                wait: agent a: its evidence cannot be judged now"#]],
        );
        check(
            ONE,
            "agent a tiny #0 unjudged out-lapsed",
            expect![[r#"
                challenge a
                wait: deployment acme/a: agents missing: 1; the free ones cannot take work now
                wait: agent a: its evidence cannot be judged now"#]],
        );
    }

    #[test]
    fn short_trust_is_renewed_in_its_last_quarter() {
        let state = "target tiny 1 1";
        let world = "agent a tiny #0 attested 200 trusted";
        check(state, &format!("{world} 67"), expect![""]);
        check(state, &format!("{world} 66"), expect!["challenge a"]);
        let long = "agent a tiny #0 attested 5000 trusted";
        check(state, &format!("{long} 301"), expect![""]);
        check(state, &format!("{long} 300"), expect!["challenge a"]);
    }

    #[test]
    fn trust_is_renewed_in_time_and_asked_for_once_a_minute() {
        let state = "target tiny 1 1";
        check(state, "agent a tiny #0 trusted 301", expect![""]);
        check(state, "agent a tiny #0 trusted 300", expect!["challenge a"]);
        check(
            state,
            "agent a tiny #0 trusted 300 challenged 59",
            expect!["wait: agent a: asked for fresh evidence (until 2026-01-01T00:00:01Z)"],
        );
        check(
            state,
            "agent a tiny #0 trusted 300 challenged 60",
            expect!["challenge a"],
        );
        check(
            state,
            "agent a tiny #0 trusted 300 silent 5",
            expect![
                "wait: agent a: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:25Z)"
            ],
        );
    }

    #[test]
    fn trust_matters_for_frozen_things_too() {
        let world = "agent a tiny #0 runs acme/a v1 exposed acme/a refused";
        check(
            "target tiny 1 2\nfreeze-deploy acme/a",
            world,
            expect![[r#"
            unexpose acme/a on a
            quarantine a: its evidence is refused
            wait: deployment acme/a: kept as it is: its.yaml cannot be used
            wait: agent a: in quarantine: its evidence is refused"#]],
        );
    }
}
