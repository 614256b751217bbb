//! The status of deployments.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_plan::{Deployment, Subject};
use easyenclave_schemas::status::{
    AgentPhase, AgentStatus, Condition, ConditionStatus, ConditionType, DeploymentPhase,
    DeploymentStatus, LivenessStatus, PlacedReplica,
};
use easyenclave_schemas::{AgentId, DeploymentId, Digest};

use super::Sight;
use super::conditions::{Conditions, when};
use super::rollouts;
use crate::words::of;

/// Every deployment that is wanted, and those that are not and still have replicas.
pub(super) fn deployments(
    sight: &Sight<'_>,
    agents: &BTreeMap<AgentId, AgentStatus>,
) -> BTreeMap<DeploymentId, DeploymentStatus> {
    let mut placed: BTreeMap<&DeploymentId, Vec<&AgentStatus>> = BTreeMap::new();
    for agent in agents.values() {
        if let Some(assigned) = &agent.assigned {
            placed.entry(&assigned.deployment).or_default().push(agent);
        }
    }
    let desired = &sight.report.revision.desired.deployments;
    let ids: BTreeSet<&DeploymentId> = desired.keys().chain(placed.keys().copied()).collect();
    ids.into_iter()
        .map(|id| {
            let replicas = placed.get(id).map(Vec::as_slice).unwrap_or_default();
            (id.clone(), status(sight, id, desired.get(id), replicas))
        })
        .collect()
}

fn status(
    sight: &Sight<'_>,
    id: &DeploymentId,
    wanted: Option<&Deployment>,
    agents: &[&AgentStatus],
) -> DeploymentStatus {
    let replicas: Vec<_> = agents
        .iter()
        .filter(|agent| !matches!(agent.phase, AgentPhase::Lost | AgentPhase::Retired))
        .map(|agent| replica(sight, id, wanted, agent))
        .collect();
    let count = |test: &dyn Fn(&PlacedReplica) -> bool| {
        u32::try_from(replicas.iter().filter(|replica| test(replica)).count()).unwrap_or(u32::MAX)
    };
    let mut status = DeploymentStatus {
        deployment: id.clone(),
        phase: DeploymentPhase::Pending,
        workload: wanted.map(|wanted| wanted.workload),
        wanted: wanted.map_or(0, |wanted| wanted.replicas),
        assigned: count(&|_| true),
        updated: count(&|replica| replica.updated),
        ready: count(&|replica| replica.ready),
        rollout: None,
        history: Vec::new(),
        hostname: sight.report.revision.desired.hostnames.get(id).cloned(),
        url: url(sight, id),
        replicas,
        conditions: Vec::new(),
        waits: sight.waits(&Subject::Deployment(id.clone())),
    };
    status.phase = match rollouts::is_frozen(sight, id) {
        true => DeploymentPhase::Frozen,
        false => phase(&status, wanted.is_some()),
    };
    if let Some(wanted) = wanted {
        let standing = rollouts::standing(sight, id, wanted, status.phase);
        status.history = rollouts::history(sight, id, wanted, &standing);
        status.rollout = Some(standing);
    } else {
        rollouts::frozen(sight, &mut status);
    }
    status.conditions = conditions(sight, &status, wanted);
    status
}

/// Where a deployment is opened under its name, once that leads to a replica that is reached.
fn url(sight: &Sight<'_>, id: &DeploymentId) -> Option<String> {
    let revision = &sight.report.revision;
    let hostname = revision.desired.hostnames.get(id)?;
    let fronts = &sight.report.observed.fronts;
    let front = fronts.leads.get(hostname)?;
    let is_there = fronts.decided.get(hostname) == Some(front);
    let is_open = fronts.open.get(front) == Some(&true);
    let path = revision.paths.get(id).map_or("", String::as_str);
    (is_there && is_open).then(|| format!("https://{hostname}{path}"))
}

fn replica(
    sight: &Sight<'_>,
    id: &DeploymentId,
    wanted: Option<&Deployment>,
    agent: &AgentStatus,
) -> PlacedReplica {
    let path = sight
        .report
        .revision
        .paths
        .get(id)
        .map_or("", String::as_str);
    let published = agent.exposed.as_ref() == Some(id);
    let own = || agent.replica.as_ref()?.url.as_ref();
    let url = match sight.urls {
        Some(urls) => urls.get(&agent.agent),
        None => own(),
    };
    let assigned = agent.assigned.as_ref().map(|assigned| assigned.workload);
    let serving = serving(id, agent);
    PlacedReplica {
        agent: agent.agent.clone(),
        ready: agent.phase == AgentPhase::Running || serving.is_some(),
        updated: wanted.is_some_and(|wanted| {
            Some(wanted.workload) == assigned && serving.is_none_or(|it| it == wanted.workload)
        }),
        url: url.filter(|_| published).map(|url| format!("{url}{path}")),
    }
}

/// The version that an agent goes on serving until it has what it is told.
fn serving(id: &DeploymentId, agent: &AgentStatus) -> Option<Digest> {
    let replica = agent.replica.as_ref()?;
    let is_its = replica.deployment == *id && replica.generation <= agent.generation;
    let is_there = agent.phase == AgentPhase::Deploying && agent.liveness == LivenessStatus::Heard;
    replica.serving.filter(|_| is_its && is_there)
}

fn phase(status: &DeploymentStatus, wanted: bool) -> DeploymentPhase {
    let full = status.ready == status.wanted && status.updated == status.assigned;
    match (wanted, status.wanted, status.assigned) {
        (false, ..) => DeploymentPhase::Removing,
        (true, 0, 0) => DeploymentPhase::Stopped,
        (true, _, 0) => DeploymentPhase::Pending,
        (true, wanted, assigned) if full && wanted == assigned => DeploymentPhase::Running,
        _ => DeploymentPhase::Progressing,
    }
}

/// Whether another version than the wanted one is aimed at.
fn is_given_up(status: &DeploymentStatus) -> bool {
    let aim = status.rollout.as_ref().map(|rollout| rollout.aim);
    aim.is_some() && aim != status.workload
}

fn conditions(
    sight: &Sight<'_>,
    status: &DeploymentStatus,
    wanted: Option<&Deployment>,
) -> Vec<Condition> {
    let previous = sight
        .previous
        .and_then(|previous| previous.deployments.get(&status.deployment));
    let previous = previous.map(|previous| previous.conditions.as_slice());
    if status.phase == DeploymentPhase::Frozen {
        return frozen(Conditions::new(previous, sight.now()), status);
    }
    let ready = of(status.ready, status.wanted, "ready");
    let updated = of(status.updated, status.wanted, "of the wanted version");
    let is_available = status.ready >= status.wanted;
    let is_current = status.updated == status.assigned && status.updated >= status.wanted;
    let conditions = Conditions::new(previous, sight.now())
        .add(
            ConditionType::Available,
            when(is_available),
            if is_available {
                "AllReady"
            } else {
                "NotAllReady"
            },
            ready,
        )
        .add(
            ConditionType::UpToDate,
            when(is_current),
            match is_current {
                true => "Current",
                false if is_given_up(status) => "Reverted",
                false => "RollingOut",
            },
            updated,
        );
    if !wanted.is_some_and(|wanted| wanted.exposed) {
        return conditions.done();
    }
    let (all, reason, message) = exposed(status);
    conditions
        .add(ConditionType::Exposed, when(all), reason, message)
        .done()
}

/// What is wanted is in no document that can be read.
fn frozen(conditions: Conditions<'_>, status: &DeploymentStatus) -> Vec<Condition> {
    let message = format!("{} ready; how many are wanted is not known", status.ready);
    let kinds = [ConditionType::Available, ConditionType::UpToDate];
    let unknown = kinds.into_iter().fold(conditions, |conditions, kind| {
        conditions.add(kind, ConditionStatus::Unknown, "Frozen", message.clone())
    });
    unknown.done()
}

/// Whether all that is wanted is published, and reached under its name if it has one; in a word, and in words.
fn exposed(status: &DeploymentStatus) -> (bool, &'static str, String) {
    let replicas = status.replicas.iter();
    let published = replicas.filter(|replica| replica.url.is_some()).count();
    let published = u32::try_from(published).unwrap_or(u32::MAX);
    let is_named = status.hostname.is_none() || status.url.is_some() || status.wanted == 0;
    let are_all = published >= status.wanted;
    let (reason, message) = match (&status.hostname, are_all) {
        (Some(hostname), true) if !is_named => (
            "NameNotThere",
            format!("{hostname} leads to no replica yet"),
        ),
        _ => (
            if are_all {
                "Published"
            } else {
                "NotAllPublished"
            },
            of(published, status.wanted, "published"),
        ),
    };
    let all = are_all && is_named;
    (all, reason, message)
}
