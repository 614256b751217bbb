//! The source: the newest commit of the state repository becomes the revision in force, or the reason
//! why it does not. It can only read.

mod astray;
mod before;
mod draft;
mod kept;
mod older;
#[cfg(test)]
mod tests;
mod watching;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use easyenclave_git::{BlobId, CommitId, GitError};
use easyenclave_schemas::decode::MAX_BYTES;
use easyenclave_schemas::documents::Identity;
use easyenclave_schemas::records::InForceRecord;
use tokio::task::spawn_blocking;

use crate::desired::{Besides, Loader, NOT_A_FILE, is_read, may_be_astray};
use crate::report::Trouble;
use crate::revision::Revision;
use crate::seal::Sealer;
use crate::secrets::Keyring;
use crate::trust;
use crate::world::World;

pub(crate) use astray::Astray;
pub(crate) use draft::Draft;
use kept::besides;
pub use kept::{keep, kept};
pub(crate) use older::Past;
pub use watching::watch;

/// The repository cannot be read at the moment.
const UNREADABLE: &str = "Unreadable";

/// How many older versions of a broken document are tried.
const OLDER: usize = 50;

/// Reads the state repository.
#[derive(Clone)]
pub struct Source {
    /// Beside the lock, which is held for as long as a revision is read.
    git: easyenclave_git::Source,
    reader: Arc<Mutex<Reader>>,
}

struct Reader {
    git: easyenclave_git::Source,
    loader: Loader,
    /// What is not read.
    astray: Astray,
    /// The newest commit that was considered, and what came of it.
    considered: Option<(CommitId, Option<Trouble>)>,
    /// The commit in force, or the one that was before a restart.
    accepted: Option<CommitId>,
    /// The commit that status tells was in force, for want of anything kept.
    reported: Option<CommitId>,
    /// What status tells was not removed by then.
    kept: Vec<Identity>,
    /// What differs from its files.
    besides: Besides,
    /// Whether the loader knows what was in force before a restart.
    is_primed: bool,
    /// Whether a revision was read since the start.
    has_revision: bool,
}

/// A commit was looked at.
enum Seen {
    /// Nothing new since the last look.
    Same(Option<Trouble>),
    /// A revision to put in force.
    New(Box<Revision>),
    /// The newest commit cannot be in force, so what was in force before a restart is again.
    Resumed(Box<Revision>, Trouble),
    /// Nothing to put in force.
    Trouble(Trouble),
}

impl Source {
    /// Opens the state repository. `last` is what was in force before a restart: history may only go on
    /// from it.
    ///
    /// # Errors
    /// When the location cannot be a repository.
    pub fn open(
        repository: &str,
        mirror: &Path,
        branch: &str,
        last: Option<&InForceRecord>,
    ) -> Result<Self, GitError> {
        let git = easyenclave_git::Source::open(repository, mirror, branch)?;
        let reader = Reader {
            git: git.clone(),
            loader: Loader::default(),
            astray: Astray::default(),
            considered: None,
            accepted: last.and_then(|last| last.commit.parse().ok()),
            reported: None,
            kept: Vec::new(),
            besides: last.map(besides).unwrap_or_default(),
            is_primed: false,
            has_revision: false,
        };
        Ok(Self {
            git,
            reader: Arc::new(Mutex::new(reader)),
        })
    }

    /// Finds secrets wrong that these keys do not open. To be told before anything is read.
    pub fn open_with(&self, keyring: Arc<Keyring>) {
        self.lock().loader = Loader::opening(keyring);
    }

    /// Takes this commit for what was in force, if nothing that was kept tells: history goes on from it, and a document that
    /// breaks as it moves is no removal, even while the store is lost. What was `kept` by then is not removed for what cannot be
    /// read of it. To be told before anything is read.
    pub fn go_on_from(&self, reported: &str, kept: Vec<Identity>) {
        let mut reader = self.lock();
        reader.reported = reported.parse().ok();
        reader.kept = kept;
    }

    /// What is in force, to be kept for the next start; nothing before the first revision.
    pub fn in_force(&self) -> Option<InForceRecord> {
        self.lock().in_force()
    }

    /// Whether the repository is read in place.
    pub fn is_local(&self) -> bool {
        self.git.is_local()
    }

    /// Fetches a repository that lies elsewhere; nothing to do for a local one.
    ///
    /// # Errors
    /// When the remote cannot be fetched before the deadline.
    pub async fn fetch(&self, deadline: Duration) -> Result<(), GitError> {
        self.git.fetch(deadline).await
    }

    /// Keeps the copy of a repository that lies elsewhere small.
    pub async fn tidy(&self, deadline: Duration) {
        self.git.tidy(deadline).await;
    }

    /// Puts the newest commit in force, if it can be. Answers why not.
    pub async fn refresh(&self, world: &World) -> Option<Trouble> {
        let this = self.clone();
        let seen = spawn_blocking(move || this.lock().look()).await;
        match seen.expect("reading does not panic") {
            Seen::Same(trouble) => trouble,
            Seen::New(revision) => {
                let before = world.revision();
                if before.is_none_or(|before| before.effective != revision.effective) {
                    tracing::info!(commit = revision.commit, "revision in force");
                    trust::tell_of_keeping(&revision);
                    trust::forget_trusted(world, &revision);
                }
                world.adopt(Arc::new(*revision));
                None
            }
            Seen::Resumed(revision, trouble) => {
                warn(&trouble);
                tracing::info!(commit = revision.effective, "revision in force as before");
                trust::tell_of_keeping(&revision);
                world.adopt(Arc::new(*revision));
                Some(trouble)
            }
            Seen::Trouble(trouble) => {
                warn(&trouble);
                if let Some(revision) = world.revision() {
                    world.adopt(Arc::new(self.lock().considered_only(&revision)));
                }
                Some(trouble)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn(trouble: &Trouble) {
    let (reason, message) = (trouble.reason, &trouble.message);
    tracing::warn!(reason, message, "not in force");
}

impl Reader {
    fn look(&mut self) -> Seen {
        if !self.is_primed {
            // What was in force is known before anything is taken for removed.
            if let Err(trouble) = self.prime() {
                return Seen::Same(Some(trouble));
            }
            self.is_primed = true;
        }
        let seen = self.newest();
        let trouble = match &seen {
            Seen::Same(Some(trouble)) | Seen::Trouble(trouble) if !self.has_revision => trouble,
            _ => return seen,
        };
        match self.resume() {
            Some(revision) => Seen::Resumed(Box::new(revision), trouble.clone()),
            None => seen,
        }
    }

    fn newest(&mut self) -> Seen {
        let head = match self.git.head() {
            Ok(Some(head)) => head,
            Ok(None) => return self.unreadable("BranchMissing", "the branch does not exist"),
            Err(error) => return self.unreadable(UNREADABLE, &error.to_string()),
        };
        if let Some((considered, trouble)) = &self.considered
            && *considered == head
        {
            return Seen::Same(trouble.clone());
        }
        match self.consider(head) {
            Ok((revision, outage)) => {
                self.accepted = Some(head);
                self.has_revision = true;
                // What could not be read at the moment is read again at the next pass.
                self.considered = (!outage).then_some((head, None));
                Seen::New(Box::new(revision))
            }
            Err(trouble) if trouble.reason == UNREADABLE => Seen::Same(Some(trouble)),
            Err(trouble) => {
                self.considered = Some((head, Some(trouble.clone())));
                Seen::Trouble(trouble)
            }
        }
    }

    /// An outage is looked at again at every pass, so it is not remembered as considered.
    fn unreadable(&self, reason: &'static str, message: &str) -> Seen {
        Seen::Same(Some(Trouble {
            reason,
            message: message.chars().take(200).collect(),
        }))
    }

    /// The newest commit as a revision, and whether a part of it could not be read at the moment.
    fn consider(&mut self, head: CommitId) -> Result<(Revision, bool), Trouble> {
        descends(&self.git, self.last(), head)?;
        self.read(head)
    }

    fn read(&mut self, head: CommitId) -> Result<(Revision, bool), Trouble> {
        let git = &self.git;
        let files = files(git, head).map_err(failed)?;
        let blob = |id: [u8; 20]| document(git, BlobId::from_bytes(id));
        let history = |path: &str| older(git, path, head);
        let loaded = self.loader.load(&files, &blob, &history);
        let Some(model) = loaded.model else {
            let first = loaded
                .problems
                .first()
                .map(|problem| problem.message.clone());
            let message = first.unwrap_or_else(|| "the tree holds no documents".into());
            let reason = if loaded.outage {
                UNREADABLE
            } else {
                "RevisionRefused"
            };
            return Err(Trouble { reason, message });
        };
        self.besides = self.loader.besides(&files);
        let mut problems = loaded.problems;
        problems.extend(self.astray.of(git, head, &loaded.holding));
        let revision = Revision {
            commit: head.to_string(),
            effective: head.to_string(),
            desired: model.desired,
            workloads: model.workloads,
            secrets: model.secrets,
            policies: model.policies,
            providers: model.providers,
            paths: model.paths,
            status: model.status,
            collateral: model.collateral,
            sealer: Sealer::of(&model.evidence.auditors),
            evidence: model.evidence,
            tunnel: model.tunnel,
            callers: model.callers,
            problems,
        };
        Ok((revision, loaded.outage))
    }

    fn in_force(&self) -> Option<InForceRecord> {
        let commit = self.accepted.filter(|_| self.has_revision)?;
        Some(kept::record(commit, &self.besides))
    }

    /// The revision in force, with the newest commit noted as considered and refused.
    fn considered_only(&self, revision: &Revision) -> Revision {
        let mut revision = revision.clone();
        if let Some((considered, _)) = &self.considered {
            revision.commit = considered.to_string();
        }
        revision
    }
}

/// The documents of a commit by path, what may be a part of them, and what lies where none is read, for the loader. What is
/// no file is none that is gone.
pub(crate) fn files(
    git: &easyenclave_git::Source,
    commit: CommitId,
) -> Result<BTreeMap<String, [u8; 20]>, GitError> {
    let wanted = |path: &str| is_read(path) || may_be_astray(path);
    let entries = git.entries(commit, &wanted)?.into_iter();
    let others = git.others(commit, &is_read)?.into_iter();
    let files = entries.map(|(path, blob)| (path, *blob.as_bytes()));
    Ok(files.chain(others.map(|path| (path, NOT_A_FILE))).collect())
}

/// Whether a commit may come into force after the one that was last.
fn descends(
    git: &easyenclave_git::Source,
    last: Option<CommitId>,
    head: CommitId,
) -> Result<(), Trouble> {
    let Some(last) = last else {
        return Ok(());
    };
    match git.is_ancestor(last, head).map_err(failed)? {
        true => Ok(()),
        false => Err(Trouble {
            reason: "HistoryRewritten",
            message: format!(
                "{head} does not descend from {last}, which was in force last; push a commit that does"
            ),
        }),
    }
}

/// An error of Git is an outage: it says nothing of the commit.
fn failed(error: GitError) -> Trouble {
    Trouble {
        reason: UNREADABLE,
        message: error.to_string().chars().take(200).collect(),
    }
}

/// A document's bytes; of one that is too long, enough for the decoder to see that it is.
pub(crate) fn document(git: &easyenclave_git::Source, id: BlobId) -> Result<Vec<u8>, String> {
    match git.blob(id, MAX_BYTES) {
        Err(GitError::TooLarge(_)) => Ok(vec![b' '; MAX_BYTES + 1]),
        read => read.map_err(|error| error.to_string()),
    }
}

/// The older versions of a file, newest first.
pub(crate) fn older(
    git: &easyenclave_git::Source,
    path: &str,
    from: CommitId,
) -> Result<Vec<[u8; 20]>, String> {
    let versions = git
        .history(path, from, OLDER)
        .map_err(|error| error.to_string())?;
    Ok(versions.into_iter().map(|id| *id.as_bytes()).collect())
}
