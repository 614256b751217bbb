//! What a change of one deployment would come to: the plan with it beside the plan without it, from the world as it is
//! now. Nothing here can change anything.

use std::collections::BTreeSet;

use easyenclave_plan::{Action, Agent, Hold, Observed, Plan, WaitReason, plan, whynot};
use easyenclave_schemas::wire::{Issue, Preflight};
use easyenclave_schemas::{AgentId, Cloud, DeploymentId, Digest, OwnerName, Timestamp};

use crate::desired::Model;
use crate::hope::is_hopeless;
use crate::whynot::{summary, waits};

/// The most lines of a plan that are shown.
const LINES: usize = 100;

/// The most agents of which it is said why not.
const AGENTS: usize = 100;

/// What would come of a change.
#[derive(Debug)]
pub(crate) struct Foreseen {
    /// The agent that would be told first.
    pub(crate) agent: Option<(AgentId, Agent)>,
    /// Why it could not run, or not at once.
    pub(crate) issues: Vec<Issue>,
    /// Whether no waiting would help.
    pub(crate) hopeless: bool,
    /// The version that would run; none when it is taken away.
    pub(crate) version: Option<Digest>,
    /// What would be held.
    pub(crate) held: Option<Digest>,
    /// What is new in the plan, a line each.
    lines: Vec<String>,
}

impl Foreseen {
    /// What comes of a change that leads to this model.
    pub(crate) fn of(
        id: &DeploymentId,
        model: &Model,
        before: &Plan,
        observed: &Observed,
        now: Timestamp,
    ) -> Self {
        let after = plan(&model.desired, observed, now);
        let wanted = model.desired.deployments.get(id);
        let agent = chosen(id, &after).or_else(|| running(id, observed));
        let known =
            agent.and_then(|agent| Some((agent.clone(), observed.agents.get(agent)?.clone())));
        let reasons: Vec<_> = waits(id, &after).map(|wait| &wait.reason).collect();
        let issues = match (wanted, &known) {
            (Some(wanted), None) if wanted.replicas > 0 => {
                let mut issues = vec![issue(summary(observed, wanted, now), wanted, &reasons)];
                issues.extend(of_agents(id, model, observed, now));
                issues
            }
            _ => Vec::new(),
        };
        Self {
            agent: known,
            hopeless: !issues.is_empty() && is_hopeless(id, &model.desired, observed, &after),
            issues,
            version: wanted.map(|wanted| wanted.workload),
            held: newly_held(id, before, &after),
            lines: lines(&id.owner, before, &after),
        }
    }

    /// The same as an answer.
    pub(crate) fn answer(self) -> Preflight {
        let agent = self.agent.as_ref();
        Preflight {
            dry_run: true,
            eligible: self.issues.is_empty(),
            selected_agent_id: agent.map(|(id, _)| id.clone()),
            selected_node_size: agent.map(|(_, agent)| agent.size.clone()),
            selected_datacenter: agent.map(|(_, agent)| agent.datacenter.clone()),
            selected_cloud: agent.map(|(_, agent)| Cloud::of(&agent.datacenter)),
            issues: self.issues,
            plan: self.lines,
        }
    }
}

/// The first agent that a plan tells to run it.
fn chosen<'p>(id: &DeploymentId, plan: &'p Plan) -> Option<&'p AgentId> {
    plan.actions.iter().find_map(|action| match action {
        Action::Assign {
            agent, deployment, ..
        } if deployment == id => Some(agent),
        _ => None,
    })
}

/// An agent that it runs on already: what is new comes there in its turn.
fn running<'o>(id: &DeploymentId, observed: &'o Observed) -> Option<&'o AgentId> {
    let runs = |agent: &Agent| {
        agent
            .assigned
            .as_ref()
            .is_some_and(|it| it.deployment == *id)
    };
    let mut agents = observed.agents.iter();
    agents.find(|(_, agent)| runs(agent)).map(|(id, _)| id)
}

/// Why no agent is there for it, in the codes that people know.
fn issue(code: &str, wanted: &easyenclave_plan::Deployment, reasons: &[&WaitReason]) -> Issue {
    let words: Vec<_> = reasons.iter().map(ToString::to_string).collect();
    let message = match words.is_empty() {
        true => "no agent is free for it".into(),
        false => words.join("; "),
    };
    Issue {
        code: code.into(),
        message,
        agent_id: None,
        node_size: Some(wanted.size.clone()),
        datacenter: None,
    }
}

/// Why each agent was not chosen.
fn of_agents(
    id: &DeploymentId,
    model: &Model,
    observed: &Observed,
    now: Timestamp,
) -> impl Iterator<Item = Issue> {
    let found = whynot(&model.desired, observed, id, now).into_iter();
    found.take(AGENTS).map(|(agent, why)| {
        let known = observed.agents.get(&agent);
        Issue {
            code: why.code().into(),
            message: why.to_string(),
            node_size: known.map(|known| known.size.clone()),
            datacenter: known.map(|known| known.datacenter.clone()),
            agent_id: Some(agent),
        }
    })
}

/// What is held because of the change: a removal of this deployment is among it, and it was not held before.
fn newly_held(id: &DeploymentId, before: &Plan, after: &Plan) -> Option<Digest> {
    let known: BTreeSet<_> = before.held.iter().map(|held| held.digest).collect();
    let is_about = |hold: &&Hold| hold.actions.iter().any(|it| it.deployment() == Some(id));
    let mut held = after.held.iter().filter(is_about);
    let new = held.find(|held| !known.contains(&held.digest));
    new.map(|held| held.digest)
}

/// What is new in the plan, as far as it is this owner's business.
fn lines(owner: &OwnerName, before: &Plan, after: &Plan) -> Vec<String> {
    let is_own = |of: Option<&OwnerName>| of.is_none_or(|of| of == owner);
    let all = |plan: &Plan| -> Vec<String> {
        let actions = plan.actions.iter();
        let actions = actions.filter(|it| is_own(it.deployment().map(|id| &id.owner)));
        let waits = plan.waits.iter().filter(|it| is_own(it.subject.owner()));
        let actions = actions.map(ToString::to_string);
        actions.chain(waits.map(ToString::to_string)).collect()
    };
    let known: BTreeSet<_> = all(before).into_iter().collect();
    let new = all(after).into_iter().filter(|line| !known.contains(line));
    new.take(LINES).collect()
}

#[cfg(test)]
mod tests {
    use easyenclave_plan::{HoldReason, Subject, Wait};
    use easyenclave_schemas::{DeploymentName, Generation, TargetName};

    use super::*;

    fn id(owner: &str) -> DeploymentId {
        DeploymentId {
            owner: OwnerName::new(owner).expect("a name"),
            name: DeploymentName::new("web").expect("a name"),
        }
    }

    fn stop(owner: &str) -> Action {
        Action::Unassign {
            agent: AgentId::new("tiny-000000000000").expect("a name"),
            generation: Generation(2),
            deployment: id(owner),
        }
    }

    fn wait(subject: Subject) -> Wait {
        Wait {
            subject,
            reason: WaitReason::NoTarget,
            until: None,
        }
    }

    fn holding(owners: &[&str]) -> Plan {
        let actions: Vec<_> = owners.iter().map(|owner| stop(owner)).collect();
        let reason = HoldReason::Orphans { removed: 1, of: 1 };
        let digest = Hold::digest_of(&actions);
        Plan {
            held: vec![Hold {
                digest,
                reason,
                actions,
            }],
            ..Plan::default()
        }
    }

    #[test]
    fn an_owner_is_shown_what_is_new_and_nothing_of_other_owners() {
        let target = Subject::Target(TargetName::new("tiny").expect("a name"));
        let after = Plan {
            actions: vec![stop("acme"), stop("zeta")],
            waits: vec![
                wait(Subject::Deployment(id("acme"))),
                wait(Subject::Deployment(id("zeta"))),
                wait(target),
            ],
            ..Plan::default()
        };
        let acme = id("acme").owner;
        let shown = lines(&acme, &Plan::default(), &after);
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert!(!shown.iter().any(|line| line.contains("zeta")), "{shown:?}");
        assert_eq!(lines(&acme, &after, &after), [""; 0]);
    }

    #[test]
    fn what_is_held_of_others_or_was_held_before_is_not_held_of_this_change() {
        let of = |before: &Plan, after: &Plan| newly_held(&id("acme"), before, after);
        let (none, acme, zeta) = (Plan::default(), holding(&["acme"]), holding(&["zeta"]));
        let both = holding(&["acme", "zeta"]);
        assert_eq!(of(&none, &acme), Some(acme.held[0].digest));
        assert_eq!(of(&none, &zeta), None);
        assert_eq!(of(&acme, &acme), None);
        assert_eq!(
            of(&zeta, &both),
            Some(both.held[0].digest),
            "it is among it"
        );
    }
}
