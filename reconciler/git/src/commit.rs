//! What a commit object says, signed or not. Nothing is written here.

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

impl NewCommit<'_> {
    /// The commit object, unsigned.
    pub(crate) fn plain(&self) -> Result<String, GitError> {
        Ok(format!("{}\n{}", self.head()?, self.message()))
    }

    /// The commit object, signed as it would be without the signature.
    pub(crate) fn signed(&self, signer: &Signer) -> Result<String, LedgerError> {
        let signature = signer.sign(self.plain()?.as_bytes())?;
        // Further lines of a header begin with a space.
        let signature = signature.trim_end().replace('\n', "\n ");
        let head = self.head()?;
        Ok(format!("{head}gpgsig {signature}\n\n{}", self.message()))
    }

    fn head(&self) -> Result<String, GitError> {
        let (name, address) = self.author;
        // Takes out what would end a name or an address.
        let who = Signature::new(name, address, &Time::new(self.when, 0))?;
        let (name, address) = (who.name()?, who.email()?);
        let when = self.when;
        let mut head = format!("tree {}\n", self.tree);
        if let Some(parent) = self.parent {
            head.push_str(&format!("parent {parent}\n"));
        }
        for role in ["author", "committer"] {
            head.push_str(&format!("{role} {name} <{address}> {when} +0000\n"));
        }
        Ok(head)
    }

    /// Git takes no zero byte in a message.
    fn message(&self) -> String {
        self.message.replace('\0', "")
    }
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
