//! How long what an agent runs has been as it is, as far as it was heard.

use std::time::Duration;

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::wire::{HeartbeatRequest, WorkloadReport};

use super::{Heard, Presence, SILENT_AFTER, lock};
use crate::rollouts;

/// A workload that ends so often fails, however often it is ready in between.
const LOOPS: u32 = 3;

/// One that is ready for so long in between does not.
const WELL: Duration = Duration::from_secs(60);

impl Presence {
    /// Takes again what was heard of workloads for what it comes to: it may have been heard when less was known.
    pub(crate) fn judge(&self, judge: impl Fn(&mut WorkloadReport)) {
        for heard in lock(&self.agents).values_mut() {
            heard.workload.iter_mut().for_each(&judge);
        }
    }
}

/// Since when what an agent runs has been ready, and since when it has failed by its own fault: since its agent first said
/// so of this instruction, in this boot, and without being silent in between.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spans {
    pub(super) ready_since: Option<Timestamp>,
    pub(super) failing_since: Option<Timestamp>,
    pub(super) ends: Option<Ends>,
}

/// A workload ends and is started again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// Since when, without having been well in between.
    since: Timestamp,
    /// How often it had been started again before.
    before: u32,
}

impl Ends {
    fn is_loop(self, workload: &WorkloadReport) -> bool {
        workload.restarts.saturating_sub(self.before) >= LOOPS
    }
}

pub(super) fn since(beat: &HeartbeatRequest, last: Option<&Heard>, at: Timestamp) -> Spans {
    let Some(workload) = &beat.workload else {
        return Spans::default();
    };
    let last =
        last.filter(|last| last.boot_id == beat.boot_id && at.since(last.at) <= SILENT_AFTER);
    let before = last.and_then(|last| Some((last, last.workload.as_ref()?)));
    let before = before.filter(|(_, before)| before.generation == workload.generation);
    let (ready, cause) = rollouts::health(workload.state, workload.cause);
    // Another cause is a break.
    let is_other = !ready && cause.is_some_and(|cause| !cause.is_versions_fault());
    let ends = before.and_then(|before| ends(workload, before, at));
    let ends = ends.filter(|_| !is_other);
    let looping = ends.filter(|ends| ends.is_loop(workload));
    let looping = looping.map(|ends| ends.since);
    let failing = before.and_then(|(last, _)| last.failing_since);
    let (ready_since, failing_since) = match cause {
        _ if ready => (Some(ready_since(workload, before).unwrap_or(at)), looping),
        Some(_) if is_other => (None, None),
        Some(_) => (None, looping.or(failing).or(Some(at))),
        // An agent that cannot tell says nothing new.
        None => (None, looping.or(failing)),
    };
    Spans {
        ready_since,
        failing_since,
        ends,
    }
}

type Before<'h> = (&'h Heard, &'h WorkloadReport);

fn ready_since(workload: &WorkloadReport, before: Option<Before<'_>>) -> Option<Timestamp> {
    let (last, before) = before?;
    last.ready_since
        .filter(|_| before.restarts == workload.restarts)
}

/// The ends since it was well last.
fn ends(workload: &WorkloadReport, (last, before): Before<'_>, at: Timestamp) -> Option<Ends> {
    let was_well = last
        .ready_since
        .is_some_and(|since| at.since(since) >= WELL);
    if before.restarts >= workload.restarts {
        let is_another = before.restarts > workload.restarts;
        return last.ends.filter(|_| !was_well && !is_another);
    }
    let first = Ends {
        since: last.failing_since.unwrap_or(at),
        before: before.restarts,
    };
    Some(last.ends.filter(|_| !was_well).unwrap_or(first))
}

impl Heard {
    /// A word, with what it says of how long.
    pub(super) fn of(beat: HeartbeatRequest, spans: Spans, at: Timestamp) -> Self {
        Self {
            at,
            sequence: beat.sequence,
            boot_id: beat.boot_id,
            acknowledged: beat.generation,
            ready_since: spans.ready_since,
            failing_since: spans.failing_since,
            ends: spans.ends,
            workload: beat.workload,
            refusals: beat.refusals,
            connector: beat.connector,
        }
    }
}
