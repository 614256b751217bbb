//! Whether collateral is whole and signed under a root, and when it counts, before there is a quote to verify with it.
//! It is not a verdict: the verifier checks all of this again, and revocation and levels with it. It keeps a source
//! from holding on to what no quote could ever be verified with.

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::Fmspc;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::{Decode, Encode};
use x509_cert::time::Time;

use super::policy::TrustRoot;
use super::root;
use crate::collateral::Collateral;

/// When collateral counts, and how new it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// From when on all parts count.
    pub(crate) from: Timestamp,
    /// Until when all parts count.
    pub(crate) until: Timestamp,
    /// The number of the vendor's evaluation that its TCB levels come from; it grows.
    pub(crate) evaluation: u32,
    /// When its TCB levels were issued.
    pub(crate) issued: Timestamp,
}

/// The part of a signed document that is looked at here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    id: String,
    issue_date: Timestamp,
    next_update: Timestamp,
    #[serde(default)]
    fmspc: Option<String>,
    tcb_evaluation_data_number: u32,
}

/// A document with its signature, and the chain of who signed it.
struct Text<'a> {
    name: &'static str,
    text: &'a str,
    signature: &'a [u8],
    chain: &'a str,
}

/// Times that narrow down when collateral counts.
struct Window {
    from: Timestamp,
    until: Timestamp,
}

/// When collateral for this type of platform counts.
///
/// # Errors
/// In words, when a part is missing, is for something else, or is not signed under this root.
pub(crate) fn standing(
    root: &TrustRoot,
    fmspc: Fmspc,
    collateral: &Collateral,
) -> Result<Standing, String> {
    let parts = collateral.as_dcap();
    let anchor = root::published(root.key_id(), collateral);
    let anchor = anchor.ok_or("it does not come from the trusted root")?;
    let anchor = certificate(anchor)?;
    let mut window = Window {
        from: Timestamp::default(),
        until: Timestamp::from_millis(i64::MAX),
    };
    window.certificate(&anchor);
    let tcb = Text {
        name: "the TCB information",
        text: &parts.tcb_info,
        signature: &parts.tcb_info_signature,
        chain: &parts.tcb_info_issuer_chain,
    };
    let enclave = Text {
        name: "the quoting enclave's identity",
        text: &parts.qe_identity,
        signature: &parts.qe_identity_signature,
        chain: &parts.qe_identity_issuer_chain,
    };
    let tcb = window.document(&anchor, &tcb)?;
    let enclave = window.document(&anchor, &enclave)?;
    let hex = tcb.fmspc.as_deref().unwrap_or_default().to_lowercase();
    if tcb.id != "TDX" || enclave.id != "TD_QE" || hex != fmspc.to_string() {
        return Err("it is for another type of platform".into());
    }
    window.revocations(&anchor, &parts.root_ca_crl)?;
    let authority = issued_by(&anchor, &parts.pck_crl_issuer_chain)?;
    window.certificate(&authority);
    window.revocations(&authority, &parts.pck_crl)?;
    Ok(Standing {
        from: window.from,
        until: window.until,
        evaluation: tcb.tcb_evaluation_data_number,
        issued: tcb.issue_date,
    })
}

impl Window {
    fn narrow(&mut self, from: Timestamp, until: Timestamp) {
        self.from = self.from.max(from);
        self.until = self.until.min(until);
    }

    fn certificate(&mut self, certificate: &Certificate) {
        let validity = certificate.tbs_certificate().validity();
        self.narrow(time(&validity.not_before), time(&validity.not_after));
    }

    /// A document, which a signer under the root has to have signed.
    fn document(&mut self, anchor: &Certificate, shown: &Text<'_>) -> Result<Document, String> {
        let (name, text) = (shown.name, shown.text);
        let signer = issued_by(anchor, shown.chain)?;
        self.certificate(&signer);
        let algorithm = &ECDSA_P256_SHA256_FIXED;
        signed(&signer, algorithm, text.as_bytes(), shown.signature)
            .map_err(|()| format!("{name} is not signed by its signer"))?;
        let document: Document =
            serde_json::from_str(text).map_err(|_| format!("{name} cannot be read"))?;
        self.narrow(document.issue_date, document.next_update);
        Ok(document)
    }

    /// A revocation list, which its issuer has to have signed.
    fn revocations(&mut self, issuer: &Certificate, der: &[u8]) -> Result<(), String> {
        const UNREADABLE: &str = "a revocation list cannot be read";
        let list: CertificateList = CertificateList::from_der(der).map_err(|_| UNREADABLE)?;
        let content = list.tbs_cert_list.to_der().map_err(|_| UNREADABLE)?;
        let signature = list.signature.raw_bytes();
        signed(issuer, &ECDSA_P256_SHA256_ASN1, &content, signature)
            .map_err(|()| "a revocation list is not signed by its issuer")?;
        let next = list.tbs_cert_list.next_update.ok_or(UNREADABLE)?;
        self.narrow(time(&list.tbs_cert_list.this_update), time(&next));
        Ok(())
    }
}

/// The first certificate of a chain, which the root itself has to have issued.
fn issued_by(anchor: &Certificate, chain: &str) -> Result<Certificate, String> {
    const UNREADABLE: &str = "an issuer's certificate cannot be read";
    let first = pem::parse_many(chain)
        .ok()
        .and_then(|chain| chain.into_iter().next());
    let first = certificate(first.ok_or(UNREADABLE)?.contents())?;
    let content = first.tbs_certificate().to_der().map_err(|_| UNREADABLE)?;
    let signature = first.signature().raw_bytes();
    signed(anchor, &ECDSA_P256_SHA256_ASN1, &content, signature)
        .map_err(|()| "an issuer's certificate is not signed by the trusted root")?;
    Ok(first)
}

fn certificate(der: &[u8]) -> Result<Certificate, String> {
    Certificate::from_der(der).map_err(|_| "a certificate cannot be read".into())
}

fn signed(
    by: &Certificate,
    algorithm: &'static dyn VerificationAlgorithm,
    content: &[u8],
    signature: &[u8],
) -> Result<(), ()> {
    let key = by.tbs_certificate().subject_public_key_info();
    UnparsedPublicKey::new(algorithm, key.subject_public_key.raw_bytes())
        .verify(content, signature)
        .map_err(|_| ())
}

fn time(time: &Time) -> Timestamp {
    let millis = time.to_unix_duration().as_millis();
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}
