//! Secrets of the state repository: what opens them, and who is given what is in them. A value is in memory for as long as
//! one request takes, and goes nowhere but into its sealed answer.

mod closed;
mod release;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easyenclave_schemas::documents::{Object, SecretContent, SecretSpec};
use easyenclave_schemas::{Digest, OwnerName, Secret, SecretName};

use crate::keys::{self, KeyError};
use crate::seal::{IdentityError, OpenError, Opener};

pub(crate) use closed::Closed;
pub use closed::Secrets;
pub(crate) use release::{Releases, release};

/// What opens the fleet's secrets.
#[derive(Default)]
pub struct Keyring {
    opener: Opener,
    /// What came of opening documents, by what they say: a revision is loaded again and again. No value is in it.
    opened: Mutex<HashMap<Digest, Result<(), SecretError>>>,
}

/// So many documents are remembered; then it begins anew.
const OPENED: usize = 50_000;

/// Keys that cannot be used. A person must look at the file.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file.
    #[error(transparent)]
    File(#[from] KeyError),
    /// What is in it.
    #[error("{file}")]
    Identity {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: IdentityError,
    },
}

/// Why a secret stays closed. No variant repeats what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It was sealed without the fleet's key.
    #[error(
        "it is sealed to none of the fleet's keys: name the fleet's key in `spec.secrets.recipients` of fleet.yaml, and \
         seal it again with `easyenclave secret set`"
    )]
    ForOthers,
    /// It is not as it was sealed.
    #[error("it is no sealed file, or a damaged one: seal it again with `easyenclave secret set`")]
    Damaged,
    /// Something else is sealed in it.
    #[error(
        "what is sealed in it is no value with its owner and name, as `easyenclave secret set` seals it"
    )]
    Content,
    /// It is a copy.
    #[error("it was sealed for another owner or name: a copy of it opens nothing")]
    Anothers,
}

impl SecretError {
    /// The code for it, as a problem of the document.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::ForOthers | Self::Damaged | Self::Content => "secret-unopenable",
            Self::Anothers => "secret-of-another",
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

impl Keyring {
    /// The identities in a file, which is made with one of its own where there is none.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open_or_create(path: &Path) -> Result<Self, KeyringError> {
        let text = keys::fleet_identities(path)?;
        Self::of(path.display().to_string(), text.reveal())
    }

    /// The identities in a text of age-keygen's.
    ///
    /// # Errors
    /// When it holds something else, or nothing.
    pub fn of(file: String, text: &str) -> Result<Self, KeyringError> {
        let mut opener = Opener::default();
        let taken = opener.take(file.clone(), text);
        taken.map_err(|source| KeyringError::Identity { file, source })?;
        Ok(Self {
            opener,
            opened: Mutex::default(),
        })
    }

    /// To whom secrets have to be sealed so that one of these keys opens them.
    pub fn recipients(&self) -> Vec<String> {
        self.opener.recipients().collect()
    }

    /// The value of a secret.
    ///
    /// # Errors
    /// When it is not that of this owner and name, sealed to the fleet.
    pub fn value(
        &self,
        owner: &OwnerName,
        name: &SecretName,
        sealed: &str,
    ) -> Result<Secret<Vec<u8>>, SecretError> {
        let sealed = STANDARD.decode(sealed).map_err(|_| SecretError::Damaged)?;
        let text = self.opener.open(&sealed, SecretContent::MAX);
        let text = text.map_err(|error| match error {
            OpenError::ForOthers => SecretError::ForOthers,
            OpenError::Damaged => SecretError::Damaged,
            OpenError::TooLong(_) => SecretError::Content,
        })?;
        let (content, value) = SecretContent::read(&text).ok_or(SecretError::Content)?;
        match (&content.owner, &content.name) == (owner, name) {
            true => Ok(value),
            false => Err(SecretError::Anothers),
        }
    }

    /// Whether the value of a document is to be had.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn check(&self, object: &Object<SecretSpec>) -> Result<(), SecretError> {
        let metadata = &object.metadata;
        let name = SecretName::new(metadata.name.as_str());
        let (Some(owner), Ok(name)) = (&metadata.owner, name) else {
            return Err(SecretError::Anothers);
        };
        let sealed = &object.spec.sealed;
        let parts = [owner.as_str(), name.as_str(), sealed].map(str::as_bytes);
        let says = Digest::of_list(parts);
        if let Some(known) = self.opened().get(&says) {
            return *known;
        }
        let found = self.value(owner, &name, sealed).map(drop);
        let mut opened = self.opened();
        if opened.len() >= OPENED {
            opened.clear();
        }
        opened.insert(says, found);
        found
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<Digest, Result<(), SecretError>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
