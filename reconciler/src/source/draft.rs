//! The newest commit with one file changed, for those who ask what would come of it. Nothing of it stays, and what is in
//! force goes on as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use easyenclave_git::{BlobId, CommitId, GitError};
use easyenclave_plan::Frozen;
use easyenclave_schemas::Digest;
use easyenclave_schemas::documents::{Document, Identity, Kind};
use tokio::task::spawn_blocking;

use super::{Source, descends, document, failed, files, older};
use crate::desired::{Loaded, Loader, Model};
use crate::report::Trouble;

/// A commit that something could be committed on.
pub(crate) struct Draft {
    git: easyenclave_git::Source,
    head: CommitId,
    files: BTreeMap<String, [u8; 20]>,
    loader: Loader,
    /// What is in force by the commit as it is.
    model: Option<Model>,
}

impl Source {
    /// The newest commit, read beside what is in force.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn draft(&self) -> Result<Draft, Trouble> {
        let this = self.clone();
        let draft = spawn_blocking(move || this.drafted()).await;
        draft.expect("reading does not panic")
    }

    pub(super) fn drafted(&self) -> Result<Draft, Trouble> {
        let git = self.git.clone();
        let (loader, last) = {
            let reader = self.lock();
            (reader.loader.clone(), reader.last())
        };
        let head = git.head().map_err(failed)?.ok_or_else(|| Trouble {
            reason: "BranchMissing",
            message: "the branch does not exist".into(),
        })?;
        descends(&git, last, head)?;
        let files = files(&git, head).map_err(failed)?;
        let mut draft = Draft {
            git,
            head,
            files,
            loader,
            model: None,
        };
        // What came since the last pass is in force for a moment before what is asked about.
        let loaded = draft.load();
        draft.model = loaded.model.filter(|_| !loaded.outage);
        Ok(draft)
    }

    /// Fetches, so that what was pushed is seen.
    pub(crate) async fn catch_up(&self, deadline: Duration) -> Result<(), GitError> {
        match self.is_local() {
            true => Ok(()),
            false => self.fetch(deadline).await,
        }
    }
}

impl Draft {
    /// The commit.
    pub(crate) fn head(&self) -> CommitId {
        self.head
    }

    /// What is in force by the commit as it is; none when it says too little, or cannot be read at the moment.
    pub(crate) fn model(&self) -> Option<&Model> {
        self.model.as_ref()
    }

    /// The file that holds this deployment, by what is in force.
    pub(crate) fn place(&self, owner: &str, name: &str) -> Option<String> {
        let is_it = |document: &Document| match document {
            Document::Deployment(object) => {
                let metadata = &object.metadata;
                metadata.name == name
                    && metadata
                        .owner
                        .as_ref()
                        .is_some_and(|it| it.as_str() == owner)
            }
            _ => false,
        };
        let mut known = self.loader.by_path();
        let found = known.find(|(_, document)| is_it(document));
        found.map(|(path, _)| path.to_owned())
    }

    /// What a file of the commit says; none when there is none.
    pub(crate) fn text(&self, path: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let Some(key) = self.files.get(path) else {
            return Ok(None);
        };
        let read = document(&self.git, BlobId::from_bytes(*key));
        read.map(Some).map_err(|message| Trouble {
            reason: "Unreadable",
            message,
        })
    }

    /// What would be in force with this file, or without it, and which documents that changes. Takes a moment of computing,
    /// so no task should wait for it.
    pub(crate) fn with(
        mut self,
        path: &str,
        text: Option<Vec<u8>>,
    ) -> (Loaded, BTreeSet<Identity>) {
        let (before, model) = (self.loader.versions(), self.model.take());
        let loaded = self.changed(path, text);
        let after = self.loader.versions();
        let mut changed = before.differing(&after);
        let was = model.iter().flat_map(|model| model.desired.frozen.keys());
        let is = loaded.model.iter();
        let is = is.flat_map(|model| model.desired.frozen.keys());
        let (was, is): (BTreeSet<_>, BTreeSet<_>) = (was.collect(), is.collect());
        changed.extend(was.symmetric_difference(&is).map(|frozen| named(frozen)));
        (loaded, changed)
    }

    fn changed(&mut self, path: &str, text: Option<Vec<u8>>) -> Loaded {
        let Some(text) = text else {
            self.files.remove(path);
            return self.load();
        };
        // No blob of Git's has the beginning of such a digest but by chance in 2^160.
        let digest = Digest::of(&text);
        let key = *digest.as_bytes().first_chunk().expect("it is longer");
        self.files.insert(path.to_owned(), key);
        let git = self.git.clone();
        let blob = |id: [u8; 20]| match id == key {
            true => Ok(text.clone()),
            false => document(&git, BlobId::from_bytes(id)),
        };
        // An older version of the file is no answer to whether this one is good.
        self.loader.load(&self.files, &blob, &|_| Ok(Vec::new()))
    }

    fn load(&mut self) -> Loaded {
        let blob = |id: [u8; 20]| document(&self.git, BlobId::from_bytes(id));
        let history = |path: &str| older(&self.git, path, self.head);
        self.loader.load(&self.files, &blob, &history)
    }
}

fn named(frozen: &Frozen) -> Identity {
    let (kind, owner, name) = match frozen {
        Frozen::Deployment(id) => (
            Kind::Deployment,
            Some(id.owner.to_string()),
            id.name.to_string(),
        ),
        Frozen::Target(name) => (Kind::CapacityTarget, None, name.to_string()),
    };
    Identity { kind, owner, name }
}
