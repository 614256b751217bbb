//! Trees as they are in the object database, read strictly: what no ledger would have written is an error. Tells what
//! differs between two trees, reading no folder that is the same in both.

use std::collections::BTreeMap;

use git2::{ObjectType, Odb, Oid};

use crate::GitError;
use crate::folders::DEPTH;

/// The modes that a ledger writes.
const FOLDER: &[u8] = b"40000";
const FILE: &[u8] = b"100644";

/// The most files that may differ between two trees.
const MOST: usize = 1_000_000;

/// Files that differ, by path: the blob before, and the blob after.
pub(crate) type Differences = BTreeMap<String, (Option<Oid>, Option<Oid>)>;

/// A tree that no ledger wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Odd {
    /// Where.
    pub(crate) path: String,
    /// What is odd.
    pub(crate) why: String,
}

/// Why two trees cannot be told apart.
#[derive(Debug)]
pub(crate) enum Unread {
    Git(GitError),
    Odd(Odd),
}

impl From<Unread> for GitError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Git(error) => error,
            Unread::Odd(Odd { path, why }) => Self::Objects(format!("{path:?} {why}")),
        }
    }
}

impl From<GitError> for Unread {
    fn from(error: GitError) -> Self {
        Self::Git(error)
    }
}

/// The files that differ. No tree stands for an empty one.
pub(crate) fn differences(
    odb: &Odb<'_>,
    before: Option<Oid>,
    after: Option<Oid>,
) -> Result<Differences, Unread> {
    let mut found = Differences::new();
    folder(odb, "", (before, after), 0, &mut found)?;
    Ok(found)
}

type Sides = (Option<Oid>, Option<Oid>);

fn folder(
    odb: &Odb<'_>,
    prefix: &str,
    sides: Sides,
    depth: usize,
    found: &mut Differences,
) -> Result<(), Unread> {
    if sides.0 == sides.1 {
        return Ok(());
    }
    if depth > DEPTH || found.len() > MOST {
        let message = "more differs than a ledger would write".into();
        return Err(GitError::TooLarge(message).into());
    }
    let (before, after) = (
        entries(odb, prefix, sides.0)?,
        entries(odb, prefix, sides.1)?,
    );
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        let path = format!("{prefix}{name}");
        let of = |side: &BTreeMap<String, Entry>, kind| {
            side.get(name)
                .filter(|entry| entry.is_folder == kind)
                .map(|entry| entry.id)
        };
        let files = (of(&before, false), of(&after, false));
        if files.0 != files.1 {
            found.insert(path.clone(), files);
        }
        let folders = (of(&before, true), of(&after, true));
        folder(odb, &format!("{path}/"), folders, depth + 1, found)?;
    }
    Ok(())
}

struct Entry {
    is_folder: bool,
    id: Oid,
}

fn entries(
    odb: &Odb<'_>,
    prefix: &str,
    tree: Option<Oid>,
) -> Result<BTreeMap<String, Entry>, Unread> {
    let Some(tree) = tree else {
        return Ok(BTreeMap::new());
    };
    let odd = |name: &str, why: &str| {
        let (path, why) = (format!("{prefix}{name}"), why.to_owned());
        Unread::Odd(Odd { path, why })
    };
    let unread = |error| odd("", &GitError::from(error).to_string());
    let object = odb.read(tree).map_err(unread)?;
    if object.kind() != ObjectType::Tree {
        return Err(odd("", "is no folder"));
    }
    let (mut found, mut rest, mut last) = (BTreeMap::new(), object.data(), Vec::new());
    while !rest.is_empty() {
        let (Raw { mode, name, id }, left) =
            next(rest).ok_or_else(|| odd("", "is no readable folder"))?;
        rest = left;
        let text =
            std::str::from_utf8(name).map_err(|_| odd("", "holds a name that is no text"))?;
        let is_folder = match mode {
            FOLDER => true,
            FILE => false,
            _ => return Err(odd(text, "is neither a plain file nor a folder")),
        };
        // Git sorts a folder as if its name ended with a slash.
        let mut key = name.to_vec();
        key.extend(is_folder.then_some(b'/'));
        if text.is_empty() || text.contains('/') || key <= last {
            return Err(odd(text, "is out of order"));
        }
        last = key;
        if found
            .insert(text.to_owned(), Entry { is_folder, id })
            .is_some()
        {
            return Err(odd(text, "is there twice"));
        }
    }
    Ok(found)
}

/// An entry as its bytes.
struct Raw<'a> {
    mode: &'a [u8],
    name: &'a [u8],
    id: Oid,
}

/// The first entry of a tree object, and what follows it.
fn next(bytes: &[u8]) -> Option<(Raw<'_>, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let (mode, rest) = (&bytes[..space], &bytes[space + 1..]);
    let zero = rest.iter().position(|byte| *byte == 0)?;
    let (name, rest) = (&rest[..zero], &rest[zero + 1..]);
    let (id, rest) = rest.split_at_checked(20)?;
    let id = Oid::from_bytes(id).ok()?;
    Some((Raw { mode, name, id }, rest))
}

#[cfg(test)]
mod tests {
    use git2::Repository;

    use super::*;

    fn tree(repository: &Repository, entries: &[(&str, &str, Oid)]) -> Oid {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend(format!("{mode} {name}\0").bytes());
            bytes.extend(id.as_bytes());
        }
        let odb = repository.odb().expect("opened");
        odb.write(ObjectType::Tree, &bytes).expect("written")
    }

    #[test]
    fn what_differs_is_told_by_path() {
        let dir = tempfile::tempdir().expect("a folder");
        let repository = Repository::init_bare(dir.path()).expect("made");
        let (one, two) = (repository.blob(b"1"), repository.blob(b"2"));
        let (one, two) = (one.expect("written"), two.expect("written"));
        let inner = tree(&repository, &[("100644", "c", one), ("100644", "d", one)]);
        let other = tree(&repository, &[("100644", "c", two), ("100644", "e", one)]);
        let before = tree(&repository, &[("100644", "a", one), ("40000", "b", inner)]);
        let after = tree(&repository, &[("100644", "a", one), ("40000", "b", other)]);
        let odb = repository.odb().expect("opened");
        let found = differences(&odb, Some(before), Some(after)).expect("read");
        let expected = [
            ("b/c", (Some(one), Some(two))),
            ("b/d", (Some(one), None)),
            ("b/e", (None, Some(one))),
        ];
        let expected = expected.map(|(path, sides)| (path.to_owned(), sides));
        assert_eq!(found, BTreeMap::from(expected));
        assert_eq!(differences(&odb, None, Some(after)).expect("read").len(), 3);
    }

    #[test]
    fn what_no_ledger_writes_is_odd() {
        let dir = tempfile::tempdir().expect("a folder");
        let repository = Repository::init_bare(dir.path()).expect("made");
        let one = repository.blob(b"1").expect("written");
        let odb = repository.odb().expect("opened");
        for (entries, why) in [
            (&[("100755", "a", one)] as &[_], "neither a plain file"),
            (&[("160000", "a", one)], "neither a plain file"),
            (&[("040000", "a", one)], "neither a plain file"),
            (
                &[("100644", "b", one), ("100644", "a", one)],
                "out of order",
            ),
            (
                &[("100644", "a", one), ("100644", "a", one)],
                "out of order",
            ),
            (&[("100644", "a", one), ("40000", "a", one)], "there twice"),
            (&[("40000", "a", one)], "is no folder"),
        ] {
            let tree = tree(&repository, entries);
            let error = differences(&odb, None, Some(tree)).expect_err("odd");
            let text = format!("{error:?}");
            assert!(text.contains(why), "{text}");
        }
    }
}
