//! Versions that deployments had in earlier commits. What is in force has no part in it, and goes on as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use easyenclave_git::{BlobId, CommitId, GitError};
use easyenclave_schemas::Digest;
use tokio::task::spawn_blocking;

use super::{Source, document, files, older};
use crate::desired::Loader;
use crate::revision::WorkloadVersion;

/// So many commits are read at a time at most. Each is a whole revision.
pub(super) const MOST: usize = 64;

type Versions = BTreeMap<Digest, Arc<WorkloadVersion>>;

/// What came of a look at earlier commits.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// The versions that were wanted and found.
    pub(crate) versions: Versions,
    /// The commits that say no more than this; nothing is to be had of those that what is in force does not follow on.
    pub(crate) read: BTreeSet<String>,
    /// The commits that could not be read at the moment.
    pub(crate) failed: BTreeSet<String>,
}

impl Source {
    /// Those of these versions that are found in these commits, the first ones first, as far as what is in force follows on
    /// them. It ends when all are found, or so many commits were read that the others are better left for the next time.
    pub(crate) async fn versions(&self, wanted: BTreeSet<Digest>, commits: Vec<String>) -> Past {
        let this = self.clone();
        let found = spawn_blocking(move || this.found(&wanted, &commits)).await;
        found.expect("reading does not panic")
    }

    pub(super) fn found(&self, wanted: &BTreeSet<Digest>, commits: &[String]) -> Past {
        let (git, mut loader, accepted) = {
            let reader = self.lock();
            (reader.git.clone(), reader.loader.anew(), reader.accepted)
        };
        let mut past = Past::default();
        let mut seen = BTreeSet::new();
        let commits = commits.iter().filter(|commit| seen.insert(*commit));
        for commit in commits.take(MOST) {
            if past.versions.len() == wanted.len() {
                break;
            }
            match of(&git, &mut loader, accepted, commit) {
                Ok(versions) => {
                    let versions = versions.into_iter();
                    let wanted = versions.filter(|(digest, _)| wanted.contains(digest));
                    past.versions.extend(wanted);
                    past.read.insert(commit.clone());
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(commit, error, "an earlier commit cannot be read");
                    past.failed.insert(commit.clone());
                }
            }
        }
        past
    }
}

/// Why the versions of a commit are not known.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("its history or files cannot be read")]
    Git(#[from] GitError),
    #[error("a file of it cannot be read")]
    File,
}

/// The versions of a commit; none of one that is no part of the history of what is in force.
fn of(
    git: &easyenclave_git::Source,
    loader: &mut Loader,
    accepted: Option<CommitId>,
    commit: &str,
) -> Result<Versions, Unknown> {
    let Some((accepted, commit)) = accepted.zip(commit.parse().ok()) else {
        return Ok(Versions::new());
    };
    if commit != accepted && !git.is_ancestor(commit, accepted)? {
        return Ok(Versions::new());
    }
    let files = files(git, commit)?;
    let blob = |id: [u8; 20]| document(git, BlobId::from_bytes(id));
    *loader = loader.anew();
    let loaded = loader.load(&files, &blob, &|path| older(git, path, commit));
    match loaded.outage {
        true => Err(Unknown::File),
        false => Ok(loaded
            .model
            .map(|model| model.workloads)
            .unwrap_or_default()),
    }
}
