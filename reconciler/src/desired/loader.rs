//! The files of a revision → what is in force. A document that fails keeps its last good version; the
//! others go on. Never takes a file that cannot be read for one that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use easyenclave_schemas::documents::{Document, Identity};

use super::blobs::{BlobKey, Blobs, Decoded, Read, ReadBlob, Unread, VersionKey};
use super::checks;
use super::facts::Standing;
use super::model::{self, Model};
use super::moves::Moves;
use super::past::{Besides, InForce, Lost, Past, Version, Versions, again};
use super::paths::{FLEET, beside, documents};
use super::report::{FileProblem, Loaded};
use super::rest;
use super::slot::{NO_FLEET, Older, Slot, absence, blame, borne, facts, problems};
use super::strays::Strays;
use crate::secrets::Keyring;

/// Loads revisions, one after the other. Remembers what it decoded and what was in force last.
#[derive(Debug, Clone, Default)]
pub struct Loader {
    blobs: Blobs,
    /// Opens secrets, where somebody has the keys.
    keyring: Option<Arc<Keyring>>,
    /// What was in force before.
    past: Past,
    /// What of it lies no more where it did.
    moves: Moves,
    /// Older versions of files that fail, with the failing version that they were looked up for.
    older: BTreeMap<String, (BlobKey, Vec<BlobKey>)>,
}

/// The older versions of a file's blob, newest first.
type History<'a> = &'a dyn Fn(&str) -> Result<Vec<BlobKey>, String>;

/// So many rounds of falling back to older versions are enough for any honest repository; after them,
/// what fails is left out at once.
const ROUNDS: usize = 100;

/// So many decoded documents more are not worth forgetting.
const SPARE: usize = 1000;

impl Loader {
    /// One that finds secrets wrong which these keys do not open. Without keys nobody can tell.
    pub fn opening(keyring: Arc<Keyring>) -> Self {
        Self {
            keyring: Some(keyring),
            ..Self::default()
        }
    }

    /// One that opens the same secrets and knows what this one has decoded, and for which nothing was in force.
    pub fn anew(&self) -> Self {
        Self {
            blobs: self.blobs.clone(),
            keyring: self.keyring.clone(),
            ..Self::default()
        }
    }

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
        let (model, problems, holding) = self.settle(files, &blob, &history);
        Loaded {
            model,
            problems: problems.iter().map(FileProblem::to_status).collect(),
            outage: outage.into_inner(),
            holding,
        }
    }

    /// Goes on from what was in force before a restart: the files of that commit, and what differed.
    pub fn prime(
        &mut self,
        files: &BTreeMap<String, BlobKey>,
        besides: &Besides,
        blob: &(dyn Fn(BlobKey) -> Result<Vec<u8>, String> + Sync),
    ) {
        self.prepare(&documents(files), files, blob);
        self.past = Past::primed(files, besides, |path, key| {
            let kept = besides.attached.get(path).copied();
            let other = |file: &str| kept.or_else(|| files.get(&beside(path, file)).copied());
            again(&mut self.blobs, key, kept, other, blob)
        });
    }

    /// Notes that these documents were not removed before. Where nothing else tells what was in force of one, such as while
    /// its blob cannot be read, it is not removed as long as a file may be it.
    pub fn was_kept(&mut self, documents: impl Iterator<Item = Identity>) {
        self.past.was_kept(documents);
    }

    /// What is in force other than the files of the revision that was loaded last.
    pub fn besides(&self, files: &BTreeMap<String, BlobKey>) -> Besides {
        self.past.besides(files)
    }

    /// The documents in force since the revision that was loaded last.
    pub fn in_force(&self) -> InForce {
        self.past.in_force()
    }

    /// Which version of each document is in force since then.
    pub(crate) fn versions(&self) -> Versions {
        self.past.known()
    }

    /// The documents in force, by path.
    pub fn by_path(&self) -> impl Iterator<Item = (&str, &Document)> {
        self.past.by_path()
    }

    /// What is in force and may not be what its author expects.
    pub(super) fn warnings(&self) -> Vec<FileProblem> {
        self.past.warnings()
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
    ) -> (Option<Model>, Vec<FileProblem>, BTreeMap<String, Identity>) {
        let documents = documents(files);
        self.prepare(&documents, files, blob);
        let mut slots = self.open_all(&documents, files, blob);
        for slot in slots.iter_mut().filter(|slot| slot.chosen.is_none()) {
            self.fall_back(slot, blob, history);
        }
        let strays = Strays::of(files, blob);
        let mut round = 0;
        let (model, missed) = loop {
            let missed = self.moves.missed(&self.past, &slots, &strays);
            let mut facts = facts(&slots, &missed.why);
            facts.keyring = self.keyring.as_deref();
            let (borne, findings) = borne(&slots, checks::run(&facts));
            if findings.is_empty() {
                let model = model::build(&facts);
                drop(blame(&mut slots, borne));
                break (model, missed);
            }
            let blamed = blame(&mut slots, findings);
            blamed.iter().for_each(|index| slots[*index].reject());
            self.moves.find(&slots);
            for index in blamed.into_iter().filter(|_| round < ROUNDS) {
                self.fall_back(&mut slots[index], blob, history);
            }
            round += 1;
        };
        rest::look(&mut slots, &missed.why);
        let absence = model.is_none().then(|| absence(&documents));
        let problems = absence
            .into_iter()
            .chain(problems(&slots, model.is_some().then_some(&missed.why)))
            .collect();
        if model.is_some() {
            let why = missed.why.keys();
            let kept = why.filter_map(|it| self.moves.take(it));
            let lost = self.past.lost_of(&missed.why);
            let aside = strays.aside(&self.past, &slots, !missed.why.is_empty());
            self.past = Past::new(&slots, kept, lost, aside);
        }
        self.forget(files);
        (model, problems, missed.holding)
    }

    /// Decodes what is new.
    fn prepare(
        &mut self,
        documents: &[(&str, BlobKey)],
        files: &BTreeMap<String, BlobKey>,
        blob: ReadBlob<'_>,
    ) {
        let other = |path: &str, file: &str| files.get(&beside(path, file)).copied();
        self.blobs.prepare(documents, other, blob);
    }

    /// Opens every document, and compares each with what was in force.
    fn open_all<'f>(
        &mut self,
        documents: &[(&'f str, BlobKey)],
        files: &BTreeMap<String, BlobKey>,
        blob: ReadBlob<'_>,
    ) -> Vec<Slot<'f>> {
        let open = documents.iter();
        let open = open.map(|(path, key)| self.open(path, *key, files, blob));
        let mut slots: Vec<_> = open.collect();
        self.moves = Moves::of(&self.past, &slots);
        for slot in &mut slots {
            if let Some((_, read)) = &slot.chosen {
                slot.standing = self.standing(slot, read);
            }
        }
        slots
    }

    fn open<'f>(
        &mut self,
        path: &'f str,
        key: BlobKey,
        files: &BTreeMap<String, BlobKey>,
        blob: ReadBlob<'_>,
    ) -> Slot<'f> {
        let mut slot = Slot::new(path, key);
        let alone = self.blobs.get(key, blob);
        let whole = alone.and_then(|read| self.whole(&mut slot, read, files, blob));
        match whole {
            Ok(read) => slot.chosen = Some((slot.key, read)),
            Err(unread) => {
                slot.fail(unread.claims.as_ref());
                slot.problems = unread.problems.clone();
                slot.rest = unread.rest.clone();
                rest::attach(&mut slot, &mut self.blobs, files, blob);
            }
        }
        slot
    }

    /// A document with the file that it wants beside it.
    fn whole(
        &mut self,
        slot: &mut Slot<'_>,
        read: Arc<Read>,
        files: &BTreeMap<String, BlobKey>,
        blob: ReadBlob<'_>,
    ) -> Decoded {
        let Some(file) = &read.file else {
            return Ok(read);
        };
        slot.file = Some(file.clone());
        let other = files.get(&beside(slot.path, file));
        let other =
            *other.ok_or_else(|| Arc::new(Unread::missing(&read, slot.path, file, files)))?;
        slot.key.beside = Some(other);
        self.blobs.pair(&read, (slot.key.document, other), blob)
    }

    /// A file that moved is as unchanged as one that stayed; a copy beside the first is not.
    fn standing(&self, slot: &Slot<'_>, read: &Read) -> Standing {
        let identity = Some(&read.located.identity);
        match self.moves.before(&self.past, slot.path, identity) {
            Some((accepted, _)) if *accepted == slot.key => Standing::Unchanged,
            Some(_) => Standing::Changed,
            None => match self.past.lost(slot.path, identity) {
                Some(lost) if lost.key == slot.key => Standing::Unchanged,
                Some(_) => Standing::Changed,
                None => Standing::New,
            },
        }
    }

    /// Takes the next older version that can be read; none when there is no more.
    fn fall_back(&mut self, slot: &mut Slot<'_>, blob: ReadBlob<'_>, history: History<'_>) {
        slot.standing = Standing::Older;
        let before = self.in_force_before(slot);
        slot.asks_history &= !self.past.is_known();
        let mut older = match slot.older.take() {
            Some(older) => older,
            None => self.older_versions(slot, blob, history),
        };
        slot.chosen = self.good(slot, &mut older, blob);
        slot.older = Some(older);
        if let (None, Some(lost)) = (&slot.chosen, before) {
            slot.lose(lost);
        }
    }

    /// What was in force of a file that fails, whether it can be still or not.
    fn in_force_before(&self, slot: &Slot<'_>) -> Option<Lost> {
        let says = slot.says.as_ref();
        let before = self.moves.left(&self.past, slot);
        let before = before.map(|(key, read)| Lost::new(*key, Some(&read.located.identity)));
        before.or_else(|| self.past.lost(slot.path, says).cloned())
    }

    /// The newest of older versions that can be read. What stood beside one of the file's history is not known: it is not
    /// passed over for a still older one.
    fn good(
        &mut self,
        slot: &Slot<'_>,
        older: &mut Vec<Older>,
        blob: ReadBlob<'_>,
    ) -> Option<Version> {
        while let Some(one) = older.pop() {
            let key = match one {
                Older::Accepted(version) => return Some(version),
                Older::Past(_) if !slot.asks_history => continue,
                Older::Past(key) => key,
            };
            let Ok(read) = self.blobs.get(key, blob) else {
                continue;
            };
            let says = slot.says.as_ref();
            if says.is_none_or(|is| *is == read.located.identity) {
                if read.file.is_some() {
                    older.clear();
                    return None;
                }
                return Some((VersionKey::of(key), read));
            }
        }
        None
    }

    /// What was in force for this file or this document, or else the file's history: nothing older takes the place of
    /// what was in force. The last is the one to try first.
    fn older_versions(
        &mut self,
        slot: &Slot<'_>,
        blob: ReadBlob<'_>,
        history: History<'_>,
    ) -> Vec<Older> {
        let says = slot.says.as_ref();
        let accepted = self.moves.left(&self.past, slot).cloned();
        let lost = self.past.lost(slot.path, says).map(|lost| lost.key);
        let accepted = accepted.or_else(|| {
            let VersionKey { document, beside } = lost?;
            again(&mut self.blobs, document, beside, |_| beside, blob).ok()
        });
        let accepted = accepted.filter(|(key, _)| *key != slot.key);
        let before = accepted.as_ref().map(|(key, _)| *key);
        let past = self.history(slot, history).into_iter();
        let past = past.filter(|key| Some(VersionKey::of(*key)) != before);
        let mut all: Vec<_> = past.map(Older::Past).collect();
        all.reverse();
        all.extend(accepted.map(Older::Accepted));
        all
    }

    /// Older versions of a file, newest first. A document that wants a file beside it has none: they are older than those
    /// that it had with other files.
    fn history(&mut self, slot: &Slot<'_>, history: History<'_>) -> Vec<BlobKey> {
        let tree = slot.key.document;
        if slot.file.is_some() || !slot.asks_history {
            return Vec::new();
        }
        let known = self.older.get(slot.path).filter(|(key, _)| *key == tree);
        let mut keys = match known {
            Some((_, keys)) => keys.clone(),
            None => {
                let keys = history(slot.path);
                if let Ok(keys) = &keys {
                    self.older
                        .insert(slot.path.to_owned(), (tree, keys.clone()));
                }
                keys.unwrap_or_default()
            }
        };
        keys.retain(|key| *key != tree);
        keys
    }

    /// Memory stays in proportion to one revision; it is not worth sorting out at every one.
    fn forget(&mut self, files: &BTreeMap<String, BlobKey>) {
        self.moves = Moves::default();
        self.older
            .retain(|path, (key, _)| files.get(path) == Some(key));
        if self.blobs.len() <= 2 * (files.len() + self.older.len()) + SPARE {
            return;
        }
        let (tree, accepted) = (files.values().copied(), self.past.keys());
        let older = self.older.values().flat_map(|(_, keys)| keys).copied();
        let used: BTreeSet<_> = tree.chain(accepted).chain(older).collect();
        self.blobs.retain(|key| used.contains(key));
    }
}
