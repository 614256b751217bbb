//! How an agent is given what nobody else may read: it asks with a key that it made for this one answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Generation, Secret, SecretName};

/// An agent asks for the secrets of what it was told to run. Signed with its own key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretsRequest {
    /// The instruction that names them; another one than the newest gets nothing.
    pub generation: Generation,
    /// The half of a key exchange that the answer is sealed to: an X25519 key, made for it, 32 bytes in 64 hex digits.
    pub public_key: String,
}

/// An answer that only the agent which asked can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedAnswer {
    /// The other half of the exchange, 64 hex digits.
    pub public_key: String,
    /// The ciphertext in base64.
    pub sealed: String,
}

/// What a sealed answer holds, as JSON: the values of secrets, each in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretValues {
    /// By name, those of the instruction and no others.
    pub values: BTreeMap<SecretName, Secret<String>>,
}
