//! The files of a revision → what is in force. A document that fails keeps its last good version; the
//! others go on. Never takes a file that cannot be read for one that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use easyenclave_schemas::decode::Problem;
use easyenclave_schemas::documents::{Document, Identity};
use easyenclave_schemas::status::ProblemStatus;

use super::blobs::{BlobKey, Blobs, Read, ReadBlob};
use super::checks;
use super::facts::Standing;
use super::model::{self, Model};
use super::past::{Besides, InForce, Past, Version};
use super::paths::FLEET;
use super::report::FileProblem;
use super::slot::{NOTHING, Origin, Slot, blame, facts, problems};

/// The code of a tree without a good document of the fleet.
const NO_FLEET: &str = "no-fleet";

/// Loads revisions, one after the other. Remembers what it decoded and what was in force last.
#[derive(Debug, Default)]
pub struct Loader {
    blobs: Blobs,
    /// What was in force before.
    past: Past,
    /// What was in force and has no file any more: it may have moved.
    gone: BTreeMap<Identity, (String, Version)>,
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
    /// Something could not be read at the moment: loading the same files again may say more.
    pub outage: bool,
}

/// The older versions of a file's blob, newest first.
type History<'a> = &'a dyn Fn(&str) -> Result<Vec<BlobKey>, String>;

/// So many rounds of falling back to older versions are enough for any honest repository; after them,
/// what fails is left out at once.
const ROUNDS: usize = 100;

/// So many decoded documents more are not worth forgetting.
const SPARE: usize = 1000;

impl Loader {
    /// Loads a revision: its documents by path with their blobs' ids. `blob` reads a blob, `history`
    /// lists a file's older blobs, newest first; it is asked only about files that fail.
    pub fn load(
        &mut self,
        files: &BTreeMap<String, BlobKey>,
        blob: &(dyn Fn(BlobKey) -> Result<Vec<u8>, String> + Sync),
        history: &dyn Fn(&str) -> Result<Vec<BlobKey>, String>,
    ) -> Loaded {
        let outage = AtomicBool::new(false);
        let note = |_: &String| outage.store(true, Ordering::Relaxed);
        let blob = |key| blob(key).inspect_err(note);
        let history = |path: &str| history(path).inspect_err(note);
        let (model, problems) = self.settle(files, &blob, &history);
        Loaded {
            model,
            problems: problems.iter().map(FileProblem::to_status).collect(),
            outage: outage.into_inner(),
        }
    }

    /// Goes on from what was in force before a restart: the files of that commit, and what differed.
    pub fn prime(
        &mut self,
        files: &BTreeMap<String, BlobKey>,
        besides: &Besides,
        blob: &(dyn Fn(BlobKey) -> Result<Vec<u8>, String> + Sync),
    ) {
        self.blobs.prepare(files.values().copied(), blob);
        self.past = Past::primed(files, besides, |key| self.blobs.get(key, blob).ok());
    }

    /// What is in force other than the files of the revision that was loaded last.
    pub fn besides(&self, files: &BTreeMap<String, BlobKey>) -> Besides {
        self.past.besides(files)
    }

    /// The documents in force since the revision that was loaded last.
    pub fn in_force(&self) -> InForce {
        self.past.in_force()
    }

    /// The same, by path.
    pub fn by_path(&self) -> impl Iterator<Item = (&str, &Document)> {
        self.past.by_path()
    }

    /// What is wrong with files that have no past.
    pub(super) fn check(
        &mut self,
        files: &BTreeMap<String, BlobKey>,
        blob: ReadBlob<'_>,
    ) -> Vec<FileProblem> {
        let mut problems = self.settle(files, blob, &|_| Ok(Vec::new())).1;
        // What is wrong with the fleet's document is why there is no good version of it.
        if problems.iter().filter(|one| one.file == FLEET).count() > 1 {
            problems.retain(|one| one.problem.code != NO_FLEET);
        }
        problems
    }

    /// Finds the newest versions that stand together.
    fn settle(
        &mut self,
        files: &BTreeMap<String, BlobKey>,
        blob: ReadBlob<'_>,
        history: History<'_>,
    ) -> (Option<Model>, Vec<FileProblem>) {
        self.blobs.prepare(files.values().copied(), blob);
        self.gone = self.past.gone(files);
        let mut slots: Vec<_> = files
            .iter()
            .map(|(path, key)| self.open(path, *key, blob))
            .collect();
        for slot in slots.iter_mut().filter(|slot| slot.chosen.is_none()) {
            self.fall_back(slot, blob, history);
        }
        let missed = self.past.missed(&slots, &self.gone);
        let mut round = 0;
        let model = loop {
            let facts = facts(&slots, &missed);
            let findings = checks::run(&facts);
            if findings.is_empty() {
                break model::build(&facts);
            }
            let blamed = blame(&mut slots, findings);
            for index in blamed {
                slots[index].reject();
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
            let kept = missed
                .iter()
                .filter_map(|identity| self.gone.remove(identity));
            self.past = Past::new(&slots, kept);
        }
        self.forget(files);
        (model, problems)
    }

    fn open<'f>(&mut self, path: &'f str, key: BlobKey, blob: ReadBlob<'_>) -> Slot<'f> {
        let mut slot = Slot::new(path, key);
        match self.blobs.get(key, blob) {
            Ok(read) => {
                slot.standing = self.standing(&slot, &read);
                slot.chosen = Some((key, read));
            }
            Err(unread) => {
                slot.fail(unread.claims.as_ref());
                slot.problems = unread.problems.clone();
            }
        }
        slot
    }

    /// A file that moved is as unchanged as one that stayed; a copy beside the first is not.
    fn standing(&self, slot: &Slot<'_>, read: &Read) -> Standing {
        match self.before(slot.path, Some(&read.located.identity)) {
            Some((accepted, _)) if *accepted == slot.key => Standing::Unchanged,
            Some(_) => Standing::Changed,
            None => Standing::New,
        }
    }

    /// What was in force of this file or this document.
    fn before(&self, path: &str, identity: Option<&Identity>) -> Option<&Version> {
        let moved = || Some(&self.gone.get(identity?)?.1);
        self.past.version(path).or_else(moved)
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
                .says
                .as_ref()
                .is_none_or(|is| *is == read.located.identity);
            (same || origin == Origin::Accepted).then_some((key, read))
        });
        slot.older = Some(older);
    }

    /// What was in force for this file or this document, and then the file's history. The last is
    /// the one to try first.
    fn older_versions(&mut self, slot: &Slot<'_>, history: History<'_>) -> Vec<(BlobKey, Origin)> {
        let accepted = self.before(slot.path, slot.says.as_ref());
        let accepted = accepted.map(|(key, _)| *key).filter(|key| *key != slot.key);
        let known = self
            .older
            .get(slot.path)
            .filter(|(key, _)| *key == slot.key);
        let known = match known {
            Some((_, keys)) => keys.clone(),
            None => {
                let keys = history(slot.path);
                if let Ok(keys) = &keys {
                    self.older
                        .insert(slot.path.to_owned(), (slot.key, keys.clone()));
                }
                keys.unwrap_or_default()
            }
        };
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

    /// Memory stays in proportion to one revision; it is not worth sorting out at every one.
    fn forget(&mut self, files: &BTreeMap<String, BlobKey>) {
        self.gone.clear();
        self.older
            .retain(|path, (key, _)| files.get(path) == Some(key));
        if self.blobs.len() <= 2 * (files.len() + self.older.len()) + SPARE {
            return;
        }
        let accepted = self.past.keys();
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

/// Why there is no model.
fn absence(files: &BTreeMap<String, BlobKey>) -> FileProblem {
    let (code, message) = match (files.is_empty(), files.contains_key(FLEET)) {
        (true, _) => (
            "no-documents",
            "the tree holds no documents; nothing is changed".into(),
        ),
        (false, false) => (NO_FLEET, format!("there is no {FLEET}; nothing is changed")),
        (false, true) => (
            NO_FLEET,
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
