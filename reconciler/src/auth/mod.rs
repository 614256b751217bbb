//! Who calls the deploy API: an owner, by an API key whose hash the owner's document has, or by an identity token of
//! GitHub Actions that the document's identities match. It only tells who calls, never what they may do.

mod denied;
pub(crate) mod keys;
mod known;
mod oidc;
#[cfg(test)]
mod tests;

use std::fmt;

use axum::http::{HeaderMap, header};
use easyenclave_attestation::jwt::KeySets;
use easyenclave_schemas::documents::OidcSpec;
use easyenclave_schemas::{OwnerName, Timestamp};

use crate::api::Refused;
use crate::world::World;

pub use denied::Denied;
pub use known::Callers;
use oidc::Claims;

/// Somebody who has proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// For whom they act.
    pub owner: OwnerName,
    /// As whom.
    pub identity: Identity,
    proof: Proof,
}

/// What a caller is held against again later, without what was shown: that is kept nowhere.
#[derive(Clone, PartialEq, Eq)]
enum Proof {
    /// The hash that a key was verified with.
    Key { id: String, hash: String },
    /// What a token says, whose signature was right, and whose tokens counted then.
    Job { issuer: OidcSpec, claims: Claims },
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<proof>")
    }
}

impl Caller {
    /// Holds what was shown against those who are known now.
    fn stands(&self, callers: &Callers, now: Timestamp) -> Result<(), Denied> {
        match &self.proof {
            Proof::Key { id, hash } => match keys::stands(callers, id, hash, now)? {
                owner if *owner == self.owner => Ok(()),
                _ => Err(Denied::Key),
            },
            Proof::Job { issuer, claims } => {
                oidc::stands(callers, issuer, claims, &self.owner, now)
            }
        }
    }
}

/// By what a caller is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// An API key, by its id and what its document says it is for.
    Key {
        /// The id.
        id: String,
        /// The name.
        name: String,
    },
    /// A job of GitHub Actions.
    Actions {
        /// `organisation/repository`.
        repository: String,
        /// The full ref.
        git_ref: String,
        /// The number of the run, where the token says.
        run: Option<String>,
    },
}

/// One line, for commits and logs. Nothing of it is secret.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { id, name } => write!(f, "API key {id} ({})", line(name)),
            Self::Actions {
                repository,
                git_ref,
                run,
            } => {
                write!(
                    f,
                    "GitHub Actions of {} at {}",
                    line(repository),
                    line(git_ref)
                )?;
                match run {
                    Some(run) => write!(f, ", run {}", line(run)),
                    None => Ok(()),
                }
            }
        }
    }
}

/// What others wrote, as a part of one line.
fn line(text: &str) -> String {
    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    shown.take(200).collect()
}

/// Lets callers in. It remembers keys of issuers, and which API keys it has verified.
pub struct Door {
    sets: KeySets,
    keys: keys::Verifier,
}

impl Door {
    /// One that has seen nobody yet. The process must have a TLS provider.
    ///
    /// # Errors
    /// When TLS is not to be had.
    pub fn new() -> Result<Self, reqwest::Error> {
        Ok(Self::over(KeySets::new()?))
    }

    fn over(sets: KeySets) -> Self {
        Self {
            sets,
            keys: keys::Verifier::default(),
        }
    }

    /// Who sends these headers, among those who are known.
    ///
    /// # Errors
    /// When it is nobody who may call.
    pub async fn admit(
        &self,
        callers: &Callers,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Caller, Denied> {
        let shown = bearer(headers)?;
        if shown.split('.').count() == 3 {
            return oidc::admit(&self.sets, callers, shown, now).await;
        }
        let key = keys::Shown::parse(shown).ok_or(Denied::Key)?;
        self.keys.admit(callers, key, now).await
    }
}

/// What is shown, in the one header that counts.
fn bearer(headers: &HeaderMap) -> Result<&str, Denied> {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (shown.next(), shown.next()) else {
        return Err(Denied::Missing);
    };
    let text = only.to_str().map_err(|_| Denied::Missing)?;
    let (scheme, rest) = text.split_once(' ').ok_or(Denied::Missing)?;
    match scheme.eq_ignore_ascii_case("bearer") {
        true => Ok(rest.trim()),
        false => Err(Denied::Missing),
    }
}

/// Who calls, by the revision in force.
///
/// # Errors
/// When it is nobody who may call. The whole reason is noted here, and told only as far as strangers may know it.
pub async fn authenticate(
    world: &World,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Caller, Refused> {
    let Some(revision) = world.revision() else {
        return Err(Denied::NotReady.into());
    };
    let admitted = world.door.admit(&revision.callers, headers, now).await;
    admitted.map_err(|denied| noted(world, denied))
}

/// Whether somebody who was let in before would be again, among those who are known by now.
///
/// # Errors
/// When they would not. It is noted and told as the first time.
pub fn still(
    world: &World,
    callers: &Callers,
    caller: &Caller,
    now: Timestamp,
) -> Result<(), Refused> {
    let stands = caller.stands(callers, now);
    stands.map_err(|denied| noted(world, denied))
}

fn noted(world: &World, denied: Denied) -> Refused {
    if denied.is_news() {
        world.refuse(denied.code(), &denied.subject(), &denied.whole());
    }
    denied.into()
}
