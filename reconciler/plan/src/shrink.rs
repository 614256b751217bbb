//! Which agents of a wanted target go: what is refused, what has drifted, and what has been too many for long enough. Few
//! at a time, and never one that runs something.

use std::cmp::Reverse;
use std::time::Duration;

use easyenclave_schemas::{DisruptionReason, Timestamp};

use crate::breaker::{self, Verdict};
use crate::disrupt::allowance;
use crate::draft::{self, Draft, Fate};
use crate::supply::{self, Supply};
use crate::view::{AgentIx, Instruction, Life, Standing, TargetIx, View, number};
use crate::{Quarantine, RetireReason, Target, WaitReason};

/// One wanted target that may have agents too many.
pub(crate) struct Shrink<'v, 'a> {
    pub(crate) view: &'v View<'a>,
    pub(crate) target: TargetIx,
    pub(crate) spec: &'a Target,
    pub(crate) supply: &'v Supply,
}

/// An agent that goes, and for what.
type Going = (AgentIx, DisruptionReason);

/// Free agents that are too many.
#[derive(Default)]
struct Surplus {
    /// They have been for long enough.
    lasting: Vec<AgentIx>,
    /// They have not, or not surely.
    recent: Vec<AgentIx>,
    /// When the next of those will have been.
    until: Option<Timestamp>,
}

impl Shrink<'_, '_> {
    /// Retires agents that are not needed: what is refused, then what has drifted, then the highest slots of the
    /// `excess` that are too many.
    pub(crate) fn run(&self, draft: &mut Draft, excess: u32) {
        let surplus = self.surplus(draft, excess);
        let mut going = self.useless(draft);
        let lasting = surplus.lasting.into_iter();
        going.extend(lasting.map(|agent| (agent, DisruptionReason::Surplus)));
        let is_idle = |(agent, _): &Going| self.view.agent(*agent).instruction == Instruction::Idle;
        let (idle, stopping) = going.into_iter().partition(is_idle);
        self.retire(draft, idle);
        self.drain(draft, stopping);
        for agent in surplus.recent {
            if self.view.agent(agent).instruction == Instruction::Idle {
                draft.wait_agent(self.view, agent, WaitReason::SurplusRecent, surplus.until);
            }
        }
    }

    /// Destroys the machines of agents that carry nothing any more.
    fn retire(&self, draft: &mut Draft, going: Vec<Going>) {
        let mut leaving = self.supply.retiring;
        for (agent, why) in going {
            if leaving >= self.pace(why) {
                draft.wait_agent(self.view, agent, WaitReason::RetirePaced, None);
                continue;
            }
            match draft.disruptions.retire(self.view, self.target, why) {
                Ok(()) => {
                    leaving += 1;
                    draft.retire(self.view, agent, reason(why));
                }
                Err((reason, until)) => draft.wait_agent(self.view, agent, reason, until),
            }
        }
    }

    /// Gives agents that were told to stop their time. Those that have not stopped in it go all the same, unless that is
    /// more than the breaker lets pass.
    fn drain(&self, draft: &mut Draft, stopping: Vec<Going>) {
        let Some(within) = self.spec.disruption.drain_within else {
            return;
        };
        let mut due = Vec::new();
        for (agent, why) in stopping {
            let told = self.view.agent(agent).fact.idle_since;
            match told.map(|told| told.plus(within)) {
                Some(until) if until <= self.view.now => due.push((agent, why)),
                Some(until) => {
                    draft.wait_agent(self.view, agent, WaitReason::Draining, Some(until));
                }
                None => {}
            }
        }
        if !due.is_empty() {
            self.destroy(draft, due, within);
        }
    }

    fn destroy(&self, draft: &mut Draft, due: Vec<Going>, within: Duration) {
        let action =
            |(agent, _): &Going| draft::retire(self.view, *agent, RetireReason::NotStopped);
        let actions = due.iter().map(action).collect();
        let later = self.due_later(draft, within);
        let verdict = breaker::judge_pool(self.view, draft, self.target, actions, later);
        for (agent, why) in due {
            // What is to go for another reason counts against the budgets since it was told to stop.
            let counted = why != DisruptionReason::Surplus || verdict == Verdict::Approved;
            let room = match counted {
                true => Ok(()),
                false => draft.disruptions.retire(self.view, self.target, why),
            };
            match (verdict, room) {
                (Verdict::Held(digest), _) => draft.hold(self.view, agent, digest),
                (_, Ok(())) => draft.retire(self.view, agent, RetireReason::NotStopped),
                (_, Err((reason, until))) => draft.wait_agent(self.view, agent, reason, until),
            }
        }
    }

    /// Agents that are to go, had as long to stop, and have not said whether they did: heard one after the other, each alone
    /// would look harmless.
    fn due_later(&self, draft: &Draft, within: Duration) -> u32 {
        let is_due = |agent: &AgentIx| {
            let facts = self.view.agent(*agent);
            let told = facts.fact.idle_since;
            let unheard = facts.life != Life::Heard || facts.instruction == Instruction::Unknown;
            unheard
                && !facts.frozen
                && facts.deployment.is_none()
                && self.reason(draft, *agent).is_some()
                && draft.is_there(self.view, *agent)
                && told.is_some_and(|told| told.plus(within) <= self.view.now)
        };
        number(self.view.agents_of(self.target).filter(is_due).count())
    }

    /// How many may be going at a time, whatever budgets say: while one holds for their reason, as many as the breaker lets
    /// pass.
    fn pace(&self, why: DisruptionReason) -> u32 {
        let breaker = self.view.desired.limits.breaker;
        let most = breaker.max_removals.max(1);
        if allowance(&self.spec.disruption, 0, why, self.view.now).is_none() {
            return most;
        }
        let live = self.view.target(self.target).live;
        let part = u64::from(live) * u64::from(breaker.max_percent) / 100;
        most.max(u32::try_from(part).unwrap_or(u32::MAX))
    }

    fn useless(&self, draft: &Draft) -> Vec<Going> {
        let empty = |a: &AgentIx| self.is_empty(draft, *a);
        let agents = self.view.agents_of(self.target).filter(empty);
        agents
            .filter_map(|agent| self.reason(draft, agent).map(|why| (agent, why)))
            .collect()
    }

    /// Why an agent is to go, whether it is too many or not.
    fn reason(&self, draft: &Draft, agent: AgentIx) -> Option<DisruptionReason> {
        let facts = self.view.agent(agent);
        let refused = facts.standing == Standing::Quarantined(Quarantine::Refused);
        match refused && draft.is_out_of_service(self.view, agent) {
            true => Some(DisruptionReason::Refused),
            false => facts.drifted.then_some(DisruptionReason::Drift),
        }
    }

    /// Whether an agent carries nothing, or was told to and has not stopped yet.
    fn is_empty(&self, draft: &Draft, agent: AgentIx) -> bool {
        let facts = self.view.agent(agent);
        let stopping = facts.instruction == Instruction::UnderWay && facts.deployment.is_none();
        (facts.instruction == Instruction::Idle || stopping)
            && facts.is_touchable()
            && draft.fate(agent) == Fate::Stays
    }

    /// So many free agents have been too many for some time as have been free for that time beyond those that are
    /// wanted free now: whoever has become free since then may have been needed a moment before.
    fn surplus(&self, draft: &Draft, excess: u32) -> Surplus {
        if excess == 0 {
            return Surplus::default();
        }
        // Those that are just stopping are free too, and go last.
        let free = |a: &AgentIx| supply::is_free(self.view, draft, *a);
        let mut agents: Vec<AgentIx> = self.view.agents_of(self.target).filter(free).collect();
        let mut ripe: Vec<_> = agents.iter().map(|agent| self.ripe(*agent)).collect();
        ripe.sort_unstable_by_key(|at| (at.is_none(), *at));
        agents.retain(|agent| self.is_empty(draft, *agent));
        agents.sort_unstable_by_key(|agent| {
            let facts = self.view.agent(*agent);
            let stopping = facts.instruction != Instruction::Idle;
            (stopping, Reverse((facts.fact.slot, *agent)))
        });
        agents.truncate(excess as usize);
        let kept = self.supply.free.saturating_sub(excess) as usize;
        let beyond = ripe.get(kept..).unwrap_or_default();
        let is_over = |at: &Option<Timestamp>| at.is_some_and(|at| at <= self.view.now);
        let lasting = beyond.iter().take_while(|at| is_over(at)).count();
        let recent = agents.split_off(lasting.min(agents.len()));
        Surplus {
            lasting: agents,
            until: beyond.get(lasting).copied().flatten(),
            recent,
        }
    }

    /// When an agent that is free will have been so for as long as a surplus has to last, as far as is known. An agent
    /// that was kept for a reservation that has ended is free for others since then.
    fn ripe(&self, agent: AgentIx) -> Option<Timestamp> {
        let after = self.spec.disruption.consolidate_after;
        if after.is_zero() {
            return Some(self.view.now);
        }
        let idle = self.view.agent(agent).fact.idle_since?;
        let ended = self.reservation_ended();
        Some(ended.map_or(idle, |ended| ended.max(idle)).plus(after))
    }

    /// When the last reservation of this target ended that has ended.
    fn reservation_ended(&self) -> Option<Timestamp> {
        let name = self.view.target(self.target).name;
        let reservations = self.view.desired.reservations.values();
        let ends = reservations.filter(|it| it.target == *name);
        ends.filter_map(|it| it.until)
            .filter(|until| *until <= self.view.now)
            .max()
    }
}

fn reason(why: DisruptionReason) -> RetireReason {
    match why {
        DisruptionReason::Surplus | DisruptionReason::Drift => RetireReason::Surplus,
        DisruptionReason::Refused => RetireReason::Refused,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn idle_agents_go_from_the_highest_slot_a_few_at_a_time() {
        let world = "agent a tiny #0 idle\nagent b tiny #2 idle\nagent c tiny #1 idle";
        check(
            "target tiny 1 3",
            world,
            expect![[r#"
            retire b in local: not needed
            wait: agent c: goes when those before it have gone"#]],
        );
        check(
            "target tiny 1 3",
            &format!("{world}\nagent d tiny #3 gone\nretiring d"),
            expect![[r#"
                wait: agent b: goes when those before it have gone
                wait: agent c: goes when those before it have gone
                wait: agent d: the machine is being destroyed"#]],
        );
        check(
            "breaker 2 25\ntarget tiny 1 3",
            world,
            expect![[r#"
            retire b in local: not needed
            retire c in local: not needed"#]],
        );
    }

    #[test]
    fn a_silent_agent_makes_no_other_superfluous() {
        check(
            "target tiny 1 3",
            "agent a tiny #0 idle\nagent b tiny #1 silent 5",
            expect![
                "wait: agent b: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:25Z)"
            ],
        );
    }

    #[test]
    fn agents_of_another_size_than_their_target_are_exchanged() {
        check(
            "target tiny 1 2 size big",
            "agent a tiny #0 idle",
            expect![[r#"
                retire a in local: not needed
                launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size big in local by process under sim"#]],
        );
    }

    const LASTING: &str = "target tiny 0 4 warm 1 consolidates 600";

    #[test]
    fn what_is_too_many_goes_when_that_has_lasted() {
        let world = |since: u32| {
            format!("agent a tiny #0 idle since 7000\nagent b tiny #1 idle since {since}")
        };
        check(
            LASTING,
            &world(599),
            expect![
                "wait: agent b: not needed now; goes if that is still so at the end of this wait (until 2026-01-01T00:00:01Z)"
            ],
        );
        check(
            LASTING,
            &world(600),
            expect!["retire b in local: not needed"],
        );
        check(
            "target tiny 0 4 warm 1",
            &world(0),
            expect!["retire b in local: not needed"],
        );
    }

    #[test]
    fn an_agent_that_has_just_become_free_makes_no_old_spare_superfluous() {
        check(
            LASTING,
            "agent a tiny #0 idle since 7000\nagent b tiny #1 idle since 10\nagent c tiny #2 idle since 20",
            expect![[r#"
                wait: agent b: not needed now; goes if that is still so at the end of this wait (until 2026-01-01T00:09:40Z)
                wait: agent c: not needed now; goes if that is still so at the end of this wait (until 2026-01-01T00:09:40Z)"#]],
        );
        check(
            LASTING,
            "agent a tiny #0 idle since 7000\nagent b tiny #1 stopping since 10\nagent c tiny #2 idle since 6000",
            expect![[r#"
                retire c in local: not needed
                wait: agent a: not needed now; goes if that is still so at the end of this wait (until 2026-01-01T00:09:50Z)
                wait: agent b: told, and has not confirmed yet"#]],
        );
    }

    #[test]
    fn a_surplus_of_unknown_age_is_not_taken_for_an_old_one() {
        check(
            "target tiny 0 4 consolidates 600",
            "agent a tiny #0 idle-unknown",
            expect![
                "wait: agent a: not needed now; goes if that is still so at the end of this wait"
            ],
        );
        check(
            "target tiny 0 4",
            "agent a tiny #0 idle-unknown",
            expect!["retire a in local: not needed"],
        );
    }

    #[test]
    fn what_a_reservation_kept_is_needed_by_nobody_only_since_its_end() {
        let state = "target tiny 0 4 consolidates 600\nreserve acme/gold tiny 1 ended";
        check(
            &format!("{state} 599"),
            "agent a tiny #0 idle since 7000",
            expect![
                "wait: agent a: not needed now; goes if that is still so at the end of this wait (until 2026-01-01T00:00:01Z)"
            ],
        );
        check(
            &format!("{state} 600"),
            "agent a tiny #0 idle since 7000",
            expect!["retire a in local: not needed"],
        );
    }

    #[test]
    fn what_has_drifted_need_not_last() {
        check(
            "target tiny 1 2 size big consolidates 600",
            "agent a tiny #0 idle since 1",
            expect![[r#"
                retire a in local: not needed
                launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size big in local by process under sim"#]],
        );
    }

    const DRAINS: &str = "target tiny 0 9 drains 60";

    #[test]
    fn what_does_not_stop_in_its_time_goes_all_the_same() {
        let state = format!("{DRAINS}\ndeploy acme/a x1 v1");
        let world = |since: u32| {
            format!("agent a tiny #0 runs acme/a v1\nagent b tiny #1 stopping since {since}")
        };
        check(
            &state,
            &world(59),
            expect![[r#"
            wait: agent b: told, and has not confirmed yet
            wait: agent b: told to stop; its machine goes at the end of this wait, stopped or not (until 2026-01-01T00:00:01Z)"#]],
        );
        check(
            &state,
            &world(60),
            expect!["retire b in local: it has not stopped in time"],
        );
        let patient = state.replace("drains 60", "");
        check(
            &patient,
            &world(6000),
            expect!["wait: agent b: told, and has not confirmed yet"],
        );
        check(
            &format!("{DRAINS} warm 1"),
            "agent b tiny #1 stopping since 6000",
            expect!["wait: agent b: told, and has not confirmed yet"],
        );
        check(
            DRAINS,
            "agent b tiny #1 stopping idle-unknown",
            expect!["wait: agent b: told, and has not confirmed yet"],
        );
        check(
            DRAINS,
            "agent b tiny #1 stopping since 6000 silent 5",
            expect![
                "wait: agent b: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:25Z)"
            ],
        );
    }

    #[test]
    fn more_that_do_not_stop_than_the_breaker_lets_pass_are_held() {
        check(
            "target tiny 0 9 size big drains 60",
            "agent a tiny #0 stopping since 60\nagent b tiny #1 stopping since 60",
            expect![[r#"
                hold: 2 of 2 agents of target tiny would go
                  retire a in local: it has not stopped in time
                  retire b in local: it has not stopped in time
                wait: agent a: told, and has not confirmed yet
                wait: agent a: held until a person approves DIGEST
                wait: agent b: told, and has not confirmed yet
                wait: agent b: held until a person approves DIGEST"#]],
        );
    }

    #[test]
    fn those_that_are_not_heard_yet_count_among_them() {
        let state = "target tiny 0 9 size big drains 60";
        let due = "agent a tiny #0 stopping since 60\nagent b tiny #1 idle since";
        check(
            state,
            &format!("{due} 60 unheard"),
            expect![[r#"
            hold: 2 of 2 agents of target tiny would go
              retire a in local: it has not stopped in time
            wait: agent a: told, and has not confirmed yet
            wait: agent a: held until a person approves DIGEST
            wait: agent b: not heard of since the start"#]],
        );
        check(
            state,
            &format!("{due} 59 unheard"),
            expect![[r#"
            retire a in local: it has not stopped in time
            wait: agent b: not heard of since the start"#]],
        );
    }

    #[test]
    fn an_agent_that_does_not_stop_has_its_part_of_the_budget_already() {
        check(
            "target tiny 0 9 size big drains 60 budget 1",
            "agent a tiny #0 stopping since 60\nagent b tiny #1 idle",
            expect![[r#"
                retire a in local: it has not stopped in time
                wait: agent b: budget 1 of its target lets 1 go at a time"#]],
        );
    }
}
