//! What is recorded of roll-outs: the version that was healthy last, whole, and the attempt that was given up. Who loses it
//! has it again by what status says, as far as commits still hold the version.

mod recall;

use std::collections::BTreeMap;

use easyenclave_plan::{Action, Agent, Frozen, Reported, RolloutFact};
use easyenclave_schemas::records::{HealthyRecord, RolloutRecord};
use easyenclave_schemas::wire::{WorkloadCause, WorkloadState};
use easyenclave_schemas::{DeploymentId, Digest, Revert, Timestamp};

use crate::execute::Skipped;
use crate::journal::{Change, Records};
use crate::revision::{Revision, WorkloadVersion};

pub(crate) use recall::{Pending, recall};

/// What the planner knows of the roll-outs of wanted deployments.
pub fn facts(records: &Records, revision: &Revision) -> BTreeMap<DeploymentId, RolloutFact> {
    let is_wanted = |id: &DeploymentId| revision.desired.deployments.contains_key(id);
    let records = records.rollouts.iter().filter(|(id, _)| is_wanted(id));
    let fact = |record: &RolloutRecord| RolloutFact {
        healthy: record.healthy.as_ref().map(|healthy| healthy.digest),
        runtime: record.healthy.as_ref().map(|it| it.workload.runtime()),
        reverted: record.reverted.clone(),
    };
    records
        .map(|(id, record)| (id.clone(), fact(record)))
        .collect()
}

/// Since when a replica has been ready, or has failed, matters only while its version has to prove good: shown for longer,
/// each start of the reconciler would change it.
pub fn forget_when_proved(
    agent: &mut Agent,
    revision: &Revision,
    facts: &BTreeMap<DeploymentId, RolloutFact>,
) {
    let Reported::Running(replica) = &mut agent.reported else {
        return;
    };
    let spec = revision.desired.deployments.get(&replica.deployment);
    let healthy = facts.get(&replica.deployment).and_then(|fact| fact.healthy);
    let spec = spec.filter(|_| healthy != Some(replica.workload));
    if !spec.is_some_and(|spec| spec.rollout.reverts) {
        replica.failing_since = None;
    }
    let is_asked = spec.is_some_and(|spec| !spec.rollout.min_healthy.is_zero());
    if !is_asked && replica.failing_since.is_none() {
        replica.ready_since = None;
    }
}

/// What an agent is told to run: a version of the revision, or the one that was healthy last.
pub(crate) fn version(
    records: &Records,
    revision: &Revision,
    (deployment, workload): (&DeploymentId, Digest),
) -> Option<WorkloadVersion> {
    if let Some(wanted) = revision.workloads.get(&workload) {
        return Some(wanted.as_ref().clone());
    }
    let record = records.rollouts.get(deployment)?;
    let healthy = record.healthy.as_ref()?;
    (healthy.digest == workload).then(|| WorkloadVersion {
        workload: healthy.workload.clone(),
        health: healthy.health.clone(),
        secrets: healthy.secrets.clone(),
        secrets_digest: healthy.secrets_digest,
    })
}

/// Notes what an action says of a roll-out.
pub(crate) fn record(
    records: &Records,
    change: &mut Change,
    (revision, now): (&Revision, Timestamp),
    action: &Action,
) -> Result<(), Skipped> {
    match action {
        Action::Settle {
            deployment,
            workload,
        } => {
            let healthy = healthy(revision, *workload, now).ok_or(Skipped::Overtaken)?;
            change.put_rollout(RolloutRecord {
                deployment: deployment.clone(),
                healthy: Some(healthy),
                reverted: None,
            });
            Ok(())
        }
        Action::Revert {
            deployment,
            attempt,
            from,
            to,
            cause,
        } => {
            let reverted = Revert {
                attempt: *attempt,
                from: *from,
                to: *to,
                cause: *cause,
                at: now.trunc_secs(),
            };
            let record = records.rollouts.get(deployment).ok_or(Skipped::Gone)?;
            change.put_rollout(give_up(record, reverted)?);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn healthy(revision: &Revision, workload: Digest, now: Timestamp) -> Option<HealthyRecord> {
    let version = revision.workloads.get(&workload)?;
    Some(healthy_record(version, workload, now.trunc_secs()))
}

fn healthy_record(version: &WorkloadVersion, digest: Digest, since: Timestamp) -> HealthyRecord {
    HealthyRecord {
        digest,
        workload: version.workload.clone(),
        health: version.health.clone(),
        secrets: version.secrets.clone(),
        secrets_digest: version.secrets_digest,
        since,
    }
}

fn give_up(record: &RolloutRecord, reverted: Revert) -> Result<RolloutRecord, Skipped> {
    let healthy = record.healthy.as_ref().map(|healthy| healthy.digest);
    match healthy == Some(reverted.to) {
        true => Ok(RolloutRecord {
            reverted: Some(reverted),
            ..record.clone()
        }),
        false => Err(Skipped::Overtaken),
    }
}

/// Drops what is recorded of deployments that are gone: what a later one of the same name runs has nothing to do with it.
pub(crate) fn forget(records: &Records, change: &mut Change, revision: &Revision) {
    for gone in gone(records, change, revision) {
        change.drop_rollout(&gone);
    }
}

/// Deployments of which something is recorded, and which are not wanted any more and on no agent.
pub(crate) fn gone(records: &Records, change: &Change, revision: &Revision) -> Vec<DeploymentId> {
    let is_carried = |id: &DeploymentId| {
        records.agents.iter().any(|(agent, record)| {
            let staged = change.staged_agent(agent);
            let record = staged.unwrap_or(Some(record.as_ref()));
            let assigned = record.and_then(|record| record.assigned.as_ref());
            assigned.is_some_and(|assigned| assigned.deployment == *id)
        })
    };
    let all = records.rollouts.keys();
    all.filter(|id| is_gone(revision, id) && !is_carried(id))
        .cloned()
        .collect()
}

/// Whether a deployment is not wanted any more; one whose document cannot be read may be.
fn is_gone(revision: &Revision, id: &DeploymentId) -> bool {
    let desired = &revision.desired;
    let is_frozen = desired.frozen.contains_key(&Frozen::Deployment(id.clone()));
    !desired.deployments.contains_key(id) && !is_frozen
}

/// Whether a workload is ready, and why not: one that runs another image than it should is not.
pub(crate) fn health(
    state: WorkloadState,
    said: Option<WorkloadCause>,
) -> (bool, Option<WorkloadCause>) {
    let is_other = said == Some(WorkloadCause::DigestMismatch);
    let ready = state == WorkloadState::Ready && !is_other;
    (ready, said.filter(|_| !ready))
}
