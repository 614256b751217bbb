//! What every implementation has to do, as tests that run against any of them: the guarantees of [`Tunnels`], line by line.
//! Panics with what does not hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use easyenclave_schemas::AgentId;

use crate::{Ensured, Hostname, Link, Route, Seen, Tunnels};

/// Tunnels under test, with what their trait does not offer.
#[async_trait]
pub trait Stand: Send {
    /// The tunnels.
    fn tunnels(&self) -> Arc<dyn Tunnels>;

    /// The process ends and another starts: they are dropped and opened again.
    async fn restart(&mut self);

    /// Whether what was made is there after that.
    fn outlives(&self) -> bool;

    /// Whether each agent has a name of its own.
    fn names(&self) -> bool;

    /// The connector of an agent connects or goes; false where there are none.
    async fn connect(&self, agent: &AgentId, is_connected: bool) -> bool;

    /// No listing is complete from now on, or all are again; false where that cannot be.
    async fn set_blind(&self, is_blind: bool) -> bool;
}

/// Runs the suite, each part on a stand of its own.
pub async fn conformance<S: Stand>(make: impl AsyncFn() -> S) {
    an_agent_has_one_tunnel_however_often_it_is_ensured(make().await).await;
    a_name_leads_to_one_agent_and_moves(make().await).await;
    a_name_needs_a_tunnel(make().await).await;
    an_agents_own_name_is_given_to_nobody_else(make().await).await;
    removing_leaves_nothing_and_may_be_repeated(make().await).await;
    what_was_made_is_found_after_a_restart(make().await).await;
    a_token_is_there_when_a_connector_is_wanted(make().await).await;
    a_connector_that_goes_is_seen(make().await).await;
    a_listing_that_is_not_complete_is_an_error(make().await).await;
    calls_at_once_for_many_agents(make().await).await;
}

/// A route to an agent of this name.
pub fn route(name: &str) -> Route {
    Route {
        agent: agent(name),
        inside: "http://127.0.0.1:8080".into(),
        outside: format!("http://127.0.0.1:9/{name}"),
        hostnames: [hostname("app"), hostname("web")].into(),
    }
}

/// An agent.
pub fn agent(name: &str) -> AgentId {
    AgentId::new(name).expect("a name")
}

/// A name directly below the zone of the tests.
pub fn hostname(label: &str) -> Hostname {
    Hostname::new(format!("{label}.example.com")).expect("a name")
}

async fn ensure(stand: &impl Stand, name: &str) -> Ensured {
    let ensured = stand.tunnels().ensure(&route(name)).await;
    ensured.unwrap_or_else(|error| panic!("ensure {name}: {error}"))
}

async fn point(stand: &impl Stand, label: &str, to: &str) {
    let pointed = stand.tunnels().point(&hostname(label), &agent(to)).await;
    pointed.unwrap_or_else(|error| panic!("point {label} at {to}: {error}"));
}

async fn remove(stand: &impl Stand, name: &str) {
    let removed = stand.tunnels().remove(&agent(name)).await;
    removed.unwrap_or_else(|error| panic!("remove {name}: {error}"));
}

/// Agents with a tunnel, and the names that lead to each.
async fn listing(stand: &impl Stand) -> Vec<(String, Vec<String>)> {
    let listing = stand.tunnels().list().await.expect("a listing");
    assert_eq!(listing.strange, Vec::<String>::new());
    let show = |seen: Seen| {
        assert!(seen.tunnel.is_some(), "{seen:?}");
        let names = seen.hostnames.iter().map(ToString::to_string);
        (seen.agent.to_string(), names.collect())
    };
    listing.ours.into_iter().map(show).collect()
}

/// What is listed when there are these agents with these names beside their own.
fn these(stand: &impl Stand, agents: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let these = agents.iter().map(|(name, labels)| {
        let own = stand.names().then_some(*name);
        let names: BTreeSet<_> = labels.iter().copied().chain(own).map(hostname).collect();
        (
            (*name).to_owned(),
            names.iter().map(ToString::to_string).collect(),
        )
    });
    these.collect()
}

async fn an_agent_has_one_tunnel_however_often_it_is_ensured(stand: impl Stand) {
    assert_eq!(listing(&stand).await, []);
    let first = ensure(&stand, "a").await;
    assert_eq!(ensure(&stand, "a").await, first);
    let other = ensure(&stand, "b").await;
    assert_ne!(other.url, first.url);
    assert!(first.connector.is_none() || other.connector != first.connector);
    assert_eq!(
        listing(&stand).await,
        these(&stand, &[("a", &[]), ("b", &[])])
    );
}

async fn a_name_leads_to_one_agent_and_moves(stand: impl Stand) {
    for name in ["a", "b"] {
        ensure(&stand, name).await;
    }
    point(&stand, "app", "a").await;
    point(&stand, "app", "a").await;
    point(&stand, "web", "a").await;
    assert_eq!(
        listing(&stand).await,
        these(&stand, &[("a", &["app", "web"]), ("b", &[])])
    );
    point(&stand, "app", "b").await;
    assert_eq!(
        listing(&stand).await,
        these(&stand, &[("a", &["web"]), ("b", &["app"])])
    );
    for _ in 0..2 {
        stand
            .tunnels()
            .unpoint(&hostname("web"))
            .await
            .expect("removed");
    }
    assert_eq!(
        listing(&stand).await,
        these(&stand, &[("a", &[]), ("b", &["app"])])
    );
}

async fn a_name_needs_a_tunnel(stand: impl Stand) {
    let pointed = stand.tunnels().point(&hostname("app"), &agent("a")).await;
    pointed.expect_err("there is no tunnel");
    stand
        .tunnels()
        .unpoint(&hostname("app"))
        .await
        .expect("nothing is there");
    assert_eq!(listing(&stand).await, []);
}

async fn an_agents_own_name_is_given_to_nobody_else(stand: impl Stand) {
    for name in ["a", "b"] {
        ensure(&stand, name).await;
    }
    if stand.names() {
        let pointed = stand.tunnels().point(&hostname("b"), &agent("a")).await;
        pointed.expect_err("it is b's");
        let removed = stand.tunnels().unpoint(&hostname("b")).await;
        removed.expect_err("it is b's");
        point(&stand, "b", "b").await;
    }
    assert_eq!(
        listing(&stand).await,
        these(&stand, &[("a", &[]), ("b", &[])])
    );
}

async fn removing_leaves_nothing_and_may_be_repeated(stand: impl Stand) {
    remove(&stand, "never-made").await;
    for name in ["a", "b"] {
        ensure(&stand, name).await;
    }
    point(&stand, "app", "a").await;
    for _ in 0..2 {
        remove(&stand, "a").await;
        assert_eq!(listing(&stand).await, these(&stand, &[("b", &[])]));
    }
    ensure(&stand, "a").await;
    assert_eq!(
        listing(&stand).await,
        these(&stand, &[("a", &[]), ("b", &[])])
    );
}

async fn what_was_made_is_found_after_a_restart(mut stand: impl Stand) {
    let first = ensure(&stand, "a").await;
    point(&stand, "app", "a").await;
    stand.restart().await;
    match stand.outlives() {
        true => assert_eq!(listing(&stand).await, these(&stand, &[("a", &["app"])])),
        false => assert_eq!(listing(&stand).await, []),
    }
    assert_eq!(ensure(&stand, "a").await, first);
    point(&stand, "app", "a").await;
    assert_eq!(listing(&stand).await, these(&stand, &[("a", &["app"])]));
    stand.restart().await;
    remove(&stand, "a").await;
    assert_eq!(listing(&stand).await, []);
}

async fn a_token_is_there_when_a_connector_is_wanted(stand: impl Stand) {
    let token = async |name: &str| {
        let token = stand.tunnels().token(&agent(name)).await.expect("read");
        token.map(|token| token.reveal().clone())
    };
    assert_eq!(token("a").await, None);
    let wants = ensure(&stand, "a").await.connector.is_some();
    ensure(&stand, "b").await;
    let (first, other) = (token("a").await, token("b").await);
    assert_eq!((first.is_some(), other.is_some()), (wants, wants));
    assert!(
        !wants || first != other,
        "each agent has a token of its own"
    );
    remove(&stand, "a").await;
    assert_eq!(token("a").await, None);
}

async fn a_connector_that_goes_is_seen(stand: impl Stand) {
    ensure(&stand, "a").await;
    let link = async || {
        let listing = stand.tunnels().list().await.expect("a listing");
        listing.ours[0].tunnel
    };
    for is_connected in [true, false, true] {
        if stand.connect(&agent("a"), is_connected).await {
            let expected = if is_connected {
                Link::Connected
            } else {
                Link::Down
            };
            assert_eq!(link().await, Some(expected));
        }
    }
    remove(&stand, "a").await;
    assert_eq!(listing(&stand).await, []);
}

async fn a_listing_that_is_not_complete_is_an_error(stand: impl Stand) {
    ensure(&stand, "a").await;
    point(&stand, "app", "a").await;
    if stand.set_blind(true).await {
        stand
            .tunnels()
            .list()
            .await
            .expect_err("it is not complete");
        stand.set_blind(false).await;
    }
    assert_eq!(listing(&stand).await, these(&stand, &[("a", &["app"])]));
}

async fn calls_at_once_for_many_agents(stand: impl Stand) {
    let names: Vec<String> = (0..8).map(|number| format!("a{number}")).collect();
    let mut calls = tokio::task::JoinSet::new();
    for name in names.clone() {
        let tunnels = stand.tunnels();
        calls.spawn(async move { tunnels.ensure(&route(&name)).await.map(drop) });
    }
    while let Some(ended) = calls.join_next().await {
        ended.expect("no panic").expect("ensured");
    }
    let all: Vec<(&str, &[&str])> = names
        .iter()
        .map(|name| (name.as_str(), &[] as &[&str]))
        .collect();
    assert_eq!(listing(&stand).await, these(&stand, &all));
}
