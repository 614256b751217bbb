//! Orders the agents that are missing, withdraws orders and retires agents that are not needed. Whatever may have
//! a machine behind it counts against a target's maximum.

use std::cmp::Reverse;

use easyenclave_schemas::Timestamp;

use crate::draft::{Draft, Fate, Unplaced};
use crate::reserve::{self, Reserved};
use crate::rules::place::is_free;
use crate::slots::{self, Next};
use crate::supply::{self, Supply};
use crate::view::{
    AgentIx, DeploymentIx, Instruction, OrderView, Standing, TargetIx, View, Wanted,
};
use crate::{
    Action, CancelReason, OrderState, Quarantine, RetireReason, Subject, Target, WaitReason,
};

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    let mut pools = Pools::new(view, draft);
    for target in view.all_targets() {
        pools.read_orders(draft, target);
    }
    let shares = pools.attribute(draft);
    for target in view.all_targets() {
        if let Some(spec) = view.target(target).state.spec() {
            pools.provision(draft, target, spec);
        }
    }
    for (unplaced, shares) in &shares {
        pools.explain(draft, unplaced, shares);
    }
    pools.explain_reservations(draft);
}

/// So many replicas of a deployment, for which a target provides.
struct Share {
    target: TargetIx,
    count: u32,
}

/// All targets, as they are after what was decided so far.
struct Pools<'v, 'a> {
    view: &'v View<'a>,
    supply: Vec<Supply>,
    reserved: Reserved,
    /// Replicas for which each target provides.
    demand: Vec<u32>,
    /// Orders that each target waits for, those of this pass included.
    ordered: Vec<u32>,
}

impl<'v, 'a> Pools<'v, 'a> {
    fn new(view: &'v View<'a>, draft: &Draft) -> Self {
        Self {
            view,
            supply: supply::agents(view, draft),
            reserved: Reserved::new(view, draft),
            demand: vec![0; view.targets.len()],
            ordered: vec![0; view.targets.len()],
        }
    }

    /// Counts a target's orders and withdraws those that took too long or are wanted by nobody.
    fn read_orders(&mut self, draft: &mut Draft, target: TargetIx) {
        let state = self.view.target(target).state;
        for order in self.view.orders_of(target).filter(|order| order.pending) {
            let deadline = order
                .fact
                .opened
                .plus(self.view.desired.limits.register_within);
            let supply = &mut self.supply[target.at()];
            match state {
                Wanted::No => cancel(draft, order, CancelReason::TargetRemoved),
                Wanted::Frozen => wait(draft, order, WaitReason::Frozen, None),
                // Its machine may be there all the same, so it counts for this pass.
                Wanted::Yes(_) if deadline <= self.view.now => {
                    supply.useless += 1;
                    cancel(draft, order, CancelReason::Expired);
                }
                Wanted::Yes(_) => supply.pending += 1,
            }
        }
    }

    /// Divides the replicas without an agent among targets: by name, as long as there is room.
    fn attribute(&mut self, draft: &mut Draft) -> Vec<(Unplaced, Vec<Share>)> {
        let unplaced = std::mem::take(&mut draft.unplaced);
        let shares = |pools: &mut Self, unplaced: Unplaced| {
            let shares = pools.shares(unplaced);
            (unplaced, shares)
        };
        unplaced.into_iter().map(|u| shares(self, u)).collect()
    }

    /// First what is there or ordered already, then what may still be ordered; otherwise an order would be
    /// withdrawn as soon as an earlier target has room again.
    fn shares(&mut self, unplaced: Unplaced) -> Vec<Share> {
        let mut left = unplaced.count;
        let mut shares = Vec::new();
        for room in [Self::supplied, Self::room] {
            for target in self.view.all_targets() {
                if left > 0 && self.admits(unplaced.deployment, target) {
                    let count =
                        self.provide(unplaced.deployment, target, left.min(room(self, target)));
                    left -= count;
                    shares.push(Share { target, count });
                }
            }
        }
        shares
    }

    fn admits(&self, deployment: DeploymentIx, target: TargetIx) -> bool {
        let spec = self.view.deployment(deployment).state.spec();
        spec.is_some_and(|spec| self.view.admits(spec, target))
    }

    /// Agents and orders of a target that nobody uses yet.
    fn supplied(&self, target: TargetIx) -> u32 {
        let supply = &self.supply[target.at()];
        let taken = supply.used + self.demand[target.at()];
        supply.all().saturating_sub(taken).min(self.room(target))
    }

    /// How many agents more a target may put to use.
    fn room(&self, target: TargetIx) -> u32 {
        let max = self
            .view
            .target(target)
            .state
            .spec()
            .map_or(0, |spec| spec.max);
        let supply = &self.supply[target.at()];
        max.saturating_sub(supply.used + supply.useless + self.demand[target.at()])
    }

    /// Sets up to `most` agents of a target aside for a deployment, less what is reserved for other owners.
    fn provide(&mut self, deployment: DeploymentIx, target: TargetIx, most: u32) -> u32 {
        let owner = self.view.deployment(deployment).owner;
        let open = self
            .room(target)
            .saturating_sub(self.reserved.others(target, owner));
        let count = most.min(open);
        for _ in 0..count {
            self.reserved.take(target, owner);
        }
        self.demand[target.at()] += count;
        count
    }

    fn wanted(&self, target: TargetIx, spec: &Target) -> u32 {
        let used = self.supply[target.at()].used + self.demand[target.at()];
        let wanted = used + self.reserved.total(target);
        wanted.saturating_add(spec.warm).max(spec.min).min(spec.max)
    }

    fn provision(&mut self, draft: &mut Draft, target: TargetIx, spec: &Target) {
        let supply = self.supply[target.at()];
        let wanted = self.wanted(target, spec);
        self.ordered[target.at()] = supply.pending;
        if wanted > supply.all() {
            self.launch(draft, target, spec, wanted - supply.all());
        }
        let excess = (supply.used + supply.free + supply.pending).saturating_sub(wanted);
        self.withdraw(draft, target, excess);
        self.shrink(draft, target, wanted);
        if supply.used > spec.max {
            let by = supply.used - spec.max;
            draft.wait_target(
                self.view.target(target).name,
                WaitReason::AboveMaximum { by },
                None,
            );
        }
    }

    fn launch(&mut self, draft: &mut Draft, target: TargetIx, spec: &Target, missing: u32) {
        let supply = &self.supply[target.at()];
        let room = spec.max.saturating_sub(supply.all() + supply.useless);
        let name = self.view.target(target).name;
        if missing > room {
            let missing = missing - room;
            draft.wait_target(name, WaitReason::CapacityExhausted { missing }, None);
        }
        for next in slots::next(self.view, target, missing.min(room)) {
            match next {
                Next::Launch(action) => {
                    self.ordered[target.at()] += 1;
                    draft.act(action);
                }
                Next::Rest(failures, until) => {
                    let last = draft.backoffs[target.at()].max(Some((failures, until)));
                    draft.backoffs[target.at()] = last;
                    draft.wait_target(name, WaitReason::LaunchBackoff { failures }, Some(until));
                }
            }
        }
    }

    /// Withdraws orders that are not needed: those that nobody has claimed first, and none whose machine is
    /// being made already.
    fn withdraw(&self, draft: &mut Draft, target: TargetIx, excess: u32) {
        let mut orders: Vec<_> = self
            .view
            .orders_of(target)
            .filter(|o| self.counts(o))
            .collect();
        orders.sort_unstable_by_key(|o| (o.fact.state != OrderState::Open, Reverse(o.fact.slot)));
        let may_go = |order: &OrderView| order.fact.state != OrderState::Provisioning;
        let gone = orders.iter().filter(|o| may_go(o)).take(excess as usize);
        let gone: Vec<&OrderView> = gone.copied().collect();
        for order in orders {
            if gone.iter().any(|other| other.id == order.id) {
                cancel(draft, order, CancelReason::Surplus);
            } else {
                let until = order
                    .fact
                    .opened
                    .plus(self.view.desired.limits.register_within);
                wait(draft, order, WaitReason::OrderPending, Some(until));
            }
        }
    }

    fn counts(&self, order: &OrderView) -> bool {
        let deadline = order
            .fact
            .opened
            .plus(self.view.desired.limits.register_within);
        order.pending && deadline > self.view.now
    }

    /// Retires agents that are not needed, few at a time: what is refused, then what has drifted, then the
    /// highest slots of what is too many.
    fn shrink(&self, draft: &mut Draft, target: TargetIx, wanted: u32) {
        let supply = &self.supply[target.at()];
        let most = self.view.desired.limits.breaker.max_removals.max(1);
        let mut budget = most.saturating_sub(supply.retiring);
        let mut going = self.useless(draft, target);
        let excess = (supply.used + supply.free).saturating_sub(wanted);
        going.extend(self.surplus(draft, target, excess));
        for (agent, reason) in going {
            if budget > 0 {
                budget -= 1;
                draft.retire(self.view, agent, reason);
            } else {
                draft.wait_agent(self.view, agent, WaitReason::RetirePaced, None);
            }
        }
    }

    fn useless(&self, draft: &Draft, target: TargetIx) -> Vec<(AgentIx, RetireReason)> {
        let idle = |a: &AgentIx| {
            let facts = self.view.agent(*a);
            let idle = facts.instruction == Instruction::Idle && facts.is_touchable();
            idle && draft.fate(*a) == Fate::Stays
        };
        let reason = |a: AgentIx| {
            let facts = self.view.agent(a);
            let refused = facts.standing == Standing::Quarantined(Quarantine::Refused);
            match refused && draft.is_out_of_service(self.view, a) {
                true => Some((a, RetireReason::Refused)),
                false => facts.drifted.then_some((a, RetireReason::Surplus)),
            }
        };
        self.view
            .agents_of(target)
            .filter(idle)
            .filter_map(reason)
            .collect()
    }

    fn surplus(
        &self,
        draft: &Draft,
        target: TargetIx,
        excess: u32,
    ) -> Vec<(AgentIx, RetireReason)> {
        if excess == 0 {
            return Vec::new();
        }
        let free = |a: &AgentIx| is_free(self.view, draft, *a);
        let mut agents: Vec<AgentIx> = self.view.agents_of(target).filter(free).collect();
        agents.sort_unstable_by_key(|a| Reverse((self.view.agent(*a).fact.slot, *a)));
        agents.truncate(excess as usize);
        agents
            .into_iter()
            .map(|a| (a, RetireReason::Surplus))
            .collect()
    }

    /// Says what the replicas without an agent wait for.
    fn explain(&self, draft: &mut Draft, unplaced: &Unplaced, shares: &[Share]) {
        if !unplaced.waits {
            return;
        }
        let mut missing = unplaced.count;
        for share in shares.iter().filter(|share| share.count > 0) {
            missing -= share.count;
            let (reason, until) = self.provided(draft, share.target, share.count);
            draft.wait_deployment(self.view, unplaced.deployment, reason, until);
        }
        if missing == 0 {
            return;
        }
        let admitted = |t| self.admits(unplaced.deployment, t);
        let reason = if !self.view.all_targets().any(admitted) {
            WaitReason::NoTarget
        } else if unplaced.reserved {
            WaitReason::ReservedForOthers { missing }
        } else {
            WaitReason::CapacityExhausted { missing }
        };
        draft.wait_deployment(self.view, unplaced.deployment, reason, None);
    }

    fn provided(
        &self,
        draft: &Draft,
        target: TargetIx,
        missing: u32,
    ) -> (WaitReason, Option<Timestamp>) {
        match draft.backoffs[target.at()] {
            Some((failures, until)) => (WaitReason::LaunchBackoff { failures }, Some(until)),
            None if self.ordered[target.at()] > 0 => {
                (WaitReason::CapacityOrdered { missing }, None)
            }
            None => (WaitReason::FreeAgentsUnusable { missing }, None),
        }
    }

    /// Says what reservations wait for that are not covered by free agents.
    fn explain_reservations(&self, draft: &mut Draft) {
        let view = self.view;
        if view.desired.reservations.is_empty() {
            return;
        }
        let mut left = Reserved::new(view, draft);
        let mut free = self.free(draft);
        for (id, reservation) in &view.desired.reservations {
            if !reserve::is_current(view, reservation) {
                continue;
            }
            let subject = Subject::Reservation(id.clone());
            let found = view
                .find_target(&reservation.target)
                .zip(view.owner(&id.owner));
            let Some((target, owner)) = found else {
                draft.wait(subject, WaitReason::NoTarget, None);
                continue;
            };
            let mine = reservation.count.min(left.own(target, owner));
            for _ in 0..mine {
                left.take(target, owner);
            }
            let covered = mine.min(free[target.at()]);
            free[target.at()] -= covered;
            if mine > covered {
                let (reason, until) = self.uncovered(draft, target, mine - covered);
                draft.wait(subject, reason, until);
            }
        }
    }

    fn free(&self, draft: &Draft) -> Vec<u32> {
        let mut free = vec![0; self.view.targets.len()];
        for agent in self.view.all_agents() {
            free[self.view.agent(agent).target.at()] += u32::from(is_free(self.view, draft, agent));
        }
        free
    }

    fn uncovered(
        &self,
        draft: &Draft,
        target: TargetIx,
        missing: u32,
    ) -> (WaitReason, Option<Timestamp>) {
        let supply = &self.supply[target.at()];
        match self.view.target(target).state {
            Wanted::No => (WaitReason::NoTarget, None),
            Wanted::Frozen => (WaitReason::Frozen, None),
            Wanted::Yes(_) if self.ordered[target.at()] + supply.unsure + supply.free == 0 => {
                (WaitReason::CapacityExhausted { missing }, None)
            }
            Wanted::Yes(_) => self.provided(draft, target, missing),
        }
    }
}

fn cancel(draft: &mut Draft, order: &OrderView, reason: CancelReason) {
    draft.act(Action::Cancel {
        order: order.id.clone(),
        reason,
    });
}

fn wait(draft: &mut Draft, order: &OrderView, reason: WaitReason, until: Option<Timestamp>) {
    draft.wait(Subject::Order(order.id.clone()), reason, until);
}
