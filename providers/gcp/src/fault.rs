//! What Google says when something does not work, sorted by what happens next. Codes are free words in its contract:
//! one that is not known is kept in the text, and may work later.

use std::io;

use easyenclave_capacity::ProvideError;
use easyenclave_schemas::{Secret, Shape, Zone};
use google_cloud_compute_v1::model::Operation;
use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::StatusDetails;

/// The longest text of a fault that is kept, in characters.
const LONGEST: usize = 400;

/// What to do when nobody says who we are. The last of them is asked over the network, so that it seems to be down.
const CREDENTIALS: &str = "no credentials of Google: name a file by GOOGLE_APPLICATION_CREDENTIALS, run `gcloud auth \
    application-default login`, or run this on a machine of Google Cloud with an account";

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The same may work later.
    Later,
    /// There is no such machine to be had in this zone now.
    Stockout,
    /// What the project may have is used up.
    Quota,
    /// Somebody has to change something.
    Person,
}

/// Something that did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Fault {
    /// What was tried, in words.
    pub(crate) what: String,
    /// What was answered.
    pub(crate) why: String,
    /// What happens next.
    pub(crate) next: Next,
}

impl Fault {
    pub(crate) fn new(next: Next, what: impl Into<String>, why: impl Into<String>) -> Self {
        let why: String = why.into();
        Self {
            what: what.into(),
            why: why.chars().take(LONGEST).collect(),
            next,
        }
    }

    pub(crate) fn later(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Next::Later, what, why)
    }

    pub(crate) fn person(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Next::Person, what, why)
    }

    /// A call that was not answered well.
    pub(crate) fn of(what: impl Into<String>, error: &Error) -> Self {
        let reasons = reasons(error);
        let known = reasons.iter().find_map(|reason| known(reason));
        let next = known.unwrap_or_else(|| match error.http_status_code() {
            Some(status) => by_status(status),
            // Credentials that do not work are a person's business, unless they may work later.
            None if error.is_authentication() && !is_transient(error) => Next::Person,
            None => Next::Later,
        });
        let mut why = error.to_string();
        if error.is_authentication() {
            why = format!("{CREDENTIALS}: {why}");
        }
        if let Some(reason) = reasons.first() {
            why = format!("{reason}: {why}");
        }
        Self::new(next, what, why)
    }

    /// What an operation that is over says of its failure, if it has failed: that it is over says nothing of that.
    pub(crate) fn of_operation(what: impl Into<String>, operation: &Operation) -> Option<Self> {
        let errors = operation.error.iter().flat_map(|error| &error.errors);
        let codes: Vec<&str> = errors
            .clone()
            .filter_map(|error| error.code.as_deref())
            .collect();
        let texts = errors.map(|error| {
            let code = error.code.as_deref().unwrap_or("no code");
            format!(
                "{code}: {}",
                error.message.as_deref().unwrap_or("no message")
            )
        });
        let mut why: Vec<String> = texts.collect();
        let status = operation.http_error_status_code;
        let status = status.and_then(|status| u16::try_from(status).ok());
        let status = status.filter(|status| *status >= 400);
        if let Some(status) = status.filter(|_| why.is_empty()) {
            let message = operation.http_error_message.as_deref();
            why.push(format!(
                "status {status}: {}",
                message.unwrap_or("no message")
            ));
        }
        if why.is_empty() && operation.error.is_none() {
            return None;
        }
        let known = codes.iter().find_map(|code| known(code));
        let next = known.or(status.map(by_status)).unwrap_or(Next::Later);
        Some(Self::new(next, what, why.join("; ")))
    }

    /// The same without a secret that Google may have repeated.
    pub(crate) fn without(mut self, secret: &Secret<String>) -> Self {
        self.why = secret.hide_in(&self.why);
        self
    }

    /// As the provider's error; a machine is short at its spot.
    pub(crate) fn at(self, zone: &Zone, shape: &Shape) -> ProvideError {
        match self.next {
            Next::Stockout => ProvideError::Stockout {
                zone: zone.to_string(),
                shape: shape.to_string(),
                what: self.to_string(),
            },
            _ => self.into(),
        }
    }
}

impl From<Fault> for ProvideError {
    fn from(fault: Fault) -> Self {
        let Fault { what, why, next } = fault;
        match next {
            Next::Quota => Self::Quota {
                what: format!("{what}: {why}"),
            },
            Next::Person => Self::NeedsPerson {
                what,
                source: io::Error::other(why),
            },
            Next::Later | Next::Stockout => Self::Retry {
                what,
                source: io::Error::other(why),
            },
        }
    }
}

/// What an error says of itself in single words.
fn reasons(error: &Error) -> Vec<&str> {
    let details = error.status().map(|status| status.details.as_slice());
    details
        .unwrap_or_default()
        .iter()
        .filter_map(|detail| match detail {
            StatusDetails::ErrorInfo(info) if !info.reason.is_empty() => Some(info.reason.as_str()),
            _ => None,
        })
        .collect()
}

/// What follows from a code, in the spelling of operations or in that of answers.
fn known(code: &str) -> Option<Next> {
    let word: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    let word = word.to_ascii_lowercase();
    match word.as_str() {
        "quotaexceeded" => Some(Next::Quota),
        "ratelimitexceeded" | "userratelimitexceeded" | "resourceoperationrateexceeded" => {
            Some(Next::Later)
        }
        // What others are changing at the moment, such as a subnetwork in which several machines are made.
        "resourcenotready" | "resourceinusebyanotherresource" => Some(Next::Later),
        word if word.starts_with("zoneresourcepoolexhausted")
            || word.starts_with("resourcepoolexhausted")
            || word.contains("stockout") =>
        {
            Some(Next::Stockout)
        }
        _ => None,
    }
}

fn by_status(status: u16) -> Next {
    match status {
        400 | 401 | 403 | 404 => Next::Person,
        _ => Next::Later,
    }
}

fn is_transient(error: &Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(credentials) = cause.downcast_ref::<google_cloud_gax::error::CredentialsError>()
        {
            return credentials.is_transient();
        }
        source = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use google_cloud_gax::error::CredentialsError;

    use super::*;

    #[test]
    fn who_has_no_credentials_is_told_how_to_get_some() {
        for (may_pass, next) in [(false, Next::Person), (true, Next::Later)] {
            let error = CredentialsError::from_msg(may_pass, "nobody answers");
            let fault = Fault::of("listing", &Error::authentication(error));
            assert_eq!(fault.next, next);
            let why = &fault.why;
            assert!(why.contains("GOOGLE_APPLICATION_CREDENTIALS"), "{why}");
            assert!(
                why.contains("`gcloud auth application-default login`"),
                "{why}"
            );
        }
    }
}
