//! `problems.yaml`: documents of the newest revision that were rejected.

use serde::{Deserialize, Serialize};

/// One problem of one document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProblemStatus {
    /// The file in the state repository.
    pub file: String,
    /// The line, from 1; 0 when the problem is about the file or the revision as a whole.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// A stable code.
    pub code: String,
    /// What is wrong, what was expected, and a suggestion.
    pub message: String,
    /// What is done meanwhile, such as `the last good version stays in force`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub consequence: String,
}
