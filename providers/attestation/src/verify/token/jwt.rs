//! A signed token (RFC 7515, compact form) under a key set and one algorithm that the policy names.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use easyenclave_schemas::documents::SigningAlgorithm;
use easyenclave_schemas::evidence::{ReasonCode, Rejection};
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RsaParameters, RsaPublicKeyComponents,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::TokenKeys;

/// What a signature was found to cover.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) payload: Vec<u8>,
    pub(super) key_id: String,
}

/// The only fields of a header that are read. Where it says that keys are (`jku`, `jwk`, `x5u`, `x5c`) is not among
/// them. A field that comes twice makes the header unreadable.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    /// Extensions that a reader has to understand; none is known here, so there must be none.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// Whether a field is there, whatever it holds.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// The key that a token says it is signed with, to know whether the key set has to be fetched again.
pub fn key_id(token: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(token).ok()?;
    header(text.split('.').next()?).map(|header| header.kid)
}

pub(super) fn verify(
    token: &[u8],
    keys: &TokenKeys,
    algorithm: SigningAlgorithm,
) -> Result<Signed, Rejection> {
    let text = std::str::from_utf8(token).map_err(|_| invalid("the token is not text"))?;
    let parts: Vec<&str> = text.split('.').collect();
    let [head, payload, signature] = parts[..] else {
        return Err(invalid("the token does not have three parts"));
    };
    let header = header(head).ok_or_else(|| invalid("the token's header cannot be read"))?;
    let (name, parameters) = parameters(algorithm);
    if header.alg != name {
        return Err(invalid(
            "the token is not signed with the algorithm that the policy names",
        ));
    }
    if header.crit {
        return Err(invalid("the token asks for an extension that is not known"));
    }
    let key = keys
        .rsa(&header.kid, name)
        .ok_or_else(|| invalid("the token is signed with a key that the key set does not have"))?;
    let covered = &text.as_bytes()[..head.len() + 1 + payload.len()];
    let signature =
        decode(signature).ok_or_else(|| invalid("the token's signature cannot be read"))?;
    RsaPublicKeyComponents {
        n: &key.n,
        e: &key.e,
    }
    .verify(parameters, covered, &signature)
    .map_err(|_| Rejection::from(ReasonCode::ItaSignatureInvalid))?;
    let payload = decode(payload).ok_or_else(|| invalid("the token's claims cannot be read"))?;
    Ok(Signed {
        payload,
        key_id: header.kid,
    })
}

fn header(part: &str) -> Option<Header> {
    serde_json::from_slice(&decode(part)?).ok()
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn parameters(algorithm: SigningAlgorithm) -> (&'static str, &'static RsaParameters) {
    match algorithm {
        SigningAlgorithm::PS384 => ("PS384", &RSA_PSS_2048_8192_SHA384),
        SigningAlgorithm::RS256 => ("RS256", &RSA_PKCS1_2048_8192_SHA256),
    }
}

fn invalid(message: &str) -> Rejection {
    Rejection::new(ReasonCode::ItaSignatureInvalid, message)
}
