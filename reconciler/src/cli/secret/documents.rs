//! The documents that have to do with secrets, at the tip of a branch.

use std::collections::BTreeMap;

use anyhow::bail;
use easyenclave_schemas::decode::{decode, identify};
use easyenclave_schemas::documents::{Document, Identity, Kind};
use easyenclave_schemas::{OwnerName, SecretName};

use super::Name;
use crate::cli::read;

/// What a branch says of secrets.
pub(super) struct State {
    /// To whom they are sealed.
    pub(super) recipients: Vec<String>,
    /// The secrets that there are.
    pub(super) secrets: BTreeMap<Name, Found>,
    owners: Vec<String>,
    /// Deployments with the secrets that they use.
    uses: Vec<(String, Vec<Name>)>,
}

/// A secret's document.
pub(super) struct Found {
    /// Where it lies.
    pub(super) path: String,
    /// What is sealed; empty where it cannot be read.
    pub(super) sealed: String,
    text: String,
}

impl State {
    /// Of the tip of a branch.
    pub(super) async fn read(place: &read::Place) -> anyhow::Result<Self> {
        let documents = read::documents(place).await?.into_iter();
        // What is no text is for `check` to say.
        let texts = documents.filter_map(|(path, text)| Some((path, text?)));
        Ok(Self::of(texts.collect()))
    }

    fn of(documents: Vec<(String, String)>) -> Self {
        let mut state = Self {
            recipients: Vec::new(),
            secrets: BTreeMap::new(),
            owners: Vec::new(),
            uses: Vec::new(),
        };
        for (path, text) in documents {
            state.add(path, text);
        }
        state
    }

    fn add(&mut self, path: String, text: String) {
        match decode(text.as_bytes()).map(|located| located.document) {
            Ok(Document::Fleet(object)) => self.recipients = object.spec.secrets.recipients,
            Ok(Document::Owner(object)) => self.owners.push(object.metadata.name),
            Ok(Document::Deployment(object)) => {
                let Some(owner) = object.metadata.owner else {
                    return;
                };
                let name = |name| Name {
                    owner: owner.clone(),
                    name,
                };
                let uses = object.spec.secrets.into_iter().map(|one| name(one.name));
                let deployment = format!("{owner}/{}", object.metadata.name);
                self.uses.push((deployment, uses.collect()));
            }
            Ok(Document::Secret(object)) => {
                let identity = named(object.metadata.owner.as_ref(), &object.metadata.name);
                let sealed = object.spec.sealed;
                self.put(identity, Found { path, sealed, text });
            }
            Ok(_) => {}
            // A broken one is replaced where it lies.
            Err(_) => {
                if let Some(Identity {
                    kind: Kind::Secret,
                    owner: Some(owner),
                    name,
                }) = identify(text.as_bytes())
                {
                    let identity = named(OwnerName::new(owner).ok().as_ref(), &name);
                    let sealed = String::new();
                    self.put(identity, Found { path, sealed, text });
                }
            }
        }
    }

    fn put(&mut self, name: Option<Name>, found: Found) {
        if let Some(name) = name {
            self.secrets.entry(name).or_insert(found);
        }
    }

    /// # Errors
    /// When there is no such owner.
    pub(super) fn owned_by(&self, owner: &OwnerName, branch: &str) -> anyhow::Result<()> {
        match self.owners.iter().any(|one| one == owner.as_str()) {
            true => Ok(()),
            false => bail!("{branch} has no owner {owner}"),
        }
    }

    /// The deployments that use a secret.
    pub(super) fn users(&self, name: &Name) -> Vec<&str> {
        let uses = self.uses.iter().filter(|(_, names)| names.contains(name));
        uses.map(|(deployment, _)| deployment.as_str()).collect()
    }

    /// The document of a secret as it will be, and where. What else stands in one that is there stays.
    pub(super) fn with(&self, name: &Name, sealed: &str) -> (String, Vec<u8>) {
        let usual = || format!("secrets/{}/{}.yaml", name.owner, name.name);
        let Some(found) = self.secrets.get(name) else {
            return (usual(), document(name, sealed).into_bytes());
        };
        let changed = match found.sealed.is_empty() {
            true => document(name, sealed),
            false => found.text.replace(&found.sealed, sealed),
        };
        // A text that is broken over lines, or written in escapes, is not found as it reads.
        let is_it = decode(changed.as_bytes()).is_ok_and(|located| match located.document {
            Document::Secret(object) => object.spec.sealed == sealed,
            _ => false,
        });
        let text = match is_it {
            true => changed,
            false => document(name, sealed),
        };
        (found.path.clone(), text.into_bytes())
    }
}

fn named(owner: Option<&OwnerName>, name: &str) -> Option<Name> {
    Some(Name {
        owner: owner?.clone(),
        name: SecretName::new(name).ok()?,
    })
}

/// Everything is quoted: digits alone would read as a number.
fn document(name: &Name, sealed: &str) -> String {
    let Name { owner, name } = name;
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: Secret\nmetadata:\n  name: \"{name}\"\n  owner: \"{owner}\"\nspec:\n  \
         sealed: \"{sealed}\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of every file of `age`, which is all that the shape asks for.
    const SEALED: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCg==";
    const OTHER: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCjE=";

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn state(files: &[(&str, &str)]) -> State {
        let text = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        State::of(files.iter().map(text).collect())
    }

    #[test]
    fn a_new_secret_lies_in_its_owners_folder_even_when_it_looks_like_a_number() {
        for text in ["acme/db", "acme/123", "1/2"] {
            let (path, text) = (format!("secrets/{text}.yaml"), name(text));
            let (found, bytes) = state(&[]).with(&text, SEALED);
            assert_eq!(found, path);
            let located = decode(&bytes).expect("a document");
            let Document::Secret(object) = located.document else {
                panic!("another kind");
            };
            assert_eq!(object.spec.sealed, SEALED);
        }
    }

    #[test]
    fn what_else_stands_in_a_secrets_document_stays() {
        let before = format!(
            "# Ask Ada before you change it.\n{}",
            document(&name("acme/db"), SEALED)
        );
        let known = state(&[("secrets/acme/of-the-database.yaml", &before)]);
        let (path, text) = known.with(&name("acme/db"), OTHER);
        assert_eq!(path, "secrets/acme/of-the-database.yaml");
        let text = String::from_utf8(text).expect("text");
        assert_eq!(text, before.replace(SEALED, OTHER));
    }

    #[test]
    fn a_broken_one_is_replaced_where_it_lies() {
        let broken = document(&name("acme/db"), "s3cr3t");
        let known = state(&[("secrets/acme/x.yaml", &broken)]);
        let (path, text) = known.with(&name("acme/db"), SEALED);
        assert_eq!(path, "secrets/acme/x.yaml");
        assert_eq!(text, document(&name("acme/db"), SEALED).into_bytes());
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for text in [
            "db",
            "acme/",
            "/db",
            "acme/DB",
            "../db",
            "acme/a/b",
            "acme/../x",
        ] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
