//! What is kept of a judgement under each choice, and that what was sealed once stays as it is.

use std::sync::Arc;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use easyenclave_attestation::{Collateral, testing};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{Bounded, Evidence, ReasonCode};
use easyenclave_store::SledStore;
use serde_json::json;

use super::super::BoundTo;
use super::*;
use crate::seal::Opener;

const QUOTE: &[u8] = b"a quote with the PPID of a machine in it";
const LOG: &[u8] = b"a log of what that machine started";
const TOKEN: &[u8] = b"a token about that machine";
const CHAIN: &str = "a chain whose leaf is that machine's";

/// All parts, and collateral with or without a chain in it.
fn exhibit(chain: Option<&str>) -> Exhibit {
    let now: Timestamp = "2026-05-01T12:00:00Z".parse().expect("a time");
    let platform = testing::platform(now).expect("a platform");
    let collateral = platform.collateral(now).expect("collateral");
    let mut collateral = serde_json::to_value(collateral).expect("plain data");
    collateral["pck_certificate_chain"] = json!(chain);
    let collateral: Collateral = serde_json::from_value(collateral).expect("collateral");
    let mut evidence = Evidence::of_quote(Bounded::new(QUOTE.to_vec()).expect("short"));
    evidence.event_log = Some(Bounded::new(LOG.to_vec()).expect("short"));
    evidence.token = Some(Bounded::new(TOKEN.to_vec()).expect("short"));
    let policy = json!({"spec": {"measurements": []}, "nodeSize": "tiny"});
    Exhibit {
        evidence,
        binding: BoundTo {
            nonce: "aa".repeat(32),
            ita: None,
            public_key: "bb".repeat(32),
        },
        nonce_failure: None,
        collateral: Some(collateral),
        token_keys: None,
        policy: serde_json::from_value(policy).expect("a policy"),
        at: now,
    }
}

fn filing(exhibit: &Exhibit, spec: &EvidenceSpec) -> Filing {
    let judgement = Judgement {
        agent: &AgentId::new("tiny-1").expect("a name"),
        exhibit,
        policy: &exhibit.policy,
        outcome: Err(&ReasonCode::MrtdUntrusted.into()),
    };
    Filing::of(&judgement, spec)
}

fn record(filing: &Filing) -> EvidenceRecord {
    serde_json::from_slice(&filing.files[&filing.record]).expect("a record")
}

fn keep(keep: Keep) -> EvidenceSpec {
    EvidenceSpec {
        keep: Some(keep),
        auditors: Vec::new(),
    }
}

/// An auditor's opener, and what says to seal for it.
fn sealed() -> (Opener, EvidenceSpec) {
    let identity = Identity::generate();
    let mut opener = Opener::default();
    let secret = identity.to_string();
    let taken = opener.take("it".into(), secret.expose_secret());
    taken.expect("an identity");
    let spec = EvidenceSpec {
        keep: None,
        auditors: vec![identity.to_public().to_string()],
    };
    (opener, spec)
}

/// Which of these texts some file has.
fn readable<'a>(filing: &Filing, texts: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let has = |text: &[u8]| {
        let mut files = filing.files.values();
        files.any(|file| file.windows(text.len()).any(|part| part == text))
    };
    texts.iter().copied().filter(|text| has(text)).collect()
}

#[test]
fn what_may_name_a_machine_is_sealed_and_opens_to_what_was_shown() {
    let (opener, spec) = sealed();
    let exhibit = exhibit(Some(CHAIN));
    let filing = filing(&exhibit, &spec);
    let all = [QUOTE, LOG, TOKEN, CHAIN.as_bytes()];
    assert_eq!(readable(&filing, &all), [] as [&[u8]; 0]);
    let record = record(&filing);
    assert_eq!(record.collateral, None);
    let collateral = serde_json::to_vec(&exhibit.collateral).expect("plain data");
    let shown = [QUOTE, LOG, TOKEN, &collateral];
    assert_eq!(record.parts().count(), shown.len());
    for (part, shown) in record.parts().zip(shown) {
        let Kept::Sealed(file) = part.kept else {
            panic!("{part:?}")
        };
        let opened = opener.open(&filing.files[&file], 1 << 20).expect("opened");
        assert!(opened == shown);
        assert_eq!(part.digest, Digest::of(shown));
    }
    let files: BTreeSet<_> = record.files().chain([filing.record]).collect();
    assert!(filing.files.keys().eq(&files), "nothing else is a file");
}

#[test]
fn with_digests_only_no_part_is_a_file_and_public_collateral_is() {
    for (chain, is_public) in [(Some(CHAIN), false), (None, true)] {
        let filing = filing(&exhibit(chain), &keep(Keep::Digest));
        let all = [QUOTE, LOG, TOKEN, CHAIN.as_bytes()];
        assert_eq!(readable(&filing, &all), [] as [&[u8]; 0]);
        let record = record(&filing);
        assert!(record.parts().all(|part| part.kept == Kept::DigestOnly));
        assert_eq!(record.collateral.is_some(), is_public);
        assert_eq!(record.private_collateral.is_some(), !is_public);
    }
}

#[test]
fn all_of_it_is_readable_when_that_is_asked_for() {
    let filing = filing(&exhibit(Some(CHAIN)), &keep(Keep::Full));
    let all = [QUOTE, LOG, TOKEN, CHAIN.as_bytes()];
    assert_eq!(readable(&filing, &all), all);
    let record = record(&filing);
    assert!(record.parts().all(|part| part.kept == Kept::Full));
    assert!(record.collateral.is_some() && record.private_collateral.is_none());
}

#[test]
fn what_is_sealed_for_nobody_is_a_digest_only() {
    let nobody = EvidenceSpec {
        keep: None,
        auditors: vec!["ada@example.org".into()],
    };
    for spec in [keep(Keep::Sealed), nobody, EvidenceSpec::default()] {
        let filing = filing(&exhibit(None), &spec);
        assert_eq!(readable(&filing, &[QUOTE, LOG, TOKEN]), [] as [&[u8]; 0]);
        assert!(
            record(&filing)
                .parts()
                .all(|part| part.kept == Kept::DigestOnly)
        );
    }
}

/// Sealing the same bytes again gives others, so a judgement is filed once: the branch would change without cause.
#[tokio::test]
async fn what_was_sealed_is_read_as_it_was_after_a_restart() {
    let (_, spec) = sealed();
    let filing = filing(&exhibit(None), &spec);
    let (record, files) = (filing.record, filing.files.clone());
    let dir = tempfile::tempdir().expect("a folder");
    let open = || {
        let store = SledStore::open(dir.path()).expect("a store");
        Journal::open(Arc::new(store)).expect("a journal")
    };
    let journal = open();
    let put = journal.transact(move |_, change| {
        filing.put(change, None);
        Ok::<_, ()>(())
    });
    put.await.expect("kept").expect("put");
    for _ in 0..2 {
        let read = filed(&journal, record).await.expect("read");
        assert_eq!(read.as_ref(), Some(&files));
    }
    drop(journal);
    let read = filed(&open(), record).await.expect("read");
    assert_eq!(read, Some(files));
}
