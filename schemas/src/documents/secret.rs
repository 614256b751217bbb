//! Kind Secret: a value that only workloads of its owner are given, and the keys that such values are encrypted to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{OwnerName, Secret, SecretName};

/// A secret. Its value is never in Git but encrypted to the fleet, together with its owner and name: a copy under
/// another owner is refused.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSpec {
    /// An `age` file in base64, in one line. Whatever else stands here by mistake is never quoted.
    #[cfg_attr(feature = "documents", schemars(extend("writeOnly" = true)))]
    pub sealed: String,
}

impl SecretSpec {
    /// The longest value of a secret, in bytes.
    pub const MAX: usize = 16 * 1024;
}

/// A ciphertext is no secret, and no use in a log either.
impl std::fmt::Debug for SecretSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretSpec { .. }")
    }
}

/// To whom secrets are encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SecretsSpec {
    /// Recipients of `age`, such as `age1…`: the fleet's own key, and further ones for a change of keys or a backup.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 20)))]
    pub recipients: Vec<String>,
}

impl SecretsSpec {
    pub(super) fn is_empty(&self) -> bool {
        self.recipients.is_empty()
    }
}

/// What is sealed in a secret, as JSON: its value, and whose it is, so that a copy under another name opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretContent {
    /// Whose it is.
    pub owner: OwnerName,
    /// What it is called.
    pub name: SecretName,
    /// The value, in base64.
    value: Secret<String>,
}

impl SecretContent {
    /// The longest text of one, in bytes.
    pub const MAX: usize = SecretSpec::MAX * 4 / 3 + 512;

    /// Of a value.
    pub fn new(owner: OwnerName, name: SecretName, value: &[u8]) -> Self {
        let value = Secret::new(STANDARD.encode(value));
        Self { owner, name, value }
    }

    /// The text of it.
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a value is plain data")
    }

    /// What a text says; none when it is no such text. What it holds is never repeated.
    pub fn read(text: &[u8]) -> Option<(Self, Secret<Vec<u8>>)> {
        let content: Self = serde_json::from_slice(text).ok()?;
        let value = STANDARD.decode(content.value.reveal()).ok()?;
        (value.len() <= SecretSpec::MAX).then_some((content, Secret::new(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(value: &[u8]) -> SecretContent {
        let owner = OwnerName::new("acme").expect("a name");
        SecretContent::new(owner, SecretName::new("db").expect("a name"), value)
    }

    #[test]
    fn a_value_is_read_as_it_was_sealed_and_is_never_shown() {
        for value in [vec![], vec![0, 255, 10], vec![7; SecretSpec::MAX]] {
            let text = content(&value).write();
            assert!(text.len() <= SecretContent::MAX);
            let (read, found) = SecretContent::read(&text).expect("a content");
            assert_eq!((read, found.reveal()), (content(&value), &value));
        }
        let shown = format!("{:?}", content(b"s3cr3t"));
        assert!(!shown.contains(&STANDARD.encode("s3cr3t")), "{shown}");
    }

    #[test]
    fn what_is_no_content_or_too_long_is_none() {
        let long = content(&vec![7; SecretSpec::MAX + 1]).write();
        let more = br#"{"owner":"acme","name":"db","value":"","more":1}"#;
        for text in [
            &long[..],
            more,
            b"",
            b"s3cr3t",
            br#"{"owner":"acme","name":"db","value":"!"}"#,
        ] {
            assert_eq!(SecretContent::read(text), None);
        }
    }
}
