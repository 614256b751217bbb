//! What can be wrong with a Trust Authority: its answers, and what its tokens say.

use std::time::Duration;

use serde_json::Value;

/// What was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A nonce.
    Nonce,
    /// A token.
    Attest,
    /// Its key set.
    Keys,
    /// Anything else, such as an address that a token names.
    Other,
}

/// What is wrong with an answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status with this body.
    Status(u16, String),
    /// This status, and a wish to be left alone for so many seconds.
    RetryAfter(u16, u64),
    /// The wish that it be asked for elsewhere.
    Moved(String),
    /// No answer for so long.
    Slow(Duration),
    /// This body with a good status.
    Body(String),
    /// A good status and more bytes than anybody should read.
    Huge(usize),
}

/// What is wrong with a token.
#[derive(Debug, Clone)]
pub enum Claim {
    /// A claim at the top has this value.
    Top(&'static str, Value),
    /// A claim about the guest has this value.
    Guest(&'static str, Value),
    /// A claim about the guest is left out.
    GuestWithout(&'static str),
    /// A claim at the top is left out.
    TopWithout(&'static str),
    /// A field of the header has this value. The signature stays as it is made, over the changed header.
    Header(&'static str, Value),
    /// A field of the header is left out.
    HeaderWithout(&'static str),
    /// The claims lie where the other version has them, under this token's version.
    Misplaced,
    /// The claims come as this text.
    Payload(String),
    /// The signature is this, in place of a real one.
    Signature(Vec<u8>),
    /// The signature is an HMAC with the public key's modulus, as one who confuses algorithms would check it.
    Hmac,
}
