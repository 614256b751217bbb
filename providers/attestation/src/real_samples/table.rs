//! The table of docs/attestation.md: each real quote under each preset, at the pinned date, and simulated ones under
//! Intel's root. `cargo test -p easyenclave-attestation --features testing -- real --nocapture` prints it.

use easyenclave_schemas::NodeSize;
use easyenclave_schemas::documents::PolicySpec;
use easyenclave_schemas::evidence::{Rejection, Verdict};
use serde_json::{Value, json};

use super::{Sample, files};
use crate::simulated::{Platform, TdBody};
use crate::verify::appraise;
use crate::{PlatformFacts, Policy, QuoteView, report_data, testing};

/// Name, pinned time, and where the MRTD is.
const QUOTES: [(&str, &str, usize); 3] = [
    ("tdx_quote", "2025-07-01T00:00:00Z", 184),
    ("tdx_quote_td15ex", "2026-10-20T00:00:00Z", 190),
    ("tdx_quote_outdated", "2026-03-01T00:00:00Z", 190),
];

const DOCUMENT: &str = include_str!("../../../../docs/attestation.md");

#[test]
fn real_quotes_under_each_preset_are_as_the_document_says() {
    let mut rows = Vec::new();
    for (name, pinned, mrtd) in QUOTES {
        let sample = Sample::read(name, pinned);
        let mrtd = hex::encode(&sample.quote[mrtd..mrtd + 48]);
        for (preset, policy) in presets(&mrtd) {
            rows.push(row(name, pinned, preset, &sample.appraise(&policy)));
        }
        let platform = testing::platform(sample.now).expect("a platform");
        let policy = simulated(&platform, &mrtd);
        let under_simulated = sample.appraise(&policy);
        rows.push(row(name, pinned, "simulated", &under_simulated));
    }
    rows.push(sgx());
    rows.extend(without_collateral());
    rows.push(simulated_under_intel());
    let table = rows.join("\n");
    println!("{table}");
    assert!(
        DOCUMENT.contains(&table),
        "docs/attestation.md has another table than:\n{table}"
    );
}

fn policy(document: Value) -> Policy {
    let spec: PolicySpec = serde_json::from_value(document).expect("a document");
    Policy::new(&spec, &NodeSize::new("tiny").expect("a name")).expect("a policy")
}

fn presets(mrtd: &str) -> [(&'static str, Policy); 3] {
    let measurements = json!([{"name": "the sample", "mrtd": mrtd}]);
    let preset = |name: &str| policy(json!({"preset": name, "measurements": measurements}));
    [
        ("none", policy(json!({"measurements": measurements}))),
        ("gcp", preset("gcp")),
        ("bareMetal", preset("bareMetal")),
    ]
}

fn simulated(platform: &Platform, mrtd: &str) -> Policy {
    policy(json!({
        "trustRoot": {"kind": "simulated", "keyId": platform.root_key_id().to_string()},
        "preset": "simulated",
        "measurements": [{"name": "the sample", "mrtd": mrtd}],
    }))
}

fn row(quote: &str, at: &str, preset: &str, result: &Result<Verdict, Rejection>) -> String {
    let said = match result {
        Ok(verdict) => format!("accepted, {}", verdict.tcb_status),
        Err(rejection) => rejection.to_string(),
    };
    format!("| `{quote}` | {} | {preset} | {said} |", &at[..10])
}

/// An SGX quote has no preset to come under: it is not a TDX quote.
fn sgx() -> String {
    let pinned = "2025-07-01T00:00:00Z";
    let sample = Sample::read("sgx_quote", pinned);
    let rejection = PlatformFacts::of(&sample.evidence()).expect_err("no TDX quote");
    row("sgx_quote", pinned, "any", &Err(rejection))
}

/// They are readable; without collateral there is nothing to verify them with.
fn without_collateral() -> Vec<String> {
    let names = ["tdx-quote.hex", "quote-from-tappd.hex"];
    let read = |name: &str| {
        let text = std::fs::read_to_string(files::samples().join(name)).expect("a sample");
        let quote = hex::decode(text.trim().trim_start_matches("0x")).expect("hex");
        let mrtd = hex::encode(&quote[184..232]);
        let [_, _, (_, policy)] = presets(&mrtd);
        let evidence = super::evidence(quote);
        let binding = super::nobody();
        let now = "2025-07-01T00:00:00Z".parse().expect("a time");
        let case = crate::Case {
            evidence: &evidence,
            binding: &binding,
            nonce: Ok(()),
            collateral: None,
            token_keys: None,
            policy: &policy,
            now,
        };
        let quote = QuoteView::parse(evidence.quote.as_bytes()).expect("a quote");
        row(
            name,
            "any date  ",
            "any",
            &appraise(&case, &quote, Vec::new()),
        )
    };
    names.into_iter().map(read).collect()
}

/// With its own collateral and with Intel's alike.
fn simulated_under_intel() -> String {
    let real = Sample::read("tdx_quote", "2025-07-01T00:00:00Z");
    let platform = testing::platform(real.now).expect("a platform");
    let body = TdBody::of_image("small");
    let quote = platform
        .guest()
        .quote(report_data(&[1; 32], &[2; 32]), &body);
    let simulated = Sample {
        quote: quote.expect("a quote"),
        collateral: platform.collateral(real.now).expect("collateral"),
        now: real.now,
    };
    let [_, _, (_, policy)] = presets(&body.mrtd.to_string());
    let own = simulated.appraise(&policy);
    let intels = simulated.appraise_with(&real.collateral, &policy, real.now);
    assert_eq!(
        own.as_ref().expect_err("refused").code,
        intels.expect_err("refused").code
    );
    row("a simulated quote", "2025-07-01", "bareMetal", &own)
}
