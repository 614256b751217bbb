//! Intel's own answers over the protocol: what comes out is what Intel signed, byte for byte.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dcap_qvl::{QeIdentity, QuoteCollateralV3, TcbInfo};
use easyenclave_attestation::testing::pcs::{Part, Pcs};
use easyenclave_attestation::{
    Collateral, CollateralSource, PckCa, PcsClient, PlatformFacts, TrustRoot,
};
use easyenclave_schemas::Timestamp;
use serde_json::Value;

use crate::bench::DEADLINE;

/// When the answers were good.
const PINNED: &str = "2025-06-10T00:00:00Z";

fn file(name: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/pcs");
    let text = std::fs::read_to_string(format!("{folder}/{name}.json")).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// The inner document as it stands in the answer, found without our parser, and its signature.
fn cut(body: &str) -> (String, Vec<u8>) {
    let start = body.find(':').expect("a field") + 1;
    let end = body.rfind(",\"signature\":\"").expect("a signature");
    let signature = &body[end + 14..body.len() - 2];
    (
        body[start..end].into(),
        hex::decode(signature).expect("hex"),
    )
}

fn collateral() -> QuoteCollateralV3 {
    let (tcb, identity) = (file("tdx_tcb_info"), file("tdx_qe_identity"));
    let crl = file("pck_crl_platform");
    let (tcb_info, tcb_info_signature) = cut(&text(&tcb["tcb_info_json"]));
    let (qe_identity, qe_identity_signature) = cut(&text(&identity["enclave_identity_json"]));
    let list = pem::parse(text(&crl["crl_data"])).expect("PEM");
    QuoteCollateralV3 {
        pck_crl_issuer_chain: text(&crl["issuer_chain"]),
        // Intel's list for the root is not among them: the other revocation list stands in and is refused.
        root_ca_crl: list.contents().to_vec(),
        pck_crl: list.contents().to_vec(),
        tcb_info_issuer_chain: text(&tcb["issuer_chain"]),
        tcb_info,
        tcb_info_signature,
        qe_identity_issuer_chain: text(&identity["issuer_chain"]),
        qe_identity,
        qe_identity_signature,
        pck_certificate_chain: None,
    }
}

#[tokio::test]
async fn intels_signatures_hold_over_what_is_cut_out_of_its_answers() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let golden = collateral();
    serde_json::from_str::<TcbInfo>(&golden.tcb_info).expect("the verifier reads it");
    serde_json::from_str::<QeIdentity>(&golden.qe_identity).expect("the verifier reads it");
    let facts = PlatformFacts {
        fmspc: "00806f050000".parse().expect("12 digits"),
        ca: PckCa::Platform,
    };
    let pcs = Pcs::start().await;
    pcs.serves(facts, &Collateral::new(golden));
    let folder = tempfile::tempdir().expect("a folder");
    let builder = PcsClient::with_deadline(folder.path(), TrustRoot::Intel, DEADLINE);
    let client = builder.expect("a client").build();
    client.asks(&[pcs.base()]);
    let now: Timestamp = PINNED.parse().expect("a time");
    client
        .collateral(&facts, now)
        .await
        .expect_err("no root CRL");
    let stock = client.stock(now);
    let why = stock[0].trouble.as_deref().expect("trouble");
    // All that comes before it was found good: both documents, their signers, the root.
    assert!(
        why.ends_with("a revocation list is not signed by its issuer"),
        "{why}"
    );
    assert_eq!(pcs.count(Part::TcbInfo), 1);
}

#[test]
fn intels_lists_in_both_forms_are_the_same() {
    let der = file("pck_crl_processor_der");
    let bytes = STANDARD.decode(text(&der["crl_data_base64"]));
    let bytes = bytes.expect("base64");
    assert_eq!(bytes.first(), Some(&0x30));
    assert!(text(&der["issuer_chain"]).contains("BEGIN CERTIFICATE"));
}
