//! What a change of one deployment would come to: the plan with it beside the plan without it, from the world as it is
//! now. Nothing here can change anything.

use std::collections::BTreeSet;

use easyenclave_plan::{Action, Agent, Hold, Observed, Plan, WaitReason, plan, whynot};
use easyenclave_schemas::wire::{Issue, Preflight};
use easyenclave_schemas::{AgentId, Cloud, DeploymentId, Digest, Timestamp};

use crate::desired::Model;
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
            hopeless: !issues.is_empty() && reasons.iter().any(|reason| is_final(reason)),
            issues,
            version: wanted.map(|wanted| wanted.workload),
            held: newly_held(before, &after),
            lines: lines(before, &after),
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

/// Whether only another document changes it.
fn is_final(reason: &WaitReason) -> bool {
    matches!(
        reason,
        WaitReason::CapacityExhausted { .. }
            | WaitReason::NoTarget
            | WaitReason::ReservedForOthers { .. }
            | WaitReason::QuotaExceeded { .. }
    )
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

fn newly_held(before: &Plan, after: &Plan) -> Option<Digest> {
    let known: BTreeSet<_> = before.held.iter().map(|held| held.digest).collect();
    let is_new = |held: &&Hold| !known.contains(&held.digest);
    after.held.iter().find(is_new).map(|held| held.digest)
}

fn lines(before: &Plan, after: &Plan) -> Vec<String> {
    let all = |plan: &Plan| -> Vec<String> {
        let actions = plan.actions.iter().map(ToString::to_string);
        actions
            .chain(plan.waits.iter().map(ToString::to_string))
            .collect()
    };
    let known: BTreeSet<_> = all(before).into_iter().collect();
    let new = all(after).into_iter().filter(|line| !known.contains(line));
    new.take(LINES).collect()
}
