//! The files of a revision → what is in force. A document that fails keeps its last good version; the
//! others go on. Never takes a file that cannot be read for one that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use easyenclave_schemas::decode::Problem;
use easyenclave_schemas::documents::Identity;
use easyenclave_schemas::status::ProblemStatus;

use super::blobs::{BlobKey, Blobs, Read, ReadBlob};
use super::checks::{self, Finding};
use super::facts::{Considered, Facts, Standing};
use super::model::{self, Model};
use super::paths::{FLEET, guess, may_hold};
use super::report::FileProblem;

/// Loads revisions, one after the other. Remembers what it decoded and what it accepted last.
#[derive(Debug, Default)]
pub struct Loader {
    blobs: Blobs,
    /// The versions in force, by path.
    accepted: BTreeMap<String, (BlobKey, Arc<Read>)>,
    /// Their paths by identity.
    paths: BTreeMap<Identity, String>,
    /// Older versions of files that fail, with the failing version that they were looked up for.
    older: BTreeMap<String, (BlobKey, Vec<BlobKey>)>,
}

/// What came of a revision.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is in force. `None` when the revision says too little to change anything.
    pub model: Option<Model>,
    /// What is wrong, in the order of files and lines. Without a model, first why there is none.
    pub problems: Vec<ProblemStatus>,
}

/// The older versions of a file's blob, newest first.
type History<'a> = &'a dyn Fn(&str) -> Vec<BlobKey>;

/// So many rounds of falling back to older versions are enough for any honest repository; after them,
/// what fails is left out at once.
const ROUNDS: usize = 100;

impl Loader {
    /// Loads a revision: its documents by path with their blobs' ids. `blob` reads a blob, `history`
    /// lists a file's older blobs, newest first; it is asked only about files that fail.
    pub fn load(
        &mut self,
        files: &BTreeMap<String, BlobKey>,
        blob: &(dyn Fn(BlobKey) -> Result<Vec<u8>, String> + Sync),
        history: &dyn Fn(&str) -> Vec<BlobKey>,
    ) -> Loaded {
        let (model, problems) = self.settle(files, blob, history);
        Loaded {
            model,
            problems: problems.iter().map(FileProblem::to_status).collect(),
        }
    }

    /// What is wrong with files that have no past.
    pub(super) fn check(
        &mut self,
        files: &BTreeMap<String, BlobKey>,
        blob: ReadBlob<'_>,
    ) -> Vec<FileProblem> {
        self.settle(files, blob, &|_| Vec::new()).1
    }

    /// Finds the newest versions that stand together.
    fn settle(
        &mut self,
        files: &BTreeMap<String, BlobKey>,
        blob: ReadBlob<'_>,
        history: History<'_>,
    ) -> (Option<Model>, Vec<FileProblem>) {
        self.blobs.prepare(files.values().copied(), blob);
        let mut slots: Vec<_> = files
            .iter()
            .map(|(path, key)| self.open(path, *key, blob))
            .collect();
        for slot in slots.iter_mut().filter(|slot| slot.chosen.is_none()) {
            self.fall_back(slot, blob, history);
        }
        let mut round = 0;
        let model = loop {
            let facts = facts(&slots);
            let findings = checks::run(&facts);
            if findings.is_empty() {
                break model::build(&facts);
            }
            let blamed = blame(&mut slots, findings);
            for index in blamed {
                slots[index].chosen = None;
                if round < ROUNDS {
                    self.fall_back(&mut slots[index], blob, history);
                }
            }
            round += 1;
        };
        let absence = model.is_none().then(|| absence(files));
        let problems = absence
            .into_iter()
            .chain(problems(&slots, model.is_some()))
            .collect();
        if model.is_some() {
            self.accept(&slots);
        }
        self.forget(files);
        (model, problems)
    }

    fn open<'f>(&mut self, path: &'f str, key: BlobKey, blob: ReadBlob<'_>) -> Slot<'f> {
        let mut slot = Slot {
            path,
            key,
            chosen: None,
            standing: Standing::Changed,
            claims: None,
            problems: Vec::new(),
            older: None,
        };
        match self.blobs.get(key, blob) {
            Ok(read) => {
                slot.claims =
                    Some(read.located.identity.clone()).filter(|claims| may_hold(path, claims));
                slot.standing = self.standing(path, key, &read);
                slot.chosen = Some((key, read));
            }
            Err(unread) => {
                let claims = unread
                    .claims
                    .clone()
                    .filter(|claims| may_hold(path, claims));
                slot.claims = claims.or_else(|| guess(path));
                slot.problems = unread.problems.clone();
            }
        }
        slot
    }

    /// A moved file is as unchanged as one that stayed.
    fn standing(&self, path: &str, key: BlobKey, read: &Read) -> Standing {
        let before = self
            .accepted
            .get(path)
            .or_else(|| self.by_identity(&read.located.identity));
        match before {
            Some((accepted, _)) if *accepted == key => Standing::Unchanged,
            _ => Standing::Changed,
        }
    }

    fn by_identity(&self, identity: &Identity) -> Option<&(BlobKey, Arc<Read>)> {
        self.accepted.get(self.paths.get(identity)?)
    }

    /// Takes the next older version that can be read; none when there is no more.
    fn fall_back(&mut self, slot: &mut Slot<'_>, blob: ReadBlob<'_>, history: History<'_>) {
        slot.standing = Standing::Older;
        let mut older = match slot.older.take() {
            Some(older) => older,
            None => self.older_versions(slot, history),
        };
        slot.chosen = std::iter::from_fn(|| older.pop()).find_map(|(key, origin)| {
            let read = self.blobs.get(key, blob).ok()?;
            let same = slot
                .claims
                .as_ref()
                .is_none_or(|is| *is == read.located.identity);
            (same || origin == Origin::Accepted).then_some((key, read))
        });
        slot.older = Some(older);
    }

    /// What was in force for this file or this document, and then the file's history. The last is
    /// the one to try first.
    fn older_versions(&mut self, slot: &Slot<'_>, history: History<'_>) -> Vec<(BlobKey, Origin)> {
        let accepted = self.accepted.get(slot.path);
        let accepted = accepted.or_else(|| self.by_identity(slot.claims.as_ref()?));
        let accepted = accepted.map(|(key, _)| *key).filter(|key| *key != slot.key);
        let known = self
            .older
            .get(slot.path)
            .filter(|(key, _)| *key == slot.key);
        let known = match known {
            Some((_, keys)) => keys.clone(),
            None => history(slot.path),
        };
        self.older
            .insert(slot.path.to_owned(), (slot.key, known.clone()));
        let past = known
            .into_iter()
            .filter(|key| *key != slot.key && Some(*key) != accepted);
        let past = past.map(|key| (key, Origin::Past));
        let all = accepted
            .map(|key| (key, Origin::Accepted))
            .into_iter()
            .chain(past);
        let mut all: Vec<_> = all.collect();
        all.reverse();
        all
    }

    fn accept(&mut self, slots: &[Slot<'_>]) {
        let chosen = |slot: &Slot<'_>| Some((slot.path.to_owned(), slot.chosen.clone()?));
        self.accepted = slots.iter().filter_map(chosen).collect();
        let identity = |(path, (_, read)): (&String, &(_, Arc<Read>))| {
            (read.located.identity.clone(), path.clone())
        };
        self.paths = self.accepted.iter().map(identity).collect();
    }

    /// Memory stays in proportion to one revision.
    fn forget(&mut self, files: &BTreeMap<String, BlobKey>) {
        self.older
            .retain(|path, (key, _)| files.get(path) == Some(key));
        let accepted = self.accepted.values().map(|(key, _)| *key);
        let older = self
            .older
            .values()
            .flat_map(|(_, keys)| keys.iter().copied());
        let used: BTreeSet<_> = files
            .values()
            .copied()
            .chain(accepted)
            .chain(older)
            .collect();
        self.blobs.retain(|key| used.contains(key));
    }
}

/// A file, and the version of it that is considered.
struct Slot<'f> {
    path: &'f str,
    /// The version in the tree.
    key: BlobKey,
    /// The version considered; none when there is none that can be.
    chosen: Option<(BlobKey, Arc<Read>)>,
    standing: Standing,
    /// What the version in the tree says it is; for one that cannot be read, what its path says.
    claims: Option<Identity>,
    /// What is wrong with the version in the tree.
    problems: Vec<Problem>,
    /// Older versions, the next to try last. None as long as they were not looked up.
    older: Option<Vec<(BlobKey, Origin)>>,
}

/// Where an older version was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It was in force.
    Accepted,
    /// The file's history. It must be the same document, or files that were reused would bring back
    /// what was deleted.
    Past,
}

fn facts<'a>(slots: &'a [Slot<'_>]) -> Facts<'a> {
    let mut all = Vec::with_capacity(slots.len());
    let mut unreadable = BTreeSet::new();
    for (file, slot) in slots.iter().enumerate() {
        match &slot.chosen {
            Some((_, read)) => {
                let (path, standing) = (slot.path, slot.standing);
                all.push(Considered {
                    file,
                    path,
                    read,
                    standing,
                });
            }
            None => unreadable.extend(slot.claims.clone()),
        }
    }
    Facts::new(all, unreadable)
}

/// Notes findings with the files they blame, and lists those files. Only what is wrong with the
/// version in the tree is told to people: they cannot change older ones.
fn blame(slots: &mut [Slot<'_>], findings: Vec<Finding>) -> BTreeSet<usize> {
    let mut blamed = BTreeSet::new();
    for finding in findings {
        blamed.insert(finding.file);
        let slot = &mut slots[finding.file];
        if let Some((_, read)) = &slot.chosen
            && slot.standing != Standing::Older
        {
            let (line, column) = read.located.position(&finding.pointer);
            slot.problems.push(Problem {
                line,
                column,
                pointer: finding.pointer.into_owned(),
                code: finding.code,
                message: finding.message,
                suggestion: finding.suggestion,
            });
        }
    }
    blamed
}

const NOTHING: &str = "nothing is changed";

fn problems(slots: &[Slot<'_>], changes: bool) -> Vec<FileProblem> {
    let mut all = Vec::new();
    for slot in slots {
        let consequence = match &slot.chosen {
            _ if !changes => NOTHING,
            Some(_) => "the last good version stays in force",
            None => "nothing of it is touched",
        };
        let mut problems = slot.problems.clone();
        problems.sort();
        all.extend(problems.into_iter().map(|problem| FileProblem {
            file: slot.path.to_owned(),
            problem,
            consequence,
        }));
    }
    all
}

/// Why there is no model.
fn absence(files: &BTreeMap<String, BlobKey>) -> FileProblem {
    let (code, message) = match (files.is_empty(), files.contains_key(FLEET)) {
        (true, _) => (
            "no-documents",
            "the tree holds no documents; nothing is changed".into(),
        ),
        (false, false) => (
            "no-fleet",
            format!("there is no {FLEET}; nothing is changed"),
        ),
        (false, true) => (
            "no-fleet",
            format!("{FLEET} has no good version; nothing is changed"),
        ),
    };
    let (line, column, pointer) = (0, 1, String::new());
    let problem = Problem {
        line,
        column,
        pointer,
        code,
        message,
        suggestion: None,
    };
    FileProblem {
        file: FLEET.into(),
        problem,
        consequence: NOTHING,
    }
}
