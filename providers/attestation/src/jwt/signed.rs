//! A signed token (RFC 7515, compact form) under a key set and one algorithm, which whoever asks names: never the token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use easyenclave_schemas::documents::SigningAlgorithm;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RsaParameters, RsaPublicKeyComponents,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::TokenKeys;

/// What a signature was found to cover.
#[derive(Debug)]
pub struct Signed {
    /// The claims, as JSON that nobody has read yet.
    pub payload: Vec<u8>,
    /// The name of the key that signed them.
    pub key_id: String,
}

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Bytes that are no text.
    #[error("the token is not text")]
    NotText,
    /// Not the compact form.
    #[error("the token does not have three parts")]
    NotThreeParts,
    /// A header that is unreadable, or says too little, or something twice.
    #[error("the token's header cannot be read")]
    Header,
    /// Another algorithm, or none.
    #[error("the token is not signed with the algorithm that the policy names")]
    Algorithm,
    /// An extension that a reader would have to understand.
    #[error("the token asks for an extension that is not known")]
    Extension,
    /// No such key, or one that is for something else, or none named.
    #[error("the token is signed with a key that the key set does not have")]
    UnknownKey,
    /// A signature that is none.
    #[error("the token's signature cannot be read")]
    SignatureUnreadable,
    /// A signature of something else.
    #[error("the token's signature is wrong")]
    SignatureWrong,
    /// Claims that are not even encoded.
    #[error("the token's claims cannot be read")]
    Claims,
}

/// The only fields of a header that are read. Where it says that keys are (`jku`, `jwk`, `x5u`, `x5c`) is not among
/// them. A field that comes twice makes the header unreadable.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
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
    header(text.split('.').next()?)?.kid
}

/// The key that a token says it is signed with by this algorithm. Who holds the keys has to be asked for no other token.
///
/// # Errors
/// When it is signed in another way, or does not say with which key.
pub fn key_of(token: &[u8], algorithm: SigningAlgorithm) -> Result<String, JwtError> {
    let text = std::str::from_utf8(token).map_err(|_| JwtError::NotText)?;
    let head = text.split('.').next().unwrap_or_default();
    named(header(head).ok_or(JwtError::Header)?, algorithm)
}

fn named(header: Header, algorithm: SigningAlgorithm) -> Result<String, JwtError> {
    if header.alg != parameters(algorithm).0 {
        return Err(JwtError::Algorithm);
    }
    if header.crit {
        return Err(JwtError::Extension);
    }
    header.kid.ok_or(JwtError::UnknownKey)
}

/// What of a token a key of this set has signed with this algorithm.
///
/// # Errors
/// When nothing of it counts.
pub fn verify(
    token: &[u8],
    keys: &TokenKeys,
    algorithm: SigningAlgorithm,
) -> Result<Signed, JwtError> {
    let text = std::str::from_utf8(token).map_err(|_| JwtError::NotText)?;
    let parts: Vec<&str> = text.split('.').collect();
    let [head, payload, signature] = parts[..] else {
        return Err(JwtError::NotThreeParts);
    };
    let key_id = named(header(head).ok_or(JwtError::Header)?, algorithm)?;
    let (name, parameters) = parameters(algorithm);
    let key = keys.rsa(&key_id, name).ok_or(JwtError::UnknownKey)?;
    let covered = &text.as_bytes()[..head.len() + 1 + payload.len()];
    let signature = decode(signature).ok_or(JwtError::SignatureUnreadable)?;
    RsaPublicKeyComponents {
        n: &key.n,
        e: &key.e,
    }
    .verify(parameters, covered, &signature)
    .map_err(|_| JwtError::SignatureWrong)?;
    let payload = decode(payload).ok_or(JwtError::Claims)?;
    Ok(Signed { payload, key_id })
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
