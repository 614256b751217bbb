//! What was in force before a revision: it tells changes from what they disturb, and moved files from
//! removed ones. Over a restart only the names of versions are kept; the versions are in Git.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use easyenclave_schemas::decode::Problem;
use easyenclave_schemas::documents::{Document, Identity};

use super::astray::may_be_astray;
use super::blobs::{BlobKey, Blobs, NOT_A_FILE, Part, Read, ReadBlob, VersionKey};
use super::cautions;
use super::paths::{beside, custom, guess, is_document};
use super::report::FileProblem;
use super::slot::{Kept, Slot, place};

/// A version of a document.
pub(super) type Version = (VersionKey, Arc<Read>);

/// What is in force other than a revision's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Besides {
    /// Documents by path: another version of the file, or none of it. A path that the revision does not have is one that
    /// is missed.
    pub documents: BTreeMap<String, Option<BlobKey>>,
    /// What stands beside documents, by the documents' paths, where it is not the revision's.
    pub attached: BTreeMap<String, BlobKey>,
    /// Files that lie where they count for nothing and came since all could be read; none when that was not kept.
    pub came: Option<BTreeSet<String>>,
}

/// Documents in force.
pub type InForce = BTreeMap<Identity, Document>;

/// Which version of each document is in force, or was and cannot be any more.
#[derive(Debug)]
pub(crate) struct Versions(BTreeSet<(Identity, VersionKey)>);

impl Versions {
    /// The documents that have not the same version in both.
    pub(crate) fn differing(&self, other: &Self) -> BTreeSet<Identity> {
        let differing = self.0.symmetric_difference(&other.0);
        differing.map(|(identity, _)| identity.clone()).collect()
    }
}

/// A version that was in force and cannot be any more, such as one that an earlier EasyEnclave let through.
#[derive(Debug, Clone)]
pub(super) struct Lost {
    pub(super) key: VersionKey,
    /// The document that it is, if that much is known.
    pub(super) claims: Option<Identity>,
}

impl Lost {
    pub(super) fn new(key: VersionKey, claims: Option<&Identity>) -> Self {
        let claims = claims.cloned();
        Self { key, claims }
    }
}

/// Ends a path at which something is noted that is missed. No document's path ends so.
const BESIDE: char = '~';

/// What was in force.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    /// The versions in force, by path.
    accepted: BTreeMap<String, Version>,
    /// Those that cannot be in force any more, by path. Nothing takes their place until their files can be read.
    lost: BTreeMap<String, Lost>,
    /// Files whose version was not in force, with that version.
    refused: BTreeMap<String, BlobKey>,
    /// Paths in force whose documents no file was known to hold any more.
    missed: BTreeSet<String>,
    aside: Aside,
}

/// Files that lay where they count for nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Aside {
    /// All of them, with their version.
    pub(super) files: BTreeMap<String, BlobKey>,
    /// Those that came since all that was in force could be read: each may be a document that was moved there.
    pub(super) came: BTreeSet<String>,
}

impl Past {
    /// What a revision leaves in force, and besides its files what is missed.
    pub(super) fn new(
        slots: &[Slot<'_>],
        missed: impl Iterator<Item = (String, Version)>,
        lost: BTreeMap<String, Lost>,
        aside: Aside,
    ) -> Self {
        let mut past = Self {
            aside,
            ..Self::default()
        };
        for slot in slots {
            let path = slot.path.to_owned();
            if slot.is_refused() {
                past.refused.insert(path.clone(), slot.key.document);
            }
            match &slot.chosen {
                Some(version) => drop(past.accepted.insert(path, version.clone())),
                None => {
                    let lost = slot.lost.clone();
                    past.lost.extend(lost.map(|lost| (path, lost)));
                }
            }
        }
        for (path, lost) in lost {
            let label = past.miss(slots, path);
            past.lost.insert(label, lost);
        }
        for (path, version) in missed {
            let label = past.miss(slots, path);
            past.accepted.insert(label, version);
        }
        past
    }

    /// Where something is noted that is missed: its path, or if another file has that now, one beside it that no document
    /// can have.
    fn miss(&mut self, slots: &[Slot<'_>], mut path: String) -> String {
        while Slot::at(slots, &path).is_some() || self.missed.contains(&path) {
            path.push(BESIDE);
        }
        self.missed.insert(path.clone());
        path
    }

    /// The same after a restart. `read` reads a document's version with what stands beside it.
    pub(super) fn primed(
        files: &BTreeMap<String, BlobKey>,
        besides: &Besides,
        mut read: impl FnMut(&str, BlobKey) -> Result<Version, Lost>,
    ) -> Self {
        let mut past = Self::default();
        let documents = &besides.documents;
        let same = files
            .iter()
            .filter(|(path, _)| is_document(path) && !documents.contains_key(*path));
        let same = same.map(|(path, key)| (path, *key));
        let other = documents
            .iter()
            .filter_map(|(path, key)| Some((path, (*key)?)));
        for (path, key) in same.chain(other) {
            match read(path, key) {
                Ok(version) => drop(past.accepted.insert(path.clone(), version)),
                Err(mut lost) => {
                    lost.claims = lost.claims.or_else(|| guess(place_of(path)));
                    past.lost.insert(path.clone(), lost);
                }
            }
        }
        for (path, key) in documents {
            match files.get(path) {
                Some(file) => drop(past.refused.insert(path.clone(), *file)),
                None if key.is_some() => drop(past.missed.insert(path.clone())),
                None => {}
            }
        }
        if let Some(came) = &besides.came {
            let is_aside = |path: &str| may_be_astray(path) || documents.contains_key(path);
            let aside = files.iter().filter(|(path, _)| is_aside(path));
            past.aside = Aside {
                files: aside.map(|(path, key)| (path.clone(), *key)).collect(),
                came: came.clone(),
            };
        }
        past
    }

    /// Notes that these were not removed before, though nobody knows what was in force of some, and where they may be.
    pub(super) fn was_kept(&mut self, documents: impl Iterator<Item = Identity>) {
        let accepted = self.accepted.values();
        let accepted = accepted.map(|(_, read)| read.located.identity.clone());
        let lost = self.lost_claims().map(|(identity, ..)| identity.clone());
        let known: BTreeSet<_> = accepted.chain(lost).collect();
        for identity in documents.filter(|it| !known.contains(it)) {
            let Some(mut path) = custom(&identity) else {
                continue;
            };
            path.push(BESIDE);
            let lost = Lost::new(VersionKey::of(NOT_A_FILE), Some(&identity));
            self.lost.insert(path.clone(), lost);
            self.missed.insert(path);
            self.aside = Aside::default();
        }
    }

    /// What is in force other than these files.
    pub(super) fn besides(&self, files: &BTreeMap<String, BlobKey>) -> Besides {
        let version = |path: &String| {
            let lost = || Some(self.lost.get(path)?.key);
            let accepted = self.version(path).map(|(key, _)| *key);
            Some(accepted.or_else(lost)?.document)
        };
        let is_one = |path: &&String| version(path).is_some() || is_document(path);
        let all = files.keys().filter(is_one);
        let documents = all
            .chain(&self.missed)
            .map(|path| (path, version(path)))
            .filter(|(path, key)| files.get(*path) != key.as_ref())
            .map(|(path, key)| (path.clone(), key))
            .collect();
        let attached = self.accepted.iter().filter_map(|(path, (key, read))| {
            let (other, file) = (key.beside?, read.file.as_ref()?);
            let is_other = files.get(&beside(path, file)) != Some(&other);
            is_other.then(|| (path.clone(), other))
        });
        let lost = self.lost.iter();
        let lost = lost.filter_map(|(path, lost)| Some((path.clone(), lost.key.beside?)));
        Besides {
            documents,
            attached: attached.chain(lost).collect(),
            came: Some(self.aside.came.clone()),
        }
    }

    /// The version of a file that was in force.
    pub(super) fn version(&self, path: &str) -> Option<&Version> {
        self.accepted.get(path)
    }

    /// What was in force of this document or else of this file, and cannot be any more.
    pub(super) fn lost(&self, path: &str, identity: Option<&Identity>) -> Option<&Lost> {
        let same = |lost: &&Lost| identity.is_some() && lost.claims.as_ref() == identity;
        let here = self.lost.get(path);
        let moved = || self.lost.values().find(same);
        here.filter(same).or_else(moved).or(here)
    }

    /// What cannot be in force any more and is one of these documents, by path.
    pub(super) fn lost_of(&self, documents: &Kept) -> BTreeMap<String, Lost> {
        let lost = self.lost.iter().filter(|(_, lost)| {
            let claims = lost.claims.as_ref();
            claims.is_some_and(|claims| documents.contains_key(claims))
        });
        let lost = lost.map(|(path, lost)| (path.clone(), lost.clone()));
        lost.collect()
    }

    /// The documents that were in force.
    pub(super) fn in_force(&self) -> InForce {
        let read = self.accepted.values().map(|(_, read)| &read.located);
        read.map(|located| (located.identity.clone(), located.document.clone()))
            .collect()
    }

    /// The versions of all that was in force.
    pub(super) fn known(&self) -> Versions {
        let accepted = self.accepted.values();
        let accepted = accepted.map(|(key, read)| (read.located.identity.clone(), *key));
        let lost = self.lost.values();
        let lost = lost.filter_map(|lost| Some((lost.claims.clone()?, lost.key)));
        Versions(accepted.chain(lost).collect())
    }

    /// The documents that were in force, by path, but those that are missed.
    pub(super) fn by_path(&self) -> impl Iterator<Item = (&str, &Document)> {
        let all = self.accepted.iter();
        let all = all.filter(|(path, _)| !self.missed.contains(*path));
        all.map(|(path, (_, read))| (path.as_str(), &read.located.document))
    }

    /// What their authors may not expect.
    pub(super) fn warnings(&self) -> Vec<FileProblem> {
        let of = |(path, (_, read)): (&String, &Version)| -> Vec<FileProblem> {
            let told = |(part, problem): (Part, Problem)| FileProblem {
                file: place(path, read.file.as_deref(), part),
                problem,
                consequence: "",
            };
            cautions::of(read).into_iter().map(told).collect()
        };
        self.accepted.iter().flat_map(of).collect()
    }

    /// The blobs of every version that was in force.
    pub(super) fn keys(&self) -> impl Iterator<Item = BlobKey> {
        let keys = self.accepted.values().map(|(key, _)| key);
        keys.flat_map(|key| [Some(key.document), key.beside].into_iter().flatten())
    }

    /// The versions that were in force, by path.
    pub(super) fn versions(&self) -> impl Iterator<Item = (&String, &Version)> {
        self.accepted.iter()
    }

    /// Whether anything was in force.
    pub(super) fn is_known(&self) -> bool {
        !self.accepted.is_empty() || !self.lost.is_empty()
    }

    /// The documents that cannot be in force any more, as far as they are known, by path.
    pub(super) fn lost_claims(&self) -> impl Iterator<Item = (&Identity, &String, VersionKey)> {
        let lost = self.lost.iter();
        lost.filter_map(|(path, lost)| Some((lost.claims.as_ref()?, path, lost.key)))
    }

    /// Whether a file that counts for nothing where it lies has lain there while all that was in force could be read: then it
    /// is nothing that was moved there.
    pub(super) fn is_idle(&self, path: &str, key: BlobKey) -> bool {
        let Aside { files, came } = &self.aside;
        files.get(path) == Some(&key) && !came.contains(path)
    }

    /// Whether what was in force at a path may have moved into a file that fails: the file is new, or nobody could tell before
    /// where the document was.
    pub(super) fn may_have_come(&self, path: &str, slot: &Slot<'_>) -> bool {
        let is_new = self.refused.get(slot.path) != Some(&slot.key.document);
        is_new || self.missed.contains(path) || self.refused.contains_key(path)
    }
}

/// Where lay what is missed and noted at this path.
pub(super) fn place_of(noted: &str) -> &str {
    noted.trim_end_matches(BESIDE)
}

/// A version that was in force, if it still can be. `kept` and `other` tell what stood beside it.
pub(super) fn again(
    blobs: &mut Blobs,
    document: BlobKey,
    kept: Option<BlobKey>,
    other: impl Fn(&str) -> Option<BlobKey>,
    blob: ReadBlob<'_>,
) -> Result<Version, Lost> {
    let beside = kept;
    let mut key = VersionKey { document, beside };
    let alone = blobs.get(document, blob);
    let read = alone.map_err(|unread| Lost::new(key, unread.claims.as_ref()))?;
    key.beside = read.file.as_deref().and_then(other);
    let lost = || Lost::new(key, Some(&read.located.identity));
    let whole = match (&read.file, key.beside) {
        (None, _) => Ok(Arc::clone(&read)),
        (Some(_), None) => return Err(lost()),
        (Some(_), Some(other)) => blobs.pair(&read, (document, other), blob),
    };
    Ok((key, whole.map_err(|_| lost())?))
}
