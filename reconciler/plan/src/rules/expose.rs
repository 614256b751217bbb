//! Publishes replicas that are ready, and takes back those that are not. One that is told another version is published for as
//! long as its agent says that it serves. Silence alone changes nothing that is published; nothing is published without fresh trust.

use easyenclave_schemas::{DeploymentId, Digest};

use crate::draft::{Draft, Fate};
use crate::view::{AgentIx, AgentView, DeploymentIx, Instruction, Life, Standing, View, Wanted};
use crate::{Action, Exposure};

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    let renewed = renewed(view, draft);
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
            Exposure::Hidden => publish(view, draft, agent, &renewed),
        }
    }
}

/// Whether what is published on an agent stays so.
pub(super) fn stays(view: &View, draft: &Draft, agent: AgentIx, published: &DeploymentId) -> bool {
    let facts = view.agent(agent);
    let assigned = facts.fact.assigned.as_ref();
    let serves = match draft.fate(agent) {
        Fate::Stays | Fate::Held(_) => {
            assigned.is_some_and(|assigned| assigned.deployment == *published)
                && (facts.frozen
                    || is_unknown(facts)
                    || facts.instruction == Instruction::Ready
                    || facts.keeps_serving(published))
        }
        Fate::Gets(deployment, workload) => {
            let gets = view.deployment(deployment).id;
            gets == published && (is_taken_over(facts, gets, workload) || facts.keeps_serving(gets))
        }
        Fate::Stops | Fate::Retires => false,
    };
    serves
        && draft.is_there(view, agent)
        && !matches!(facts.standing, Standing::Quarantined(_))
        && wants(view, facts) != Some(false)
}

/// Whether an agent gets what it runs and serves already, under the number that it has, as after an old copy of the
/// store was put back.
fn is_taken_over(facts: &AgentView, gets: &DeploymentId, workload: Digest) -> bool {
    let running = facts.running_already(gets, workload);
    running.is_some_and(|replica| replica.ready)
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

/// By deployment, whether this plan gives it a replica or publishes one of the version of now. One of an older version
/// waits for that: as soon as the new one serves, the older one may be taken away.
fn renewed(view: &View, draft: &Draft) -> Vec<bool> {
    let mut renewed = vec![false; view.deployments.len()];
    for agent in view.all_agents() {
        let facts = view.agent(agent);
        let deployment = match draft.fate(agent) {
            Fate::Gets(deployment, _) => Some(deployment),
            _ if facts.current && facts.is_ready() && !facts.exposed => {
                publishable(view, draft, agent)
            }
            _ => None,
        };
        if let Some(deployment) = deployment {
            renewed[deployment.at()] = true;
        }
    }
    renewed
}

fn publish(view: &View, draft: &mut Draft, agent: AgentIx, renewed: &[bool]) {
    let facts = view.agent(agent);
    if let Some(deployment) = publishable(view, draft, agent)
        && (facts.current || !renewed[deployment.at()])
    {
        draft.act(Action::Expose {
            agent: facts.id.clone(),
            deployment: view.deployment(deployment).id.clone(),
        });
    }
}

/// The deployment whose replica on an agent can be published.
fn publishable(view: &View, draft: &Draft, agent: AgentIx) -> Option<DeploymentIx> {
    let facts = view.agent(agent);
    let deployment = facts.deployment?;
    let fits = match view.deployment(deployment).state {
        Wanted::Yes(spec) => spec.exposed && view.suits(deployment, agent),
        Wanted::No | Wanted::Frozen => false,
    };
    let kept = matches!(draft.fate(agent), Fate::Stays | Fate::Held(_));
    let serves =
        facts.is_ready() || (facts.instruction == Instruction::NotReady && facts.is_of_use());
    let can = fits && kept && serves && !facts.frozen && draft.is_there(view, agent);
    can.then_some(deployment)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    const ONE: &str = "target tiny 1 2\ndeploy acme/a x1 v1 exposed";

    #[test]
    fn a_ready_replica_is_published() {
        check(
            ONE,
            "agent a tiny #0 runs acme/a v1",
            expect!["expose acme/a on a"],
        );
        check(
            ONE,
            "agent a tiny #0 starts acme/a v1",
            expect![
                "wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)"
            ],
        );
        check(
            ONE,
            "agent a tiny #0 told acme/a v1",
            expect![[r#"
            wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)
            wait: agent a: told, and has not confirmed yet"#]],
        );
    }

    #[test]
    fn a_replica_that_is_not_ready_is_taken_back() {
        check(
            ONE,
            "agent a tiny #0 starts acme/a v1 exposed acme/a",
            expect![[r#"
                unexpose acme/a on a
                wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)"#]],
        );
    }

    const NEXT: &str = "target tiny 1 2\ndeploy acme/a x1 v2 exposed";

    #[test]
    fn a_replica_that_says_that_it_serves_stays_published_until_it_takes_that_back() {
        check(
            NEXT,
            "agent a tiny #0 runs acme/a v1 serves v1 exposed acme/a",
            expect!["assign acme/a to a generation 3 workload v2"],
        );
        check(
            NEXT,
            "agent a tiny #0 told acme/a v2 runs-meanwhile v1 exposed acme/a",
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)
                wait: agent a: told, and has not confirmed yet"#]],
        );
        check(
            NEXT,
            "agent a tiny #0 starts acme/a v2 serves v1 fails RegistryDown exposed acme/a",
            expect![
                "wait: deployment acme/a: the replica on a is not ready; the registry of its images does not answer"
            ],
        );
        check(
            NEXT,
            "agent a tiny #0 starts acme/a v2 exposed acme/a",
            expect![[r#"
                unexpose acme/a on a
                wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)"#]],
        );
    }

    #[test]
    fn one_that_does_not_say_so_is_hidden_before_it_is_told() {
        check(
            NEXT,
            "agent a tiny #0 runs acme/a v1 exposed acme/a",
            expect![[r#"
                unexpose acme/a on a
                assign acme/a to a generation 3 workload v2"#]],
        );
    }

    #[test]
    fn one_that_serves_while_it_fetches_is_published_if_it_is_trusted() {
        check(
            NEXT,
            "agent a tiny #0 starts acme/a v2 serves v1",
            expect![[r#"
                expose acme/a on a
                wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)"#]],
        );
        check(
            NEXT,
            "agent a tiny #0 starts acme/a v2 serves v1 unjudged",
            expect![[r#"
                challenge a
                wait: deployment acme/a: the replica on a is not ready
                wait: agent a: its evidence cannot be judged now"#]],
        );
        check(
            NEXT,
            "agent a tiny #0 starts acme/a v2 serves v1 exposed acme/a lapsed 1",
            expect![[r#"
                unexpose acme/a on a
                quarantine a: its trust ran out
                challenge a
                wait: deployment acme/a: the replica on a is not ready
                wait: agent a: in quarantine: its trust ran out"#]],
        );
        check(
            NEXT,
            "agent a tiny #0 starts acme/a v2 serves v1 exposed acme/a unjudged",
            expect![[r#"
                challenge a
                wait: deployment acme/a: the replica on a is not ready
                wait: agent a: its evidence cannot be judged now"#]],
        );
        check(
            NEXT,
            "agent a tiny #0 starts acme/a v2 serves v1 exposed acme/a silent 40",
            expect![[r#"
                unexpose acme/a on a
                retire a in local: silent past the deadline
                launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in local by process under sim
                wait: deployment acme/a: agents missing: 1; ordered"#]],
        );
    }

    #[test]
    fn what_another_deployment_serves_says_nothing() {
        check(
            NEXT,
            "agent a tiny #0 told acme/b v1 runs-meanwhile v1 exposed acme/a",
            expect![[r#"
                unexpose acme/a on a
                unassign acme/b from a generation 3
                wait: deployment acme/a: agents missing: 1; the free ones cannot take work now"#]],
        );
    }

    #[test]
    fn silence_changes_nothing_that_is_published() {
        check(
            ONE,
            "agent a tiny #0 runs acme/a v1 exposed acme/a silent 5",
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready
                wait: agent a: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:25Z)"#]],
        );
        check(
            ONE,
            "agent a tiny #0 runs acme/a v1 exposed acme/a unheard",
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)
                wait: agent a: not heard of since the start"#]],
        );
    }

    #[test]
    fn what_is_not_to_be_published_any_more_is_taken_back() {
        let state = "target tiny 1 2\ndeploy acme/a x1 v1";
        check(
            state,
            "agent a tiny #0 runs acme/a v1 exposed acme/a",
            expect!["unexpose acme/a on a"],
        );
        check(
            ONE,
            "agent a tiny #0 runs acme/a v1 exposed acme/b",
            expect!["unexpose acme/b on a"],
        );
        check(
            ONE,
            "agent a tiny #0 runs acme/a v1 exposed acme/a silent 40",
            expect![[r#"
                unexpose acme/a on a
                retire a in local: silent past the deadline
                launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in local by process under sim
                wait: deployment acme/a: agents missing: 1; ordered"#]],
        );
    }
}
