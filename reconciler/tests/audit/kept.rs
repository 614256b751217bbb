//! What `easyenclave evidence` says of evidence that is kept in plain, sealed, or as digests.

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use easyenclave::seal::Sealer;
use easyenclave_schemas::Digest;
use easyenclave_schemas::evidence::Kept;
use expect_test::expect;
use serde_json::Value;
use tempfile::TempDir;

use crate::maker::{Keep, Maker};
use crate::{TWO, easyenclave, text, without_digests};

/// A branch that keeps so much, with evidence of each agent.
fn kept(keep: Keep) -> (TempDir, Maker) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut maker = Maker::new(dir.path(), &TWO);
    maker.keep = keep;
    maker.round(0);
    maker.push();
    (dir, maker)
}

/// What the program answers of the first agent.
fn answer(maker: &Maker, more: &[&str]) -> String {
    let agent = maker.status.agents.keys().next().expect("two of them");
    let args = [&["evidence", agent.as_str()], more].concat();
    let output = easyenclave(&maker.made.state, &args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn json(maker: &Maker, more: &[&str]) -> Value {
    let args = [&["--output", "json"], more].concat();
    serde_json::from_str(&answer(maker, &args)).expect("JSON")
}

/// An auditor, with the file of its identity.
struct Auditor {
    file: String,
    sealer: Sealer,
}

impl Auditor {
    fn new(dir: &TempDir, name: &str) -> Self {
        let identity = Identity::generate();
        let file = dir.path().join(name);
        std::fs::write(&file, identity.to_string().expose_secret()).expect("written");
        Self {
            file: file.display().to_string(),
            sealer: Sealer::of(&[identity.to_public().to_string()]).expect("a recipient"),
        }
    }
}

fn sealed(sealer: Sealer) -> Keep {
    Box::new(move |bytes| {
        let sealed = sealer.seal(&bytes).expect("sealed");
        (Kept::Sealed(Digest::of(&sealed)), Some(sealed))
    })
}

#[test]
fn sealed_evidence_is_read_with_an_identity_that_opens_it_and_told_to_be_sealed_otherwise() {
    let keys = tempfile::tempdir().expect("a folder");
    let (own, other) = (Auditor::new(&keys, "own"), Auditor::new(&keys, "other"));
    let (_dir, maker) = kept(sealed(own.sealer));
    let closed = answer(&maker, &[]);
    for part in [
        " (simulated)",
        "accepted under a simulated root",
        "made again     not made again: the evidence is sealed",
        "guest          not readable: the evidence is sealed",
        "TCB            UpToDate",
    ] {
        assert!(closed.contains(part), "{part} is missing: {closed}");
    }
    let foreign = answer(&maker, &["--identity", &other.file]);
    assert!(foreign.contains("sealed for others"), "{foreign}");
    let opened = answer(&maker, &["--identity", &own.file]);
    for part in [
        "the same comes out again",
        "quote          version 4, a guest of TDX",
    ] {
        assert!(opened.contains(part), "{part} is missing: {opened}");
    }
    let (closed, opened) = (json(&maker, &[]), json(&maker, &["--identity", &own.file]));
    assert!(closed["guest"].is_null() && closed["closed"].is_string());
    assert!(opened["guest"].is_object() && opened["closed"].is_null());
    for found in [&closed, &opened] {
        assert_eq!(found["simulated"], true, "{found}");
        assert!(found["outcome"]["accepted"].is_object(), "{found}");
    }
}

#[test]
fn evidence_of_which_digests_are_kept_is_told_to_be_so() {
    let (_dir, maker) = kept(Box::new(|_| (Kept::DigestOnly, None)));
    let said = answer(&maker, &[]);
    for part in [
        " (simulated)",
        "accepted under a simulated root",
        "made again     not made again: the evidence is kept as digests only",
        "guest          not readable: the evidence is kept as digests only",
    ] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
    let found = json(&maker, &[]);
    assert_eq!(found["simulated"], true, "{found}");
    assert!(found["guest"].is_null() && found["closed"].is_string());
}

/// Programs read these names.
#[test]
fn the_json_of_evidence_keeps_its_names() {
    let (_dir, maker) = kept(Box::new(|bytes| (Kept::Full, Some(bytes))));
    let mut found = json(&maker, &[]);
    // The signatures in a chain of certificates have no fixed length.
    let length = found["guest"]["quoteBytes"].take();
    assert!(length.as_u64() > Some(4000), "{length}");
    let json = serde_json::to_string_pretty(&found).expect("plain data");
    expect![[r#"
        {
          "agent": "tiny-5e62aa4020c4",
          "commit": "<digest>",
          "target": "tiny",
          "nodeSize": "tiny",
          "record": "<digest>",
          "shownAt": "2026-01-05T12:10:00Z",
          "simulated": true,
          "trustRoot": "<digest>",
          "policy": {
            "digest": "<digest>",
            "names": [
              "simulated"
            ],
            "desiredCommit": "<digest>"
          },
          "outcome": {
            "accepted": {
              "acceptedAt": "2026-01-05T12:10:00Z",
              "trustedUntil": "2026-01-06T12:10:00Z",
              "trustRoot": "<digest>",
              "simulated": true,
              "tcbStatus": "UpToDate",
              "advisoryIds": [],
              "mrtd": "<digest>",
              "rtmrs": [
                "<digest>",
                "<digest>",
                "<digest>",
                "<digest>"
              ],
              "mrseam": "<digest>",
              "mrconfigid": "<digest>",
              "fmspc": "53494d000001",
              "attributes": 268435456,
              "properties": {
                "dynamicPlatform": false,
                "cachedKeys": false,
                "smt": false
              },
              "tcbDate": "2025-01-01T00:00:00Z",
              "policyDigest": "<digest>",
              "evidenceDigest": "<digest>",
              "collateralDigest": "<digest>",
              "measurement": "simulated image tiny",
              "verifiers": [
                "dcap"
              ],
              "modes": {
                "nonce": "required",
                "tcb": "strict",
                "rtmr": "strict"
              },
              "collateralUntil": "2026-02-04T12:10:00Z",
              "eventLogDigest": "<digest>"
            }
          },
          "madeAgain": "the same comes out again",
          "publicKey": "<digest>",
          "guest": {
            "quoteVersion": 4,
            "tee": "a guest of TDX 1.0",
            "quoteBytes": null,
            "boundTo": "nonceAndKey",
            "mrtd": "<digest>",
            "rtmrs": [
              "<digest>",
              "<digest>",
              "<digest>",
              "<digest>"
            ],
            "mrseam": "<digest>",
            "mrconfigid": "<digest>",
            "attributes": 268435456,
            "nearest": {
              "name": "simulated image tiny",
              "differs": []
            },
            "eventLog": {
              "events": 3,
              "differsFromQuote": [],
              "difference": []
            }
          }
        }
    "#]]
    .assert_eq(&without_digests(&json));
}
