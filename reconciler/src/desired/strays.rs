//! Documents that lie where they count for nothing: what was moved there was not removed. Nothing of them is ever in force.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use easyenclave_schemas::decode::identify;
use easyenclave_schemas::documents::Identity;

use super::astray::{is_ours, may_be_astray};
use super::blobs::{BlobKey, NOT_A_FILE, ReadBlob};
use super::paths::may_speak;
use super::slot::Slot;

/// So many files that are no documents are read for what they say. A repository with more has them for something else.
const READ: usize = 2_000;

/// A file that is no document, by its place.
struct Stray<'f> {
    path: &'f str,
    key: BlobKey,
    /// What it says it is; nothing when it is another program's.
    says: Option<Identity>,
    /// It could not be read, so it may be anything.
    is_unread: bool,
}

/// Those of a revision. They are read only if somebody asks.
pub(super) struct Strays<'f> {
    files: &'f BTreeMap<String, BlobKey>,
    blob: ReadBlob<'f>,
    read: OnceCell<Vec<Stray<'f>>>,
}

impl<'f> Strays<'f> {
    pub(super) fn of(files: &'f BTreeMap<String, BlobKey>, blob: ReadBlob<'f>) -> Self {
        Self {
            files,
            blob,
            read: OnceCell::new(),
        }
    }

    /// Whether a document that was in force, in this version, lies somewhere where it counts for nothing. In a folder of
    /// somebody else's that is only said by its very bytes: they must not keep what is not theirs.
    pub(super) fn hold(&self, slots: &[Slot<'_>], identity: &Identity, version: BlobKey) -> bool {
        let counts = |path: &str, key: BlobKey| key == version || may_speak(path, identity);
        let mut misplaced = slots.iter();
        let is_misplaced = misplaced
            .any(|slot| slot.misplaced() == Some(identity) && counts(slot.path, slot.key.document));
        let is_it = |stray: &Stray<'_>| match stray.is_unread {
            true => counts(stray.path, stray.key),
            false => stray.says.as_ref() == Some(identity) && counts(stray.path, stray.key),
        };
        is_misplaced || self.is_moved(version) || self.all().iter().any(is_it)
    }

    /// Whether these very bytes lie where no document is read. That takes no reading, however many files there are.
    fn is_moved(&self, version: BlobKey) -> bool {
        let mut files = self.files.iter();
        files.any(|(path, key)| *key == version && may_be_astray(path))
    }

    fn all(&self) -> &[Stray<'f>] {
        self.read.get_or_init(|| {
            let files = self.files.iter();
            let files = files.filter(|(path, key)| may_be_astray(path) && **key != NOT_A_FILE);
            let read = files.take(READ).map(|(path, key)| self.read(path, *key));
            read.collect()
        })
    }

    fn read(&self, path: &'f str, key: BlobKey) -> Stray<'f> {
        let text = (self.blob)(key);
        let is_unread = text.is_err();
        let text = text.ok().filter(|text| is_ours(text));
        Stray {
            path,
            key,
            says: text.and_then(|text| identify(&text)),
            is_unread,
        }
    }
}
