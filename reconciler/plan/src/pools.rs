//! How replicas without an agent are divided among targets, and how many agents each target wants. Decides
//! numbers only; the rule that provides acts on them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use easyenclave_schemas::Datacenter;
use easyenclave_schemas::documents::Runtime;

use crate::Target;
use crate::draft::{Draft, Unplaced};
use crate::reserve::Reserved;
use crate::slots::{self, Next};
use crate::spots;
use crate::spread::Spreads;
use crate::supply::{self, Supply};
use crate::view::{DeploymentView, OwnerIx, TargetIx, View};

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
    /// By target, how many free agents cannot run what its document says of them: another one would be no better.
    lacks: Vec<BTreeMap<Runtime, u32>>,
    /// By target, which of its next launches it would make now. Empty where nothing is to be spread.
    launching: Vec<Vec<bool>>,
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
            launching: Vec::new(),
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
        if unplaced.iter().any(|u| self.spreads.has(u.deployment)) {
            let targets = self.view.all_targets();
            self.launching = targets.map(|target| self.launching(target)).collect();
        }
        let shares: Vec<Shares> = unplaced.into_iter().map(|u| self.share(draft, u)).collect();
        for share in &shares {
            self.keep_lacking(share);
        }
        shares
    }

    /// Free agents that cannot run what they were made for stay until it has others: were they to go, nobody would know any more
    /// that their target makes no better ones, and it would make another each time.
    fn keep_lacking(&mut self, shares: &Shares) {
        let Shares { unplaced, .. } = *shares;
        let owner = self.view.deployment(unplaced.deployment).owner;
        let targets: Vec<TargetIx> = self.admitted(&unplaced).collect();
        let given = |at: TargetIx| -> u32 {
            let shares = shares.shares.iter().filter(|share| share.target == at);
            shares.map(|share| share.count).sum()
        };
        let lacking = targets
            .into_iter()
            .filter_map(|at| Some((at, self.lacking(at, &unplaced)?, given(at))));
        let lacking: Vec<_> = lacking.collect();
        let theirs: u32 = lacking.iter().map(|(.., given)| given).sum();
        let mut left = unplaced.count - shares.beyond_quota - theirs;
        for (target, free, given) in lacking {
            let most = free.saturating_sub(given).min(left);
            let kept = most.min(self.supplied(target, owner));
            self.demand[target.at()] += kept;
            left -= kept;
        }
    }

    /// Whether a target makes no more agents for replicas, because one that it made cannot run them and is free.
    pub(crate) fn is_lacking(&self, target: TargetIx, of: &Unplaced) -> bool {
        self.lacking(target, of).is_some()
    }

    fn lacking(&self, target: TargetIx, of: &Unplaced) -> Option<u32> {
        let runtime = self.view.deployment(of.deployment).runtime(of.version)?;
        self.lacks[target.at()].get(&runtime).copied()
    }

    /// First what is kept for their owner, then what is there or ordered already, then what may still be
    /// ordered: a share never moves, and no order is withdrawn, because an earlier target has room again. Where free agents
    /// cannot run it, they are the share: were they not, they would go, and others like them be made.
    fn share(&mut self, draft: &mut Draft, unplaced: Unplaced) -> Shares {
        let able = [Self::kept, Self::supplied, Self::open].map(|most| (false, most));
        let lacking = [Self::kept, Self::supplied].map(|most| (true, most));
        let owner = self.view.deployment(unplaced.deployment).owner;
        let allowed = unplaced
            .count
            .min(draft.quota_left(self.view, unplaced.deployment));
        let mut left = allowed;
        let mut shares = Vec::new();
        for ((lacks, most), stage) in able.into_iter().chain(lacking).zip(0..) {
            let room = |pools: &Self, target| match pools.is_lacking(target, &unplaced) == lacks {
                true => pools.open(target, owner).min(most(pools, target, owner)),
                false => 0,
            };
            let is_launched = stage == 2;
            while left > 0
                && let Some((target, place)) = self.next(&unplaced, room, is_launched)
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
    /// replicas are, with that place. Of targets that have to launch, those that can do so now come before all others.
    fn next(
        &self,
        unplaced: &Unplaced,
        room: impl Fn(&Self, TargetIx) -> u32,
        is_launched: bool,
    ) -> Option<(TargetIx, Option<&'a Datacenter>)> {
        let deployment = unplaced.deployment;
        let targets = self.admitted(unplaced);
        let mut targets = targets.filter(|target| room(self, *target) > 0);
        if !self.spreads.has(deployment) {
            return targets.next().map(|target| (target, None));
        }
        let places = targets.flat_map(|target| {
            let places = self.places(target, is_launched).into_iter();
            places.map(move |place| (target, Some(place)))
        });
        places.min_by_key(|(target, place)| {
            let is_able = is_launched && self.can_launch(*target);
            let count = place.map(|place| self.spreads.count(deployment, place));
            (Reverse(is_able), count)
        })
    }

    /// Whether a target would make its next launch now.
    fn can_launch(&self, target: TargetIx) -> bool {
        let Some(spec) = self.view.target(target).state.spec() else {
            return false;
        };
        let all = self.supply(target).all();
        let next = self.wanted(target, spec).saturating_sub(all) as usize;
        let launching = self.launching.get(target.at());
        launching.is_some_and(|launching| launching.get(next) == Some(&true))
    }

    fn launching(&self, target: TargetIx) -> Vec<bool> {
        let Some(spec) = self.view.target(target).state.spec() else {
            return Vec::new();
        };
        if spots::unheard(self.view, spec).is_some() {
            return Vec::new();
        }
        let supply = self.supply(target);
        let room = spec.max.saturating_sub(supply.all() + supply.useless);
        let next = slots::next(self.view, target, room, &[]).into_iter();
        next.map(|next| matches!(next, Next::Launch(_))).collect()
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

    /// The targets that may provide for replicas, by name: first those that can also be brought to the aim later. A deployment
    /// that names its agent wants no other.
    pub(crate) fn admitted(&self, of: &Unplaced) -> impl Iterator<Item = TargetIx> + use<'v, 'a> {
        let (
            view,
            Unplaced {
                deployment,
                version,
                ..
            },
        ) = (self.view, *of);
        let DeploymentView { state, aim, .. } = *view.deployment(deployment);
        let spec = state.spec();
        let is_open = spec.is_some_and(|spec| spec.placement.agent.is_none());
        let admits =
            move |target: &TargetIx| is_open && view.admits_version(deployment, version, *target);
        let follows = move |target: &TargetIx| {
            aim.is_some_and(|aim| view.admits_version(deployment, aim, *target))
        };
        let both = view
            .all_targets()
            .filter(move |it| admits(it) && follows(it));
        both.chain(
            view.all_targets()
                .filter(move |it| admits(it) && !follows(it)),
        )
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

fn lacks(view: &View, draft: &Draft) -> Vec<BTreeMap<Runtime, u32>> {
    let mut lacks = vec![BTreeMap::new(); view.targets.len()];
    for agent in view.all_agents() {
        let facts = view.agent(agent);
        let Some(spec) = view.target(facts.target).state.spec() else {
            continue;
        };
        let can = &facts.fact.runtimes;
        if !spec.runtimes.is_subset(can) && supply::is_free(view, draft, agent) {
            for lacking in spec.runtimes.difference(can) {
                *lacks[facts.target.at()].entry(*lacking).or_default() += 1;
            }
        }
    }
    lacks
}
