//! Key sets of any issuer: fetched from one address, within bounds, and forgotten in time.

use std::time::Duration;

use easyenclave_attestation::jwt::{KeySets, KeySetsError};
use easyenclave_attestation::testing::authority::{Authority, Fault, Kind, Signer};
use easyenclave_schemas::documents::{ItaVersion, SigningAlgorithm};

use crate::bench::now;

struct Issuer {
    authority: Authority,
    address: String,
    sets: KeySets,
}

/// Longer than any answer that comes takes here, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

impl Issuer {
    async fn new() -> Self {
        Self::with_deadline(PATIENCE).await
    }

    async fn with_deadline(deadline: Duration) -> Self {
        let authority = Authority::start(now()).await;
        let settings = authority.settings(ItaVersion::V1, SigningAlgorithm::RS256);
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            authority,
            address: settings.jwks_url,
            sets: KeySets::with_deadline(deadline).expect("TLS is there"),
        }
    }

    /// The names of the keys that count for a token that names this one, after so long.
    async fn after(&self, seconds: u64, key_id: &str) -> Result<Vec<&'static str>, KeySetsError> {
        let at = now().plus(Duration::from_secs(seconds));
        let keys = self.sets.keys(&self.address, Some(key_id), at).await?;
        let known = ["first", "second"];
        Ok(known.into_iter().filter(|id| keys.holds(id)).collect())
    }
}

#[tokio::test]
async fn keys_that_rotate_overlap_and_those_that_are_withdrawn_end() {
    let issuer = Issuer::new().await;
    assert_eq!(issuer.after(0, "first").await, Ok(vec!["first"]));
    issuer.authority.publishes(&[Signer::First, Signer::Second]);
    let both = Ok(vec!["first", "second"]);
    assert_eq!(
        issuer.after(20, "second").await,
        both,
        "a new one is asked for"
    );
    issuer.authority.publishes(&[Signer::Second]);
    assert_eq!(issuer.after(300, "first").await, both, "not for so long");
    assert_eq!(issuer.after(330, "first").await, Ok(vec!["second"]));
    assert_eq!(issuer.authority.count(Kind::Keys), 3);
}

#[tokio::test]
async fn keys_outlive_an_issuer_that_is_down_but_not_for_ever() {
    let issuer = Issuer::new().await;
    issuer.after(0, "first").await.expect("keys");
    let down = Fault::Status(503, String::new());
    issuer.authority.always(Kind::Keys, Some(down));
    assert_eq!(issuer.after(3000, "first").await, Ok(vec!["first"]));
    assert!(issuer.after(3601, "first").await.is_err());
}

#[tokio::test]
async fn what_is_no_key_set_is_none_and_says_why() {
    let huge = 300 * 1024;
    for (fault, why) in [
        (Fault::Status(503, "no".into()), "it answered 503"),
        (Fault::RetryAfter(429, 100), "it answered 429"),
        (
            Fault::Moved("http://127.0.0.1:1/certs".into()),
            "it answered 30",
        ),
        (
            Fault::Slow(Duration::from_secs(3600)),
            "no answer within 0.4 s",
        ),
        (Fault::Body("{}".into()), "not a JSON key set"),
        (Fault::Body(r#"{"keys": []}"#.into()), "no RSA key"),
        (Fault::Huge(huge), "it is longer than"),
    ] {
        let deadline = match fault {
            Fault::Slow(_) => Duration::from_millis(400),
            _ => PATIENCE,
        };
        let issuer = Issuer::with_deadline(deadline).await;
        issuer.authority.always(Kind::Keys, Some(fault));
        let error = issuer.after(0, "first").await.expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("127.0.0.1"), "{error}");
        // It is left alone for a moment, however many ask.
        let error = issuer.after(0, "first").await.expect_err(why).to_string();
        assert!(error.contains("it is not asked again for"), "{error}");
        assert_eq!(issuer.authority.count(Kind::Keys), 1, "{why}");
    }
}

#[tokio::test]
async fn a_key_without_a_name_is_left_out_and_the_others_count() {
    let issuer = Issuer::new().await;
    let mut nameless = Signer::Second.entry();
    nameless.as_object_mut().expect("a key").remove("kid");
    let set = serde_json::json!({"keys": [nameless, Signer::First.entry()]});
    let both = Fault::Body(set.to_string());
    issuer.authority.always(Kind::Keys, Some(both));
    assert_eq!(issuer.after(0, "first").await, Ok(vec!["first"]));
    let none = serde_json::json!({"keys": [set["keys"][0]]}).to_string();
    let error = easyenclave_attestation::TokenKeys::parse(none.as_bytes());
    let error = error.expect_err("no key has a name").to_string();
    assert!(error.contains("with a name"), "{error}");
}

#[tokio::test]
async fn strangers_who_hang_up_leave_only_so_many_waiting() {
    let issuer = Issuer::new().await;
    issuer.after(0, "first").await.expect("keys");
    let slow = Fault::Slow(Duration::from_secs(3600));
    issuer.authority.always(Kind::Keys, Some(slow));
    for _ in 0..64 {
        let asked = issuer.after(400, "made-up");
        let answer = tokio::time::timeout(Duration::ZERO, asked).await;
        assert!(answer.is_err(), "it hung up first");
    }
    let error = issuer.after(400, "made-up").await.expect_err("too many");
    assert!(error.to_string().ends_with("too many are waiting for it"));
    // Whose key is known has what is known.
    assert_eq!(issuer.after(400, "first").await, Ok(vec!["first"]));
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_https() {
    let issuer = Issuer::new().await;
    let keys = issuer.sets.keys("http://example.com/keys", None, now());
    assert!(matches!(keys.await, Err(KeySetsError::Settings(_))));
}
