//! Versions that deployments had in earlier commits. What is in force has no part in it, and goes on as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use easyenclave_git::{BlobId, CommitId, GitError};
use easyenclave_schemas::Digest;
use tokio::task::spawn_blocking;

use super::{Source, document, files, older};
use crate::desired::Loader;
use crate::revision::WorkloadVersion;

/// So many commits are read at most. Each is a whole revision.
const MOST: usize = 64;

type Versions = BTreeMap<Digest, Arc<WorkloadVersion>>;

impl Source {
    /// Those of these versions that are found in these commits, as far as what is in force follows on them.
    pub(crate) async fn versions(
        &self,
        wanted: BTreeSet<Digest>,
        commits: Vec<String>,
    ) -> Versions {
        let this = self.clone();
        let found = spawn_blocking(move || this.found(&wanted, &commits)).await;
        found.expect("reading does not panic")
    }

    pub(super) fn found(&self, wanted: &BTreeSet<Digest>, commits: &[String]) -> Versions {
        let (git, loader, accepted) = {
            let reader = self.lock();
            (reader.git.clone(), reader.loader.anew(), reader.accepted)
        };
        let mut found = Versions::new();
        let mut seen = BTreeSet::new();
        let commits = commits.iter().filter(|commit| seen.insert(*commit));
        for commit in commits.take(MOST) {
            if found.len() == wanted.len() {
                break;
            }
            match of(&git, loader.clone(), accepted, commit) {
                Ok(versions) => {
                    let versions = versions.into_iter();
                    found.extend(versions.filter(|(digest, _)| wanted.contains(digest)));
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(commit, error, "an earlier commit cannot be read");
                }
            }
        }
        found
    }
}

/// The versions of a commit; none of one that is no part of the history of what is in force.
fn of(
    git: &easyenclave_git::Source,
    mut loader: Loader,
    accepted: Option<CommitId>,
    commit: &str,
) -> Result<Versions, GitError> {
    let Some((accepted, commit)) = accepted.zip(commit.parse().ok()) else {
        return Ok(Versions::new());
    };
    if commit != accepted && !git.is_ancestor(commit, accepted)? {
        return Ok(Versions::new());
    }
    let files = files(git, commit)?;
    let blob = |id: [u8; 20]| document(git, BlobId::from_bytes(id));
    let loaded = loader.load(&files, &blob, &|path| older(git, path, commit));
    Ok(loaded
        .model
        .map(|model| model.workloads)
        .unwrap_or_default())
}
