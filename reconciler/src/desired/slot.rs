//! A file of a revision, the version of it that is considered, and what people are told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use easyenclave_schemas::decode::Problem;
use easyenclave_schemas::documents::{Identity, Kind};

use super::blobs::{BlobKey, Part, Read, VersionKey};
use super::checks::{Finding, Spot};
use super::facts::{Considered, Facts, Standing};
use super::past::{Lost, Version};
use super::paths::{FLEET, beside, guess, may_hold, shown};
use super::report::FileProblem;

/// What happens when a revision says too little.
pub(super) const NOTHING: &str = "nothing is changed";

/// Documents that cannot be used and are not removed, with why. What depends on them is not touched.
pub(super) type Kept = BTreeMap<Identity, String>;

/// So much of a message is said again where it is a reason, in characters.
const SAID: usize = 200;

/// The code of a tree without a good document of the fleet.
pub(super) const NO_FLEET: &str = "no-fleet";

/// A file, and the version of it that is considered.
pub(super) struct Slot<'f> {
    pub(super) path: &'f str,
    /// The version in the tree.
    pub(super) key: VersionKey,
    /// The version considered; none when there is none that can be.
    pub(super) chosen: Option<Version>,
    pub(super) standing: Standing,
    /// What a failed version in the tree says it is, if it may say so at this path.
    pub(super) says: Option<Identity>,
    /// What a failed version in the tree says it is, though not where it lies.
    stray: Option<Identity>,
    /// The file beside it that the version in the tree wants.
    pub(super) file: Option<String>,
    /// What is wrong with the version in the tree.
    pub(super) problems: Vec<(Part, Problem)>,
    /// What is left of the version in the tree, if it cannot be read as a whole. It is never in force.
    pub(super) rest: Option<Arc<Read>>,
    /// Older versions, the next to try last. None as long as they were not looked up.
    pub(super) older: Option<Vec<Older>>,
    /// What was in force and cannot be any more.
    pub(super) lost: Option<Lost>,
    /// Whether a version of the file's history may stand for the one in the tree.
    pub(super) asks_history: bool,
}

impl<'f> Slot<'f> {
    /// A file of which nothing is known yet.
    pub(super) fn new(path: &'f str, key: BlobKey) -> Self {
        Self {
            path,
            key: VersionKey::of(key),
            chosen: None,
            standing: Standing::Changed,
            says: None,
            stray: None,
            file: None,
            problems: Vec::new(),
            rest: None,
            older: None,
            lost: None,
            asks_history: true,
        }
    }

    /// The one of this path, among all in the order of their paths.
    pub(super) fn at<'s>(slots: &'s [Self], path: &str) -> Option<&'s Self> {
        let at = slots.binary_search_by(|slot| slot.path.cmp(path)).ok()?;
        Some(&slots[at])
    }

    /// The version in the tree cannot be used. Who may write here must not speak for others.
    pub(super) fn fail(&mut self, identity: Option<&Identity>) {
        let may = |identity: &&Identity| may_hold(self.path, identity);
        self.says = identity.filter(may).cloned();
        self.stray = identity.filter(|identity| !may(identity)).cloned();
    }

    /// The document that the version in the tree is or says it is, if it has no place here.
    pub(super) fn misplaced(&self) -> Option<&Identity> {
        let chosen = self.chosen.as_ref().filter(|_| !self.is_refused());
        let chosen = chosen.map(|(_, read)| &read.located.identity);
        let chosen = chosen.filter(|identity| !may_hold(self.path, identity));
        chosen.or(self.stray.as_ref())
    }

    /// What was in force cannot be any more. Nothing tells what runs, so nothing takes its place.
    pub(super) fn lose(&mut self, lost: Lost) {
        self.lost = Some(lost);
    }

    /// Only what is wrong with the version in the tree is told to people: they cannot change older ones.
    fn note(&mut self, finding: Finding) {
        if let Some((_, read)) = &self.chosen
            && self.standing != Standing::Older
        {
            self.problems.push(placed(read, finding));
        }
    }

    /// The file beside it that the version in the tree wants, as far as it is known.
    fn wanted(&self) -> Option<&str> {
        let rest = self.rest.as_ref().and_then(|rest| rest.file.as_deref());
        self.file.as_deref().or(rest)
    }

    /// The version considered does not stand.
    pub(super) fn reject(&mut self) {
        if let Some((_, read)) = self.chosen.take()
            && self.standing != Standing::Older
        {
            self.fail(Some(&read.located.identity));
        }
    }

    /// Whether the version in the tree cannot be used.
    pub(super) fn is_refused(&self) -> bool {
        self.chosen.is_none() || self.standing == Standing::Older
    }

    /// The document that the version in the tree is, as long as that version stands.
    pub(super) fn holds(&self) -> Option<&Identity> {
        let (_, read) = self.chosen.as_ref().filter(|_| !self.is_refused())?;
        let identity = &read.located.identity;
        may_hold(self.path, identity).then_some(identity)
    }

    /// Whether nothing tells which of the documents that were in force this file is now. A name that it has and that none
    /// of them had tells nothing: it may be new.
    pub(super) fn is_open(&self) -> bool {
        let stands = self.stands_for();
        self.is_refused() && (self.says.is_none() || self.says.as_ref() != stands)
    }

    /// Whether a file that is open may be this document.
    pub(super) fn may_be(&self, identity: &Identity) -> bool {
        let says = self.says.as_ref();
        may_hold(self.path, identity) && says.is_none_or(|says| says.kind == identity.kind)
    }

    /// The documents of which this file tells that they are there.
    pub(super) fn known(&self) -> impl Iterator<Item = &Identity> {
        self.stands_for().into_iter().chain(&self.says)
    }

    /// Whether a document that was in force is kept, or not touched, for this file that cannot be used.
    pub(super) fn stands_in(&self) -> bool {
        self.is_refused() && self.stands_for().is_some()
    }

    /// The document that was in force and is kept, or not touched, for this file.
    fn stands_for(&self) -> Option<&Identity> {
        match (&self.chosen, &self.lost) {
            (Some((_, read)), _) => Some(&read.located.identity),
            (None, Some(lost)) => lost.claims.as_ref(),
            (None, None) => None,
        }
    }

    /// What cannot be read and has no good version: as it says, or else by what was in force of it, or the custom of its path.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = Identity> {
        let lost = self.lost.as_ref().and_then(|lost| lost.claims.as_ref());
        let lost = lost.filter(|identity| may_hold(self.path, identity));
        let known = self.says.iter().chain(lost).cloned();
        let is_known = self.says.is_some() || lost.is_some();
        let guess = (!is_known).then(|| guess(self.path)).flatten();
        let all = known.chain(guess);
        all.filter(|_| self.chosen.is_none())
    }

    /// Where the version in the tree is wrong, and what is.
    pub(super) fn fault(&self) -> String {
        let Some((part, problem)) = self.problems.first() else {
            return shown(self.path);
        };
        let file = shown(&place(self.path, self.wanted(), *part));
        let said: String = shown(&problem.message).chars().take(SAID).collect();
        match problem.line {
            0 => format!("{file}: {said}"),
            line => format!("{file}:{line}:{}: {said}", problem.column),
        }
    }

    /// What happens to the document while the version in the tree is wrong.
    fn consequence(&self, in_force: &BTreeSet<&Identity>, missed: &Kept) -> &'static str {
        if self.chosen.is_some() {
            return "the last good version stays in force";
        }
        let misplaced = self
            .misplaced()
            .filter(|claims| missed.contains_key(claims));
        let claims = misplaced.cloned().or_else(|| self.unreadable().last());
        let Some(claims) = claims else {
            return "it is left out";
        };
        match claims.kind {
            _ if in_force.contains(&claims) => "the other file counts",
            Kind::Deployment | Kind::CapacityTarget => "nothing of it is touched",
            Kind::Owner | Kind::AttestationPolicy | Kind::Provider | Kind::Secret => {
                "what depends on it is not touched"
            }
            Kind::Fleet | Kind::CapacityReservation | Kind::Approval => "it is left out",
        }
    }
}

/// A finding at its place in a version.
pub(super) fn placed(read: &Read, finding: Finding) -> (Part, Problem) {
    match finding.spot {
        Spot::Compose(part, problem) => (part, problem),
        Spot::Field(pointer) => {
            let (line, column) = read.located.position(&pointer);
            let problem = Problem {
                line,
                column,
                pointer: pointer.into_owned(),
                code: finding.code,
                message: finding.message,
                suggestion: finding.suggestion,
            };
            (Part::Document, problem)
        }
    }
}

/// The file that a part of a document stands in.
pub(super) fn place(path: &str, file: Option<&str>, part: Part) -> String {
    match (part, file) {
        (Part::Beside, Some(file)) => beside(path, file),
        _ => path.to_owned(),
    }
}

/// An older version, by where it was found.
#[derive(Debug, Clone)]
pub(super) enum Older {
    /// It was in force.
    Accepted(Version),
    /// The file's history. It must be the same document, or files that were reused would bring back
    /// what was deleted.
    Past(BlobKey),
}

/// All versions considered, side by side. What is missed is as unreadable as what cannot be read.
pub(super) fn facts<'a>(slots: &'a [Slot<'_>], missed: &Kept) -> Facts<'a> {
    let mut all = Vec::with_capacity(slots.len());
    let mut unreadable = missed.clone();
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
            None => unreadable.extend(slot.unreadable().map(|it| (it, slot.fault()))),
        }
    }
    Facts::new(all, unreadable)
}

/// Findings that are told and put nothing out of force, and the others. Without a document of the fleet nothing is in force at
/// all, so the one that was stays, whatever a newer EasyEnclave finds wrong with it.
pub(super) fn borne(slots: &[Slot<'_>], findings: Vec<Finding>) -> (Vec<Finding>, Vec<Finding>) {
    let is_borne = |finding: &Finding| {
        let slot = &slots[finding.file];
        let was_in_force = match slot.standing {
            Standing::Unchanged => true,
            Standing::Older => !slot.asks_history,
            Standing::Changed | Standing::New => false,
        };
        slot.path == FLEET && was_in_force
    };
    findings.into_iter().partition(is_borne)
}

/// Notes findings with the files they blame, and lists the files that must give way. Changes give way
/// first: when they are gone, what they disturbed may stand again.
pub(super) fn blame(slots: &mut [Slot<'_>], mut findings: Vec<Finding>) -> BTreeSet<usize> {
    let turn = |finding: &Finding| match slots[finding.file].standing {
        Standing::Changed | Standing::New => 0,
        Standing::Older => 1,
        Standing::Unchanged => 2,
    };
    let first = findings.iter().map(turn).min();
    findings.retain(|finding| Some(turn(finding)) == first);
    let blamed = findings.iter().map(|finding| finding.file).collect();
    for finding in findings {
        let slot = &mut slots[finding.file];
        // What ran before the fleet asked is not known; an older version may obey because it is older than the fleet.
        slot.asks_history &= !matches!(finding.spot, Spot::Compose(..));
        slot.note(finding);
    }
    blamed
}

/// What people are told. With nothing changed, for want of anything to be missed of, that is all that happens.
pub(super) fn problems(slots: &[Slot<'_>], missed: Option<&Kept>) -> Vec<FileProblem> {
    let chosen = slots.iter().filter_map(|slot| slot.chosen.as_ref());
    let in_force: BTreeSet<_> = chosen.map(|(_, read)| &read.located.identity).collect();
    let mut all = Vec::new();
    for slot in slots.iter().filter(|slot| !slot.problems.is_empty()) {
        let consequence = missed.map(|missed| slot.consequence(&in_force, missed));
        let consequence = consequence.unwrap_or(NOTHING);
        all.extend(slot.problems.iter().map(|(part, problem)| FileProblem {
            file: place(slot.path, slot.wanted(), *part),
            problem: problem.clone(),
            consequence,
        }));
    }
    // Documents that share a file share what is wrong with it.
    let place = |one: &FileProblem| (one.file.clone(), one.problem.clone(), one.consequence);
    all.sort_by_cached_key(place);
    all.dedup();
    all
}

/// Why there is no model.
pub(super) fn absence(documents: &[(&str, BlobKey)]) -> FileProblem {
    let has_fleet = documents.iter().any(|(path, _)| *path == FLEET);
    let (code, message) = match (documents.is_empty(), has_fleet) {
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
