//! What the early loss of an agent makes of its launch.

use std::time::Duration;

use easyenclave_schemas::records::{OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::{FailureCause, Timestamp};

use crate::words::span;

/// An agent that is lost later than this after it registered has shown that its kind can live. As long as the longest
/// rest of a launch, so that what dies again and again never seems to be well.
const PROVED: Duration = Duration::from_secs(10 * 60);

/// So many of the failures before it an accepted agent that is lost early leaves standing: the launch itself has worked.
/// The next one rests about half a minute at most (decision 0023), so that a place which was unlucky several times is not
/// empty for ten minutes.
const LEFT_STANDING: u32 = 4;

/// The launch of an agent that registered then and is lost now, if it has failed by that: the next one rests, because what
/// dies at once would else be launched again at once, for ever. It came further than one that fails before its agent is
/// accepted, and its rest does not grow as far. A launch whose worker took the machine down on purpose was withdrawn by
/// that, and has not failed.
pub(crate) fn failed_early(
    launch: &OrderRecord,
    registered: Timestamp,
    now: Timestamp,
) -> Option<OrderRecord> {
    let is_early = launch.state == OrderPhase::Fulfilled && now.since(registered) < PROVED;
    let mut failed = is_early.then(|| launch.clone())?;
    failed.state = OrderPhase::Failed(now);
    let lived = span(now.since(registered));
    failed.error = Some(format!("its agent was lost {lived} after it registered"));
    failed.cause = Some(FailureCause::MachineDied);
    if let WorkRecord::Launch { failures, .. } = &mut failed.work {
        *failures = LEFT_STANDING.min(*failures);
    }
    Some(failed)
}
