//! Nonces of Intel Trust Authority: each counts once, and no two agents are given the same.

use std::sync::Arc;
use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave::trust::{self, Judge, Sources};
use easyenclave_attestation::testing::authority::{API_KEY, Authority, Kind};
use easyenclave_attestation::{ItaClient, NoCollateral, Policy, TrustAuthority, ita_report_data};
use easyenclave_schemas::Secret;
use easyenclave_schemas::documents::{ItaVersion, SigningAlgorithm};
use easyenclave_schemas::evidence::{Evidence, ItaNonce, QuoteBytes, ReasonCode};
use easyenclave_schemas::wire::{Challenge, RegisterRequest};
use serde_json::json;

use crate::place::{Agent, Place, SetClock, name};

/// Longer than any answer takes.
const DEADLINE: Duration = Duration::from_secs(10);

/// A place whose policy wants a token of this Trust Authority.
fn place(authority: &Authority) -> Place {
    let settings = authority.settings(ItaVersion::V2, SigningAlgorithm::PS384);
    let verifiers = json!({"verifiers": {"dcap": {}, "ita": settings}});
    Place::judged(&verifiers, |source, metrics| {
        let key = Secret::new(API_KEY.to_owned());
        let client = ItaClient::with_deadline(Some(&key), DEADLINE).expect("a client");
        let sources = Sources {
            simulated: Arc::clone(source) as Arc<_>,
            intel: Arc::new(NoCollateral("not in this place")),
        };
        let client = Arc::new(client) as Arc<dyn TrustAuthority>;
        Judge::new(sources, client, metrics)
    })
}

async fn challenge(place: &Place, agent: &Agent) -> (Challenge, ItaNonce) {
    let policy = Policy::new(&place.spec(), &name("tiny")).expect("a policy");
    let issued = trust::issue(&place.world, Some(&agent.order), Some(&policy)).await;
    let issued = issued.expect("a challenge");
    let nonce = issued.ita.clone().expect("the policy wants one").nonce;
    (issued, nonce)
}

fn answer(
    place: &Place,
    agent: &Agent,
    (issued, nonce): &(Challenge, ItaNonce),
) -> RegisterRequest {
    let data = ita_report_data(nonce, agent.key.public().as_bytes()).expect("a nonce");
    let quote = place.source.platform.guest().quote(data, &agent.body);
    let quote = QuoteBytes::new(quote.expect("a quote")).expect("short enough");
    let mut request = place.request(agent, &issued.nonce, Evidence::of_quote(quote));
    request.ita_nonce = Some(nonce.clone());
    request
}

#[tokio::test]
async fn a_nonce_of_the_trust_authority_counts_for_one_challenge() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = Authority::start(SetClock::default().now()).await;
    let place = place(&authority);
    let (agent, other) = (place.agent().await, place.agent().await);
    let (first, second) = (
        challenge(&place, &agent).await,
        challenge(&place, &agent).await,
    );
    assert_ne!(first.0.nonce, second.0.nonce, "ours are all different");
    assert_eq!(authority.count(Kind::Nonce), 1, "one call for one order");
    let theirs = challenge(&place, &other).await;
    assert_ne!(theirs.1, first.1, "another order has its own");
    let (first, second) = (
        answer(&place, &agent, &first),
        answer(&place, &agent, &second),
    );
    place.register(first).await.expect("accepted");
    let replayed = place.register(second).await.expect_err("it is used up");
    assert_eq!(replayed.code, ReasonCode::NonceReplayed);
    let fresh = challenge(&place, &agent).await;
    place
        .register(answer(&place, &agent, &fresh))
        .await
        .expect("a fresh one counts");
    place
        .register(answer(&place, &other, &theirs))
        .await
        .expect("and the other's");
    assert_eq!(authority.count(Kind::Nonce), 3);
}
