//! A commit by the name that a person gives it. Whoever serves a repository chooses the names of its branches, so that
//! what looks like the id of an object is one, and never the name of a branch.

use git2::{ErrorCode, ObjectType, Oid};

use crate::{CommitId, GitError, Past};

/// The hex digits of an id in a repository of today.
const ID: usize = 40;

/// The fewest hex digits that Git takes for the beginning of an id, and those of the longest id.
const DIGITS: std::ops::RangeInclusive<usize> = 4..=64;

impl Past {
    /// The commit behind a name: a branch here, one of `origin`, or whatever `git rev-parse` takes. Four hex digits and
    /// more are the beginning of an object's id, or the whole, and no branch's name; `refs/heads/` in front makes them one.
    ///
    /// # Errors
    /// When there is none.
    pub fn resolve(&self, name: &str) -> Result<CommitId, GitError> {
        let end = name.find(['~', '^', ':', '@']).unwrap_or(name.len());
        let (start, way) = name.split_at(end);
        let is_id = DIGITS.contains(&start.len()) && start.bytes().all(|it| it.is_ascii_hexdigit());
        let found = match is_id {
            true => self.by_id(start, way),
            false => self.by_name(name),
        };
        found?.ok_or_else(|| GitError::Objects(format!("there is no branch or commit {name}")))
    }

    /// The commit at the end of a way such as `~1` from the object with this id.
    fn by_id(&self, id: &str, way: &str) -> Result<Option<CommitId>, GitError> {
        if id.len() > ID {
            return Ok(None);
        }
        let Some(object) = found(self.repository.find_object_by_prefix(id, None))? else {
            return Ok(None);
        };
        let whole = object.id().to_string();
        let is_short = !whole.eq_ignore_ascii_case(id);
        if is_short && self.is_ref(id) {
            let message = format!(
                "{id} is the beginning of a commit's id and the name of a branch: give {whole}, or refs/heads/{id}"
            );
            return Err(GitError::Objects(message));
        }
        match way {
            "" => self.commit_of(object.id()),
            way => self.by_rule(&format!("{whole}{way}")),
        }
    }

    fn is_ref(&self, name: &str) -> bool {
        let remote = format!("origin/{name}");
        [name, &remote].iter().any(|name| {
            self.repository
                .resolve_reference_from_short_name(name)
                .is_ok()
        })
    }

    fn by_name(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        for place in ["refs/heads/", "refs/remotes/origin/", ""] {
            let name = format!("{place}{name}");
            let tip = found(self.repository.refname_to_id(&name))?;
            let commit = match tip {
                Some(tip) => self.commit_of(tip)?,
                None => self.by_rule(&name)?,
            };
            if commit.is_some() {
                return Ok(commit);
            }
        }
        Ok(None)
    }

    fn by_rule(&self, rule: &str) -> Result<Option<CommitId>, GitError> {
        match found(self.repository.revparse_single(rule))? {
            Some(object) => self.commit_of(object.id()),
            None => Ok(None),
        }
    }

    /// The commit that an object is, or that a tag is of. Whether it can be read is not asked here.
    fn commit_of(&self, object: Oid) -> Result<Option<CommitId>, GitError> {
        match self.repository.odb()?.read_header(object)?.1 {
            ObjectType::Commit => Ok(Some(CommitId::of(object))),
            ObjectType::Tag => {
                let tag = self.repository.find_tag(object)?.into_object();
                let commit = found(tag.peel(ObjectType::Commit))?;
                Ok(commit.map(|commit| CommitId::of(commit.id())))
            }
            _ => Ok(None),
        }
    }
}

/// What is there; none when nothing is by that name.
fn found<Thing>(answer: Result<Thing, git2::Error>) -> Result<Option<Thing>, GitError> {
    match answer {
        Ok(thing) => Ok(Some(thing)),
        Err(error) => match error.code() {
            ErrorCode::NotFound | ErrorCode::InvalidSpec | ErrorCode::Peel => Ok(None),
            _ => Err(error.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tempfile::TempDir;

    use super::*;
    use crate::{commit_files, init_repository};

    const AUTHOR: (&str, &str) = ("Ada", "ada@example.invalid");

    /// Two commits on `main`; the second is all that other branches lead to.
    struct Setup {
        _dir: TempDir,
        past: Past,
        first: CommitId,
        second: CommitId,
    }

    fn setup() -> Setup {
        let dir = tempfile::tempdir().expect("a folder");
        let files = BTreeMap::from([("a".to_owned(), b"1".to_vec())]);
        init_repository(dir.path(), "main", &files, "one", AUTHOR, 1).expect("made");
        let past = Past::open(dir.path()).expect("opened");
        let first = past.resolve("main").expect("a commit");
        let files = BTreeMap::from([("a".to_owned(), Some(b"2".to_vec()))]);
        let place = dir.path().display().to_string();
        commit_files(&place, "main", &files, "two", AUTHOR, 2).expect("committed");
        let second = past.resolve("main").expect("a commit");
        Setup {
            _dir: dir,
            past,
            first,
            second,
        }
    }

    impl Setup {
        /// Everything that a Git host could name so.
        fn name(&self, name: &str) {
            for place in ["refs/heads/", "refs/remotes/origin/", "refs/tags/", "refs/"] {
                let name = format!("{place}{name}");
                let made = self
                    .past
                    .repository
                    .reference(&name, self.second.oid(), true, "");
                made.expect("named");
            }
        }
    }

    #[test]
    fn a_branch_named_like_a_commit_is_not_taken_for_it() {
        let setup = setup();
        let id = setup.first.to_string();
        setup.name(&id);
        let resolve = |name: &str| setup.past.resolve(name);
        assert_eq!(resolve(&id).expect("there"), setup.first);
        assert_eq!(resolve(&id.to_uppercase()).expect("there"), setup.first);
        assert_eq!(
            resolve(&format!("{id}^{{commit}}")).expect("there"),
            setup.first
        );
        assert!(resolve(&format!("{id}~1")).is_err(), "it is the first one");
        let before = format!("{}~1", setup.second);
        assert_eq!(resolve(&before).expect("there"), setup.first);
        let named = resolve(&format!("refs/heads/{id}"));
        assert_eq!(named.expect("there"), setup.second);
    }

    #[test]
    fn a_branch_named_like_a_commit_that_is_gone_is_not_taken_for_it() {
        let setup = setup();
        for digits in [40, 64, 12, 4] {
            let id = "0123456789abcdef".repeat(4)[..digits].to_owned();
            setup.name(&id);
            let error = setup.past.resolve(&id).expect_err("it is gone").to_string();
            assert!(error.contains("no branch or commit"), "{error}");
        }
    }

    #[test]
    fn the_beginning_of_an_id_is_taken_unless_a_branch_has_that_name() {
        let setup = setup();
        let short = &setup.first.to_string()[..12];
        assert_eq!(setup.past.resolve(short).expect("there"), setup.first);
        setup.name(short);
        let error = setup
            .past
            .resolve(short)
            .expect_err("two things")
            .to_string();
        assert!(error.contains(&setup.first.to_string()), "{error}");
    }

    #[test]
    fn branches_of_the_clone_come_before_those_of_its_origin() {
        let setup = setup();
        let repository = &setup.past.repository;
        let name = |name: &str, commit: CommitId| {
            let made = repository.reference(name, commit.oid(), true, "");
            made.expect("named");
        };
        name("refs/remotes/origin/status", setup.first);
        let resolve = |name: &str| setup.past.resolve(name).expect("there");
        assert_eq!(resolve("status"), setup.first);
        name("refs/heads/status", setup.second);
        assert_eq!(resolve("status"), setup.second);
        assert_eq!(resolve("status~1"), setup.first);
        assert_eq!(resolve("origin/status"), setup.first);
    }

    #[test]
    fn a_tip_that_cannot_be_read_is_there_all_the_same() {
        let setup = setup();
        let odb = setup.past.repository.odb().expect("opened");
        let broken = odb
            .write(ObjectType::Commit, b"nothing\n")
            .expect("written");
        let place = setup.past.repository.path().join("refs/heads/broken");
        std::fs::write(place, format!("{broken}\n")).expect("written");
        let commit = setup.past.resolve("broken").expect("there");
        let error = setup.past.chain(None, commit).expect_err("nothing follows");
        assert!(error.to_string().contains("no readable commit"), "{error}");
    }
}
