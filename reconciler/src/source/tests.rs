//! The newest commit, good or not, before and after a restart.

mod drafts;
mod lost;
mod moves;

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_git::{commit_files, init_repository};
use tempfile::TempDir;

use super::*;
use crate::examples;

const AUTHOR: (&str, &str) = ("Ada", "ada@example.invalid");
const HELLO: &str = "deployments/acme/hello.yaml";

/// A state repository, and the reader that follows it.
struct Place {
    dir: TempDir,
    reader: Reader,
}

impl Place {
    /// The example, in force.
    fn example() -> (Self, CommitId) {
        let dir = tempfile::tempdir().expect("a folder");
        let files = examples::files(Some(&"ab".repeat(48)));
        let path = dir.path().join("state.git");
        init_repository(&path, "main", &files, "start", AUTHOR, 1).expect("made");
        let reader = open(&dir, None);
        let mut place = Self { dir, reader };
        let Seen::New(revision) = place.reader.look() else {
            panic!("the example is good");
        };
        let commit = revision.effective.parse().expect("a commit");
        (place, commit)
    }

    fn location(&self) -> String {
        self.dir.path().join("state.git").display().to_string()
    }

    fn restart(&mut self) {
        let last = self.reader.in_force();
        self.reader = open(&self.dir, last.as_ref());
    }

    fn commit(&self, changes: &[(&str, Option<&str>)]) -> CommitId {
        let bytes = |text: &Option<&str>| text.map(|text| text.as_bytes().to_vec());
        let changes: BTreeMap<_, _> = changes
            .iter()
            .map(|(path, text)| ((*path).to_owned(), bytes(text)))
            .collect();
        commit_files(&self.location(), "main", &changes, "a change", AUTHOR, 2).expect("committed")
    }

    /// A commit that has something in the place of a file: an object under this mode.
    fn put(&self, path: &str, mode: &str, id: &str) {
        let entry = format!("{mode},{id},{path}");
        self.git(&["read-tree", "main"]);
        self.git(&["update-index", "--add", "--cacheinfo", &entry]);
        let tree = self.git(&["write-tree"]);
        let who = [
            "-c",
            "user.name=Ada",
            "-c",
            "user.email=ada@example.invalid",
        ];
        let commit = ["commit-tree", "-p", "main", "-m", "a link", &tree];
        let commit = self.git(&[&who[..], &commit].concat());
        self.git(&["update-ref", "refs/heads/main", &commit]);
    }

    fn git(&self, args: &[&str]) -> String {
        let mut git = std::process::Command::new("git");
        let output = git.arg("-C").arg(self.location()).args(args).output();
        let output = output.expect("git runs");
        assert!(output.status.success(), "{args:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The branch begins anew, with the files that it has.
    fn begin_anew(&self) -> String {
        let who = [
            "-c",
            "user.name=Ada",
            "-c",
            "user.email=ada@example.invalid",
        ];
        let commit = ["commit-tree", "-m", "another beginning", "main^{tree}"];
        let commit = self.git(&[&who[..], &commit].concat());
        self.git(&["update-ref", "refs/heads/main", &commit]);
        commit
    }

    /// The file of an object, each of which has its own from here on.
    fn object(&self, id: &str) -> std::path::PathBuf {
        let objects = self.dir.path().join("state.git/objects");
        let aside = self.dir.path().join("packs");
        std::fs::rename(objects.join("pack"), &aside).expect("moved away");
        for file in std::fs::read_dir(&aside).expect("a folder").flatten() {
            if file.path().extension().is_some_and(|x| x == "pack") {
                let pack = std::fs::File::open(file.path()).expect("there");
                let mut git = std::process::Command::new("git");
                let git = git.arg("-C").arg(self.location());
                let done = git.args(["unpack-objects", "-q"]).stdin(pack).status();
                assert!(done.expect("git runs").success());
            }
        }
        objects.join(&id[..2]).join(&id[2..])
    }

    /// What is resumed after a restart, and why the newest commit is not in force.
    fn resumed(&mut self) -> (Revision, &'static str) {
        self.restart();
        let Seen::Resumed(revision, trouble) = self.reader.look() else {
            panic!("what was in force before is in force again");
        };
        let again = self.reader.look();
        assert!(matches!(again, Seen::Same(Some(again)) if again == trouble));
        (*revision, trouble.reason)
    }
}

fn open(dir: &TempDir, last: Option<&InForceRecord>) -> Reader {
    open_at(
        &dir.path().join("state.git").display().to_string(),
        dir,
        last,
    )
}

fn open_at(location: &str, dir: &TempDir, last: Option<&InForceRecord>) -> Reader {
    let source = Source::open(location, &dir.path().join("mirror"), "main", last);
    let reader = Arc::into_inner(source.expect("opened").reader).expect("the only one");
    reader.into_inner().expect("not poisoned")
}

#[test]
fn after_a_restart_a_refused_commit_leaves_in_force_what_was_before() {
    let (mut place, good) = Place::example();
    let paths = place.git(&["ls-tree", "-r", "--name-only", "main"]);
    let all: Vec<_> = paths.lines().map(|path| (path, None)).collect();
    let empty = place.commit(&all);
    let (revision, reason) = place.resumed();
    assert_eq!(reason, "RevisionRefused");
    assert_eq!(revision.commit, empty.to_string());
    assert_eq!(revision.effective, good.to_string());
    assert_eq!(revision.desired.deployments.len(), 2);
}

#[test]
fn after_a_restart_a_rewritten_history_or_no_branch_leaves_in_force_what_was_before() {
    let (mut place, good) = Place::example();
    let other = place.begin_anew();
    let (revision, reason) = place.resumed();
    assert_eq!((reason, revision.commit), ("HistoryRewritten", other));
    assert_eq!(revision.effective, good.to_string());
    // What is committed onto it would never come into force.
    let reader = open(&place.dir, place.reader.in_force().as_ref());
    let source = Source {
        git: reader.git.clone(),
        reader: Arc::new(Mutex::new(reader)),
    };
    let refused = source.drafted().map(|draft| draft.head());
    assert_eq!(refused.expect_err("refused").reason, "HistoryRewritten");
    place.git(&["update-ref", "-d", "refs/heads/main"]);
    let (revision, reason) = place.resumed();
    assert_eq!(
        (reason, revision.effective),
        ("BranchMissing", good.to_string())
    );
}

#[test]
fn an_error_of_git_is_no_rewritten_history() {
    let (mut place, _) = Place::example();
    let between = place.commit(&[("notes.md", Some("x"))]).to_string();
    let newest = place.commit(&[("notes.md", Some("y"))]);
    let (object, kept) = (place.object(&between), place.dir.path().join("kept"));
    std::fs::rename(&object, &kept).expect("moved away");
    let Seen::Same(Some(trouble)) = place.reader.look() else {
        panic!("the history cannot be read");
    };
    assert_eq!(trouble.reason, UNREADABLE);
    std::fs::rename(&kept, &object).expect("moved back");
    let Seen::New(revision) = place.reader.look() else {
        panic!("it is looked at again");
    };
    assert_eq!(revision.effective, newest.to_string());
}

#[test]
fn a_document_that_could_not_be_read_once_is_read_again() {
    let (mut place, _) = Place::example();
    let text = place.git(&["show", &format!("main:{HELLO}")]);
    let text = text.replace("replicas: 1", "replicas: 3");
    place.commit(&[(HELLO, Some(&text))]);
    let blob = place.git(&["rev-parse", &format!("main:{HELLO}")]);
    let (object, kept) = (place.object(&blob), place.dir.path().join("kept"));
    std::fs::rename(&object, &kept).expect("moved away");
    let replicas = |seen: Seen| {
        let Seen::New(revision) = seen else {
            panic!("the other documents are in force");
        };
        let hello = "acme/hello".parse().expect("an id");
        revision.desired.deployments[&hello].replicas
    };
    assert_eq!(replicas(place.reader.look()), 1, "the last good version");
    std::fs::rename(&kept, &object).expect("moved back");
    assert_eq!(replicas(place.reader.look()), 3);
    assert!(matches!(place.reader.look(), Seen::Same(None)));
}

/// What takes the place of a document in the tree: a link or a submodule.
#[test]
fn a_link_or_submodule_in_place_of_a_document_takes_nothing_away() {
    let (mut place, good) = Place::example();
    let link = place.git(&["rev-parse", &format!("main:{HELLO}")]);
    for (mode, id) in [("120000", link), ("160000", good.to_string())] {
        place.put(HELLO, mode, &id);
        let Seen::New(revision) = place.reader.look() else {
            panic!("the other documents are in force");
        };
        let hello = "acme/hello".parse().expect("an id");
        assert!(revision.desired.deployments.contains_key(&hello), "{mode}");
        let problems: Vec<_> = revision
            .problems
            .iter()
            .map(|it| (&*it.file, &*it.code))
            .collect();
        assert_eq!(problems, [(HELLO, "not-a-file")]);
    }
}

/// What a deployment runs, by its version.
fn runs(revision: &Revision) -> String {
    let id = "acme/hello".parse().expect("a name");
    let version = &revision.desired.deployments[&id].workload;
    serde_json::to_string(&revision.workloads[version].workload).expect("plain data")
}

#[test]
fn a_compose_file_beside_a_deployment_is_read_kept_and_given_up_with_it() {
    const FILE: &str = "deployments/acme/compose.yaml";
    let (mut place, _) = Place::example();
    let hello = "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata: { name: hello, owner: acme }\nspec:\n  \
                 workload: { compose: { source: { file: compose.yaml } } }\n  replicas: 1\n  nodeSize: tiny\n";
    let compose = "services: { web: { image: \"web:1\" } }\n";
    place.commit(&[(HELLO, Some(hello)), (FILE, Some(compose))]);
    let Seen::New(revision) = place.reader.look() else {
        panic!("a new revision");
    };
    assert_eq!(revision.problems, []);
    let first = runs(&revision);
    assert!(first.contains("web:1"), "{first}");
    place.commit(&[(FILE, Some("services: [\n"))]);
    for _ in 0..2 {
        let Seen::New(revision) = place.reader.look() else {
            panic!("a new revision");
        };
        assert_eq!(runs(&revision), first);
        let problem = &revision.problems[0];
        assert_eq!((problem.file.as_str(), problem.line), (FILE, 1));
        place.restart();
    }
    let good = place.git(&["rev-parse", &format!("main~1:{FILE}")]);
    for (mode, id, code) in [
        ("120000", &good, Some("not-a-file")),
        ("100644", &good, None),
    ] {
        place.put(FILE, mode, id);
        let Seen::New(revision) = place.reader.look() else {
            panic!("a new revision");
        };
        assert_eq!(runs(&revision), first);
        let problem = revision.problems.first();
        let found = problem.map(|it| (it.file.as_str(), it.code.as_str()));
        assert_eq!(found, code.map(|code| (FILE, code)));
    }
    place.commit(&[(FILE, Some("services: { web: { image: \"web:2\" } }\n"))]);
    let Seen::New(revision) = place.reader.look() else {
        panic!("a new revision");
    };
    assert_eq!(revision.problems, []);
    assert!(runs(&revision).contains("web:2"));
    place.commit(&[(FILE, None), (HELLO, None)]);
    let Seen::New(revision) = place.reader.look() else {
        panic!("a new revision");
    };
    assert_eq!(
        (revision.problems.len(), revision.desired.deployments.len()),
        (0, 1)
    );
}

#[test]
fn a_document_that_lies_where_none_is_read_is_a_problem_until_it_is_gone() {
    let (mut place, _) = Place::example();
    let text = place.git(&["show", &format!("main:{HELLO}")]);
    let kubernetes = "apiVersion: apps/v1\nkind: Deployment\n";
    let misspelt = "deployment/acme/hello.yaml";
    place.commit(&[
        (misspelt, Some(&text)),
        (HELLO, None),
        ("charts/a.yaml", Some(kubernetes)),
    ]);
    for round in ["1", "2"] {
        let Seen::New(revision) = place.reader.look() else {
            panic!("the others are in force");
        };
        let named: Vec<_> = revision
            .problems
            .iter()
            .map(|problem| &problem.file)
            .collect();
        assert_eq!(named, [misspelt]);
        assert!(revision.problems[0].message.contains(HELLO));
        assert_eq!(
            revision.desired.deployments.len(),
            1,
            "what is not read does not count"
        );
        place.commit(&[("notes.md", Some(round))]);
    }
    place.commit(&[(HELLO, Some(&text)), (misspelt, None)]);
    let Seen::New(revision) = place.reader.look() else {
        panic!("it is back");
    };
    assert_eq!(revision.problems, vec![]);
}

/// Whoever can write the status branch names commits there, so a branch that nobody has merged must not count.
#[test]
fn an_earlier_version_is_found_in_the_history_of_what_is_in_force_and_nowhere_else() {
    let (mut place, good) = Place::example();
    let text = place.git(&["show", &format!("main:{HELLO}")]);
    let hello = "acme/hello".parse().expect("an id");
    let mut versions = Vec::new();
    for change in ["350ms", "450ms", "550ms"] {
        let text = text.replace("250ms", change);
        let commit = place.commit(&[(HELLO, Some(&text))]);
        let Seen::New(revision) = place.reader.look() else {
            panic!("a new revision");
        };
        versions.push((commit, revision.desired.deployments[&hello].workload));
    }
    // The last one is taken back from the branch: only a commit beside it holds that version.
    let (aside, unmerged) = versions.pop().expect("three");
    let back = versions.last().expect("two").0.to_string();
    place.git(&["update-ref", "refs/heads/aside", &aside.to_string()]);
    place.git(&["update-ref", "refs/heads/main", &back]);
    let mut reader = open(&place.dir, None);
    assert!(matches!(reader.look(), Seen::New(_)));
    let source = Source {
        git: reader.git.clone(),
        reader: Arc::new(Mutex::new(reader)),
    };
    let (first, older) = versions[0];
    let wanted = [older, unmerged].into();
    let commits = [aside, good, first].map(|commit| commit.to_string());
    let past = source.found(&wanted, &commits);
    assert_eq!(past.versions.into_keys().collect::<Vec<_>>(), [older]);
    assert_eq!(past.read, commits.into());
    // One that is not there, and nothing that could be one.
    let first = first.to_string();
    let commits = ["ab".repeat(20), "HEAD".into(), first.clone()];
    let past = source.found(&wanted, &commits);
    assert_eq!(past.versions.into_keys().collect::<Vec<_>>(), [older]);
    assert_eq!(past.read, commits.into());
    assert_eq!(past.failed, BTreeSet::new());
    // As many as are read at a time, and the rest is left for the next.
    let many: Vec<_> = (0..older::MOST)
        .map(|number| format!("no commit {number}"))
        .collect();
    let past = source.found(&wanted, &[many, vec![first]].concat());
    assert!(past.versions.is_empty() && past.read.len() == older::MOST);
}
