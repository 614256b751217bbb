//! The one body of every refused request.

use serde::{Deserialize, Serialize};

use crate::Epoch;

/// Why a request was refused. Programs read `code`, people read `message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A stable code, such as `EE-ATT-005` or `stale_generation`.
    pub code: String,
    /// One sentence that gives nothing away.
    pub message: String,
    /// The request's id in the log, if it has one.
    pub request_id: Option<String>,
    /// The reconciler's epoch, where the refusal ends somebody's work; nobody heeds a lower one than was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
}

impl ErrorBody {
    /// A body without a request id.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            request_id: None,
            epoch: None,
        }
    }
}
