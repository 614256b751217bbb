//! How long a launch order may stay where it is, and what it has failed of when it does not come on.

use easyenclave_schemas::{FailureCause, Stage, Timestamp};

use crate::{LaunchOrder, Limits, OrderState};

/// When an order has failed unless it comes on, and of what. One that nobody has claimed costs nothing and waits for
/// whoever comes, so it never has.
pub(crate) fn deadline(limits: &Limits, order: &LaunchOrder) -> Option<(Timestamp, FailureCause)> {
    let (stage, since) = order.times.stage(order.opened);
    let (within, cause) = match (stage, order.state) {
        (Stage::Open, OrderState::Open) => return None,
        // One of before, whose stages nobody has noted.
        (Stage::Open, _) => (limits.register_within, FailureCause::NotRegistered),
        (Stage::Claimed, _) => (limits.make_within, FailureCause::NotMade),
        (Stage::Made, _) => (limits.boot_within, FailureCause::NotBooted),
        (Stage::Booted, _) => (limits.register_within, not_registered(order)),
    };
    Some((since.plus(within), cause))
}

/// An agent whose evidence was refused asks again for as long as it is let.
fn not_registered(order: &LaunchOrder) -> FailureCause {
    match order.cause {
        Some(FailureCause::AttestationRefused) => FailureCause::AttestationRefused,
        _ => FailureCause::NotRegistered,
    }
}

/// What an order has failed of by now.
pub(crate) fn expired(
    limits: &Limits,
    order: &LaunchOrder,
    now: Timestamp,
) -> Option<FailureCause> {
    let (at, cause) = deadline(limits, order)?;
    (at <= now).then_some(cause)
}

/// Until when somebody should have claimed an order that is open.
pub(crate) fn claim_by(limits: &Limits, order: &LaunchOrder) -> Timestamp {
    let (_, since) = order.times.stage(order.opened);
    since.plus(limits.claim_within)
}
