//! What Cloudflare says when something does not work, sorted by what happens next. Its codes are numbers without a complete
//! list: one that is not known goes by the status of the answer.

use std::time::Duration;

use serde::Deserialize;

use crate::{Next, TunnelError};

/// How long all calls rest after an answer that there were too many, when it does not say.
pub(crate) const TOO_MANY: Duration = Duration::from_secs(300);

/// The longest rest that an answer may ask for.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// How long a connector that was told to go may be counted as connected.
const CONNECTED: Duration = Duration::from_secs(10);

/// The most codes of an answer that are told.
const CODES: usize = 3;

/// One line of what is wrong.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Complaint {
    #[serde(default)]
    pub(crate) code: u64,
    #[serde(default)]
    pub(crate) message: String,
}

/// An answer that is none.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// What it says of when to come back, in seconds.
    pub(crate) retry_after: Option<u64>,
    pub(crate) complaints: Vec<Complaint>,
}

/// A call that did not work.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) error: TunnelError,
    /// Whether the thing that was asked about is not there.
    pub(crate) absent: bool,
}

impl Fault {
    /// The same, unless what was asked about is not there.
    pub(crate) fn unless_absent(self) -> Result<(), TunnelError> {
        match self.absent {
            true => Ok(()),
            false => Err(self.error),
        }
    }
}

impl From<Fault> for TunnelError {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

impl From<TunnelError> for Fault {
    fn from(error: TunnelError) -> Self {
        Self {
            error,
            absent: false,
        }
    }
}

impl Refusal {
    /// What follows from it for a call.
    pub(crate) fn fault(&self, what: &str) -> Fault {
        Fault {
            error: TunnelError::new(self.next(), what, self.why()),
            absent: self.status == 404,
        }
    }

    /// How long all calls have to rest, if they have to.
    pub(crate) fn rest(&self) -> Option<Duration> {
        let asked = self.retry_after.map(Duration::from_secs);
        let asked = asked.map(|asked| asked.clamp(Duration::from_secs(1), LONGEST_REST));
        (self.status == 429).then(|| asked.unwrap_or(TOO_MANY))
    }

    fn next(&self) -> Next {
        if let Some(rest) = self.rest() {
            return Next::WaitUntil(rest);
        }
        let known = self.complaints.iter().find_map(|one| known(one.code));
        known.unwrap_or(match self.status {
            400..=407 | 410..=499 => Next::NeedsPerson,
            _ => Next::Retry,
        })
    }

    fn why(&self) -> String {
        let told = self.complaints.iter().take(CODES);
        let told = told.map(|one| format!("{} ({})", one.message, one.code));
        let told: Vec<String> = told.collect();
        match told.is_empty() {
            true => format!("it answered {}", self.status),
            false => format!("it answered {}: {}", self.status, told.join("; ")),
        }
    }
}

fn known(code: u64) -> Option<Next> {
    match code {
        // The tunnel has connections still.
        1022 => Some(Next::WaitUntil(CONNECTED)),
        // A tunnel of this name, or this very record, exists: the next call finds it and looks whose it is.
        1013 | 81057 | 81058 => Some(Next::Retry),
        // A record of another kind has this name.
        81053..=81056 => Some(Next::NotOurs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: u64) -> Refusal {
        let complaint = Complaint {
            code,
            message: "no".into(),
        };
        Refusal {
            status,
            retry_after: None,
            complaints: vec![complaint],
        }
    }

    #[test]
    fn an_answer_says_what_happens_next() {
        let pause = |s| Next::WaitUntil(Duration::from_secs(s));
        for (status, code, next) in [
            (400, 1022, pause(10)),
            (409, 1013, Next::Retry),
            (400, 1013, Next::Retry),
            (400, 81053, Next::NotOurs),
            (400, 81054, Next::NotOurs),
            (400, 81057, Next::Retry),
            (400, 81058, Next::Retry),
            (400, 1003, Next::NeedsPerson),
            (401, 10000, Next::NeedsPerson),
            (403, 9109, Next::NeedsPerson),
            (404, 7003, Next::NeedsPerson),
            (408, 0, Next::Retry),
            (409, 0, Next::Retry),
            (429, 10000, pause(300)),
            (500, 0, Next::Retry),
            (503, 7, Next::Retry),
            (200, 7, Next::Retry),
        ] {
            assert_eq!(refusal(status, code).next(), next, "{status} {code}");
        }
    }

    #[test]
    fn a_rest_is_as_long_as_the_answer_says_within_bounds() {
        let rest = |retry_after| {
            let said = Refusal {
                retry_after,
                ..refusal(429, 0)
            };
            said.rest().map(|rest| rest.as_secs())
        };
        assert_eq!(rest(None), Some(300));
        assert_eq!(rest(Some(7)), Some(7));
        assert_eq!(rest(Some(0)), Some(1));
        assert_eq!(rest(Some(u64::MAX)), Some(3600));
        assert_eq!(refusal(500, 0).rest(), None);
    }

    #[test]
    fn a_reason_has_codes_and_a_bound() {
        let mut said = refusal(400, 1003);
        assert_eq!(
            said.fault("x").error.to_string(),
            "x: it answered 400: no (1003)"
        );
        said.complaints = vec![
            Complaint {
                code: 1,
                message: "é\n".repeat(4000)
            };
            4000
        ];
        let why = said.fault("x").error.why;
        assert!(why.chars().count() <= 300 && !why.contains('\n'), "{why}");
    }
}
