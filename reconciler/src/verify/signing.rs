//! Who may sign a status commit: the keys that the desired state named when the commit was made which the status commit
//! says it is of, or those that the auditor brings.

use std::collections::BTreeMap;
use std::sync::Arc;

use easyenclave_git::{CommitId, GitError, Past, Saying, Signers};
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
    known: Known,
    branch: &'a str,
}

/// Whom commits of the desired state name.
type Known = BTreeMap<CommitId, Result<Arc<Signers>, String>>;

enum By {
    /// These and nobody else; the desired state is not looked at.
    Given(Arc<Signers>),
    /// Whom the desired state names, along this line.
    Desired(Line),
}

/// The commits that a branch has had, oldest first: those of its history by first parents. What a merge brought in was
/// never in force by itself, only what it came to.
struct Line {
    commits: Vec<CommitId>,
    places: BTreeMap<CommitId, usize>,
}

/// Whether a commit says of which desired state it is the status.
///
/// # Errors
/// When it is missing, or is none.
pub fn is_status_commit(past: &Past, commit: CommitId) -> Result<bool, GitError> {
    Ok(past.commit(commit)?.trailer(DESIRED).is_some())
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
        let line = Line::upto(past, tip).map_err(|error| error.to_string())?;
        let mut known = BTreeMap::new();
        line.named(past, tip, &mut known)?;
        let signing = Self::new(By::Desired(line), branch);
        Ok(Self { known, ..signing })
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
        let line = match &self.by {
            By::Given(signers) => return Ok(Arc::clone(signers)),
            By::Desired(line) => line,
        };
        let commit = desired(saying)?;
        if line.places.contains_key(&commit) {
            return line.named(past, commit, &mut self.known);
        }
        let tip = line.commits.last().copied();
        let is_aside = tip.is_some_and(|tip| past.descends(tip, commit).unwrap_or(false));
        let (branch, status) = (self.branch, saying.commit);
        Err(match is_aside {
            true => {
                format!(
                    "{DESIRED} {commit} came to {branch} within a merge, and was never its tip: whoever pushed that had \
                     pulled by a merge, where `git pull --rebase` keeps the line; `--range {status}..` begins after it"
                )
            }
            false => format!("{DESIRED} {commit} is not in the history of {branch}"),
        })
    }

    /// The desired state that a commit is of, when it is looked at and in its history.
    pub(super) fn desired_of(&self, saying: &Saying) -> Option<CommitId> {
        match &self.by {
            By::Given(_) => None,
            By::Desired(line) => desired(saying)
                .ok()
                .filter(|commit| line.places.contains_key(commit)),
        }
    }

    /// Whether the desired state is looked at.
    pub(super) fn looks(&self) -> bool {
        matches!(self.by, By::Desired(_))
    }

    /// Whether a commit with a good signature is of the same desired state as those before, or of a later one. A key that
    /// was taken out of the desired state could sign under an older one otherwise.
    pub(super) fn went_on(&mut self, saying: &Saying) -> Result<(), String> {
        let (By::Desired(line), Ok(commit)) = (&self.by, desired(saying)) else {
            return Ok(());
        };
        match self.newest.replace(commit) {
            Some(before) if line.places.get(&commit) < line.places.get(&before) => {
                Err(format!("{DESIRED} went back from {before} to {commit}"))
            }
            _ => Ok(()),
        }
    }
}

impl Line {
    fn upto(past: &Past, tip: CommitId) -> Result<Self, GitError> {
        let commits = past.chain(None, tip)?.unwrap_or_default();
        let places = commits.iter().enumerate();
        let places = places.map(|(place, commit)| (*commit, place)).collect();
        Ok(Self { commits, places })
    }

    /// Whom the newest document of the fleet names that can be read, at a commit of this line or before: one that cannot
    /// be read keeps its last good version in force.
    fn named(
        &self,
        past: &Past,
        commit: CommitId,
        known: &mut Known,
    ) -> Result<Arc<Signers>, String> {
        let place = self.places.get(&commit).copied().unwrap_or_default();
        let mut before = self.commits[..=place].iter().rev();
        let mut passed = Vec::new();
        let found = before.find_map(|commit| {
            passed.push(*commit);
            known.get(commit).cloned().or_else(|| named(past, *commit))
        });
        let nobody = || {
            Err(format!(
                "there is no readable {FLEET} at {commit} or before, which would name who may sign"
            ))
        };
        let found = found.unwrap_or_else(nobody);
        known.extend(passed.into_iter().map(|commit| (commit, found.clone())));
        found
    }
}

pub(super) fn desired(saying: &Saying) -> Result<CommitId, String> {
    let named = saying.trailer(DESIRED);
    let named = named.ok_or_else(|| format!("the message has no trailer {DESIRED}"))?;
    named
        .parse()
        .map_err(|_| format!("the trailer {DESIRED} names no commit"))
}

/// Whom a commit of the desired state names; none when it has no document of the fleet that can be read.
fn named(past: &Past, commit: CommitId) -> Option<Result<Arc<Signers>, String>> {
    let place = format!("{FLEET} at {commit}");
    // What this clone lacks is not what the reconciler could not read.
    let lacking = |error: GitError| Some(Err(format!("{place}: {error}")));
    let blob = match past.file(commit, FLEET) {
        Ok(blob) => blob?,
        Err(error) => return lacking(error),
    };
    let bytes = match past.blob(blob) {
        Ok(bytes) => bytes,
        Err(GitError::TooLarge(_)) => return None,
        Err(error) => return lacking(error),
    };
    let Ok(Document::Fleet(fleet)) = decode(&bytes).map(|located| located.document) else {
        return None;
    };
    let signers = fleet.spec.status.signers.iter().map(String::as_str);
    Some(match Signers::parse(signers) {
        Ok(signers) if signers.is_empty() => Err(format!(
            "{place} names nobody who may sign: add the key to spec.status.signers, such as \
             [\"ssh-ed25519 AAAA…\"] (it is in the file allowed_signers of the data folder), or give --signers FILE"
        )),
        Ok(signers) => Ok(Arc::new(signers)),
        Err(error) => Err(format!("{place}: {error}")),
    })
}
