//! Tests with real quotes of real platforms, from the sample folder of the verification library, at the
//! times at which their collateral was valid. Their nonces are unknown, so all but the binding is tested.

mod files;
mod protocol;
mod table;

use std::time::Duration;

use easyenclave_schemas::evidence::{
    Evidence, MeasurementDigest, QuoteBytes, ReasonCode, Rejection, RootKeyId, TcbStatus, Verdict,
};
use easyenclave_schemas::{Digest, Timestamp};

use crate::verify::{appraise, vouches};
use crate::{
    Binding, Collateral, PckCa, PlatformFacts, PlatformFlags, Policy, QuoteView, TrustRoot, testing,
};
use files::{library, metadata, samples};

struct Sample {
    quote: Vec<u8>,
    collateral: Collateral,
    now: Timestamp,
}

impl Sample {
    fn read(name: &str, now: &str) -> Self {
        let read = |file: String| std::fs::read(samples().join(&file)).expect("a sample");
        Self {
            quote: read(name.into()),
            collateral: serde_json::from_slice(&read(format!("{name}_collateral.json")))
                .expect("collateral"),
            now: now.parse().expect("a time"),
        }
    }

    fn appraise(&self, policy: &Policy) -> Result<Verdict, Rejection> {
        self.appraise_with(&self.collateral, policy, self.now)
    }

    fn appraise_with(
        &self,
        collateral: &Collateral,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Verdict, Rejection> {
        let (evidence, binding) = (self.evidence(), nobody());
        let case = testing::case(&evidence, &binding, collateral, policy, now);
        appraise(
            &case,
            &QuoteView::parse(&self.quote).expect("a quote"),
            Vec::new(),
        )
    }

    fn evidence(&self) -> Evidence {
        evidence(self.quote.clone())
    }
}

fn evidence(quote: Vec<u8>) -> Evidence {
    Evidence::of_quote(QuoteBytes::new(quote).expect("short enough"))
}

/// The samples are bound to keys that nobody here has.
fn nobody() -> Binding {
    Binding {
        ita: None,
        nonce: [0; 32],
        public_key: [0; 32],
    }
}

const ALL_FLAGS: PlatformFlags = PlatformFlags {
    dynamic_platform: true,
    cached_keys: true,
    smt: true,
};

fn version_4() -> Sample {
    Sample::read("tdx_quote", "2025-07-01T00:00:00Z")
}

fn version_5() -> Sample {
    Sample::read("tdx_quote_td15ex", "2026-10-20T00:00:00Z")
}

fn policy(mrtd: &[u8]) -> Policy {
    let mrtd = MeasurementDigest::new(mrtd.try_into().expect("48 bytes"));
    Policy {
        platform: ALL_FLAGS,
        max_age: Duration::from_secs(3600),
        ..testing::policy_of(TrustRoot::Intel, mrtd)
    }
}

/// With another version the error texts may be others, so `verify/reasons.rs` has to be read again first.
/// With the feature, anyone in the process could lower the levels that platforms are held to.
#[test]
fn the_library_is_the_one_that_was_read_and_nobody_may_override_its_levels() {
    let metadata = metadata();
    let library = library(&metadata);
    assert_eq!(library["version"], "0.7.1");
    let nodes = metadata["resolve"]["nodes"]
        .as_array()
        .expect("a list of nodes");
    let node = nodes
        .iter()
        .find(|node| node["id"] == library["id"])
        .expect("a node");
    let features = node["features"].as_array().expect("a list of features");
    assert!(
        features.iter().any(|feature| feature == "ring"),
        "{features:?}"
    );
    assert!(
        features
            .iter()
            .all(|feature| feature != "danger-allow-tcb-override"),
        "{features:?}"
    );
}

#[test]
fn real_quotes_are_accepted_under_intels_root_and_not_stamped_simulated() {
    for (sample, body) in [(version_4(), 48), (version_5(), 54)] {
        let field = |at: usize| &sample.quote[body + at..body + at + 48];
        let verdict = sample.appraise(&policy(field(136))).expect("accepted");
        assert!(!verdict.simulated);
        assert_eq!(verdict.trust_root, RootKeyId::INTEL);
        assert_eq!(verdict.tcb_status, TcbStatus::UpToDate);
        assert_eq!(verdict.mrseam.as_bytes(), field(16));
        assert_eq!(verdict.mrtd.as_bytes(), field(136));
        assert_eq!(verdict.mrconfigid.as_bytes(), field(184));
        for (index, rtmr) in verdict.rtmrs.iter().enumerate() {
            assert_eq!(rtmr.as_bytes(), field(328 + 48 * index));
        }
        assert_eq!(
            verdict.trusted_until,
            sample.now.plus(Duration::from_secs(3600))
        );
    }
}

#[test]
fn trust_in_a_real_quote_ends_with_its_collateral() {
    let sample = version_4();
    let mut policy = policy(&sample.quote[184..232]);
    policy.max_age = Duration::from_secs(365 * 24 * 3600);
    let verdict = sample.appraise(&policy).expect("accepted");
    assert_eq!(
        verdict.trusted_until,
        "2025-07-19T10:00:35Z".parse().expect("a time")
    );
}

#[test]
fn a_verdict_names_no_single_machine() {
    let sample = version_4();
    let verdict = sample
        .appraise(&policy(&sample.quote[184..232]))
        .expect("accepted");
    let text = serde_json::to_string(&verdict)
        .expect("writes")
        .to_lowercase();
    let quote = dcap_qvl::quote::Quote::parse(&sample.quote).expect("a quote");
    let pck = dcap_qvl::intel::extract_cert_chain(&quote).expect("a chain");
    let pck = dcap_qvl::intel::parse_pck_extension(&pck[0]).expect("an extension");
    for secret in [
        pck.ppid,
        pck.platform_instance_id.expect("there is one"),
        quote.qeid().to_vec(),
    ] {
        assert!(secret.len() >= 16 && !text.contains(&hex::encode(&secret)));
    }
    assert_eq!(verdict.fmspc.to_string(), "b0c06f000000");
}

#[test]
fn facts_of_a_real_quote_name_the_collateral_to_ask_for() {
    let facts = PlatformFacts::of(&version_4().evidence()).expect("facts");
    assert_eq!(
        (facts.fmspc.to_string().as_str(), facts.ca),
        ("b0c06f000000", PckCa::Platform)
    );
}

#[test]
fn a_real_quote_without_its_root_is_accepted_and_of_its_platform() {
    let mut sample = version_4();
    sample.quote = testing::without_root(&sample.quote);
    let accepted = sample.appraise(&policy(&sample.quote[184..232]));
    assert_eq!(accepted.expect("accepted").trust_root, RootKeyId::INTEL);
    assert!(vouches(
        RootKeyId::INTEL,
        &sample.evidence(),
        None,
        sample.now
    ));
}

#[test]
fn each_refused_platform_property_is_named() {
    let sample = version_4();
    let refused = |platform| {
        let policy = Policy {
            platform,
            ..policy(&sample.quote[184..232])
        };
        let rejection = sample.appraise(&policy).expect_err("refused");
        assert_eq!(rejection.code, ReasonCode::PlatformRefused);
        rejection.message
    };
    assert!(
        refused(PlatformFlags {
            dynamic_platform: false,
            ..ALL_FLAGS
        })
        .ends_with(": dynamic platform")
    );
    assert!(
        refused(PlatformFlags {
            cached_keys: false,
            ..ALL_FLAGS
        })
        .ends_with(": cached keys")
    );
    assert!(
        refused(PlatformFlags {
            smt: false,
            ..ALL_FLAGS
        })
        .ends_with(": SMT")
    );
    assert!(refused(PlatformFlags::default()).ends_with(": dynamic platform, cached keys, SMT"));
}

#[test]
fn a_real_quote_is_refused_under_a_simulated_root() {
    let sample = version_4();
    let platform = testing::platform(sample.now).expect("a platform");
    let trust_root = TrustRoot::simulated(platform.root_key_id()).expect("not Intel's");
    let policy = Policy {
        trust_root,
        ..policy(&sample.quote[184..232])
    };
    let own = platform.collateral(sample.now).expect("collateral");
    for collateral in [&sample.collateral, &own] {
        let rejection = sample
            .appraise_with(collateral, &policy, sample.now)
            .expect_err("refused");
        assert_eq!(rejection.code, ReasonCode::TrustRootMismatch, "{rejection}");
    }
}

/// A policy cannot be talked into a simulated root by adding it to real collateral, nor the reverse.
#[test]
fn a_root_added_to_an_issuer_chain_selects_nothing() {
    let sample = version_4();
    let platform = testing::platform(sample.now).expect("a platform");
    let own = platform.collateral(sample.now).expect("collateral");
    let mut mixed = sample.collateral.as_dcap().clone();
    mixed.tcb_info_issuer_chain += &own.as_dcap().tcb_info_issuer_chain;
    let mixed = Collateral::new(mixed);
    let policy = policy(&sample.quote[184..232]);
    let verdict = sample
        .appraise_with(&mixed, &policy, sample.now)
        .expect("Intel's root still counts");
    assert!(!verdict.simulated);
    let trust_root = TrustRoot::simulated(platform.root_key_id()).expect("not Intel's");
    let rejection = sample.appraise_with(
        &mixed,
        &Policy {
            trust_root,
            ..policy
        },
        sample.now,
    );
    assert_eq!(
        rejection.expect_err("refused").code,
        ReasonCode::TrustRootMismatch
    );
}

#[test]
fn a_simulated_quote_is_refused_under_intels_root_with_a_sentence() {
    let real = version_4();
    let platform = testing::platform(real.now).expect("a platform");
    let body = crate::simulated::TdBody::of_image("small");
    let binding = Binding {
        ita: None,
        nonce: [1; 32],
        public_key: [2; 32],
    };
    let data = crate::report_data(&binding.nonce, &binding.public_key);
    let quote = platform.guest().quote(data, &body).expect("a quote");
    let evidence = Evidence::of_quote(QuoteBytes::new(quote).expect("short enough"));
    let policy = policy(body.mrtd.as_bytes());
    for collateral in [
        &platform.collateral(real.now).expect("collateral"),
        &real.collateral,
    ] {
        let rejection = testing::judge(&evidence, &binding, collateral, &policy, real.now)
            .expect_err("refused");
        assert_eq!(rejection.code, ReasonCode::TrustRootMismatch, "{rejection}");
        assert!(
            rejection.message.contains("never accepted for one another"),
            "{rejection}"
        );
    }
}

#[test]
fn real_collateral_counts_only_in_its_own_time() {
    let sample = version_4();
    let policy = policy(&sample.quote[184..232]);
    let at =
        |now: &str| sample.appraise_with(&sample.collateral, &policy, now.parse().expect("a time"));
    for inside in ["2025-06-19T10:32:27Z", "2025-07-19T10:00:34Z"] {
        at(inside).expect("inside its window");
    }
    for outside in [
        "2025-06-19T10:32:26Z",
        "2025-07-19T10:00:35Z",
        "2026-11-01T00:00:00Z",
        "1969-01-01T00:00:00Z",
    ] {
        let rejection = at(outside).expect_err("outside its window");
        assert_eq!(
            rejection.code,
            ReasonCode::CollateralOutdated,
            "{outside}: {rejection}"
        );
    }
}

#[test]
fn a_real_platform_below_every_level_is_refused() {
    let sample = Sample::read("tdx_quote_outdated", "2026-03-01T00:00:00Z");
    let rejection = sample
        .appraise(&policy(&sample.quote[190..238]))
        .expect_err("refused");
    assert_eq!(rejection.code, ReasonCode::TcbUnacceptable);
    assert!(
        rejection.message.contains("older than every TCB level"),
        "{rejection}"
    );
}

#[test]
fn collateral_of_another_platform_type_is_named() {
    let (sample, other) = (
        version_4(),
        Sample::read("tdx_quote_outdated", "2026-03-01T00:00:00Z"),
    );
    let policy = policy(&sample.quote[184..232]);
    let rejection = sample
        .appraise_with(&other.collateral, &policy, other.now)
        .expect_err("refused");
    assert_eq!(
        rejection.code,
        ReasonCode::CollateralUnusable,
        "{rejection}"
    );
}

#[test]
fn an_sgx_quote_is_not_a_tdx_quote() {
    let sample = Sample::read("sgx_quote", "2025-07-01T00:00:00Z");
    let rejection = PlatformFacts::of(&sample.evidence()).expect_err("refused");
    assert_eq!(rejection.code, ReasonCode::QuoteUnreadable);
    assert!(
        rejection
            .message
            .contains("expected version 4 or 5, found 3"),
        "{rejection}"
    );
}

#[test]
fn real_padding_does_not_change_the_digest() {
    let mut sample = version_4();
    let policy = policy(&sample.quote[184..232]);
    let digest = sample.appraise(&policy).expect("accepted").evidence_digest;
    assert_eq!(digest, Digest::of(&sample.quote[..4936]));
    sample.quote.resize(8000, 0);
    assert_eq!(
        sample.appraise(&policy).expect("accepted").evidence_digest,
        digest
    );
}
