//! For how long a claim is surely this worker's, by its own clock. What counts is when a message was sent that was
//! answered: the reconciler has heard of us then or later.

use std::time::Duration;

use easyenclave_schemas::wire::{CLAIM, Order};
use tokio::time::Instant;

/// A claim, as its holder sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    /// When the newest message was sent that was answered.
    sent: Instant,
    /// A worker that is silent for so long counts as lost. Older reconcilers give no claim to anybody else by that.
    lost_after: Option<Duration>,
}

impl Lease {
    /// Of an order that was asked for then.
    pub(super) fn new(order: &Order, asked: Instant) -> Self {
        Self {
            sent: asked,
            lost_after: order.worker_lost_after_millis.map(Duration::from_millis),
        }
    }

    /// The reconciler has answered what was sent then: the order is still ours.
    pub(super) fn renewed(&mut self, sent: Instant) {
        self.sent = sent.max(self.sent);
    }

    /// Until then a machine may be made. What is under way by then has the rest of the claim to end in.
    pub(super) fn make_until(&self) -> Instant {
        self.sent + part(CLAIM)
    }

    /// From then on the machine of a launch that is not fulfilled goes: it takes a while, and soon another worker may make
    /// its own.
    pub(super) fn go_at(&self) -> Option<Instant> {
        let lost_after = self.lost_after?.max(CLAIM);
        self.sent.checked_add(part(lost_after))
    }
}

/// Three quarters.
fn part(span: Duration) -> Duration {
    span / 4 * 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::testing::retirement;

    #[test]
    fn a_machine_is_made_and_kept_only_well_before_another_worker_may_make_it() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut order = retirement("a");
        order.worker_lost_after_millis = Some(600_000);
        let mut lease = Lease::new(&order, start);
        assert_eq!(lease.make_until(), after(45));
        assert_eq!(lease.go_at(), Some(after(450)));
        lease.renewed(after(10));
        lease.renewed(after(5));
        assert_eq!(lease.make_until(), after(55));
        order.worker_lost_after_millis = Some(100);
        assert_eq!(Lease::new(&order, start).go_at(), Some(after(45)));
        order.worker_lost_after_millis = Some(u64::MAX);
        let never = Lease::new(&order, start).go_at();
        assert!(never.is_none_or(|at| at > after(u64::from(u32::MAX))));
        order.worker_lost_after_millis = None;
        assert_eq!(Lease::new(&order, start).go_at(), None);
    }
}
