//! Tokens that nobody signed as the policy wants: other algorithms, other keys, other texts.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use easyenclave_attestation::simulated::TdAttributes;
use easyenclave_attestation::testing::authority::{Claim, Kind, Signer};
use easyenclave_attestation::{TokenKeys, TrustRoot, testing};
use easyenclave_schemas::documents::{ItaVersion, SigningAlgorithm};
use easyenclave_schemas::evidence::{QuoteBytes, ReasonCode, TokenBytes};
use proptest::prelude::*;
use serde_json::json;

use crate::bench::{Bench, Shown, now};

#[tokio::test]
async fn the_policy_chooses_the_algorithm() {
    for algorithm in [SigningAlgorithm::PS384, SigningAlgorithm::RS256] {
        let mut bench = Bench::of(ItaVersion::V2, algorithm).await;
        for name in [
            "none", "None", "", "HS256", "HS384", "ES256", "EdDSA", "PS256", "RS384",
        ] {
            bench.authority.is_honest();
            bench.authority.says(Claim::Header("alg", json!(name)));
            assert_eq!(
                bench.refusal().await,
                ReasonCode::ItaSignatureInvalid,
                "{name}"
            );
            bench.authority.says(Claim::Hmac);
            assert_eq!(
                bench.refusal().await,
                ReasonCode::ItaSignatureInvalid,
                "{name}"
            );
            bench.authority.is_honest();
            bench.authority.says(Claim::Header("alg", json!(name)));
            bench.authority.says(Claim::Signature(Vec::new()));
            assert_eq!(
                bench.refusal().await,
                ReasonCode::ItaSignatureInvalid,
                "{name}"
            );
        }
        // A good signature of the algorithm that the policy does not name.
        bench.authority.is_honest();
        let shown = bench.mint().await.expect("a token");
        let keys = bench.keys(&shown, now()).await.expect("keys");
        bench.settings_mut().algorithm = match algorithm {
            SigningAlgorithm::PS384 => SigningAlgorithm::RS256,
            SigningAlgorithm::RS256 => SigningAlgorithm::PS384,
        };
        let refused = bench
            .judge(&shown, Some(&keys), now())
            .expect_err("refused");
        assert_eq!(refused.code, ReasonCode::ItaSignatureInvalid);
    }
}

#[tokio::test]
async fn a_header_names_one_algorithm_and_one_key_and_no_extension() {
    let bench = Bench::new().await;
    for claim in [
        Claim::HeaderWithout("alg"),
        Claim::HeaderWithout("kid"),
        Claim::Header("alg", json!(["PS384"])),
        Claim::Header("kid", json!(1)),
        Claim::Header("kid", json!(null)),
        Claim::Header("crit", json!(["b64"])),
        Claim::Header("crit", json!(null)),
    ] {
        bench.authority.is_honest();
        let said = format!("{claim:?}");
        bench.authority.says(claim);
        assert_eq!(
            bench.refusal().await,
            ReasonCode::ItaSignatureInvalid,
            "{said}"
        );
    }
}

/// Keys come from the address that the policy pins; whatever the token names is not asked.
#[tokio::test]
async fn an_address_in_a_token_is_never_asked() {
    let bench = Bench::new().await;
    let trap = easyenclave_attestation::testing::authority::Authority::start(now()).await;
    trap.publishes(&[Signer::Second]);
    let url = &trap
        .settings(ItaVersion::V2, SigningAlgorithm::PS384)
        .jwks_url;
    for name in ["jku", "x5u"] {
        bench.authority.says(Claim::Header(name, json!(url)));
    }
    bench
        .authority
        .says(Claim::Header("jwk", Signer::Second.entry()));
    bench
        .attempt()
        .await
        .expect("what it names does not matter");
    bench.authority.signs_with(Signer::Second);
    assert_eq!(bench.refusal().await, ReasonCode::ItaSignatureInvalid);
    assert_eq!(trap.arrived(), []);
    assert_eq!(bench.authority.count(Kind::Other), 0);
}

#[tokio::test]
async fn a_key_counts_only_for_what_it_is_for() {
    let bench = Bench::new().await;
    let shown = bench.mint().await.expect("a token");
    let entry = Signer::First.entry();
    let with = |field: &str, value: &str| {
        let mut entry = entry.clone();
        entry[field] = json!(value);
        json!({ "keys": [entry, Signer::Second.entry()] }).to_string()
    };
    for (field, value, counts) in [
        ("use", "sig", true),
        ("use", "enc", false),
        ("alg", "PS384", true),
        ("alg", "RS256", false),
        ("kty", "EC", false),
        ("kty", "oct", false),
    ] {
        let keys = TokenKeys::parse(with(field, value).as_bytes()).expect("keys");
        let judged = bench.judge(&shown, Some(&keys), now());
        assert_eq!(judged.is_ok(), counts, "{field} {value}");
        // What is kept with a verdict says the same later.
        let kept = TokenKeys::parse(&keys.to_json()).expect("keys");
        assert_eq!(kept, keys);
        assert_eq!(bench.judge(&shown, Some(&kept), now()).is_ok(), counts);
    }
}

struct Fixture {
    bench: Bench,
    shown: Shown,
    keys: TokenKeys,
    // The server lives on it.
    _runtime: tokio::runtime::Runtime,
}

static FIXTURES: LazyLock<[Fixture; 2]> = LazyLock::new(|| {
    [SigningAlgorithm::PS384, SigningAlgorithm::RS256].map(|algorithm| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (bench, shown, keys) = runtime.block_on(async {
            let bench = Bench::of(ItaVersion::V2, algorithm).await;
            let shown = bench.mint().await.expect("a token");
            let keys = bench.keys(&shown, now()).await.expect("keys");
            (bench, shown, keys)
        });
        let accepted = bench.judge(&shown, Some(&keys), now());
        accepted.expect("unaltered it is accepted");
        Fixture {
            bench,
            shown,
            keys,
            _runtime: runtime,
        }
    })
});

impl Fixture {
    fn token(&self) -> &[u8] {
        self.shown
            .evidence
            .token
            .as_ref()
            .expect("a token")
            .as_bytes()
    }

    fn refuses(&self, token: Vec<u8>) -> bool {
        let mut shown = self.shown.clone();
        shown.evidence.token = Some(TokenBytes::new(token).expect("short"));
        self.bench.judge(&shown, Some(&self.keys), now()).is_err()
    }
}

#[test]
fn no_byte_of_a_token_can_be_another() {
    for fixture in FIXTURES.iter() {
        let token = fixture.token();
        // Whether a byte is covered does not depend on what it becomes; the last of each part is the tricky one.
        for at in (0..token.len()).filter(|at| at % 7 == 0 || token.len() - at < 4) {
            for other in [token[at] ^ 1, b'.', b'=', b'A', b'-', b'_', 0, 0xFF] {
                let mut altered = token.to_vec();
                altered[at] = other;
                assert!(altered == token || fixture.refuses(altered), "{at} {other}");
            }
        }
    }
}

#[test]
fn a_token_has_one_spelling() {
    for fixture in FIXTURES.iter() {
        let text = String::from_utf8(fixture.token().to_vec()).expect("text");
        let parts: Vec<_> = text.split('.').collect();
        let again = |engine: &base64::engine::GeneralPurpose, at: usize| {
            let bytes = URL_SAFE_NO_PAD.decode(parts[at]).expect("base64");
            let mut parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
            parts[at] = engine.encode(bytes);
            parts.join(".")
        };
        for at in 0..3 {
            for engine in [&STANDARD, &URL_SAFE] {
                let other = again(engine, at);
                assert!(other == text || fixture.refuses(other.into_bytes()), "{at}");
            }
        }
        for other in [
            format!(" {text}"),
            format!("{text}\n"),
            format!("{text}."),
            format!("{text}=="),
            format!(".{text}"),
            format!("Bearer {text}"),
            parts[..2].join("."),
            format!("{}.{}.", parts[0], parts[1]),
            String::new(),
            "..".into(),
        ] {
            assert!(fixture.refuses(other.clone().into_bytes()), "{other:.40}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Bytes put in, taken out or replaced anywhere.
    #[test]
    fn no_mutation_of_a_token_verifies(
        which in 0..2_usize,
        at in any::<prop::sample::Index>(),
        taken in 0..40_usize,
        put in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let fixture = &FIXTURES[which];
        let token = fixture.token();
        let from = at.index(token.len() + 1);
        let to = (from + taken).min(token.len());
        let mut altered = token.to_vec();
        altered.splice(from..to, put);
        prop_assert!(altered == token || fixture.refuses(altered));
    }

    /// The same in its own alphabet, which gets further.
    #[test]
    fn no_mutation_in_its_alphabet_verifies(
        which in 0..2_usize,
        at in any::<prop::sample::Index>(),
        taken in 0..8_usize,
        put in "[A-Za-z0-9_.-]{0,8}",
    ) {
        let fixture = &FIXTURES[which];
        let token = fixture.token();
        let from = at.index(token.len() + 1);
        let to = (from + taken).min(token.len());
        let mut altered = token.to_vec();
        altered.splice(from..to, put.into_bytes());
        prop_assert!(altered == token || fixture.refuses(altered));
    }

    /// Claims and headers of anybody's make, with every signature that somebody without the key can give.
    #[test]
    fn no_text_verifies_without_the_key(
        header in "\\{\"alg\":\"(none|PS384|RS256|HS256)\",\"kid\":\"(first|second)?\"\\}",
        signature in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        for fixture in FIXTURES.iter() {
            let text = std::str::from_utf8(fixture.token()).expect("text");
            let payload = text.split('.').nth(1).expect("claims");
            let forged = format!(
                "{}.{payload}.{}",
                URL_SAFE_NO_PAD.encode(&header),
                URL_SAFE_NO_PAD.encode(&signature)
            );
            prop_assert!(fixture.refuses(forged.into_bytes()));
        }
    }
}

/// Under a token alone nobody else looks at the quote's signatures: a genuine token beside a quote that was altered
/// after it was signed, where the token says nothing of what was altered.
#[tokio::test]
async fn a_token_does_not_vouch_for_bytes_that_nobody_signed() {
    let bench = Bench::new().await;
    let shown = bench.mint().await.expect("a token");
    let keys = bench.keys(&shown, now()).await.expect("keys");
    // MRSIGNERSEAM, SEAMATTRIBUTES, TDATTRIBUTES, XFAM, MRCONFIGID, MROWNER; the platform's certificate.
    let quote = shown.evidence.quote.as_bytes();
    let certificate = quote.len() - 3000;
    for at in [112, 160, 175, 176, 232, 280, certificate] {
        let mut altered = quote.to_vec();
        altered[at] ^= 1;
        let mut forged = shown.clone();
        forged.evidence.quote = QuoteBytes::new(altered).expect("as long");
        let refused = bench
            .judge(&forged, Some(&keys), now())
            .expect_err("refused");
        let codes = [
            ReasonCode::QuoteSignatureInvalid,
            ReasonCode::TrustRootMismatch,
        ];
        assert!(codes.contains(&refused.code), "{at}: {refused}");
    }
}

/// A root that merely lies in the quote vouches for nothing.
#[tokio::test]
async fn another_root_in_the_quote_is_not_its_root() {
    let mut bench = Bench::new().await;
    let mut shown = bench.mint().await.expect("a token");
    let keys = bench.keys(&shown, now()).await.expect("keys");
    let other = testing::platform(now()).expect("a platform");
    let collateral = other.collateral(now()).expect("collateral");
    let chain = &collateral.as_dcap().tcb_info_issuer_chain;
    let root = &chain[chain.rfind("-----BEGIN").expect("a certificate")..];
    let quote =
        testing::with_certificates(shown.evidence.quote.as_bytes(), |own| own.to_owned() + root);
    shown.evidence.quote = QuoteBytes::new(quote).expect("short");
    bench
        .judge(&shown, Some(&keys), now())
        .expect("more certificates do no harm");
    bench.policy.trust_root = TrustRoot::simulated(other.root_key_id()).expect("not Intel's");
    let refused = bench
        .judge(&shown, Some(&keys), now())
        .expect_err("refused");
    assert_eq!(refused.code, ReasonCode::TrustRootMismatch);
}

#[tokio::test]
async fn attributes_that_no_policy_lifts_are_refused_under_a_token_alone() {
    let launched = TdAttributes::DEFAULT.0;
    for attributes in [0, launched | 1 << 17, launched | 1 << 2, launched | 1 << 40] {
        let mut bench = Bench::new().await;
        bench.body.attributes = TdAttributes(attributes);
        assert_eq!(
            bench.refusal().await,
            ReasonCode::TdAttributesRefused,
            "{attributes:#x}"
        );
    }
}
