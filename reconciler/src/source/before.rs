//! What was in force before a restart, by what was kept of it, or by what status tells. What nobody knows of would be taken
//! for removed.

use easyenclave_git::{BlobId, CommitId, GitError};

use super::{Reader, document, failed, files, older, warn};
use crate::report::Trouble;
use crate::revision::Revision;

impl Reader {
    /// Tells the loader what was in force before a restart.
    pub(super) fn prime(&mut self) -> Result<(), Trouble> {
        let Some(accepted) = self.accepted else {
            if let Some(reported) = self.reported {
                // Before the first fetch it is not there either, and nothing can be said of it.
                self.git.head().map_err(failed)?;
                let read = self.read_reported(reported);
                read.unwrap_or_else(|error| warn(&failed(error)));
                self.loader.was_kept(self.kept.drain(..));
            }
            return Ok(());
        };
        let files = files(&self.git, accepted).map_err(failed)?;
        let git = &self.git;
        let blob = |id: [u8; 20]| document(git, BlobId::from_bytes(id));
        self.loader.prime(&files, &self.besides, &blob);
        if self.reported == Some(accepted) {
            self.loader.was_kept(self.kept.drain(..));
        }
        Ok(())
    }

    /// Loads the commit that status names: what differed from its files is not known.
    fn read_reported(&mut self, reported: CommitId) -> Result<(), GitError> {
        let git = &self.git;
        let files = files(git, reported)?;
        let blob = |id: [u8; 20]| document(git, BlobId::from_bytes(id));
        let history = |path: &str| older(git, path, reported);
        self.loader.load(&files, &blob, &history);
        Ok(())
    }

    /// The commit that was in force last, which history goes on from: as it was kept, or else as status tells.
    pub(super) fn last(&self) -> Option<CommitId> {
        self.accepted.or(self.reported)
    }

    /// What was in force before a restart.
    pub(super) fn resume(&mut self) -> Option<Revision> {
        let last = self.last()?;
        let (revision, _) = self.read(last).inspect_err(warn).ok()?;
        (self.accepted, self.has_revision) = (Some(last), true);
        Some(self.considered_only(&revision))
    }
}
