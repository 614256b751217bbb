//! How replicas without an agent are divided among targets, and how many agents each target wants. Decides
//! numbers only; the rule that provides acts on them.

use crate::draft::{Draft, Unplaced};
use crate::reserve::Reserved;
use crate::supply::{self, Supply};
use crate::view::{DeploymentIx, OwnerIx, TargetIx, View};
use crate::{Deployment, Target};

/// So many replicas of a deployment, for which a target provides.
pub(crate) struct Share {
    pub(crate) target: TargetIx,
    pub(crate) count: u32,
}

/// Replicas without an agent, and who provides for them.
pub(crate) struct Shares {
    pub(crate) unplaced: Unplaced,
    pub(crate) shares: Vec<Share>,
    /// Those that the owner's quota does not allow.
    pub(crate) beyond_quota: u32,
}

/// All targets, as they are after what was decided so far.
pub(crate) struct Pools<'v, 'a> {
    view: &'v View<'a>,
    supply: Vec<Supply>,
    reserved: Reserved,
    /// Replicas for which each target provides.
    demand: Vec<u32>,
}

impl<'v, 'a> Pools<'v, 'a> {
    pub(crate) fn new(view: &'v View<'a>, draft: &Draft) -> Self {
        Self {
            view,
            supply: supply::count(view, draft),
            reserved: Reserved::new(view, draft),
            demand: vec![0; view.targets.len()],
        }
    }

    pub(crate) fn supply(&self, target: TargetIx) -> &Supply {
        &self.supply[target.at()]
    }

    /// Notes an order that is under way.
    pub(crate) fn ordered(&mut self, target: TargetIx) {
        self.supply[target.at()].pending += 1;
    }

    /// How many agents a target should have.
    pub(crate) fn wanted(&self, target: TargetIx, spec: &Target) -> u32 {
        let used = self.supply(target).used + self.demand[target.at()];
        let wanted = used.saturating_add(self.reserved.total(target));
        wanted.saturating_add(spec.warm).max(spec.min).min(spec.max)
    }

    /// Divides the replicas without an agent among targets, as far as quotas allow.
    pub(crate) fn divide(&mut self, draft: &mut Draft) -> Vec<Shares> {
        let unplaced = std::mem::take(&mut draft.unplaced);
        unplaced.into_iter().map(|u| self.share(draft, u)).collect()
    }

    /// First what is kept for their owner, then what is there or ordered already, then what may still be
    /// ordered: a share never moves, and no order is withdrawn, because an earlier target has room again.
    fn share(&mut self, draft: &mut Draft, unplaced: Unplaced) -> Shares {
        let owner = self.view.deployment(unplaced.deployment).owner;
        let allowed = unplaced
            .count
            .min(draft.quota_left(self.view, unplaced.deployment));
        let mut left = allowed;
        let mut shares = Vec::new();
        for most in [Self::kept, Self::supplied, Self::open] {
            for target in self.admitted(unplaced.deployment) {
                let open = self.open(target, owner).min(most(self, target, owner));
                let count = left.min(open);
                if count > 0 {
                    self.provide(target, owner, count);
                    shares.push(Share { target, count });
                    left -= count;
                }
            }
        }
        draft.uses_more(owner, allowed - left);
        Shares {
            unplaced,
            shares,
            beyond_quota: unplaced.count - allowed,
        }
    }

    /// The targets that may provide for a deployment, by name. One that names its agent wants no other.
    pub(crate) fn admitted(
        &self,
        deployment: DeploymentIx,
    ) -> impl Iterator<Item = TargetIx> + use<'v, 'a> {
        let view = self.view;
        let spec = view.deployment(deployment).state.spec();
        view.all_targets()
            .filter(move |target| spec.is_some_and(|spec| provides(view, spec, *target)))
    }

    fn provide(&mut self, target: TargetIx, owner: OwnerIx, count: u32) {
        self.reserved.take(target, owner, count);
        self.demand[target.at()] += count;
    }

    fn kept(&self, target: TargetIx, owner: OwnerIx) -> u32 {
        self.reserved.own(target, owner)
    }

    /// Agents of a target that an owner may use and that are there, ordered, or will be in any case.
    fn supplied(&self, target: TargetIx, owner: OwnerIx) -> u32 {
        let Some(spec) = self.view.target(target).state.spec() else {
            return 0;
        };
        let supply = self.supply(target);
        let taken = supply.used + self.demand[target.at()];
        let taken = taken.saturating_add(self.reserved.others(target, owner));
        let supplied = supply.all().max(spec.min);
        supplied.saturating_sub(taken.saturating_add(spec.warm))
    }

    /// How many agents more of a target an owner may use at the very most.
    fn open(&self, target: TargetIx, owner: OwnerIx) -> u32 {
        let max = self
            .view
            .target(target)
            .state
            .spec()
            .map_or(0, |spec| spec.max);
        let supply = self.supply(target);
        let taken = supply.used + supply.useless + self.demand[target.at()];
        max.saturating_sub(taken.saturating_add(self.reserved.others(target, owner)))
    }
}

fn provides(view: &View, spec: &Deployment, target: TargetIx) -> bool {
    spec.placement.agent.is_none() && view.admits(spec, target)
}
