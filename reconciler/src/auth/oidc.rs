//! Identity tokens of GitHub Actions. The fleet names issuer, audience and keys, and the owners' documents repository,
//! ref and environment. A token says only who it is for; `sub` is a text that repositories can shape, so it is not read.

use easyenclave_attestation::jwt::{self, KeySets, Unique};
use easyenclave_schemas::documents::{GithubIdentity, OidcSpec, SigningAlgorithm};
use easyenclave_schemas::{OwnerName, Timestamp};
use serde_json::{Map, Value};

use super::denied::Job;
use super::{Caller, Callers, Denied, Identity, Proof};

/// Clocks may differ by so many seconds.
const LEEWAY: i64 = 60;

/// The longest token, in bytes; GitHub's have about 2,000.
const LONGEST: usize = 16 * 1024;

pub(super) async fn admit(
    sets: &KeySets,
    callers: &Callers,
    token: &str,
    now: Timestamp,
) -> Result<Caller, Denied> {
    let issuer = callers.issuer().ok_or(Denied::NoIssuer)?;
    if token.len() > LONGEST {
        return Err(Denied::Token(jwt::JwtError::Header));
    }
    let token = token.as_bytes();
    let key_id = jwt::key_of(token, SigningAlgorithm::RS256).map_err(Denied::Token)?;
    let keys = sets.keys(&issuer.jwks_url, Some(&key_id), now).await;
    let keys = keys.map_err(Denied::Keys)?;
    let signed = jwt::verify(token, &keys, SigningAlgorithm::RS256).map_err(Denied::Token)?;
    let claims = Claims::read(&signed.payload)?;
    claims.stand(issuer, now)?;
    let (owner, identity) = owner(callers, &claims)?;
    Ok(Caller {
        owner,
        identity,
        proof: Proof::Job {
            issuer: issuer.clone(),
            claims,
        },
    })
}

/// Whether a token that this owner's job has shown would be let in again, but for its signature, which was right.
pub(super) fn stands(
    callers: &Callers,
    before: &OidcSpec,
    claims: &Claims,
    of: &OwnerName,
    now: Timestamp,
) -> Result<(), Denied> {
    let issuer = callers.issuer().ok_or(Denied::NoIssuer)?;
    if issuer.jwks_url != before.jwks_url {
        return Err(Denied::Token(jwt::JwtError::UnknownKey));
    }
    claims.stand(issuer, now)?;
    match owner(callers, claims)? {
        (owner, _) if owner == *of => Ok(()),
        _ => Err(Denied::Organization),
    }
}

/// Claims by name, each of which comes once.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    fn read(payload: &[u8]) -> Result<Self, Denied> {
        let read = serde_json::from_slice(payload);
        let Unique(claims) = read.map_err(|_| Denied::Token(jwt::JwtError::Claims))?;
        Ok(Self(claims))
    }

    /// Issuer, audience and times.
    fn stand(&self, issuer: &OidcSpec, now: Timestamp) -> Result<(), Denied> {
        let now = now.as_millis().div_euclid(1000);
        if self.text("iss")? != issuer.issuer {
            return Err(Denied::Issuer);
        }
        if !self.is_for(&issuer.audience) {
            return Err(Denied::Audience);
        }
        if self.time("exp")?.saturating_add(LEEWAY) <= now {
            return Err(Denied::Expired);
        }
        let begins = match self.0.contains_key("nbf") {
            true => self.time("nbf")?.max(self.time("iat")?),
            false => self.time("iat")?,
        };
        match begins.saturating_sub(LEEWAY) > now {
            true => Err(Denied::NotYetValid),
            false => Ok(()),
        }
    }

    fn is_for(&self, audience: &str) -> bool {
        match self.0.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(all)) => all.iter().any(|one| one == audience),
            _ => false,
        }
    }

    fn text(&self, name: &'static str) -> Result<&str, Denied> {
        let value = self.0.get(name).and_then(Value::as_str);
        let value = value.filter(|text| !text.is_empty());
        value.ok_or(Denied::Claim(name))
    }

    /// Absent is one thing, and something that is no text another.
    fn text_if_any(&self, name: &'static str) -> Result<Option<&str>, Denied> {
        match self.0.contains_key(name) {
            true => self.text(name).map(Some),
            false => Ok(None),
        }
    }

    fn time(&self, name: &'static str) -> Result<i64, Denied> {
        let value = self.0.get(name).and_then(Value::as_i64);
        value.ok_or(Denied::Claim(name))
    }
}

/// The one owner who names the job.
fn owner(callers: &Callers, claims: &Claims) -> Result<(OwnerName, Identity), Denied> {
    let full = claims.text("repository")?;
    let named = claims.text("repository_owner")?;
    let (organization, repository) = full.split_once('/').ok_or(Denied::Claim("repository"))?;
    if !organization.eq_ignore_ascii_case(named) {
        return Err(Denied::Claim("repository_owner"));
    }
    let job = Job {
        repository: full.to_owned(),
        git_ref: claims.text("ref")?.to_owned(),
        environment: claims.text_if_any("environment")?.map(str::to_owned),
    };
    let known = callers.of_organization(organization);
    let owners = matching(known, repository, &job)?;
    let [owner] = owners.as_slice() else {
        return Err(Denied::Ambiguous(job, owners));
    };
    let identity = Identity::Actions {
        repository: job.repository,
        git_ref: job.git_ref,
        run: claims.text_if_any("run_id")?.map(str::to_owned),
    };
    Ok((owner.clone(), identity))
}

type Known = (OwnerName, GithubIdentity);

/// The owners whose identities match, each once. A field that an identity gives and the token lacks is a mismatch.
fn matching(known: &[Known], repository: &str, job: &Job) -> Result<Vec<OwnerName>, Denied> {
    let known: Vec<&Known> = known.iter().collect();
    if known.is_empty() {
        return Err(Denied::Organization);
    }
    let known = narrowed(known, |identity| {
        let wanted = identity.repository.as_ref();
        wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(repository))
    });
    if known.is_empty() {
        return Err(Denied::Repository(job.clone()));
    }
    let known = narrowed(known, |identity| {
        let wanted = identity.git_ref.as_ref();
        wanted.is_none_or(|wanted| *wanted == job.git_ref)
    });
    if known.is_empty() {
        return Err(Denied::Ref(job.clone()));
    }
    let known = narrowed(known, |identity| {
        identity.environment.is_none() || identity.environment == job.environment
    });
    if known.is_empty() {
        return Err(Denied::Environment(job.clone()));
    }
    let mut owners: Vec<_> = known.into_iter().map(|(owner, _)| owner.clone()).collect();
    owners.sort();
    owners.dedup();
    Ok(owners)
}

fn narrowed(mut known: Vec<&Known>, fits: impl Fn(&GithubIdentity) -> bool) -> Vec<&Known> {
    known.retain(|(_, identity)| fits(identity));
    known
}
