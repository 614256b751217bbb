//! Who may sign a status commit: the keys that the desired state names at the commit which the status commit says it is
//! of, or those that the auditor brings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use easyenclave_git::{CommitId, Past, Saying, Signers};
use easyenclave_schemas::decode::decode;
use easyenclave_schemas::documents::Document;

/// The document that names them.
const FLEET: &str = "fleet.yaml";

/// The trailer that names a commit of the desired state.
const DESIRED: &str = "Desired-Commit";

/// Who may sign.
pub struct Signing<'a> {
    by: By,
    /// The desired state that the newest commit with a good signature is of.
    newest: Option<CommitId>,
    known: BTreeMap<CommitId, Result<Arc<Signers>, String>>,
    branch: &'a str,
}

enum By {
    /// These and nobody else; the desired state is not looked at.
    Given(Arc<Signers>),
    /// Whom the desired state names, in this history.
    Desired(BTreeSet<CommitId>),
}

impl<'a> Signing<'a> {
    /// These keys. The desired state is not looked at.
    pub fn given(signers: Signers) -> Self {
        Self::new(By::Given(Arc::new(signers)), "")
    }

    /// Whom the desired state on this branch names.
    ///
    /// # Errors
    /// In words, when the newest desired state names nobody.
    pub fn desired(past: &Past, branch: &'a str) -> Result<Self, String> {
        let tip = past.resolve(branch).map_err(|error| error.to_string())?;
        named(past, tip)?;
        let history = past.ancestors(tip).map_err(|error| error.to_string())?;
        Ok(Self::new(By::Desired(history), branch))
    }

    fn new(by: By, branch: &'a str) -> Self {
        Self {
            by,
            newest: None,
            known: BTreeMap::new(),
            branch,
        }
    }

    /// Takes this commit for the one before the first.
    pub(super) fn start(&mut self, before: &Saying) {
        self.newest = desired(before).ok();
    }

    /// Who may sign this commit.
    pub(super) fn signers(&mut self, past: &Past, saying: &Saying) -> Result<Arc<Signers>, String> {
        let history = match &self.by {
            By::Given(signers) => return Ok(Arc::clone(signers)),
            By::Desired(history) => history,
        };
        let commit = desired(saying)?;
        let branch = self.branch;
        let known = self.known.entry(commit);
        let known = known.or_insert_with(|| match history.contains(&commit) {
            true => named(past, commit).map(Arc::new),
            false => Err(format!(
                "{DESIRED} {commit} is not in the history of {branch}"
            )),
        });
        known.clone()
    }

    /// The desired state that a commit is of, when it is looked at and in its history.
    pub(super) fn desired_of(&self, saying: &Saying) -> Option<CommitId> {
        match &self.by {
            By::Given(_) => None,
            By::Desired(history) => desired(saying)
                .ok()
                .filter(|commit| history.contains(commit)),
        }
    }

    /// Whether the desired state is looked at.
    pub(super) fn looks(&self) -> bool {
        matches!(self.by, By::Desired(_))
    }

    /// Whether a commit with a good signature is of the same desired state as those before, or of a later one. A key that
    /// was taken out of the desired state could sign under an older one otherwise.
    pub(super) fn went_on(&mut self, past: &Past, saying: &Saying) -> Result<(), String> {
        let (By::Desired(_), Ok(commit)) = (&self.by, desired(saying)) else {
            return Ok(());
        };
        match self.newest.replace(commit) {
            Some(before) if before != commit && !past.descends(commit, before).unwrap_or(false) => {
                Err(format!("{DESIRED} went back from {before} to {commit}"))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn desired(saying: &Saying) -> Result<CommitId, String> {
    let named = saying.trailer(DESIRED);
    let named = named.ok_or_else(|| format!("the message has no trailer {DESIRED}"))?;
    named
        .parse()
        .map_err(|_| format!("the trailer {DESIRED} names no commit"))
}

/// Whom a commit of the desired state names.
fn named(past: &Past, commit: CommitId) -> Result<Signers, String> {
    let place = format!("{FLEET} at {commit}");
    let blob = past
        .file(commit, FLEET)
        .map_err(|error| error.to_string())?;
    let blob = blob.ok_or_else(|| format!("there is no {place}, which would name who may sign"))?;
    let bytes = past.blob(blob).map_err(|error| error.to_string())?;
    let Ok(Document::Fleet(fleet)) = decode(&bytes).map(|located| located.document) else {
        return Err(format!("{place} is no valid document of the fleet"));
    };
    let signers = fleet.spec.status.signers.iter().map(String::as_str);
    let signers = Signers::parse(signers).map_err(|error| format!("{place}: {error}"))?;
    if signers.is_empty() {
        return Err(format!(
            "{place} names nobody who may sign: add the key to spec.status.signers, such as \
             [\"ssh-ed25519 AAAA…\"] (it is in the file allowed_signers of the data folder), or give --signers FILE"
        ));
    }
    Ok(signers)
}
