//! One pass: read what should be, see what is, plan, execute, report. Whatever wakes it, it reads
//! everything anew; the common path and the recovery path are the same.

use std::sync::Arc;
use std::time::Duration;

use easyenclave_plan::{Observed, Plan, plan};
use easyenclave_schemas::Timestamp;

use crate::execute::{Outcome, execute};
use crate::journal::JournalError;
use crate::observe::observe;
use crate::report::in_whole_seconds;
use crate::revision::Revision;
use crate::trust;
use crate::world::World;

/// The shortest rest between two passes.
const SOON: Duration = Duration::from_millis(20);

/// What a pass saw, decided and did.
#[derive(Debug)]
pub struct Report {
    /// The revision.
    pub revision: Arc<Revision>,
    /// The world after the pass: what was decided is in it.
    pub observed: Observed,
    /// What was decided on the world before.
    pub plan: Plan,
    /// What is still to come, seen from the world after.
    pub next: Plan,
    /// What the actions did.
    pub outcomes: Vec<Outcome>,
    /// When it was, in whole seconds.
    pub at: Timestamp,
}

impl Report {
    /// How long until the next pass if nothing happens before: until a wait ends by itself, and no longer than `idle`.
    pub fn rest(&self, now: Timestamp, idle: Duration) -> Duration {
        let ends = self.next.waits.iter().filter_map(|wait| wait.until);
        match ends.filter(|until| *until > now).min() {
            _ if !self.next.actions.is_empty() => SOON,
            Some(until) => until.since(now).clamp(SOON, idle),
            None => idle,
        }
    }
}

/// Turns the line once.
///
/// # Errors
/// When records cannot be read or written. Nothing is half done then.
pub async fn pass(
    world: &World,
    revision: Arc<Revision>,
    now: Timestamp,
) -> Result<Report, JournalError> {
    trust::rejudge(world, &revision).await?;
    let at = now.trunc_secs();
    let before = in_whole_seconds(observe(world, &revision, now));
    let plan_now = plan(&revision.desired, &before, at);
    let outcomes = execute(world, &revision, &plan_now, now).await?;
    let (observed, next) = if outcomes.is_empty() {
        (before, plan_now.clone())
    } else {
        let after = in_whole_seconds(observe(world, &revision, now));
        let next = plan(&revision.desired, &after, at);
        (after, next)
    };
    world.hold(&observed, &next);
    Ok(Report {
        revision,
        observed,
        plan: plan_now,
        next,
        outcomes,
        at,
    })
}
