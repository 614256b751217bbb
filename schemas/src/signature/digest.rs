//! The header `content-digest` (RFC 9530), SHA-256 only.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Digest;

/// The header's value for a body.
pub(super) fn content_digest(body: &[u8]) -> String {
    let digest = STANDARD.encode(Digest::of(body).as_bytes());
    ["sha-256=:", &digest, ":"].concat()
}
