//! What a quote's own signatures prove, whatever collateral says: its certificates lead to the root that is asked about,
//! the platform vouches for the key, and that key signed these bytes. It says nothing of revocation, of the quoting
//! enclave or of how current the platform is; where this is used, Intel Trust Authority does.

use dcap_qvl::intel;
use dcap_qvl::quote::{AuthDataV3, Quote};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{Evidence, ReasonCode, Rejection, RootKeyId};
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::{facts, root};
use crate::collateral::Collateral;
use crate::layout::QuoteView;

/// Where a quoting enclave's report holds what it vouches for.
const REPORT_DATA: std::ops::Range<usize> = 320..352;

/// Whether a platform under this root made the quote, as far as its own signatures show that: for saying whose evidence
/// was refused, and never for accepting any. What the verifier accepts under a root with this collateral, that vouches
/// for; collateral is looked at for the root's certificate alone.
pub fn vouches(
    root: RootKeyId,
    evidence: &Evidence,
    collateral: Option<&Collateral>,
    at: Timestamp,
) -> bool {
    facts::read(evidence).is_ok_and(|quote| check(&quote, root, collateral, at).is_ok())
}

/// Checks them all.
pub(super) fn check(
    view: &QuoteView<'_>,
    root: RootKeyId,
    collateral: Option<&Collateral>,
    now: Timestamp,
) -> Result<(), Rejection> {
    let quote = facts::parse(view)?;
    let leaf = leaf(&quote, root, collateral, now)?;
    let auth = quote.auth_data.clone().into_v3();
    let of_platform = is_signed(&leaf, &auth.qe_report, &auth.qe_report_signature);
    let of_key = auth.qe_report[REPORT_DATA] == *vouched(&auth).as_ref();
    let of_quote = is_signed(
        &attestation_key(&auth),
        view.signed(),
        &auth.ecdsa_signature,
    );
    match (of_platform, of_key, of_quote) {
        (true, true, true) => Ok(()),
        (false, ..) => refuse("the quoting enclave's report is not signed by the platform"),
        (_, false, _) => refuse("the platform does not vouch for the key that signed the quote"),
        (.., false) => refuse("the quote was altered after it was signed"),
    }
}

/// The key of the platform's certificate, once its path to the root is verified.
fn leaf(
    quote: &Quote,
    root: RootKeyId,
    collateral: Option<&Collateral>,
    now: Timestamp,
) -> Result<Vec<u8>, Rejection> {
    let chain = intel::extract_cert_chain(quote).unwrap_or_default();
    if chain.len() > root::LONGEST_CHAIN {
        return refuse("the quote carries too many certificates");
    }
    let anchor = root::anchor(root, collateral, &chain);
    let anchor = CertificateDer::from_slice(anchor.ok_or(ReasonCode::TrustRootMismatch)?);
    let anchor = anchor_from_trusted_cert(&anchor).map_err(|_| ReasonCode::TrustRootMismatch)?;
    let certificates: Vec<_> = chain
        .iter()
        .map(|der| CertificateDer::from_slice(der))
        .collect();
    let [leaf, others @ ..] = certificates.as_slice() else {
        return refuse("the quote has no certificate");
    };
    let path = EndEntityCert::try_from(leaf).and_then(|leaf| {
        let algorithms = [webpki::ring::ECDSA_P256_SHA256];
        let (anchors, time) = ([anchor], UnixTime::since_unix_epoch(since_epoch(now)));
        let usage = KeyUsage::server_auth();
        leaf.verify_for_usage(&algorithms, &anchors, others, time, usage, None, None)
            .map(|_| ())
    });
    path.map_err(|error| foreign(&error))?;
    let certificate = Certificate::from_der(leaf).map_err(|_| ReasonCode::QuoteSignatureInvalid)?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    Ok(key.subject_public_key.raw_bytes().to_vec())
}

fn foreign(error: &webpki::Error) -> Rejection {
    match error {
        webpki::Error::UnknownIssuer => ReasonCode::TrustRootMismatch.into(),
        _ => Rejection::new(
            ReasonCode::QuoteSignatureInvalid,
            "a certificate in the quote is invalid",
        ),
    }
}

/// What the report of the quoting enclave has to hold: the key, and what its maker added.
fn vouched(auth: &AuthDataV3) -> ring::digest::Digest {
    let added = &auth.qe_auth_data.data;
    digest(&SHA256, &[&auth.ecdsa_attestation_key[..], added].concat())
}

fn attestation_key(auth: &AuthDataV3) -> Vec<u8> {
    [&[4], &auth.ecdsa_attestation_key[..]].concat()
}

fn is_signed(key: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
    key.verify(bytes, signature).is_ok()
}

fn since_epoch(now: Timestamp) -> std::time::Duration {
    std::time::Duration::from_secs(now.as_secs())
}

fn refuse<T>(message: &str) -> Result<T, Rejection> {
    Err(Rejection::new(ReasonCode::QuoteSignatureInvalid, message))
}
