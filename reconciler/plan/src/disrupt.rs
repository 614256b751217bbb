//! How many agents of a target may be taken away at a time on purpose: what its budgets say at a time, and how much of that
//! is used. What is lost, removed or held is none of its business.

use std::time::Duration;

use easyenclave_schemas::{DisruptionReason, Timestamp, Weekday};

use crate::census::Census;
use crate::draft::Draft;
use crate::view::{AgentIx, AgentView, Instruction, Life, Standing, TargetIx, View};
use crate::{Budget, Deployment, Disruption, Quarantine, WaitReason, Window};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the tightest budget that holds lets go at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) most: u32,
    /// Its place in the document, from 1.
    pub(crate) budget: u32,
    /// When it stops to hold, if it does by itself.
    pub(crate) until: Option<Timestamp>,
}

/// What the budgets let go at a time of a target that has so many agents; none where no budget holds.
pub(crate) fn allowance(
    disruption: &Disruption,
    of: u32,
    why: DisruptionReason,
    now: Timestamp,
) -> Option<Allowance> {
    let budgets = disruption.budgets.iter().zip(1..);
    let allowances = budgets.filter_map(|(budget, number)| {
        let until = holds(budget, why, now)?;
        Some(Allowance {
            most: budget.most.of(of),
            budget: number,
            until,
        })
    });
    allowances.min_by_key(|allowance| (allowance.most, allowance.budget))
}

/// Until when a budget holds that does; without an end, always.
fn holds(budget: &Budget, why: DisruptionReason, now: Timestamp) -> Option<Option<Timestamp>> {
    let is_meant = budget.reasons.is_empty() || budget.reasons.contains(&why);
    let ends = || budget.windows.iter().filter_map(|it| end(it, now)).max();
    match (is_meant, budget.windows.is_empty()) {
        (false, _) => None,
        (true, true) => Some(None),
        (true, false) => ends().map(Some),
    }
}

/// When a window ends that it is time for.
fn end(window: &Window, now: Timestamp) -> Option<Timestamp> {
    // One that began on an earlier day may last until now, and none lasts longer than a week.
    let days = (0..=7).map(|days| now.minus(DAY.saturating_mul(days)));
    let is_day = |day: &Timestamp| {
        let weekday = Weekday::of(*day);
        window.days.is_empty() || window.days.contains(&weekday)
    };
    let starts = days.filter(is_day).map(|day| window.from.on_day_of(day));
    let ends = starts.filter(|start| *start <= now);
    ends.map(|start| start.plus(window.lasts))
        .filter(|end| *end > now)
        .max()
}

/// Who is on the way out of each target, and who joins them in this pass.
#[derive(Debug, Default)]
pub(crate) struct Disruptions {
    /// By target; empty where no target has a budget.
    tallies: Vec<Tally>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    /// Agents that are there.
    of: u32,
    /// Their machines are being destroyed, or they were told to stop because they are to go.
    leaving: u32,
    /// They have stopped, and go soon.
    stopped: u32,
    /// Replacements of theirs are placed or on the way.
    exchanged: u32,
    /// Decided in this pass.
    taken: u32,
}

/// Why an agent may not go now.
type Exhausted = (WaitReason, Option<Timestamp>);

impl Disruptions {
    pub(crate) fn new(view: &View) -> Self {
        let targets = view.targets.iter();
        let mut specs = targets.filter_map(|target| target.state.spec());
        if specs.all(|spec| spec.disruption.budgets.is_empty()) {
            return Self::default();
        }
        let mut tallies = vec![Tally::default(); view.targets.len()];
        let there = || view.agents.iter().filter(|it| it.life != Life::Gone);
        for agent in there() {
            tallies[agent.target.at()].of += 1;
        }
        for agent in there() {
            let tally = &mut tallies[agent.target.at()];
            match way(view, agent) {
                Way::Stays => {}
                Way::Leaves => tally.leaving += 1,
                // One that is kept for as long as its budget holds is not on its way.
                Way::Stopped(why) => tally.stopped += u32::from(!is_kept(view, agent, tally, why)),
            }
        }
        Self { tallies }
    }

    /// Notes that a replica on this agent is being replaced already.
    pub(crate) fn is_exchanged(&mut self, view: &View, agent: AgentIx) {
        if let Some(tally) = self.tallies.get_mut(view.agent(agent).target.at()) {
            tally.exchanged += 1;
        }
    }

    /// Notes that a replica on this agent stops, whatever budgets say: an agent that has drifted is on its way from then on.
    pub(crate) fn is_removed(&mut self, view: &View, agent: AgentIx) {
        if view.agent(agent).drifted {
            self.take(view.agent(agent).target);
        }
    }

    /// Whether a replica on this agent, which has drifted, may be replaced elsewhere.
    pub(crate) fn exchange(&mut self, view: &View, agent: AgentIx) -> Result<(), Exhausted> {
        let target = view.agent(agent).target;
        let under_way = |it: &Tally| it.leaving + it.stopped + it.taken + it.exchanged;
        self.check(view, target, DisruptionReason::Drift, under_way)?;
        self.is_exchanged(view, agent);
        Ok(())
    }

    /// Whether this agent, which has drifted, may be told to stop.
    pub(crate) fn drain(&mut self, view: &View, agent: AgentIx) -> Result<(), Exhausted> {
        let target = view.agent(agent).target;
        let under_way = |it: &Tally| it.leaving + it.stopped + it.taken;
        self.check(view, target, DisruptionReason::Drift, under_way)?;
        self.take(target);
        Ok(())
    }

    /// Whether an agent that carries nothing may go.
    pub(crate) fn retire(
        &mut self,
        view: &View,
        target: TargetIx,
        why: DisruptionReason,
    ) -> Result<(), Exhausted> {
        self.check(view, target, why, |it| it.leaving + it.taken)?;
        self.take(target);
        Ok(())
    }

    fn take(&mut self, target: TargetIx) {
        if let Some(tally) = self.tallies.get_mut(target.at()) {
            tally.taken += 1;
        }
    }

    fn check(
        &self,
        view: &View,
        target: TargetIx,
        why: DisruptionReason,
        under_way: impl Fn(&Tally) -> u32,
    ) -> Result<(), Exhausted> {
        let spec = view.target(target).state.spec();
        let Some((tally, spec)) = self.tallies.get(target.at()).zip(spec) else {
            return Ok(());
        };
        match allowance(&spec.disruption, tally.of, why, view.now) {
            Some(allowance) if under_way(tally) >= allowance.most => {
                let Allowance { most, budget, .. } = allowance;
                Err((
                    WaitReason::DisruptionBudget { budget, most },
                    allowance.until,
                ))
            }
            _ => Ok(()),
        }
    }
}

/// So many replicas on agents that have drifted are there twice, because they are being exchanged. What was placed makes
/// up first for those that move for another reason, which no budget holds back.
pub(crate) fn exchanges(view: &View, spec: &Deployment, census: &Census) -> usize {
    let there = census.placed() as usize + census.movers.len();
    let twice = there.saturating_sub(spec.replicas as usize);
    let others = census.movers.len() - drifted(view, census).len();
    twice.min(census.in_place() as usize).saturating_sub(others)
}

/// Replicas on agents that have drifted, which are to be exchanged one by one.
pub(crate) fn drifted(view: &View, census: &Census) -> Vec<AgentIx> {
    let movers = census.movers.iter().map(|mover| mover.agent);
    movers.filter(|agent| view.agent(*agent).drifted).collect()
}

/// All deployments note what they exchange already before any exchanges more.
pub(crate) fn note_exchanges(view: &View, draft: &mut Draft, spec: &Deployment, census: &Census) {
    let under_way = exchanges(view, spec, census);
    for agent in drifted(view, census).into_iter().take(under_way) {
        draft.disruptions.is_exchanged(view, agent);
    }
}

enum Way {
    Stays,
    Leaves,
    /// It is to go for this reason.
    Stopped(DisruptionReason),
}

/// Whether a budget lets none go for this reason.
fn is_kept(view: &View, agent: &AgentView, tally: &Tally, why: DisruptionReason) -> bool {
    let spec = view.target(agent.target).state.spec();
    let allowance = spec.and_then(|it| allowance(&it.disruption, tally.of, why, view.now));
    allowance.is_some_and(|allowance| allowance.most == 0)
}

fn way(view: &View, agent: &AgentView) -> Way {
    let refused = agent.standing == Standing::Quarantined(Quarantine::Refused)
        && !view.target(agent.target).failing;
    match (agent.retiring, agent.deployment, agent.instruction) {
        (true, ..) => Way::Leaves,
        _ if !agent.drifted && !refused => Way::Stays,
        (_, None, Instruction::UnderWay) => Way::Leaves,
        (_, None, Instruction::Idle) if refused => Way::Stopped(DisruptionReason::Refused),
        (_, None, Instruction::Idle) => Way::Stopped(DisruptionReason::Drift),
        _ => Way::Stays,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::{NOW, check};

    /// Agents of the wrong size, one of them free.
    const DRIFTED: &str = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1\nagent c tiny #2 runs acme/a v1\n\
                           agent d tiny #3 idle";
    const DEPLOY: &str = "deploy acme/a x3 v1 size big";

    fn drifts(budget: &str, expected: expect_test::Expect) {
        check(
            &format!("target tiny 0 9 size big {budget}\n{DEPLOY}"),
            DRIFTED,
            expected,
        );
    }

    #[test]
    fn what_has_drifted_is_replaced_as_many_at_a_time_as_the_budget_allows() {
        drifts(
            "budget 2",
            expect![[r#"
            retire d in local: not needed
            launch tiny-8246b0c6676f for tiny slot 4 generation 1 failures 0 size big in local by process under sim
            wait: deployment acme/a: its replica moves when the replacement is ready
            wait: deployment acme/a: agents missing: 1; ordered
            wait: agent a: its replica moves when the replacement is ready
            wait: agent b: its replica moves when the replacement is ready
            wait: agent b: budget 1 of its target lets 2 go at a time
            wait: agent c: its replica moves when the replacement is ready
            wait: agent c: budget 1 of its target lets 2 go at a time"#]],
        );
        drifts(
            "budget 50%",
            expect![[r#"
            retire d in local: not needed
            launch tiny-8246b0c6676f for tiny slot 4 generation 1 failures 0 size big in local by process under sim
            wait: deployment acme/a: its replica moves when the replacement is ready
            wait: deployment acme/a: agents missing: 1; ordered
            wait: agent a: its replica moves when the replacement is ready
            wait: agent b: its replica moves when the replacement is ready
            wait: agent b: budget 1 of its target lets 2 go at a time
            wait: agent c: its replica moves when the replacement is ready
            wait: agent c: budget 1 of its target lets 2 go at a time"#]],
        );
        drifts(
            "budget 100%",
            expect![[r#"
            retire d in local: not needed
            launch tiny-23b47303d8e0 for tiny slot 5 generation 1 failures 0 size big in local by process under sim
            launch tiny-8246b0c6676f for tiny slot 4 generation 1 failures 0 size big in local by process under sim
            launch tiny-a9631c62f738 for tiny slot 6 generation 1 failures 0 size big in local by process under sim
            wait: deployment acme/a: its replica moves when the replacement is ready
            wait: deployment acme/a: agents missing: 3; ordered
            wait: agent a: its replica moves when the replacement is ready
            wait: agent b: its replica moves when the replacement is ready
            wait: agent c: its replica moves when the replacement is ready"#]],
        );
    }

    #[test]
    fn a_budget_that_lets_none_go_says_until_when() {
        drifts(
            "budget 5 budget 0 for Drift window Thu 00:00 60",
            expect![[r#"
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: agent a: its replica moves when the replacement is ready
                wait: agent a: budget 2 of its target lets none go now (until 2026-01-01T00:01:00Z)
                wait: agent b: its replica moves when the replacement is ready
                wait: agent b: budget 2 of its target lets none go now (until 2026-01-01T00:01:00Z)
                wait: agent c: its replica moves when the replacement is ready
                wait: agent c: budget 2 of its target lets none go now (until 2026-01-01T00:01:00Z)
                wait: agent d: budget 2 of its target lets none go now (until 2026-01-01T00:01:00Z)"#]],
        );
        drifts(
            "budget 0 for Surplus+Refused",
            expect![[r#"
            retire d in local: not needed
            launch tiny-23b47303d8e0 for tiny slot 5 generation 1 failures 0 size big in local by process under sim
            launch tiny-8246b0c6676f for tiny slot 4 generation 1 failures 0 size big in local by process under sim
            launch tiny-a9631c62f738 for tiny slot 6 generation 1 failures 0 size big in local by process under sim
            wait: deployment acme/a: its replica moves when the replacement is ready
            wait: deployment acme/a: agents missing: 3; ordered
            wait: agent a: its replica moves when the replacement is ready
            wait: agent b: its replica moves when the replacement is ready
            wait: agent c: its replica moves when the replacement is ready"#]],
        );
    }

    #[test]
    fn a_window_begins_on_its_days_and_may_end_on_another() {
        let waits = |window: &str| {
            let state = format!("target tiny 0 9 budget 0 window {window}");
            let plan = crate::testing::planned(&state, "agent a tiny #0 idle");
            let waits = plan.waits.first().map(ToString::to_string);
            waits
                .unwrap_or_else(|| "nothing".into())
                .replace("wait: ", "")
        };
        expect![[r#"
            agent a: budget 1 of its target lets none go now (until 2026-01-01T00:01:00Z)
            agent a: budget 1 of its target lets none go now (until 2026-01-01T00:00:01Z)
            nothing
            nothing
            agent a: budget 1 of its target lets none go now (until 2026-01-02T00:00:00Z)
            agent a: budget 1 of its target lets none go now (until 2026-01-08T00:00:00Z)
            agent a: budget 1 of its target lets none go now (until 2026-01-01T22:00:00Z)"#]]
        .assert_eq(
            &[
                "daily 00:00 60",
                "Wed 23:00 3601",
                "Wed 23:00 3600",
                "Thu 00:01 3600",
                "Fri 00:00 604800",
                "Thu 00:00 604800",
                "Tue+Wed 22:00 86400",
            ]
            .map(waits)
            .join("\n"),
        );
    }

    #[test]
    fn a_replacement_under_way_counts_and_so_does_whoever_leaves() {
        let state = format!("target tiny 0 9 size big budget 1\n{DEPLOY}");
        let replaced = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1\nagent c tiny #2 runs acme/a v1\n";
        check(
            &state,
            &format!("{replaced}agent e tiny #4 starts acme/a v1 size big"),
            expect![[r#"
                wait: deployment acme/a: the replica on e is not ready (until 2026-01-01T00:04:00Z)
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: agent a: its replica moves when the replacement is ready
                wait: agent b: its replica moves when the replacement is ready
                wait: agent b: budget 1 of its target lets 1 go at a time
                wait: agent c: its replica moves when the replacement is ready
                wait: agent c: budget 1 of its target lets 1 go at a time"#]],
        );
        check(
            &state,
            &format!("{replaced}agent e tiny #4 runs acme/a v1 size big"),
            expect![[r#"
                unassign acme/a from c generation 3
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: agent a: its replica moves when the replacement is ready
                wait: agent a: budget 1 of its target lets 1 go at a time
                wait: agent b: its replica moves when the replacement is ready
                wait: agent b: budget 1 of its target lets 1 go at a time"#]],
        );
        let left = "agent a tiny #0 stopping\nagent b tiny #1 runs acme/a v1\nagent c tiny #2 runs acme/a v1\n\
                    agent e tiny #4 runs acme/a v1 size big";
        check(
            &state,
            left,
            expect![[r#"
            wait: deployment acme/a: its replica moves when the replacement is ready
            wait: agent a: told, and has not confirmed yet
            wait: agent b: its replica moves when the replacement is ready
            wait: agent b: budget 1 of its target lets 1 go at a time
            wait: agent c: its replica moves when the replacement is ready
            wait: agent c: budget 1 of its target lets 1 go at a time"#]],
        );
        check(
            &state,
            &left.replace("#0 stopping", "#0 idle"),
            expect![[r#"
                retire a in local: not needed
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: agent b: its replica moves when the replacement is ready
                wait: agent b: budget 1 of its target lets 1 go at a time
                wait: agent c: its replica moves when the replacement is ready
                wait: agent c: budget 1 of its target lets 1 go at a time"#]],
        );
    }

    #[test]
    fn a_drain_that_no_budget_allows_any_more_waits() {
        check(
            "target tiny 0 9 size big budget 0\ndeploy acme/a x1 v1 size big",
            "agent a tiny #0 runs acme/a v1\nagent e tiny #4 runs acme/a v1 size big",
            expect![[r#"
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: agent a: its replica moves when the replacement is ready
                wait: agent a: budget 1 of its target lets none go now"#]],
        );
    }

    #[test]
    fn what_is_not_trusted_is_replaced_and_stopped_whatever_the_budget_and_goes_within_it() {
        let others =
            "agent b tiny #1\nagent c tiny #2\nagent d tiny #3\nagent e tiny #4 runs acme/a v1";
        let state = "target tiny 5 6 budget 0 for Refused\ndeploy acme/a x1 v1";
        check(
            state,
            &format!("agent a tiny #0 runs acme/a v1 refused out-refused\n{others}"),
            expect![[r#"
                unassign acme/a from a generation 3
                launch tiny-23b47303d8e0 for tiny slot 5 generation 1 failures 0 size tiny in local by process under sim
                wait: agent a: in quarantine: its evidence is refused"#]],
        );
        check(
            state,
            &format!("agent a tiny #0 idle refused out-refused\n{others}"),
            expect![[r#"
                launch tiny-23b47303d8e0 for tiny slot 5 generation 1 failures 0 size tiny in local by process under sim
                wait: agent a: in quarantine: its evidence is refused
                wait: agent a: budget 1 of its target lets none go now"#]],
        );
    }

    #[test]
    fn a_budget_counts_who_was_decided_before_and_holds_back_none_that_goes_for_another_reason() {
        let state = "breaker 9 90\ntarget tiny 0 9 budget 1 for Refused";
        let plan = |first: &str, second: &str| {
            let world = format!("agent a tiny #0 {first}\nagent b tiny #1 {second}");
            let (desired, observed) = (
                crate::testing::desired(state),
                crate::testing::observed(&world),
            );
            let plan = crate::plan(&desired, &observed, NOW);
            assert_eq!(crate::audit(&desired, &observed, &plan, NOW), vec![]);
            plan.actions.len()
        };
        let (refused, drifted) = ("refused out-refused", "size big");
        assert_eq!(plan(refused, drifted), 2);
        assert_eq!(plan(drifted, refused), 1);
        assert_eq!(plan(refused, refused), 1);
        assert_eq!(plan(drifted, drifted), 2);
    }

    #[test]
    fn while_a_budget_holds_for_their_reason_as_many_go_as_the_breaker_lets_pass() {
        let idle = |count: u32| {
            (0..count)
                .map(|slot| format!("agent a{slot} tiny #{slot} idle\n"))
                .collect::<String>()
        };
        let gone = |state: &str, count| crate::testing::planned(state, &idle(count)).actions.len();
        assert_eq!(gone("target tiny 0 20", 12), 1);
        assert_eq!(gone("target tiny 0 20 budget 20", 12), 3);
        assert_eq!(gone("target tiny 0 20 budget 2", 12), 2);
        assert_eq!(gone("target tiny 0 20 budget 20 for Drift", 12), 1);
        assert_eq!(
            gone("target tiny 0 20 budget 20 window Wed 00:00 60", 12),
            1
        );
        assert_eq!(gone("target tiny 0 20 budget 10%", 12), 1);
        assert_eq!(gone("target tiny 0 20 budget 0%", 12), 0);
        assert_eq!(
            gone("target tiny 11 20 budget 20", 12),
            1,
            "never below the minimum"
        );
    }

    #[test]
    fn what_a_commit_removes_goes_whatever_budgets_say() {
        check(
            "target tiny 0 9 size big budget 0\ndeploy acme/a x2 v1 size big",
            "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1\nagent c tiny #2 runs acme/a v1",
            expect![[r#"
                unassign acme/a from c generation 3
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: agent a: its replica moves when the replacement is ready
                wait: agent a: budget 1 of its target lets none go now
                wait: agent b: its replica moves when the replacement is ready
                wait: agent b: budget 1 of its target lets none go now"#]],
        );
    }

    #[test]
    fn a_hold_covers_all_that_a_commit_removes_and_holds_up_no_other_drain() {
        check(
            "target tiny 0 9 size big budget 1\ndeploy acme/a x2 v1 size big\ndeploy bolt/b x1 v1 size big",
            "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1\nagent c tiny #2 runs acme/a v1\n\
             agent d tiny #3 runs acme/a v1\nagent e tiny #4 runs acme/a v1\nagent f tiny #5 runs bolt/b v1\n\
             agent g tiny #6 runs bolt/b v1 size big",
            expect![[r#"
                unassign bolt/b from f generation 3
                hold: 3 of 7 agents of target tiny would go
                  unassign acme/a from c generation 3
                  unassign acme/a from d generation 3
                  unassign acme/a from e generation 3
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: deployment acme/a: held until a person approves DIGEST
                wait: agent a: its replica moves when the replacement is ready
                wait: agent a: budget 1 of its target lets 1 go at a time
                wait: agent b: its replica moves when the replacement is ready
                wait: agent b: budget 1 of its target lets 1 go at a time
                wait: agent c: its replica moves when the replacement is ready
                wait: agent c: held until a person approves DIGEST
                wait: agent d: its replica moves when the replacement is ready
                wait: agent d: held until a person approves DIGEST
                wait: agent e: its replica moves when the replacement is ready
                wait: agent e: held until a person approves DIGEST"#]],
        );
    }

    #[test]
    fn what_a_commit_removes_where_a_target_has_drifted_counts_among_those_that_go() {
        check(
            "target tiny 0 9 size big budget 1\ndeploy acme/a x1 v1 size big\ndeploy bolt/b x1 v1 size big",
            "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1\nagent c tiny #2 runs bolt/b v1\n\
             agent d tiny #3 runs bolt/b v1 size big",
            expect![[r#"
                unassign acme/a from b generation 3
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: deployment bolt/b: its replica moves when the replacement is ready
                wait: agent a: its replica moves when the replacement is ready
                wait: agent a: budget 1 of its target lets 1 go at a time
                wait: agent c: its replica moves when the replacement is ready
                wait: agent c: budget 1 of its target lets 1 go at a time"#]],
        );
    }

    #[test]
    fn one_that_may_not_go_now_holds_up_no_other() {
        check(
            "target alpha 0 9 size big budget 1\ntarget beta 0 9 size big budget 0\ndeploy acme/a x2 v1 size big",
            "agent a alpha #0 runs acme/a v1\nagent b beta #0 runs acme/a v1\nagent e alpha #1 runs acme/a v1 size big",
            expect![[r#"
                unassign acme/a from a generation 3
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: agent b: its replica moves when the replacement is ready
                wait: agent b: budget 1 of its target lets none go now"#]],
        );
    }

    #[test]
    fn what_a_quota_does_not_let_be_replaced_takes_nothing_of_a_budget() {
        check(
            "quota acme 1\ntarget tiny 0 9 size big budget 1\ndeploy acme/a x1 v1 size big\ndeploy bolt/b x1 v1 size big",
            "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs bolt/b v1",
            expect![[r#"
                launch tiny-32913ac7cea7 for tiny slot 2 generation 1 failures 0 size big in local by process under sim
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: deployment acme/a: the quota of acme, 1 agent, is used up
                wait: deployment bolt/b: its replica moves when the replacement is ready
                wait: deployment bolt/b: agents missing: 1; ordered
                wait: agent a: its replica moves when the replacement is ready
                wait: agent b: its replica moves when the replacement is ready"#]],
        );
    }

    #[test]
    fn a_replacement_of_one_that_moves_anyway_is_none_of_one_that_has_drifted() {
        check(
            "target near 0 9 in near\ntarget tiny 0 9 size big budget 0\ntarget vast 0 9 size big\n\
             deploy acme/a x2 v1 size big not-in near",
            "agent a near #0 runs acme/a v1 in near\nagent b tiny #0 runs acme/a v1\n\
             agent c vast #0 starts acme/a v1 size big",
            expect![[r#"
                wait: deployment acme/a: the replica on c is not ready (until 2026-01-01T00:04:00Z)
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: agent a: its replica moves when the replacement is ready
                wait: agent b: its replica moves when the replacement is ready
                wait: agent b: budget 1 of its target lets none go now"#]],
        );
    }

    #[test]
    fn one_that_its_own_budget_keeps_takes_nothing_of_another() {
        check(
            "target tiny 0 9 size big budget 1 for Drift budget 0 for Refused\ndeploy acme/a x1 v1 size big",
            "agent a tiny #0 runs acme/a v1\nagent b tiny #1 idle refused out-refused\nagent c tiny #2 idle size big\n\
             agent d tiny #3 idle size big",
            expect![[r#"
                retire d in local: not needed
                assign acme/a to c generation 2 workload v1
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: agent a: its replica moves when the replacement is ready
                wait: agent b: in quarantine: its evidence is refused
                wait: agent b: budget 2 of its target lets none go now"#]],
        );
    }

    #[test]
    fn a_held_removal_is_held_whatever_budgets_allow() {
        check(
            "target tiny 0 9 budget 100%\ndeploy acme/a x1 v1",
            "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1\nagent c tiny #2 runs acme/a v1",
            expect![[r#"
                hold: 2 of 3 agents of target tiny would go
                  unassign acme/a from b generation 3
                  unassign acme/a from c generation 3
                wait: deployment acme/a: held until a person approves DIGEST
                wait: agent b: held until a person approves DIGEST
                wait: agent c: held until a person approves DIGEST"#]],
        );
    }
}
