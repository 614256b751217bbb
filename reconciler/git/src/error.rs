//! What can go wrong, by what happens next. Messages are stable and hold no credentials.

use std::path::PathBuf;
use std::time::Duration;

use git2::{ErrorClass, ErrorCode};

/// Reading, fetching or committing did not work.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The `git` program cannot be started. A person must install it.
    #[error("the git program cannot be started")]
    Missing(#[source] std::io::Error),
    /// The remote took too long; trying again later may help.
    #[error("{operation} took longer than {} s", limit.as_secs())]
    Timeout {
        /// What was tried.
        operation: &'static str,
        /// How long it was given.
        limit: Duration,
    },
    /// The branch has moved meanwhile; read it again.
    #[error("the branch has moved")]
    Moved,
    /// The remote cannot be reached or read.
    #[error("{operation} failed: {message}")]
    Unreachable {
        /// What was tried.
        operation: &'static str,
        /// What `git` said, bounded.
        message: String,
    },
    /// The remote refuses; a person must look at it.
    #[error("the remote refused the push: {0}")]
    Refused(String),
    /// Nothing is at a path on this machine; a person must name the right one.
    #[error("{0} does not exist")]
    Absent(PathBuf),
    /// Not a repository.
    #[error("{0} is not a Git repository")]
    NotARepository(PathBuf),
    /// Its history ends before the first commit; a person must fetch the rest.
    #[error("this clone has not the whole history: `git fetch --unshallow` brings the rest")]
    Shallow,
    /// A path that Git takes for none.
    #[error("{0:?} cannot be a path in a repository")]
    Path(String),
    /// A person keeps something else there; it is not replaced.
    #[error("a folder, link or submodule is in the way of the file {0:?}")]
    Taken(String),
    /// Files that should change have other changes in a work tree; a person must commit or drop them.
    #[error("the work tree {} has changes to the same files that are not committed", .0.display())]
    WorkTree(PathBuf),
    /// A tree or blob is larger than allowed.
    #[error("{0}")]
    TooLarge(String),
    /// An object or ref is missing or damaged.
    #[error("repository: {0}")]
    Damaged(String),
    /// The repository could not be read or written, for a reason that says nothing about what it holds.
    #[error("repository: {0}")]
    Objects(String),
    /// A file of ours cannot be written.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] std::io::Error),
}

/// Writing the status branch did not work.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The commit cannot be signed.
    #[error(transparent)]
    Sign(#[from] crate::SignError),
    /// A path cannot be a file of the branch.
    #[error("{0:?} cannot be a path on the status branch")]
    Path(String),
    /// The branch holds something that no ledger wrote.
    #[error(
        "branch {0} holds something else than a status, and is left alone: name another with --status-branch"
    )]
    Foreign(String),
}

impl LedgerError {
    /// One word from a fixed list, for conditions.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Git(GitError::Timeout { .. }) => "Timeout",
            Self::Git(GitError::Refused(_)) => "Refused",
            Self::Git(GitError::Unreachable { .. }) => "Unreachable",
            Self::Git(GitError::Moved) => "Moved",
            Self::Foreign(_) => "ForeignBranch",
            _ => "Local",
        }
    }
}

impl From<git2::Error> for GitError {
    fn from(error: git2::Error) -> Self {
        let message = error.message().chars().take(200).collect();
        match (error.code(), error.class()) {
            (ErrorCode::NotFound, _)
            | (
                _,
                ErrorClass::Invalid
                | ErrorClass::Object
                | ErrorClass::Odb
                | ErrorClass::Reference
                | ErrorClass::Sha1
                | ErrorClass::Tree
                | ErrorClass::Zlib,
            ) => Self::Damaged(message),
            _ => Self::Objects(message),
        }
    }
}
