//! An issuer's signing keys, as its key set publishes them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use easyenclave_schemas::Digest;
use serde::{Deserialize, Serialize};

/// A key set (RFC 7517) with the parts that are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenKeys {
    keys: Vec<Key>,
}

/// A text that is not a usable key set.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Longer than any key set.
    #[error("expected at most {max} bytes of keys, found {found}")]
    TooLong {
        /// The most bytes.
        max: usize,
        /// The bytes found.
        found: usize,
    },
    /// Not a key set.
    #[error("not a JSON key set")]
    Format(#[source] serde_json::Error),
    /// No key in it can be used.
    #[error("no RSA key of 2048 to 8192 bits with a name in the key set")]
    Empty,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    /// Its name. One without is never chosen, and does not make the others unusable (RFC 7517, section 4.5).
    #[serde(default)]
    kid: String,
    kty: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    /// What the key is for, where the key set says.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
    /// The only algorithm that the key is for, where the key set says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
}

/// An RSA public key: modulus and exponent, big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RsaKey {
    pub(super) n: Vec<u8>,
    pub(super) e: Vec<u8>,
}

impl TokenKeys {
    /// The longest key set that is read, in bytes.
    pub const MAX: usize = 256 * 1024;

    /// Reads a key set and keeps its RSA keys that have a name.
    ///
    /// # Errors
    /// When it is too long, not a key set, or without a usable key.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let (max, found) = (Self::MAX, json.len());
        if found > max {
            return Err(KeySetError::TooLong { max, found });
        }
        let mut set: Self = serde_json::from_slice(json).map_err(KeySetError::Format)?;
        set.keys
            .retain(|key| !key.kid.is_empty() && key.rsa().is_some());
        if set.keys.is_empty() {
            return Err(KeySetError::Empty);
        }
        Ok(set)
    }

    /// Its JSON with the parts that are used, the same bytes every time.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a key set is plain data")
    }

    /// The digest of its JSON.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_json())
    }

    /// Whether it has this key.
    pub fn holds(&self, key_id: &str) -> bool {
        self.keys.iter().any(|key| key.kid == key_id)
    }

    /// The key with this id, if it may be used with this algorithm.
    pub(super) fn rsa(&self, key_id: &str, algorithm: &str) -> Option<RsaKey> {
        let fits = |key: &&Key| {
            key.kid == key_id && key.alg.as_deref().is_none_or(|only| only == algorithm)
        };
        self.keys.iter().find(fits)?.rsa()
    }
}

impl Key {
    fn rsa(&self) -> Option<RsaKey> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let (n, e) = (decode(&self.n)?, decode(&self.e)?);
        let signs = self
            .purpose
            .as_deref()
            .is_none_or(|purpose| purpose == "sig");
        let fits = signs && self.kty == "RSA" && (256..=1024).contains(&n.len()) && !e.is_empty();
        fits.then_some(RsaKey { n, e })
    }
}
