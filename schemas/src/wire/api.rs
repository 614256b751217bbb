//! What owners say to the reconciler, and what it answers.

use serde::{Deserialize, Serialize};

use crate::OwnerName;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    /// The owner that the caller acts for.
    pub owner: OwnerName,
    /// By what the caller is known, in words.
    pub identity: String,
}
