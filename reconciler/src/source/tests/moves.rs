//! What `git mv` and an edit do in one commit, as it is seen at once, after a restart, and with the store lost.

use easyenclave_plan::Frozen;

use super::*;

const AGAIN: &str = "deployments/acme/hello-again.yaml";
const FILE: &str = "deployments/acme/compose.yaml";
const MOVED: &str = "deployments/acme/sub/web.yaml";
const MOVED_FILE: &str = "deployments/acme/sub/compose.yaml";
const GARBAGE: &str = "kind: [";

const COMPOSED: &str = "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata: { name: hello, owner: acme }\nspec:\n  \
                        workload: { compose: { source: { file: compose.yaml } } }\n  replicas: 1\n  nodeSize: tiny\n";
const COMPOSE: &str = "services: { web: { image: \"web:1\" } }\n";

type Changes = Vec<(&'static str, Option<String>)>;

struct Story {
    name: &'static str,
    /// Commits that are seen one by one.
    before: Vec<Changes>,
    /// The one that breaks something.
    last: Changes,
}

fn story(name: &'static str, before: Vec<Changes>, last: Changes) -> Story {
    Story { name, before, last }
}

fn removed(path: &'static str) -> (&'static str, Option<String>) {
    (path, None)
}

fn written(path: &'static str, text: &str) -> (&'static str, Option<String>) {
    (path, Some(text.to_owned()))
}

fn stories(hello: &str, again: &str) -> Vec<Story> {
    let broken = hello.replace("replicas: 1", "replicas: one");
    let old = hello.replace("name: hello", "name: old");
    let composed = || vec![written(HELLO, COMPOSED), written(FILE, COMPOSE)];
    let moved = |text: &str| vec![removed(HELLO), written(MOVED, text)];
    vec![
        story("moved and garbage", vec![], moved(GARBAGE)),
        story("moved and broken", vec![], moved(&broken)),
        story(
            "moved while it was broken",
            vec![vec![written(HELLO, GARBAGE)]],
            moved(GARBAGE),
        ),
        story(
            "moved to where another was before",
            vec![vec![written(MOVED, &old)], vec![removed(MOVED)]],
            moved(GARBAGE),
        ),
        story(
            "moved onto another",
            vec![],
            vec![removed(HELLO), written(AGAIN, GARBAGE)],
        ),
        story(
            "swapped and one broken",
            vec![],
            vec![written(HELLO, again), written(AGAIN, &broken)],
        ),
        story(
            "swapped and one garbage",
            vec![],
            vec![written(HELLO, again), written(AGAIN, GARBAGE)],
        ),
        story(
            "moved with a Compose file that breaks",
            vec![composed()],
            [
                moved(COMPOSED),
                vec![removed(FILE), written(MOVED_FILE, GARBAGE)],
            ]
            .concat(),
        ),
        story(
            "moved without its Compose file",
            vec![composed()],
            moved(COMPOSED),
        ),
    ]
}

/// The deployments that are wanted, and those that are not touched.
fn known(revision: &Revision) -> String {
    let desired = &revision.desired;
    let wanted = desired.deployments.keys().map(|id| format!("{id};"));
    let frozen = desired.frozen.keys().filter_map(|frozen| match frozen {
        Frozen::Deployment(id) => Some(format!("{id};")),
        Frozen::Target(_) => None,
    });
    wanted.chain(frozen).collect()
}

impl Place {
    fn commit_all(&self, changes: &Changes) {
        let changes = changes.iter().map(|(path, text)| (*path, text.as_deref()));
        self.commit(&changes.collect::<Vec<_>>());
    }

    /// The next revision, and the one after a restart, and another one.
    fn keeps(&mut self, names: [&str; 2], story: &str) {
        for _ in 0..3 {
            let Seen::New(revision) = self.reader.look() else {
                panic!("{story}: the others are in force");
            };
            let known = known(&revision);
            for name in names {
                assert!(
                    known.contains(&format!("{name};")),
                    "{story}: no {name} in {known}"
                );
            }
            self.restart();
        }
    }
}

#[test]
fn a_document_that_moves_and_breaks_in_one_commit_is_no_removal() {
    let (place, _) = Place::example();
    let text = |path: &str| place.git(&["show", &format!("main:{path}")]);
    for Story { name, before, last } in stories(&text(HELLO), &text(AGAIN)) {
        for how in ["at once", "after a restart", "with the store lost"] {
            let (mut place, _) = Place::example();
            for changes in &before {
                place.commit_all(changes);
                assert!(matches!(place.reader.look(), Seen::New(_)));
            }
            let reported = place.git(&["rev-parse", "main"]);
            place.commit_all(&last);
            match how {
                "after a restart" => place.restart(),
                "with the store lost" => {
                    place.reader = open(&place.dir, None);
                    place.reader.reported = reported.parse().ok();
                }
                _ => {}
            }
            place.keeps(
                ["acme/hello", "acme/hello-again"],
                &format!("{name}, {how}"),
            );
        }
    }
}

#[test]
fn nothing_is_taken_for_removed_while_what_was_in_force_cannot_be_read() {
    let (mut place, good) = Place::example();
    place.commit_all(&vec![removed(HELLO), written(MOVED, GARBAGE)]);
    place.restart();
    let tree = place.git(&["rev-parse", &format!("{good}^{{tree}}")]);
    let (object, kept) = (place.object(&tree), place.dir.path().join("kept"));
    std::fs::rename(&object, &kept).expect("moved away");
    let Seen::Same(Some(trouble)) = place.reader.look() else {
        panic!("nobody can tell what was in force");
    };
    assert_eq!(trouble.reason, UNREADABLE);
    std::fs::rename(&kept, &object).expect("moved back");
    place.keeps(["acme/hello", "acme/hello-again"], "once it can be");
}

/// With the store or without it; status tells that there is such a deployment.
#[test]
fn a_document_whose_blob_is_lost_is_no_removal_when_it_moves_and_breaks() {
    let lies = "deployments/acme/sub/some.yaml";
    for is_known in [false, true] {
        let (mut place, _) = Place::example();
        let text = place.git(&["show", &format!("main:{HELLO}")]);
        let good = place.commit(&[(HELLO, None), (lies, Some(&text))]);
        assert!(matches!(place.reader.look(), Seen::New(_)));
        let blob = place.git(&["rev-parse", &format!("{good}:{lies}")]);
        place.commit_all(&vec![
            removed("deployments/acme/sub/some.yaml"),
            written(MOVED, GARBAGE),
        ]);
        match is_known {
            true => place.restart(),
            false => place.reader = open(&place.dir, None),
        }
        place.reader.reported = Some(good);
        place.reader.kept = vec![Identity {
            kind: easyenclave_schemas::documents::Kind::Deployment,
            owner: Some("acme".into()),
            name: "hello".into(),
        }];
        std::fs::remove_file(place.object(&blob)).expect("lost");
        place.keeps(["acme/hello", "acme/hello-again"], "its blob is lost");
        place.commit(&[(MOVED, None)]);
        let Seen::New(revision) = place.reader.look() else {
            panic!("a new revision");
        };
        assert_eq!(known(&revision), "acme/hello-again;", "it is removed");
    }
}

#[test]
fn a_file_in_a_misspelt_folder_is_named_as_what_holds_a_removal_back() {
    let (mut place, _) = Place::example();
    let text = place.git(&["show", &format!("main:{HELLO}")]);
    place.commit(&[(HELLO, None), ("deploymets/acme/hello.yaml", Some(&text))]);
    for how in ["at once", "after a restart", "with the store lost"] {
        match how {
            "after a restart" => place.restart(),
            "with the store lost" => {
                let kept = Identity {
                    kind: easyenclave_schemas::documents::Kind::Deployment,
                    owner: Some("acme".into()),
                    name: "hello".into(),
                };
                place.reader = open(&place.dir, None);
                place.reader.reported = place.git(&["rev-parse", "main"]).parse().ok();
                place.reader.kept = vec![kept];
            }
            _ => {}
        }
        let Seen::New(revision) = place.reader.look() else {
            panic!("the others are in force");
        };
        let [problem] = &revision.problems[..] else {
            panic!("{how}: {:?}", revision.problems);
        };
        let said = "it holds the removal of Deployment acme/hello";
        assert!(problem.message.contains(said), "{how}: {}", problem.message);
        let hello = Frozen::Deployment("acme/hello".parse().expect("an id"));
        let why = "Deployment acme/hello may be in deploymets/acme/hello.yaml, where it counts for nothing";
        let found = revision.desired.frozen.get(&hello);
        assert_eq!(found.map(String::as_str), Some(why), "{how}");
    }
}
