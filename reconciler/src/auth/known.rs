//! Who is known: the keys and identities of all owners of a revision. Removing one there ends it.

use std::collections::BTreeMap;

use easyenclave_schemas::OwnerName;
use easyenclave_schemas::documents::{ApiKey, ApiSpec, GithubIdentity, OidcSpec, OwnerSpec};

/// Everybody who may call, by what they show.
#[derive(Debug, Clone, Default)]
pub struct Callers {
    keys: BTreeMap<String, (OwnerName, ApiKey)>,
    /// By their organisations, in lower case.
    jobs: BTreeMap<String, Vec<(OwnerName, GithubIdentity)>>,
    oidc: Option<OidcSpec>,
}

impl Callers {
    /// Those of these owners, in a fleet whose API is like this.
    pub fn of<'a>(
        api: &ApiSpec,
        owners: impl IntoIterator<Item = (OwnerName, &'a OwnerSpec)>,
    ) -> Self {
        let mut callers = Self {
            oidc: api.oidc.clone(),
            ..Self::default()
        };
        for (owner, spec) in owners {
            for key in &spec.keys {
                // A check holds that no other has the id.
                let id = key.id.clone();
                callers.keys.insert(id, (owner.clone(), key.clone()));
            }
            for identity in &spec.github {
                let jobs = callers.jobs.entry(organization(&identity.organization));
                let known = (owner.clone(), identity.clone());
                jobs.or_default().push(known);
            }
        }
        callers
    }

    /// The key with this id, and whose it is.
    pub(super) fn key(&self, id: &str) -> Option<&(OwnerName, ApiKey)> {
        self.keys.get(id)
    }

    /// The identities of an organisation.
    pub(super) fn of_organization(&self, name: &str) -> &[(OwnerName, GithubIdentity)] {
        let jobs = self.jobs.get(&organization(name));
        jobs.map(Vec::as_slice).unwrap_or_default()
    }

    /// Whose tokens count.
    pub(super) fn issuer(&self) -> Option<&OidcSpec> {
        self.oidc.as_ref()
    }
}

/// GitHub compares names of organisations, users and repositories without case.
fn organization(name: &str) -> String {
    name.to_ascii_lowercase()
}
