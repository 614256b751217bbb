//! Why an agent refuses a call of its own API, and how often it did: a fixed list of codes, so that no caller
//! decides how long the count becomes or what is in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why an agent refused a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallRefusal {
    /// It carries no signature.
    Unsigned,
    /// Its signature is not the reconciler's over this call.
    BadSignature,
    /// It was signed too long ago, or ahead of the agent's clock.
    OutsideWindow,
    /// It was seen before.
    Replayed,
    /// Too many signed calls came to tell replays apart.
    Crowded,
    /// It is for another agent.
    WrongAgent,
    /// It comes from a reconciler that is not the leader any more.
    StaleEpoch,
    /// A newer instruction was taken in.
    StaleGeneration,
    /// Another instruction has the same number.
    GenerationConflict,
    /// The body is not what the route takes.
    InvalidBody,
    /// The query is not what the route takes.
    InvalidQuery,
    /// The body broke off, or is longer than is read.
    BodyTooLong,
    /// The body did not arrive in time.
    BodyTooSlow,
    /// The workload's log cannot be read.
    LogUnreadable,
}

impl CallRefusal {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Unsigned,
        Self::BadSignature,
        Self::OutsideWindow,
        Self::Replayed,
        Self::Crowded,
        Self::WrongAgent,
        Self::StaleEpoch,
        Self::StaleGeneration,
        Self::GenerationConflict,
        Self::InvalidBody,
        Self::InvalidQuery,
        Self::BodyTooLong,
        Self::BodyTooSlow,
        Self::LogUnreadable,
    ];

    /// The stable code, in answers and in counts.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::BadSignature => "bad_signature",
            Self::OutsideWindow => "outside_window",
            Self::Replayed => "replayed",
            Self::Crowded => "crowded",
            Self::WrongAgent => "wrong_agent",
            Self::StaleEpoch => "stale_epoch",
            Self::StaleGeneration => "stale_generation",
            Self::GenerationConflict => "generation_conflict",
            Self::InvalidBody => "invalid_body",
            Self::InvalidQuery => "invalid_query",
            Self::BodyTooLong => "body_too_long",
            Self::BodyTooSlow => "body_too_slow",
            Self::LogUnreadable => "log_unreadable",
        }
    }

    fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// How often an agent refused calls since it started, by reason. On the wire it is an object from codes to
/// counts; a reader leaves out codes that it does not know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, u64>", into = "BTreeMap<String, u64>")]
pub struct CallRefusals(BTreeMap<CallRefusal, u64>);

impl CallRefusals {
    /// Counts a refusal. Answers how many of this reason there are now.
    pub fn add(&mut self, reason: CallRefusal) -> u64 {
        let count = self.0.entry(reason).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// Whether nothing was refused.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reasons with their counts, which are above zero.
    pub fn iter(&self) -> impl Iterator<Item = (CallRefusal, u64)> {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}

impl From<BTreeMap<String, u64>> for CallRefusals {
    fn from(counts: BTreeMap<String, u64>) -> Self {
        let known = counts.into_iter().filter(|(_, count)| *count > 0);
        Self(
            known
                .filter_map(|(code, count)| Some((CallRefusal::from_code(&code)?, count)))
                .collect(),
        )
    }
}

impl From<CallRefusals> for BTreeMap<String, u64> {
    fn from(refusals: CallRefusals) -> Self {
        refusals
            .iter()
            .map(|(reason, count)| (reason.code().to_owned(), count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::HeartbeatRequest;

    const OLD: &str = r#"{"sequence":1,"boot_id":"b","address":"http://a","generation":2}"#;

    #[test]
    fn every_code_is_read_back_and_none_is_used_twice() {
        for reason in CallRefusal::ALL {
            assert_eq!(CallRefusal::from_code(reason.code()), Some(reason));
        }
    }

    #[test]
    fn a_heartbeat_without_counts_is_as_it_was_before_there_were_any() {
        let beat: HeartbeatRequest = serde_json::from_str(OLD).expect("an older agent's");
        assert!(beat.refusals.is_empty());
        assert_eq!(serde_json::to_string(&beat).expect("plain data"), OLD);
    }

    #[test]
    fn counts_travel_and_codes_of_a_newer_agent_are_left_out() {
        let mut refusals = CallRefusals::default();
        refusals.add(CallRefusal::Unsigned);
        assert_eq!(refusals.add(CallRefusal::Unsigned), 2);
        refusals.add(CallRefusal::StaleEpoch);
        let text = serde_json::to_string(&refusals).expect("plain data");
        assert_eq!(text, r#"{"stale_epoch":1,"unsigned":2}"#);
        let newer = r#"{"unsigned":2,"no-such-code":9,"replayed":0,"stale_epoch":1}"#;
        let read: CallRefusals = serde_json::from_str(newer).expect("a newer agent's");
        assert_eq!(read, refusals);
    }
}
