//! What a plan's launches and removals change in what machines cost an hour, by target, for whoever reviews a change. A
//! machine without a price is said to have none: it never counts as free.

use std::collections::BTreeMap;
use std::fmt;

use easyenclave_plan::{Action, Observed, Plan, Target};
use easyenclave_schemas::documents::ProviderSpec;
use easyenclave_schemas::{Datacenter, MicroUsd, NodeSize, ProviderName, TargetName};
use serde_json::{Value, json};

use crate::desired::Model;
use crate::words::plural;

/// What documents say of prices: those with the change first, then those without it, where a removed target is.
pub(super) struct Prices<'a> {
    models: Vec<(Targets<'a>, Providers<'a>)>,
}

type Targets<'a> = &'a BTreeMap<TargetName, Target>;
type Providers<'a> = &'a BTreeMap<ProviderName, ProviderSpec>;

impl<'a> Prices<'a> {
    pub(super) fn of(models: impl IntoIterator<Item = &'a Model>) -> Self {
        let parts = |model: &'a Model| (&model.desired.targets, &model.providers);
        Self {
            models: models.into_iter().map(parts).collect(),
        }
    }

    /// A machine that is to come.
    fn coming(&self, size: &NodeSize, provider: &ProviderName) -> Option<MicroUsd> {
        price(self.models.iter(), size, provider)
    }

    /// A machine of a target that is there already, by the documents under which it was made. Who made it is told by its
    /// target.
    fn going(
        &self,
        target: &TargetName,
        size: Option<&NodeSize>,
        place: Option<&Datacenter>,
    ) -> Option<MicroUsd> {
        let made_by = |(targets, _): &&(Targets<'a>, Providers<'a>)| {
            let spec = targets.get(target);
            spec.is_some_and(|spec| place.is_none_or(|place| spec.is_in(place)))
        };
        let (targets, _) = self.models.iter().rev().find(made_by)?;
        let spec = targets.get(target)?;
        let size = size.unwrap_or(&spec.size);
        let mut places = spec.places().into_iter();
        let at_place = places.find(|(_, datacenter)| place == Some(datacenter));
        let provider = at_place.map_or_else(|| spec.provider.clone(), |(provider, _)| provider);
        price(self.models.iter().rev(), size, &provider)
    }
}

/// The price in the first documents that have this provider.
fn price<'a>(
    mut models: impl Iterator<Item = &'a (Targets<'a>, Providers<'a>)>,
    size: &NodeSize,
    provider: &ProviderName,
) -> Option<MicroUsd> {
    models.find_map(|(_, providers)| providers.get(provider)?.price_per_hour(size))
}

/// Machines that come and go, and what that changes an hour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cost {
    priced: Machines,
    /// Those whose price is not known.
    unpriced: Machines,
    /// Millionths of a dollar an hour.
    change: i128,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Machines {
    more: usize,
    fewer: usize,
}

/// Whether a machine comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    More,
    Fewer,
}

impl Machines {
    fn count(&mut self, way: Way) {
        match way {
            Way::More => self.more += 1,
            Way::Fewer => self.fewer += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.more += other.more;
        self.fewer += other.fewer;
    }
}

impl fmt::Display for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.more, self.fewer) {
            (more, 0) => write!(f, "{} more", plural(more, "agent")),
            (0, fewer) => write!(f, "{} fewer", plural(fewer, "agent")),
            (more, fewer) => write!(f, "{} more, {fewer} fewer", plural(more, "agent")),
        }
    }
}

impl Cost {
    fn count(&mut self, way: Way, price: Option<MicroUsd>) {
        let Some(price) = price else {
            return self.unpriced.count(way);
        };
        self.priced.count(way);
        let price = i128::from(price.as_micros());
        self.change += match way {
            Way::More => price,
            Way::Fewer => -price,
        };
    }

    fn add(&mut self, other: &Self) {
        self.priced.add(other.priced);
        self.unpriced.add(other.unpriced);
        self.change += other.change;
    }

    /// US dollars with a sign.
    fn dollars(&self) -> (char, MicroUsd) {
        let sign = if self.change < 0 { '-' } else { '+' };
        let micros = u64::try_from(self.change.unsigned_abs()).unwrap_or(u64::MAX);
        (sign, MicroUsd::from_micros(micros))
    }

    fn json(&self) -> Value {
        let (sign, dollars) = self.dollars();
        let is_priced = self.priced != Machines::default();
        json!({
            "more": self.priced.more + self.unpriced.more,
            "fewer": self.priced.fewer + self.unpriced.fewer,
            "usdPerHour": is_priced.then(|| format!("{sign}{dollars}")),
            "withoutPrice": self.unpriced.more + self.unpriced.fewer,
        })
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = Machines::default();
        if self.priced != none {
            let (sign, dollars) = self.dollars();
            write!(f, "{sign}${dollars} an hour: {}", self.priced)?;
        }
        if self.priced != none && self.unpriced != none {
            f.write_str("; ")?;
        }
        match self.unpriced == none {
            true => Ok(()),
            false => write!(f, "price unknown: {}", self.unpriced),
        }
    }
}

/// What a plan changes, by target. A withdrawn order is a machine that would have come; what is held stays.
pub(super) fn of(
    plan: &Plan,
    observed: &Observed,
    prices: &Prices<'_>,
) -> BTreeMap<TargetName, Cost> {
    let mut costs: BTreeMap<TargetName, Cost> = BTreeMap::new();
    for action in &plan.actions {
        if let Some((target, way, price)) = counted(action, observed, prices) {
            costs.entry(target).or_default().count(way, price);
        }
    }
    costs
}

fn counted(
    action: &Action,
    observed: &Observed,
    prices: &Prices<'_>,
) -> Option<(TargetName, Way, Option<MicroUsd>)> {
    match action {
        Action::Launch {
            target,
            provider,
            size,
            ..
        } => Some((target.clone(), Way::More, prices.coming(size, provider))),
        Action::Cancel { order, .. } => {
            let target = &observed.launches.get(order)?.target;
            let price = prices.going(target, None, None);
            Some((target.clone(), Way::Fewer, price))
        }
        Action::Retire {
            agent, datacenter, ..
        } => {
            let known = observed.agents.get(agent);
            let orphan = || observed.orphans.get(agent.as_str())?.target.as_ref();
            let target = known.map(|agent| &agent.target).or_else(orphan)?;
            let size = known.map(|agent| &agent.size);
            let price = prices.going(target, size, Some(datacenter));
            Some((target.clone(), Way::Fewer, price))
        }
        Action::Unexpose { .. }
        | Action::Unpoint { .. }
        | Action::Point { .. }
        | Action::Quarantine { .. }
        | Action::Release { .. }
        | Action::Settle { .. }
        | Action::Revert { .. }
        | Action::Unassign { .. }
        | Action::Challenge { .. }
        | Action::Assign { .. }
        | Action::Expose { .. } => None,
    }
}

/// A line each target, and one for all of them together where there are several.
pub(super) fn lines(costs: &BTreeMap<TargetName, Cost>) -> Vec<String> {
    let line = |(target, cost)| format!("target {target}: {cost}");
    let mut lines: Vec<String> = costs.iter().map(line).collect();
    if costs.len() > 1 {
        lines.push(format!("in all: {}", sum(costs)));
    }
    lines
}

fn sum(costs: &BTreeMap<TargetName, Cost>) -> Cost {
    let mut all = Cost::default();
    costs.values().for_each(|cost| all.add(cost));
    all
}

/// For programs.
pub(super) fn json(costs: &BTreeMap<TargetName, Cost>) -> Value {
    let by_target = costs.iter().map(|(target, cost)| (target, cost.json()));
    let by_target: BTreeMap<_, _> = by_target.collect();
    json!({ "targets": by_target, "all": sum(costs).json() })
}

#[cfg(test)]
mod tests {
    use easyenclave_plan::RetireReason;
    use expect_test::expect;

    use super::*;

    const METAL: &str = r#"{ "qemu": { "sizes": {
        "tiny": { "vcpus": 2, "memoryMib": 512, "pricePerHour": "0.25" },
        "free": { "vcpus": 2, "memoryMib": 512 } } } }"#;

    fn launch(target: &str, size: &str) -> Action {
        Action::Launch {
            order: format!("{target}-1").parse().expect("a name"),
            target: target.parse().expect("a name"),
            slot: 0,
            generation: 1,
            failures: 0,
            datacenter: "here".parse().expect("a name"),
            provider: "metal".parse().expect("a name"),
            zone: None,
            shape: None,
            size: size.parse().expect("a name"),
            policy: "sim".parse().expect("a name"),
        }
    }

    fn retire(agent: &str) -> Action {
        Action::Retire {
            agent: agent.parse().expect("a name"),
            datacenter: "here".parse().expect("a name"),
            reason: RetireReason::Surplus,
        }
    }

    /// What these change in the fleet of the sample's status, none of whose targets is wanted any more.
    fn costs(actions: Vec<Action>) -> BTreeMap<TargetName, Cost> {
        let observed = crate::report::observed(&crate::cli::samples::status());
        let providers = [(
            "metal".parse().expect("a name"),
            serde_json::from_str(METAL).expect("a provider"),
        )];
        let providers = BTreeMap::from(providers);
        let targets = BTreeMap::new();
        let plan = Plan {
            actions,
            ..Plan::default()
        };
        let prices = Prices {
            models: vec![(&targets, &providers)],
        };
        of(&plan, &observed, &prices)
    }

    #[test]
    fn what_comes_is_added_up_by_target_and_in_all() {
        let costs = costs(vec![
            launch("east", "tiny"),
            launch("east", "tiny"),
            launch("west", "tiny"),
        ]);
        expect![[r#"
            target east: +$0.50 an hour: 2 agents more
            target west: +$0.25 an hour: 1 agent more
            in all: +$0.75 an hour: 3 agents more"#]]
        .assert_eq(&lines(&costs).join("\n"));
    }

    #[test]
    fn what_has_no_price_is_said_to_have_none() {
        let agents = crate::report::observed(&crate::cli::samples::status()).agents;
        let agent = agents.keys().next().expect("an agent").to_string();
        let costs = costs(vec![
            launch("east", "tiny"),
            launch("east", "free"),
            retire(&agent),
        ]);
        expect![[r#"
            target east: +$0.25 an hour: 1 agent more; price unknown: 1 agent more
            target tiny: price unknown: 1 agent fewer
            in all: +$0.25 an hour: 1 agent more; price unknown: 1 agent more, 1 fewer"#]]
        .assert_eq(&lines(&costs).join("\n"));
        let json = json(&costs);
        assert_eq!(json["targets"]["tiny"]["usdPerHour"], Value::Null, "{json}");
        assert_eq!(json["all"]["withoutPrice"], 2, "{json}");
    }

    /// The change moves the target, makes its agents larger and dearer: those that go cost what they did before.
    #[test]
    fn what_goes_is_priced_as_it_was_made() {
        let name = |name: &str| name.parse().expect("a name");
        let target = |place: &str, size: &str| Target {
            datacenter: place.parse().expect("a name"),
            size: size.parse().expect("a name"),
            provider: "metal".parse().expect("a name"),
            spots: Vec::new(),
            runtimes: std::collections::BTreeSet::new(),
            policy: "sim".parse().expect("a name"),
            on_lapse: easyenclave_plan::OnLapse::Keep,
            min: 0,
            max: 9,
            warm: 0,
            disruption: easyenclave_plan::Disruption::default(),
        };
        let after = BTreeMap::from([(name("tiny"), target("there", "free"))]);
        let before = BTreeMap::from([(name("tiny"), target("here", "tiny"))]);
        let providers = |text: &str| {
            let metal = serde_json::from_str(text).expect("a provider");
            BTreeMap::from([("metal".parse().expect("a name"), metal)])
        };
        let dearer = providers(&METAL.replace("0.25", "0.75"));
        let cheap = providers(METAL);
        let prices = Prices {
            models: vec![(&after, &dearer), (&before, &cheap)],
        };
        let here = "here".parse().expect("a name");
        let quarter = Some(MicroUsd::from_micros(250_000));
        assert_eq!(prices.going(&name("tiny"), None, Some(&here)), quarter);
        assert_eq!(prices.going(&name("tiny"), None, None), quarter);
        let size = "tiny".parse().expect("a name");
        let metal = "metal".parse().expect("a name");
        let dear = Some(MicroUsd::from_micros(750_000));
        assert_eq!(prices.coming(&size, &metal), dear);
        let nowhere = "nowhere".parse().expect("a name");
        assert_eq!(prices.going(&name("tiny"), None, Some(&nowhere)), None);
    }

    #[test]
    fn what_goes_is_taken_off() {
        let cost = |prices: [(Way, u64); 2]| {
            let mut cost = Cost::default();
            for (way, micros) in prices {
                cost.count(way, Some(MicroUsd::from_micros(micros)));
            }
            cost.to_string()
        };
        let (less, same) = (
            cost([(Way::Fewer, 500_000), (Way::More, 40_000)]),
            cost([(Way::Fewer, 40_000), (Way::More, 40_000)]),
        );
        assert_eq!(less, "-$0.46 an hour: 1 agent more, 1 fewer");
        assert_eq!(same, "+$0.00 an hour: 1 agent more, 1 fewer");
    }
}
