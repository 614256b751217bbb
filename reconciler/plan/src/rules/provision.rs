//! Orders the agents that are missing, withdraws orders and retires agents that are not needed. Whatever may have
//! a machine behind it counts against a target's maximum.

use std::cmp::Reverse;

use easyenclave_schemas::Timestamp;

use crate::draft::{Draft, Fate};
use crate::explain::{self, Provided};
use crate::pools::Pools;
use crate::rules::place::is_free;
use crate::slots::{self, Next};
use crate::view::{AgentIx, Instruction, OrderView, Standing, TargetIx, View, Wanted};
use crate::{
    Action, CancelReason, OrderState, Quarantine, RetireReason, Subject, Target, WaitReason,
};

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    let mut pools = Pools::new(view, draft);
    for target in view.all_targets() {
        read_orders(view, draft, &mut pools, target);
    }
    let shares = pools.divide(draft);
    let mut provided = Vec::with_capacity(view.targets.len());
    for target in view.all_targets() {
        provided.push(match view.target(target).state {
            Wanted::Yes(spec) => Pool {
                view,
                target,
                spec,
                wanted: pools.wanted(target, spec),
                pools: &pools,
            }
            .provision(draft),
            Wanted::No | Wanted::Frozen => Provided::default(),
        });
    }
    explain::deployments(view, draft, &pools, &provided, &shares);
    explain::reservations(view, draft, &pools, &provided);
}

/// Counts a target's orders and withdraws those that took too long or are wanted by nobody.
fn read_orders(view: &View, draft: &mut Draft, pools: &mut Pools, target: TargetIx) {
    let state = view.target(target).state;
    for order in view.orders_of(target).filter(|order| order.pending) {
        match state {
            Wanted::No => cancel(draft, order, CancelReason::TargetRemoved),
            Wanted::Frozen => {
                let subject = Subject::Order(order.id.clone());
                draft.wait(subject, WaitReason::Frozen, None);
            }
            // It counts as it did until it is recorded as failed, and is replaced after a rest.
            Wanted::Yes(_) if deadline(view, order) <= view.now => {
                pools.ordered(target);
                cancel(draft, order, CancelReason::Expired);
            }
            Wanted::Yes(_) => pools.ordered(target),
        }
    }
}

fn deadline(view: &View, order: &OrderView) -> Timestamp {
    order.fact.opened.plus(view.desired.limits.register_within)
}

fn cancel(draft: &mut Draft, order: &OrderView, reason: CancelReason) {
    draft.act(Action::Cancel {
        order: order.id.clone(),
        reason,
    });
}

/// One wanted target.
struct Pool<'v, 'a> {
    view: &'v View<'a>,
    pools: &'v Pools<'v, 'a>,
    target: TargetIx,
    spec: &'a Target,
    wanted: u32,
}

impl Pool<'_, '_> {
    fn provision(&self, draft: &mut Draft) -> Provided {
        let supply = self.pools.supply(self.target);
        let mut provided = Provided {
            ordered: supply.pending,
            rest: None,
        };
        self.launch(draft, &mut provided);
        let sure = supply.sure();
        self.withdraw(draft, (sure + supply.pending).saturating_sub(self.wanted));
        self.shrink(draft, sure.saturating_sub(self.wanted));
        if supply.used > self.spec.max {
            let by = supply.used - self.spec.max;
            self.wait(draft, WaitReason::AboveMaximum { by }, None);
        }
        provided
    }

    fn wait(&self, draft: &mut Draft, reason: WaitReason, until: Option<Timestamp>) {
        let name = self.view.target(self.target).name.clone();
        draft.wait(Subject::Target(name), reason, until);
    }

    fn launch(&self, draft: &mut Draft, provided: &mut Provided) {
        let supply = self.pools.supply(self.target);
        let missing = self.wanted.saturating_sub(supply.all());
        let room = self.spec.max.saturating_sub(supply.all() + supply.useless);
        if missing > room {
            let missing = missing - room;
            self.wait(draft, WaitReason::CapacityExhausted { missing }, None);
        }
        for next in slots::next(self.view, self.target, missing.min(room)) {
            match next {
                Next::Launch(action) => {
                    provided.ordered += 1;
                    draft.act(action);
                }
                Next::Rest(failures, until) => {
                    provided.rest = provided.rest.max(Some((failures, until)));
                    self.wait(draft, WaitReason::LaunchBackoff { failures }, Some(until));
                }
            }
        }
    }

    /// Withdraws orders that are not needed: those that nobody has claimed first, and none whose machine is
    /// being made already.
    fn withdraw(&self, draft: &mut Draft, excess: u32) {
        let pending = |o: &&OrderView| o.pending && deadline(self.view, o) > self.view.now;
        let mut orders: Vec<_> = self.view.orders_of(self.target).filter(pending).collect();
        orders.sort_unstable_by_key(|o| (claims(o.fact.state), Reverse(o.fact.slot)));
        for (order, at) in orders.into_iter().zip(0..) {
            if at < excess && order.fact.state != OrderState::Provisioning {
                cancel(draft, order, CancelReason::Surplus);
            } else {
                let until = Some(deadline(self.view, order));
                let subject = Subject::Order(order.id.clone());
                draft.wait(subject, WaitReason::OrderPending, until);
            }
        }
    }

    /// Retires agents that are not needed, few at a time: what is refused, then what has drifted, then the
    /// highest slots of what is too many.
    fn shrink(&self, draft: &mut Draft, excess: u32) {
        let most = self.view.desired.limits.breaker.max_removals.max(1);
        let mut budget = most.saturating_sub(self.pools.supply(self.target).retiring);
        let mut going = self.useless(draft);
        going.extend(self.surplus(draft, excess));
        for (agent, reason) in going {
            if budget > 0 {
                budget -= 1;
                draft.retire(self.view, agent, reason);
            } else {
                draft.wait_agent(self.view, agent, WaitReason::RetirePaced, None);
            }
        }
    }

    fn useless(&self, draft: &Draft) -> Vec<(AgentIx, RetireReason)> {
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
        let agents = self.view.agents_of(self.target);
        agents.filter(idle).filter_map(reason).collect()
    }

    fn surplus(&self, draft: &Draft, excess: u32) -> Vec<(AgentIx, RetireReason)> {
        if excess == 0 {
            return Vec::new();
        }
        let free = |a: &AgentIx| is_free(self.view, draft, *a);
        let mut agents: Vec<AgentIx> = self.view.agents_of(self.target).filter(free).collect();
        agents.sort_unstable_by_key(|a| Reverse((self.view.agent(*a).fact.slot, *a)));
        agents.truncate(excess as usize);
        let surplus = agents.into_iter();
        surplus.map(|a| (a, RetireReason::Surplus)).collect()
    }
}

/// How much work is lost when an order is withdrawn.
fn claims(state: OrderState) -> u8 {
    match state {
        OrderState::Open => 0,
        OrderState::Claimed => 1,
        OrderState::Provisioning
        | OrderState::Fulfilled
        | OrderState::Failed(_)
        | OrderState::Cancelled => 2,
    }
}
