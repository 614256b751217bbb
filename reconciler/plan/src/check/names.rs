//! What holds for the names of deployments: one leads to nobody who is not published, trusted and connected, and is not cut off
//! while there is another to lead to.

use easyenclave_schemas::AgentId;

use super::Findings;
use super::facts::Facts;
use crate::{Action, Agent, Exposure};

/// A name is led only to where its deployment serves already.
pub(super) fn point(facts: &Facts, action: &Action, findings: &mut Findings) {
    let Action::Point {
        agent: id,
        deployment,
        hostname,
    } = action
    else {
        return;
    };
    let Some(agent) = facts.agent(id) else {
        findings.must(5, false, || format!("no such agent: {action}"));
        return;
    };
    let serves = facts.is_ready(id, agent) && !facts.hides(id);
    findings.must(5, serves, || format!("not ready: {action}"));
    let published = agent.exposed == Exposure::Exposed(deployment.clone());
    findings.must(5, published, || format!("not published: {action}"));
    let fronts = &facts.observed.fronts;
    let is_open = fronts.listed && fronts.open.get(id) == Some(&true);
    findings.must(1, is_open, || format!("not known to be open: {action}"));
    let wanted = facts.desired.hostnames.get(deployment) == Some(hostname);
    findings.must(5, wanted, || format!("not wanted: {action}"));
    let same =
        |other: &&Action| matches!(other, Action::Point { hostname: name, .. } if name == hostname);
    let once = facts.plan.actions.iter().filter(same).count() == 1;
    findings.must(0, once, || format!("it is led to two: {action}"));
}

/// Who serves under a name is not hidden as long as another could be led to.
pub(super) fn unexpose(facts: &Facts, id: &AgentId, findings: &mut Findings) {
    let Some(agent) = facts.agent(id) else {
        return;
    };
    let Exposure::Exposed(deployment) = &agent.exposed else {
        return;
    };
    let Some(spec) = facts.deployment(deployment) else {
        return;
    };
    let hostname = facts.desired.hostnames.get(deployment);
    let leads = hostname.and_then(|name| facts.observed.fronts.leads.get(name));
    let serves = |(id, agent): (&AgentId, &Agent)| {
        agent.exposed == Exposure::Exposed(deployment.clone()) && facts.is_ready(id, agent)
    };
    let is_wanted = spec.exposed && spec.replicas > 0 && !facts.retires(id);
    let mut others = facts.carriers(deployment).filter(|(other, _)| *other != id);
    let is_cut = leads == Some(id) && is_wanted && serves((id, agent)) && others.any(serves);
    findings.must(6, !is_cut, || {
        format!("{id} is hidden while a name leads to it")
    });
}
