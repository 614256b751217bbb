//! Why a Trust Authority gave nothing. No message holds a key, a token or a nonce.

use easyenclave_schemas::evidence::{ReasonCode, Rejection};

use crate::layout::LayoutError;

/// What is wrong when nobody gave a key.
pub(super) const NO_KEY: &str = "no key for it is configured here";

/// Why the Trust Authority gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ItaError {
    /// It cannot answer at present, or has had enough of us. Never a verdict.
    #[error("Intel Trust Authority cannot be asked at present: {0}")]
    Unavailable(String),
    /// There is no key, or it does not take ours. Never a verdict.
    #[error("Intel Trust Authority cannot be asked: {0}")]
    Key(String),
    /// It has looked at the evidence and refuses it.
    #[error("Intel Trust Authority refuses the evidence: {0}")]
    Refused(String),
    /// What it answered cannot be read.
    #[error("Intel Trust Authority's answer cannot be read: {0}")]
    Answer(String),
    /// It was not asked: the settings name an address that nothing is sent to.
    #[error("Intel Trust Authority was not asked: {0}")]
    Settings(String),
    /// It was not asked: the evidence holds no quote.
    #[error("Intel Trust Authority was not asked, because the quote cannot be read")]
    Quote(#[source] LayoutError),
    /// It was not asked: the quote is over another nonce or another key.
    #[error(
        "Intel Trust Authority was not asked, because the quote is not bound to its nonce and this key"
    )]
    NotBound,
}

impl From<ItaError> for Rejection {
    fn from(error: ItaError) -> Self {
        let code = match &error {
            ItaError::Refused(_) => ReasonCode::ItaTokenMissing,
            ItaError::Unavailable(_) | ItaError::Key(_) | ItaError::Answer(_) => {
                ReasonCode::DependencyUnavailable
            }
            ItaError::Settings(_) => ReasonCode::PolicyInvalid,
            ItaError::Quote(error) => {
                return Self::new(ReasonCode::QuoteUnreadable, error.to_string());
            }
            ItaError::NotBound => ReasonCode::BindingMismatch,
        };
        Self::new(code, error.to_string())
    }
}
