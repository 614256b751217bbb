//! Session keys: two that know each other's Ed25519 keys agree on a secret (X25519), and sign with it (HMAC-SHA-256)
//! what they tell each other many times. Such a signature takes no arithmetic on a curve.

use std::borrow::Cow;
use std::fmt;

use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::hmac;
use ring::rand::SystemRandom;

use super::{Identified, PublicKey, Signs, Verifies};

/// What the key of a session is derived for; another use of the same exchange would give another key.
const PURPOSE: &[u8] = b"easyenclave heartbeat session v1";

/// Half of the exchange that leads to a session. It says nothing of who made it: it has to travel in a message that is
/// signed with an Ed25519 key.
pub struct SessionOffer {
    private: EphemeralPrivateKey,
    public: String,
}

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
    /// The other's half is not 32 bytes in 64 hex digits, or leads to a secret that anybody knows.
    #[error("expected an X25519 public key in 64 hex digits")]
    Offer,
}

impl SessionOffer {
    /// A new half, good for one session.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new() -> Result<Self, SessionError> {
        let random = |_| SessionError::Random;
        let private =
            EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(random)?;
        let public = hex::encode(private.compute_public_key().map_err(random)?);
        Ok(Self { private, public })
    }

    /// What the other is told: 32 bytes in 64 hex digits.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The session of the agent with this key, for the one who asked for it.
    ///
    /// # Errors
    /// When the answer is no half of an exchange.
    pub fn asked(self, answer: &str, agent: &PublicKey) -> Result<Session, SessionError> {
        let asked = self.public.clone();
        self.agree(answer, [&asked, answer], agent)
    }

    /// The session of the agent with this key, for the one who answers.
    ///
    /// # Errors
    /// When what was asked with is no half of an exchange.
    pub fn answered(self, asked: &str, agent: &PublicKey) -> Result<Session, SessionError> {
        let answer = self.public.clone();
        self.agree(asked, [asked, &answer], agent)
    }

    fn agree(
        self,
        other: &str,
        halves: [&str; 2],
        agent: &PublicKey,
    ) -> Result<Session, SessionError> {
        let mut point = [0; 32];
        hex::decode_to_slice(other, &mut point).map_err(|_| SessionError::Offer)?;
        let point = UnparsedPublicKey::new(&X25519, point);
        let derive = |secret: &[u8]| Session::derive(secret, halves, agent);
        agree_ephemeral(self.private, &point, derive).map_err(|_| SessionError::Offer)
    }
}

/// A secret of an agent and the reconciler.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    id: [u8; 16],
    key: [u8; 32],
    agent: PublicKey,
}

impl Session {
    /// The agent that it was agreed on with.
    pub fn agent(&self) -> &PublicKey {
        &self.agent
    }

    #[cfg(test)]
    pub(super) fn key_in_base64(&self) -> String {
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, self.key)
    }

    fn derive(secret: &[u8], halves: [&str; 2], agent: &PublicKey) -> Self {
        let secret = Salt::new(HKDF_SHA256, PURPOSE).extract(secret);
        let [asked, answer] = halves.map(str::as_bytes);
        let mut bytes = [0; 48];
        secret
            .expand(&[agent.as_bytes(), asked, answer], Bytes)
            .and_then(|derived| derived.fill(&mut bytes))
            .expect("48 bytes are fewer than HKDF can give");
        let (mut id, mut key) = ([0; 16], [0; 32]);
        id.copy_from_slice(&bytes[..16]);
        key.copy_from_slice(&bytes[16..]);
        Self {
            id,
            key,
            agent: *agent,
        }
    }

    /// Made for each message: kept, it would be ten times as long as what it is made of.
    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.key)
    }
}

impl Identified for Session {
    fn algorithm(&self) -> &'static str {
        "hmac-sha256"
    }

    fn id(&self) -> Cow<'_, str> {
        hex::encode(self.id).into()
    }
}

impl Signs for Session {
    fn sign(&self, message: &[u8]) -> impl AsRef<[u8]> {
        hmac::sign(&self.hmac(), message)
    }
}

impl Verifies for Session {
    fn is_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.hmac(), message, signature).is_ok()
    }
}

/// Only which session, never its key.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", hex::encode(self.id))
    }
}

/// How much is derived: an id of 16 bytes and a key of 32.
struct Bytes;

impl KeyType for Bytes {
    fn len(&self) -> usize {
        48
    }
}

#[cfg(test)]
mod tests {
    use super::super::Keypair;
    use super::*;

    fn agent() -> PublicKey {
        Keypair::generate().expect("randomness").public()
    }

    fn offer() -> SessionOffer {
        SessionOffer::new().expect("randomness")
    }

    #[test]
    fn both_come_to_the_same_session_and_nobody_else_does() {
        let agent = agent();
        let (ask, answer) = (offer(), offer());
        let (asked, answered) = (ask.public().to_owned(), answer.public().to_owned());
        let ours = answer.answered(&asked, &agent).expect("a session");
        assert_eq!(ask.asked(&answered, &agent).as_ref(), Ok(&ours));
        let tag = ours.sign(b"message").as_ref().to_vec();
        assert!(ours.is_signed(b"message", &tag) && !ours.is_signed(b"massage", &tag));
        let between = offer().answered(&asked, &agent).expect("a session");
        assert!(between != ours && !between.is_signed(b"message", &tag));
    }

    #[test]
    fn a_session_belongs_to_the_agent_whose_key_asked_for_it() {
        let (ask, answer) = (offer(), offer());
        let (asked, answered) = (ask.public().to_owned(), answer.public().to_owned());
        let ours = answer.answered(&asked, &agent()).expect("a session");
        let theirs = ask.asked(&answered, &agent()).expect("a session");
        assert_ne!(theirs.id(), ours.id());
        assert!(!theirs.is_signed(b"message", ours.sign(b"message").as_ref()));
    }

    #[test]
    fn half_an_exchange_that_anybody_could_complete_is_refused() {
        let low = "00".repeat(32);
        for half in [low.as_str(), &format!("01{}", &low[2..]), "", "0f", "zz"] {
            let refused = offer().answered(half, &agent());
            assert_eq!(refused, Err(SessionError::Offer), "{half:?}");
        }
    }

    #[test]
    fn a_session_does_not_show_its_key() {
        let (ask, agent) = (offer(), agent());
        let session = offer().answered(ask.public(), &agent).expect("a session");
        assert!(!format!("{session:?}").contains(&hex::encode(session.key)));
    }
}
