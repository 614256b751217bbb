//! Why a caller is not let in. No message holds a key, a token, or a hash of one.

use axum::http::StatusCode;
use easyenclave_attestation::jwt::{JwtError, KeySetsError};
use easyenclave_schemas::OwnerName;

use super::line;
use crate::api::Refused;

/// Why a caller is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No revision is in force yet, so nobody is known.
    #[error("no revision of the state repository is read yet; try again")]
    NotReady,
    /// Nothing is shown, or not as it should be.
    #[error("no API key or identity token is shown; send one as `authorization: Bearer …`")]
    Missing,
    /// No such key, or another secret: nobody is told which.
    #[error("the API key is not one of this fleet")]
    Key,
    /// The key's time is over.
    #[error("the API key has expired; `easyenclave key new` makes another")]
    KeyExpired,
    /// Verifying a key is work, and too many are waiting for it.
    #[error("too many API keys are being verified; try again")]
    Busy,
    /// The fleet's document names no issuer.
    #[error("this fleet takes no identity tokens: its document has no `spec.api.oidc`")]
    NoIssuer,
    /// There are no keys to verify it with.
    #[error("the issuer's keys are not to be had at present; try again")]
    Keys(#[source] KeySetsError),
    /// No key of the issuer has signed it.
    #[error("{}", token(*.0))]
    Token(JwtError),
    /// Claims that are not there, or of another kind.
    #[error("the token has no usable `{0}`")]
    Claim(&'static str),
    /// Another issuer.
    #[error("the token is of another issuer than the one this fleet names")]
    Issuer,
    /// Another audience.
    #[error("the token is for another audience than the one this fleet names")]
    Audience,
    /// Its time is over.
    #[error("the token has expired; ask for another")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// No owner names this organisation.
    #[error("no owner of this fleet names the organisation of the token's repository")]
    Organization,
    /// An owner names the organisation, and none this repository.
    #[error("no owner of this fleet names the token's repository")]
    Repository(Job),
    /// One names the repository, and none this ref.
    #[error("no owner of this fleet names the token's ref for its repository")]
    Ref(Job),
    /// One names the ref, and none this environment.
    #[error("no owner of this fleet names the token's environment for its repository and ref")]
    Environment(Job),
    /// More than one does.
    #[error("more than one owner of this fleet names the token's repository, ref and environment")]
    Ambiguous(Job, Vec<OwnerName>),
}

/// Which job a token is of. It is in no message to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub(super) repository: String,
    pub(super) git_ref: String,
    pub(super) environment: Option<String>,
}

impl Denied {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Missing => "missing_auth",
            Self::Key => "invalid_api_key",
            Self::KeyExpired => "api_key_expired",
            Self::Busy => "busy",
            Self::NoIssuer => "oidc_disabled",
            Self::Keys(_) => "oidc_unavailable",
            Self::Token(error) => match error {
                JwtError::Algorithm => "oidc_algorithm",
                JwtError::Extension => "oidc_extension",
                JwtError::UnknownKey => "oidc_unknown_key",
                JwtError::SignatureUnreadable | JwtError::SignatureWrong => "oidc_signature",
                JwtError::NotText
                | JwtError::NotThreeParts
                | JwtError::Header
                | JwtError::Claims => "oidc_malformed",
            },
            Self::Claim(_) => "oidc_claims",
            Self::Issuer => "oidc_issuer",
            Self::Audience => "oidc_audience",
            Self::Expired => "oidc_expired",
            Self::NotYetValid => "oidc_not_yet_valid",
            Self::Organization => "oidc_organization",
            Self::Repository(_) => "oidc_repository",
            Self::Ref(_) => "oidc_ref",
            Self::Environment(_) => "oidc_environment",
            Self::Ambiguous(..) => "oidc_ambiguous",
        }
    }

    /// Whoever has proved who they are is forbidden; whoever has not may try again with something else.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotReady | Self::Busy | Self::Keys(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Organization
            | Self::Repository(_)
            | Self::Ref(_)
            | Self::Environment(_)
            | Self::Ambiguous(..) => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// Whether operators should know of it. That somebody shows nothing is no news.
    pub(super) fn is_news(&self) -> bool {
        !matches!(self, Self::NotReady | Self::Missing | Self::Busy)
    }

    /// What a refusal is about. A repository is named where its issuer vouches for it and an owner names its organisation, and
    /// all others are fixed words: no stranger can make a list grow by making names up.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::NotReady | Self::Missing | Self::Busy => "a caller".into(),
            Self::Key | Self::KeyExpired => "a caller with an API key".into(),
            Self::Repository(job)
            | Self::Ref(job)
            | Self::Environment(job)
            | Self::Ambiguous(job, _) => format!("a job of {}", line(&job.repository)),
            _ => "a caller with an identity token".into(),
        }
    }

    /// The reason with what only operators may read. A job is told of where an owner names its organisation: strangers
    /// write nothing into the status.
    pub(super) fn whole(&self) -> String {
        match self {
            Self::Keys(source) => format!("{self}: {source}"),
            Self::Repository(job) | Self::Ref(job) | Self::Environment(job) => {
                format!("{self}: {}", job.words())
            }
            Self::Ambiguous(job, owners) => {
                let owners: Vec<_> = owners.iter().take(5).map(OwnerName::as_str).collect();
                format!("{self}: {}; {}", job.words(), owners.join(", "))
            }
            _ => self.to_string(),
        }
    }
}

fn token(error: JwtError) -> String {
    match error {
        JwtError::Algorithm => "the token is not signed with RS256".into(),
        JwtError::UnknownKey => {
            "the token is signed with a key that its issuer does not publish".into()
        }
        other => other.to_string(),
    }
}

impl Job {
    fn words(&self) -> String {
        let (repository, git_ref) = (line(&self.repository), line(&self.git_ref));
        match &self.environment {
            None => format!("{repository} at {git_ref} in no environment"),
            Some(environment) => {
                format!(
                    "{repository} at {git_ref} in environment {}",
                    line(environment)
                )
            }
        }
    }
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        Self::new(denied.status(), denied.code(), denied.to_string())
    }
}
