//! Answers that only the one who asked can open: an agent asks with half of a key exchange (X25519) that it made for this
//! one answer, and what it is given is encrypted to that. Whoever learns every key that is kept anywhere still cannot open
//! what was sealed before. The box proves nothing of who sealed it: it travels in a message that is signed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::SystemRandom;

use crate::signature::PublicKey;
use crate::wire::SealedAnswer;
use crate::{AgentId, Generation};

/// What keys are derived for; another use of the same exchange would give another key.
const PURPOSE: &[u8] = b"easyenclave sealed answer v1";

/// What an answer is for. It opens in this case and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case<'a> {
    /// What is asked for, such as `secrets`.
    pub what: &'static str,
    /// The agent that asks.
    pub agent: &'a AgentId,
    /// The agent's own key, which its quote binds.
    pub key: &'a PublicKey,
    /// The instruction that it asks for.
    pub generation: Generation,
}

/// Why nothing is sealed, or what was sealed stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
    /// A half of the exchange is not 32 bytes in 64 hex digits, or leads to a secret that anybody knows.
    #[error("expected an X25519 public key in 64 hex digits")]
    Half,
    /// It was sealed for another, in another case, or was changed since.
    #[error("what was sealed is not for this request, or is damaged")]
    Closed,
}

/// The asking half of an exchange, good for one answer.
pub struct Asking {
    private: EphemeralPrivateKey,
    public: String,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asking({})", self.public)
    }
}

impl Asking {
    /// A new half.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new() -> Result<Self, SealedError> {
        let random = |_| SealedError::Random;
        let private =
            EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(random)?;
        let public = hex::encode(private.compute_public_key().map_err(random)?);
        Ok(Self { private, public })
    }

    /// What the other is told: 32 bytes in 64 hex digits.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// What was sealed for this half in this case.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn open(self, answer: &SealedAnswer, case: &Case<'_>) -> Result<Vec<u8>, SealedError> {
        let mut bytes = STANDARD
            .decode(&answer.sealed)
            .map_err(|_| SealedError::Closed)?;
        let halves = [self.public.as_str(), &answer.public_key];
        let key = agree(self.private, &answer.public_key, halves, case)?;
        let opened = key.open_in_place(only_nonce(), Aad::empty(), &mut bytes);
        let length = opened.map_err(|_| SealedError::Closed)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// Seals bytes for who asked with this half in this case.
///
/// # Errors
/// When the half is none, or the system gives no randomness.
pub fn seal(asked: &str, case: &Case<'_>, mut bytes: Vec<u8>) -> Result<SealedAnswer, SealedError> {
    let Asking { private, public } = Asking::new()?;
    let key = agree(private, asked, [asked, &public], case)?;
    key.seal_in_place_append_tag(only_nonce(), Aad::empty(), &mut bytes)
        .map_err(|_| SealedError::Half)?;
    Ok(SealedAnswer {
        public_key: public,
        sealed: STANDARD.encode(&bytes),
    })
}

/// Each key seals one answer, so there is only one nonce.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn agree(
    private: EphemeralPrivateKey,
    other: &str,
    halves: [&str; 2],
    case: &Case<'_>,
) -> Result<LessSafeKey, SealedError> {
    let mut point = [0; 32];
    hex::decode_to_slice(other, &mut point).map_err(|_| SealedError::Half)?;
    let point = UnparsedPublicKey::new(&X25519, point);
    agree_ephemeral(private, &point, |secret| derive(secret, halves, case))
        .map_err(|_| SealedError::Half)
}

/// Each part of what the key depends on is preceded by its length, so that no two cases look the same.
fn derive(secret: &[u8], halves: [&str; 2], case: &Case<'_>) -> LessSafeKey {
    let secret = Salt::new(HKDF_SHA256, PURPOSE).extract(secret);
    let generation = case.generation.0.to_be_bytes();
    let [asked, answer] = halves.map(str::as_bytes);
    let parts: [&[u8]; 6] = [
        case.what.as_bytes(),
        case.agent.as_str().as_bytes(),
        case.key.as_bytes(),
        &generation,
        asked,
        answer,
    ];
    let lengths = parts.map(|part| (part.len() as u64).to_be_bytes());
    let info: Vec<&[u8]> = parts
        .iter()
        .zip(&lengths)
        .flat_map(|(part, length)| [length.as_slice(), part])
        .collect();
    let derived = secret.expand(&info, &CHACHA20_POLY1305);
    let key = UnboundKey::from(derived.expect("32 bytes are fewer than HKDF can give"));
    LessSafeKey::new(key)
}

#[cfg(test)]
mod tests;
