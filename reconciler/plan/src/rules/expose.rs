//! Publishes replicas that are ready, and takes back those that are not. Silence alone changes nothing that is
//! published; nothing is published without fresh trust.

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
                && (facts.frozen || is_unknown(facts) || facts.instruction == Instruction::Ready)
        }
        Fate::Gets(deployment, workload) => {
            let gets = view.deployment(deployment).id;
            gets == published && is_taken_over(facts, gets, workload)
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
            _ if facts.current && !facts.exposed => publishable(view, draft, agent),
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
    let can = fits && kept && facts.is_ready() && !facts.frozen && draft.is_there(view, agent);
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
