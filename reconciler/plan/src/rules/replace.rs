//! Stops replicas that are not wanted, moves those that are in the wrong place, and brings the others to the
//! version of now. A roll-out never takes more ready replicas away than the deployment allows.

use crate::census::{Census, Replica};
use crate::draft::{Draft, Fate, Need, Surge};
use crate::shed::{self, Shed, left};
use crate::view::{AgentIx, DeploymentIx, View, Wanted, number};
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
        let update = Update {
            view,
            deployment,
            spec,
            asked: asked.contains(&deployment),
        };
        update.run(draft, &mut census);
    }
}

/// So many replicas on agents that have drifted are there twice, because they are being exchanged. What was placed makes
/// up first for those that move for another reason, which no budget holds back.
fn exchanges(view: &View, spec: &Deployment, census: &Census) -> usize {
    let there = census.placed() as usize + census.movers.len();
    let twice = there.saturating_sub(spec.replicas as usize);
    let others = census.movers.len() - drifted(view, census).len();
    twice.min(census.in_place() as usize).saturating_sub(others)
}

/// Replicas on agents that have drifted, which are to be exchanged one by one.
fn drifted(view: &View, census: &Census) -> Vec<AgentIx> {
    let movers = census.movers.iter().map(|mover| mover.agent);
    movers.filter(|agent| view.agent(*agent).drifted).collect()
}

/// All deployments note what they exchange already before any exchanges more.
fn note_exchanges(view: &View, draft: &mut Draft, spec: &Deployment, census: &Census) {
    let under_way = exchanges(view, spec, census);
    for agent in drifted(view, census).into_iter().take(under_way) {
        draft.disruptions.is_exchanged(view, agent);
    }
}

/// Brings one deployment's replicas to the version of now.
struct Update<'v, 'a> {
    view: &'v View<'a>,
    deployment: DeploymentIx,
    spec: &'a Deployment,
    /// Whether a person is to be asked before some of its replicas go. Until then the others stay as they are.
    asked: bool,
}

impl Update<'_, '_> {
    fn run(&self, draft: &mut Draft, census: &mut Census) {
        self.adopt(draft, census);
        self.report(draft, census);
        let missing = self.missing(draft, census);
        let surge = match census.outdated().next() {
            Some(_) => self.roll(draft, census),
            None => Surge::No,
        };
        if missing > 0 || surge != Surge::No {
            draft.needs.push(Need {
                deployment: self.deployment,
                missing,
                surge,
            });
        }
    }

    /// How many replicas lack a place. Those that run where their target has drifted are replaced as its budgets allow.
    /// What the owner's quota does not allow is missing too, but cannot be had, and so takes nothing of a budget.
    fn missing(&self, draft: &mut Draft, census: &Census) -> u32 {
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

    /// A workload that runs undecided, as after the store was lost, is taken over where it is.
    fn adopt(&self, draft: &mut Draft, census: &mut Census) {
        for agent in std::mem::take(&mut census.strays) {
            if matches!(draft.fate(agent), Fate::Held(_)) {
                census.fixed.push(agent);
            } else if draft.quota_left(self.view, self.deployment) > 0 {
                draft.uses_more(self.view.deployment(self.deployment).owner, 1);
                draft.assign(self.view, agent, self.deployment);
                census.fixed.push(agent);
            } else {
                draft.unassign(self.view, agent, self.deployment);
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
                let (reason, until) = facts.unready(self.view.desired, self.view.now);
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

    /// Updates in place what may be taken away. Says whether one agent more is needed to go on.
    fn roll(&self, draft: &mut Draft, census: &Census) -> Surge {
        for replica in census.outdated().filter(|r| !r.ready) {
            if draft.fate(replica.agent) == Fate::Stays {
                draft.assign(self.view, replica.agent, self.deployment);
            }
        }
        let steady = census.outdated().filter(|r| r.ready).count();
        if steady == 0 {
            return Surge::No;
        }
        if self.asked {
            self.wait_for_room(draft, census);
            return Surge::No;
        }
        let takable = self.takable(census);
        if self.spec.max_unavailable == 0 {
            return self.exchange(draft, census, &takable);
        }
        for agent in &takable {
            draft.assign(self.view, *agent, self.deployment);
        }
        if steady > takable.len() {
            self.wait_for_room(draft, census);
        }
        Surge::No
    }

    /// The ready replicas of an old version that may be taken away now, those that do not serve first.
    fn takable(&self, census: &Census) -> Vec<AgentIx> {
        let floor = self.spec.replicas.saturating_sub(self.spec.max_unavailable);
        let mut serving = census.serving();
        let mut steady: Vec<&Replica> = census.outdated().filter(|r| r.ready).collect();
        steady.sort_by_key(|replica| replica.serves);
        steady.retain(|replica| {
            let left = serving - u32::from(replica.serves);
            let may_go = left >= floor;
            serving = if may_go { left } else { serving };
            may_go
        });
        steady.iter().map(|replica| replica.agent).collect()
    }

    /// A roll-out that may take nothing away: a new replica is placed, and when it serves, an old one stops.
    fn exchange(&self, draft: &mut Draft, census: &Census, takable: &[AgentIx]) -> Surge {
        let more = census.placed().saturating_sub(self.spec.replicas);
        for agent in takable.iter().take(more as usize) {
            draft.unassign(self.view, *agent, self.deployment);
        }
        self.wait_for_room(draft, census);
        match (more > 0, census.serving() >= self.spec.replicas) {
            (true, _) => Surge::No,
            (false, true) => Surge::Now,
            (false, false) => Surge::Later,
        }
    }

    fn wait_for_room(&self, draft: &mut Draft, census: &Census) {
        let reason = WaitReason::MaxUnavailable {
            unavailable: self.spec.replicas.saturating_sub(census.serving()),
            allowed: self.spec.max_unavailable,
        };
        draft.wait_deployment(self.view, self.deployment, reason, None);
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
            wait: deployment acme/a: a document cannot be read, so it stays as it is
            wait: agent a: a document cannot be read, so it stays as it is"#]],
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
