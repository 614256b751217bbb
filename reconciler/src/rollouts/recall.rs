//! What the store has lost of roll-outs, by what the status branch says: which attempt was given up, and which version was
//! healthy. That version is read from the commit that asked for it: of the branch, only digests are believed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use easyenclave_schemas::records::RolloutRecord;
use easyenclave_schemas::status::DeploymentStatus;
use easyenclave_schemas::{DeploymentId, Digest, Revert, Timestamp};

use super::healthy_record;
use crate::journal::{JournalError, Records};
use crate::report::Status;
use crate::revision::{Revision, WorkloadVersion};
use crate::source::Source;
use crate::world::World;

/// What is recorded no more of a deployment.
struct Lost {
    deployment: DeploymentId,
    /// The version that was healthy last, and when it was found so.
    healthy: Option<(Digest, Timestamp)>,
    /// The attempt at the wanted version that was given up.
    reverted: Option<Revert>,
    /// The commits that asked for the healthy version, newest first.
    commits: Vec<String>,
}

/// Records again what status says and no record does. An attempt that was given up stays so, with the way back where the
/// version is still found.
///
/// # Errors
/// When the records cannot be written.
pub(crate) async fn recall(
    world: &World,
    source: &Source,
    revision: &Revision,
    reported: &Status,
) -> Result<(), JournalError> {
    let lost = lost(&world.journal.read(), revision, reported);
    if lost.is_empty() {
        return Ok(());
    }
    let wanted = lost.iter().filter_map(|lost| Some(lost.healthy?.0));
    let wanted: BTreeSet<Digest> = wanted.collect();
    let commits = lost.iter().flat_map(|lost| lost.commits.clone());
    let versions = source.versions(wanted, commits.collect()).await;
    let records = lost.into_iter().filter_map(|lost| found(lost, &versions));
    let records: Vec<_> = records.collect();
    let kept = world.journal.transact(move |_, change| {
        for record in records {
            let (deployment, known) = (&record.deployment, record.healthy.is_some());
            tracing::info!(%deployment, known, "its roll-out is recalled from status");
            change.put_rollout(record);
        }
        Ok::<_, ()>(())
    });
    kept.await.map(|_| ())
}

fn lost(records: &Records, revision: &Revision, reported: &Status) -> Vec<Lost> {
    let all = reported.deployments.values();
    let all = all.filter(|status| !records.rollouts.contains_key(&status.deployment));
    all.filter_map(|status| of(revision, status)).collect()
}

fn of(revision: &Revision, status: &DeploymentStatus) -> Option<Lost> {
    let spec = revision.desired.deployments.get(&status.deployment)?;
    let rollout = status.rollout.as_ref()?;
    let reverted = rollout.reverted.clone();
    let past = status.history.iter().rev();
    let past = past.filter(|past| Some(past.version) == rollout.healthy);
    let since = past.clone().next().map_or(rollout.since, |past| past.to);
    let is_current = rollout.healthy.is_some() && rollout.healthy == status.workload;
    let current = is_current.then(|| rollout.commit.clone());
    let commits = current
        .into_iter()
        .chain(past.map(|past| past.commit.clone()));
    Some(Lost {
        deployment: status.deployment.clone(),
        healthy: rollout.healthy.map(|healthy| (healthy, since)),
        reverted: reverted.filter(|reverted| reverted.attempt == spec.attempt()),
        commits: commits.collect(),
    })
}

/// What can be recorded again; nothing where neither a version nor a decision is known.
fn found(lost: Lost, versions: &BTreeMap<Digest, Arc<WorkloadVersion>>) -> Option<RolloutRecord> {
    let healthy = lost.healthy.and_then(|(digest, since)| {
        let version = versions.get(&digest)?;
        Some(healthy_record(version, digest, since))
    });
    let is_known = healthy.is_some() || lost.reverted.is_some();
    is_known.then_some(RolloutRecord {
        deployment: lost.deployment,
        healthy,
        reverted: lost.reverted,
    })
}
