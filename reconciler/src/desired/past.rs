//! What was in force before a revision: it tells changes from what they disturb, and moved files from
//! removed ones. Over a restart only the names of versions are kept; the versions are in Git.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use easyenclave_schemas::decode::Problem;
use easyenclave_schemas::documents::{Document, Identity};

use super::blobs::{BlobKey, Part, Read, VersionKey};
use super::paths::{beside, home, is_document};
use super::report::FileProblem;
use super::slot::{Slot, place};

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
}

/// Documents in force.
pub type InForce = BTreeMap<Identity, Document>;

/// What was in force.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    /// The versions in force, by path.
    accepted: BTreeMap<String, Version>,
    /// Files of which no version was in force, with the version that they had.
    refused: BTreeMap<String, BlobKey>,
    /// Paths in force that had no file any more.
    missed: BTreeSet<String>,
}

impl Past {
    /// What a revision leaves in force, and besides its files what is missed.
    pub(super) fn new(slots: &[Slot<'_>], missed: impl Iterator<Item = (String, Version)>) -> Self {
        let mut past = Self::default();
        for slot in slots {
            let path = slot.path.to_owned();
            match &slot.chosen {
                Some(version) => drop(past.accepted.insert(path, version.clone())),
                None => drop(past.refused.insert(path, slot.key.document)),
            }
        }
        for (path, version) in missed {
            past.missed.insert(path.clone());
            past.accepted.insert(path, version);
        }
        past
    }

    /// The same after a restart. `read` reads a document's version with what stands beside it; what cannot be read any
    /// more is not known any more.
    pub(super) fn primed(
        files: &BTreeMap<String, BlobKey>,
        besides: &Besides,
        mut read: impl FnMut(&str, BlobKey) -> Option<Version>,
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
            if let Some(version) = read(path, key) {
                past.accepted.insert(path.clone(), version);
            }
        }
        for (path, key) in documents {
            match (files.get(path), key) {
                (Some(file), None) => drop(past.refused.insert(path.clone(), *file)),
                (None, Some(_)) => drop(past.missed.insert(path.clone())),
                _ => {}
            }
        }
        past
    }

    /// What is in force other than these files.
    pub(super) fn besides(&self, files: &BTreeMap<String, BlobKey>) -> Besides {
        let version = |path: &String| self.version(path).map(|(key, _)| key.document);
        let is_one = |path: &&String| self.accepted.contains_key(*path) || is_document(path);
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
        Besides {
            documents,
            attached: attached.collect(),
        }
    }

    /// The version of a file that was in force.
    pub(super) fn version(&self, path: &str) -> Option<&Version> {
        self.accepted.get(path)
    }

    /// The documents that were in force.
    pub(super) fn in_force(&self) -> InForce {
        let read = self.accepted.values().map(|(_, read)| &read.located);
        read.map(|located| (located.identity.clone(), located.document.clone()))
            .collect()
    }

    /// The documents that were in force, by path.
    pub(super) fn by_path(&self) -> impl Iterator<Item = (&str, &Document)> {
        let all = self.accepted.iter();
        all.map(|(path, (_, read))| (path.as_str(), &read.located.document))
    }

    /// What their authors may not expect.
    pub(super) fn warnings(&self) -> Vec<FileProblem> {
        let of = |(path, (_, read)): (&String, &Version)| -> Vec<FileProblem> {
            let warnings = read.composed.iter().flat_map(|it| &it.warnings);
            let told = |(part, problem): &(Part, Problem)| FileProblem {
                file: place(path, read.file.as_deref(), *part),
                problem: problem.clone(),
                consequence: "",
            };
            warnings.map(told).collect()
        };
        self.accepted.iter().flat_map(of).collect()
    }

    /// The blobs of every version that was in force.
    pub(super) fn keys(&self) -> impl Iterator<Item = BlobKey> {
        let keys = self.accepted.values().map(|(key, _)| key);
        keys.flat_map(|key| [Some(key.document), key.beside].into_iter().flatten())
    }

    /// What was in force and is in none of these files.
    pub(super) fn gone(
        &self,
        files: &BTreeMap<String, BlobKey>,
    ) -> BTreeMap<Identity, (String, Version)> {
        let gone = self
            .accepted
            .iter()
            .filter(|(path, _)| !files.contains_key(*path));
        gone.map(|(path, version)| {
            let identity = version.1.located.identity.clone();
            (identity, (path.clone(), version.clone()))
        })
        .collect()
    }

    /// What may have moved into a file that cannot be read and came at the same time, and is not known to
    /// be removed until that file can be read or is gone.
    pub(super) fn missed(
        &self,
        slots: &[Slot<'_>],
        gone: &BTreeMap<Identity, (String, Version)>,
    ) -> BTreeSet<Identity> {
        let mute = || slots.iter().filter(|slot| slot.is_mute());
        if gone.is_empty() || mute().next().is_none() {
            return BTreeSet::new();
        }
        let is_new = |slot: &&Slot<'_>| self.refused.get(slot.path) != Some(&slot.key.document);
        let homes: BTreeSet<_> = mute().map(|slot| home(slot.path)).collect();
        let new: BTreeSet<_> = mute().filter(is_new).map(|slot| home(slot.path)).collect();
        let chosen = slots.iter().filter_map(|slot| slot.chosen.as_ref());
        let chosen = chosen.map(|(_, read)| &read.located.identity);
        let said = slots.iter().filter_map(|slot| slot.says.as_ref());
        let found: BTreeSet<_> = chosen.chain(said).collect();
        let missed = |(identity, (path, _)): &(&Identity, &(String, Version))| {
            let homes = if self.missed.contains(path) {
                &homes
            } else {
                &new
            };
            homes.contains(&home(path)) && !found.contains(identity)
        };
        gone.iter()
            .filter(missed)
            .map(|(identity, _)| identity.clone())
            .collect()
    }
}
