//! What reservations keep: how many agents of each target are set aside for whom and not in use.

use std::time::Duration;

use easyenclave_schemas::Timestamp;

use crate::Reservation;
use crate::draft::Draft;
use crate::view::{OwnerIx, TargetIx, View};

/// Reserved agents that their owners do not use.
pub(crate) struct Reserved {
    /// By target and owner, sorted.
    left: Vec<(TargetIx, OwnerIx, u32)>,
    /// By target.
    totals: Vec<u32>,
}

impl Reserved {
    /// What is left of each owner's reservations after what was decided so far.
    pub(crate) fn new(view: &View, draft: &Draft) -> Self {
        let mut reserved = Self {
            left: all(view),
            totals: vec![0; view.targets.len()],
        };
        for (target, _, count) in &reserved.left {
            let total = &mut reserved.totals[target.at()];
            *total = total.saturating_add(*count);
        }
        if !reserved.left.is_empty() {
            reserved.subtract_use(view, draft);
        }
        reserved
    }

    fn subtract_use(&mut self, view: &View, draft: &Draft) {
        for agent in view.all_agents() {
            if let Some(deployment) = draft.carries(view, agent)
                && draft.serves(view, agent)
            {
                let owner = view.deployment(deployment).owner;
                self.take(view.agent(agent).target, owner, 1);
            }
        }
    }

    /// An owner uses `count` more agents of a target, those that are reserved for it first.
    pub(crate) fn take(&mut self, target: TargetIx, owner: OwnerIx, count: u32) {
        if let Ok(at) = self.find(target, owner) {
            let left = &mut self.left[at].2;
            let covered = count.min(*left);
            *left -= covered;
            let total = &mut self.totals[target.at()];
            *total = total.saturating_sub(covered);
        }
    }

    /// Set aside for an owner.
    pub(crate) fn own(&self, target: TargetIx, owner: OwnerIx) -> u32 {
        self.find(target, owner).map_or(0, |at| self.left[at].2)
    }

    /// Set aside for all others.
    pub(crate) fn others(&self, target: TargetIx, owner: OwnerIx) -> u32 {
        self.total(target).saturating_sub(self.own(target, owner))
    }

    /// Set aside in all.
    pub(crate) fn total(&self, target: TargetIx) -> u32 {
        self.totals[target.at()]
    }

    fn find(&self, target: TargetIx, owner: OwnerIx) -> Result<usize, usize> {
        self.left
            .binary_search_by_key(&(target, owner), |entry| (entry.0, entry.1))
    }
}

/// The end of a reservation is said so long before.
const NOTICE: Duration = Duration::from_secs(7 * 24 * 3600);

/// When a current reservation ends, once that is near enough to be said.
pub(crate) fn near_end(view: &View, reservation: &Reservation) -> Option<Timestamp> {
    let near = |until: &Timestamp| *until <= view.now.plus(NOTICE);
    reservation.until.filter(near)
}

/// Whether a reservation has not ended.
pub(crate) fn is_current(view: &View, reservation: &Reservation) -> bool {
    reservation.until.is_none_or(|until| until > view.now)
}

fn all(view: &View) -> Vec<(TargetIx, OwnerIx, u32)> {
    let mut all: Vec<(TargetIx, OwnerIx, u32)> = Vec::new();
    for (id, reservation) in &view.desired.reservations {
        let place = view
            .find_target(&reservation.target)
            .zip(view.owner(&id.owner));
        if let (Some((target, owner)), true) = (place, is_current(view, reservation)) {
            all.push((target, owner, reservation.count));
        }
    }
    all.sort_unstable();
    all.dedup_by(|next, first| {
        let same = (next.0, next.1) == (first.0, first.1);
        first.2 = first.2.saturating_add(if same { next.2 } else { 0 });
        same
    });
    all
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn the_end_of_a_reservation_is_said_a_week_before() {
        let agent = "agent a tiny #0 idle";
        let ends_in =
            |seconds: u32| format!("target tiny 0 2\nreserve acme/gold tiny 1 until {seconds}");
        check(&ends_in(7 * 86_400 + 1), agent, expect![""]);
        check(
            &ends_in(7 * 86_400),
            agent,
            expect![
                "wait: reservation acme/gold: ends; agents of target tiny reserved until then: 1; afterwards they serve anybody or go (until 2026-01-08T00:00:00Z)"
            ],
        );
        check(
            "target tiny 0 2\nreserve acme/gold tiny 1",
            agent,
            expect![""],
        );
    }

    #[test]
    fn at_its_end_what_nobody_needs_goes_and_what_is_in_use_stays() {
        let world = "agent a tiny #0 idle\nagent b tiny #1 runs acme/a v1";
        let state = "target tiny 0 2\ndeploy acme/a x1 v1\nreserve acme/gold tiny 2";
        check(
            &format!("{state} until 1"),
            world,
            expect![
                "wait: reservation acme/gold: ends; agents of target tiny reserved until then: 2; afterwards they serve anybody or go (until 2026-01-01T00:00:01Z)"
            ],
        );
        check(
            &format!("{state} ended 0"),
            world,
            expect!["retire a in local: not needed"],
        );
    }

    #[test]
    fn a_reservation_that_lacks_agents_says_that_beside_its_end() {
        check(
            "target tiny 0 2\nreserve acme/gold tiny 1 until 60",
            "",
            expect![[r#"
                launch tiny-55bb1394b081 for tiny slot 0 generation 1 failures 0 size tiny in local by process under sim
                wait: reservation acme/gold: agents missing: 1; ordered
                wait: reservation acme/gold: ends; agents of target tiny reserved until then: 1; afterwards they serve anybody or go (until 2026-01-01T00:01:00Z)"#]],
        );
    }
}
