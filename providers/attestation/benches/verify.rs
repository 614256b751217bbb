//! Prints what one verification costs: `cargo bench -p easyenclave-attestation --features testing`. It measures, and
//! fails only when the evidence is not accepted.

use std::hint::black_box;
use std::time::Instant;

use easyenclave_attestation::simulated::TdBody;
use easyenclave_attestation::testing::judge;
use easyenclave_attestation::{Binding, report_data, testing};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{Evidence, QuoteBytes};

const ROUNDS: u32 = 2000;

fn main() {
    let now: Timestamp = "2026-05-01T12:00:00Z".parse().expect("a time");
    let platform = testing::platform(now).expect("a platform");
    let body = TdBody::of_image("small");
    let binding = Binding {
        ita: None,
        nonce: [1; 32],
        public_key: [2; 32],
    };
    let data = report_data(&binding.nonce, &binding.public_key);
    let quote = platform.guest().quote(data, &body).expect("a quote");
    let evidence = Evidence::of_quote(QuoteBytes::new(quote).expect("short enough"));
    let collateral = platform.collateral(now).expect("collateral");
    let policy = testing::policy(&platform, &body);
    let verify = || judge(&evidence, &binding, &collateral, &policy, now).expect("accepted");
    black_box(verify());
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(verify());
    }
    println!(
        "one verification: {:?} (mean of {ROUNDS})",
        start.elapsed() / ROUNDS
    );
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(platform.guest().quote(data, &body).expect("a quote"));
    }
    println!(
        "one simulated quote: {:?} (mean of {ROUNDS})",
        start.elapsed() / ROUNDS
    );
}
