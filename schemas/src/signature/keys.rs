//! Ed25519 keys.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Identified, Signs, Verifies};
use crate::Secret;

/// As the registry of RFC 9421 names it.
const ALGORITHM: &str = "ed25519";

/// A key pair. Its private part is never printed.
pub struct Keypair {
    pair: Ed25519KeyPair,
    pkcs8: Secret<Vec<u8>>,
    /// The public part, as each signature names it.
    id: String,
}

/// A key pair that cannot be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeypairError {
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
    /// The bytes are not an Ed25519 key pair.
    #[error("expected an Ed25519 key pair in PKCS#8")]
    Content,
}

impl Keypair {
    /// A new key pair.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, KeypairError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| KeypairError::Random)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// A key pair that was kept.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, KeypairError> {
        let pair = Ed25519KeyPair::from_pkcs8(bytes).map_err(|_| KeypairError::Content)?;
        Ok(Self {
            id: hex::encode(pair.public_key()),
            pair,
            pkcs8: Secret::new(bytes.to_vec()),
        })
    }

    /// The bytes to keep.
    pub fn pkcs8(&self) -> &Secret<Vec<u8>> {
        &self.pkcs8
    }

    /// The public part.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }
}

impl Identified for Keypair {
    fn algorithm(&self) -> &'static str {
        ALGORITHM
    }

    fn id(&self) -> Cow<'_, str> {
        self.id.as_str().into()
    }
}

impl Signs for Keypair {
    fn sign(&self, message: &[u8]) -> impl AsRef<[u8]> {
        self.pair.sign(message)
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({})", self.public())
    }
}

/// A public key: raw 32 bytes, written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// The points whose order divides eight, by their y in hex digits without the sign of x; the last two are other
/// encodings of the first two. Anybody can make signatures that are right under such a key.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// A text that is not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an Ed25519 public key in 64 hex digits")]
pub struct PublicKeyError;

impl PublicKey {
    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Identified for PublicKey {
    fn algorithm(&self) -> &'static str {
        ALGORITHM
    }

    fn id(&self) -> Cow<'_, str> {
        self.to_string().into()
    }
}

impl Verifies for PublicKey {
    fn is_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| PublicKeyError)?;
        let (mut y, mut digits) = (bytes, [0; 64]);
        y[31] &= 0x7f;
        hex::encode_to_slice(y, &mut digits).map_err(|_| PublicKeyError)?;
        if SMALL_ORDER.iter().any(|point| point.as_bytes() == digits) {
            return Err(PublicKeyError);
        }
        Ok(Self(bytes))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of the base point, lowest byte first.
    const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

    #[test]
    fn a_key_under_which_anybody_can_sign_is_no_key() {
        let mut signature = [0; 64];
        signature[0] = 1;
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let forged = PublicKey(neutral).is_signed(b"anything", &signature);
        assert!(forged, "the reason to refuse such keys");
        for text in SMALL_ORDER {
            let mut bytes = [0; 32];
            hex::decode_to_slice(text, &mut bytes).expect("hex digits");
            for sign in [0, 0x80] {
                bytes[31] ^= sign;
                assert!(hex::encode(bytes).parse::<PublicKey>().is_err(), "{text}");
            }
        }
    }

    #[test]
    fn a_second_spelling_of_a_signature_is_refused() {
        let key = Keypair::generate().expect("randomness");
        let mut signature = key.sign(b"message").as_ref().to_vec();
        assert!(key.public().is_signed(b"message", &signature));
        let mut order = [0; 32];
        hex::decode_to_slice(ORDER, &mut order).expect("hex digits");
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert!(!key.public().is_signed(b"message", &signature));
    }
}
