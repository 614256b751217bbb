//! What was in force and lies no more where it did. It moved, or it was removed; as long as it may have moved into a file
//! that cannot be used, it is not taken for removed.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_schemas::documents::Identity;

use super::past::{Past, Version, place_of};
use super::paths::{may_hold, shown};
use super::slot::{Kept, Slot};
use super::strays::Strays;

/// What lies no more where it did in a revision.
#[derive(Debug, Clone, Default)]
pub(super) struct Moves {
    /// The documents whose file is another one or none, with the path that they had.
    gone: BTreeMap<Identity, (String, Version)>,
    /// Those of them that a file which stands as it is holds.
    found: BTreeSet<Identity>,
}

/// What is not known to be removed.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// The documents, with why.
    pub(super) why: Kept,
    /// The files that hold one of them back from where they count for nothing.
    pub(super) holding: BTreeMap<String, Identity>,
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
    /// here, when the file says that it is another one, which cannot be in force.
    pub(super) fn left<'a>(&'a self, past: &'a Past, slot: &Slot<'_>) -> Option<&'a Version> {
        let says = slot.says.as_ref();
        let mut lost = past.lost_claims();
        let is_lost = says.is_some() && lost.any(|(identity, ..)| Some(identity) == says);
        let all = match self.all_before(past, slot.path, says) {
            [same, ..] if is_lost => [same, None, None],
            all => all,
        };
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
    pub(super) fn missed(&self, past: &Past, slots: &[Slot<'_>], strays: &Strays<'_>) -> Missed {
        let gone = self.gone.iter();
        let gone = gone.map(|(identity, (path, (key, _)))| (identity, path, *key));
        let known: BTreeSet<_> = slots.iter().flat_map(Slot::known).collect();
        let gone = gone.chain(past.lost_claims());
        let gone = gone.filter(|(identity, ..)| !known.contains(identity));
        let open: Vec<_> = slots.iter().filter(|slot| slot.is_open()).collect();
        let mut missed = Missed::default();
        for (identity, path, key) in gone {
            let may = |slot: &&&Slot<'_>| past.may_have_come(path, slot) && slot.may_be(identity);
            let here = || Slot::at(slots, place_of(path)).filter(|slot| slot.is_refused());
            let broken = open.iter().find(may).copied().or_else(here);
            let holders = strays.holders(past, slots, identity, key.document);
            let why = match (broken, holders.first()) {
                (Some(slot), _) => format!("{identity} may be in {}", slot.fault()),
                (None, Some(path)) => {
                    let path = shown(path);
                    format!("{identity} may be in {path}, where it counts for nothing")
                }
                (None, None) => continue,
            };
            missed.why.insert(identity.clone(), why);
            let holding = holders
                .into_iter()
                .map(|it| (it.to_owned(), identity.clone()));
            missed.holding.extend(holding);
        }
        missed
    }

    /// Takes the version out of what is missed, with the path that it had.
    pub(super) fn take(&mut self, missed: &Identity) -> Option<(String, Version)> {
        self.gone.remove(missed)
    }
}
