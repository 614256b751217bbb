//! Documents that lie where they count for nothing: what was moved there was not removed. Nothing of them is ever in force.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use easyenclave_schemas::decode::identify;
use easyenclave_schemas::documents::Identity;

use super::astray::{is_ours, may_be_astray};
use super::blobs::{BlobKey, NOT_A_FILE, ReadBlob};
use super::past::{Aside, Past};
use super::paths::may_speak;
use super::slot::Slot;

/// So many files that are no documents are read for what they say. A commit that brings more has them for something else.
const READ: usize = 2_000;

/// A file that is no document, by its place.
struct Stray<'f> {
    path: &'f str,
    key: BlobKey,
    says: Says,
}

/// What a file says it is.
enum Says {
    /// A document of ours.
    Is(Identity),
    /// A document of ours, and not which; or it could not be read.
    Open,
    /// Another program's.
    Nothing,
}

/// Those of a revision. They are sought and read only if somebody asks.
pub(super) struct Strays<'f> {
    files: &'f BTreeMap<String, BlobKey>,
    blob: ReadBlob<'f>,
    came: OnceCell<Vec<(&'f str, BlobKey)>>,
    read: OnceCell<Vec<Stray<'f>>>,
}

impl<'f> Strays<'f> {
    pub(super) fn of(files: &'f BTreeMap<String, BlobKey>, blob: ReadBlob<'f>) -> Self {
        Self {
            files,
            blob,
            came: OnceCell::new(),
            read: OnceCell::new(),
        }
    }

    /// The files where a document that was in force, in this version, lies and counts for nothing. What lay there already
    /// while it was in force, such as a template, is none. In a folder of somebody else's it takes the very bytes: they
    /// must not keep what is not theirs.
    pub(super) fn holders<'s>(
        &'s self,
        past: &Past,
        slots: &'s [Slot<'_>],
        identity: &Identity,
        version: BlobKey,
    ) -> BTreeSet<&'s str> {
        let counts = |path: &str, key: BlobKey| key == version || may_speak(path, identity);
        let misplaced = slots.iter().filter(|slot| {
            let (path, key) = (slot.path, slot.key.document);
            slot.misplaced() == Some(identity) && counts(path, key) && !past.is_idle(path, key)
        });
        // The very bytes are found without reading, however many files there are.
        let moved = self.came(past).iter().filter(|(_, key)| *key == version);
        let says = self.read(past).iter().filter(|stray| {
            let is_it = match &stray.says {
                Says::Is(is) => is == identity,
                Says::Open => true,
                Says::Nothing => false,
            };
            is_it && counts(stray.path, stray.key)
        });
        let misplaced = misplaced.map(|slot| slot.path);
        let moved = moved.map(|&(path, _)| path);
        misplaced
            .chain(moved)
            .chain(says.map(|stray| stray.path))
            .collect()
    }

    /// All that count for nothing, whether documents in a wrong place or not. As long as something that was in force is
    /// missed, or kept for a file that cannot be read, nobody knows what those are that came.
    pub(super) fn aside(&self, past: &Past, slots: &[Slot<'_>], is_missed: bool) -> Aside {
        let misplaced = slots.iter().filter(|slot| slot.misplaced().is_some());
        let misplaced = misplaced.map(|slot| (slot.path.to_owned(), slot.key.document));
        let others = self.files.iter().filter(|(path, _)| may_be_astray(path));
        let others = others.map(|(path, key)| (path.clone(), *key));
        let files: BTreeMap<_, _> = misplaced.chain(others).collect();
        let mut came = BTreeSet::new();
        if is_missed || slots.iter().any(Slot::stands_in) {
            let new = files
                .iter()
                .filter(|(path, key)| !past.is_idle(path, **key));
            came.extend(new.map(|(path, _)| path.clone()));
        }
        Aside { files, came }
    }

    fn came(&self, past: &Past) -> &[(&'f str, BlobKey)] {
        self.came.get_or_init(|| {
            let files = self.files.iter().map(|(path, key)| (path.as_str(), *key));
            let files = files.filter(|(path, key)| may_be_astray(path) && *key != NOT_A_FILE);
            files
                .filter(|(path, key)| !past.is_idle(path, *key))
                .collect()
        })
    }

    fn read(&self, past: &Past) -> &[Stray<'f>] {
        self.read.get_or_init(|| {
            let came = self.came(past).iter().take(READ);
            came.map(|&(path, key)| self.read_one(path, key)).collect()
        })
    }

    fn read_one(&self, path: &'f str, key: BlobKey) -> Stray<'f> {
        let says = match (self.blob)(key) {
            Ok(text) if is_ours(&text) => identify(&text).map_or(Says::Open, Says::Is),
            Ok(_) => Says::Nothing,
            Err(_) => Says::Open,
        };
        Stray { path, key, says }
    }
}
