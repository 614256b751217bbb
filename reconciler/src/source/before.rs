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
            if let Some(reported) = self.reported
                && let Err(error) = self.read_reported(reported)
            {
                warn(&failed(error));
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

    /// Loads the commit that status names, if the newest one follows on it: what differed from its files is not known.
    fn read_reported(&mut self, reported: CommitId) -> Result<(), GitError> {
        let git = &self.git;
        let Some(head) = git.head()? else {
            return Ok(());
        };
        if git.is_ancestor(reported, head)? {
            let files = files(git, reported)?;
            let blob = |id: [u8; 20]| document(git, BlobId::from_bytes(id));
            let history = |path: &str| older(git, path, reported);
            self.loader.load(&files, &blob, &history);
            self.loader.was_kept(self.kept.drain(..));
        }
        Ok(())
    }

    /// What was in force before a restart.
    pub(super) fn resume(&mut self) -> Option<Revision> {
        let read = self.read(self.accepted?);
        let (revision, _) = read.inspect_err(warn).ok()?;
        self.has_revision = true;
        Some(self.considered_only(&revision))
    }
}
