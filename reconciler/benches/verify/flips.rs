//! Changes one bit of the past so that Git finds nothing wrong: the object is written anew, and so are the trees and
//! commits above it, with their messages and signatures as they were. Then the branch ends there, or all commits that
//! follow are written anew too; what was changed stays so in them until one of them writes it anew.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Odb, Oid, Repository};

use crate::maker::Random;

/// Alters copies of the status branch of a clone.
pub(crate) struct Flipper {
    repository: Repository,
    /// Oldest first.
    chain: Vec<Oid>,
    random: Random,
}

/// How much is written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The commit with the change, which is the last one then.
    One,
    /// All that follow too.
    Rest,
}

/// One bit, and where it was.
pub(crate) struct Flip {
    /// A repository whose branch `status` has it.
    pub(crate) repository: PathBuf,
    /// The commit in which it was changed, as it is now.
    pub(crate) commit: String,
    /// The file; any of these names counts. None when it is in the commit itself.
    pub(crate) paths: Vec<String>,
    /// What was changed.
    pub(crate) kind: &'static str,
    /// The commit before, where nothing but the commit with the change is to be looked at.
    pub(crate) after: Option<String>,
}

/// What can be changed.
const KINDS: [&str; 12] = [
    "README.md",
    "SHA256SUMS",
    "agents/",
    "agents/",
    "capacity/",
    "deployments/",
    "evidence/",
    "evidence/",
    "fleet.yaml",
    "orders/",
    "a name",
    "the commit",
];

impl Flipper {
    pub(crate) fn open(clone: &Path, seed: u64) -> Self {
        let repository = Repository::open(clone).expect("opened");
        let mut chain = Vec::new();
        let mut next = repository
            .refname_to_id("refs/heads/status")
            .or_else(|_| repository.refname_to_id("refs/remotes/origin/status"))
            .ok();
        while let Some(commit) = next {
            chain.push(commit);
            let commit = repository.find_commit(commit).expect("there");
            next = commit.parent_ids().next();
        }
        chain.reverse();
        Self {
            repository,
            chain,
            random: Random::new(seed),
        }
    }

    /// Alters a copy in this folder.
    pub(crate) fn flip(&mut self, dir: &Path, extent: Extent) -> Flip {
        let copy = Repository::init_bare(dir).expect("made");
        let objects = self.repository.path().join("objects");
        let info = dir.join("objects/info");
        std::fs::create_dir_all(&info).expect("made");
        let line = format!("{}\n", objects.display());
        std::fs::write(info.join("alternates"), line).expect("written");
        drop(copy);
        let copy = Repository::open(dir).expect("opened");
        let main = self.repository.refname_to_id("refs/heads/main");
        copy.reference("refs/heads/main", main.expect("there"), true, "")
            .expect("named");
        let odb = copy.odb().expect("opened");
        let at = self.random.below(self.chain.len());
        let kind = KINDS[self.random.below(KINDS.len())];
        let change = match kind {
            "the commit" => Change::default(),
            "a name" => self.name(&odb, self.chain[at]),
            kind => self.file(&odb, self.chain[at], kind),
        };
        let end = match extent {
            Extent::One => at + 1,
            Extent::Rest => self.chain.len(),
        };
        let (first, tip) = self.rewrite(&odb, at..end, &change);
        let before = at.checked_sub(1).filter(|_| extent == Extent::One);
        copy.reference("refs/heads/status", tip, true, "")
            .expect("named");
        Flip {
            repository: dir.to_path_buf(),
            commit: first.to_string(),
            kind,
            after: before.map(|before| self.chain[before].to_string()),
            paths: change.paths,
        }
    }

    /// A bit of a file's bytes.
    fn file(&mut self, odb: &Odb<'_>, commit: Oid, kind: &str) -> Change {
        let mut files = Vec::new();
        list(odb, tree(odb, commit), "", &mut files);
        files.retain(|(path, _)| path.starts_with(kind));
        let (path, blob) = files.swap_remove(self.random.below(files.len()));
        let mut bytes = odb.read(blob).expect("there").data().to_vec();
        let at = self.random.below(bytes.len());
        bytes[at] ^= 1 << self.random.below(8);
        Change {
            new: Some(odb.write(ObjectType::Blob, &bytes).expect("written")),
            old: Some(blob),
            at: path.clone(),
            paths: vec![path],
        }
    }

    /// A bit of a file's name, such that it still is one.
    fn name(&mut self, odb: &Odb<'_>, commit: Oid) -> Change {
        let mut files = Vec::new();
        list(odb, tree(odb, commit), "", &mut files);
        loop {
            let (path, _) = &files[self.random.below(files.len())];
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let old = find(odb, tree(odb, commit), folder).expect("there");
            let entries = entries(odb, old);
            let mut new = name.as_bytes().to_vec();
            let at = self.random.below(new.len());
            new[at] ^= 1 << self.random.below(5);
            let is_name = new[at].is_ascii_alphanumeric();
            let Some(new) = String::from_utf8(new).ok().filter(|_| is_name) else {
                continue;
            };
            if entries.contains_key(&key(&new, false)) || entries.contains_key(&key(&new, true)) {
                continue;
            }
            let mut entries = entries.clone();
            let mut entry = entries.remove(&key(name, false)).expect("there");
            entry.1.clone_from(&new);
            entries.insert(key(&new, false), entry);
            let other = path.strip_suffix(name).expect("its name").to_owned() + &new;
            return Change {
                new: Some(write(odb, &entries)),
                old: Some(old),
                at: folder.to_owned(),
                paths: vec![path.clone(), other],
            };
        }
    }

    /// The commit with the change, which is the first of these, and the new tip.
    fn rewrite(&mut self, odb: &Odb<'_>, which: Range<usize>, change: &Change) -> (Oid, Oid) {
        let mut lasts = true;
        let (mut first, mut before) = (None, None::<(Oid, Oid)>);
        for number in which {
            let old = self.chain[number];
            let bytes = odb.read(old).expect("there").data().to_vec();
            let mut text = String::from_utf8(bytes).expect("text");
            if let Some((old, new)) = before {
                text = text.replacen(&format!("parent {old}"), &format!("parent {new}"), 1);
            }
            let root = tree(odb, old);
            lasts = lasts
                && change
                    .old
                    .is_some_and(|it| find(odb, root, &change.at) == Some(it));
            if let Some(new) = change.new.filter(|_| lasts) {
                let new = replaced(odb, root, &change.at, new);
                text = text.replacen(&format!("tree {root}"), &format!("tree {new}"), 1);
            }
            if first.is_none() && change.old.is_none() {
                text = self.reworded(text);
            }
            let new = odb.write(ObjectType::Commit, text.as_bytes());
            let new = new.expect("written");
            first.get_or_insert(new);
            before = Some((old, new));
        }
        (first.expect("one"), before.expect("one").1)
    }

    /// A letter or digit of the names, times, signature or message is another one.
    fn reworded(&mut self, text: String) -> String {
        let start = text.find("author ").expect("somebody's");
        let mut bytes = text.into_bytes();
        loop {
            let at = start + self.random.below(bytes.len() - start);
            let new = bytes[at] ^ 1 << self.random.below(5);
            let plain = bytes[at].is_ascii_alphanumeric() && new.is_ascii_alphanumeric();
            if plain && !is_frame(&bytes, at) {
                bytes[at] = new;
                return String::from_utf8(bytes).expect("text");
            }
        }
    }
}

/// Whether Git itself knows what is what by this byte: the first word of a header, and the lines around a signature.
fn is_frame(bytes: &[u8], at: usize) -> bool {
    let before = bytes[..at]
        .iter()
        .rev()
        .take_while(|byte| **byte != b'\n')
        .count();
    let line = &bytes[at - before..];
    let headers = ["author ", "committer "];
    let in_word = |word: &&str| line.starts_with(word.as_bytes()) && before < word.len();
    line.starts_with(b" -----") || line.starts_with(b"gpgsig") || headers.iter().any(in_word)
}

/// An object at a path that is another one now. Without one, the commit itself is changed.
#[derive(Default)]
struct Change {
    at: String,
    old: Option<Oid>,
    new: Option<Oid>,
    paths: Vec<String>,
}

/// By name, that of a folder with a slash after it, which is Git's order: mode, name and id.
type Entries = BTreeMap<Vec<u8>, (String, String, Oid)>;

fn key(name: &str, folder: bool) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.extend(folder.then_some(b'/'));
    key
}

fn entries(odb: &Odb<'_>, tree: Oid) -> Entries {
    let object = odb.read(tree).expect("there");
    let (mut found, mut rest) = (Entries::new(), object.data());
    while !rest.is_empty() {
        let zero = rest
            .iter()
            .position(|byte| *byte == 0)
            .expect("a name ends");
        let head = std::str::from_utf8(&rest[..zero]).expect("text");
        let (mode, name) = head.split_once(' ').expect("a mode");
        let id = Oid::from_bytes(&rest[zero + 1..zero + 21]).expect("an id");
        let entry = (mode.to_owned(), name.to_owned(), id);
        found.insert(key(name, mode == "40000"), entry);
        rest = &rest[zero + 21..];
    }
    found
}

fn write(odb: &Odb<'_>, entries: &Entries) -> Oid {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries.values() {
        bytes.extend(format!("{mode} {name}\0").bytes());
        bytes.extend(id.as_bytes());
    }
    odb.write(ObjectType::Tree, &bytes).expect("written")
}

fn tree(odb: &Odb<'_>, commit: Oid) -> Oid {
    let object = odb.read(commit).expect("there");
    let text = std::str::from_utf8(&object.data()[5..45]).expect("text");
    Oid::from_str(text).expect("an id")
}

/// The files below a tree, by path.
fn list(odb: &Odb<'_>, tree: Oid, prefix: &str, files: &mut Vec<(String, Oid)>) {
    for (mode, name, id) in entries(odb, tree).into_values() {
        let path = format!("{prefix}{name}");
        match mode.as_str() {
            "40000" => list(odb, id, &format!("{path}/"), files),
            _ => files.push((path, id)),
        }
    }
}

/// What is at a path below a tree: itself without one.
fn find(odb: &Odb<'_>, tree: Oid, path: &str) -> Option<Oid> {
    path.split('/')
        .filter(|name| !name.is_empty())
        .try_fold(tree, |tree, name| {
            let entries = entries(odb, tree);
            let entry = entries
                .get(&key(name, true))
                .or(entries.get(&key(name, false)));
            entry.map(|(.., id)| *id)
        })
}

/// A tree with something else at a path.
fn replaced(odb: &Odb<'_>, tree: Oid, path: &str, new: Oid) -> Oid {
    if path.is_empty() {
        return new;
    }
    let (name, rest) = path.split_once('/').unwrap_or((path, ""));
    let mut entries = entries(odb, tree);
    let is_folder = entries.contains_key(&key(name, true));
    let entry = entries.get_mut(&key(name, is_folder)).expect("there");
    entry.2 = replaced(odb, entry.2, rest, new);
    write(odb, &entries)
}
