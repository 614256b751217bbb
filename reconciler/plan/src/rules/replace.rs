//! Stops replicas that are not wanted, moves those that are in the wrong place, and brings the others to the
//! version of now. A roll-out never takes more ready replicas away than the deployment allows.

use easyenclave_schemas::{Digest, Timestamp};

use super::roll;
use crate::census::{Census, Replica};
use crate::disrupt::{drifted, exchanges, note_exchanges};
use crate::draft::{Draft, Fate, Need, Pace, Surge};
use crate::shed::{self, Shed, left};
use crate::spread;
use crate::view::{AgentIx, DeploymentIx, Instruction, View, Wanted, number};
use crate::{Deployment, WaitReason};

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    let mut census = Census::default();
    let mut shed = Shed::default();
    let (mut unsettled, mut moving) = (Vec::new(), Vec::new());
    for deployment in view.all_deployments() {
        match view.deployment(deployment).state {
            Wanted::Yes(spec) if spec.replicas > 0 => {
                census.count(view, draft, deployment, spec);
                if !census.is_settled(spec) {
                    note_exchanges(view, draft, spec, &census);
                    shed.beyond(view, draft, deployment, spec, &census);
                    unsettled.push((deployment, spec));
                    let moves = !census.movers.is_empty() || !census.bad.is_empty();
                    moving.extend(moves.then_some((deployment, spec)));
                }
            }
            Wanted::Yes(_) | Wanted::No => shed.all(view, draft, deployment),
            Wanted::Frozen => {}
        }
    }
    let asked = shed.carry_out(view, draft);
    moving.retain(|(deployment, _)| !asked.contains(deployment));
    for (deployment, spec) in moving {
        census.count(view, draft, deployment, spec);
        shed::exchange(view, draft, deployment, spec, &census);
    }
    draft.count_use(view);
    for (deployment, spec) in unsettled {
        census.count(view, draft, deployment, spec);
        let gate = roll::gate(view, draft, deployment, spec, &census);
        let update = Update {
            view,
            deployment,
            spec,
            asked: asked.contains(&deployment),
            wait: gate.wait,
        };
        update.run(draft, &mut census, gate.pace);
    }
}

/// What happens to the ready replicas of an old version.
struct Step {
    /// They stop, because others serve in their place.
    exchanged: Vec<AgentIx>,
    /// They are brought to the aim where they are.
    in_place: Vec<AgentIx>,
    /// So many stay as they are.
    left: u32,
}

/// Old replicas that cannot be changed where they are.
#[derive(Clone, Copy)]
struct Bound {
    all: u32,
    ready: u32,
}

/// Brings one deployment's replicas to the version that it aims at.
struct Update<'v, 'a> {
    view: &'v View<'a>,
    deployment: DeploymentIx,
    spec: &'a Deployment,
    /// Whether a person is to be asked before some of its replicas go. Until then the others stay as they are.
    asked: bool,
    /// What the roll-out waits for before it goes on to others.
    wait: Option<(WaitReason, Option<Timestamp>)>,
}

impl Update<'_, '_> {
    fn run(&self, draft: &mut Draft, census: &mut Census, mut pace: Pace) {
        self.adopt(draft, census, pace);
        self.report(draft, census);
        let missing = self.missing(draft, census);
        // What is missing may be had never. So what can be changed now comes before it, and what has to wait for an agent after it.
        let surge = match census.outdated().next() {
            Some(_) => self.roll(draft, census, &mut pace),
            None => Surge::No,
        };
        let surge = match surge {
            Surge::Now(count) => {
                pace.room = pace.room.saturating_sub(count);
                surge
            }
            // An agent that is kept for room which what is missing takes would be ordered in vain.
            Surge::Later(count) => match count.min(pace.room.saturating_sub(missing)) {
                0 => Surge::No,
                count => Surge::Later(count),
            },
            Surge::No => surge,
        };
        self.leave(draft, census);
        if missing > 0 || surge != Surge::No {
            draft.needs.push(Need {
                deployment: self.deployment,
                missing,
                pace,
                surge,
            });
        }
    }

    /// How many replicas lack a place. Those that run where their target has drifted are replaced as its budgets allow.
    /// What the owner's quota does not allow is missing too, but cannot be had, and so takes nothing of a budget.
    /// Nothing is missing where no version is known that could be given to it.
    fn missing(&self, draft: &mut Draft, census: &Census) -> u32 {
        if self.view.deployment(self.deployment).is_at_a_loss() {
            return 0;
        }
        let missing = self.spec.replicas.saturating_sub(census.placed());
        let mut waiting = drifted(self.view, census);
        waiting.drain(..exchanges(self.view, self.spec, census).min(waiting.len()));
        waiting.truncate(missing as usize);
        let first = missing - number(waiting.len());
        let quota = draft.quota_left(self.view, self.deployment);
        let (mut charged, mut kept) = (first, 0);
        for agent in waiting {
            if charged >= quota {
                break;
            }
            match draft.disruptions.exchange(self.view, agent) {
                Ok(()) => charged += 1,
                Err((reason, until)) => {
                    kept += 1;
                    draft.wait_agent(self.view, agent, reason, until);
                }
            }
        }
        missing - kept
    }

    /// A workload that runs undecided, as after the store was lost, is taken over where it is, in its own version if that
    /// is the aim or was healthy. One in another version counts as an old replica.
    fn adopt(&self, draft: &mut Draft, census: &mut Census, pace: Pace) {
        for agent in std::mem::take(&mut census.strays) {
            let facts = self.view.agent(agent);
            let known = facts.runs();
            let known = known.filter(|runs| *runs == pace.aim || Some(*runs) == pace.base);
            if matches!(draft.fate(agent), Fate::Held(_)) {
                census.fixed.push(agent);
            } else if draft.quota_left(self.view, self.deployment) == 0 {
                draft.unassign(self.view, agent, self.deployment);
            } else {
                draft.uses_more(self.view.deployment(self.deployment).owner, 1);
                let Some(workload) = known else {
                    census.add_old(agent, facts.runs_well());
                    continue;
                };
                draft.assign(self.view, agent, self.deployment, workload);
                census.fixed.push(agent);
            }
        }
    }

    /// Says what runs undecided and is not told anything yet.
    fn leave(&self, draft: &mut Draft, census: &Census) {
        for replica in &census.good {
            let facts = self.view.agent(replica.agent);
            if facts.is_stray() && draft.fate(replica.agent) == Fate::Stays {
                let agent = facts.id.clone();
                let stays = WaitReason::ReplicaStays { agent };
                draft.wait_agent(self.view, replica.agent, stays, None);
            }
        }
    }

    /// Says which replicas are not ready, which are about to move, and which are too many.
    fn report(&self, draft: &mut Draft, census: &Census) {
        let over = census.placed() > self.spec.replicas;
        for agent in self.view.replicas(self.deployment) {
            let facts = self.view.agent(agent);
            if !draft.is_there(self.view, agent) || draft.carries(self.view, agent).is_none() {
                continue;
            }
            if !facts.is_ready() {
                let within = self.view.ready_within(self.spec);
                let (reason, until) = facts.unready(within, self.view.now);
                draft.wait_deployment(self.view, self.deployment, reason, until);
            } else if !facts.is_touchable() && (over || !facts.current) {
                left(self.view, draft, self.deployment, agent);
            }
        }
        for mover in &census.movers {
            draft.wait_agent(self.view, mover.agent, WaitReason::Moving, None);
            draft.wait_deployment(self.view, self.deployment, WaitReason::Moving, None);
        }
    }

    /// Updates in place what may be taken away. Says how many agents more are needed to go on.
    fn roll(&self, draft: &mut Draft, census: &Census, pace: &mut Pace) -> Surge {
        let more = self.revive(draft, census, pace);
        let steady = number(census.outdated().filter(|r| r.ready).count());
        if self.asked && steady > 0 {
            self.wait_for_room(draft, census, None);
            return Surge::No;
        }
        let step = self.step(census, (steady, more), pace.room);
        for agent in step.exchanged {
            draft.unassign(self.view, agent, self.deployment);
        }
        pace.room -= number(step.in_place.len());
        for agent in step.in_place {
            draft.assign(self.view, agent, self.deployment, pace.aim);
        }
        let bound = self.bound(draft, census);
        if step.left > 0 {
            let closed = self.wait.as_ref().filter(|_| pace.room == 0);
            match (closed, step.left > bound.ready) {
                (None, false) => self.report_bound(draft, census),
                (closed, _) => self.wait_for_room(draft, census, closed),
            }
        }
        // Where some may be away, more beside what runs undecided would be too many.
        let is_stray = |r: &Replica| self.view.agent(r.agent).is_stray();
        let may_be_away = self.spec.rollout.max_unavailable > 0;
        let replaced = match may_be_away && census.good.iter().any(is_stray) {
            true => 0,
            false => step.left.min(self.spec.rollout.surge()),
        };
        let replaced = replaced.max(bound.all.min(census.surge(self.spec)));
        let count = replaced.saturating_sub(more).min(pace.room);
        self.surge(census, count, bound)
    }

    /// How many old replicas stay that cannot be brought to the aim where they are.
    fn bound(&self, draft: &Draft, census: &Census) -> Bound {
        let staying = || self.bound_ones(draft, census);
        Bound {
            all: number(staying().count()),
            ready: number(staying().filter(|replica| replica.ready).count()),
        }
    }

    fn bound_ones<'c>(
        &self,
        draft: &Draft,
        census: &'c Census,
    ) -> impl Iterator<Item = &'c Replica> {
        let stays = move |r: &&Replica| r.bound && draft.fate(r.agent) == Fate::Stays;
        census.outdated().filter(stays)
    }

    /// Says that old replicas wait for others to take their place.
    fn report_bound(&self, draft: &mut Draft, census: &Census) {
        let staying: Vec<_> = self.bound_ones(draft, census).copied().collect();
        for replica in staying {
            draft.wait_agent(self.view, replica.agent, WaitReason::Moving, None);
        }
        draft.wait_deployment(self.view, self.deployment, WaitReason::Moving, None);
    }

    /// Brings old replicas that serve nobody to a version that may; without one they keep theirs. Those beyond the wanted
    /// ones were there for the roll-out only, and stop, one that still serves last. Answers how many beyond are left.
    fn revive(&self, draft: &mut Draft, census: &Census, pace: &mut Pace) -> u32 {
        let (more, mut stopped) = (self.more(census), 0);
        let mut beyond = if self.asked { 0 } else { more };
        let mut unready: Vec<&Replica> = census.outdated().filter(|r| !r.ready).collect();
        unready.sort_by_key(|replica| replica.of_use);
        for replica in unready {
            if draft.fate(replica.agent) != Fate::Stays {
                continue;
            }
            if beyond > 0 {
                draft.unassign(self.view, replica.agent, self.deployment);
                (beyond, stopped) = (beyond - 1, stopped + 1);
                continue;
            }
            self.bring(draft, replica.agent, pace);
        }
        more - stopped
    }

    /// Brings a replica that serves nobody to a version that may.
    fn bring(&self, draft: &mut Draft, agent: AgentIx, pace: &mut Pace) {
        let facts = self.view.agent(agent);
        let version = self.goes_on(agent, pace).or_else(|| self.next(agent, pace));
        match version.filter(|version| !facts.is_told(*version)) {
            Some(version) => draft.assign(self.view, agent, self.deployment, version),
            None if facts.instruction == Instruction::Astray && !facts.is_stray() => {
                let stays = facts.id.clone();
                let reason = WaitReason::ReplicaStays { agent: stays };
                draft.wait_agent(self.view, agent, reason, None);
            }
            None => {}
        }
    }

    /// The version that a replica gets that serves nobody, of those that its agent can run.
    fn next(&self, agent: AgentIx, pace: &mut Pace) -> Option<Digest> {
        if self.view.can_follow(self.deployment, agent) {
            return pace.next();
        }
        let can = |base: &Digest| self.view.can_run(self.deployment, *base, agent);
        pace.base.filter(can)
    }

    /// What it was told and runs, under a number that is not known here, goes on if that may: it is no step of the roll-out.
    fn goes_on(&self, agent: AgentIx, pace: &mut Pace) -> Option<Digest> {
        let facts = self.view.agent(agent);
        let told = facts.fact.assigned.as_ref()?.workload;
        let id = self.view.deployment(self.deployment).id;
        let may = told == pace.aim || Some(told) == pace.base;
        facts.running_already(id, told).filter(|_| may)?;
        pace.room = pace.room.saturating_sub(u32::from(told == pace.aim));
        Some(told)
    }

    /// Which ready replicas of an old version stop or are updated now. As many old ones stay as new ones are there that
    /// are to take their place.
    fn step(&self, census: &Census, (steady, more): (u32, u32), room: u32) -> Step {
        let (replicas, rollout) = (self.spec.replicas, &self.spec.rollout);
        let replaced = match room {
            // In a pause those that serve stay, also where others could take their place.
            0 => 0,
            _ => {
                let takable = self.takable(census, replicas, usize::MAX);
                takable.len().min(more as usize)
            }
        };
        let floor = replicas.saturating_sub(rollout.max_unavailable);
        let mut takable = self.takable(census, floor, replaced);
        let mut in_place = takable.split_off(replaced);
        let most = match rollout.max_unavailable {
            0 => 0,
            _ => steady.saturating_sub(more).min(room),
        };
        in_place.truncate(most as usize);
        Step {
            left: steady - number(replaced + in_place.len()),
            exchanged: takable,
            in_place,
        }
    }

    /// So many replicas more than wanted are there for the roll-out.
    fn more(&self, census: &Census) -> u32 {
        let more = census.placed().saturating_sub(self.spec.replicas);
        more.min(census.surge(self.spec))
    }

    /// The ready replicas of an old version that may be taken away now, those that do not serve first, and then those that
    /// cannot be changed where they are, which are taken only where others take their place: so many. `floor` go on serving.
    fn takable(&self, census: &Census, floor: u32, replaced: usize) -> Vec<AgentIx> {
        let mut serving = census.serving();
        let steady = census.outdated().filter(|r| r.ready).copied().collect();
        let of = (self.view, self.spec, census);
        let class = |replica: &Replica| (replica.serves, !replica.bound);
        let mut steady = spread::in_order(of, steady, class, |_| ());
        let mut taken = 0;
        steady.retain(|replica| {
            let left = serving - u32::from(replica.serves);
            let is_placed = !replica.bound || taken < replaced;
            let may_go = left >= floor && !replica.fronts && is_placed;
            serving = if may_go { left } else { serving };
            taken += usize::from(may_go);
            may_go
        });
        steady.iter().map(|replica| replica.agent).collect()
    }

    /// When new replicas are placed before old ones stop: at once where an old one serves nobody and cannot be changed.
    fn surge(&self, census: &Census, count: u32, bound: Bound) -> Surge {
        let unready = bound.all - bound.ready;
        match (count, census.serving() >= self.spec.replicas) {
            (0, _) => Surge::No,
            (_, true) => Surge::Now(count),
            (_, false) if unready > 0 => Surge::Now(count.min(unready)),
            (_, false) => Surge::Later(count),
        }
    }

    fn wait_for_room(
        &self,
        draft: &mut Draft,
        census: &Census,
        closed: Option<&(WaitReason, Option<Timestamp>)>,
    ) {
        let room = WaitReason::MaxUnavailable {
            unavailable: self.spec.replicas.saturating_sub(census.serving()),
            allowed: self.spec.rollout.max_unavailable,
        };
        let (reason, until) = closed.cloned().unwrap_or((room, None));
        draft.wait_deployment(self.view, self.deployment, reason, until);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn the_replicas_that_serve_least_stop_first() {
        let state = "breaker 2 25\ntarget tiny 0 4\ndeploy acme/a x2 v1";
        let world = "agent a tiny #0 starts acme/a v1\nagent b tiny #1 runs acme/a v2\n\
                     agent c tiny #2 runs acme/a v1\nagent d tiny #3 runs acme/a v1";
        check(
            state,
            world,
            expect![[r#"
            unassign acme/a from a generation 3
            unassign acme/a from b generation 3"#]],
        );
    }

    #[test]
    fn a_silent_replica_counts_and_makes_no_other_go() {
        let state = "target tiny 0 4\ndeploy acme/a x1 v1";
        let world = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1 silent 5";
        check(
            state,
            world,
            expect![[r#"
                wait: deployment acme/a: the replica on b is not ready
                wait: agent b: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:25Z)"#]],
        );
    }

    #[test]
    fn a_deleted_deployment_stops_where_agents_answer() {
        let world = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1 silent 5\n\
                     agent c tiny #2 runs acme/b v1\nagent d tiny #3 idle";
        check(
            "target tiny 4 4\ndeploy acme/b x1 v1",
            world,
            expect![[r#"
                hold: 2 of 4 agents of target tiny would go
                  unassign acme/a from a generation 3
                wait: deployment acme/a: the replica on b cannot be changed now
                wait: deployment acme/a: held until a person approves DIGEST
                wait: agent a: held until a person approves DIGEST
                wait: agent b: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:25Z)"#]],
        );
    }

    #[test]
    fn the_last_ready_replicas_of_an_owner_are_held() {
        let world = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1\n\
                     agent c tiny #2 idle\nagent d big #0 idle";
        let state = "breaker 1 100\ntarget tiny 3 4\ntarget big 1 1";
        check(
            state,
            world,
            expect![[r#"
            hold: 2 replicas of owner acme would go and none would be ready
              unassign acme/a from a generation 3
              unassign acme/a from b generation 3
            wait: deployment acme/a: held until a person approves DIGEST
            wait: agent a: held until a person approves DIGEST
            wait: agent b: held until a person approves DIGEST"#]],
        );
    }

    #[test]
    fn only_what_may_be_missing_is_updated() {
        let state = "target tiny 0 4\ndeploy acme/a x3 v2 unavailable 2";
        let world = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1\n\
                     agent c tiny #2 runs acme/a v1";
        check(
            state,
            world,
            expect![[r#"
            assign acme/a to a generation 3 workload v2
            assign acme/a to b generation 3 workload v2
            wait: deployment acme/a: replicas not serving: 0, allowed: 2"#]],
        );
    }

    #[test]
    fn a_replica_that_does_not_serve_is_updated_at_once() {
        let state = "target tiny 0 4\ndeploy acme/a x2 v3 unavailable 0";
        let world = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 told acme/a v2";
        check(
            state,
            world,
            expect![[r#"
            assign acme/a to b generation 3 workload v3
            launch tiny-32913ac7cea7 for tiny slot 2 generation 1 failures 0 size tiny in local by process under sim
            wait: deployment acme/a: the replica on b is not ready (until 2026-01-01T00:04:00Z)
            wait: deployment acme/a: replicas not serving: 1, allowed: 0"#]],
        );
    }

    #[test]
    fn a_published_replica_waits_for_its_substitute_to_be_published() {
        let state = "target tiny 0 4\ndeploy acme/a x2 v2 exposed";
        let world = "agent a tiny #0 runs acme/a v2\nagent b tiny #1 runs acme/a v1 exposed acme/a";
        check(
            state,
            world,
            expect![[r#"
            expose acme/a on a
            wait: deployment acme/a: replicas not serving: 1, allowed: 1"#]],
        );
    }

    #[test]
    fn a_silent_agent_is_not_rolled_out_to() {
        let state = "target tiny 0 4\ndeploy acme/a x2 v2 unavailable 2";
        let world = "agent a tiny #0 runs acme/a v1 silent 5\nagent b tiny #1 runs acme/a v1";
        check(
            state,
            world,
            expect![[r#"
                assign acme/a to b generation 3 workload v2
                wait: deployment acme/a: the replica on a is not ready
                wait: agent a: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:25Z)"#]],
        );
    }

    #[test]
    fn a_replica_in_the_wrong_place_moves_when_its_substitute_serves() {
        let state = "target near 0 2 in near\ntarget far 0 2 in far\ndeploy acme/a x1 v1 in far";
        let stays =
            "agent a near #0 runs acme/a v1 in near\nagent b far #0 starts acme/a v1 in far";
        check(
            state,
            stays,
            expect![[r#"
            wait: deployment acme/a: the replica on b is not ready (until 2026-01-01T00:04:00Z)
            wait: deployment acme/a: its replica moves when the replacement is ready
            wait: agent a: its replica moves when the replacement is ready"#]],
        );
        let goes = "agent a near #0 runs acme/a v1 in near\nagent b far #0 runs acme/a v1 in far";
        check(state, goes, expect!["unassign acme/a from a generation 3"]);
    }

    #[test]
    fn a_stray_is_taken_over_or_stopped() {
        let world = "agent a tiny #0 strays acme/a v1";
        check(
            "target tiny 1 1\ndeploy acme/a x1 v1",
            world,
            expect![[r#"
            assign acme/a to a generation 3 workload v1
            wait: deployment acme/a: the replica on a is not ready"#]],
        );
        check(
            "target tiny 1 1",
            world,
            expect!["unassign acme/a from a generation 3"],
        );
        check(
            "target tiny 1 1\nfreeze-deploy acme/a",
            world,
            expect![[r#"
            wait: deployment acme/a: kept as it is: its.yaml cannot be used
            wait: agent a: kept as it is: its.yaml cannot be used"#]],
        );
    }

    #[test]
    fn strays_of_another_version_are_changed_as_the_roll_out_allows() {
        let world = "agent a tiny #0 strays acme/a v1\nagent b tiny #1 strays acme/a v1\n\
                     agent c tiny #2 strays acme/a v1";
        check(
            "target tiny 3 3\ndeploy acme/a x3 v2",
            world,
            expect![[r#"
            assign acme/a to a generation 3 workload v2
            wait: deployment acme/a: the replica on a is not ready
            wait: deployment acme/a: the replica on b is not ready
            wait: deployment acme/a: the replica on c is not ready
            wait: deployment acme/a: replicas not serving: 0, allowed: 1
            wait: agent b: the replica on b cannot be changed now
            wait: agent c: the replica on c cannot be changed now"#]],
        );
        check(
            "target tiny 3 4\ndeploy acme/a x3 v2 unavailable 2 surge 1",
            &(world.to_owned() + "\nagent d tiny #3 idle"),
            expect![[r#"
                retire d in local: not needed
                assign acme/a to a generation 3 workload v2
                assign acme/a to b generation 3 workload v2
                wait: deployment acme/a: the replica on a is not ready
                wait: deployment acme/a: the replica on b is not ready
                wait: deployment acme/a: the replica on c is not ready
                wait: deployment acme/a: replicas not serving: 0, allowed: 2
                wait: agent c: the replica on c cannot be changed now"#]],
        );
    }

    #[test]
    fn what_runs_under_a_forgotten_instruction_is_taken_over_under_its_own_number() {
        let state = "target tiny 1 1\ndeploy acme/a x1 v2";
        check(
            state,
            "agent a tiny #0 kept acme/a v2",
            expect![[r#"
            assign acme/a to a generation 2 workload v2
            wait: deployment acme/a: the replica on a is not ready"#]],
        );
        check(
            state,
            "agent a tiny #0 kept acme/a v1",
            expect![[r#"
            assign acme/a to a generation 3 workload v2
            wait: deployment acme/a: the replica on a is not ready"#]],
        );
    }

    #[test]
    fn what_an_agent_gives_up_by_itself_is_reserved_when_it_is_told() {
        let state = "target tiny 0 4\ndeploy acme/a x2 v2 exposed";
        let fetching = "agent a tiny #0 starts acme/a v2 serves v1 exposed acme/a\n";
        let old = "agent b tiny #1 runs acme/a v1 serves v1 exposed acme/a";
        check(
            state,
            &format!("{fetching}{old}"),
            expect![[r#"
            wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)
            wait: deployment acme/a: replicas not serving: 1, allowed: 1"#]],
        );
    }

    #[test]
    fn a_newer_version_is_given_to_one_that_fetches_and_one_that_serves_nobody_stops_first() {
        let state = "target tiny 0 4\ndeploy acme/a x1 v3 unavailable 1 surge 1";
        let world = "agent a tiny #0 starts acme/a v2 serves v1\nagent b tiny #1 starts acme/a v2";
        check(
            state,
            world,
            expect![[r#"
            unassign acme/a from b generation 3
            assign acme/a to a generation 3 workload v3
            wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)"#]],
        );
    }

    #[test]
    fn one_that_serves_while_it_fetches_leaves_when_its_replacement_serves() {
        let state = "target tiny 0 4\ntarget other 0 4\ndeploy acme/a x1 v2 on other";
        let moves = "agent a tiny #0 starts acme/a v2 serves v1\n";
        check(
            state,
            &format!("{moves}agent b other #0 starts acme/a v2"),
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)
                wait: deployment acme/a: the replica on b is not ready (until 2026-01-01T00:04:00Z)
                wait: deployment acme/a: its replica moves when the replacement is ready
                wait: agent a: its replica moves when the replacement is ready"#]],
        );
        check(
            state,
            &format!("{moves}agent b other #0 runs acme/a v2"),
            expect!["unassign acme/a from a generation 3"],
        );
    }

    #[test]
    fn a_workload_without_trust_is_hidden_first_and_then_stopped_where_the_target_says_so() {
        let deploy = "deploy acme/a x1 v1 exposed";
        let others = "agent b tiny #1\nagent c tiny #2\nagent d tiny #3\nagent e tiny #4";
        let run = "agent a tiny #0 runs acme/a v1 refused";
        check(
            &format!("target tiny 5 5 stops\n{deploy}"),
            &format!("{run} exposed acme/a\n{others}"),
            expect![[r#"
                unexpose acme/a on a
                quarantine a: its evidence is refused
                assign acme/a to b generation 2 workload v1
                wait: deployment acme/a: the replica on a is not ready
                wait: target tiny: agents missing: 1; the maximum is reached
                wait: agent a: in quarantine: its evidence is refused"#]],
        );
        check(
            &format!("target tiny 5 5 stops\n{deploy}"),
            &format!("{run} out-refused\n{others}"),
            expect![[r#"
                unassign acme/a from a generation 3
                assign acme/a to b generation 2 workload v1
                wait: target tiny: agents missing: 1; the maximum is reached
                wait: agent a: in quarantine: its evidence is refused"#]],
        );
        check(
            &format!("target tiny 5 5\n{deploy}"),
            &format!("{run} out-refused\n{others}"),
            expect![[r#"
                assign acme/a to b generation 2 workload v1
                wait: deployment acme/a: the replica on a is not ready
                wait: target tiny: agents missing: 1; the maximum is reached
                wait: agent a: in quarantine: its evidence is refused"#]],
        );
    }
}
