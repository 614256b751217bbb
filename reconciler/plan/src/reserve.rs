//! What reservations keep: how many agents of each target are set aside for whom and not in use.

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
