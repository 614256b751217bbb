//! What today's policies and clock say, and the names of the fields that programs read.

use std::collections::BTreeMap;
use std::time::Duration;

use easyenclave::verify::{Scope, Signing, Standing, audit, today};
use easyenclave_git::{Past, commit_files};
use easyenclave_schemas::Timestamp;
use expect_test::expect;

use crate::maker::Maker;
use crate::{TWO, without_digests};

const POLICY: &str = "policies/simulated.yaml";

fn hours(from: Timestamp, hours: u64) -> Timestamp {
    from.plus(Duration::from_secs(3600 * hours))
}

#[test]
fn today_says_who_would_be_trusted_under_the_policies_and_at_the_time_of_now() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut maker = Maker::new(dir.path(), &TWO);
    maker.round(0);
    maker.push();
    let state = &maker.made.state;
    let past = Past::open(state).expect("opened");
    let tip = past.resolve("status").expect("a commit");
    let now = maker.status.at;
    let says = |at| {
        let main = past.resolve("main").expect("a commit");
        let found = today(&past, tip, main, at, None).expect("read");
        let agents = found.agents.into_iter();
        agents
            .inspect(|it| assert!(it.simulated, "whatever becomes of it: {it:?}"))
            .map(|it| (it.standing, it.message))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        says(hours(now, 1)),
        vec![(Standing::Accepted, String::new()); 2]
    );
    let aged = says(hours(now, 30));
    assert!(
        aged.iter()
            .all(|(standing, _)| *standing == Standing::Lapsed)
    );
    assert!(
        aged[0].1.ends_with("longer ago than the policy's maxAge"),
        "{aged:?}"
    );
    let document = past.resolve("main").expect("a commit");
    let blob = past.file(document, POLICY).expect("read").expect("there");
    let policy = String::from_utf8(past.blob(blob).expect("read")).expect("text");
    let other = policy.replace("mrtd: f03c731d", "mrtd: 00000000");
    assert_ne!(policy, other);
    let files = BTreeMap::from([(POLICY.to_owned(), Some(other.into_bytes()))]);
    let place = state.display().to_string();
    commit_files(
        &place,
        "main",
        &files,
        "outlaw",
        ("Ada", "ada@example.invalid"),
        9,
    )
    .expect("committed");
    let refused = says(hours(now, 1));
    assert!(
        refused
            .iter()
            .all(|(standing, _)| *standing == Standing::Refused)
    );
    assert!(
        refused[0].1.contains("is not one the policy trusts"),
        "{refused:?}"
    );
}

/// Programs read these names.
#[test]
fn the_json_of_an_audit_keeps_its_names() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut maker = Maker::new(dir.path(), &TWO);
    maker.policy.spec.max_age = "1000h".parse().expect("a duration");
    maker.round(0);
    maker.push();
    let past = Past::open(&maker.made.state).expect("opened");
    let tip = past.resolve("status").expect("a commit");
    let main = past.resolve("main").expect("a commit");
    let signing = Signing::desired(&past, "main").expect("somebody is named");
    let mut found = audit(&past, signing, Scope::Upto(tip), None).expect("read");
    let at = hours(maker.status.at, 30);
    found.today = Some(today(&past, tip, main, at, None).expect("read"));
    found.findings.truncate(1);
    if let Some(today) = &mut found.today {
        today.agents.truncate(1);
    }
    let json = serde_json::to_string_pretty(&found).expect("plain data");
    expect![[r#"
        {
          "commit": "<digest>",
          "commits": 1,
          "withoutSums": 0,
          "verdicts": {
            "recomputed": 2,
            "simulated": 2,
            "rootNotKnown": 0,
            "notKept": 0,
            "sealed": 0,
            "notOpened": 0,
            "notAccepted": 0,
            "notAcceptedSimulated": 0,
            "withoutEvidence": 0
          },
          "policiesLookedFor": true,
          "findings": [
            {
              "commit": "<digest>",
              "path": "agents/33/tiny-5e62aa4020c4.yaml",
              "kind": "policy",
              "message": "its policy is in no version of the desired state up to then: <evidence>"
            }
          ],
          "buildsOn": 0,
          "more": 0,
          "today": {
            "at": "2026-01-06T18:10:00Z",
            "desiredCommit": "<digest>",
            "commit": "<digest>",
            "agents": [
              {
                "path": "agents/33/tiny-5e62aa4020c4.yaml",
                "evidence": "<digest>",
                "standing": "lapsed",
                "simulated": true,
                "trustRoot": "<digest>",
                "trustedUntil": "2026-01-06T12:10:00Z",
                "message": "trust ended at 2026-01-06T12:10:00Z: it was shown longer ago than the policy's maxAge"
              }
            ]
          }
        }
    "#]].assert_eq(&without_digests(&json));
}
