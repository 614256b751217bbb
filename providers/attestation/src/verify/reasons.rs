//! From the library's error texts to reason codes and sentences. The texts are not an interface, so
//! tests hold the library's version and drive the real verifier into the common ones.

use std::fmt::Display;

use easyenclave_schemas::evidence::{ReasonCode, Rejection};

use ReasonCode::{
    CollateralOutdated, CollateralUnusable, QuoteSignatureInvalid, QuoteUnreadable,
    TcbUnacceptable, TdAttributesRefused, TrustRootMismatch,
};

/// The first line whose text occurs in the error gives the reason, so the order matters: causes that say
/// more come before those that say less.
const REASONS: &[(&str, ReasonCode, &str)] = &[
    (
        "InvalidCrlSignatureForPublicKey",
        TrustRootMismatch,
        FOREIGN_COLLATERAL,
    ),
    ("UnknownIssuer", TrustRootMismatch, FOREIGN_QUOTE),
    ("issue date is in the future", CollateralOutdated, NOT_YET),
    ("CertNotValidYet", CollateralOutdated, NOT_YET),
    (
        "TCBInfo expired",
        CollateralOutdated,
        "the TCB information has expired",
    ),
    (
        "QE Identity expired",
        CollateralOutdated,
        "the quoting enclave's identity has expired",
    ),
    (
        "CrlExpired",
        CollateralOutdated,
        "a certificate revocation list has expired",
    ),
    (
        "CertExpired",
        CollateralOutdated,
        "a certificate has expired",
    ),
    (
        "Collateral expired",
        CollateralOutdated,
        "the collateral has expired",
    ),
    (
        "CertRevoked",
        QuoteSignatureInvalid,
        "a certificate of the platform is revoked",
    ),
    ("Revoked", TcbUnacceptable, REVOKED),
    (
        "No matching TCB level found",
        TcbUnacceptable,
        "the platform is older than every TCB level its vendor lists",
    ),
    (
        "TCB too old",
        TcbUnacceptable,
        "the platform is out of date for longer than the policy's grace",
    ),
    (
        "Debug mode is enabled",
        TdAttributesRefused,
        "the guest runs in debug mode",
    ),
    (
        "TD profiling is enabled",
        TdAttributesRefused,
        "the guest runs with profiling",
    ),
    (
        "TD migration is enabled",
        TdAttributesRefused,
        "the guest may be migrated",
    ),
    (
        "SEPT_VE_DISABLE is not enabled",
        TdAttributesRefused,
        "the guest runs without SEPT_VE_DISABLE",
    ),
    (
        "Reserved bits in TD attributes",
        TdAttributesRefused,
        "the guest has reserved attribute bits set",
    ),
    (
        "SERVTD_EXT is enabled",
        TdAttributesRefused,
        "the guest is bound to a service guest (SERVTD_EXT)",
    ),
    (
        "Invalid MR service TD",
        TdAttributesRefused,
        "the guest is bound to a service guest (MRSERVICETD)",
    ),
    (
        "ISV enclave report signature",
        QuoteSignatureInvalid,
        "the quote was altered after it was signed",
    ),
    (
        "Signature is invalid for qe_report",
        QuoteSignatureInvalid,
        "the quoting enclave's report is not signed by the platform",
    ),
    (
        "QE report hash mismatch",
        QuoteSignatureInvalid,
        "the platform does not vouch for the key that signed the quote",
    ),
    (
        "Signature is invalid for",
        CollateralUnusable,
        "the collateral's signature is invalid",
    ),
    (
        "Failed to decode TcbInfo",
        CollateralUnusable,
        "the collateral's TCB information cannot be read",
    ),
    (
        "Failed to decode QeIdentity",
        CollateralUnusable,
        "the collateral's quoting enclave identity cannot be read",
    ),
    (
        "CRL",
        CollateralUnusable,
        "a certificate revocation list cannot be read",
    ),
    (
        "for TCB Info",
        CollateralUnusable,
        "the collateral has no certificate for its TCB information",
    ),
    (
        "for QE Identity",
        CollateralUnusable,
        "the collateral has no certificate for its quoting enclave identity",
    ),
    (
        "Failed to load root ca",
        CollateralUnusable,
        "the simulated root's certificate cannot be read",
    ),
    (
        "Fmspc mismatch",
        CollateralUnusable,
        "the collateral is for another type of platform",
    ),
    (
        "in the collateral",
        CollateralUnusable,
        "the collateral is not for TDX",
    ),
    (
        "QE Identity",
        CollateralUnusable,
        "the collateral's quoting enclave identity is not for TDX",
    ),
    (
        "TDX module ISVSVN",
        TcbUnacceptable,
        "the TDX module is older than every level its vendor lists",
    ),
    (
        "TDX module",
        TcbUnacceptable,
        "the TDX module is not one that its vendor lists",
    ),
    (
        "Unknown QE vendor",
        QuoteUnreadable,
        "the quote is not from the vendor's quoting enclave",
    ),
    (
        "QE ",
        QuoteSignatureInvalid,
        "the quoting enclave is not the vendor's",
    ),
    (
        "Failed to decode quote",
        QuoteUnreadable,
        "the quote cannot be read",
    ),
    (
        "Unsupported",
        QuoteUnreadable,
        "the quote is of a kind that is not supported",
    ),
    (
        "certificate",
        QuoteSignatureInvalid,
        "a certificate in the quote or the collateral is invalid",
    ),
    (
        "Certificate chain is too short in quote",
        QuoteSignatureInvalid,
        "the quote has no certificate",
    ),
    (
        "PCK",
        QuoteSignatureInvalid,
        "the platform's certificate cannot be read",
    ),
];

const FOREIGN_COLLATERAL: &str = "the collateral comes from another root than the policy names: \
     simulated platforms and Intel's are never accepted for one another";
const FOREIGN_QUOTE: &str = "the quote's certificates do not lead to the root that the policy names: \
     simulated platforms and Intel's are never accepted for one another";
const NOT_YET: &str = "the collateral is not valid yet: it was issued after the verifier's time";
const REVOKED: &str = "the platform's keys are revoked";

/// The rejection for an error of the library.
pub(super) fn classify(error: &(impl Display + ?Sized)) -> Rejection {
    // The alternate form prints the causes too.
    let text = format!("{error:#}");
    match REASONS.iter().find(|(part, ..)| text.contains(part)) {
        Some((_, code, message)) => Rejection::new(*code, *message),
        None => Rejection::new(ReasonCode::Internal, unknown(&text)),
    }
}

pub(super) fn revoked() -> Rejection {
    Rejection::new(TcbUnacceptable, REVOKED)
}

pub(super) fn foreign_quote() -> Rejection {
    Rejection::new(TrustRootMismatch, FOREIGN_QUOTE)
}

/// An error without a translation still refuses. Its text speaks of the evidence and of public
/// collateral only, so the client may see it.
fn unknown(text: &str) -> String {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(160).collect();
    format!("the evidence does not verify, for a reason without a name: {shown}")
}
