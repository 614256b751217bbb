//! What a policy says of platforms and of the way a guest was launched: each property on and off, each preset, each
//! attribute.

use easyenclave_attestation::PlatformFlags;
use easyenclave_attestation::simulated::TdAttributes;
use easyenclave_attestation::testing::{self, judge};
use easyenclave_schemas::evidence::{MeasurementDigest, ReasonCode, Rejection, Verdict};
use serde_json::{Value, json};

use super::{judged, policy, quote};
use crate::bench::{Bench, now};

/// A platform with these properties, beside a guest on it.
fn bench_with(properties: PlatformFlags) -> Bench {
    let platform = testing::platform_with(now(), properties).expect("a platform");
    let mut bench = Bench {
        collateral: platform.collateral(now()).expect("collateral"),
        platform,
        ..Bench::new()
    };
    bench.quote = quote(&bench);
    bench
}

const NONE: PlatformFlags = PlatformFlags {
    dynamic_platform: false,
    cached_keys: false,
    smt: false,
};

/// Each property, its field in a policy, and its name in words.
const PROPERTIES: [(PlatformFlags, &str, &str); 3] = [
    (
        PlatformFlags {
            dynamic_platform: true,
            ..NONE
        },
        "dynamicPlatform",
        "dynamic platform",
    ),
    (
        PlatformFlags {
            cached_keys: true,
            ..NONE
        },
        "cachedKeys",
        "cached keys",
    ),
    (PlatformFlags { smt: true, ..NONE }, "smt", "SMT"),
];

#[test]
fn each_property_is_refused_by_name_unless_it_is_allowed() {
    for (properties, field, name) in PROPERTIES {
        let bench = bench_with(properties);
        let rejection = judged(&bench, &json!({})).expect_err("refused");
        assert_eq!(rejection.code, ReasonCode::PlatformRefused);
        assert!(
            rejection.message.ends_with(&format!(": {name}")),
            "{rejection}"
        );
        let verdict = judged(&bench, &json!({"platform": {field: true}})).expect("accepted");
        assert_eq!(verdict.properties, properties);
    }
}

/// The property decides, not the mode: these are not TCB statuses.
#[test]
fn no_mode_lets_a_property_pass() {
    let bench = bench_with(PROPERTIES[2].0);
    let changes = json!({"modes": {"nonce": "disabled", "tcb": "disabled", "rtmr": "disabled"}});
    let rejection = judged(&bench, &changes).expect_err("refused");
    assert_eq!(rejection.code, ReasonCode::PlatformRefused);
}

#[test]
fn each_preset_allows_what_it_says_and_single_flags_go_before_it() {
    for (preset, allowed) in [
        ("gcp", [true, false, true]),
        ("bareMetal", [true, true, true]),
        ("simulated", [false, false, false]),
    ] {
        for ((properties, field, name), allowed) in PROPERTIES.into_iter().zip(allowed) {
            let bench = bench_with(properties);
            let result = judged(&bench, &json!({"preset": preset}));
            assert_eq!(result.is_ok(), allowed, "{preset}, {name}");
            let turned = json!({"preset": preset, "platform": {field: !allowed}});
            assert_eq!(
                judged(&bench, &turned).is_ok(),
                !allowed,
                "{preset}, {name}"
            );
        }
    }
}

fn launched(attributes: u64, changes: &Value) -> Result<Verdict, Rejection> {
    let mut bench = Bench::new();
    bench.body.attributes = TdAttributes::DEFAULT.with(attributes);
    bench.quote = quote(&bench);
    judged(&bench, changes)
}

#[test]
fn each_attribute_is_required_or_refused_as_the_policy_says() {
    for (name, bit) in [
        ("icssd", 16),
        ("lass", 27),
        ("pks", 30),
        ("keyLocker", 31),
        ("tpa", 62),
        ("perfmon", 63),
    ] {
        let (with, without) = (1 << bit, 0);
        let required = json!({"tdAttributes": {"required": [name]}});
        let refused = json!({"tdAttributes": {"refused": [name]}});
        launched(with, &json!({})).expect("left to the guest");
        launched(with, &required).expect("as required");
        launched(without, &refused).expect("as refused");
        for (attributes, changes) in [(without, &required), (with, &refused)] {
            let rejection = launched(attributes, changes).expect_err("refused");
            assert_eq!(rejection.code, ReasonCode::TdAttributesRefused, "{name}");
            assert!(
                rejection.message.contains(&format!("{with:#x}")),
                "{rejection}"
            );
        }
    }
}

#[test]
fn debugging_profiling_and_migration_are_refused_under_every_mode() {
    let changes = json!({"modes": {"nonce": "disabled", "tcb": "disabled", "rtmr": "disabled"}});
    for bit in [0, 4, 5, 6, 29] {
        let rejection = launched(1 << bit, &changes).expect_err("refused");
        assert_eq!(rejection.code, ReasonCode::TdAttributesRefused, "bit {bit}");
    }
}

#[test]
fn a_guest_that_is_bound_to_a_service_guest_is_refused() {
    let mut bench = Bench::new();
    bench.body = bench.body.clone().of_tdx_1_5();
    let current = bench.body.current.as_mut().expect("TDX 1.5");
    current.service_guest = MeasurementDigest::new([7; 48]);
    bench.quote = quote(&bench);
    let policy = policy(&bench, &json!({}));
    let result = judge(
        &bench.evidence(),
        &bench.binding,
        &bench.collateral,
        &policy,
        now(),
    );
    let rejection = result.expect_err("refused");
    assert_eq!(rejection.code, ReasonCode::TdAttributesRefused);
    assert!(rejection.message.contains("MRSERVICETD"), "{rejection}");
}
