//! Nothing of anybody else is ever touched, whatever labels it has.

use easyenclave_gcp::names::{DATACENTER, FENCE, FLEET, ORDER, Owner, PROVIDER};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::stand::{Side, ZONES, cases, order, owner};

/// A machine that may look much like ours.
#[derive(Debug, Clone)]
struct Neighbour {
    labels: Vec<(&'static str, String)>,
    own_name: bool,
}

fn neighbour() -> impl Strategy<Value = Neighbour> {
    let value = |ours: &'static str| prop_oneof![4 => Just(Some(ours.to_owned())), 1 => "[a-z]{1,4}".prop_map(Some), 1 => Just(None)];
    let labels = (
        value("demo"),
        value("cloud"),
        value("gcp-us"),
        value("a"),
        value("3"),
    );
    (labels, any::<bool>()).prop_map(|((fleet, provider, datacenter, order, fence), own_name)| {
        let labels = [
            (FLEET, fleet),
            (PROVIDER, provider),
            (DATACENTER, datacenter),
            (ORDER, order),
            (FENCE, fence),
        ];
        let labels = labels
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        Neighbour {
            labels: labels.collect(),
            own_name,
        }
    })
}

impl Neighbour {
    /// Its name: one of its own, or the one that its labels would give it.
    fn name(&self, index: usize) -> String {
        let label = |key: &str| {
            let found = self.labels.iter().find(|(label, _)| *label == key);
            found.map_or("none", |(_, value)| value.as_str())
        };
        let owner = Owner {
            fleet: label(FLEET).parse().expect("a name"),
            provider: label(PROVIDER).parse().expect("a name"),
            datacenter: label(DATACENTER).parse().expect("a name"),
        };
        match self.own_name {
            true => format!("neighbour-{index}"),
            false => owner.machine(&order(label(ORDER))),
        }
    }

    /// Whether it is the machine of an order of ours.
    fn is_ours(&self) -> bool {
        let ours = owner().labels(&order("a"), 3);
        let has = |(key, value): &(&'static str, String)| match *key {
            ORDER => self.labels.iter().any(|(label, _)| *label == ORDER),
            // Its claim does not make it ours or another's.
            FENCE => true,
            key => self.labels.contains(&(key, value.clone())),
        };
        !self.own_name && ours.iter().all(has)
    }
}

#[test]
fn whatever_is_not_ours_by_every_mark_stays() {
    let runtime = Runtime::new().expect("a runtime");
    let mut runner = TestRunner::new(cases(64));
    let neighbours = proptest::collection::vec(neighbour(), 1..6);
    let ran = runner.run(&neighbours, |neighbours| {
        runtime.block_on(stays(&neighbours));
        Ok(())
    });
    ran.expect("holds");
}

async fn stays(neighbours: &[Neighbour]) {
    let side = Side::new().await;
    let mut others = Vec::new();
    for (index, neighbour) in neighbours.iter().enumerate() {
        let labels: serde_json::Map<_, _> = neighbour
            .labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect();
        let zone = ZONES[index % 2];
        let id = side.fake.put(
            zone,
            json!({"name": neighbour.name(index), "labels": labels}),
        );
        if !neighbour.is_ours() {
            others.push((zone, id));
        }
    }
    let before = side.fake.machines();
    let still = |id: &u64| {
        before
            .iter()
            .any(|machine| machine["id"] == *id.to_string())
    };
    // Of two with one name in one zone, only the last is there.
    others.retain(|(_, id)| still(id));
    side.remove("a").await.expect("removed");
    side.remove("b").await.expect("removed");
    for unit in side.listed().await.expect("listed") {
        side.remove(&unit.0).await.expect("removed");
    }
    let left = side.fake.machines();
    for (zone, id) in &others {
        assert!(
            left.iter().any(|machine| machine["id"] == *id.to_string()),
            "{id} in {zone} is gone"
        );
    }
    assert_eq!(left.len(), others.len(), "{left:?}");
}

#[tokio::test]
async fn a_strangers_machine_with_our_name_is_a_persons_business() {
    let side = Side::new().await;
    let name = owner().machine(&order("a"));
    side.fake.put(ZONES[0], json!({"name": name, "labels": {}}));
    let refused = side.ensure("a").await.expect_err("taken");
    assert!(
        refused
            .to_string()
            .starts_with("machine of a in us-central1-a"),
        "{refused}"
    );
    side.remove("a").await.expect("there is nothing of ours");
    assert_eq!(side.names(), [name]);
}
