//! What lies in a work tree and is in no commit.

use std::path::Path;

use git2::{Repository, Status, StatusOptions};

use crate::folders::name_as_text;
use crate::{CommitId, GitError};

/// Files of a work tree that are not as `commit` has them, by their paths in the repository: edited, new or deleted, staged
/// or not. None where another commit is checked out, or nothing is. Ignored files do not count, and nothing is looked for
/// but in `among`, which are files and folders at the root.
///
/// # Errors
/// When there is no repository, or its index cannot be read.
pub fn uncommitted<'p>(
    path: &Path,
    commit: CommitId,
    among: impl IntoIterator<Item = &'p str>,
) -> Result<Vec<String>, GitError> {
    let repository = Repository::discover(path)?;
    let head = repository.head().and_then(|head| head.peel_to_commit());
    let is_here = head.is_ok_and(|head| CommitId::of(head.id()) == commit);
    if repository.is_bare() || !is_here {
        return Ok(Vec::new());
    }
    let mut options = StatusOptions::new();
    options
        .include_untracked(true)
        .recurse_untracked_dirs(true)
        .exclude_submodules(true)
        .disable_pathspec_match(true)
        // Looking changes nothing, the index among it.
        .update_index(false);
    for path in among {
        options.pathspec(path);
    }
    let statuses = repository.statuses(Some(&mut options))?;
    let edited = statuses
        .iter()
        .filter(|entry| !matches!(entry.status(), Status::CURRENT | Status::IGNORED));
    Ok(edited
        .map(|entry| name_as_text(entry.path_bytes()))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::{commit_files, init_repository, init_work_tree};

    const AUTHOR: (&str, &str) = ("Ada", "ada@example.invalid");

    #[test]
    fn edits_count_staged_or_not_and_only_where_that_commit_is_checked_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path();
        let names = [
            "a/same.yaml",
            "a/gone.yaml",
            "a/edited.yaml",
            "b/edited.yaml",
            ".gitignore",
        ];
        let files: BTreeMap<_, _> = names
            .map(|name| (name.to_owned(), b"*.log\n".to_vec()))
            .into();
        for (name, bytes) in &files {
            fs::create_dir_all(path.join(name).parent().expect("a folder")).expect("made");
            fs::write(path.join(name), bytes).expect("written");
        }
        let commit = init_work_tree(path, "main", &files, "start", AUTHOR, 1).expect("made");
        Repository::open(path)
            .and_then(|it| it.set_head("refs/heads/main"))
            .expect("checked out");
        let edited = |commit| uncommitted(path, commit, ["a"]).expect("told");
        assert_eq!(edited(commit), Vec::<String>::new());
        fs::remove_file(path.join("a/gone.yaml")).expect("removed");
        fs::write(path.join("a/edited.yaml"), "another text").expect("written");
        fs::write(path.join("b/edited.yaml"), "another text").expect("written");
        fs::write(path.join("a/new.log"), "ignored").expect("written");
        fs::create_dir(path.join("a/below")).expect("made");
        fs::write(path.join("a/below/new.yaml"), "staged").expect("written");
        let repository = Repository::open(path).expect("opened");
        let mut index = repository.index().expect("an index");
        index
            .add_path(Path::new("a/below/new.yaml"))
            .expect("staged");
        index.write().expect("written");
        assert_eq!(
            edited(commit),
            ["a/below/new.yaml", "a/edited.yaml", "a/gone.yaml"]
        );
        let other = BTreeMap::from([("c".to_owned(), Some(b"c".to_vec()))]);
        let location = path.display().to_string();
        crate::create_branch(&location, "other", "main").expect("a branch");
        let other = commit_files(&location, "other", &other, "other", AUTHOR, 2).expect("made");
        assert_eq!(edited(other), Vec::<String>::new());
    }

    #[test]
    fn a_bare_repository_has_nothing_that_is_not_committed() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = BTreeMap::from([("a".to_owned(), b"a".to_vec())]);
        let path = dir.path().join("bare.git");
        let commit = init_repository(&path, "main", &files, "start", AUTHOR, 1).expect("made");
        let none = uncommitted(&path, commit, ["a"]).expect("told");
        assert_eq!(none, Vec::<String>::new());
    }
}
