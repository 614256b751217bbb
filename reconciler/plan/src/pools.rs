//! How replicas without an agent are divided among targets, and how many agents each target wants. Decides
//! numbers only; the rule that provides acts on them.

use std::collections::BTreeSet;

use easyenclave_schemas::Datacenter;
use easyenclave_schemas::documents::Runtime;

use crate::draft::{Draft, Unplaced};
use crate::reserve::Reserved;
use crate::spots;
use crate::spread::Spreads;
use crate::supply::{self, Supply};
use crate::view::{DeploymentIx, DeploymentView, OwnerIx, TargetIx, View};
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
    /// What free agents of each target cannot run, although its document says so: another one would be no better.
    lacks: Vec<BTreeSet<Runtime>>,
    spreads: Spreads<'a>,
    /// By target, where what is launched is to be made if that can be.
    wishes: Vec<Vec<&'a Datacenter>>,
}

impl<'v, 'a> Pools<'v, 'a> {
    pub(crate) fn new(view: &'v View<'a>, draft: &Draft) -> Self {
        Self {
            view,
            supply: supply::count(view, draft),
            reserved: Reserved::new(view, draft),
            demand: vec![0; view.targets.len()],
            lacks: lacks(view, draft),
            spreads: Spreads::new(view, draft),
            wishes: vec![Vec::new(); view.targets.len()],
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

    /// Whether a target makes no more agents for a deployment, because one that it made cannot run it and is free.
    pub(crate) fn is_lacking(&self, target: TargetIx, spec: &Deployment) -> bool {
        self.lacks[target.at()].contains(&spec.runtime)
    }

    /// First what is kept for their owner, then what is there or ordered already, then what may still be
    /// ordered: a share never moves, and no order is withdrawn, because an earlier target has room again. Where free agents
    /// cannot run it, they are the share: were they not, they would go, and others like them be made.
    fn share(&mut self, draft: &mut Draft, unplaced: Unplaced) -> Shares {
        let able = [Self::kept, Self::supplied, Self::open].map(|most| (false, most));
        let lacking = [Self::kept, Self::supplied].map(|most| (true, most));
        let DeploymentView { owner, state, .. } = *self.view.deployment(unplaced.deployment);
        let is_lacking = |pools: &Self, target| {
            state
                .spec()
                .is_some_and(|spec| pools.is_lacking(target, spec))
        };
        let allowed = unplaced
            .count
            .min(draft.quota_left(self.view, unplaced.deployment));
        let mut left = allowed;
        let mut shares = Vec::new();
        for ((lacks, most), stage) in able.into_iter().chain(lacking).zip(0..) {
            let room = |pools: &Self, target| match is_lacking(pools, target) == lacks {
                true => pools.open(target, owner).min(most(pools, target, owner)),
                false => 0,
            };
            let is_launched = stage == 2;
            while left > 0
                && let Some((target, place)) = self.next(unplaced.deployment, room, is_launched)
            {
                let count = match place {
                    Some(_) => 1,
                    None => left.min(room(self, target)),
                };
                self.provide(target, owner, count);
                if let Some(place) = place {
                    self.spreads.add(unplaced.deployment, place);
                    self.wishes[target.at()].extend(is_launched.then_some(place));
                }
                let known = shares
                    .iter_mut()
                    .find(|share: &&mut Share| share.target == target);
                match known.filter(|_| place.is_some()) {
                    Some(share) => share.count += count,
                    None => shares.push(Share { target, count }),
                }
                left -= count;
            }
        }
        draft.uses_more(owner, allowed - left);
        Shares {
            unplaced,
            shares,
            beyond_quota: unplaced.count - allowed,
        }
    }

    /// The target that provides next: the first with room, or for a deployment that is spread the first where fewest of its
    /// replicas are, with that place.
    fn next(
        &self,
        deployment: DeploymentIx,
        room: impl Fn(&Self, TargetIx) -> u32,
        is_launched: bool,
    ) -> Option<(TargetIx, Option<&'a Datacenter>)> {
        let targets = self.admitted(deployment);
        let mut targets = targets.filter(|target| room(self, *target) > 0);
        if !self.spreads.has(deployment) {
            return targets.next().map(|target| (target, None));
        }
        let places = targets.flat_map(|target| {
            let places = self.places(target, is_launched).into_iter();
            places.map(move |place| (target, Some(place)))
        });
        places.min_by_key(|(_, place)| place.map(|place| self.spreads.count(deployment, place)))
    }

    /// Where what a target provides next is, or would be made.
    fn places(&self, target: TargetIx, is_launched: bool) -> Vec<&'a Datacenter> {
        let Some(spec) = self.view.target(target).state.spec() else {
            return Vec::new();
        };
        let taken = self.demand[target.at()] as usize;
        let mut orders = self.view.orders_of(target).filter(|order| order.pending);
        match orders.nth(taken) {
            Some(order) if !is_launched => vec![&order.fact.datacenter],
            _ => spots::datacenters(self.view, spec),
        }
    }

    /// Where what a target launches is to be made if that can be, one after the other.
    pub(crate) fn wishes(&self, target: TargetIx) -> &[&'a Datacenter] {
        &self.wishes[target.at()]
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

fn lacks(view: &View, draft: &Draft) -> Vec<BTreeSet<Runtime>> {
    let mut lacks = vec![BTreeSet::new(); view.targets.len()];
    for agent in view.all_agents() {
        let facts = view.agent(agent);
        let Some(spec) = view.target(facts.target).state.spec() else {
            continue;
        };
        let can = &facts.fact.runtimes;
        if !spec.runtimes.is_subset(can) && supply::is_free(view, draft, agent) {
            lacks[facts.target.at()].extend(spec.runtimes.difference(can).copied());
        }
    }
    lacks
}

fn provides(view: &View, spec: &Deployment, target: TargetIx) -> bool {
    spec.placement.agent.is_none() && view.admits(spec, target)
}
