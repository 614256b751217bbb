//! What the store has lost of roll-outs, by what the status branch says: which attempt was given up, and which version was
//! healthy. That version is read from the commit that asked for it: of the branch, only digests are believed. What cannot be
//! known at the first look is looked for again, until it is, or nothing says more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use easyenclave_schemas::records::RolloutRecord;
use easyenclave_schemas::status::DeploymentStatus;
use easyenclave_schemas::{DeploymentId, Digest, Revert, Timestamp};

use super::{healthy_record, is_gone};
use crate::journal::{JournalError, Records};
use crate::report::Status;
use crate::revision::Revision;
use crate::source::{Past, Source};
use crate::world::World;

/// A commit that could not be read is read again after this time.
const AGAIN: Duration = Duration::from_secs(60);

/// What is not recalled yet.
#[derive(Debug)]
pub(crate) struct Pending(BTreeMap<DeploymentId, Lost>);

/// What is recorded no more of a deployment.
#[derive(Debug)]
struct Lost {
    /// The version that was healthy last, and when it was found so.
    healthy: Option<(Digest, Timestamp)>,
    /// The attempt that was given up.
    reverted: Option<Revert>,
    /// The commits that asked for the healthy version, newest first, as far as they have not been read.
    commits: Vec<String>,
    /// Not before then.
    next: Timestamp,
}

impl Pending {
    /// All that status says of roll-outs.
    pub(crate) fn of(reported: &Status) -> Self {
        let all = reported.deployments.values();
        Self(all.filter_map(Lost::of).collect())
    }

    /// Whether there is nothing more to recall.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops what is known by now, and what is gone: what comes later under its name has nothing of it. A deployment that is
    /// frozen waits, because nobody knows what is wanted of it.
    fn settle(&mut self, records: &Records, revision: &Revision) {
        self.0.retain(|id, lost| {
            let record = records.rollouts.get(id);
            !is_gone(revision, id) && record.is_none_or(|record| lost.is_missing_in(record))
        });
    }

    /// What can be recalled now: first what was given up, which has nowhere to go.
    fn due(&self, revision: &Revision, now: Timestamp) -> Vec<(&DeploymentId, &Lost)> {
        let is_due = |(id, lost): &(&DeploymentId, &Lost)| {
            revision.desired.deployments.contains_key(*id) && lost.next <= now
        };
        let mut due: Vec<_> = self.0.iter().filter(is_due).collect();
        due.sort_by_key(|(_, lost)| lost.reverted.is_none());
        due
    }

    /// Notes what was read for these. What was found, and what no commit is left to tell of, is over.
    fn note(&mut self, looked_for: &[DeploymentId], past: &Past, now: Timestamp) {
        for id in looked_for {
            let Some(lost) = self.0.get_mut(id) else {
                continue;
            };
            lost.commits.retain(|commit| !past.read.contains(commit));
            let has_failed = |commit| past.failed.contains(commit);
            if lost.commits.iter().any(has_failed) {
                lost.next = now.plus(AGAIN);
            }
            let found = |(digest, _)| past.versions.contains_key(&digest);
            if lost.commits.is_empty() || lost.healthy.is_none_or(found) {
                self.0.remove(id);
            }
        }
    }
}

impl Lost {
    fn of(status: &DeploymentStatus) -> Option<(DeploymentId, Self)> {
        let rollout = status.rollout.as_ref()?;
        let past = status.history.iter().rev();
        let past = past.filter(|past| Some(past.version) == rollout.healthy);
        let since = past.clone().next().map_or(rollout.since, |past| past.to);
        let is_current = rollout.healthy.is_some() && rollout.healthy == status.workload;
        let current = is_current.then(|| rollout.commit.clone());
        let past = past.map(|past| past.commit.clone());
        let lost = Self {
            healthy: rollout.healthy.map(|healthy| (healthy, since)),
            reverted: rollout.reverted.clone(),
            commits: current.into_iter().chain(past).collect(),
            next: Timestamp::default(),
        };
        Some((status.deployment.clone(), lost))
    }

    /// Whether a record has no healthy version for want of this one.
    fn is_missing_in(&self, record: &RolloutRecord) -> bool {
        record.healthy.is_none() && record.reverted.is_some() && record.reverted == self.reverted
    }

    /// What can be recorded again; nothing where neither a version nor a decision is known.
    fn record(&self, id: &DeploymentId, revision: &Revision, past: &Past) -> Option<RolloutRecord> {
        let spec = revision.desired.deployments.get(id)?;
        let healthy = self.healthy.and_then(|(digest, since)| {
            let version = past.versions.get(&digest)?;
            Some(healthy_record(version, digest, since))
        });
        let reverted = self.reverted.clone();
        let reverted = reverted.filter(|reverted| reverted.attempt == spec.attempt());
        (healthy.is_some() || reverted.is_some()).then(|| RolloutRecord {
            deployment: id.clone(),
            healthy,
            reverted,
        })
    }
}

/// Records again what status says and no record does. An attempt that was given up stays so, with the way back once the
/// version is found.
///
/// # Errors
/// When the records cannot be written.
pub(crate) async fn recall(
    world: &World,
    source: &Source,
    revision: &Revision,
    pending: &mut Pending,
) -> Result<(), JournalError> {
    let now = world.clock.now();
    pending.settle(&world.journal.read(), revision);
    let due = pending.due(revision, now);
    if due.is_empty() {
        return Ok(());
    }
    let wanted = due.iter().filter_map(|(_, lost)| Some(lost.healthy?.0));
    let wanted: BTreeSet<Digest> = wanted.collect();
    let commits: Vec<_> = due
        .iter()
        .map(|(_, lost)| lost.commits.as_slice())
        .collect();
    let past = source.versions(wanted, in_turn(&commits)).await;
    let records = due.iter();
    let records = records.filter_map(|(id, lost)| lost.record(id, revision, &past));
    let (records, ids): (Vec<_>, Vec<_>) = (
        records.collect(),
        due.iter().map(|(id, _)| (*id).clone()).collect(),
    );
    let kept = world.journal.transact(move |now, change| {
        for record in records.into_iter().filter(|record| is_news(now, record)) {
            let (deployment, known) = (&record.deployment, record.healthy.is_some());
            tracing::info!(%deployment, known, "its roll-out is recalled from status");
            change.put_rollout(record);
        }
        Ok::<_, ()>(())
    });
    kept.await.map(|_| ())?;
    pending.note(&ids, &past, now);
    Ok(())
}

/// Whether more is known by this than by what is recorded.
fn is_news(records: &Records, record: &RolloutRecord) -> bool {
    let known = records.rollouts.get(&record.deployment);
    known.is_none_or(|known| known.healthy.is_none() && record.healthy.is_some())
}

/// The first of each, then the second of each, and so on: none waits for all of another.
fn in_turn(lists: &[&[String]]) -> Vec<String> {
    let longest = lists
        .iter()
        .map(|list| list.len())
        .max()
        .unwrap_or_default();
    let turns = (0..longest).flat_map(|turn| lists.iter().filter_map(move |list| list.get(turn)));
    turns.cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use easyenclave_plan::Frozen;

    use super::*;
    use crate::report::tests::revision;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn hello() -> DeploymentId {
        "acme/hello".parse().expect("an id")
    }

    /// A deployment whose version was healthy since a commit, and of which another was perhaps given up.
    fn lost(commit: &str, given_up: bool) -> Lost {
        let zero = "00".repeat(32);
        let mut status = json!({
            "deployment": "acme/hello", "phase": "running", "workload": zero, "wanted": 1, "assigned": 1, "updated": 1,
            "ready": 1, "replicas": [], "conditions": [], "waits": [],
            "rollout": {"aim": zero, "attempt": zero, "commit": commit, "since": "2026-01-01T00:00:00Z",
                "step": {"wave": {"number": 1, "of": 1}}, "healthy": zero},
        });
        if given_up {
            status["rollout"]["reverted"] = json!({"attempt": zero, "from": zero, "to": zero, "cause": "exited",
                "at": "2026-01-01T00:00:00Z"});
        }
        let status: DeploymentStatus = serde_json::from_value(status).expect("a status");
        Lost::of(&status).expect("a roll-out").1
    }

    fn pending(lost: Lost) -> Pending {
        Pending([(hello(), lost)].into())
    }

    #[test]
    fn what_is_frozen_at_the_first_look_is_recalled_once_it_can_be_read() {
        let (mut revision, records) = (revision(), Records::default());
        let spec = revision.desired.deployments.remove(&hello());
        let frozen = Frozen::Deployment(hello());
        revision.desired.frozen.insert(frozen, String::new());
        let mut left = pending(lost("c", true));
        left.settle(&records, &revision);
        assert!(!left.is_over() && left.due(&revision, at(1)).is_empty());
        revision.desired.frozen.clear();
        let mut gone = pending(lost("c", true));
        gone.settle(&records, &revision);
        assert!(
            gone.is_over(),
            "one of this name that is made later has nothing of it"
        );
        let spec = spec.expect("the example has it");
        revision.desired.deployments.insert(hello(), spec);
        left.settle(&records, &revision);
        assert_eq!(left.due(&revision, at(1)).len(), 1);
    }

    #[test]
    fn a_commit_that_cannot_be_read_is_read_again_after_a_while_and_one_that_can_is_not() {
        let revision = revision();
        let mut left = pending(lost("c", false));
        let commits = || ["c".to_owned()].into();
        let failed = Past {
            failed: commits(),
            ..Past::default()
        };
        left.note(&[hello()], &failed, at(1));
        assert!(left.due(&revision, at(60)).is_empty());
        assert_eq!(left.due(&revision, at(61)).len(), 1);
        left.note(&[hello()], &Past::default(), at(61));
        assert!(!left.is_over(), "its turn has not come");
        let read = Past {
            read: commits(),
            ..Past::default()
        };
        left.note(&[hello()], &read, at(61));
        assert!(left.is_over());
    }

    #[test]
    fn the_way_back_is_looked_for_until_a_record_has_one() {
        let (revision, mut records) = (revision(), Records::default());
        let mut left = pending(lost("c", true));
        let mut record = RolloutRecord {
            deployment: hello(),
            healthy: None,
            reverted: lost("c", true).reverted,
        };
        let mut settle = |record: &RolloutRecord| {
            let all = &mut records.rollouts;
            all.insert(hello(), record.clone().into());
            left.settle(&records, &revision);
            left.is_over()
        };
        assert!(!settle(&record));
        record.reverted = None;
        assert!(settle(&record), "something else was decided since");
    }

    #[test]
    fn what_was_given_up_comes_first_and_of_each_the_newest_commit() {
        let revision = revision();
        let mut two = pending(lost("c", false));
        let other: DeploymentId = "zeta/hello".parse().expect("an id");
        two.0.insert(other.clone(), lost("d", true));
        let mut both = revision;
        let spec = both.desired.deployments[&hello()].clone();
        both.desired.deployments.insert(other.clone(), spec);
        let due = two.due(&both, at(1));
        assert_eq!(
            due.iter().map(|due| due.0).collect::<Vec<_>>(),
            [&other, &hello()]
        );
        let list = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (one, other) = (list("a1 a2 a3"), list("b1"));
        assert_eq!(in_turn(&[&one, &other]), list("a1 b1 a2 a3"));
    }
}
