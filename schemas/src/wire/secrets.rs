//! How an agent is given what nobody else may read: it asks with a key that it made for this one answer.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::{Generation, Secret, SecretName};

/// An agent asks for the secrets of what it was told to run. Signed with its own key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretsRequest {
    /// The boot that asks; another one than its evidence is of gets nothing.
    pub boot_id: String,
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
    values: BTreeMap<SecretName, Secret<String>>,
}

impl SecretValues {
    /// The text of these values.
    pub fn write(values: &BTreeMap<SecretName, Secret<Vec<u8>>>) -> Vec<u8> {
        let encode = |value: &Secret<Vec<u8>>| Secret::new(STANDARD.encode(value.reveal()));
        let values = values
            .iter()
            .map(|(name, value)| (name.clone(), encode(value)));
        let values = values.collect();
        serde_json::to_vec(&Self { values }).expect("values are plain data")
    }

    /// The values in a text; none when it holds something else. What it holds is never repeated.
    pub fn read(text: &[u8]) -> Option<BTreeMap<SecretName, Secret<Vec<u8>>>> {
        let Self { values } = serde_json::from_slice(text).ok()?;
        let decode = |(name, value): (SecretName, Secret<String>)| {
            Some((name, Secret::new(STANDARD.decode(value.reveal()).ok()?)))
        };
        values.into_iter().map(decode).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_were_written_whatever_they_are() {
        let name = |text: &str| SecretName::new(text).expect("a name");
        let values = BTreeMap::from([
            (name("a"), Secret::new(Vec::new())),
            (name("b"), Secret::new(vec![0, 255, b'"'])),
        ]);
        assert_eq!(
            SecretValues::read(&SecretValues::write(&values)),
            Some(values)
        );
        for wrong in [
            "",
            "{}",
            r#"{"values":{"a":"s3cr3t!"}}"#,
            r#"{"values":{"../a":""}}"#,
        ] {
            assert_eq!(SecretValues::read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
