//! How current a platform is: every status through every mode, grace to the second, and what no mode lets pass.

use std::time::Duration;

use dcap_qvl::TcbStatus as Said;
use easyenclave_attestation::testing::{self, judge};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{ReasonCode, Rejection, TcbStatus, Verdict};
use serde_json::{Value, json};

use super::{codes, policy, quote};
use crate::bench::{Bench, now};

/// Before the date of the simulated module's level, because the older of the two counts.
const SINCE: &str = "2024-11-01T00:00:00Z";

/// What collateral can say of a platform, and how a verdict calls it.
const STATUSES: [(Said, TcbStatus); 6] = [
    (Said::UpToDate, TcbStatus::UpToDate),
    (Said::SWHardeningNeeded, TcbStatus::SWHardeningNeeded),
    (Said::ConfigurationNeeded, TcbStatus::ConfigurationNeeded),
    (
        Said::ConfigurationAndSWHardeningNeeded,
        TcbStatus::ConfigurationAndSWHardeningNeeded,
    ),
    (Said::OutOfDate, TcbStatus::OutOfDate),
    (
        Said::OutOfDateConfigurationNeeded,
        TcbStatus::OutOfDateConfigurationNeeded,
    ),
];

fn judged_at(
    bench: &Bench,
    said: Said,
    advisories: &[&str],
    changes: &Value,
    now: Timestamp,
) -> Result<Verdict, Rejection> {
    let collateral = testing::collateral_saying(&bench.platform, now, said, SINCE, advisories);
    let policy = policy(bench, changes);
    judge(
        &bench.evidence(),
        &bench.binding,
        &collateral.expect("collateral"),
        &policy,
        now,
    )
}

fn judged(bench: &Bench, said: Said, changes: &Value) -> Result<Verdict, Rejection> {
    judged_at(bench, said, &["SIMULATED-SA-00007"], changes, now())
}

#[test]
fn matrix_tcb_001_every_status_but_up_to_date_is_refused_unless_allowed() {
    let bench = Bench::new();
    for (said, status) in &STATUSES[1..] {
        let rejection = judged(&bench, *said, &json!({})).expect_err("refused");
        assert_eq!(rejection.code, ReasonCode::TcbUnacceptable, "{status}");
        assert!(
            rejection.message.contains(&status.to_string()),
            "{rejection}"
        );
        let allowed = json!({"allowedTcbStatuses": [status], "tcbGrace": "600d"});
        let verdict = judged(&bench, *said, &allowed).expect("accepted");
        assert_eq!(verdict.tcb_status, *status);
        assert_eq!(verdict.advisory_ids, ["SIMULATED-SA-00007"]);
        assert_eq!(codes(&verdict), []);
        // An allowed list is the whole list.
        let other = judged(&bench, Said::UpToDate, &allowed).expect_err("refused");
        assert_eq!(other.code, ReasonCode::TcbUnacceptable);
    }
}

#[test]
fn matrix_tcb_002_every_status_is_let_pass_with_a_warning() {
    let bench = Bench::new();
    let changes = json!({"modes": {"tcb": "warn"}});
    for (said, status) in STATUSES {
        let verdict = judged(&bench, said, &changes).expect("accepted");
        assert_eq!(verdict.tcb_status, status);
        if status == TcbStatus::UpToDate {
            assert_eq!(codes(&verdict), []);
        } else {
            assert_eq!(codes(&verdict), [ReasonCode::TcbWarning]);
            assert!(verdict.warnings[0].message.contains(&status.to_string()));
        }
    }
}

#[test]
fn matrix_tcb_003_a_disabled_check_is_marked_whatever_the_status() {
    let bench = Bench::new();
    let changes = json!({"modes": {"tcb": "disabled"}});
    for (said, status) in STATUSES {
        let verdict = judged(&bench, said, &changes).expect("accepted");
        assert_eq!(codes(&verdict), [ReasonCode::TcbWarning]);
        let marked = format!("the TCB status {status} was not judged");
        assert_eq!(verdict.warnings[0].message, marked);
    }
}

#[test]
fn matrix_tcb_001_to_003_revoked_is_refused_under_every_mode() {
    let bench = Bench::new();
    for mode in ["strict", "warn", "disabled"] {
        let changes = json!({"modes": {"tcb": mode}});
        let rejection = judged(&bench, Said::Revoked, &changes).expect_err("refused");
        assert_eq!(rejection.code, ReasonCode::TcbUnacceptable, "{mode}");
        assert_eq!(
            rejection.message, "the platform's keys are revoked",
            "{mode}"
        );
    }
}

#[test]
fn matrix_tcb_001_an_advisory_that_the_policy_names_is_refused() {
    let bench = Bench::new();
    let changes = |advisory: &str| json!({"allowedTcbStatuses": ["SWHardeningNeeded"], "refusedAdvisories": [advisory]});
    let named = judged(
        &bench,
        Said::SWHardeningNeeded,
        &changes("SIMULATED-SA-00007"),
    );
    let named = named.expect_err("refused");
    assert_eq!(named.code, ReasonCode::TcbUnacceptable);
    assert!(named.message.contains("SIMULATED-SA-00007"), "{named}");
    let other = judged(
        &bench,
        Said::SWHardeningNeeded,
        &changes("SIMULATED-SA-00008"),
    );
    other.expect("accepted");
}

/// Grace counts from the date of the platform's own level, and trust ends with it.
#[test]
fn matrix_tcb_001_grace_ends_to_the_second() {
    let bench = Bench::new();
    let changes = json!({"allowedTcbStatuses": ["OutOfDate"], "tcbGrace": "600d", "maxAge": "30d"});
    let since: Timestamp = SINCE.parse().expect("a time");
    let end = since.plus(Duration::from_secs(600 * 24 * 3600));
    for second in [Duration::from_secs(3600), Duration::from_secs(1)] {
        let now = end.minus(second);
        let verdict = judged_at(&bench, Said::OutOfDate, &[], &changes, now).expect("within grace");
        assert_eq!(verdict.grace_until, Some(end));
        assert_eq!(verdict.trusted_until, end);
    }
    for now in [end, end.plus(Duration::from_secs(1))] {
        let rejection = judged_at(&bench, Said::OutOfDate, &[], &changes, now);
        let rejection = rejection.expect_err("grace is over");
        assert_eq!(rejection.code, ReasonCode::TcbUnacceptable);
        assert!(
            rejection.message.contains("longer than the policy's grace"),
            "{rejection}"
        );
    }
}

/// Grace is for what is out of date; nothing else waits for an update of the host.
#[test]
fn matrix_tcb_001_grace_ends_no_trust_in_other_statuses() {
    let bench = Bench::new();
    let changes = json!({"allowedTcbStatuses": ["ConfigurationNeeded"], "tcbGrace": "1s"});
    let verdict = judged(&bench, Said::ConfigurationNeeded, &changes).expect("accepted");
    assert_eq!(verdict.grace_until, None);
}

#[test]
fn matrix_tcb_001_a_guest_launched_before_an_update_is_to_be_launched_again() {
    let mut bench = Bench::new();
    bench.body = bench.body.clone().of_tdx_1_5();
    bench.quote = quote(&bench);
    let current = judged(&bench, Said::UpToDate, &json!({})).expect("accepted");
    assert_eq!(current.tcb_status, TcbStatus::UpToDate);
    assert_eq!(current.mrtd, bench.body.mrtd);
    bench.body = bench.body.clone().launched_before_an_update();
    bench.quote = quote(&bench);
    for (said, status) in [
        (Said::UpToDate, TcbStatus::TDRelaunchAdvised),
        (
            Said::ConfigurationNeeded,
            TcbStatus::TDRelaunchAdvisedConfigurationNeeded,
        ),
    ] {
        let rejection = judged(&bench, said, &json!({})).expect_err("refused");
        assert_eq!(rejection.code, ReasonCode::TcbUnacceptable);
        assert!(
            rejection.message.contains(&status.to_string()),
            "{rejection}"
        );
        let allowed = json!({"allowedTcbStatuses": [status]});
        let verdict = judged(&bench, said, &allowed).expect("accepted");
        assert_eq!(verdict.tcb_status, status);
        assert_eq!(verdict.grace_until, None);
        let warned = judged(&bench, said, &json!({"modes": {"tcb": "warn"}})).expect("accepted");
        assert_eq!(codes(&warned), [ReasonCode::TcbWarning]);
    }
}

/// An old quoting enclave under a platform that is up to date: grace counts from the enclave's own date.
#[test]
fn matrix_tcb_001_an_old_quoting_enclave_has_a_grace_of_its_own() {
    let bench = Bench::new();
    let since = "2024-06-01T00:00:00Z";
    let collateral = testing::collateral_of_old_enclave(&bench.platform, now(), since);
    let collateral = collateral.expect("collateral");
    let judged = |days: u32| {
        let grace = format!("{days}d");
        let policy = policy(
            &bench,
            &json!({"allowedTcbStatuses": ["OutOfDate"], "tcbGrace": grace}),
        );
        let evidence = bench.evidence();
        judge(&evidence, &bench.binding, &collateral, &policy, now())
    };
    // 699 days from then to now; 485 from the date of the platform's own level.
    let verdict = judged(700).expect("within grace");
    assert_eq!(verdict.tcb_status, TcbStatus::OutOfDate);
    assert_eq!(verdict.tcb_date, since.parse().expect("a time"));
    let rejection = judged(600).expect_err("refused");
    assert_eq!(rejection.code, ReasonCode::TcbUnacceptable);
}
