//! What is kept of a judgement for the status branch, by the judge and in the store of a reconciler.

#[path = "../../../providers/attestation/src/real_samples/files.rs"]
mod files;

use std::collections::BTreeMap;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use easyenclave::seal::Opener;
use easyenclave::trust::{self, Exhibit};
use easyenclave_schemas::Digest;
use easyenclave_schemas::documents::{EvidenceSpec, Keep, Span};
use easyenclave_schemas::evidence::{Evidence, EvidenceRecord, Kept, QuoteBytes, RootKeyId};
use easyenclave_schemas::records::{AgentRecord, TrustRecord};
use easyenclave_store::Space;
use serde_json::json;

use self::files::samples;
use crate::place::{Agent, Place};

/// Who may open what is sealed.
struct Auditor {
    recipient: String,
    opener: Opener,
}

impl Auditor {
    fn new() -> Self {
        let identity = Identity::generate();
        let mut opener = Opener::default();
        let secret = identity.to_string();
        let taken = opener.take("a file".into(), secret.expose_secret());
        taken.expect("an identity");
        Self {
            recipient: identity.to_public().to_string(),
            opener,
        }
    }
}

fn record(place: &Place, agent: &Agent) -> AgentRecord {
    let records = place.world.journal.read();
    records.agents[&agent.order.agent()].as_ref().clone()
}

/// All files that are kept, by their digests, and the newest record among them.
async fn filed(place: &Place, agent: &Agent) -> (BTreeMap<Digest, Vec<u8>>, EvidenceRecord) {
    let journal = &place.world.journal;
    let mut files = BTreeMap::new();
    for key in journal.keys(Space::Filings).await.expect("read") {
        let bytes = journal.get(Space::Filings, key).await.expect("read");
        let bytes = bytes.expect("there");
        files.insert(Digest::of(&bytes), bytes);
    }
    let newest = record(place, agent).evidence.expect("filed");
    let newest = serde_json::from_slice(&files[&newest]).expect("a record");
    (files, newest)
}

fn has(files: &BTreeMap<Digest, Vec<u8>>, text: &[u8]) -> bool {
    let mut files = files.values();
    files.any(|file| file.windows(text.len()).any(|part| part == text))
}

#[tokio::test]
async fn what_is_sealed_of_a_judgement_is_opened_by_its_auditor_and_nobody_else() {
    let place = Place::new(&json!({}));
    let (auditor, other) = (Auditor::new(), Auditor::new());
    let evidence = EvidenceSpec {
        keep: Some(Keep::Sealed),
        auditors: vec![auditor.recipient],
    };
    place.keep(place.spec(), evidence);
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    let kept = place
        .world
        .journal
        .get(Space::Evidence, agent.order.agent().to_string());
    let kept = kept.await.expect("read").expect("there");
    let shown: Exhibit = serde_json::from_slice(&kept).expect("evidence");
    let quote = shown.evidence.quote.as_bytes();

    let (files, record) = filed(&place, &agent).await;
    assert!(!has(&files, &quote[..600]) && !has(&files, &quote[quote.len() - 600..]));
    let Kept::Sealed(file) = record.quote.kept else {
        panic!("{record:?}")
    };
    assert!(other.opener.open(&files[&file], 1 << 20).is_err());
    let opened = auditor.opener.open(&files[&file], 1 << 20).expect("opened");
    assert!(quote.starts_with(&opened) && opened.len() > 4000);
    assert_eq!(Digest::of(&opened), record.quote.digest);
}

/// As if this machine had registered under Intel's root: its evidence is in the store.
async fn as_real(place: &Place, agent: &Agent) -> Vec<u8> {
    let sample = |name: &str| std::fs::read(samples().join(name)).expect("a sample");
    let kept = place
        .world
        .journal
        .get(Space::Evidence, agent.order.agent().to_string());
    let kept = kept.await.expect("read").expect("there");
    let shown: Exhibit = serde_json::from_slice(&kept).expect("evidence");
    let collateral = sample("tdx_quote_collateral.json");
    let quote = sample("tdx_quote");
    let shown = Exhibit {
        evidence: Evidence::of_quote(QuoteBytes::new(quote.clone()).expect("short")),
        collateral: serde_json::from_slice(&collateral).expect("collateral"),
        at: "2025-07-01T00:00:00Z".parse().expect("a time"),
        ..shown
    };
    let mut record = record(place, agent);
    record.trust = TrustRecord::Refused {
        code: "EE-ATT-005".into(),
        message: "as under a policy of before".into(),
        policy: Digest::of(b"a policy of before"),
        shown_at: shown.at,
        trust_root: Some(RootKeyId::INTEL),
    };
    let written = place.world.journal.transact(move |_, change| {
        let bytes = serde_json::to_vec(&shown).expect("plain data");
        change.put(Space::Evidence, record.agent.as_str(), bytes);
        change.put_agent(record);
        Ok::<_, ()>(())
    });
    written.await.expect("kept").expect("put");
    quote
}

/// A merge can put a simulated root in the place of Intel's, and what is on the branch in plain stays there.
#[tokio::test]
async fn a_policy_that_is_edited_to_a_simulated_root_puts_no_real_evidence_in_plain() {
    let auditor = Auditor::new();
    for auditors in [vec![auditor.recipient.clone()], Vec::new()] {
        let place = Place::new(&json!({"modes": {"nonce": "disabled"}}));
        let agent = place.agent().await;
        place.join(&agent).await.expect("accepted");
        let quote = as_real(&place, &agent).await;
        let mut spec = place.spec();
        spec.max_age = Span::from_secs(7200);
        let is_sealed = !auditors.is_empty();
        place.keep(
            spec,
            EvidenceSpec {
                keep: None,
                auditors,
            },
        );
        let revision = place.world.revision().expect("a revision");
        let judged = trust::rejudge(&place.world, &revision).await;
        judged.expect("judged");

        let now = record(&place, &agent).trust;
        assert!(matches!(&now, TrustRecord::Refused { code, .. } if code == "EE-ATT-022"));
        assert_eq!(now.trust_root(), Some(RootKeyId::INTEL));
        let (files, record) = filed(&place, &agent).await;
        assert_eq!(record.outcome.trust_root(), Some(RootKeyId::INTEL));
        let end = quote.len() - 4000;
        assert!(!has(&files, &quote[..600]) && !has(&files, &quote[end..end + 600]));
        match record.quote.kept {
            Kept::Sealed(file) => {
                let opened = auditor.opener.open(&files[&file], 1 << 20);
                assert!(quote.starts_with(&opened.expect("opened")));
            }
            kept => assert!(kept == Kept::DigestOnly && !is_sealed),
        }
    }
}
