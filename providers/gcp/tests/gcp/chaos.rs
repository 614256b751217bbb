//! Any order of calls, restarts and faults: there is never a second machine of an order, a listing that is answered has all
//! that is there, what is not ours stays, and in the end nothing of ours is left.

use std::collections::BTreeSet;
use std::time::Duration;

use easyenclave_capacity::{LaunchRequest, Provider};
use easyenclave_gcp::fake::{Fault, Partial, Verb};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::oracle::contract;
use crate::stand::{SOON, Side, ZONES, cases, open_at, order, owner, wanted};

/// Three orders, two of them in one zone.
const ORDERS: [(&str, &str); 3] = [("a", ZONES[0]), ("b", ZONES[1]), ("c", ZONES[0])];

#[derive(Debug, Clone)]
enum Step {
    /// An order is launched, under this claim.
    Ensure(usize, u64),
    /// The same, and let go when the cloud has heard so many requests.
    Drop(usize, u64, usize),
    Remove(usize),
    RemoveOlder(usize, u64),
    List,
    /// The worker's process ends, and another starts.
    Restart,
    /// The machine of an order is taken away.
    TakeAway(usize),
    Meet(Fault),
    Partial(Option<Partial>),
    /// Listings lack the machine of an order.
    Hide(Option<usize>),
}

fn verb() -> impl Strategy<Value = Verb> {
    let verbs = [
        Verb::Insert,
        Verb::Delete,
        Verb::Get,
        Verb::List,
        Verb::Operation,
    ];
    proptest::sample::select(verbs.to_vec())
}

fn fault() -> impl Strategy<Value = Fault> {
    let refused = [
        (403, "quotaExceeded", "too many"),
        (429, "rateLimitExceeded", "too fast"),
        (503, "backendError", "not now"),
        (400, "invalid", "what?"),
    ];
    let refused = proptest::sample::select(refused.to_vec());
    let codes = [
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "QUOTA_EXCEEDED",
        "INTERNAL_ERROR",
    ];
    let changes = proptest::sample::select(&[Verb::Insert, Verb::Delete]);
    prop_oneof![
        verb().prop_map(Fault::LostAnswer),
        (verb(), refused).prop_map(|(verb, (status, reason, words))| {
            Fault::Refused(verb, status, reason, words)
        }),
        (changes.clone(), proptest::sample::select(codes.to_vec()))
            .prop_map(|(verb, code)| Fault::Fails(verb, code, "no")),
        changes.prop_map(Fault::NeverOver),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let partial = [Partial::Unreachable, Partial::Warning, Partial::InZone];
    let partial = proptest::option::of(proptest::sample::select(partial.to_vec()));
    prop_oneof![
        6 => (0..3_usize, 1..4_u64).prop_map(|(order, fence)| Step::Ensure(order, fence)),
        3 => (0..3_usize, 1..4_u64, 0..9_usize).prop_map(|(order, fence, heard)| Step::Drop(order, fence, heard)),
        3 => (0..3_usize).prop_map(Step::Remove),
        2 => (0..3_usize, 1..4_u64).prop_map(|(order, fence)| Step::RemoveOlder(order, fence)),
        3 => Just(Step::List),
        1 => Just(Step::Restart),
        2 => (0..3_usize).prop_map(Step::TakeAway),
        5 => fault().prop_map(Step::Meet),
        1 => partial.prop_map(Step::Partial),
        1 => proptest::option::of(0..3_usize).prop_map(Step::Hide),
    ]
}

/// A request for one of the orders.
fn asked(index: usize, fence: u64) -> LaunchRequest {
    let (name, zone) = ORDERS[index];
    let request = wanted(name, |machine| machine.zone = zone.parse().expect("a name"));
    LaunchRequest { fence, ..request }
}

fn named(index: usize) -> String {
    owner().machine(&order(ORDERS[index].0))
}

/// What is there of an order: its machines' claims, and whether they live.
fn of(side: &Side, index: usize) -> Vec<(String, bool)> {
    let name = named(index);
    let machines = side.fake.machines().into_iter();
    let mine = machines.filter(|machine| machine["name"] == *name);
    mine.map(|machine| {
        let fence = machine["labels"]["easyenclave-fence"]
            .as_str()
            .expect("a number");
        let ended = ["STOPPING", "TERMINATED"].map(Value::from);
        (fence.to_owned(), !ended.contains(&machine["status"]))
    })
    .collect()
}

/// The names of those orders that have a machine.
fn there(side: &Side) -> BTreeSet<String> {
    let is_there = |index: &usize| !of(side, *index).is_empty();
    let there = (0..ORDERS.len()).filter(is_there);
    there.map(|index| ORDERS[index].0.to_owned()).collect()
}

async fn take(side: &mut Side, step: &Step) {
    match step {
        Step::Ensure(index, fence) => {
            if side.provider.ensure(&asked(*index, *fence)).await.is_ok() {
                assert_eq!(of(side, *index), [(fence.to_string(), true)]);
            }
        }
        Step::Drop(index, fence, heard) => {
            let request = asked(*index, *fence);
            let until = side.fake.said().len() + heard;
            let so_long = async {
                while side.fake.said().len() < until {
                    sleep(Duration::from_micros(200)).await;
                }
            };
            tokio::select! {
                _ = side.provider.ensure(&request) => {}
                () = so_long => {}
            }
        }
        Step::Remove(index) => {
            if side.provider.remove(&order(ORDERS[*index].0)).await.is_ok() {
                assert_eq!(of(side, *index), []);
            }
        }
        Step::RemoveOlder(index, fence) => {
            let before = of(side, *index);
            let settled = side.fake.under_way(&named(*index)) == 0;
            let unit = order(ORDERS[*index].0);
            let removed = side.provider.remove_older(&unit, *fence).await.is_ok();
            let is_older =
                |made: &(String, bool)| made.0.parse::<u64>().expect("a number") < *fence;
            if settled && before.iter().any(|made| !is_older(made)) {
                assert_eq!(
                    of(side, *index).len(),
                    before.len(),
                    "it is of no older claim"
                );
            } else if removed && before.iter().all(is_older) {
                assert_eq!(of(side, *index), []);
            }
        }
        Step::List => {
            let before = there(side);
            if let Ok(units) = side.listed().await {
                let listed: BTreeSet<String> = units.into_iter().map(|unit| unit.0).collect();
                let after = there(side);
                assert!(
                    before
                        .intersection(&after)
                        .all(|name| listed.contains(name))
                );
                assert!(
                    listed
                        .iter()
                        .all(|name| before.contains(name) || after.contains(name))
                );
            }
        }
        Step::Restart => {
            // Who has seen nothing yet has to believe a listing that says nothing of what it lacks.
            side.fake.hide(&[]);
            side.provider = open_at(&side.fake, SOON).await;
        }
        Step::TakeAway(index) => side.fake.set_status(&named(*index), "TERMINATED"),
        Step::Meet(fault) => side.fake.meet(fault.clone()),
        Step::Partial(partial) => side.fake.set_partial(*partial),
        Step::Hide(index) => match index {
            Some(index) => side.fake.hide(&[&named(*index)]),
            None => side.fake.hide(&[]),
        },
    }
}

async fn goes_well(steps: &[Step]) {
    let mut side = Side::new().await;
    side.provider = open_at(&side.fake, SOON).await;
    // A copy of a machine of ours that somebody has made.
    let labels = owner()
        .labels(&order("a"), 1)
        .map(|(key, value)| (key.to_owned(), json!(value)));
    let labels: serde_json::Map<_, _> = labels.into_iter().collect();
    side.fake
        .put(ZONES[0], json!({"name": "copy", "labels": labels}));
    for step in steps {
        take(&mut side, step).await;
        assert!((0..ORDERS.len()).all(|index| of(&side, index).len() <= 1));
        assert!(side.names().contains(&"copy".to_owned()), "somebody else's");
    }
    side.fake.heal();
    for (name, _) in ORDERS {
        // On a busy machine an operation may not be over soon.
        let mut tries = 0..100;
        while side.provider.remove(&order(name)).await.is_err() {
            tries.next().expect("nothing is in the way");
        }
    }
    assert_eq!(side.names(), ["copy"]);
    if let Some(contract) = contract() {
        for said in side.fake.said() {
            assert_eq!(contract.judge(&said), Vec::<String>::new());
        }
    }
}

#[test]
fn whatever_happens_there_is_one_machine_of_an_order_and_none_in_the_end() {
    let runtime = Runtime::new().expect("a runtime");
    let steps = proptest::collection::vec(step(), 4..24);
    let ran = TestRunner::new(cases(24)).run(&steps, |steps| {
        runtime.block_on(goes_well(&steps));
        Ok(())
    });
    ran.expect("holds");
}
