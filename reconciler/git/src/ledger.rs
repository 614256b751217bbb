//! The writer of one branch. Commits are made in a clone of its own, signed, and pushed by the `git`
//! program: fast-forward only, rebuilt on the new tip when the branch has moved, never forced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::{ObjectType, Oid, Repository};

use crate::changes::{advance, tip};
use crate::clone::{absolute, open_sound};
use crate::commit::{NewCommit, tree_of};
use crate::folders::{contents, readable};
use crate::pack::Pack;
use crate::remote::{KNOWN, Remote, Until};
use crate::sums::{SUMS, Sums, with_trailer};
use crate::tidy::tidy;
use crate::tree::{Folder, check};
use crate::{CommitId, GitError, LedgerError, Signer};

/// Who status commits are by. The signature says which installation.
const AUTHOR: (&str, &str) = ("EasyEnclave", "status@easyenclave.invalid");

/// How often a push is tried again in one call when the branch moves under us.
const TRIES: usize = 5;

/// After a push that failed, so long is taken for keeping the clone small.
const TIDY: Duration = Duration::from_secs(20);

/// The most bytes that the files of the branch may have together. Ours are far from it; others may have
/// pushed there.
const LOADED: usize = 1 << 29;

/// Writes the status branch, and nothing else.
pub struct Ledger {
    location: String,
    clone: PathBuf,
    branch: String,
    /// What tells our branch from another.
    marker: Option<String>,
    signer: Signer,
    root: Folder,
    /// What was set and not yet written.
    staged: BTreeMap<String, Option<Vec<u8>>>,
}

/// What a push did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The branch's tip, here and there.
    pub commit: Option<CommitId>,
    /// Why our commits were rebuilt on another tip or pushed once more, if they were.
    pub rebuilt: Option<String>,
}

impl Ledger {
    /// Opens the clone, or makes it. One that is damaged is put aside and made anew: what it held is at the
    /// remote, or is written again. Nothing is fetched, so a dead remote does not matter.
    ///
    /// # Errors
    /// When the clone cannot be used.
    pub fn open(
        location: &str,
        clone: &Path,
        branch: &str,
        signer: Signer,
    ) -> Result<Self, LedgerError> {
        let repository = open_sound(clone, |clone| {
            let tip = tip(clone, &format!("refs/heads/{branch}"))?;
            tree_of(clone, self::tip(clone, KNOWN)?)?;
            match tree_of(clone, tip)? {
                Some(tree) => readable(clone, tree),
                None => Ok(()),
            }
        })?;
        let mut ledger = Self {
            location: absolute(location),
            clone: clone.to_path_buf(),
            branch: branch.into(),
            marker: None,
            signer,
            root: Folder::default(),
            staged: BTreeMap::new(),
        };
        ledger.reload(&repository)?;
        Ok(ledger)
    }

    /// A branch that has files, but not this one, is somebody else's: nothing is ever written to it.
    #[must_use]
    pub fn marked_by(mut self, file: &str) -> Self {
        self.marker = Some(file.into());
        self
    }

    /// Learns the remote's tip, and goes on from it when we have nothing that it does not have. When nothing is
    /// known of the remote yet and something arrives before the deadline, it may take half an hour.
    ///
    /// # Errors
    /// When the remote cannot be read before the deadline.
    pub async fn sync(&mut self, deadline: Duration) -> Result<(), LedgerError> {
        self.remote().sync(Until::new(deadline)).await?;
        let repository = self.repository()?;
        let (ours, theirs) = (tip(&repository, &self.name())?, tip(&repository, KNOWN)?);
        let behind = match (ours, theirs) {
            (None, Some(_)) => true,
            (Some(ours), Some(theirs)) if ours != theirs => repository
                .graph_descendant_of(theirs, ours)
                .map_err(GitError::from)?,
            _ => false,
        };
        if let Some(theirs) = theirs.filter(|_| behind) {
            self.owned(&repository, theirs)?;
            advance(&repository, &self.name(), ours, theirs, "sync")?;
            self.reload(&repository)?;
        }
        Ok(())
    }

    /// The files of our tip whose path is wanted. The ledger's own file of sums is none of them.
    ///
    /// # Errors
    /// When an object is missing, or the files are more or longer than allowed.
    pub fn load(
        &self,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Vec<u8>>, LedgerError> {
        let repository = self.repository()?;
        let tip = tip(&repository, &self.name())?;
        let wanted = |path: &str| path != SUMS && wanted(path);
        match tree_of(&repository, tip)? {
            Some(tree) => Ok(contents(&repository, tree, &wanted, LOADED)?),
            None => Ok(BTreeMap::new()),
        }
    }

    /// The paths of our tip's files below a folder, which ends with a slash.
    ///
    /// # Errors
    /// When an object is missing.
    pub fn paths(&mut self, folder: &str) -> Result<Vec<String>, LedgerError> {
        Ok(self.root.paths(&self.repository()?, folder)?)
    }

    /// One file of our tip.
    ///
    /// # Errors
    /// When an object is missing.
    pub fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let repository = self.repository()?;
        let Some(blob) = self.root.get(&repository, path)? else {
            return Ok(None);
        };
        let blob = repository.find_blob(blob).map_err(GitError::from)?;
        Ok(Some(blob.content().to_vec()))
    }

    /// The line that makes `git verify-commit` believe this ledger's commits.
    pub fn allowed_signers_line(&self) -> String {
        self.signer.allowed_signers_line(AUTHOR.1)
    }

    /// Our tip.
    ///
    /// # Errors
    /// When the clone cannot be read.
    pub fn tip(&self) -> Result<Option<CommitId>, LedgerError> {
        Ok(tip(&self.repository()?, &self.name())?.map(CommitId::of))
    }

    /// Whether something has not reached the remote as far as we know.
    pub fn pending(&self) -> bool {
        let Ok(repository) = self.repository() else {
            return true;
        };
        let known = tip(&repository, KNOWN).unwrap_or_default();
        tip(&repository, &self.name()).unwrap_or_default() != known
    }

    /// Sets a file in the next commit.
    ///
    /// # Errors
    /// When the path cannot be one.
    pub fn set(&mut self, path: &str, bytes: Vec<u8>) -> Result<(), LedgerError> {
        check(path)?;
        self.staged.insert(path.to_owned(), Some(bytes));
        Ok(())
    }

    /// Removes a file in the next commit.
    ///
    /// # Errors
    /// When the path cannot be one.
    pub fn remove(&mut self, path: &str) -> Result<(), LedgerError> {
        check(path)?;
        self.staged.insert(path.to_owned(), None);
        Ok(())
    }

    /// Commits what was set and removed. Makes no commit when nothing differs. What cannot be written
    /// stays set, and goes into the next commit.
    ///
    /// # Errors
    /// When an object cannot be written or signed.
    pub fn record(&mut self, message: &str, when: i64) -> Result<Option<CommitId>, LedgerError> {
        let repository = self.repository()?;
        let commit = self.write(&repository, message, when);
        match &commit {
            Ok(_) => self.staged.clear(),
            // What was written may be in memory alone: from here on only the disk counts.
            Err(_) => self.reload(&repository)?,
        }
        Ok(commit?.map(CommitId::of))
    }

    fn write(
        &mut self,
        repository: &Repository,
        message: &str,
        when: i64,
    ) -> Result<Option<Oid>, LedgerError> {
        let parent = tip(repository, &self.name())?;
        let mut pack = Pack::new();
        let sums = self.stage(repository, &mut pack)?;
        if sums.is_empty() {
            return Ok(None);
        }
        let commit = self.seal(repository, pack, &sums, parent, (message, when))?;
        advance(repository, &self.name(), parent, commit, message)?;
        Ok(Some(commit))
    }

    /// Packs what was set and removed, and answers what of it differs from the tip.
    fn stage(&mut self, repository: &Repository, pack: &mut Pack) -> Result<Sums, GitError> {
        let mut sums = Sums::default();
        for (path, bytes) in &self.staged {
            match bytes {
                Some(bytes) => {
                    let blob = Oid::hash_object(ObjectType::Blob, bytes)?;
                    if self.root.get(repository, path)? != Some(blob) {
                        pack.add(ObjectType::Blob, bytes)?;
                        self.root.set(repository, path, blob)?;
                        sums.wrote(path, bytes);
                    }
                }
                None => {
                    if self.root.remove(repository, path)? {
                        sums.removed(path);
                    }
                }
            }
        }
        Ok(sums)
    }

    /// A commit of the tree with what it did, signed and kept. The message names the sums.
    fn seal(
        &mut self,
        repository: &Repository,
        mut pack: Pack,
        sums: &Sums,
        parent: Option<Oid>,
        (message, when): (&str, i64),
    ) -> Result<Oid, LedgerError> {
        let text = sums.text();
        let blob = pack.add(ObjectType::Blob, text.as_bytes())?;
        self.root.set(repository, SUMS, blob)?;
        let mut keep = |tree: &[u8]| pack.add(ObjectType::Tree, tree);
        let tree = self.root.write(repository, &mut keep)?;
        let new = NewCommit {
            tree,
            parent,
            message: &with_trailer(message, &text),
            author: AUTHOR,
            when,
        };
        let commit = new.signed(&self.signer)?;
        let commit = pack.add(ObjectType::Commit, commit.as_bytes())?;
        pack.keep(&self.objects())?;
        Ok(commit)
    }

    /// Pushes our tip. What the remote refuses or misses stays here and goes with the next push. The
    /// deadline is for all of it; a push that it stopped is looked up for ten seconds more at most.
    ///
    /// # Errors
    /// When the remote cannot be reached, refuses for good, or keeps moving.
    pub async fn push(&mut self, deadline: Duration) -> Result<Pushed, LedgerError> {
        let until = Until::new(deadline);
        let mut rebuilt = None;
        for _ in 0..TRIES {
            let Some(ours) = self.tip()? else {
                return Ok(Pushed {
                    commit: None,
                    rebuilt,
                });
            };
            match self.remote().push(ours.oid(), until).await {
                Ok(lost) => {
                    tidy(&self.clone, until.left()).await;
                    return Ok(Pushed {
                        commit: Some(ours),
                        rebuilt: rebuilt.or(lost),
                    });
                }
                Err(GitError::Moved) => {
                    self.remote().fetch(until).await?;
                    rebuilt = self.rebuild()?.or(rebuilt);
                }
                Err(error) => {
                    // While the remote is away commits pile up here.
                    tidy(&self.clone, TIDY).await;
                    return Err(error.into());
                }
            }
        }
        Err(GitError::Moved.into())
    }

    fn remote(&self) -> Remote<'_> {
        Remote {
            clone: &self.clone,
            location: &self.location,
            branch: &self.branch,
        }
    }

    /// Puts our tree on top of the remote's tip. The branch is ours alone, so our tree is the whole truth.
    fn rebuild(&mut self) -> Result<Option<String>, LedgerError> {
        let repository = self.repository()?;
        let (Some(ours), Some(theirs)) =
            (tip(&repository, &self.name())?, tip(&repository, KNOWN)?)
        else {
            return Ok(None);
        };
        if ours == theirs
            || repository
                .graph_descendant_of(ours, theirs)
                .map_err(GitError::from)?
        {
            return Ok(None);
        }
        self.owned(&repository, theirs)?;
        let related = repository.merge_base(ours, theirs).is_ok();
        let short: String = theirs.to_string().chars().take(12).collect();
        let why = match related {
            true => format!("somebody else moved the branch to {short}"),
            false => format!("the branch is at {short}, which is no history of ours"),
        };
        let last = repository.find_commit(ours).map_err(GitError::from)?;
        let (tree, when) = (last.tree_id(), last.time().seconds());
        let message = last.message().unwrap_or("status: rebuild");
        let sums = Sums::between(&repository, tree_of(&repository, Some(theirs))?, tree)?;
        let new = if sums.is_empty() {
            theirs
        } else {
            self.seal(
                &repository,
                Pack::new(),
                &sums,
                Some(theirs),
                (message, when),
            )?
        };
        advance(&repository, &self.name(), Some(ours), new, message)?;
        self.reload(&repository)?;
        Ok(Some(why))
    }

    /// Whether a tip is of a branch that we write.
    fn owned(&self, repository: &Repository, tip: Oid) -> Result<(), LedgerError> {
        let (Some(marker), Some(tree)) = (&self.marker, tree_of(repository, Some(tip))?) else {
            return Ok(());
        };
        let tree = repository.find_tree(tree).map_err(GitError::from)?;
        if tree.is_empty() || tree.get_name(marker).is_some() {
            Ok(())
        } else {
            Err(LedgerError::Foreign(self.branch.clone()))
        }
    }

    fn reload(&mut self, repository: &Repository) -> Result<(), LedgerError> {
        let tip = tip(repository, &self.name())?;
        self.root = Folder::of(tree_of(repository, tip)?);
        Ok(())
    }

    fn name(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }

    fn objects(&self) -> PathBuf {
        self.clone.join("objects")
    }

    fn repository(&self) -> Result<Repository, LedgerError> {
        Ok(Repository::open(&self.clone).map_err(GitError::from)?)
    }
}
