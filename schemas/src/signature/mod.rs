//! HTTP Message Signatures (RFC 9421) in one fixed shape: all that we sign is covered, in one order, and anything else
//! is refused. Both directions are signed, whoever terminates TLS: with Ed25519, or within a session with its key.

mod digest;
mod keys;
mod message;
mod replay;
mod session;

pub use keys::{Keypair, KeypairError, PublicKey, PublicKeyError};
pub use message::{
    Headers, Verified, is_in_session, sign_request, sign_response, verify_request, verify_response,
};
pub use replay::ReplayGuard;
pub use session::{Session, SessionError, SessionOffer};

use std::borrow::Cow;

/// A key that messages name.
pub trait Identified {
    /// The algorithm's name in the registry of RFC 9421.
    fn algorithm(&self) -> &'static str;

    /// The key's name in the parameter `keyid`: letters and digits.
    fn id(&self) -> Cow<'_, str>;
}

/// A key that signs.
pub trait Signs: Identified {
    /// The signature over a message.
    fn sign(&self, message: &[u8]) -> impl AsRef<[u8]>;
}

/// A key that tells what was signed with it.
pub trait Verifies: Identified {
    /// Whether this is a signature over the message.
    fn is_signed(&self, message: &[u8], signature: &[u8]) -> bool;
}

/// Why a message is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header of the signature is missing.
    #[error("the message is not signed")]
    Missing,
    /// A header of the signature does not have the one accepted shape.
    #[error("the signature's headers do not have the expected shape")]
    Malformed,
    /// It names another key.
    #[error("the message is signed with another key")]
    WrongKey,
    /// The body is not the one that was signed.
    #[error("the body differs from the one that was signed")]
    BodyDiffers,
    /// The signature is not one of this key over this message.
    #[error("the signature is wrong")]
    BadSignature,
    /// It answers another request.
    #[error("the answer belongs to another request")]
    OtherRequest,
    /// It was made too long ago.
    #[error("the message is too old")]
    TooOld,
    /// It was made too far ahead of our clock.
    #[error("the message is from the future")]
    FromFuture,
    /// It was seen before.
    #[error("the message was seen before")]
    Replayed,
    /// Too many messages came within the window to remember them all.
    #[error("too many messages to tell replays apart")]
    Crowded,
}
