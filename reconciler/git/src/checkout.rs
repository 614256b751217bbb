//! A branch that moves while a work tree has it checked out: the work tree and its index go along, as they
//! do when a person commits. What is not committed there is never overwritten.

use git2::build::CheckoutBuilder;
use git2::{ErrorCode, Oid, Repository};

use crate::GitError;
use crate::changes::Changes;

/// How many refs may stand for each other in a row; Git takes no more than five.
const LINKS: usize = 5;

/// The ref that a name stands for in the end.
pub(crate) fn resolved(repository: &Repository, name: &str) -> Result<String, GitError> {
    let mut name = name.to_owned();
    for _ in 0..LINKS {
        let target = match repository.find_reference(&name) {
            Ok(reference) => reference.symbolic_target()?.map(str::to_owned),
            Err(error) if error.code() == ErrorCode::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        match target {
            Some(target) => name = target,
            None => return Ok(name),
        }
    }
    Err(GitError::Objects(format!("{name} has no end")))
}

/// Brings changed files into every work tree that has the branch checked out. To be called before the
/// branch moves: what a work tree differs in from then is its own.
pub(crate) fn bring_along(
    repository: &Repository,
    branch: &str,
    tree: Oid,
    changes: &Changes,
) -> Result<(), GitError> {
    for holder in work_trees(repository)? {
        if resolved(&holder, "HEAD")? == branch {
            check_out(&holder, tree, changes)?;
        }
    }
    Ok(())
}

/// The repository's own work tree and those that are linked to it.
fn work_trees(repository: &Repository) -> Result<Vec<Repository>, GitError> {
    let main = Repository::open(repository.commondir())?;
    let mut all = Vec::new();
    for name in &main.worktrees()? {
        let Ok(Some(name)) = name else { continue };
        // A linked work tree that was removed by hand has nothing to bring along.
        if let Ok(linked) = main
            .find_worktree(name)
            .and_then(|linked| Repository::open_from_worktree(&linked))
        {
            all.push(linked);
        }
    }
    if !main.is_bare() {
        all.push(main);
    }
    Ok(all)
}

fn check_out(repository: &Repository, tree: Oid, changes: &Changes) -> Result<(), GitError> {
    let mut only = CheckoutBuilder::new();
    only.safe().disable_pathspec_match(true);
    for path in changes.keys() {
        only.path(path.as_str());
    }
    let tree = repository.find_object(tree, None)?;
    match repository.checkout_tree(&tree, Some(&mut only)) {
        Err(error) if error.code() == ErrorCode::Conflict => {
            let folder = repository.workdir().unwrap_or(repository.path());
            Err(GitError::WorkTree(folder.to_path_buf()))
        }
        checked_out => Ok(checked_out?),
    }
}
