//! Documents of a commit that lie where none is read. What cannot be looked at is no trouble: nothing of it would count.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_git::{BlobId, CommitId};
use easyenclave_schemas::decode::MAX_BYTES;
use easyenclave_schemas::documents::Identity;
use easyenclave_schemas::status::ProblemStatus;

use crate::desired::{FileProblem, astray, may_be_astray};

/// The most files that are looked at for one commit. The next commit goes on from there.
const LOOKED_AT: usize = 2_000;

/// The most files that are named.
const NAMED: usize = 50;

/// Looks for them, and remembers which contents are none, so that a commit costs what has changed.
#[derive(Debug, Default)]
pub(crate) struct Astray {
    others: BTreeSet<BlobId>,
}

impl Astray {
    /// Those of a commit, in the order of their paths, but first those that hold a removal back.
    pub(crate) fn of(
        &mut self,
        git: &easyenclave_git::Source,
        commit: CommitId,
        holding: &BTreeMap<String, Identity>,
    ) -> Vec<ProblemStatus> {
        let files = git.entries(commit, &may_be_astray).unwrap_or_default();
        let ids: BTreeSet<_> = files.values().copied().collect();
        self.others.retain(|id| ids.contains(id));
        let files = files
            .into_iter()
            .filter(|(_, id)| !self.others.contains(id));
        let files: Vec<_> = files.take(LOOKED_AT).collect();
        let mut found = Vec::new();
        for (path, id) in files {
            // One that is longer than a document may be is none, whatever it says.
            let text = git.blob(id, MAX_BYTES).unwrap_or_default();
            match astray(&path, &text) {
                Some(problem) => found.push(held(problem, holding)),
                None => {
                    self.others.insert(id);
                }
            }
        }
        found.sort_by_key(|problem| !holding.contains_key(&problem.file));
        found
            .iter()
            .take(NAMED)
            .map(FileProblem::to_status)
            .collect()
    }
}

/// Says of a file that holds a removal back which one that is.
fn held(mut problem: FileProblem, holding: &BTreeMap<String, Identity>) -> FileProblem {
    if let Some(identity) = holding.get(&problem.file) {
        let message = &mut problem.problem.message;
        message.push_str(&format!("; it holds the removal of {identity}"));
        problem.consequence = "nothing of that is touched until this file is moved or deleted";
    }
    problem
}
