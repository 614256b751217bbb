//! Orders the agents that are missing, withdraws orders that are not needed, and lets targets shrink. Whatever may
//! have a machine behind it counts against a target's maximum.

use std::cmp::Reverse;

use easyenclave_schemas::{FailureCause, Timestamp};

use crate::draft::Draft;
use crate::explain::{self, Provided};
use crate::pools::Pools;
use crate::shrink::Shrink;
use crate::slots::{self, Next};
use crate::spots;
use crate::stages;
use crate::supply;
use crate::view::{OrderView, TargetIx, View, Wanted};
use crate::{Action, CancelReason, OrderState, Subject, Target, WaitReason};

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    let mut pools = Pools::new(view, draft);
    for target in view.all_targets() {
        read_orders(view, draft, &mut pools, target);
    }
    for (order, _) in supply::unaccounted(view) {
        let subject = Subject::Order(order.clone());
        draft.wait(subject, WaitReason::MachineUnaccounted, None);
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
                draft.wait(subject, view.why_target_frozen(target), None);
            }
            // It counts as it did until it is recorded as failed, and is replaced after a rest.
            Wanted::Yes(spec) => {
                pools.ordered(target);
                if let Some(reason) = over(view, spec, order) {
                    cancel(draft, order, reason);
                }
            }
        }
    }
}

/// Why an order does not stay, whether it is needed or not: it took too long, or nobody has claimed it where it is.
fn over(view: &View, spec: &Target, order: &OrderView) -> Option<CancelReason> {
    let fact = order.fact;
    let is_place = || spec.is_at(&fact.provider, &fact.datacenter);
    if fact.state == OrderState::Open && !is_place() {
        return Some(CancelReason::PlaceRemoved);
    }
    let expired = stages::expired(&view.desired.limits, fact, view.now);
    let passed_over =
        || spots::is_passed_over(view, spec, fact).then_some(FailureCause::NotClaimed);
    expired.or_else(passed_over).map(CancelReason::Expired)
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
            ..Provided::default()
        };
        self.launch(draft, &mut provided);
        let sure = supply.sure();
        self.withdraw(draft, (sure + supply.pending).saturating_sub(self.wanted));
        let shrink = Shrink {
            view: self.view,
            target: self.target,
            spec: self.spec,
            supply,
        };
        shrink.run(draft, sure.saturating_sub(self.wanted));
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
        let known = supply.all() - supply.returning;
        let returning = self.wanted.saturating_sub(known).min(supply.returning);
        if returning > 0 {
            provided.returning = true;
            let missing = returning;
            self.wait(draft, WaitReason::AgentsMayReturn { missing }, None);
        }
        if missing.min(room) > 0
            && let Some(unheard) = spots::unheard(self.view, self.spec)
        {
            provided.unheard = true;
            return self.wait(draft, unheard, None);
        }
        let wishes = self.pools.wishes(self.target);
        for next in slots::next(self.view, self.target, missing.min(room), wishes) {
            match next {
                Next::Launch(action) => {
                    provided.ordered += 1;
                    draft.act(action);
                }
                Next::Rest(rest) => {
                    provided.rest = provided.rest.max(Some(rest));
                    self.wait(draft, explain::resting(rest), Some(rest.until));
                }
                Next::Short(short) => {
                    provided.short = Some(short);
                    self.wait(draft, explain::short(short), Some(short.until));
                }
                Next::Probe { cause, slots } => {
                    provided.probe = Some((cause, slots));
                    let probing = WaitReason::LaunchesProbing { cause, slots };
                    self.wait(draft, probing, None);
                }
            }
        }
    }

    /// Withdraws orders that are not needed: those that nobody has claimed first, and none whose machine is
    /// being made already.
    fn withdraw(&self, draft: &mut Draft, excess: u32) {
        let pending = |o: &&OrderView| o.pending && over(self.view, self.spec, o).is_none();
        let mut orders: Vec<_> = self.view.orders_of(self.target).filter(pending).collect();
        orders.sort_unstable_by_key(|o| (claims(o.fact.state), Reverse(o.fact.slot)));
        for (order, at) in orders.into_iter().zip(0..) {
            if at < excess && order.fact.state != OrderState::Provisioning {
                cancel(draft, order, CancelReason::Surplus);
            } else {
                self.await_order(draft, order);
            }
        }
    }

    fn await_order(&self, draft: &mut Draft, order: &OrderView) {
        let limits = &self.view.desired.limits;
        let claim_by = stages::claim_by(limits, order.fact);
        let (reason, until) = match stages::deadline(limits, order.fact) {
            Some((at, _)) => (WaitReason::OrderPending, Some(at)),
            None if self.view.now < claim_by => (WaitReason::OrderPending, Some(claim_by)),
            None => {
                let unclaimed = WaitReason::OrderUnclaimed {
                    provider: order.fact.provider.clone(),
                    datacenter: order.fact.datacenter.clone(),
                };
                (unclaimed, None)
            }
        };
        draft.wait(Subject::Order(order.id.clone()), reason, until);
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

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn minimum_warm_and_reserved_agents_are_ordered() {
        check(
            "target tiny 2 9",
            "",
            expect![[r#"
            launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in local by process under sim
            launch tiny-55bb1394b081 for tiny slot 0 generation 1 failures 0 size tiny in local by process under sim"#]],
        );
        check(
            "target tiny 0 9 warm 1\nreserve acme/r tiny 1",
            "agent a tiny #0 idle",
            expect![
                "launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in local by process under sim"
            ],
        );
    }

    #[test]
    fn where_there_is_a_choice_a_launch_names_the_preferred_spot() {
        check(
            "target tiny 1 9 at us-a c3-4 at us-b c3-4",
            "",
            expect![
                "launch tiny-55bb1394b081 for tiny slot 0 generation 1 failures 0 size tiny in local zone us-a by process shape c3-4 under sim"
            ],
        );
    }

    #[test]
    fn everything_that_may_be_a_machine_counts_against_the_maximum() {
        let world = "agent a tiny #0 refused out-refused\nagent b tiny #1 gone\nretiring b\n\
                     order tiny #2 g1 open\norphan x 5 of tiny";
        check(
            "target tiny 5 5",
            world,
            expect![[r#"
                launch tiny-9e21383a4f14 for tiny slot 3 generation 1 failures 0 size tiny in local by process under sim
                wait: target tiny: agents missing: 3; the maximum is reached
                wait: agent a: in quarantine: its evidence is refused
                wait: agent a: goes when those before it have gone
                wait: agent b: the machine is being destroyed
                wait: order tiny-32913ac7cea7: its agent has not registered yet (until 2026-01-01T00:01:00Z)
                wait: order x: belongs to nothing; its owner may turn up (until 2026-01-01T00:00:25Z)"#]],
        );
    }

    #[test]
    fn a_launch_that_is_over_counts_until_its_machine_is_surely_gone() {
        check(
            "target tiny 3 3",
            "order tiny #0 g1 failed 500 of NotBooted unaccounted\norder tiny #1 g1 cancelled unaccounted",
            expect![[r#"
                launch tiny-4dfee8e46e1e for tiny slot 0 generation 2 failures 1 size tiny in local by process under sim
                wait: target tiny: agents missing: 2; the maximum is reached
                wait: order tiny-0889ddbd6832: over, and its worker has not said that its machine is gone
                wait: order tiny-55bb1394b081: over, and its worker has not said that its machine is gone"#]],
        );
        check(
            "target tiny 1 3",
            "order tiny #0 g1 failed 500 of NotBooted unaccounted",
            expect![[r#"
                launch tiny-4dfee8e46e1e for tiny slot 0 generation 2 failures 1 size tiny in local by process under sim
                wait: order tiny-55bb1394b081: over, and its worker has not said that its machine is gone"#]],
        );
        check(
            "",
            "order tiny #0 g1 cancelled unaccounted",
            expect![
                "wait: order tiny-55bb1394b081: over, and its worker has not said that its machine is gone"
            ],
        );
    }

    #[test]
    fn an_order_that_failed_rests_and_counts_its_failures() {
        let state = "target tiny 1 3";
        check(
            state,
            "order tiny #0 g3 failed 0 failures 2",
            expect!["wait: target tiny: launches failed in a row: 3 (until 2026-01-01T00:00:08Z)"],
        );
        check(
            state,
            "order tiny #0 g3 failed 10 failures 2",
            expect![
                "launch tiny-9b348722ea32 for tiny slot 0 generation 4 failures 3 size tiny in local by process under sim"
            ],
        );
        check(
            state,
            "order tiny #0 g3 failed 719 failures 60",
            expect![
                "launch tiny-9b348722ea32 for tiny slot 0 generation 4 failures 61 size tiny in local by process under sim"
            ],
        );
        check(
            state,
            "order tiny #0 g3 cancelled failures 2",
            expect![
                "launch tiny-9b348722ea32 for tiny slot 0 generation 4 failures 0 size tiny in local by process under sim"
            ],
        );
    }

    #[test]
    fn an_order_id_that_something_still_has_is_passed_over() {
        let taken = format!("orphan {} 5 of tiny", crate::testing::unit("tiny", 0, 1));
        check(
            "target tiny 1 3",
            &taken,
            expect![[r#"
            launch tiny-4dfee8e46e1e for tiny slot 0 generation 2 failures 0 size tiny in local by process under sim
            wait: order tiny-55bb1394b081: belongs to nothing; its owner may turn up (until 2026-01-01T00:00:25Z)"#]],
        );
    }

    #[test]
    fn orders_nobody_claimed_are_withdrawn_first_and_machines_in_the_making_never() {
        let world =
            "order tiny #0 g1 claimed\norder tiny #1 g1 open\norder tiny #2 g1 provisioning";
        check(
            "target tiny 2 3",
            world,
            expect![[r#"
            cancel tiny-0889ddbd6832: not needed
            wait: order tiny-32913ac7cea7: its agent has not registered yet (until 2026-01-01T00:10:00Z)
            wait: order tiny-55bb1394b081: its agent has not registered yet (until 2026-01-01T00:10:00Z)"#]],
        );
        check(
            "target tiny 0 3",
            world,
            expect![[r#"
            cancel tiny-0889ddbd6832: not needed
            cancel tiny-55bb1394b081: not needed
            wait: order tiny-32913ac7cea7: its agent has not registered yet (until 2026-01-01T00:10:00Z)"#]],
        );
    }

    #[test]
    fn nothing_is_launched_where_no_worker_has_listed_its_machines() {
        let state = "target tiny 0 2\ntarget far 1 1 in far\ndeploy acme/a x1 v1 on tiny";
        check(
            state,
            "unheard process local\nunheard process far\nagent a far #0 idle in far",
            expect![[r#"
                wait: deployment acme/a: no worker of process in local has listed its machines since the start; one is started by `easyenclave worker --provider process --datacenter local`, with `--machines` where its document is of another kind than `process`
                wait: target tiny: no worker of process in local has listed its machines since the start; one is started by `easyenclave worker --provider process --datacenter local`, with `--machines` where its document is of another kind than `process`"#]],
        );
    }

    #[test]
    fn machines_whose_agents_may_come_back_are_neither_replaced_nor_doubled() {
        let state = "target tiny 0 4 warm 1\ndeploy acme/a x2 v1";
        let back = "agent a tiny #0 idle";
        check(
            state,
            &format!("{back}\norphan tiny-b 10 of tiny slot #1\norphan tiny-c 10 of tiny slot #2"),
            expect![[r#"
                wait: deployment acme/a: agents missing: 2; machines are there whose agents may register again
                wait: target tiny: agents missing: 2; machines are there whose agents may register again
                wait: order tiny-b: belongs to nothing; its owner may turn up (until 2026-01-01T00:00:20Z)
                wait: order tiny-c: belongs to nothing; its owner may turn up (until 2026-01-01T00:00:20Z)"#]],
        );
        check(
            state,
            &format!("{back}\norphan tiny-b 30 of tiny slot #1"),
            expect![[r#"
                retire tiny-b in local: it belongs to nothing
                assign acme/a to a generation 2 workload v1
                launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in local by process under sim
                launch tiny-32913ac7cea7 for tiny slot 2 generation 1 failures 0 size tiny in local by process under sim
                wait: deployment acme/a: agents missing: 1; ordered"#]],
        );
    }

    #[test]
    fn agents_in_use_above_a_lowered_maximum_stay() {
        let world = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1";
        check(
            "target tiny 0 1\ndeploy acme/a x2 v1",
            world,
            expect!["wait: target tiny: agents above the maximum: 1, all in use"],
        );
    }

    #[test]
    fn an_order_fails_of_the_stage_that_it_does_not_reach_in_time() {
        let passed = |order: &str, expected| check("target tiny 1 1", order, expected);
        passed(
            "order tiny #0 g1 claimed opened 400 times 300",
            expect!["cancel tiny-55bb1394b081: no machine came about"],
        );
        passed(
            "order tiny #0 g1 provisioning opened 900 times 310 300",
            expect!["cancel tiny-55bb1394b081: nothing was heard from inside the machine in time"],
        );
        passed(
            "order tiny #0 g1 provisioning opened 900 times 700 600 600",
            expect!["cancel tiny-55bb1394b081: its agent has not registered in time"],
        );
        passed(
            "order tiny #0 g1 provisioning opened 900 times 700 600 500",
            expect![
                "wait: order tiny-55bb1394b081: its agent has not registered yet (until 2026-01-01T00:01:40Z)"
            ],
        );
        passed(
            "order tiny #0 g1 provisioning opened 600",
            expect!["cancel tiny-55bb1394b081: its agent has not registered in time"],
        );
    }

    #[test]
    fn an_order_that_nobody_claims_stays_open_and_says_so() {
        check(
            "target tiny 1 1",
            "order tiny #0 g1 open opened 59",
            expect![
                "wait: order tiny-55bb1394b081: its agent has not registered yet (until 2026-01-01T00:00:01Z)"
            ],
        );
        check(
            "target tiny 1 1",
            "order tiny #0 g1 open opened 86400",
            expect!["wait: order tiny-55bb1394b081: no worker of process in local has claimed it"],
        );
    }

    #[test]
    fn a_frozen_target_keeps_its_orders() {
        check(
            "freeze-target tiny",
            "order tiny #0 g1 open opened 900\nagent a tiny #1 idle",
            expect![[r#"
                wait: target tiny: kept as it is: its.yaml cannot be used
                wait: order tiny-55bb1394b081: kept as it is: its.yaml cannot be used"#]],
        );
    }
}
