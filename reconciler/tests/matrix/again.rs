//! Evidence that is kept, judged again because its policy changed: nothing is renewed, and nobody is refused for what
//! was never asked of it.

use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave::observe::observe;
use easyenclave::trust::{self, SHARE};
use easyenclave_plan::{Remedy, Trust};
use easyenclave_schemas::documents::{ItaSpec, Span};
use easyenclave_schemas::evidence::{MeasurementDigest, Verdict};
use easyenclave_schemas::records::TrustRecord;
use serde_json::json;

use crate::place::{Agent, Place};

const HOUR: Duration = Duration::from_secs(3600);

async fn rejudge(place: &Place) {
    let revision = place.world.revision().expect("a revision");
    trust::rejudge(&place.world, &revision)
        .await
        .expect("judged");
}

fn record(place: &Place, agent: &Agent) -> TrustRecord {
    place.world.journal.read().agents[&agent.order.agent()]
        .trust
        .clone()
}

fn verdict(place: &Place, agent: &Agent) -> Verdict {
    match record(place, agent) {
        TrustRecord::Accepted(verdict) => *verdict,
        refused @ TrustRecord::Refused { .. } => panic!("{refused:?}"),
    }
}

#[tokio::test]
async fn a_change_of_the_policy_does_not_renew_trust() {
    let place = Place::new(&json!({"maxAge": "24h"}));
    let agent = place.agent().await;
    let first = place.join(&agent).await.expect("accepted");
    place.clock.forward(HOUR * 20);
    let mut spec = place.spec();
    let mut other = spec.measurements[0].clone();
    (other.name, other.mrtd) = ("another".into(), "07".repeat(48));
    spec.measurements.push(other);
    place.adopt(spec.clone());
    rejudge(&place).await;
    let second = verdict(&place, &agent);
    assert_ne!(second.policy_digest, first.policy_digest);
    assert_eq!(second.accepted_at, first.accepted_at);
    assert_eq!(second.trusted_until, first.trusted_until);
    // A shorter age counts from when the evidence was shown, and may be over.
    spec.max_age = Span::from_secs(3600);
    place.adopt(spec);
    rejudge(&place).await;
    assert_eq!(
        verdict(&place, &agent).trusted_until,
        first.accepted_at.plus(HOUR)
    );
}

#[tokio::test]
async fn evidence_that_is_older_than_any_age_is_not_accepted_anew() {
    let place = Place::new(&json!({"maxAge": "1h"}));
    let agent = place.agent().await;
    let first = place.join(&agent).await.expect("accepted");
    place.clock.forward(HOUR * 30);
    let mut spec = place.spec();
    spec.measurements[0].name = "renamed".into();
    place.adopt(spec);
    rejudge(&place).await;
    let again = verdict(&place, &agent);
    assert_eq!(again.measurement, "renamed");
    assert_eq!(again.trusted_until, first.trusted_until);
    assert!(again.trusted_until <= place.clock.now());
}

#[tokio::test]
async fn a_policy_that_wants_a_token_refuses_nobody_that_was_never_asked_for_one() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    let before = record(&place, &agent);
    let mut spec = place.spec();
    spec.verifiers.ita = Some(ItaSpec::default());
    place.adopt(spec.clone());
    rejudge(&place).await;
    assert_eq!(record(&place, &agent), before, "a challenge will tell");
    // What the evidence does show is judged all the same.
    spec.measurements.clear();
    place.adopt(spec);
    rejudge(&place).await;
    let TrustRecord::Refused { code, .. } = record(&place, &agent) else {
        panic!("refused");
    };
    assert_eq!(code, "EE-ATT-014");
}

/// Whose evidence it is was seen once, and no policy changes that.
#[tokio::test]
async fn a_policy_under_another_root_leaves_it_known_whose_evidence_it_refuses() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    let root = place.join(&agent).await.expect("accepted").trust_root;
    assert!(root.is_simulated());
    for max_age in [3600, 7200] {
        let mut spec = place.spec();
        spec.trust_root = Default::default();
        spec.max_age = Span::from_secs(max_age);
        place.adopt(spec);
        rejudge(&place).await;
        let refused = record(&place, &agent);
        let TrustRecord::Refused { code, .. } = &refused else {
            panic!("refused");
        };
        assert_eq!(code, "EE-ATT-022");
        assert_eq!(refused.trust_root(), Some(root));
    }
}

/// A large fleet is judged a share at a time. Until its turn an agent is neither trusted under the new policy nor asked
/// for anything.
#[tokio::test]
async fn a_pass_judges_a_share_and_the_others_wait() {
    let place = Place::new(&json!({}));
    let more = 5;
    for _ in 0..SHARE + more {
        let agent = place.agent().await;
        place.join(&agent).await.expect("accepted");
    }
    let mut spec = place.spec();
    spec.measurements[0].name = "renamed".into();
    place.adopt(spec);
    let waiting = |place: &Place| {
        let revision = place.world.revision().expect("a revision");
        let observed = observe(&place.world, &revision, place.clock.now());
        let waits = |agent: &&easyenclave_plan::Agent| {
            (agent.trust, agent.remedy) == (Trust::Unknown, Remedy::NotItsOwn)
        };
        observed.agents.values().filter(waits).count()
    };
    assert_eq!(waiting(&place), SHARE + more);
    rejudge(&place).await;
    assert_eq!(waiting(&place), more);
    rejudge(&place).await;
    assert_eq!(waiting(&place), 0);
}

/// What kept evidence cannot tell is not looked at in every pass; the agent is asked instead, once it was tried.
#[tokio::test]
async fn evidence_that_does_not_do_is_looked_at_once() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    let mut spec = place.spec();
    spec.verifiers.ita = Some(ItaSpec::default());
    place.adopt(spec);
    rejudge(&place).await;
    let revision = place.world.revision().expect("a revision");
    let observed = observe(&place.world, &revision, place.clock.now());
    let seen = &observed.agents[&agent.order.agent()];
    assert_eq!(
        (seen.trust, seen.remedy),
        (Trust::Unknown, Remedy::FreshEvidence)
    );
    assert!(place.world.unjudged.holds(&agent.order.agent()));
}

#[tokio::test]
async fn a_sighting_is_forgotten_when_its_policy_trusts_it() {
    let place = Place::new(&json!({}));
    let mut agent = place.agent().await;
    agent.body.mrtd = MeasurementDigest::new([7; 48]);
    place.join(&agent).await.expect_err("an unknown image");
    assert_eq!(place.world.sightings.list().len(), 1);
    let forget = |place: &Place| {
        let revision = place.world.revision().expect("a revision");
        trust::forget_trusted(&place.world, &revision);
        place.world.sightings.list().len()
    };
    assert_eq!(forget(&place), 1, "nobody trusts it");
    let mut spec = place.spec();
    spec.measurements[0].mrtd = "07".repeat(48);
    place.adopt(spec);
    assert_eq!(forget(&place), 0);
}

#[tokio::test]
async fn an_image_that_a_changed_policy_refuses_from_kept_evidence_is_a_sighting_once() {
    let place = Place::new(&json!({}));
    for _ in 0..2 {
        let agent = place.agent().await;
        place.join(&agent).await.expect("accepted");
    }
    let mut spec = place.spec();
    let known = std::mem::replace(&mut spec.measurements[0].mrtd, "07".repeat(48));
    place.adopt(spec);
    assert_eq!(place.world.sightings.list(), vec![]);
    rejudge(&place).await;
    let seen = place.world.sightings.list();
    assert_eq!(seen.len(), 1, "both have the same image");
    assert_eq!(seen[0].mrtd.to_string(), known);
    assert!(
        seen[0].refused.starts_with("EE-ATT-014"),
        "{}",
        seen[0].refused
    );
}

#[tokio::test]
async fn a_reconciler_that_starts_goes_on_from_the_sightings_that_were_reported() {
    let place = Place::new(&json!({}));
    let mut agent = place.agent().await;
    agent.body.mrtd = MeasurementDigest::new([7; 48]);
    place.join(&agent).await.expect_err("an unknown image");
    let reported = place.world.sightings.list();
    let next = Place::new(&json!({}));
    next.world.sightings.recall(&reported);
    assert_eq!(next.world.sightings.list(), reported);
}
