//! Registration against a real reconciler: what is accepted, and what each fault is refused with.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use easyenclave_schemas::evidence::{
    Evidence, MeasurementDigest, QuoteBytes, ReasonCode, Rejection, Verdict,
};
use easyenclave_schemas::records::{OrderPhase, TrustRecord};
use serde_json::json;

use crate::place::{Agent, Mood, Place};

pub(crate) fn code(result: Result<Verdict, Rejection>) -> ReasonCode {
    result.expect_err("refused").code
}

fn codes(verdict: &Verdict) -> Vec<ReasonCode> {
    verdict
        .warnings
        .iter()
        .map(|warning| warning.code)
        .collect()
}

fn evidence(quote: Vec<u8>) -> Evidence {
    Evidence::of_quote(QuoteBytes::new(quote).expect("short enough"))
}

fn is_in(place: &Place, agent: &Agent) -> bool {
    let records = place.world.journal.read();
    let fulfilled = records.orders[&agent.order].state == OrderPhase::Fulfilled;
    let known = records.agents.contains_key(&agent.order.agent());
    assert_eq!(
        fulfilled, known,
        "an order is fulfilled by its agent and by nothing else"
    );
    known
}

#[tokio::test]
async fn matrix_reg_001_an_honest_agent_is_taken_in() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    let verdict = place.join(&agent).await.expect("accepted");
    assert!(verdict.simulated);
    assert_eq!(codes(&verdict), []);
    assert!(is_in(&place, &agent));
}

#[tokio::test]
async fn matrix_reg_002_a_missing_nonce_is_refused() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    let evidence = place.evidence(&agent, &place.nonce().await);
    let result = place.register(place.request(&agent, "", evidence)).await;
    assert_eq!(code(result), ReasonCode::NonceMissing);
    assert!(!is_in(&place, &agent));
}

#[tokio::test]
async fn matrix_reg_003_a_nonce_that_is_not_ours_is_refused() {
    let (place, other) = (Place::new(&json!({})), Place::new(&json!({})));
    let agent = place.agent().await;
    let mut theirs = other.nonce().await;
    // The other place has the same seed; one digit of the tag makes it nobody's.
    let last = if theirs.pop() == Some('0') { '1' } else { '0' };
    theirs.push(last);
    for nonce in [theirs, "00".repeat(32), "07".repeat(32)] {
        let evidence = place.evidence(&agent, &nonce);
        let result = place
            .register(place.request(&agent, &nonce, evidence))
            .await;
        assert_eq!(code(result), ReasonCode::NonceUnknown);
    }
    let evidence = place.evidence(&agent, &place.nonce().await);
    let text = place.request(&agent, "not hex at all", evidence);
    assert_eq!(code(place.register(text).await), ReasonCode::NonceUnknown);
}

#[tokio::test]
async fn matrix_reg_004_an_expired_nonce_is_refused_to_the_second() {
    let place = Place::new(&json!({}));
    for (age, accepted) in [(299, true), (300, false), (301, false)] {
        let agent = place.agent().await;
        let nonce = place.nonce().await;
        let evidence = place.evidence(&agent, &nonce);
        place.clock.forward(Duration::from_secs(age));
        let result = place
            .register(place.request(&agent, &nonce, evidence))
            .await;
        if accepted {
            result.expect("in time");
        } else {
            assert_eq!(code(result), ReasonCode::NonceExpired, "{age} s");
        }
    }
}

/// Used is used, whatever came of it.
#[tokio::test]
async fn matrix_reg_005_a_nonce_counts_once_even_when_the_attempt_failed() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    let nonce = place.nonce().await;
    let honest = place.request(&agent, &nonce, place.evidence(&agent, &nonce));
    let broken = place.request(&agent, &nonce, evidence(vec![1; 2000]));
    let result = place.register(broken).await;
    assert_eq!(code(result), ReasonCode::QuoteUnreadable);
    let again = place.register(honest.clone()).await;
    assert_eq!(code(again), ReasonCode::NonceReplayed);
    place.join(&agent).await.expect("a new nonce counts");
    assert_eq!(
        code(place.register(honest).await),
        ReasonCode::NonceReplayed
    );
}

#[tokio::test]
async fn matrix_reg_006_a_quote_over_another_nonce_or_key_is_refused() {
    let place = Place::new(&json!({}));
    let (agent, other) = (place.agent().await, place.agent().await);
    let (nonce, elsewhere) = (place.nonce().await, place.nonce().await);
    let result = place.request(&agent, &nonce, place.evidence(&agent, &elsewhere));
    assert_eq!(
        code(place.register(result).await),
        ReasonCode::BindingMismatch
    );
    let shown_by_another = place.request(&agent, &elsewhere, place.evidence(&other, &elsewhere));
    let result = place.register(shown_by_another).await;
    assert_eq!(code(result), ReasonCode::BindingMismatch);
}

#[tokio::test]
async fn matrix_reg_013_a_malformed_quote_is_refused() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    for quote in [Vec::new(), vec![0; 5000], b"no quote at all".to_vec()] {
        let nonce = place.nonce().await;
        let result = place
            .register(place.request(&agent, &nonce, evidence(quote)))
            .await;
        assert_eq!(code(result), ReasonCode::QuoteUnreadable);
    }
}

#[tokio::test]
async fn matrix_reg_014_and_015_a_missing_or_unknown_image_is_refused() {
    let place = Place::new(&json!({}));
    let mut agent = place.agent().await;
    for (mrtd, reason) in [
        ([0; 48], ReasonCode::MrtdMissing),
        ([9; 48], ReasonCode::MrtdUntrusted),
    ] {
        agent.body.mrtd = MeasurementDigest::new(mrtd);
        assert_eq!(code(place.join(&agent).await), reason);
    }
    assert!(!is_in(&place, &agent));
}

#[tokio::test]
async fn matrix_reg_016_a_source_that_is_away_refuses_without_blame() {
    let place = Place::new(&json!({}));
    let (newcomer, member) = (place.agent().await, place.agent().await);
    place.join(&member).await.expect("accepted");
    for (mood, reason) in [
        (Mood::Unavailable, ReasonCode::DependencyUnavailable),
        (Mood::Expired, ReasonCode::CollateralOutdated),
    ] {
        place.source.is(mood);
        assert_eq!(code(place.join(&newcomer).await), reason);
        let nonce = place.nonce().await;
        assert_eq!(code(place.attest(&member, &nonce).await), reason);
        assert!(
            is_trusted(&place, &member),
            "{mood:?} is not the agent's fault"
        );
    }
    place.source.is(Mood::Answers);
    place
        .join(&newcomer)
        .await
        .expect("its order is still open");
}

fn is_trusted(place: &Place, agent: &Agent) -> bool {
    let records = place.world.journal.read();
    let record = &records.agents[&agent.order.agent()];
    matches!(record.trust, TrustRecord::Accepted(_))
}

#[tokio::test]
async fn a_registration_that_takes_long_does_not_undo_what_was_found_of_newer_evidence() {
    let place = Arc::new(Place::new(&json!({})));
    let mut agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    let nonce = place.nonce().await;
    let request = place.request(&agent, &nonce, place.evidence(&agent, &nonce));
    place.source.is(Mood::Waits);
    let slow = Arc::clone(&place);
    let slow = tokio::spawn(async move { slow.register(request).await });
    while place.source.open.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    place.source.is(Mood::Answers);
    place.clock.forward(Duration::from_secs(1));
    agent.body.mrtd = MeasurementDigest::new([9; 48]);
    let nonce = place.nonce().await;
    let newer = place.attest(&agent, &nonce).await;
    assert_eq!(code(newer), ReasonCode::MrtdUntrusted);
    place.source.freed.notify_waiters();
    let slow = slow.await.expect("no panic");
    assert_eq!(code(slow), ReasonCode::NonceExpired);
    assert!(!is_trusted(&place, &agent));
}

/// A policy that asks a Trust Authority, of a reconciler that has no key for it.
#[tokio::test]
async fn matrix_reg_016_a_trust_authority_that_cannot_be_asked_refuses() {
    let place = Place::new(&json!({"verifiers": {"dcap": {}, "ita": {}}}));
    let agent = place.agent().await;
    let nonce = hex::encode(place.world.tokens.nonce(
        easyenclave::clock::Clock::now(place.clock.as_ref()),
        [1; 8],
        None,
    ));
    let result = place.register(place.request(&agent, &nonce, place.evidence(&agent, &nonce)));
    // There is no nonce of the Trust Authority in the answer, so nothing is asked of it.
    assert_eq!(code(result.await), ReasonCode::NonceMissing);
    let policy = easyenclave_attestation::Policy::new(&place.spec(), &crate::place::name("tiny"));
    let challenge =
        easyenclave::trust::issue(&place.world, Some(&agent.order), policy.as_ref().ok()).await;
    let rejection = challenge.expect_err("no nonce");
    assert_eq!(rejection.code, ReasonCode::DependencyUnavailable);
}

#[tokio::test]
async fn matrix_reg_017_a_fault_of_our_own_refuses_and_says_so() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    let nonce = place.nonce().await;
    let request = place.request(&agent, &nonce, place.evidence(&agent, &nonce));
    place.store.fails.store(true, Ordering::SeqCst);
    assert_eq!(
        code(place.register(request.clone()).await),
        ReasonCode::Internal
    );
    assert!(!is_in(&place, &agent));
    place.store.fails.store(false, Ordering::SeqCst);
    place.register(request).await.expect("nothing was used up");
}

#[tokio::test]
async fn matrix_nonce_001_a_required_nonce_refuses() {
    let place = Place::new(&json!({"modes": {"nonce": "required"}}));
    let agent = place.agent().await;
    let evidence = place.evidence(&agent, &place.nonce().await);
    let result = place.register(place.request(&agent, "", evidence)).await;
    assert_eq!(code(result), ReasonCode::NonceMissing);
}

/// Missing, foreign, expired and used ones alike.
#[tokio::test]
async fn matrix_nonce_002_and_003_a_weakened_nonce_is_let_pass_and_marked() {
    for mode in ["optional", "disabled"] {
        let place = Place::new(&json!({"modes": {"nonce": mode}}));
        let (used, expired, fresh) = (place.nonce().await, place.nonce().await, "07".repeat(32));
        let first = place.agent().await;
        let evidence = place.evidence(&first, &used);
        let first = place.register(place.request(&first, &used, evidence)).await;
        first.expect("accepted");
        place.clock.forward(Duration::from_secs(400));
        for nonce in ["", &used, &expired, &fresh] {
            let agent = place.agent().await;
            let evidence = place.evidence(&agent, &"07".repeat(32));
            let result = place.register(place.request(&agent, nonce, evidence)).await;
            let verdict = result.unwrap_or_else(|no| panic!("{mode}, {nonce:?}: {no}"));
            assert_eq!(
                codes(&verdict),
                [ReasonCode::NonceWarning],
                "{mode}, {nonce:?}"
            );
        }
    }
}

/// An answer that comes twice is the answer of a good agent.
#[tokio::test]
async fn a_repeated_answer_takes_no_trust_away() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    let nonce = place.nonce().await;
    place.attest(&agent, &nonce).await.expect("accepted");
    assert_eq!(
        code(place.attest(&agent, &nonce).await),
        ReasonCode::NonceReplayed
    );
    assert!(is_trusted(&place, &agent));
    let mut other = agent;
    other.body.mrtd = MeasurementDigest::new([9; 48]);
    let nonce = place.nonce().await;
    assert_eq!(
        code(place.attest(&other, &nonce).await),
        ReasonCode::MrtdUntrusted
    );
    assert!(!is_trusted(&place, &other), "another image does");
}
