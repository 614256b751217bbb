//! The ceiling of a target: what is live and what is open never exceeds it, whatever becomes of the workers that claim.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use easyenclave::revision::Revision;
use easyenclave_plan::Reservation;
use easyenclave_schemas::OrderId;
use easyenclave_schemas::records::OrderPhase;
use easyenclave_schemas::signature::Keypair;
use serde_json::json;
use tokio::time::sleep;

use crate::api::serve;
use crate::chaos::{Hand, Line, Tally, lock};
use crate::place::{Agent, Place, name};

/// The target's maximum.
const CEILING: u32 = 608;

/// So many agents are asked for.
const DEMAND: u32 = 1000;

const WORKERS: usize = 4;

/// One turn of the reconciler and of everything else.
const STEP: Duration = Duration::from_secs(1);

/// So many steps have faults.
const FAULTY: u32 = 300;

/// So many steps there are to come right in.
const PATIENCE: u32 = 3600;

/// `timing.workerLostAfter`: short, so that workers are lost in these steps.
const LOST_AFTER: Duration = Duration::from_secs(120);

/// Chances from one seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// Another one finds other interleavings.
fn seed() -> u64 {
    let seed = std::env::var("EASYENCLAVE_SEED").ok();
    seed.map_or(7, |seed| {
        seed.parse().expect("EASYENCLAVE_SEED is a number")
    })
}

struct Fleet {
    place: Place,
    hands: Vec<Hand>,
    dice: Dice,
    /// Steps until a worker's line is good again.
    faults: BTreeMap<usize, u64>,
    /// Machines whose agents never register.
    mute: BTreeMap<OrderId, bool>,
    /// One in so many of the others registers in a step.
    slow: u64,
}

/// More agents are reserved than the target may have, and launches fail soon.
fn wanting() -> Place {
    let place = Place::new(&json!({}));
    let revision = place.world.revision().expect("a revision");
    let mut revision = Revision::clone(&revision);
    let provider = json!({"process": {"maxAgents": 400}});
    let provider = serde_json::from_value(provider).expect("a provider's document");
    revision.providers.insert(name("local"), provider);
    let desired = &mut revision.desired;
    let target = desired.targets.get_mut("tiny").expect("the target");
    target.max = CEILING;
    let reservation = Reservation {
        target: name("tiny"),
        count: DEMAND,
        until: None,
    };
    desired.reservations.insert(name("acme/all"), reservation);
    let limits = &mut desired.limits;
    limits.lost_after = Duration::from_secs(24 * 3600);
    limits.make_within = Duration::from_secs(200);
    limits.boot_within = Duration::from_secs(300);
    limits.worker_lost_after = LOST_AFTER;
    place.world.adopt(Arc::new(revision));
    place
}

impl Fleet {
    /// A second of everybody's life.
    async fn step(&mut self) {
        self.place.clock.forward(STEP);
        sleep(STEP).await;
        self.place.pass().await;
        self.registrations().await;
    }

    /// Some of the agents that have yet to register do. One in thirty never does.
    async fn registrations(&mut self) {
        let records = self.place.world.journal.read().orders.clone();
        let held = records
            .values()
            .filter(|order| matches!(order.state, OrderPhase::Claimed | OrderPhase::Provisioning));
        for order in held {
            let of_worker = |hand: &Hand| hand.provider.fake.request(&order.order);
            let made: Vec<_> = self.hands.iter().filter_map(of_worker).collect();
            for request in made {
                let dice = &mut self.dice;
                let mute = self.mute.entry(order.order.clone());
                let mute = *mute.or_insert_with(|| dice.one_in(30));
                if mute || !dice.one_in(self.slow) {
                    continue;
                }
                let agent = Agent {
                    order: order.order.clone(),
                    key: Keypair::generate().expect("randomness"),
                    body: easyenclave_attestation::simulated::TdBody::of_image("tiny"),
                };
                let nonce = self.place.nonce().await;
                let evidence = self.place.evidence(&agent, &nonce);
                let mut registration = self.place.request(&agent, &nonce, evidence);
                registration.bootstrap_token = request.bootstrap_token;
                // That of an overtaken claim is refused.
                let _ = self.place.register(registration).await;
            }
        }
    }

    /// Lines fail and are good again, workers are killed, and machines die.
    async fn trouble(&mut self) {
        let longest = LOST_AFTER.as_secs() * 2;
        for number in 0..WORKERS {
            let left = self.faults.entry(number).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.hands[number].is(Line::Good);
                if self.dice.one_in(40) {
                    let line = [Line::Cut, Line::Deaf][usize::from(self.dice.one_in(2))];
                    self.hands[number].is(line);
                    let most =
                        [20, 100, longest][usize::try_from(self.dice.below(3)).expect("small")];
                    *left = 5 + self.dice.below(most);
                }
            }
            if self.dice.one_in(200) {
                self.hands[number].restart();
            }
        }
        if self.dice.one_in(5) {
            let orders: Vec<_> = self
                .place
                .world
                .journal
                .read()
                .orders
                .keys()
                .cloned()
                .collect();
            let at = self.dice.below(orders.len().max(1) as u64);
            if let Some(order) = orders.get(usize::try_from(at).expect("small")) {
                for hand in &self.hands {
                    hand.provider.fake.crash(order, "it ended");
                    hand.provider.note().await;
                }
            }
        }
    }

    fn agents(&self) -> usize {
        self.place.world.journal.read().agents.len()
    }

    async fn units(&self) -> usize {
        let mut units = 0;
        for hand in &self.hands {
            let listed = easyenclave_capacity::Provider::list(&*hand.provider).await;
            units += listed
                .expect("it sees")
                .iter()
                .filter(|unit| unit.alive)
                .count();
        }
        units
    }
}

#[tokio::test(start_paused = true)]
async fn live_and_open_agents_never_exceed_a_ceiling_of_608_with_a_demand_of_1000_and_four_workers()
{
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seed = seed();
    println!("EASYENCLAVE_SEED={seed}");
    let place = wanting();
    let tally = Arc::new(Mutex::new(Tally::default()));
    let seen = Arc::clone(&tally);
    let sees = Box::new(move |batch: &_| lock(&seen).records(batch));
    assert!(place.store.sees.set(sees).is_ok(), "it is new");
    let served = serve(&place).await;
    let mut hands = Vec::new();
    for number in 0..WORKERS {
        hands.push(Hand::start(number, &served.url, &tally).await);
    }
    let mut fleet = Fleet {
        place,
        hands,
        dice: Dice(seed),
        faults: BTreeMap::new(),
        mute: BTreeMap::new(),
        slow: 100,
    };
    for step in 0..FAULTY {
        fleet.trouble().await;
        fleet.step().await;
        let most = lock(&tally).most;
        assert!(
            most <= CEILING as usize,
            "{most} in step {step} of seed {seed}"
        );
    }
    fleet.hands.iter().for_each(|hand| hand.is(Line::Good));
    fleet.slow = 3;
    let mut left = PATIENCE;
    while (fleet.agents(), fleet.units().await) != (CEILING as usize, CEILING as usize) {
        assert!(left > 0, "{} agents after seed {seed}", fleet.agents());
        left -= 1;
        fleet.step().await;
    }
    let tally = lock(&tally);
    println!(
        "at most {} live and open, counted {} times",
        tally.most, tally.counted
    );
    assert_eq!(tally.most, CEILING as usize, "seed {seed}");
}
