//! Gives replicas that are missing to free agents. Never to one that is not trusted, does not fit, or is kept for
//! another owner, and never more than an owner's quota.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use easyenclave_schemas::Digest;
use easyenclave_schemas::documents::Runtime;

use crate::draft::{Draft, Fate, Need, Pace, Surge, Unplaced};
use crate::reserve::Reserved;
use crate::rules::retire::is_returning;
use crate::spread::Spreads;
use crate::view::{AgentIx, AgentView, DeploymentIx, Instruction, TargetIx, View};

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    if draft.needs.is_empty() {
        return;
    }
    let mut free = Free::new(view, draft);
    let needs = needs(view, draft);
    for need in &needs {
        free.place(draft, need.deployment, need.missing, need.pace);
    }
    for need in &needs {
        match need.surge {
            Surge::No => {}
            Surge::Now(count) => {
                let pace = Pace {
                    base: None,
                    ..need.pace
                };
                free.place(draft, need.deployment, count, pace);
            }
            Surge::Later(count) => draft.unplaced.push(Unplaced {
                deployment: need.deployment,
                version: need.pace.aim,
                count,
                reserved: false,
                returning: false,
                waits: false,
            }),
        }
    }
}

/// What is missing, those with the fewest places to go first, so that they find them free.
fn needs(view: &View, draft: &mut Draft) -> Vec<Need> {
    let mut needs = std::mem::take(&mut draft.needs);
    needs.sort_by_cached_key(|need| {
        let admits = |target: &TargetIx| view.admits(need.deployment, *target);
        view.all_targets().filter(admits).count()
    });
    needs
}

/// Agents that can take work now.
struct Free<'v, 'a> {
    view: &'v View<'a>,
    /// By target, the last to be taken first: those that can run least, by their ids.
    idle: Vec<Vec<AgentIx>>,
    /// By target, whether agents may register again that could carry a replica already.
    returning: Vec<bool>,
    reserved: Reserved,
    spreads: Spreads<'a>,
}

impl<'v, 'a> Free<'v, 'a> {
    fn new(view: &'v View<'a>, draft: &Draft) -> Self {
        let mut idle = vec![Vec::new(); view.targets.len()];
        for agent in view.all_agents().rev() {
            if is_free(view, draft, agent) {
                idle[view.agent(agent).target.at()].push(agent);
            }
        }
        for agents in &mut idle {
            agents.sort_by_key(|agent| Reverse(view.agent(*agent).fact.runtimes.len()));
        }
        Self {
            view,
            idle,
            returning: returning(view),
            reserved: Reserved::new(view, draft),
            spreads: Spreads::new(view, draft),
        }
    }

    /// Gives replicas that are missing their versions, as the pace says. Where no agent is free for the aim, the version that
    /// was healthy last serves in its place.
    fn place(&mut self, draft: &mut Draft, deployment: DeploymentIx, missing: u32, pace: Pace) {
        let ahead = pace.ahead(missing);
        let new = self.place_version(draft, (deployment, pace.aim), ahead);
        let old = match pace.base {
            Some(base) => self.place_version(draft, (deployment, base), missing - new),
            None => 0,
        };
        let left = missing - new - old;
        let is_one = pace.base.is_none_or(|base| {
            let of = self.view.deployment(deployment);
            of.runtime(base) == of.runtime(pace.aim)
        });
        let waits_for_aim = if is_one { left } else { left.min(ahead - new) };
        self.lacks(draft, (deployment, pace.aim), waits_for_aim);
        if let Some(base) = pace.base {
            self.lacks(draft, (deployment, base), left - waits_for_aim);
        }
    }

    /// Gives so many replicas to free agents, those first that can also be brought to the aim later. Returns how many got one.
    fn place_version(
        &mut self,
        draft: &mut Draft,
        (deployment, version): (DeploymentIx, Digest),
        count: u32,
    ) -> u32 {
        let of = self.view.deployment(deployment);
        if self.may_return(deployment) {
            return 0;
        }
        let targets = self.admitted(deployment, version);
        // One that is spread chooses among all targets each time, any other takes one after the other.
        let groups: Vec<&[TargetIx]> = match self.spreads.has(deployment) {
            true => vec![&targets],
            false => targets.chunks(1).collect(),
        };
        let own = of.runtime(version);
        let needed: BTreeSet<Runtime> = of
            .aim
            .and_then(|aim| of.runtime(aim))
            .into_iter()
            .chain(own)
            .collect();
        let able = [needed, own.into_iter().collect()];
        let mut taken = 0;
        for (needed, group) in able
            .iter()
            .flat_map(|it| groups.iter().map(move |group| (it, *group)))
        {
            let most = (count - taken).min(draft.quota_left(self.view, deployment));
            taken += self.take(draft, (deployment, version, needed), group, most);
        }
        taken
    }

    /// Whether agents may register again that carry a replica already, in whichever version: one that is placed now could be
    /// one too many.
    fn may_return(&self, deployment: DeploymentIx) -> bool {
        let mut targets = self.view.all_targets();
        targets.any(|target| self.returning[target.at()] && self.view.admits(deployment, target))
    }

    /// Notes that so many replicas of a version have no agent.
    fn lacks(&self, draft: &mut Draft, (deployment, version): (DeploymentIx, Digest), count: u32) {
        if count == 0 {
            return;
        }
        let owner = self.view.deployment(deployment).owner;
        let kept =
            |t: &TargetIx| self.reserved.others(*t, owner) > 0 && !self.idle[t.at()].is_empty();
        draft.unplaced.push(Unplaced {
            deployment,
            version,
            count,
            reserved: self.admitted(deployment, version).iter().any(kept),
            returning: self.may_return(deployment),
            waits: true,
        });
    }

    /// The targets that may run a version of a deployment: first where agents are kept for its owner, because those are
    /// idle for nobody else.
    fn admitted(&self, deployment: DeploymentIx, version: Digest) -> Vec<TargetIx> {
        let owner = self.view.deployment(deployment).owner;
        let admits = |target: &TargetIx| self.view.admits_version(deployment, version, *target);
        let mut targets: Vec<TargetIx> = self.view.all_targets().filter(admits).collect();
        targets.sort_by_key(|target| self.reserved.own(*target, owner) == 0);
        targets
    }

    /// The free agent of these targets that is next: it can run what is needed, is the one that the deployment names if it
    /// names one, and of those the first, or the first where fewest of its replicas are.
    fn next(
        &mut self,
        deployment: DeploymentIx,
        needed: &BTreeSet<Runtime>,
        targets: &[TargetIx],
    ) -> Option<AgentIx> {
        let of = self.view.deployment(deployment);
        let (owner, spec) = (of.owner, of.state.spec()?);
        let is_spread = self.spreads.has(deployment);
        let mut next: Option<(u32, TargetIx, usize)> = None;
        for target in targets {
            let idle = &self.idle[target.at()];
            if idle.len() <= self.reserved.others(*target, owner) as usize {
                continue;
            }
            for (at, agent) in idle.iter().enumerate().rev() {
                let facts = self.view.agent(*agent);
                if !spec.placement.names(facts.id) || !needed.is_subset(&facts.fact.runtimes) {
                    continue;
                }
                let there = self.spreads.count(deployment, &facts.fact.datacenter);
                if next.is_none_or(|(fewest, ..)| there < fewest) {
                    next = Some((there, *target, at));
                }
                if !is_spread {
                    break;
                }
            }
        }
        next.map(|(_, target, at)| self.idle[target.at()].remove(at))
    }

    /// Gives up to `most` replicas to agents of these targets. Returns how many.
    fn take(
        &mut self,
        draft: &mut Draft,
        (deployment, version, needed): (DeploymentIx, Digest, &BTreeSet<Runtime>),
        targets: &[TargetIx],
        most: u32,
    ) -> u32 {
        let owner = self.view.deployment(deployment).owner;
        let mut taken = 0;
        while taken < most {
            let Some(agent) = self.next(deployment, needed, targets) else {
                break;
            };
            let AgentView { target, fact, .. } = *self.view.agent(agent);
            draft.assign(self.view, agent, deployment, version);
            draft.uses_more(owner, 1);
            self.reserved.take(target, owner, 1);
            self.spreads.add(deployment, &fact.datacenter);
            taken += 1;
        }
        taken
    }
}

/// What such an agent carries is unknown, and what is unknown must not be doubled.
fn returning(view: &View) -> Vec<bool> {
    let mut returning = vec![false; view.targets.len()];
    for orphan in view.observed.orphans.values() {
        let target = orphan.target.as_ref();
        if let Some(target) = target.and_then(|name| view.find_target(name)) {
            returning[target.at()] |= is_returning(view, orphan);
        }
    }
    returning
}

/// Whether an agent can take work now.
pub(crate) fn is_free(view: &View, draft: &Draft, agent: AgentIx) -> bool {
    let facts = view.agent(agent);
    facts.instruction == Instruction::Idle
        && facts.is_eligible()
        && draft.fate(agent) == Fate::Stays
        && view.target(facts.target).state.spec().is_some()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::Action;
    use crate::testing::check;

    #[test]
    fn free_agents_are_taken_in_the_order_of_their_ids() {
        let world = "agent c tiny #0 idle\nagent a tiny #1 idle\nagent b tiny #2 idle";
        check(
            "target tiny 3 3\ndeploy acme/a x2 v1",
            world,
            expect![[r#"
            assign acme/a to a generation 2 workload v1
            assign acme/a to b generation 2 workload v1"#]],
        );
    }

    #[test]
    fn agents_that_cannot_take_work_are_left_and_nothing_is_ordered_twice() {
        let state = "target tiny 0 9\ndeploy acme/a x1 v1";
        check(
            state,
            "agent a tiny #0 stopping",
            expect![[r#"
            wait: deployment acme/a: agents missing: 1; the free ones cannot take work now
            wait: agent a: told, and has not confirmed yet"#]],
        );
        check(
            state,
            "agent a tiny #0 unheard",
            expect![[r#"
            wait: deployment acme/a: agents missing: 1; the free ones cannot take work now
            wait: agent a: not heard of since the start"#]],
        );
        check(
            state,
            "agent a tiny #0 silent 5",
            expect![[r#"
            wait: deployment acme/a: agents missing: 1; the free ones cannot take work now
            wait: agent a: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:25Z)"#]],
        );
        check(
            state,
            "agent a tiny #0 unjudged",
            expect![[r#"
                challenge a
                wait: deployment acme/a: agents missing: 1; the free ones cannot take work now
                wait: agent a: its evidence cannot be judged now"#]],
        );
    }

    #[test]
    fn an_agent_of_another_size_or_place_is_not_used() {
        let state =
            "target tiny 1 1\ntarget big 1 1 size big\ndeploy acme/a x1 v1 size big not-in local";
        check(
            state,
            "agent a tiny #0 idle\nagent b big #0 size big",
            expect!["wait: deployment acme/a: no target has agents of this size and place"],
        );
    }

    #[test]
    fn the_owners_own_reservation_is_used_first() {
        let state = "target east 1 1\ntarget west 1 1\nreserve acme/r west 1\ndeploy acme/a x1 v1";
        check(
            state,
            "agent a east #0 idle\nagent b west #0 idle",
            expect!["assign acme/a to b generation 2 workload v1"],
        );
    }

    #[test]
    fn what_is_reserved_for_others_stays_free() {
        let state = "target tiny 2 2\nreserve acme/r tiny 1\ndeploy bolt/a x2 v1";
        check(
            state,
            "agent a tiny #0 idle\nagent b tiny #1 idle",
            expect![[r#"
                assign bolt/a to a generation 2 workload v1
                wait: deployment bolt/a: agents missing: 1; the free ones are reserved"#]],
        );
        let ended = "target tiny 2 2\nreserve acme/r tiny 1 ended 0\ndeploy bolt/a x2 v1";
        check(
            ended,
            "agent a tiny #0 idle\nagent b tiny #1 idle",
            expect![[r#"
                assign bolt/a to a generation 2 workload v1
                assign bolt/a to b generation 2 workload v1"#]],
        );
    }

    #[test]
    fn a_quota_counts_all_of_an_owner() {
        let state = "quota acme 2\ntarget tiny 3 3\ndeploy acme/a x1 v1\ndeploy acme/b x2 v1";
        let world = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 idle\nagent c tiny #2 idle";
        check(
            state,
            world,
            expect![[r#"
            assign acme/b to b generation 2 workload v1
            wait: deployment acme/b: the quota of acme, 2 agents, is used up"#]],
        );
    }

    #[test]
    fn what_fits_only_here_comes_before_what_fits_anywhere() {
        let state =
            "target east 1 1\ntarget west 1 1\ndeploy acme/a x1 v1\ndeploy acme/b x1 v1 on east";
        check(
            state,
            "agent a east #0 idle\nagent b west #0 idle",
            expect![[r#"
                assign acme/b to a generation 2 workload v1
                assign acme/a to b generation 2 workload v1"#]],
        );
    }

    #[test]
    fn a_cloud_is_the_beginning_of_a_datacenters_name_by_any_of_its_words() {
        let state = |more: &str| {
            format!(
                "target east 1 1 in gcp-us-east1\ntarget site 1 1 in on-prem-1\ndeploy acme/a x1 v1 {more}"
            )
        };
        let world = "agent a east #0 in gcp-us-east1\nagent b site #0 in on-prem-1";
        let to_b = "assign acme/a to b generation 2 workload v1";
        for more in ["not-cloud google", "cloud baremetal", "cloud self-hosted"] {
            let plan = crate::testing::planned(&state(more), world);
            assert_eq!(crate::testing::text(&plan), to_b, "{more}");
        }
        check(
            &state("cloud azure"),
            world,
            expect!["wait: deployment acme/a: no target has agents of this size and place"],
        );
    }

    #[test]
    fn a_named_agent_is_the_only_one_and_nothing_leaves_it_or_is_launched() {
        let state = "target tiny 2 9\ndeploy acme/a x1 v1 named b\ndeploy acme/b x1 v1";
        check(
            state,
            "agent a tiny #0 idle\nagent b tiny #1 idle",
            expect![[r#"
                assign acme/b to a generation 2 workload v1
                assign acme/a to b generation 2 workload v1"#]],
        );
        check(
            state,
            "agent a tiny #0 idle\nagent b tiny #1 runs acme/b v1",
            expect!["wait: deployment acme/a: b, which it names, is not there or not free for it"],
        );
        check(
            state,
            "agent a tiny #0 runs acme/a v1\nagent b tiny #1 idle",
            expect![[r#"
                assign acme/a to b generation 2 workload v1
                launch tiny-32913ac7cea7 for tiny slot 2 generation 1 failures 0 size tiny in local by process under sim
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: deployment acme/b: agents missing: 1; ordered
                wait: agent a: its replica moves when the replacement is ready"#]],
        );
    }

    #[test]
    fn a_workload_goes_to_agents_that_can_run_it_and_those_that_can_least_are_taken_first() {
        let world = "agent a tiny #0\nagent b tiny #1 can process\nagent c tiny #2";
        check(
            "target tiny 3 3\ndeploy acme/a x1 v1\ndeploy acme/b x1 v1 compose",
            world,
            expect![[r#"
                assign acme/b to a generation 2 workload v1
                assign acme/a to b generation 2 workload v1"#]],
        );
    }

    #[test]
    fn where_agents_that_were_made_cannot_run_it_no_more_are_made_and_none_goes() {
        let deploy = "deploy acme/a x2 v1 compose";
        check(
            &format!("target tiny 0 9\n{deploy}"),
            "agent a tiny #0 can process",
            expect![
                "wait: deployment acme/a: agents missing: 1; none that is free or can be launched runs compose"
            ],
        );
        check(
            &format!("target tiny 0 9\ntarget zoo 0 9\n{deploy}"),
            "agent a tiny #0 can process",
            expect![[r#"
                launch zoo-3b430b2a3127 for zoo slot 0 generation 1 failures 0 size tiny in local by process under sim
                launch zoo-4287647180f4 for zoo slot 1 generation 1 failures 0 size tiny in local by process under sim
                wait: deployment acme/a: agents missing: 2; ordered"#]],
        );
        check(
            &format!("target tiny 0 9\n{deploy}\ndeploy acme/b x1 v1"),
            "agent a tiny #0 runs acme/b v1 can process",
            expect![[r#"
                launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in local by process under sim
                launch tiny-32913ac7cea7 for tiny slot 2 generation 1 failures 0 size tiny in local by process under sim
                wait: deployment acme/a: agents missing: 2; ordered"#]],
        );
    }

    #[test]
    fn whoever_cannot_run_it_stays_until_it_has_an_agent_elsewhere_so_that_no_other_is_made() {
        let state = "target tiny 0 9\ntarget zoo 0 9\ndeploy acme/a x1 v1 compose";
        let lacking = "agent a tiny #0 can process";
        check(
            state,
            &format!("{lacking}\norder zoo #0 g1 failed 0 of NoCapacity"),
            expect![[r#"
                wait: deployment acme/a: launches failed in a row: 1; the place has no room (until 2026-01-01T00:00:02Z)
                wait: target zoo: launches failed in a row: 1; the place has no room (until 2026-01-01T00:00:02Z)"#]],
        );
        check(
            state,
            &format!(
                "{lacking}\nagent b tiny #1 can process\norder tiny #2 g1 open\norder zoo #0 g1 open"
            ),
            expect![[r#"
                cancel tiny-32913ac7cea7: not needed
                retire b in local: not needed
                wait: deployment acme/a: agents missing: 1; ordered
                wait: order zoo-3b430b2a3127: its agent has not registered yet (until 2026-01-01T00:01:00Z)"#]],
        );
        check(
            state,
            &format!("{lacking}\nagent z zoo #0"),
            expect![[r#"
                retire a in local: not needed
                assign acme/a to z generation 2 workload v1"#]],
        );
    }

    #[test]
    fn nothing_is_made_where_no_provider_has_what_runs_it() {
        let state = |more: &str| {
            format!(
                "target tiny 0 9 makes process\ntarget big 0 9 size big\ndeploy acme/a x1 v1 compose {more}"
            )
        };
        check(
            &state(""),
            "agent a tiny #0",
            expect![[r#"
            retire a in local: not needed
            wait: deployment acme/a: agents missing: 1; none that is free or can be launched runs compose"#]],
        );
        check(
            &state("size vast"),
            "",
            expect!["wait: deployment acme/a: no target has agents of this size and place"],
        );
    }

    #[test]
    fn a_version_that_was_healthy_goes_to_agents_that_can_run_it_whatever_is_wanted_now() {
        let world = "agent a tiny #0 can process\nagent b tiny #1";
        check(
            "target tiny 0 9\ndeploy acme/a x1 v2",
            &format!("{world}\nrollout acme/a healthy v1 needs compose reverted v2 0"),
            expect![[r#"
                retire a in local: not needed
                assign acme/a to b generation 2 workload v1
                wait: deployment acme/a: workload v2 attempt 0 was given up: it exits; the one before it stays until the document changes"#]],
        );
        check(
            "target tiny 0 9\ndeploy acme/a x1 v2 compose",
            &format!("{world}\nrollout acme/a healthy v1 needs process reverted v2 0"),
            expect![[r#"
                retire b in local: not needed
                assign acme/a to a generation 2 workload v1
                wait: deployment acme/a: workload v2 attempt 0 was given up: it exits; the one before it stays until the document changes"#]],
        );
        let made = "target tiny 0 9 makes process\ndeploy acme/a x1 v2 compose";
        check(
            made,
            "agent a tiny #0 can process\nrollout acme/a healthy v1 needs process reverted v2 0",
            expect![[r#"
                assign acme/a to a generation 2 workload v1
                wait: deployment acme/a: workload v2 attempt 0 was given up: it exits; the one before it stays until the document changes"#]],
        );
    }

    #[test]
    fn in_a_pause_nothing_moves_for_what_is_not_rolled_out_and_what_is_missing_goes_where_both_run()
    {
        let state = "target tiny 0 9\ndeploy acme/a x2 v2 compose paused 60";
        let world = "rollout acme/a healthy v1 needs process\nagent a tiny #0 runs acme/a v1 can process\n\
                     agent b tiny #1";
        check(
            state,
            &format!("{world} runs acme/a v1 can process"),
            expect![
                "wait: deployment acme/a: the roll-out is paused by ann: freeze (until 2026-01-01T00:01:00Z)"
            ],
        );
        check(
            state,
            &format!("{world} can process\nagent c tiny #2"),
            expect![[r#"
                retire b in local: not needed
                assign acme/a to c generation 2 workload v1
                wait: deployment acme/a: the roll-out is paused by ann: freeze (until 2026-01-01T00:01:00Z)"#]],
        );
    }

    #[test]
    fn in_a_pause_what_is_missing_goes_to_who_can_run_what_it_is_given() {
        let state = "target tiny 1 9\ndeploy acme/a x1 v2 compose paused 60";
        let fact = "rollout acme/a healthy v1 needs process";
        let given = |agent| format!("assign acme/a to {agent} generation 2 workload v1");
        let lacking = "agent a tiny #0 can process";
        let gets = |state: &str, world: &str| {
            let plan = crate::testing::planned(state, world);
            crate::testing::text(&plan)
        };
        assert_eq!(gets(state, &format!("{lacking}\n{fact}")), given("a"));
        // On a target that makes nothing else, too, and a machine that can be made is.
        let made =
            "target tiny 1 9 makes process\ntarget zoo 0 9\ndeploy acme/a x1 v2 compose paused 60";
        assert_eq!(gets(made, &format!("{lacking}\n{fact}")), given("a"));
        // The other way round, free agents that cannot run it provide for nothing.
        let state = "target tiny 1 9 makes process\ntarget zoo 0 9\ndeploy acme/a x1 v2 paused 60";
        check(
            state,
            "agent a tiny #0 can process\nrollout acme/a healthy v1 needs compose",
            expect![[r#"
                launch zoo-3b430b2a3127 for zoo slot 0 generation 1 failures 0 size tiny in local by process under sim
                wait: deployment acme/a: agents missing: 1; ordered"#]],
        );
    }

    #[test]
    fn who_cannot_run_the_new_version_keeps_the_old_one_until_another_takes_its_place() {
        let agents = |count: u32| -> String {
            let agent = |slot| format!("agent a{slot} tiny #{slot} runs acme/a v1 can process\n");
            (0..count).map(agent).collect()
        };
        let fact = "rollout acme/a healthy v1 needs process";
        check(
            "target tiny 0 9 makes process\ntarget zoo 0 9\ndeploy acme/a x4 v2 compose unavailable 2",
            &format!("{}{fact}", agents(4)),
            expect![[r#"
                launch zoo-3b430b2a3127 for zoo slot 0 generation 1 failures 0 size tiny in local by process under sim
                launch zoo-4287647180f4 for zoo slot 1 generation 1 failures 0 size tiny in local by process under sim
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: deployment acme/a: agents missing: 2; ordered
                wait: agent a0: its replica moves when the replacement is ready
                wait: agent a1: its replica moves when the replacement is ready
                wait: agent a2: its replica moves when the replacement is ready
                wait: agent a3: its replica moves when the replacement is ready"#]],
        );
        check(
            "target tiny 0 9 makes process\ntarget zoo 0 9\ndeploy acme/a x4 v2 compose unavailable 2 canary 1",
            &format!("{}{fact}", agents(4)),
            expect![[r#"
                launch zoo-3b430b2a3127 for zoo slot 0 generation 1 failures 0 size tiny in local by process under sim
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: deployment acme/a: agents missing: 1; ordered
                wait: agent a0: its replica moves when the replacement is ready
                wait: agent a1: its replica moves when the replacement is ready
                wait: agent a2: its replica moves when the replacement is ready
                wait: agent a3: its replica moves when the replacement is ready"#]],
        );
        let state = "target tiny 0 9 makes process\ntarget zoo 0 9\ndeploy acme/a x4 v2 compose";
        check(
            state,
            &format!("{}agent z zoo #0 runs acme/a v2\n{fact}", agents(4)),
            expect![[r#"
                unassign acme/a from a0 generation 3
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: agent a1: its replica moves when the replacement is ready
                wait: agent a2: its replica moves when the replacement is ready
                wait: agent a3: its replica moves when the replacement is ready"#]],
        );
        // What is missing is given what can serve now.
        check(
            state,
            &format!("{}agent b tiny #8 can process\n{fact}", agents(3)),
            expect![[r#"
                assign acme/a to b generation 2 workload v1
                launch zoo-3b430b2a3127 for zoo slot 0 generation 1 failures 0 size tiny in local by process under sim
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: agent a0: its replica moves when the replacement is ready
                wait: agent a1: its replica moves when the replacement is ready
                wait: agent a2: its replica moves when the replacement is ready"#]],
        );
    }

    #[test]
    fn nothing_is_placed_while_agents_may_return_that_carry_either_version() {
        let state = "target here 0 9 makes process\ntarget there 0 9 makes compose\ndeploy acme/a x3 v2 compose";
        let fact = "rollout acme/a healthy v1 needs process";
        let half = "agent p1 here #1 runs acme/a v1 can process\nagent p3 here #3 can process\n\
                    agent c3 there #3 can compose";
        let old = format!("{half}\nagent p2 here #2 runs acme/a v1 can process\n{fact}");
        let new = format!("{half}\nagent c1 there #1 runs acme/a v2 can compose\n{fact}");
        let assigned = |world: String| {
            let plan = crate::testing::planned(state, &world);
            let is_assigned = |it: &&Action| matches!(it, Action::Assign { .. });
            plan.actions.iter().filter(is_assigned).count()
        };
        for seconds in [29, 30] {
            // It is given up at the end of that time.
            let count = usize::from(seconds == 30);
            let orphan = format!("orphan c1 {seconds} of there slot #1");
            assert_eq!(assigned(format!("{old}\n{orphan}")), count, "{orphan}");
            let orphan = format!("orphan p2 {seconds} of here slot #2");
            assert_eq!(assigned(format!("{new}\n{orphan}")), count, "{orphan}");
        }
        check(
            state,
            &format!("{old}\norphan c1 10 of there slot #1"),
            expect![[r#"
                retire p3 in local: not needed
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: deployment acme/a: agents missing: 1; machines are there whose agents may register again
                wait: target there: agents missing: 1; machines are there whose agents may register again
                wait: agent p1: its replica moves when the replacement is ready
                wait: agent p2: its replica moves when the replacement is ready
                wait: order c1: belongs to nothing; its owner may turn up (until 2026-01-01T00:00:20Z)"#]],
        );
        check(
            state,
            &format!("{new}\norphan p2 10 of here slot #2"),
            expect![[r#"
                retire p3 in local: not needed
                launch there-6eafb21ee8fa for there slot 0 generation 1 failures 0 size tiny in local by process under sim
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: deployment acme/a: agents missing: 1; machines are there whose agents may register again
                wait: agent p1: its replica moves when the replacement is ready
                wait: order p2: belongs to nothing; its owner may turn up (until 2026-01-01T00:00:20Z)"#]],
        );
    }

    #[test]
    fn whoever_runs_it_keeps_it_and_another_version_moves_away() {
        let state = "target tiny 0 9\ndeploy acme/a x1 v1 compose";
        let world = "agent a tiny #0 runs acme/a v1 can process";
        check(state, world, expect![[r#""#]]);
        check(
            &state.replace("v1", "v2"),
            &format!("{world}\nagent b tiny #1"),
            expect![[r#"
                assign acme/a to b generation 2 workload v2
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: agent a: its replica moves when the replacement is ready"#]],
        );
        check(
            &state.replace("v1", "v2"),
            world,
            expect![[r#"
            launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in local by process under sim
            wait: deployment acme/a: its replica moves when the replacement is ready
            wait: deployment acme/a: agents missing: 1; ordered
            wait: agent a: its replica moves when the replacement is ready"#]],
        );
    }
}
