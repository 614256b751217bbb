//! How long what an agent runs has been as it is, as far as it was heard.

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::wire::HeartbeatRequest;

use super::{Heard, SILENT_AFTER};
use crate::rollouts;

/// Since when what an agent runs has been ready, and since when it has failed by its own fault: since its agent first said
/// so of this instruction, in this boot, and without being silent in between.
pub(super) fn since(
    beat: &HeartbeatRequest,
    last: Option<&Heard>,
    at: Timestamp,
) -> (Option<Timestamp>, Option<Timestamp>) {
    let Some(workload) = &beat.workload else {
        return (None, None);
    };
    let last =
        last.filter(|last| last.boot_id == beat.boot_id && at.since(last.at) <= SILENT_AFTER);
    let before = last.and_then(|last| last.workload.as_ref());
    let before = before.filter(|before| before.generation == workload.generation);
    let last = last.filter(|_| before.is_some());
    let failing_since = last.and_then(|last| last.failing_since);
    match rollouts::health(workload.state, workload.cause) {
        (true, _) => {
            let restarted = before.is_none_or(|before| before.restarts != workload.restarts);
            let ready_since = last.and_then(|last| last.ready_since);
            (Some(ready_since.filter(|_| !restarted).unwrap_or(at)), None)
        }
        (false, Some(cause)) if cause.is_versions_fault() => {
            (None, Some(failing_since.unwrap_or(at)))
        }
        // Another cause is a break, and an agent that cannot tell says nothing new.
        (false, cause) => (None, failing_since.filter(|_| cause.is_none())),
    }
}
