//! What every provider has to do, as tests that run against any of them: the guarantees of [`Provider`], line by line.
//! Panics with what does not hold.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use easyenclave_schemas::wire::{LaunchSpec, Machine, Unit};
use easyenclave_schemas::{Datacenter, FleetId, NodeSize, OrderId, Secret, WorkerId};
use tokio::time::{Instant, sleep};

use crate::{LaunchRequest, ProvideError, Provider};

/// A provider under test, with what its trait does not offer. Its agents run until they are ended.
#[async_trait]
pub trait Stand: Send {
    /// The provider.
    fn provider(&self) -> Arc<dyn Provider>;

    /// The worker's process ends and another starts: the provider is dropped and opened again.
    async fn restart(&mut self);

    /// The agent of a unit dies at once, without a chance to clean up.
    async fn crash(&self, order: &OrderId);

    /// From now on, no listing can be complete: what the provider asks does not tell all.
    async fn blind(&mut self);

    /// From now on it can again.
    async fn see(&mut self);

    /// How long the agents of this provider may take to be seen as dead, or as gone.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// The machine that orders ask for, for providers that make one.
    fn machine(&self) -> Option<Machine> {
        None
    }

    /// Makes a request one that this provider serves, where the usual one is not.
    fn suit(&self, _request: &mut LaunchRequest) {}

    /// How many things of a unit there are, seen without the provider: processes, folders.
    async fn things(&self, order: &OrderId) -> usize;
}

/// Runs the suite, each part on a stand of its own.
pub async fn conformance<S: Stand>(make: impl Fn() -> S) {
    one_unit_however_often_it_is_ensured(make()).await;
    removing_leaves_nothing_and_may_be_repeated(make()).await;
    units_are_found_again_after_a_restart(make()).await;
    a_dead_agent_is_listed_and_can_be_removed_or_replaced(make()).await;
    no_more_than_the_limit(make()).await;
    calls_at_once_for_one_unit_and_for_many(make()).await;
    claims_are_told_apart(make()).await;
    a_listing_that_is_not_complete_is_an_error_and_removes_nothing(make()).await;
}

/// A request for this unit.
pub fn request(name: &str, max_units: u32) -> LaunchRequest {
    LaunchRequest {
        order: order(name),
        fence: 3,
        fleet: FleetId::new("demo").expect("a name"),
        datacenter: Datacenter::new("local").expect("a name"),
        worker: WorkerId::new("worker-1").expect("a name"),
        spec: LaunchSpec {
            node_size: NodeSize::new("tiny").expect("a name"),
            max_units,
            reconciler_url: "http://127.0.0.1:9".into(),
            reconciler_key: "ab".repeat(32),
            machine: None,
            simulated: true,
        },
        bootstrap_token: Secret::new("token".into()),
    }
}

/// The same for the machines of this stand.
fn ask(stand: &impl Stand, name: &str, max_units: u32) -> LaunchRequest {
    let mut request = request(name, max_units);
    request.spec.machine = stand.machine();
    stand.suit(&mut request);
    request
}

fn order(name: &str) -> OrderId {
    OrderId::new(name).expect("a name")
}

async fn ensure(stand: &impl Stand, name: &str) {
    let ensured = stand.provider().ensure(&ask(stand, name, 10)).await;
    ensured.unwrap_or_else(|error| panic!("ensure {name}: {error:?}"));
}

async fn remove(stand: &impl Stand, name: &str) {
    let removed = stand.provider().remove(&order(name)).await;
    removed.unwrap_or_else(|error| panic!("remove {name}: {error:?}"));
    assert_eq!(
        stand.things(&order(name)).await,
        0,
        "something of {name} is left"
    );
}

async fn listing(stand: &impl Stand) -> Vec<(String, bool)> {
    let units = stand.provider().list().await.expect("a listing");
    units
        .into_iter()
        .map(|unit: Unit| (unit.order_id.to_string(), unit.alive))
        .collect()
}

fn units(expected: &[(&str, bool)]) -> Vec<(String, bool)> {
    expected
        .iter()
        .map(|(name, alive)| ((*name).to_owned(), *alive))
        .collect()
}

/// Waits for a listing: a death is seen a moment later.
async fn until_listed(stand: &impl Stand, expected: &[(&str, bool)]) {
    let deadline = Instant::now() + stand.patience();
    while listing(stand).await != units(expected) {
        assert!(
            Instant::now() < deadline,
            "{:?}, not {expected:?}",
            listing(stand).await
        );
        sleep(Duration::from_millis(10)).await;
    }
}

async fn one_unit_however_often_it_is_ensured(stand: impl Stand) {
    assert_eq!(listing(&stand).await, []);
    ensure(&stand, "a").await;
    let things = stand.things(&order("a")).await;
    assert!(things > 0);
    ensure(&stand, "a").await;
    ensure(&stand, "b").await;
    assert_eq!(listing(&stand).await, units(&[("a", true), ("b", true)]));
    remove(&stand, "a").await;
    remove(&stand, "b").await;
}

async fn removing_leaves_nothing_and_may_be_repeated(stand: impl Stand) {
    remove(&stand, "never-made").await;
    ensure(&stand, "a").await;
    ensure(&stand, "b").await;
    remove(&stand, "a").await;
    remove(&stand, "a").await;
    assert_eq!(listing(&stand).await, units(&[("b", true)]));
    ensure(&stand, "a").await;
    assert_eq!(listing(&stand).await, units(&[("a", true), ("b", true)]));
    remove(&stand, "a").await;
    remove(&stand, "b").await;
    assert_eq!(listing(&stand).await, []);
}

async fn units_are_found_again_after_a_restart(mut stand: impl Stand) {
    ensure(&stand, "a").await;
    stand.restart().await;
    assert_eq!(listing(&stand).await, units(&[("a", true)]));
    ensure(&stand, "a").await;
    assert_eq!(listing(&stand).await, units(&[("a", true)]));
    stand.restart().await;
    remove(&stand, "a").await;
    assert_eq!(listing(&stand).await, []);
}

async fn a_dead_agent_is_listed_and_can_be_removed_or_replaced(mut stand: impl Stand) {
    for name in ["a", "b"] {
        ensure(&stand, name).await;
        stand.crash(&order(name)).await;
    }
    until_listed(&stand, &[("a", false), ("b", false)]).await;
    stand.restart().await;
    assert_eq!(listing(&stand).await, units(&[("a", false), ("b", false)]));
    remove(&stand, "a").await;
    ensure(&stand, "b").await;
    assert_eq!(listing(&stand).await, units(&[("b", true)]));
    remove(&stand, "b").await;
}

async fn no_more_than_the_limit(stand: impl Stand) {
    let provider = stand.provider();
    provider
        .ensure(&ask(&stand, "a", 1))
        .await
        .expect("the first");
    provider
        .ensure(&ask(&stand, "a", 1))
        .await
        .expect("it is there");
    let refused = provider
        .ensure(&ask(&stand, "b", 1))
        .await
        .expect_err("one is enough");
    assert!(
        matches!(refused, ProvideError::NoCapacity { limit: 1 }),
        "{refused:?}"
    );
    assert_eq!(
        stand.things(&order("b")).await,
        0,
        "a refused unit is not half made"
    );
    remove(&stand, "a").await;
    provider
        .ensure(&ask(&stand, "b", 1))
        .await
        .expect("there is room again");
    remove(&stand, "b").await;
}

async fn calls_at_once_for_one_unit_and_for_many(stand: impl Stand) {
    let mut calls = tokio::task::JoinSet::new();
    for name in ["a", "a", "a", "b", "b", "c"] {
        let (provider, request) = (stand.provider(), ask(&stand, name, 3));
        calls.spawn(async move { provider.ensure(&request).await });
    }
    while let Some(ensured) = calls.join_next().await {
        ensured.expect("no panic").expect("ensured");
    }
    assert_eq!(
        listing(&stand).await,
        units(&[("a", true), ("b", true), ("c", true)])
    );
    for name in ["a", "b", "c"] {
        remove(&stand, name).await;
    }
}

async fn claims_are_told_apart(mut stand: impl Stand) {
    let fence = async |stand: &dyn Stand| {
        let units = stand.provider().list().await.expect("a listing");
        units.first().and_then(|unit| unit.fence)
    };
    ensure(&stand, "a").await;
    stand.restart().await;
    assert_eq!(fence(&stand).await, Some(3));
    for equal_or_lower in [2, 3] {
        let removed = stand
            .provider()
            .remove_older(&order("a"), equal_or_lower)
            .await;
        removed.expect("nothing to do");
        assert_eq!(listing(&stand).await, units(&[("a", true)]));
    }
    let newer = LaunchRequest {
        fence: 5,
        ..ask(&stand, "a", 1)
    };
    let made = stand.provider().ensure(&newer).await;
    made.expect("it takes the place of the older");
    assert_eq!(fence(&stand).await, Some(5));
    assert_eq!(listing(&stand).await, units(&[("a", true)]));
    let removed = stand.provider().remove_older(&order("a"), 6).await;
    removed.expect("removed");
    assert_eq!(stand.things(&order("a")).await, 0, "something is left");
    let again = stand.provider().remove_older(&order("a"), 6).await;
    again.expect("no unit is no error");
}

async fn a_listing_that_is_not_complete_is_an_error_and_removes_nothing(mut stand: impl Stand) {
    ensure(&stand, "a").await;
    let before = stand.things(&order("a")).await;
    stand.blind().await;
    for _ in 0..2 {
        let listed = stand.provider().list().await;
        assert!(listed.is_err(), "{listed:?} is taken for all there is");
    }
    let left = stand.things(&order("a")).await;
    assert!(left >= before, "{left} of {before} things are left");
    stand.see().await;
    assert_eq!(listing(&stand).await, units(&[("a", true)]));
    remove(&stand, "a").await;
}
