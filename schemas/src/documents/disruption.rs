//! How agents of a capacity target may be taken away on purpose.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// How agents may be taken away on purpose: for being too many, or not what they should be. What is lost, or not wanted
/// any more, is not held back by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DisruptionSpec {
    /// Agents go for being too many only when they have been too many for so long.
    pub consolidate_after: Span,
}

impl Default for DisruptionSpec {
    fn default() -> Self {
        Self {
            consolidate_after: Span::from_secs(0),
        }
    }
}
