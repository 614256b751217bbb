//! A ledger's branch as those see it who check it: commit by commit, each with its signature, what it says that it wrote,
//! and what it really did. Reads only, and takes nothing for granted that a signature or a digest does not show.

use std::collections::BTreeMap;
use std::path::Path;

use git2::{ObjectType, Oid, Repository};

use crate::entries::{Odd, Unread, differences};
use crate::raw::{self, Raw};
use crate::sums::{SUMS, SUMS_TRAILER, Sums, hex, sha256, trailer};
use crate::{BlobId, CommitId, GitError, SignatureFlaw, Signers};

/// The longest commit object and the longest file that are looked at, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// The longest commit object of a ledger, in bytes: its messages have some hundred. Hundreds are in memory together.
const LONGEST_COMMIT: usize = 64 * 1024;

/// So many flaws are told of one commit; the rest is counted.
const FLAWS: usize = 20;

/// The longest history, in commits.
const COMMITS: usize = 10_000_000;

/// Reads a repository for those who check it.
pub struct Past {
    pub(crate) repository: Repository,
}

/// A commit as it says it is.
#[derive(Debug, Clone)]
pub struct Saying {
    /// Which one.
    pub commit: CommitId,
    /// Its parents.
    pub parents: Vec<CommitId>,
    /// When, in seconds since the epoch.
    pub when: i64,
    /// Whether it is no longer than a ledger writes.
    is_whole: bool,
    raw: Raw,
}

/// What is wrong with a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The file; none when it is the commit itself.
    pub path: Option<String>,
    /// Which kind.
    pub kind: FlawKind,
    /// In words.
    pub message: String,
}

/// Kinds of flaws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlawKind {
    /// No signature, one of somebody else, or one over something else.
    Signature,
    /// It has no parent or several where one is due, or time went back.
    History,
    /// What it did is not what it says that it wrote.
    Files,
}

/// What a commit did.
#[derive(Debug, Clone, Default)]
pub struct Deeds {
    /// Files that are there after it and were not, or were other ones; the file of sums is left out.
    pub written: BTreeMap<String, BlobId>,
    /// What is wrong.
    pub flaws: Vec<Flaw>,
    /// Whether it is of the time before commits said what they wrote.
    pub silent: bool,
}

impl Past {
    /// Opens the repository that a folder is in or is, bare or not, as `git` finds it.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, GitError> {
        let found = Repository::discover(path);
        let repository = found.map_err(|error| match error.code() {
            git2::ErrorCode::NotFound => GitError::NotARepository(path.to_path_buf()),
            _ => error.into(),
        })?;
        Ok(Self { repository })
    }

    /// The same repository for another thread.
    ///
    /// # Errors
    /// When it is there no more.
    pub fn again(&self) -> Result<Self, GitError> {
        Self::open(self.repository.path())
    }

    /// The commits from the first one, or from the one after `after`, up to `to`, oldest first, along first parents.
    /// `None` when `after` is not among them.
    ///
    /// # Errors
    /// When a commit is missing.
    pub fn chain(
        &self,
        after: Option<CommitId>,
        to: CommitId,
    ) -> Result<Option<Vec<CommitId>>, GitError> {
        let (mut chain, mut at) = (Vec::new(), Some(to));
        while let Some(commit) = at.filter(|at| Some(*at) != after) {
            if chain.len() == COMMITS {
                return Err(GitError::TooLarge(format!("more than {COMMITS} commits")));
            }
            chain.push(commit);
            at = self.first_parent(commit)?;
        }
        chain.reverse();
        Ok((at == after).then_some(chain))
    }

    /// Whether a commit follows on another one, by whichever parents.
    ///
    /// # Errors
    /// When a commit is missing.
    pub fn descends(&self, later: CommitId, earlier: CommitId) -> Result<bool, GitError> {
        let (later, earlier) = (later.oid(), earlier.oid());
        Ok(self.repository.graph_descendant_of(later, earlier)?)
    }

    /// A commit as it is. Of one that is longer than a ledger writes, the message and the signature are left out.
    ///
    /// # Errors
    /// When it is missing, or is none.
    pub fn commit(&self, id: CommitId) -> Result<Saying, GitError> {
        let bytes = self.object(id.oid(), ObjectType::Commit)?;
        let is_whole = bytes.len() <= LONGEST_COMMIT;
        let raw = match is_whole {
            true => raw::parse(&bytes),
            false => raw::beginning(&bytes[..LONGEST_COMMIT]),
        };
        let raw = raw.ok_or_else(|| unreadable(id))?;
        Ok(Saying {
            commit: id,
            parents: raw.parents.iter().copied().map(CommitId::of).collect(),
            when: raw.when,
            is_whole,
            raw,
        })
    }

    /// What a commit did beside its parent, and whether that is what it says.
    pub fn deeds(&self, saying: &Saying, parent: Option<&Saying>) -> Deeds {
        let mut deeds = Deeds::default();
        if !saying.is_whole {
            return deeds;
        }
        if let Err(flaw) = self.compare(saying, parent, &mut deeds) {
            deeds.flaws.push(flaw);
        }
        let more = deeds.flaws.len().saturating_sub(FLAWS);
        if more > 0 {
            deeds.flaws.truncate(FLAWS);
            deeds
                .flaws
                .push(files(None, format!("and {more} more files")));
        }
        deeds
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// When it is missing or damaged, or longer than any that a ledger holds.
    pub fn blob(&self, blob: BlobId) -> Result<Vec<u8>, GitError> {
        self.object(blob.oid(), ObjectType::Blob)
    }

    /// A file of a commit's tree.
    ///
    /// # Errors
    /// When a folder on the way is missing.
    pub fn file(&self, commit: CommitId, path: &str) -> Result<Option<BlobId>, GitError> {
        let tree = self.repository.find_commit(commit.oid())?.tree()?;
        match tree.get_path(Path::new(path)) {
            Ok(entry) if entry.kind() == Some(ObjectType::Blob) => Ok(Some(BlobId::of(entry.id()))),
            Ok(_) => Ok(None),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Every file of a commit's tree.
    ///
    /// # Errors
    /// When a folder is missing, or is none that a ledger writes.
    pub fn files(&self, commit: CommitId) -> Result<BTreeMap<String, BlobId>, GitError> {
        let tree = self.repository.find_commit(commit.oid())?.tree_id();
        let found = differences(&self.repository.odb()?, None, Some(tree))?;
        let blob =
            |(path, (_, after)): (String, (_, Option<Oid>))| Some((path, BlobId::of(after?)));
        Ok(found.into_iter().filter_map(blob).collect())
    }

    /// As the commit itself says: a shallow clone takes some for commits without parents.
    pub(crate) fn first_parent(&self, commit: CommitId) -> Result<Option<CommitId>, GitError> {
        let bytes = self.object(commit.oid(), ObjectType::Commit);
        let is_cut = matches!(bytes, Err(GitError::Damaged(_))) && self.repository.is_shallow();
        let bytes = if is_cut {
            Err(GitError::Shallow)
        } else {
            bytes
        }?;
        let parents = raw::parents(&bytes).ok_or_else(|| unreadable(commit))?;
        Ok(parents.first().copied().map(CommitId::of))
    }

    fn object(&self, id: Oid, kind: ObjectType) -> Result<Vec<u8>, GitError> {
        let odb = self.repository.odb()?;
        let (size, found) = odb.read_header(id)?;
        if size > LONGEST || found != kind {
            let message = format!("{id} is longer than {LONGEST} bytes, or of another kind");
            return Err(GitError::TooLarge(message));
        }
        Ok(odb.read(id)?.data().to_vec())
    }

    fn compare(
        &self,
        saying: &Saying,
        parent: Option<&Saying>,
        deeds: &mut Deeds,
    ) -> Result<(), Flaw> {
        let odb = self.repository.odb();
        let odb = odb.map_err(|error| files(None, error.message().to_owned()))?;
        let before = parent.map(|parent| parent.raw.tree);
        let found = differences(&odb, before, Some(saying.raw.tree));
        let mut found = found.map_err(|unread| match unread {
            Unread::Git(error) => files(None, error.to_string()),
            Unread::Odd(Odd { path, why }) => files(Some(&path), why),
        })?;
        let own = found.remove(SUMS);
        for (path, (_, after)) in &found {
            if let Some(after) = after {
                deeds.written.insert(path.clone(), BlobId::of(*after));
            }
        }
        let Some(promised) = saying.trailer(SUMS_TRAILER) else {
            deeds.silent = true;
            return Ok(());
        };
        let sums = own.and_then(|(_, after)| after).map(BlobId::of);
        let sums = self.sums(sums, promised)?;
        for (path, (_, after)) in &found {
            deeds.flaws.extend(self.agrees(path, *after, &sums).err());
        }
        let undone = sums.paths().filter(|path| !found.contains_key(*path));
        let undone = undone.map(|path| {
            let message = "is among what the commit says that it changed, and is as it was";
            files(Some(path), message.into())
        });
        deeds.flaws.extend(undone);
        Ok(())
    }

    fn sums(&self, blob: Option<BlobId>, promised: &str) -> Result<Sums, Flaw> {
        let flaw = |message: String| files(Some(SUMS), message);
        let blob = blob.ok_or_else(|| flaw("is not the one that this commit wrote".into()))?;
        let bytes = self.blob(blob).map_err(|error| flaw(error.to_string()))?;
        if hex(&sha256(&bytes)) != promised {
            return Err(flaw(
                "has another digest than the commit's message says".into(),
            ));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| flaw("is no text".into()))?;
        Sums::parse(text).map_err(|error| flaw(error.to_string()))
    }

    fn agrees(&self, path: &str, after: Option<Oid>, sums: &Sums) -> Result<(), Flaw> {
        let flaw = |message: &str| files(Some(path), message.into());
        match (sums.get(path), after) {
            (None, None) => Err(flaw(
                "is gone, and the commit does not say that it removed it",
            )),
            (None, Some(_)) => Err(flaw(
                "changed, and the commit does not say that it wrote it",
            )),
            (Some(None), None) => Ok(()),
            (Some(None), Some(_)) => Err(flaw("is there, and the commit says that it removed it")),
            (Some(Some(_)), None) => Err(flaw("is gone, and the commit says that it wrote it")),
            (Some(Some(sum)), Some(blob)) => {
                let bytes = self.blob(BlobId::of(blob));
                let bytes = bytes.map_err(|error| flaw(&error.to_string()))?;
                match sha256(&bytes) == *sum {
                    true => Ok(()),
                    false => Err(flaw("has another digest than the commit says")),
                }
            }
        }
    }
}

impl Saying {
    /// Whether one of these signed it as it is.
    ///
    /// # Errors
    /// What is wrong with the signature.
    pub fn signed_by(&self, signers: &Signers) -> Result<(), SignatureFlaw> {
        if !self.is_whole {
            return Err(SignatureFlaw::TooLong(LONGEST_COMMIT));
        }
        let signature = self.raw.signature.as_deref();
        let signature = signature.ok_or(SignatureFlaw::Missing)?;
        signers.check(&self.raw.payload, signature)
    }

    /// Whether it is no longer than a ledger writes. What another one says and did is not looked at.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The value of a trailer of its message.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        trailer(&self.raw.message, name)
    }

    /// Whether it follows on this commit, and on no other: none when it is the first.
    ///
    /// # Errors
    /// What is wrong with its parents or its time.
    pub fn follows(&self, before: Option<&Self>) -> Result<(), Flaw> {
        let flaw = |message: String| Flaw {
            path: None,
            kind: FlawKind::History,
            message,
        };
        if self.parents.len() > 1 {
            return Err(flaw("is a merge; a ledger has one line of commits".into()));
        }
        match before {
            Some(before) if before.when > self.when => {
                let back = before.when - self.when;
                Err(flaw(format!(
                    "is dated {back} s before the commit that it follows"
                )))
            }
            _ => Ok(()),
        }
    }
}

fn unreadable(commit: CommitId) -> GitError {
    GitError::Objects(format!("{commit} is no readable commit"))
}

fn files(path: Option<&str>, message: String) -> Flaw {
    Flaw {
        path: path.map(str::to_owned),
        kind: FlawKind::Files,
        message,
    }
}
