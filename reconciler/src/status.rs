//! Publishes: the newest status becomes a signed commit and is pushed within the budget. The only
//! file beside `execute.rs` that changes the world, and the status branch is all it can change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use easyenclave_git::{Ledger, LedgerError, PushBudget, Slot, Urgency};
use easyenclave_schemas::documents::StatusSpec;
use easyenclave_schemas::evidence::EvidenceRecord;
use easyenclave_schemas::status::{AgentPhase, AgentStatus, paths};
use easyenclave_schemas::{AgentId, Digest, Timestamp};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::outage::Outage;
use crate::report::{self, Status, Trouble};
use crate::shelf::Shelf;
use crate::trust;
use crate::world::World;

/// A push that takes longer is stopped; whether it landed is looked up afterwards.
const PUSH_DEADLINE: Duration = Duration::from_secs(30);

/// A fetch at the start that takes longer is given up.
const SYNC_DEADLINE: Duration = Duration::from_secs(20);

/// The first pause after a failed push; it doubles up to five minutes.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The branch at the remote is looked at this often: somebody may have deleted it or taken it back, and a fleet
/// without news would not push for hours.
const LOOK: Duration = Duration::from_secs(120);

/// Publishes every new status until the sender is gone; then the last one, once more.
pub struct Publisher {
    world: Arc<World>,
    ledger: Ledger,
    budget: PushBudget,
    outage: Outage,
    /// What the local tip of the branch says.
    recorded: Option<Arc<Status>>,
    /// The evidence on it.
    shelf: Shelf,
    /// Failed pushes in a row.
    failures: u32,
    /// Whether it is known what the remote's branch holds.
    caught_up: bool,
    /// After a failure nothing is pushed before then, however much there is to say. It is committed here.
    not_before: Timestamp,
    /// When the remote's branch was looked at.
    looked: Timestamp,
}

impl Publisher {
    /// A publisher that goes on from what the branch says. Troubles are noted in `outage`.
    pub fn new(
        world: Arc<World>,
        ledger: Ledger,
        recorded: Option<Arc<Status>>,
        outage: Outage,
    ) -> Self {
        let per_minute = StatusSpec::default().pushes_per_minute;
        let budget = PushBudget::new(per_minute);
        Self {
            world,
            ledger,
            budget,
            outage,
            recorded,
            shelf: Shelf::default(),
            failures: 0,
            caught_up: false,
            not_before: Timestamp::default(),
            looked: Timestamp::default(),
        }
    }

    /// Runs until `newest` closes.
    pub async fn run(mut self, mut newest: watch::Receiver<Option<Arc<Status>>>) {
        self.restock();
        if let Err(error) = trust::forget_strays(&self.world.journal).await {
            unkept(&error);
        }
        self.catch_up().await;
        loop {
            let status = newest.borrow_and_update().clone();
            let wait = match status {
                Some(status) => self.publish(&status).await,
                None => None,
            };
            // Whatever comes meanwhile goes into the same commit, and may be more urgent.
            tokio::select! {
                () = sleep(wait.unwrap_or(LOOK)) => {}
                changed = newest.changed() => if changed.is_err() { break },
            }
            self.look().await;
        }
        let last = newest.borrow().clone();
        self.finish(last).await;
    }

    /// Learns what the remote's branch holds, in case our clone was lost. A dead remote only delays
    /// publishing, nothing else.
    async fn catch_up(&mut self) {
        self.looked = self.world.clock.now();
        match self.sync().await {
            Ok(is_news) => {
                self.caught_up = true;
                if is_news {
                    self.recorded = recorded(&self.ledger);
                    self.restock();
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "status branch not fetched"
                );
            }
        }
    }

    fn restock(&mut self) {
        if let Err(error) = self.take_stock() {
            unreadable(&error);
        }
    }

    /// Learns which evidence the branch holds. What no agent's file names goes with the next commit.
    fn take_stock(&mut self) -> Result<(), LedgerError> {
        self.shelf = Shelf::default();
        let folder = self.ledger.paths(paths::EVIDENCE)?;
        let there: BTreeSet<String> = folder.into_iter().collect();
        let recorded = self.recorded.clone();
        for record in recorded.iter().flat_map(|status| status.evidence()) {
            let bytes = self.ledger.read(&paths::evidence(&record))?;
            let read = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let Some(read): Option<EvidenceRecord> = read else {
                continue;
            };
            let files: BTreeSet<_> = read.files().chain([record]).collect();
            if files
                .iter()
                .all(|file| there.contains(&paths::evidence(file)))
            {
                self.shelf.add(record, files);
            }
        }
        for path in there {
            let file = path.rsplit('/').next().and_then(Digest::parse);
            if !file.is_some_and(|file| self.shelf.uses(file)) {
                self.ledger.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Puts the evidence that a status names on the branch, and takes away what it names no more. Answers the
    /// records that go and those that come.
    async fn shelve(&mut self, status: &Status) -> Result<(Vec<Digest>, Vec<Digest>), LedgerError> {
        let wanted: BTreeSet<Digest> = status.evidence().collect();
        let (gone, unused) = self.shelf.retain(&wanted);
        for file in unused {
            self.ledger.remove(&paths::evidence(&file))?;
        }
        let mut new = Vec::new();
        for record in wanted {
            if self.shelf.holds(record) {
                continue;
            }
            let filed = trust::filed(&self.world.journal, record).await;
            let Some(mut files) = filed.inspect_err(|error| unkept(error)).ok().flatten() else {
                continue;
            };
            for file in self.shelf.add(record, files.keys().copied().collect()) {
                let bytes = files.remove(&file).unwrap_or_default();
                self.ledger.set(&paths::evidence(&file), bytes)?;
            }
            new.push(record);
        }
        Ok((gone, new))
    }

    /// Tells whether another tip than ours was found to go on from, or none is known yet.
    async fn sync(&mut self) -> Result<bool, LedgerError> {
        let before = self.ledger.tip()?;
        self.ledger.sync(SYNC_DEADLINE).await?;
        let moved = self.ledger.tip()? != before;
        // What is not pushed yet is told of by the push.
        match moved {
            true => self.world.sole.finds_moved(self.world.clock.now()),
            false if self.ledger.pending() => {}
            false => self.world.sole.finds_as_left(self.world.clock.now()),
        }
        Ok(self.recorded.is_none() || moved)
    }

    /// Looks what the remote's branch is, when that was long ago. One that lacks our commits is pushed to again.
    async fn look(&mut self) {
        let now = self.world.clock.now();
        if self.failures > 0 || now.since(self.looked) < LOOK {
            return;
        }
        let pending = self.ledger.pending();
        self.catch_up().await;
        if self.ledger.pending() && !pending {
            tracing::warn!(
                "the status branch was deleted or taken back; what was seen is pushed again"
            );
        }
    }

    /// Publishes now, or tells how long to wait.
    async fn publish(&mut self, status: &Arc<Status>) -> Option<Duration> {
        let unrecorded = self.recorded.as_deref() != Some(status.as_ref());
        if !unrecorded && !self.ledger.pending() {
            return None;
        }
        let rest = self.not_before.since(self.world.clock.now());
        if !unrecorded && !rest.is_zero() {
            return Some(rest);
        }
        if let Some(revision) = self.world.revision() {
            self.budget
                .set_per_minute(revision.status.pushes_per_minute);
        }
        let now = self.world.clock.now();
        let urgency = urgency(status, self.recorded.as_deref());
        match self.budget.next_push(now.as_millis(), urgency) {
            Slot::Now if !self.caught_up && rest.is_zero() => {
                self.catch_up().await;
                self.commit_and_push(status, now, PUSH_DEADLINE).await
            }
            Slot::Now => self.commit_and_push(status, now, PUSH_DEADLINE).await,
            Slot::At(millis) => {
                let wait = Timestamp::from_millis(millis).since(now);
                Some(wait.max(Duration::from_millis(10)))
            }
        }
    }

    async fn commit_and_push(
        &mut self,
        status: &Arc<Status>,
        now: Timestamp,
        deadline: Duration,
    ) -> Option<Duration> {
        let result = match self.record(status, now).await {
            Ok(()) if now < self.not_before => return Some(self.not_before.since(now)),
            Ok(()) => self.push(now, deadline).await,
            Err(error) => Err(error),
        };
        let trouble = result.as_ref().err().map(trouble);
        if let Err(error) = &result {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "status not published"
            );
        }
        if self.outage.set(trouble) {
            self.world.wake.notify_one();
        }
        match result {
            Ok(()) => {
                self.failures = 0;
                None
            }
            Err(_) => {
                self.failures += 1;
                let pause = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(16));
                let jitter = 1.0 + self.world.entropy.fraction() / 4.0;
                let pause = pause.min(LONGEST_PAUSE).mul_f64(jitter);
                self.not_before = self.world.clock.now().plus(pause);
                Some(pause)
            }
        }
    }

    /// Commits to our clone.
    async fn record(&mut self, status: &Arc<Status>, now: Timestamp) -> Result<(), LedgerError> {
        if self.recorded.is_none() {
            self.clear()?;
        }
        let (gone, new) = self.shelve(status).await?;
        let previous = self.recorded.as_deref();
        for (path, bytes) in status.changes(previous) {
            match bytes {
                Some(bytes) => self.ledger.set(&path, bytes)?,
                None => self.ledger.remove(&path)?,
            }
        }
        let message = report::message(status, previous);
        self.ledger.record(&message, now.as_millis() / 1000)?;
        self.recorded = Some(Arc::clone(status));
        if let Err(error) = trust::forget(&self.world.journal, &gone, &new).await {
            unkept(&error);
        }
        self.budget.pushed(now.as_millis());
        Ok(())
    }

    async fn push(&mut self, now: Timestamp, deadline: Duration) -> Result<(), LedgerError> {
        let pushed = self.ledger.push(deadline).await?;
        if let Some(reason) = pushed.rebuilt {
            // That was one more.
            self.budget.pushed(now.as_millis());
            tracing::warn!(%reason, "status branch was not as it was left; what was seen is on it again");
            self.world.sole.finds_moved(now);
        } else {
            self.world.sole.finds_as_left(now);
        }
        Ok(())
    }

    /// Without a status to go on from, nobody knows which files it had: whatever lies among them goes, or
    /// one that cannot be read would make the branch unreadable for ever.
    fn clear(&mut self) -> Result<(), LedgerError> {
        for path in self.ledger.load(&report::is_status)?.into_keys() {
            self.ledger.remove(&path)?;
        }
        Ok(())
    }

    /// The daemon ends: what it saw last should not be lost, but a dead remote must not hold it up.
    async fn finish(mut self, status: Option<Arc<Status>>) {
        let Some(status) = status else { return };
        if self.recorded.as_deref() != Some(status.as_ref()) || self.ledger.pending() {
            let now = self.world.clock.now();
            self.not_before = now;
            self.commit_and_push(&status, now, Duration::from_secs(5))
                .await;
        }
    }
}

/// Safety facts go first: something held, refused, rejected, lost or quarantined.
fn urgency(status: &Status, recorded: Option<&Status>) -> Urgency {
    let Some(recorded) = recorded else {
        return Urgency::Urgent;
    };
    let urgent = status.fleet.held != recorded.fleet.held
        || status.fleet.refusals != recorded.fleet.refusals
        || status.problems != recorded.problems
        || lost(status) != lost(recorded)
        || quarantined(status) != quarantined(recorded);
    if urgent {
        Urgency::Urgent
    } else {
        Urgency::Normal
    }
}

fn lost(status: &Status) -> Vec<&AgentId> {
    agents(status, |agent| agent.phase == AgentPhase::Lost)
}

fn quarantined(status: &Status) -> Vec<&AgentId> {
    agents(status, |agent| agent.quarantined.is_some())
}

fn agents(status: &Status, which: fn(&AgentStatus) -> bool) -> Vec<&AgentId> {
    let agents = status.agents.values().filter(|agent| which(agent));
    agents.map(|agent| &agent.agent).collect()
}

/// For the status itself, so without words that change from try to try.
fn trouble(error: &LedgerError) -> Trouble {
    Trouble {
        reason: error.reason(),
        message: error.to_string().chars().take(200).collect(),
    }
}

fn unreadable(error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(error, "status branch not readable");
}

fn unkept(error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(
        error,
        "evidence not read from the store, or not forgotten there"
    );
}

/// What the status branch said last; a branch that cannot be read is written anew from here on.
pub fn recorded(ledger: &Ledger) -> Option<Arc<Status>> {
    let files = ledger.load(&report::is_status);
    let files = files.inspect_err(|error| unreadable(error)).ok()?;
    if files.is_empty() {
        return None;
    }
    let status = report::read(&files).inspect_err(|error| unreadable(error));
    status.ok().map(Arc::new)
}
