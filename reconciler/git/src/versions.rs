//! Every version of files that a history has had, each told once: what was in force at some time is among them.

use std::collections::BTreeSet;

use git2::{ObjectType, Oid};

use crate::folders::{DEPTH, PLAIN, RUNS, SHARED, name_as_text};
use crate::{BlobId, CommitId, GitError, Past};

/// The most folders and files, in all versions of them.
const MOST: usize = 10_000_000;

/// What was met of a history.
#[derive(Debug, Default)]
pub struct Met {
    commits: BTreeSet<Oid>,
    /// Folders and files, by path: a path can decide what a file is.
    things: BTreeSet<(String, Oid)>,
}

impl Past {
    /// The versions of wanted files in a commit and in those that it follows on by first parents: each was the tip of
    /// its branch, or came with one that was. What was met before is left out.
    ///
    /// # Errors
    /// When an object is missing, or there are too many.
    pub fn versions(
        &self,
        tip: CommitId,
        met: &mut Met,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<(String, BlobId)>, GitError> {
        let (mut found, mut next) = (Vec::new(), Some(tip));
        while let Some(commit) = next.filter(|commit| met.commits.insert(commit.oid())) {
            let tree = self.repository.find_commit(commit.oid())?.tree_id();
            self.folder("", tree, met, wanted, &mut found)?;
            next = self.first_parent(commit)?;
        }
        Ok(found)
    }

    /// The wanted files of one commit, which may hold other things too.
    ///
    /// # Errors
    /// When an object is missing, or there are too many.
    pub fn documents(
        &self,
        commit: CommitId,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<(String, BlobId)>, GitError> {
        let (mut found, mut met) = (Vec::new(), Met::default());
        let tree = self.repository.find_commit(commit.oid())?.tree_id();
        self.folder("", tree, &mut met, wanted, &mut found)?;
        Ok(found)
    }

    fn folder(
        &self,
        prefix: &str,
        tree: Oid,
        met: &mut Met,
        wanted: &dyn Fn(&str) -> bool,
        found: &mut Vec<(String, BlobId)>,
    ) -> Result<(), GitError> {
        let is_deep = prefix.matches('/').count() > DEPTH;
        if is_deep || !met.things.insert((prefix.to_owned(), tree)) {
            return Ok(());
        }
        if met.things.len() > MOST {
            let message = format!("more than {MOST} versions of files");
            return Err(GitError::TooLarge(message));
        }
        for entry in &self.repository.find_tree(tree)? {
            // As the reconciler reads it: odd names stand for themselves, and links are no documents.
            let path = format!("{prefix}{}", name_as_text(entry.name_bytes()));
            match (entry.kind(), entry.filemode()) {
                (Some(ObjectType::Tree), _) => {
                    self.folder(&format!("{path}/"), entry.id(), met, wanted, found)?;
                }
                (Some(ObjectType::Blob), PLAIN | RUNS | SHARED)
                    if wanted(&path) && met.things.insert((path.clone(), entry.id())) =>
                {
                    found.push((path, BlobId::of(entry.id())));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{commit_files, init_repository};

    const AUTHOR: (&str, &str) = ("Ada", "ada@example.invalid");

    #[test]
    fn each_version_up_to_a_commit_is_told_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = |text: &str| BTreeMap::from([("a/b.yaml".to_owned(), text.into())]);
        init_repository(dir.path(), "main", &files("1"), "one", AUTHOR, 1).expect("made");
        let place = dir.path().display().to_string();
        let change = |text: &str, when| {
            let files = files(text).into_iter().map(|(path, it)| (path, Some(it)));
            commit_files(&place, "main", &files.collect(), "x", AUTHOR, when).expect("committed")
        };
        let past = Past::open(dir.path()).expect("opened");
        let one = past.resolve("main").expect("a commit");
        let (two, three) = (change("2", 2), change("3", 3));
        let mut met = Met::default();
        let mut texts = |tip| {
            let found = past.versions(tip, &mut met, &|path| path.ends_with(".yaml"));
            let found = found.expect("read").into_iter();
            let text = |(_, blob)| String::from_utf8(past.blob(blob).expect("read"));
            found
                .map(|it| text(it).expect("text"))
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(texts(two), BTreeSet::from(["1".into(), "2".into()]));
        assert_eq!(texts(one), BTreeSet::new());
        assert_eq!(texts(three), BTreeSet::from(["3".into()]));
    }

    /// Changes of a pull request that the merge left out were never in force.
    #[test]
    fn versions_of_a_side_branch_are_not_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = |text: &str| BTreeMap::from([("a.yaml".to_owned(), text.into())]);
        init_repository(dir.path(), "main", &files("1"), "one", AUTHOR, 1).expect("made");
        let place = dir.path().display().to_string();
        crate::create_branch(&place, "aside", "main").expect("made");
        let change = |branch: &str, text: &str| {
            let files = files(text).into_iter().map(|(path, it)| (path, Some(it)));
            commit_files(&place, branch, &files.collect(), "x", AUTHOR, 2).expect("committed")
        };
        let aside = [change("aside", "2"), change("aside", "3")][1];
        let past = Past::open(dir.path()).expect("opened");
        let main = past.resolve("main").expect("a commit");
        let find = |commit: CommitId| past.repository.find_commit(commit.oid()).expect("there");
        let (main, aside) = (find(main), find(aside));
        let who = git2::Signature::now("Ada", "ada@example.invalid").expect("a name");
        let tree = aside.tree().expect("there");
        let merge = past
            .repository
            .commit(None, &who, &who, "merge", &tree, &[&main, &aside]);
        let merge = CommitId::of(merge.expect("made"));
        let found = past
            .versions(merge, &mut Met::default(), &|_| true)
            .expect("read");
        let text = |(_, blob): (_, BlobId)| String::from_utf8(past.blob(blob).expect("read"));
        let texts: BTreeSet<_> = found
            .into_iter()
            .map(|it| text(it).expect("text"))
            .collect();
        assert_eq!(texts, BTreeSet::from(["1".into(), "3".into()]));
    }
}
