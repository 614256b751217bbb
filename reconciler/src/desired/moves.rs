//! What was in force and lies no more where it did. It moved, or it was removed; as long as it may have moved into a file
//! that cannot be used, it is not taken for removed.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_schemas::documents::Identity;

use super::blobs::VersionKey;
use super::past::{Past, Version, place_of};
use super::paths::may_hold;
use super::slot::Slot;
use super::strays::Strays;

/// What lies no more where it did in a revision.
#[derive(Debug, Clone, Default)]
pub(super) struct Moves {
    /// The documents whose file is another one or none, with the path that they had.
    gone: BTreeMap<Identity, (String, Version)>,
    /// Those of them that a file which stands as it is holds.
    found: BTreeSet<Identity>,
}

impl Moves {
    /// Of a revision whose files were just opened.
    pub(super) fn of(past: &Past, slots: &[Slot<'_>]) -> Self {
        let holds = |path: &str| Slot::at(slots, path)?.holds();
        let all = past.versions();
        let gone = all.filter(|(path, (_, read))| holds(path) != Some(&read.located.identity));
        let gone = gone.map(|(path, version)| {
            let identity = version.1.located.identity.clone();
            (identity, (path.clone(), version.clone()))
        });
        let mut moves = Self {
            gone: gone.collect(),
            found: BTreeSet::new(),
        };
        moves.find(slots);
        moves
    }

    /// Looks where they are now. To be done again when files turn out not to stand.
    pub(super) fn find(&mut self, slots: &[Slot<'_>]) {
        self.found.clear();
        if self.gone.is_empty() {
            return;
        }
        let held = slots.iter().filter_map(Slot::holds);
        let held = held.filter(|identity| self.gone.contains_key(identity));
        self.found = held.cloned().collect();
    }

    /// What was in force of a document, or else of its file.
    pub(super) fn before<'a>(
        &'a self,
        past: &'a Past,
        path: &str,
        identity: Option<&Identity>,
    ) -> Option<&'a Version> {
        let [same, moved, here] = self.all_before(past, path, identity);
        same.or(moved).or(here)
    }

    /// What was in force of a file that fails: what another file holds is not this one's any more, and neither is what lay
    /// here, when the file says that it is one that cannot be in force.
    pub(super) fn left<'a>(&'a self, past: &'a Past, slot: &Slot<'_>) -> Option<&'a Version> {
        let mut lost = past.lost_claims().map(|(identity, ..)| Some(identity));
        if slot.says.is_some() && lost.any(|identity| identity == slot.says.as_ref()) {
            return None;
        }
        let all = self.all_before(past, slot.path, slot.says.as_ref());
        let mut all = all.into_iter().flatten();
        all.find(|(_, read)| !self.found.contains(&read.located.identity))
    }

    /// What was in force of the file if it is this document, of the document elsewhere, and of the file whatever it is.
    fn all_before<'a>(
        &'a self,
        past: &'a Past,
        path: &str,
        identity: Option<&Identity>,
    ) -> [Option<&'a Version>; 3] {
        let here = past.version(path);
        let identity = identity.filter(|identity| may_hold(path, identity));
        let is_same = |(_, read): &&Version| identity.is_none_or(|it| *it == read.located.identity);
        let moved = identity.and_then(|identity| Some(&self.gone.get(identity)?.1));
        [here.filter(is_same), moved, here]
    }

    /// What is not known to be removed, because a file that fails lies in its place, or it may have moved: into a file that
    /// fails and came at the same time, or to where it counts for nothing. Until that file is good or gone.
    pub(super) fn missed(
        &self,
        past: &Past,
        slots: &[Slot<'_>],
        strays: &Strays<'_>,
    ) -> BTreeSet<Identity> {
        let gone = self.gone.iter();
        let gone = gone.map(|(identity, (path, (key, _)))| (identity, path, *key));
        let known: BTreeSet<_> = slots.iter().flat_map(Slot::known).collect();
        let gone = gone.chain(past.lost_claims());
        let gone = gone.filter(|(identity, ..)| !known.contains(identity));
        let open: Vec<_> = slots.iter().filter(|slot| slot.is_open()).collect();
        let missed = |(identity, path, key): &(&Identity, &String, VersionKey)| {
            let may = |slot: &&Slot<'_>| past.may_have_come(path, slot) && slot.may_be(identity);
            open.iter().any(may)
                || Slot::at(slots, place_of(path)).is_some_and(Slot::is_refused)
                || strays.hold(slots, identity, key.document)
        };
        let missed = gone.filter(missed);
        missed.map(|(identity, ..)| identity.clone()).collect()
    }

    /// Takes the version out of what is missed, with the path that it had.
    pub(super) fn take(&mut self, missed: &Identity) -> Option<(String, Version)> {
        self.gone.remove(missed)
    }
}
