//! From the root that a policy names to the verifier under that root. The evidence has no say in it.

use dcap_qvl::QuoteClaims;
use dcap_qvl::intel;
use dcap_qvl::verify::QuoteVerifier;
use easyenclave_schemas::evidence::{ReasonCode, Rejection, RootKeyId};
use ring::digest::{SHA384, digest};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use super::facts;
use super::policy::TrustRoot;
use super::reasons;
use crate::collateral::Collateral;
use crate::layout::QuoteView;

/// How many certificates of a chain are looked at, its first one among them: as many as the library takes. Real quotes
/// have three, real issuer chains two.
pub(super) const LONGEST_CHAIN: usize = 5;

/// The certificate of Intel's root, the one that the library has compiled in and does not show.
const INTEL: &[u8] = include_bytes!("intel.der");

/// The verifier under the policy's root: Intel's is compiled in; a simulated root's certificate comes with
/// the collateral and is taken only when it carries the key that the policy names.
pub(super) fn verifier(
    root: &TrustRoot,
    collateral: &Collateral,
) -> Result<QuoteVerifier, Rejection> {
    if collateral.size() > Collateral::MAX {
        return Err(Rejection::new(
            ReasonCode::CollateralUnusable,
            format!("the collateral is longer than {} bytes", Collateral::MAX),
        ));
    }
    match root {
        TrustRoot::Intel => Ok(QuoteVerifier::new_prod()),
        TrustRoot::Simulated(_) => simulated(root.key_id(), collateral).map(QuoteVerifier::new),
    }
}

/// The root that verified must be the root that was named, whatever led to it.
pub(super) fn check(root: &TrustRoot, claims: &QuoteClaims) -> Result<(), Rejection> {
    if claims.platform.root_key_id == root.key_id().as_bytes() {
        Ok(())
    } else {
        Err(ReasonCode::TrustRootMismatch.into())
    }
}

/// Refuses a quote whose certificates end in another root than the policy names, before anybody is asked about its
/// platform. A quote without a root is left to the verifier.
pub(super) fn another(root: &TrustRoot, quote: &QuoteView<'_>) -> Result<(), Rejection> {
    let chain = chain(quote);
    let looked_at = chain.iter().take(LONGEST_CHAIN);
    let roots: Vec<_> = looked_at.filter_map(|der| self_signed(der)).collect();
    if roots.is_empty() || roots.contains(&root.key_id()) {
        Ok(())
    } else {
        Err(reasons::foreign_quote())
    }
}

/// The certificates that a quote carries, its platform's first; none where they cannot be read.
fn chain(quote: &QuoteView<'_>) -> Vec<Vec<u8>> {
    let quote = facts::parse(quote).ok();
    let chain = quote.and_then(|quote| intel::extract_cert_chain(&quote).ok());
    chain.unwrap_or_default()
}

fn simulated(key_id: RootKeyId, collateral: &Collateral) -> Result<Vec<u8>, Rejection> {
    let known = collateral.roots(|| roots(collateral));
    known.ok_or(ReasonCode::CollateralUnusable)?;
    published(key_id, collateral)
        .map(<[u8]>::to_vec)
        .ok_or_else(|| {
            Rejection::new(
                ReasonCode::TrustRootMismatch,
                "the collateral does not come from the simulated root that the policy names",
            )
        })
}

/// The certificate of a root: Intel's is compiled in, and a simulated one's may come with the collateral or, where there
/// is none, in the quote. The key is what was asked for, so it does not matter who sent the certificate.
pub(super) fn anchor<'a>(
    root: RootKeyId,
    collateral: Option<&'a Collateral>,
    quoted: &'a [Vec<u8>],
) -> Option<&'a [u8]> {
    if root == RootKeyId::INTEL {
        return Some(INTEL);
    }
    let published = collateral.and_then(|collateral| published(root, collateral));
    let mut quoted = quoted.iter().map(Vec::as_slice);
    published.or_else(|| quoted.find(|der| is_root(der, root)))
}

/// The certificate of this root that comes with the collateral.
pub(super) fn published(root: RootKeyId, collateral: &Collateral) -> Option<&[u8]> {
    let known = collateral.roots(|| roots(collateral))?;
    let named = known.iter().find(|(key_id, _)| *key_id == root);
    named.map(|(_, der)| der.as_slice())
}

/// The roots that come with the collateral; none where its chain cannot be read. None of them is trusted for that.
fn roots(collateral: &Collateral) -> Option<Vec<(RootKeyId, Vec<u8>)>> {
    let chain = pem::parse_many(&collateral.as_dcap().tcb_info_issuer_chain).ok()?;
    let certificates = chain.into_iter().take(LONGEST_CHAIN);
    let certificates = certificates.map(pem::Pem::into_contents);
    let keyed = certificates.filter_map(|der| Some((self_signed(&der)?, der)));
    Some(keyed.collect())
}

/// Whether a certificate carries the named key and is signed with it. The key alone would not do: the rest
/// of the certificate would be anybody's, and the library panics on a root that another name issued.
fn is_root(der: &[u8], key_id: RootKeyId) -> bool {
    self_signed(der) == Some(key_id)
}

/// The key id of a certificate that is signed with its own key under its own name.
fn self_signed(der: &[u8]) -> Option<RootKeyId> {
    let certificate = Certificate::from_der(der).ok()?;
    let content = certificate.tbs_certificate();
    if content.issuer() != content.subject() {
        return None;
    }
    let key = content
        .subject_public_key_info()
        .subject_public_key
        .raw_bytes();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key)
        .verify(&content.to_der().ok()?, certificate.signature().raw_bytes())
        .ok()?;
    let key_id = digest(&SHA384, key).as_ref().try_into().ok()?;
    Some(RootKeyId::new(key_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_that_is_compiled_in_is_intels() {
        assert!(is_root(INTEL, RootKeyId::INTEL));
    }
}
