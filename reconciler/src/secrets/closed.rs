//! Secrets as a revision has them: closed. What a workload is given, and in which version, is told without opening any.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use easyenclave_schemas::documents::SecretUse;
use easyenclave_schemas::{Digest, OwnerName, SecretName};

/// A secret, closed: what is sealed, as it stands in the document.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Closed(Arc<str>);

/// No ciphertext belongs into a log.
impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Closed({})", self.version().short(12))
    }
}

impl Closed {
    /// What is sealed.
    pub(crate) fn sealed(&self) -> &str {
        &self.0
    }

    /// Its version. Nobody learns anything of the value from it: the same value is sealed to other bytes each time.
    fn version(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

/// The secrets of a revision, by owner and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<OwnerName, BTreeMap<SecretName, Closed>>);

/// The secrets that a workload is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    /// By name.
    pub(crate) closed: BTreeMap<SecretName, Closed>,
    /// Of which versions they are: another digest is another version of the workload.
    pub(crate) digest: Digest,
}

impl Secrets {
    /// Adds one, by what its document seals.
    pub fn insert(&mut self, owner: OwnerName, name: SecretName, sealed: &str) {
        let closed = Closed(sealed.into());
        self.0.entry(owner).or_default().insert(name, closed);
    }

    /// Of which versions the named secrets of an owner are; none when one of them is not there.
    pub fn version(&self, owner: &OwnerName, uses: &[SecretUse]) -> Option<Digest> {
        self.used(owner, uses).map(|used| used.digest)
    }

    /// Those of an owner that are named; none when one of them is not there.
    pub(crate) fn used(&self, owner: &OwnerName, uses: &[SecretUse]) -> Option<Used> {
        let own = self.0.get(owner)?;
        let find = |one: &SecretUse| Some((one.name.clone(), own.get(&one.name)?.clone()));
        let closed: BTreeMap<_, _> = uses.iter().map(find).collect::<Option<_>>()?;
        let versions: Vec<_> = closed.values().map(Closed::version).collect();
        let names = closed.keys().map(|name| name.as_str().as_bytes());
        let parts = names.zip(&versions);
        let digest = Digest::of_list(parts.flat_map(|(name, version)| [name, version.as_bytes()]));
        Some(Used { closed, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(version: u8) -> Secrets {
        let mut secrets = Secrets::default();
        let name = |text: &str| SecretName::new(text).expect("a name");
        for (owner, secret, version) in [
            ("acme", "db", version),
            ("acme", "key", 1),
            ("evil", "db", 9),
        ] {
            let owner = OwnerName::new(owner).expect("a name");
            secrets.insert(owner, name(secret), &format!("s3cr3t {version}"));
        }
        secrets
    }

    fn used(version: u8, names: &[&str]) -> Option<Used> {
        let one = |name: &&str| serde_json::json!({ "name": name, "env": "X" });
        let uses: Vec<_> = names.iter().map(one).collect();
        let uses: Vec<SecretUse> = serde_json::from_value(uses.into()).expect("uses");
        secrets(version).used(&OwnerName::new("acme").expect("a name"), &uses)
    }

    #[test]
    fn another_version_of_a_secret_is_another_version_of_who_uses_it_and_of_nobody_else() {
        let digest = |version, names: &[&str]| used(version, names).expect("there").digest;
        assert_ne!(digest(1, &["db"]), digest(2, &["db"]));
        assert_eq!(digest(1, &["key"]), digest(2, &["key"]));
        assert_ne!(digest(1, &["db"]), digest(1, &["key"]));
        assert_eq!(digest(1, &["db", "key"]), digest(1, &["key", "db", "db"]));
    }

    #[test]
    fn nobody_uses_what_is_not_there_or_another_owners() {
        assert_eq!(used(1, &["db", "no"]), None);
        let found = used(1, &["db"]).expect("there");
        let sealed: Vec<_> = found.closed.values().map(Closed::sealed).collect();
        assert_eq!(sealed, ["s3cr3t 1"], "its own, and not the other's");
        assert!(!format!("{found:?}").contains("s3cr3t"));
    }
}
