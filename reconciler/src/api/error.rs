//! Refusals as HTTP answers: a status, a stable code, one sentence that gives nothing away.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use easyenclave_schemas::Epoch;
use easyenclave_schemas::evidence::{ReasonCode, Rejection};
use easyenclave_schemas::wire::ErrorBody;

use crate::journal::JournalError;

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable code.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// The epoch that says so, where that ends somebody's work.
    pub epoch: Option<Epoch>,
}

impl Refused {
    /// A refusal.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            epoch: None,
        }
    }

    /// The same, as this epoch says it.
    pub fn in_epoch(self, epoch: Epoch) -> Self {
        Self {
            epoch: Some(epoch),
            ..self
        }
    }
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        let status = match rejection.code {
            ReasonCode::DependencyUnavailable | ReasonCode::Internal => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ReasonCode::OrderUnknown | ReasonCode::TokenUsed => StatusCode::CONFLICT,
            ReasonCode::SignatureInvalid
            | ReasonCode::MessageReplayed
            | ReasonCode::NonceMissing
            | ReasonCode::NonceUnknown
            | ReasonCode::NonceExpired
            | ReasonCode::NonceReplayed
            | ReasonCode::TokenWrong => StatusCode::UNAUTHORIZED,
            _ => StatusCode::FORBIDDEN,
        };
        Self::new(status, rejection.code.code(), rejection.message)
    }
}

impl From<JournalError> for Refused {
    fn from(error: JournalError) -> Self {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "records cannot be written"
        );
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_unavailable",
            "the reconciler cannot keep records at the moment; try again",
        )
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            epoch: self.epoch,
            ..ErrorBody::new(self.code, self.message)
        };
        (self.status, Json(body)).into_response()
    }
}
