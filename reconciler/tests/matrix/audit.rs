//! The audit log and the metrics: one terminal event for each attempt, with its fields and without secrets.

use easyenclave_schemas::evidence::{Evidence, MeasurementDigest, QuoteBytes};
use easyenclave_schemas::wire::{AttestRequest, routes};
use serde_json::json;

use crate::api::{post, serve};
use crate::log::{Fields, all, attempts};
use crate::place::{Agent, Mood, Place};

const STRICT: &str = r#"{"nonce":"required","tcb":"strict","rtmr":"strict"}"#;

/// The one terminal event of an order's attempts.
fn told(agent: &Agent) -> Fields {
    let events = attempts(agent.order.as_str());
    assert_eq!(events.len(), 1, "{events:#?}");
    let event = events.into_iter().next().expect("one");
    for field in [
        "event_name",
        "timestamp",
        "request_id",
        "agent_vm_name",
        "reason_code",
        "policy_snapshot",
        "mrtd",
        "tcb_status",
        "nonce_id",
        "simulated",
        "trust_root",
        "result",
    ] {
        assert!(event.contains_key(field), "no {field} in {event:#?}");
    }
    event
}

#[tokio::test]
async fn matrix_aud_001_a_refused_attempt_is_told_with_its_code() {
    let place = Place::new(&json!({}));
    let mut agent = place.agent().await;
    agent.body.mrtd = MeasurementDigest::new([9; 48]);
    place.join(&agent).await.expect_err("refused");
    let event = told(&agent);
    assert_eq!(event["event_name"], "registration_attestation_rejected");
    assert_eq!(event["reason_code"], "EE-ATT-014");
    assert_eq!(event["result"], "rejected");
    assert_eq!(event["mrtd"], "unverified");
    assert_eq!(event["simulated"], "true", "what it showed says so");
    assert_eq!(
        event["trust_root"],
        place.source.platform.root_key_id().to_string()
    );
    let metrics = place.world.metrics.text();
    for line in [
        r#"attestation_registration_attempt_total{result="rejected"} 1"#,
        r#"attestation_registration_reject_total{reason_code="EE-ATT-014",trust_root="simulated"} 1"#,
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} in {metrics}"
        );
    }
}

/// Also those that end before a quote is looked at, and those that cannot be written down at the end.
#[tokio::test]
async fn matrix_aud_001_every_refusal_is_told_whenever_it_comes() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    let nonce = place.nonce().await;
    let mut request = place.request(&agent, &nonce, place.evidence(&agent, &nonce));
    request.bootstrap_token = easyenclave_schemas::Secret::new("wrong".into());
    place.register(request).await.expect_err("refused");
    let event = told(&agent);
    assert_eq!(event["reason_code"], "EE-ATT-031");
    assert_eq!(event["policy_snapshot"], "none");
    assert_eq!(event["simulated"], "unknown", "nobody looked");
    assert_eq!(event["trust_root"], "unknown");

    let agent = place.agent().await;
    place.source.is(Mood::Unavailable);
    place.join(&agent).await.expect_err("refused");
    assert_eq!(told(&agent)["reason_code"], "EE-ATT-018");
}

/// The audit event is the log's line for it; the list of refusals has it too.
#[tokio::test]
async fn matrix_aud_001_a_refusal_over_http_is_told_once() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let (mut agent, member) = (place.agent().await, place.agent().await);
    agent.body.mrtd = MeasurementDigest::new([9; 48]);
    let nonce = place.nonce().await;
    let register = place.request(&agent, &nonce, place.evidence(&agent, &nonce));
    let (status, _) = post(&served, &agent, routes::REGISTER, &register).await;
    assert_eq!(status, 403);
    place.join(&member).await.expect("accepted");
    let attest = AttestRequest {
        boot_id: None,
        nonce: nonce.clone(),
        ita_nonce: None,
        evidence: place.evidence(&member, &nonce),
    };
    let path = routes::attest(&member.order.agent());
    let (status, _) = post(&served, &member, &path, &attest).await;
    assert_eq!(status, 401, "the nonce was used");
    for (order, code) in [(&agent.order, "EE-ATT-014"), (&member.order, "EE-ATT-004")] {
        let mut told = all();
        told.retain(|event| {
            let is = |value: &str| event.values().any(|other| other == value);
            is(order.as_str()) && is(code)
        });
        assert_eq!(told.len(), 1, "{told:#?}");
        let listed = place.world.refusals.list();
        let listed = listed.iter().find(|refusal| refusal.code == code);
        let listed = listed.expect("listed");
        assert_eq!(listed.subject, order.as_str());
        let is_of_evidence = code == "EE-ATT-014";
        assert_eq!(listed.message.ends_with(" (simulated)"), is_of_evidence);
    }
}

#[tokio::test]
async fn matrix_aud_002_an_accepted_attempt_is_told_with_what_was_seen() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    let verdict = place.join(&agent).await.expect("accepted");
    let event = told(&agent);
    assert_eq!(event["event_name"], "registration_attestation_accepted");
    assert_eq!(event["reason_code"], "OK");
    assert_eq!(event["result"], "accepted");
    assert_eq!(event["mrtd"], verdict.mrtd.to_string());
    assert_eq!(event["tcb_status"], "UpToDate");
    assert_eq!(event["simulated"], "true");
    assert_eq!(event["trust_root"], verdict.trust_root.to_string());
    let metrics = place.world.metrics.text();
    for line in [
        r#"attestation_registration_attempt_total{result="accepted"} 1"#,
        r#"attestation_registration_accept_total{trust_root="simulated"} 1"#,
        "attestation_nonce_issued_total 1",
        "attestation_nonce_consumed_total 1",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} in {metrics}"
        );
    }
}

#[tokio::test]
async fn matrix_aud_003_what_was_let_pass_is_in_the_accepted_event() {
    let place = Place::new(&json!({
        "modes": {"nonce": "optional", "tcb": "disabled", "rtmr": "disabled"},
    }));
    let agent = place.agent().await;
    let evidence = place.evidence(&agent, &place.nonce().await);
    let accepted = place.register(place.request(&agent, "", evidence)).await;
    accepted.expect("accepted");
    let event = told(&agent);
    assert_eq!(event["event_name"], "registration_attestation_accepted");
    assert_eq!(event["reason_code"], "EE-ATT-W03,EE-ATT-W01,EE-ATT-W02");
    assert_eq!(event["nonce_id"], "");
    let metrics = place.world.metrics.text();
    for code in ["EE-ATT-W01", "EE-ATT-W02", "EE-ATT-W03"] {
        let line = format!("attestation_warning_total{{reason_code=\"{code}\"}} 1");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn matrix_aud_004_no_secret_is_told_to_anybody() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    let nonce = place.nonce().await;
    let evidence = place.evidence(&agent, &nonce);
    let token =
        easyenclave_schemas::evidence::TokenBytes::new(b"eyJhbGciOiJub25lIn0.e30.x".to_vec());
    let mut refused = place.request(&agent, &nonce, evidence.clone());
    refused.evidence.token = Some(token.expect("short"));
    refused.evidence.quote = QuoteBytes::new(vec![7; 900]).expect("short");
    place.register(refused.clone()).await.expect_err("refused");
    let accepted = place.nonce().await;
    let request = place.request(&agent, &accepted, place.evidence(&agent, &accepted));
    place.register(request.clone()).await.expect("accepted");
    let record = place.world.journal.read().agents[&agent.order.agent()].clone();
    assert_eq!(record.public_key, agent.key.public().to_string());

    let quote = evidence_text(&request.evidence);
    let log = format!("{:?}", all());
    let metrics = place.world.metrics.text();
    for secret in [
        nonce.as_str(),
        accepted.as_str(),
        "eyJhbGciOiJub25lIn0",
        request.bootstrap_token.reveal(),
        "the launcher's own key",
        &quote[..200],
    ] {
        assert!(!log.contains(secret), "{secret} is in the log");
        assert!(!metrics.contains(secret), "{secret} is in the metrics");
    }
    assert_eq!(attempts(agent.order.as_str()).len(), 2, "both were told");
}

fn evidence_text(evidence: &Evidence) -> String {
    let value = serde_json::to_value(evidence).expect("plain data");
    value["quote"].as_str().expect("base64").to_owned()
}

#[tokio::test]
async fn matrix_aud_005_every_terminal_event_has_the_modes_in_force() {
    for (modes, snapshot) in [
        (json!({}), STRICT),
        (
            json!({"tcb": "warn", "rtmr": "disabled", "nonce": "optional"}),
            r#"{"nonce":"optional","tcb":"warn","rtmr":"disabled"}"#,
        ),
    ] {
        let place = Place::new(&json!({"modes": modes}));
        let accepted = place.agent().await;
        place.join(&accepted).await.expect("accepted");
        let mut refused = place.agent().await;
        refused.body.mrtd = MeasurementDigest::new([9; 48]);
        place.join(&refused).await.expect_err("refused");
        for agent in [&accepted, &refused] {
            assert_eq!(told(agent)["policy_snapshot"], snapshot);
        }
    }
}

/// Each attempt is told once, also when an agent attests again.
#[tokio::test]
async fn fresh_evidence_is_told_like_a_registration() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    let nonce = place.nonce().await;
    place.attest(&agent, &nonce).await.expect("accepted");
    place.attest(&agent, &nonce).await.expect_err("used");
    let events = attempts(agent.order.as_str());
    let codes: Vec<_> = events
        .iter()
        .map(|event| event["reason_code"].as_str())
        .collect();
    assert_eq!(codes, ["OK", "OK", "EE-ATT-004"]);
}
