//! Prints what verification costs on one core: `cargo bench -p easyenclave-attestation --features testing`. The bare
//! call of the verification library and a plain P-256 verification are measured in the same run, in turns, so that
//! the ratio is one of the same machine at the same time. It fails below the bar, or when evidence is not accepted.

#[path = "../src/real_samples/files.rs"]
mod files;

use std::hint::black_box;
use std::time::{Duration, Instant};

use dcap_qvl::QuotePolicy;
use dcap_qvl::verify::QuoteVerifier;
use easyenclave_attestation::simulated::TdBody;
use easyenclave_attestation::testing::{self, judge};
use easyenclave_attestation::{
    Binding, Collateral, PlatformFlags, Policy, QuoteView, TrustRoot, report_data,
};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::NonceMode;
use easyenclave_schemas::evidence::{Evidence, MeasurementDigest, QuoteBytes};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

/// Turns of each contender, and calls in a turn. The median turn counts.
const TURNS: usize = 41;
const CALLS: u32 = 50;

/// No less than this share of the bare call's speed.
const BAR: f64 = 0.9;

/// Evidence, all that it is judged by, and the root for the bare call.
struct Subject {
    name: &'static str,
    quote: Vec<u8>,
    collateral: Collateral,
    policy: Policy,
    bare: QuoteVerifier,
    now: Timestamp,
}

fn main() {
    let results = [simulated(), real()].map(|subject| compare(&subject));
    let slow = results.iter().any(|ratio| *ratio < BAR);
    assert!(!slow, "below the bar of {BAR}: {results:?}");
}

fn binding() -> Binding {
    Binding {
        ita: None,
        nonce: [1; 32],
        public_key: [2; 32],
    }
}

fn simulated() -> Subject {
    let now: Timestamp = "2026-05-01T12:00:00Z".parse().expect("a time");
    let platform = testing::platform(now).expect("a platform");
    let body = TdBody::of_image("small");
    let (nonce, key) = (binding().nonce, binding().public_key);
    let quote = platform.guest().quote(report_data(&nonce, &key), &body);
    let collateral = platform.collateral(now).expect("collateral");
    let chain = pem::parse_many(&collateral.as_dcap().tcb_info_issuer_chain).expect("PEM");
    Subject {
        name: "simulated quote",
        quote: quote.expect("a quote"),
        policy: testing::policy(&platform, &body),
        bare: QuoteVerifier::new(chain.last().expect("a root").contents().to_vec()),
        collateral,
        now,
    }
}

/// A real one. Nobody here has the key that it is bound to, so its binding alone is not judged.
fn real() -> Subject {
    let read = |name: &str| std::fs::read(files::samples().join(name)).expect("a sample");
    let quote = read("tdx_quote");
    let mrtd = MeasurementDigest::new(quote[184..232].try_into().expect("48 bytes"));
    let mut policy = testing::policy_of(TrustRoot::Intel, mrtd);
    policy.modes.nonce = NonceMode::Disabled;
    policy.platform = PlatformFlags {
        dynamic_platform: true,
        cached_keys: true,
        smt: true,
    };
    Subject {
        name: "real quote",
        quote,
        collateral: serde_json::from_slice(&read("tdx_quote_collateral.json")).expect("collateral"),
        policy,
        bare: QuoteVerifier::new_prod(),
        now: "2025-07-01T00:00:00Z".parse().expect("a time"),
    }
}

/// Ours as a share of the bare call's speed.
fn compare(subject: &Subject) -> f64 {
    let evidence = QuoteBytes::new(subject.quote.clone()).expect("short enough");
    let evidence = Evidence::of_quote(evidence);
    let binding = binding();
    let ours = || {
        let Subject {
            collateral, policy, ..
        } = subject;
        judge(&evidence, &binding, collateral, policy, subject.now).expect("accepted");
    };
    let seconds = subject.now.as_secs();
    let quote = QuoteView::parse(&subject.quote).expect("a quote");
    let bare = || {
        let policy = QuotePolicy::claims_only(seconds);
        let collateral = subject.collateral.as_dcap();
        let claims = subject
            .bare
            .verify_with_policy(quote.bytes(), collateral, seconds, &policy);
        black_box(claims.expect("accepted"));
    };
    let signed = quote.signed();
    let (signature, rest) = subject.quote[signed.len() + 4..].split_at(64);
    let key = [&[4][..], &rest[..64]].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
    let plain = || key.verify(signed, signature).expect("valid");
    let [ours, bare, plain] = medians([&ours, &bare, &plain]);
    let ratio = bare.as_secs_f64() / ours.as_secs_f64();
    println!("{}, one core, median of {TURNS} turns:", subject.name);
    println!(
        "  verify             {:7.0} a second ({ours:?} each)",
        rate(ours)
    );
    println!(
        "  bare dcap-qvl      {:7.0} a second ({bare:?} each)",
        rate(bare)
    );
    println!(
        "  plain P-256 verify {:7.0} a second ({plain:?} each)",
        rate(plain)
    );
    println!("  ratio to bare dcap-qvl {ratio:.3} (bar {BAR})");
    ratio
}

/// In turns, so that whatever else the machine does falls on all of them.
fn medians(contenders: [&dyn Fn(); 3]) -> [Duration; 3] {
    let mut turns = [(); 3].map(|()| Vec::with_capacity(TURNS));
    for _ in 0..TURNS {
        for (contender, turns) in contenders.iter().zip(&mut turns) {
            let start = Instant::now();
            for _ in 0..CALLS {
                contender();
            }
            turns.push(start.elapsed() / CALLS);
        }
    }
    turns.map(|mut turns| {
        turns.sort();
        turns[TURNS / 2]
    })
}

fn rate(each: Duration) -> f64 {
    1.0 / each.as_secs_f64()
}
