//! Making commit objects, signed or not. No ref is touched here.

use git2::{Oid, Repository, Signature, Time};

use crate::{GitError, LedgerError, Signer};

/// A commit to make.
pub(crate) struct NewCommit<'a> {
    /// Its tree.
    pub(crate) tree: Oid,
    /// Its parent.
    pub(crate) parent: Option<Oid>,
    /// Its message.
    pub(crate) message: &'a str,
    /// Name and address of author and committer.
    pub(crate) author: (&'a str, &'a str),
    /// When, in seconds since the epoch, in UTC.
    pub(crate) when: i64,
}

/// Makes an unsigned commit.
pub(crate) fn plain(repository: &Repository, commit: &NewCommit<'_>) -> Result<Oid, GitError> {
    let buffer = buffer(repository, commit)?;
    let odb = repository.odb()?;
    Ok(odb.write(git2::ObjectType::Commit, buffer.as_bytes())?)
}

/// Makes a signed commit.
pub(crate) fn signed(
    repository: &Repository,
    commit: &NewCommit<'_>,
    signer: &Signer,
) -> Result<Oid, LedgerError> {
    let buffer = buffer(repository, commit)?;
    let signature = signer.sign(buffer.as_bytes())?;
    let id = repository.commit_signed(&buffer, signature.trim_end(), None);
    Ok(id.map_err(GitError::from)?)
}

fn buffer(repository: &Repository, commit: &NewCommit<'_>) -> Result<String, GitError> {
    let (name, address) = commit.author;
    let who = Signature::new(name, address, &Time::new(commit.when, 0))?;
    let tree = repository.find_tree(commit.tree)?;
    let parent = commit
        .parent
        .map(|parent| repository.find_commit(parent))
        .transpose()?;
    let parents: Vec<_> = parent.iter().collect();
    let buffer = repository.commit_create_buffer(&who, &who, commit.message, &tree, &parents)?;
    Ok(String::from_utf8_lossy(&buffer).into_owned())
}

/// The tree of a commit, if there is one.
pub(crate) fn tree_of(
    repository: &Repository,
    commit: Option<Oid>,
) -> Result<Option<Oid>, GitError> {
    commit
        .map(|commit| Ok(repository.find_commit(commit)?.tree_id()))
        .transpose()
}
