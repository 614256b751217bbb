//! What is left of versions in the tree that cannot be read as a whole. What else is wrong with it is told to people, so that
//! they learn all at once; it decides nothing, and none of it is ever in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::blobs::{BlobKey, Blobs, Part, Read, ReadBlob, SOURCE_FILE, Unread, near_file};
use super::checks::{self, Finding};
use super::facts::{Considered, Facts, Standing};
use super::paths::beside;
use super::slot::{Kept, Slot, placed};

/// Takes in the file that a document wants beside it, which was not looked at because of what is wrong with the document.
pub(super) fn attach(
    slot: &mut Slot<'_>,
    blobs: &mut Blobs,
    files: &BTreeMap<String, BlobKey>,
    blob: ReadBlob<'_>,
) {
    let Some(read) = slot.rest.clone().filter(|_| slot.file.is_none()) else {
        return;
    };
    let Some(file) = &read.file else {
        return suggest(slot, &read, files);
    };
    let attached = match files.get(&beside(slot.path, file)) {
        Some(other) => blobs.pair(&read, (slot.key.document, *other), blob),
        None => Err(Arc::new(Unread::missing(&read, slot.path, file, files))),
    };
    match attached {
        Ok(read) => slot.rest = Some(read),
        Err(unread) => {
            slot.problems.extend(unread.problems.iter().cloned());
            slot.rest = unread.rest.clone().or(Some(read));
        }
    }
}

/// A name that no Compose file can have may be meant for one that lies there.
fn suggest(slot: &mut Slot<'_>, read: &Read, files: &BTreeMap<String, BlobKey>) {
    let name = read.located.unfit(SOURCE_FILE);
    let near = name.and_then(|name| near_file(slot.path, name, files));
    let mut problems = slot.problems.iter_mut();
    if let Some((_, problem)) = problems.find(|(_, it)| it.pointer == SOURCE_FILE) {
        problem.suggestion = problem.suggestion.take().or(near);
    }
}

/// Notes what else is wrong with what is left, as far as it is known.
pub(super) fn look(slots: &mut [Slot<'_>], missed: &Kept) {
    for finding in findings(slots, missed) {
        let slot = &mut slots[finding.file];
        let Some(read) = &slot.rest else { continue };
        let (part, problem) = placed(read, finding);
        if part == Part::Beside || read.located.knows(&problem.pointer) {
            slot.problems.push((part, problem));
        }
    }
}

/// What is left, held against all others.
fn findings(slots: &[Slot<'_>], missed: &Kept) -> Vec<Finding> {
    let rests = || slots.iter().filter_map(|slot| slot.rest.as_ref());
    if rests().next().is_none() {
        return Vec::new();
    }
    let considered = slots.iter().enumerate().filter_map(|(file, slot)| {
        let chosen = slot.chosen.as_ref().map(|(_, read)| (read, slot.standing));
        let rest = slot.rest.as_ref().map(|read| (read, Standing::New));
        let (read, standing) = rest.or(chosen)?;
        let path = slot.path;
        Some(Considered {
            file,
            path,
            read,
            standing,
        })
    });
    let gone = slots.iter().filter(|slot| slot.rest.is_none());
    // Why they cannot be read is nothing to the checks.
    let no_reason = |identity| (identity, String::new());
    let unreadable = missed.keys().cloned();
    let unreadable = unreadable
        .chain(gone.flat_map(|slot| slot.unreadable()))
        .map(no_reason)
        .collect();
    let mut facts = Facts::new(considered.collect(), unreadable);
    // What they would come to is not known.
    let known = rests().map(|read| read.located.identity.clone());
    facts.unreadable.extend(known.map(no_reason));
    let mut findings = checks::of_parts(&facts);
    findings.retain(|finding| slots[finding.file].rest.is_some());
    findings
}
