//! Commits for people: what `init`, `up`, `approve` and the deploy API write to a state repository.

use std::collections::BTreeMap;
use std::path::Path;

use git2::{ErrorCode, ObjectType, Oid, Repository, Transaction};

use crate::checkout::{bring_along, resolved};
use crate::commit::{NewCommit, tree_of};
use crate::pack::Pack;
use crate::process::first_words;
use crate::tree::{Folder, is_path};
use crate::{CommitId, GitError};

/// Name and address of who commits.
pub type Author<'a> = (&'a str, &'a str);

/// Files with their new bytes, or none for those that go.
pub type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// A commit that somebody wants made.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// On this branch.
    pub branch: String,
    /// Only onto this commit; onto whatever the branch's tip is when left out.
    pub onto: Option<CommitId>,
    /// Changing these files, and nothing else.
    pub changes: Changes,
    /// With this message.
    pub message: String,
    /// By them: name and address.
    pub author: (String, String),
    /// At that time, in seconds since the epoch.
    pub when: i64,
}

/// Commits changes to a branch of a local repository, and nothing beside them: every other entry keeps
/// its content and its mode. Work trees that have the branch checked out get the changed files too. What
/// the branch holds already makes no commit; the tip is the answer then.
///
/// # Errors
/// `Moved` when somebody else moved the branch meanwhile; `Taken` when something else than a file lies
/// where one should go; `WorkTree` when one of the files has changes that are not committed.
pub fn commit_files(
    location: &str,
    branch: &str,
    changes: &Changes,
    message: &str,
    author: Author<'_>,
    when: i64,
) -> Result<CommitId, GitError> {
    let proposal = Proposal {
        branch: branch.into(),
        onto: None,
        changes: changes.clone(),
        message: message.into(),
        author: (author.0.into(), author.1.into()),
        when,
    };
    commit_onto(location, &proposal)
}

/// The same for a proposal.
///
/// # Errors
/// As [`commit_files`]; `Moved` also when the branch's tip is not where it should be.
pub fn commit_onto(location: &str, proposal: &Proposal) -> Result<CommitId, GitError> {
    let path = Path::new(location);
    let repository =
        Repository::open(path).map_err(|_| GitError::NotARepository(path.to_path_buf()))?;
    let name = resolved(&repository, &format!("refs/heads/{}", proposal.branch))?;
    let parent = tip(&repository, &name)?;
    if proposal.onto.is_some() && parent.map(CommitId::of) != proposal.onto {
        return Err(GitError::Moved);
    }
    let mut pack = Pack::new();
    let tree = changed_tree(&repository, &mut pack, parent, &proposal.changes)?;
    if let Some(parent) = parent
        && tree_of(&repository, Some(parent))? == Some(tree)
    {
        return Ok(CommitId::of(parent));
    }
    let commit = NewCommit {
        tree,
        parent,
        message: &proposal.message,
        author: (&proposal.author.0, &proposal.author.1),
        when: proposal.when,
    };
    let commit = kept(&repository, pack, &commit)?;
    let held = Held::new(&repository, &name, parent)?;
    bring_along(&repository, &name, tree, &proposal.changes)?;
    held.advance(commit, &proposal.message)?;
    Ok(CommitId::of(commit))
}

/// Makes a branch of a repository on this machine that starts where another one is.
///
/// # Errors
/// [`GitError::Moved`] when there is one of this name; when `base` does not exist.
pub fn create_branch(location: &str, branch: &str, base: &str) -> Result<(), GitError> {
    let path = Path::new(location);
    let repository =
        Repository::open(path).map_err(|_| GitError::NotARepository(path.to_path_buf()))?;
    let from = resolved(&repository, &format!("refs/heads/{base}"))?;
    let start = tip(&repository, &from)?;
    let start = start.ok_or_else(|| GitError::Objects(format!("there is no branch {base}")))?;
    advance(
        &repository,
        &format!("refs/heads/{branch}"),
        None,
        start,
        "branch",
    )
}

/// Makes a bare repository whose branch holds these files.
///
/// # Errors
/// When the folder cannot be made.
pub fn init_repository(
    dir: &Path,
    branch: &str,
    files: &BTreeMap<String, Vec<u8>>,
    message: &str,
    author: Author<'_>,
    when: i64,
) -> Result<CommitId, GitError> {
    let repository = Repository::init_bare(dir)?;
    careful(&repository)?;
    first_commit(&repository, branch, files, message, author, when)
}

/// Makes a repository with a work tree whose branch holds these files, which are there already.
///
/// # Errors
/// When the folder cannot be made.
pub fn init_work_tree(
    dir: &Path,
    branch: &str,
    files: &BTreeMap<String, Vec<u8>>,
    message: &str,
    author: Author<'_>,
    when: i64,
) -> Result<CommitId, GitError> {
    let repository = Repository::init(dir)?;
    let commit = first_commit(&repository, branch, files, message, author, when)?;
    let tree = repository.find_commit(commit.oid())?.tree()?;
    let mut index = repository.index()?;
    index.read_tree(&tree)?;
    index.write()?;
    Ok(commit)
}

/// What is pushed to a repository that we made is on its disk before a ref names it.
fn careful(repository: &Repository) -> Result<(), GitError> {
    let mut config = repository.config()?.open_level(git2::ConfigLevel::Local)?;
    config.set_str("core.fsync", "all")?;
    config.set_i32("receive.unpackLimit", 1)?;
    Ok(())
}

fn first_commit(
    repository: &Repository,
    branch: &str,
    files: &BTreeMap<String, Vec<u8>>,
    message: &str,
    author: Author<'_>,
    when: i64,
) -> Result<CommitId, GitError> {
    let changes = files
        .iter()
        .map(|(path, bytes)| (path.clone(), Some(bytes.clone())));
    let mut pack = Pack::new();
    let tree = changed_tree(repository, &mut pack, None, &changes.collect())?;
    let commit = NewCommit {
        tree,
        parent: None,
        message,
        author,
        when,
    };
    let commit = kept(repository, pack, &commit)?;
    let name = format!("refs/heads/{branch}");
    advance(repository, &name, None, commit, message)?;
    repository.set_head(&name)?;
    Ok(CommitId::of(commit))
}

/// Returns when the commit, and what it is made of, is on the disk: a ref may name it then.
fn kept(repository: &Repository, mut pack: Pack, commit: &NewCommit<'_>) -> Result<Oid, GitError> {
    let commit = pack.add(ObjectType::Commit, commit.plain()?.as_bytes())?;
    pack.keep(&repository.commondir().join("objects"))?;
    Ok(commit)
}

fn changed_tree(
    repository: &Repository,
    pack: &mut Pack,
    parent: Option<Oid>,
    changes: &Changes,
) -> Result<Oid, GitError> {
    let mut root = Folder::of(tree_of(repository, parent)?);
    for (path, bytes) in changes {
        if !is_path(path) {
            return Err(GitError::Path(path.chars().take(100).collect()));
        }
        if root.is_taken(repository, path)? {
            return Err(GitError::Taken(path.clone()));
        }
        match bytes {
            Some(bytes) => {
                let blob = pack.add(ObjectType::Blob, bytes)?;
                root.set(repository, path, blob)?;
            }
            None => {
                root.remove(repository, path)?;
            }
        }
    }
    root.write(repository, &mut |tree| pack.add(ObjectType::Tree, tree))
}

/// A ref that is where it was read, and that nobody else can move until this is dropped.
struct Held<'a> {
    transaction: Transaction<'a>,
    name: &'a str,
}

impl<'a> Held<'a> {
    fn new(repository: &'a Repository, name: &'a str, from: Option<Oid>) -> Result<Self, GitError> {
        let mut transaction = repository.transaction()?;
        match transaction.lock_ref(name) {
            // Whoever holds it is about to move it.
            Err(error) if error.code() == ErrorCode::Locked => return Err(GitError::Moved),
            locked => locked?,
        }
        match tip(repository, name)? == from {
            true => Ok(Self { transaction, name }),
            false => Err(GitError::Moved),
        }
    }

    fn advance(mut self, to: Oid, message: &str) -> Result<(), GitError> {
        let log = message.lines().next().unwrap_or_default();
        self.transaction.set_target(self.name, to, None, log)?;
        Ok(self.transaction.commit()?)
    }
}

pub(crate) fn tip(repository: &Repository, name: &str) -> Result<Option<Oid>, GitError> {
    match repository.refname_to_id(name) {
        Ok(oid) => Ok(Some(oid)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Moves a ref from exactly what was read.
pub(crate) fn advance(
    repository: &Repository,
    name: &str,
    from: Option<Oid>,
    to: Oid,
    message: &str,
) -> Result<(), GitError> {
    let log = message.lines().next().unwrap_or_default();
    // The id of zeros stands for no ref; it too is compared under the ref's lock.
    let from = from.unwrap_or(Oid::ZERO_SHA1);
    match repository.reference_matching(name, to, true, from, log) {
        Ok(_) => Ok(()),
        Err(error) if error.code() == ErrorCode::Modified => Err(GitError::Moved),
        Err(error) => Err(error.into()),
    }
}

/// What a failed push means, from what `git push --porcelain` printed.
pub(crate) fn refusal(stdout: &str, stderr: &str) -> GitError {
    let rejected = stdout.lines().find(|line| line.starts_with('!'));
    let Some(line) = rejected else {
        return GitError::Unreachable {
            operation: "push",
            message: first_words(stderr),
        };
    };
    // A ref that cannot be locked for another reason has not moved, and is told in the remote's words.
    let moved = [
        "(fetch first)",
        "(non-fast-forward)",
        "(stale info)",
        "but expected",
        "reference already exists",
        "(incorrect old value",
    ];
    if moved
        .iter()
        .any(|word| line.contains(word) || stderr.contains(word))
    {
        return GitError::Moved;
    }
    let why = line.rsplit_once('\t').map_or(line, |(_, why)| why);
    let words = first_words(stderr);
    let words = words
        .split("; ")
        .find(|word| word.starts_with("remote:"))
        .unwrap_or("");
    let message = format!("{why} {words}");
    let plain = message.trim().chars().filter(|it| !it.is_control());
    GitError::Refused(plain.take(200).collect())
}

/// Makes a local repository check SSH signatures against a file of allowed signers, so that
/// `git log --show-signature` there tells who signed.
///
/// # Errors
/// When the repository's configuration cannot be written.
pub fn trust_signers(repository: &Path, allowed_signers: &Path) -> Result<(), GitError> {
    let mut config = Repository::open(repository)?
        .config()?
        .open_level(git2::ConfigLevel::Local)?;
    config.set_str("gpg.format", "ssh")?;
    config.set_str(
        "gpg.ssh.allowedSignersFile",
        &allowed_signers.display().to_string(),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_moves_from_what_was_read_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = BTreeMap::from([("a".to_owned(), b"1".to_vec())]);
        let author = ("Ada", "ada@example.invalid");
        let one = init_repository(dir.path(), "main", &files, "1", author, 1).expect("made");
        let repository = Repository::open(dir.path()).expect("opened");
        let advance = |name, from| advance(&repository, name, from, one.oid(), "m");
        for from in [None, Some(Oid::from_bytes(&[1; 20]).expect("an id"))] {
            let moved = advance("refs/heads/main", from);
            assert!(matches!(moved, Err(GitError::Moved)), "{moved:?}");
        }
        advance("refs/heads/main", Some(one.oid())).expect("as read");
        advance("refs/heads/new", None).expect("there is none");
        assert!(matches!(
            advance("refs/heads/new", None),
            Err(GitError::Moved)
        ));
    }
}
