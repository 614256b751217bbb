//! Kind Secret: a value that only workloads of its owner are given, and the keys that such values are encrypted to.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
