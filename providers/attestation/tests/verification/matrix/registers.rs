//! Reference values: fixed registers, runtime registers, and events of a log that replays to them.

use easyenclave_attestation::EventLog;
use easyenclave_schemas::evidence::{
    EventLogBytes, Evidence, MeasurementDigest, ReasonCode, Rejection, Verdict,
};
use serde_json::{Value, json};

use super::{code, codes, judged, policy, quote};
use crate::bench::{Bench, now};

const OTHER: &str = "cd";

/// The bench's measurement with more fields.
fn measurement(bench: &Bench, fields: &Value) -> Value {
    let mut entry = json!({"name": "the image", "mrtd": bench.body.mrtd.to_string()});
    for (field, value) in fields.as_object().expect("fields") {
        entry[field] = value.clone();
    }
    entry
}

fn measured(bench: &Bench, fields: &Value, mode: &str) -> Result<Verdict, Rejection> {
    let entry = measurement(bench, fields);
    judged(
        bench,
        &json!({"measurements": [entry], "modes": {"rtmr": mode}}),
    )
}

#[test]
fn matrix_rtmr_001_each_register_that_differs_is_refused_and_named() {
    let bench = Bench::new();
    for index in 0..4 {
        let register = format!("rtmr{index}");
        let value = bench.body.rtmrs[index].to_string();
        measured(&bench, &json!({register.clone(): value}), "strict").expect("accepted");
        let other = json!({register.clone(): OTHER.repeat(48)});
        let rejection = measured(&bench, &other, "strict").expect_err("refused");
        assert_eq!(rejection.code, ReasonCode::RtmrMismatch);
        assert!(
            rejection.message.contains(&register.to_uppercase()),
            "{rejection}"
        );
    }
}

#[test]
fn matrix_rtmr_002_a_mismatch_is_let_pass_with_a_warning() {
    let other = json!({"rtmr1": OTHER.repeat(48)});
    let verdict = measured(&Bench::new(), &other, "warn").expect("accepted");
    assert_eq!(codes(&verdict), [ReasonCode::RtmrWarning]);
    assert!(verdict.warnings[0].message.contains("RTMR1"));
    let fitting = measured(&Bench::new(), &json!({}), "warn").expect("accepted");
    assert_eq!(codes(&fitting), []);
}

#[test]
fn matrix_rtmr_003_a_disabled_check_is_marked() {
    for fields in [json!({}), json!({"rtmr1": OTHER.repeat(48)})] {
        let verdict = measured(&Bench::new(), &fields, "disabled").expect("accepted");
        assert_eq!(codes(&verdict), [ReasonCode::RtmrWarning]);
        assert_eq!(
            verdict.warnings[0].message,
            "runtime measurements were not judged"
        );
    }
}

/// Module and launcher's word are fixed registers: they say which image it is, so no mode lets them pass.
#[test]
fn fixed_registers_are_part_of_what_is_trusted() {
    let bench = Bench::new();
    for (field, value) in [
        ("mrseam", bench.body.mrseam),
        ("mrconfigid", bench.body.mrconfigid),
    ] {
        measured(&bench, &json!({field: value.to_string()}), "strict").expect("accepted");
        for mode in ["strict", "warn", "disabled"] {
            let rejection = measured(&bench, &json!({field: OTHER.repeat(48)}), mode);
            let rejection = rejection.expect_err("refused");
            assert_eq!(rejection.code, ReasonCode::MrtdUntrusted);
            assert!(
                rejection.message.contains(&field.to_uppercase()),
                "{rejection}"
            );
        }
    }
}

/// The same image with several sets of registers: the one that fits is named.
#[test]
fn the_reference_that_fits_is_found_among_several() {
    let bench = Bench::new();
    let mut entries = vec![
        measurement(&bench, &json!({"mrseam": OTHER.repeat(48)})),
        measurement(&bench, &json!({"rtmr0": OTHER.repeat(48)})),
        measurement(&bench, &json!({"rtmr0": bench.body.rtmrs[0].to_string()})),
    ];
    for (index, entry) in entries.iter_mut().enumerate() {
        entry["name"] = json!(format!("set {index}"));
    }
    let verdict = judged(&bench, &json!({"measurements": entries})).expect("accepted");
    assert_eq!(verdict.measurement, "set 2");
}

/// A log of these events, by index of the log (register and one) and digest.
fn log(events: &[(u32, [u8; 48])]) -> Vec<u8> {
    let mut bytes = [&[0; 4][..], &3_u32.to_le_bytes(), &[0; 20], &[0; 4]].concat();
    for (index, digest) in events {
        for word in [*index, 0xD, 1] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(0xC_u16.to_le_bytes());
        bytes.extend(digest);
        bytes.extend([0; 4]);
    }
    bytes
}

const KERNEL: [u8; 48] = [0x11; 48];
const COMMAND_LINE: [u8; 48] = [0x22; 48];

/// A guest whose registers are what its log replays to.
fn logged() -> (Bench, Vec<u8>) {
    let log = log(&[
        (1, [0x33; 48]),
        (2, KERNEL),
        (3, COMMAND_LINE),
        (4, [0x44; 48]),
    ]);
    let mut bench = Bench::new();
    bench.body.rtmrs = EventLog::parse(&log).expect("a log").replay();
    bench.quote = quote(&bench);
    (bench, log)
}

fn with_log(bench: &Bench, log: Option<&[u8]>, changes: &Value) -> Result<Verdict, Rejection> {
    let event_log = log.map(|log| EventLogBytes::new(log.to_vec()).expect("short enough"));
    let evidence = Evidence {
        event_log,
        ..bench.evidence()
    };
    let policy = policy(bench, changes);
    easyenclave_attestation::testing::judge(
        &evidence,
        &bench.binding,
        &bench.collateral,
        &policy,
        now(),
    )
}

fn asks_for(bench: &Bench, rtmr: u32, digest: [u8; 48]) -> Value {
    let digest = MeasurementDigest::new(digest).to_string();
    let events = json!({"eventLog": [{"rtmr": rtmr, "digest": digest}]});
    json!({"measurements": [measurement(bench, &events)]})
}

#[test]
fn matrix_rtmr_001_an_event_that_the_policy_asks_for_has_to_be_in_the_log() {
    let (bench, log) = logged();
    let wanted = asks_for(&bench, 1, KERNEL);
    let verdict = with_log(&bench, Some(&log), &wanted).expect("accepted");
    assert!(verdict.event_log_digest.is_some());
    for (log, changes) in [
        (None, &wanted),
        (Some(&log[..]), &asks_for(&bench, 2, KERNEL)),
        (Some(&log[..]), &asks_for(&bench, 1, [0x55; 48])),
    ] {
        assert_eq!(
            code(with_log(&bench, log, changes)),
            ReasonCode::RtmrMismatch
        );
    }
}

/// An event that the policy asks for does not help a log that the registers do not vouch for.
#[test]
fn matrix_rtmr_001_a_log_that_does_not_replay_is_refused() {
    let (bench, honest) = logged();
    let wanted = asks_for(&bench, 1, KERNEL);
    let mut altered = honest.clone();
    altered[46] ^= 1;
    let shorter = log(&[(1, [0x33; 48]), (2, KERNEL), (4, [0x44; 48])]);
    let longer = log(&[(1, [0x33; 48]), (2, KERNEL), (2, KERNEL), (3, COMMAND_LINE)]);
    let grown = log(&[
        (1, [0x33; 48]),
        (2, KERNEL),
        (3, COMMAND_LINE),
        (4, [0x45; 48]),
    ]);
    for log in [&altered, &shorter, &longer, &grown, &honest[..50].to_vec()] {
        let rejection = with_log(&bench, Some(log), &wanted).expect_err("refused");
        assert_eq!(rejection.code, ReasonCode::EventLogMismatch, "{rejection}");
    }
}

/// A log is looked at even where the policy asks for nothing in it: it is kept beside the verdict.
#[test]
fn matrix_rtmr_002_and_003_a_log_that_does_not_replay_is_let_pass_as_the_mode_says() {
    let (bench, _) = logged();
    let foreign = log(&[(2, KERNEL)]);
    let strict = with_log(&bench, Some(&foreign), &json!({}));
    assert_eq!(code(strict), ReasonCode::EventLogMismatch);
    for mode in ["warn", "disabled"] {
        let verdict = with_log(&bench, Some(&foreign), &json!({"modes": {"rtmr": mode}}));
        assert_eq!(
            codes(&verdict.expect("accepted")),
            [ReasonCode::RtmrWarning]
        );
    }
}

/// The workload's register grows later; without its events a log says nothing about it.
#[test]
fn a_log_that_is_silent_on_rtmr3_is_compared_without_it() {
    let (bench, _) = logged();
    let silent = log(&[(1, [0x33; 48]), (2, KERNEL), (3, COMMAND_LINE)]);
    with_log(&bench, Some(&silent), &asks_for(&bench, 2, COMMAND_LINE)).expect("accepted");
}
