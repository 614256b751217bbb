//! Property 10: whatever is not where it should be is in an action, a hold or a wait.

use std::collections::BTreeSet;

use easyenclave_schemas::{AgentId, DeploymentId, OrderId, TargetName};

use super::Findings;
use super::facts::Facts;
use crate::{Action, Agent, Deployment, Exposure, Liveness, Reported, Subject};

pub(super) fn check(facts: &Facts, findings: &mut Findings) {
    let mentioned = Mentioned::of(facts);
    for (id, agent) in &facts.observed.agents {
        let fine = is_settled(facts, id, agent) || mentioned.agents.contains(id);
        findings.must(10, fine, || format!("nothing is said of agent {id}"));
    }
    for (id, deployment) in &facts.desired.deployments {
        let fine = is_served(facts, id, deployment) || mentioned.deployments.contains(id);
        findings.must(10, fine, || format!("nothing is said of deployment {id}"));
    }
    for (id, order) in &facts.observed.launches {
        let registered = facts.agent(&id.agent()).is_some();
        let is_open = order.state.is_pending() || order.unaccounted;
        let is_said = mentioned.orders.contains(id) || mentioned.agents.contains(&id.agent());
        let fine = !is_open || registered || is_said;
        findings.must(10, fine, || format!("nothing is said of order {id}"));
    }
    for id in facts.observed.orphans.keys() {
        let fine = mentioned.orders.contains(id) || mentioned.agents.contains(&id.agent());
        findings.must(10, fine, || format!("nothing is said of machine {id}"));
    }
    for (name, target) in &facts.desired.targets {
        let short = facts.pool(name).len() < target.min as usize;
        let fine = !short || mentioned.targets.contains(name);
        findings.must(10, fine, || format!("nothing is said of target {name}"));
    }
}

/// Every name in a plan.
#[derive(Default)]
struct Mentioned {
    agents: BTreeSet<AgentId>,
    deployments: BTreeSet<DeploymentId>,
    orders: BTreeSet<OrderId>,
    targets: BTreeSet<TargetName>,
}

impl Mentioned {
    fn of(facts: &Facts) -> Self {
        let mut all = Self::default();
        let held = facts.plan.held.iter().flat_map(|hold| &hold.actions);
        for action in facts.plan.actions.iter().chain(held) {
            all.action(facts, action);
        }
        for wait in &facts.plan.waits {
            match wait.subject.clone() {
                Subject::Agent(id) => drop(all.agents.insert(id)),
                Subject::Deployment(id) => drop(all.deployments.insert(id)),
                Subject::Order(id) => all.order(facts, id),
                Subject::Target(name) => drop(all.targets.insert(name)),
                Subject::Reservation(_) => {}
            }
        }
        all
    }

    /// An order that is waited for speaks for its target.
    fn order(&mut self, facts: &Facts, id: OrderId) {
        let launch = facts.observed.launches.get(&id);
        self.targets
            .extend(launch.map(|launch| launch.target.clone()));
        self.orders.insert(id);
    }

    fn action(&mut self, facts: &Facts, action: &Action) {
        match action {
            Action::Unexpose { agent, deployment }
            | Action::Expose { agent, deployment }
            | Action::Unassign {
                agent, deployment, ..
            }
            | Action::Assign {
                agent, deployment, ..
            } => {
                self.agents.insert(agent.clone());
                self.deployments.insert(deployment.clone());
            }
            Action::Point {
                agent, deployment, ..
            } => {
                self.agents.insert(agent.clone());
                self.deployments.insert(deployment.clone());
            }
            Action::Unpoint { agent, .. }
            | Action::Quarantine { agent, .. }
            | Action::Release { agent }
            | Action::Retire { agent, .. }
            | Action::Challenge { agent } => drop(self.agents.insert(agent.clone())),
            Action::Settle { deployment, .. } | Action::Revert { deployment, .. } => {
                self.deployments.insert(deployment.clone());
            }
            Action::Cancel { order, .. } => self.order(facts, order.clone()),
            Action::Launch { target, .. } => drop(self.targets.insert(target.clone())),
        }
    }
}

/// Whether an agent is where it should be: heard, trusted, of a wanted target, and doing what it was told.
fn is_settled(facts: &Facts, id: &AgentId, agent: &Agent) -> bool {
    let told = match (&agent.assigned, &agent.reported) {
        (None, Reported::Idle(seen)) => *seen >= agent.generation,
        (Some(assigned), Reported::Running(replica)) => {
            let wanted = facts.deployment(&assigned.deployment);
            let fits = wanted.is_some_and(|spec| {
                facts.fits(id, agent, &assigned.deployment) && spec.replicas > 0
            });
            let frozen = facts.is_frozen(agent);
            // One that is not ready is its deployment's matter.
            replica.generation == agent.generation && (fits || frozen)
        }
        (Some(_), Reported::Idle(seen)) => *seen == agent.generation,
        (_, Reported::Unknown) | (None, Reported::Running(_)) => false,
    };
    let target = facts.target(&agent.target);
    let home = target.is_some_and(|target| Facts::is_home(agent, target));
    let trusted = facts.is_trusted(agent) && agent.quarantined.is_none();
    let live = agent.liveness == Liveness::Heard && !facts.observed.retires.contains_key(id);
    let shown = agent.exposed == Exposure::Hidden || agent.assigned.is_some();
    told && trusted && live && shown && (home || facts.is_frozen(agent))
}

/// Whether a deployment has exactly the replicas that it wants, ready, current and published.
fn is_served(facts: &Facts, id: &DeploymentId, deployment: &Deployment) -> bool {
    let live =
        |(agent, fact): &(&AgentId, &Agent)| facts.is_live(agent, fact) && !facts.retires(agent);
    let carriers: Vec<_> = facts.carriers(id).filter(live).collect();
    let good = |agent: &AgentId, fact: &Agent| {
        let current = |a: &crate::Assigned| a.workload == deployment.workload;
        let shown = (fact.exposed != Exposure::Hidden) == deployment.exposed;
        facts.is_ready(agent, fact)
            && fact.assigned.as_ref().is_some_and(current)
            && (facts.is_frozen(fact) || (facts.fits(agent, fact, id) && shown))
    };
    carriers.len() == deployment.replicas as usize
        && carriers.iter().all(|(a, f)| good(a, f))
        && (deployment.replicas == 0 || is_named(facts, id))
}

/// Whether the name of a deployment leads to where it is meant to, and gets through.
fn is_named(facts: &Facts, id: &DeploymentId) -> bool {
    let fronts = &facts.observed.fronts;
    facts.desired.hostnames.get(id).is_none_or(|hostname| {
        let front = fronts.leads.get(hostname);
        let is_open = front.is_some_and(|front| fronts.open.get(front) == Some(&true));
        fronts.listed && is_open && front == fronts.decided.get(hostname)
    })
}
