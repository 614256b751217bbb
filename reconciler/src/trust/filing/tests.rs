//! What is kept of a judgement under each choice, and that what was sealed once stays as it is.

#[path = "../../../../providers/attestation/src/real_samples/files.rs"]
mod files;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use easyenclave_attestation::simulated::{Platform, TdBody};
use easyenclave_attestation::{Collateral, Policy, testing};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{Bounded, Evidence, JudgedPolicy, QuoteBytes};
use easyenclave_store::SledStore;
use serde_json::{Value, json};

use self::files::samples;
use super::super::BoundTo;
use super::*;
use crate::seal::Opener;

const NOW: &str = "2026-05-01T12:00:00Z";
const QUOTE: &[u8] = b"a quote with the PPID of a machine in it";
const LOG: &[u8] = b"a log of what that machine started";
const TOKEN: &[u8] = b"a token about that machine";
const CHAIN: &str = "a chain whose leaf is that machine's";

/// All parts, and collateral with or without a chain in it.
fn exhibit(chain: Option<&str>) -> Exhibit {
    let now: Timestamp = NOW.parse().expect("a time");
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
    filing_of(exhibit, &json!({"kind": "intel"}), spec)
}

/// A policy under such a root.
fn applied(root: &Value) -> Applied {
    let image = json!({"name": "an image", "mrtd": TdBody::of_image("tiny").mrtd});
    let policy = json!({"trustRoot": root, "measurements": [image]});
    let document = json!({"spec": policy, "nodeSize": "tiny"});
    let document: JudgedPolicy = serde_json::from_value(document).expect("a policy");
    Applied {
        name: "policy".parse().expect("a name"),
        policy: Policy::new(&document.spec, &document.node_size).expect("a policy"),
        document,
    }
}

/// What is filed of an exhibit once a policy under such a root has judged it, by that and nothing else.
fn filing_of(exhibit: &Exhibit, root: &Value, spec: &EvidenceSpec) -> Filing {
    let applied = applied(root);
    let outcome = exhibit.judge(&applied.policy, exhibit.at);
    let judgement = Judgement {
        agent: AgentId::new("tiny-1").expect("a name"),
        exhibit: Arc::new(exhibit.clone()),
        applied: Arc::new(applied),
        outcome: outcome.map_or_else(Outcome::Refused, |it| Outcome::Accepted(Box::new(it))),
    };
    Filing::of(judgement, spec, Sealer::of(&spec.auditors))
}

fn simulated(platform: &Platform) -> Value {
    json!({"kind": "simulated", "keyId": platform.root_key_id().to_string()})
}

fn platform() -> Platform {
    testing::platform(NOW.parse().expect("a time")).expect("a platform")
}

/// What a guest of a platform shows.
fn shown_by(platform: &Platform) -> Exhibit {
    let mut exhibit = exhibit(None);
    let binding = exhibit.binding.parse().expect("a binding");
    let report_data = binding.report_data().expect("good data");
    let quote = platform
        .guest()
        .quote(report_data, &TdBody::of_image("tiny"));
    let quote = QuoteBytes::new(quote.expect("signed")).expect("short");
    exhibit.evidence = Evidence::of_quote(quote);
    exhibit.collateral = Some(platform.collateral(exhibit.at).expect("collateral"));
    exhibit
}

/// What a real machine shows.
fn real() -> Exhibit {
    let sample = |name: &str| std::fs::read(samples().join(name)).expect("a sample");
    let collateral = sample("tdx_quote_collateral.json");
    let quote = QuoteBytes::new(sample("tdx_quote")).expect("short");
    Exhibit {
        evidence: Evidence::of_quote(quote),
        collateral: serde_json::from_slice(&collateral).expect("collateral"),
        at: "2025-07-01T00:00:00Z".parse().expect("a time"),
        ..exhibit(None)
    }
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

/// A policy is one merge away from another root, and what is on the branch in plain stays there.
#[test]
fn real_evidence_is_never_in_plain_because_a_policy_names_a_simulated_root() {
    let (opener, spec) = sealed();
    let exhibit = real();
    let quote = exhibit.evidence.quote.as_bytes();
    let (begin, end) = (&quote[..600], &quote[quote.len() - 4000..]);
    for root in [simulated(&platform()), json!({"kind": "intel"})] {
        let of_nobody = filing_of(&exhibit, &root, &EvidenceSpec::default());
        assert_eq!(readable(&of_nobody, &[begin, end]), [] as [&[u8]; 0]);
        assert_eq!(record(&of_nobody).quote.kept, Kept::DigestOnly);
        let filing = filing_of(&exhibit, &root, &spec);
        assert_eq!(readable(&filing, &[begin, end]), [] as [&[u8]; 0]);
        let Kept::Sealed(file) = record(&filing).quote.kept else {
            panic!("{root}")
        };
        let opened = opener.open(&filing.files[&file], 1 << 20).expect("opened");
        assert!(quote.starts_with(&opened) && opened.len() > 4000);
        let asked = filing_of(&exhibit, &root, &keep(Keep::Full));
        assert_eq!(record(&asked).quote.kept, Kept::Full, "a person's choice");
    }
}

#[test]
fn what_is_surely_simulated_is_kept_in_plain_whether_accepted_or_refused() {
    let (own, foreign) = (platform(), platform());
    let kept = |exhibit: &Exhibit, root: &Value| {
        let filing = filing_of(exhibit, root, &EvidenceSpec::default());
        record(&filing).quote.kept
    };
    let good = shown_by(&own);
    let mut unbound = good.clone();
    unbound.binding.nonce = "cc".repeat(32);
    let own_policy = applied(&simulated(&own)).policy;
    assert!(good.judge(&own_policy, good.at).is_ok());
    assert!(unbound.judge(&own_policy, good.at).is_err());
    for exhibit in [&good, &unbound] {
        assert_eq!(kept(exhibit, &simulated(&own)), Kept::Full);
        for root in [simulated(&foreign), json!({"kind": "intel"})] {
            assert_eq!(kept(exhibit, &root), Kept::DigestOnly, "{root}");
        }
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
