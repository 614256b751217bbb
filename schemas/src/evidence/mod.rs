//! What an agent shows to be trusted, and what verification says about it: evidence, verdicts, rejections,
//! reason codes. Formats only: nothing here checks a signature, and no verdict names a single machine
//! (no PPID, no platform instance id, no QE id).

mod bytes;
mod measured;
mod reasons;
mod record;
mod verdict;

use serde::{Deserialize, Serialize};

pub use bytes::{Bounded, EventLogBytes, QuoteBytes, TokenBytes, TooLong};
pub use measured::{Fmspc, HexError, MeasurementDigest, RootKeyId};
pub use reasons::ReasonCode;
pub use record::{EvidenceRecord, JudgedPolicy, Kept, Outcome, Part};
pub use verdict::{
    PlatformProperties, Rejection, TcbStatus, TokenFacts, Verdict, VerifierKind, Warning, stamp,
};

/// What an agent sends to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The quote, as the platform gave it; a zero-padded tail is allowed.
    pub quote: QuoteBytes,
    /// The log of what was measured, where the platform keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_log: Option<EventLogBytes>,
    /// A token that the agent asked Intel Trust Authority for, where the policy wants it to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenBytes>,
}

impl Evidence {
    /// A quote and nothing else.
    pub fn of_quote(quote: QuoteBytes) -> Self {
        Self {
            quote,
            event_log: None,
            token: None,
        }
    }
}

/// A nonce of Intel Trust Authority, exactly as it gave it out. A quote binds the decoded bytes of `val`
/// and `iat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItaNonce {
    /// Standard base64.
    pub val: String,
    /// Standard base64 of the time of issue.
    pub iat: String,
    /// The Trust Authority's signature over both, standard base64.
    pub signature: String,
}
