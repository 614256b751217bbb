//! Why a Trust Authority gave nothing. No message holds a key, a token or a nonce.

use std::fmt;

use easyenclave_schemas::evidence::{ReasonCode, Rejection};

use crate::layout::LayoutError;

/// What is wrong when nobody gave a key.
pub(super) const NO_KEY: &str = "no key for it is configured here";

/// What went wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// In words, the same each time.
    pub words: String,
    /// What is different each time: numbers of the call, seconds.
    pub detail: String,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.words, self.detail)
    }
}

impl<T: Into<String>> From<T> for Said {
    fn from(words: T) -> Self {
        Self {
            words: words.into(),
            detail: String::new(),
        }
    }
}

/// Why the Trust Authority gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ItaError {
    /// It cannot answer at present, or has had enough of us. Never a verdict.
    #[error("Intel Trust Authority cannot be asked at present: {0}")]
    Unavailable(Said),
    /// There is no key, or it does not take ours. Never a verdict.
    #[error("Intel Trust Authority cannot be asked: {0}")]
    Key(Said),
    /// It has looked at the evidence and refuses it.
    #[error("Intel Trust Authority refuses the evidence: {0}")]
    Refused(String),
    /// What it answered cannot be read.
    #[error("Intel Trust Authority's answer cannot be read: {0}")]
    Answer(Said),
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

impl ItaError {
    /// What is wrong with the service or with our key for it, in words that are the same each time; none when it is
    /// well, or was not asked.
    pub fn outage(&self) -> Option<String> {
        match self {
            Self::Unavailable(said) => Some(format!("cannot be asked at present: {}", said.words)),
            Self::Key(said) => Some(format!("cannot be asked: {}", said.words)),
            Self::Answer(said) => Some(format!("gives no usable answer: {}", said.words)),
            Self::Refused(_) | Self::Settings(_) | Self::Quote(_) | Self::NotBound => None,
        }
    }
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
