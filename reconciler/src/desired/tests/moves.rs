//! Files that move, swap places, take one another's and break on the way, over restarts. Nothing but a removal that can be
//! seen is a removal.

use std::collections::BTreeSet;

use easyenclave_schemas::documents::{Identity, Kind};

use super::*;

const GARBAGE: &str = "kind: [";

/// Deployments that are wanted, and those that are not touched.
fn known(loaded: &Loaded) -> (BTreeSet<String>, BTreeSet<String>) {
    let desired = &loaded.model.as_ref().expect("a model").desired;
    let wanted = desired.deployments.keys().map(ToString::to_string);
    let frozen = desired.frozen.keys().filter_map(|frozen| match frozen {
        Frozen::Deployment(id) => Some(id.to_string()),
        Frozen::Target(_) => None,
    });
    (wanted.collect(), frozen.collect())
}

/// At every load, before restarts and after them, none of these is taken for removed.
fn nothing_is_removed(story: &mut Story, names: &[&str]) {
    for round in 0..3 {
        let loaded = story.load();
        let (wanted, frozen) = known(&loaded);
        for name in names {
            let is_known = wanted.contains(*name) || frozen.contains(*name);
            assert!(is_known, "{name} in round {round}:\n{}", show(&loaded));
        }
        story.resume();
    }
}

const BOTH: [&str; 2] = ["acme/hello", "acme/hello-again"];

fn swapped() -> Story {
    let mut story = Story::example();
    let (hello, again) = (story.tree[HELLO].clone(), story.tree[AGAIN].clone());
    story.write(HELLO, &again);
    story.write(AGAIN, &hello);
    story
}

#[test]
fn two_documents_that_change_places_are_as_they_were() {
    let before = show(&Story::example().load());
    let mut story = swapped();
    for _ in 0..2 {
        assert_eq!(show(&story.load()), before);
        story.resume();
    }
}

#[test]
fn of_two_that_change_places_one_that_breaks_keeps_its_own_version() {
    let mut story = swapped();
    story.edit(AGAIN, "replicas: 1", "replicas: one");
    story.check_over_restarts(expect![[r#"
        deployments/acme/hello-again.yaml:11:13: `spec.replicas`: expected a whole number from 0 to 100000, found the text "one" (the last good version stays in force)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn of_two_that_change_places_one_that_becomes_garbage_is_no_removal() {
    let mut story = swapped();
    story.write(AGAIN, GARBAGE);
    nothing_is_removed(&mut story, &BOTH);
}

#[test]
fn of_two_that_change_places_both_may_break() {
    for (first, second) in [(GARBAGE, GARBAGE), ("", GARBAGE), (GARBAGE, ""), ("", "")] {
        let mut story = swapped();
        for (path, text) in [(HELLO, first), (AGAIN, second)] {
            match text {
                "" => story.edit(path, "replicas:", "replica:"),
                text => story.write(path, text),
            }
        }
        nothing_is_removed(&mut story, &BOTH);
    }
}

#[test]
fn a_file_that_breaks_as_it_moves_where_another_one_was_before_is_no_removal() {
    let mut story = Story::example();
    let other = story.tree[HELLO].replace("name: hello", "name: old");
    story.write("deployments/acme/frontend.yaml", &other);
    story.load();
    story.remove("deployments/acme/frontend.yaml");
    story.load();
    story.remove(HELLO);
    story.write("deployments/acme/frontend.yaml", GARBAGE);
    story.check_over_restarts(expect![[r#"
        deployments/acme/frontend.yaml:1:7: not valid YAML: unclosed bracket '[' (nothing of it is touched)
        deployment acme/hello-again x2
        target tiny of 32 tiny
        frozen deployment acme/frontend
        frozen deployment acme/hello
        owner acme 20
    "#]]);
}

#[test]
fn a_file_that_breaks_as_it_moves_onto_another_one_is_no_removal_of_either() {
    let mut story = Story::example();
    story.remove(HELLO);
    story.write(AGAIN, GARBAGE);
    nothing_is_removed(&mut story, &BOTH);
}

#[test]
fn a_file_that_breaks_as_it_moves_makes_room_for_another_one() {
    let mut story = Story::example();
    let third = story.tree[HELLO].replace("name: hello", "name: third");
    story.write("deployments/acme/frontend.yaml", GARBAGE);
    story.write(HELLO, &third);
    nothing_is_removed(
        &mut story,
        &["acme/hello", "acme/hello-again", "acme/third"],
    );
    // Once more, in the place of what is missed already.
    story.write("deployments/acme/more.yaml", GARBAGE);
    let fourth = third.replace("name: third", "name: fourth");
    story.write(HELLO, &fourth);
    nothing_is_removed(
        &mut story,
        &[
            "acme/hello",
            "acme/hello-again",
            "acme/third",
            "acme/fourth",
        ],
    );
    story.remove("deployments/acme/frontend.yaml");
    story.remove("deployments/acme/more.yaml");
    story.check_over_restarts(expect![[r#"
        deployment acme/fourth x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_file_that_moved_while_it_was_broken_is_no_removal() {
    let mut story = Story::example();
    story.write(HELLO, GARBAGE);
    nothing_is_removed(&mut story, &BOTH);
    story.remove(HELLO);
    story.write("deployments/acme/a.yaml", GARBAGE);
    nothing_is_removed(&mut story, &BOTH);
    story.remove("deployments/acme/a.yaml");
    story.write("deployments/acme/b/c.yaml", GARBAGE);
    nothing_is_removed(&mut story, &BOTH);
}

/// What a target may lie in is no folder of its own.
#[test]
fn a_target_that_breaks_as_it_moves_to_another_folder_is_no_removal() {
    let mut story = Story::example();
    story.remove(TINY);
    story.write("policies/tiny.yaml", GARBAGE);
    story.check_over_restarts(expect![[r#"
        policies/tiny.yaml:1:7: not valid YAML: unclosed bracket '[' (what depends on it is not touched)
        deployment acme/hello x1
        deployment acme/hello-again x2
        frozen target tiny
        owner acme 20
    "#]]);
}

/// It was renamed or moved: as long as nobody can tell, what was there before is left alone.
#[test]
fn a_file_that_moves_under_another_name_and_breaks_or_is_refused_is_no_removal() {
    for (from, to) in [
        ("replicas: 1", "replica: 1"),
        ("replicas: 1", "replicas: 99"),
    ] {
        let mut story = Story::example();
        story.copy(HELLO, "deployments/acme/third.yaml");
        story.edit("deployments/acme/third.yaml", "name: hello", "name: third");
        story.edit("deployments/acme/third.yaml", from, to);
        story.remove(HELLO);
        nothing_is_removed(
            &mut story,
            &["acme/hello", "acme/hello-again", "acme/third"],
        );
        story.edit("deployments/acme/third.yaml", to, from);
        let (wanted, frozen) = known(&story.load());
        let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
        assert_eq!(wanted, ["acme/hello-again", "acme/third"]);
        assert!(frozen.is_empty());
    }
}

/// It counts for nothing there, which is told, but it was not removed.
#[test]
fn a_file_that_moves_to_a_wrong_place_is_no_removal() {
    for to in [
        "deployments/hello.yaml",
        "deployments/zeta/hello.yaml",
        "secrets/acme/hello.yaml",
        "capacity/hello.yaml",
        "deployment/acme/hello.yaml",
        "deployments/acme/compose.yaml",
        "hello.yaml",
    ] {
        let mut story = Story::example();
        story.copy(HELLO, to);
        story.remove(HELLO);
        nothing_is_removed(&mut story, &BOTH);
        story.remove(to);
        let (wanted, frozen) = known(&story.load());
        assert!(!wanted.contains("acme/hello") && !frozen.contains("acme/hello"));
    }
}

#[test]
fn a_file_that_moves_to_a_wrong_place_and_is_edited_is_no_removal_unless_it_is_another_owners() {
    for (to, is_kept) in [
        ("deployments/hello.yaml", true),
        ("deployment/acme/hello.yaml", true),
        ("secrets/acme/hello.yaml", true),
        ("deployments/zeta/hello.yaml", false),
        ("deployments/zeta/compose.yaml", false),
    ] {
        for edited in ["replicas: 2", "replica: 1"] {
            let mut story = Story::example();
            story.copy(HELLO, to);
            story.edit(to, "replicas: 1", edited);
            story.remove(HELLO);
            for _ in 0..2 {
                let (wanted, frozen) = known(&story.load());
                assert!(!wanted.contains("acme/hello"), "{to}");
                assert_eq!(frozen.contains("acme/hello"), is_kept, "{to}");
                story.resume();
            }
        }
    }
}

#[test]
fn a_target_that_moves_to_an_owners_folder_is_no_removal() {
    let mut story = Story::example();
    story.copy(TINY, "deployments/acme/tiny.yaml");
    story.remove(TINY);
    for _ in 0..2 {
        let shown = show(&story.load());
        assert!(shown.contains("frozen target tiny"), "{shown}");
        assert!(shown.contains("(nothing of it is touched)"), "{shown}");
        story.resume();
    }
}

#[test]
fn what_is_another_programs_keeps_nothing() {
    let mut story = Story::example();
    let text = story.tree[HELLO].replace("easyenclave.dev/v1", "apps/v1");
    story.write("charts/hello.yaml", &text);
    story.remove(HELLO);
    let (wanted, frozen) = known(&story.load());
    assert!(!wanted.contains("acme/hello") && frozen.is_empty());
}

/// Why a deployment is left alone, if it is.
fn why(loaded: &Loaded, id: &str) -> Option<String> {
    let frozen = Frozen::Deployment(id.parse().expect("a deployment"));
    let desired = &loaded.model.as_ref().expect("a model").desired;
    desired.frozen.get(&frozen).cloned()
}

/// The ways of looking again: at once, or after a restart that knows what was in force.
const RESTARTS: [bool; 2] = [false, true];

/// A template or a backup under the same names is no file that was moved.
#[test]
fn a_copy_that_lay_there_while_its_document_was_in_force_holds_no_removal_back() {
    for is_edited in [false, true] {
        for path in [
            "templates/hello.yaml",
            "deployments/hello.yaml",
            "capacity/hello.yaml",
        ] {
            for restarts in RESTARTS {
                let mut story = Story::example();
                story.copy(HELLO, path);
                if is_edited {
                    story.edit(path, "replicas: 1", "replicas: 2");
                }
                story.load();
                if restarts {
                    story.resume();
                }
                story.remove(HELLO);
                for _ in 0..2 {
                    let loaded = story.load();
                    let (wanted, _) = known(&loaded);
                    assert!(!wanted.contains("acme/hello"), "{path}");
                    assert_eq!(why(&loaded, "acme/hello"), None, "{path}");
                    assert_eq!(loaded.holding.len(), 0, "{path}");
                    story.resume();
                }
            }
        }
    }
}

#[test]
fn a_copy_that_changes_as_its_document_goes_holds_the_removal_back_and_is_named() {
    for path in ["templates/hello.yaml", "deployments/hello.yaml"] {
        for restarts in RESTARTS {
            let mut story = Story::example();
            story.copy(HELLO, path);
            story.load();
            if restarts {
                story.resume();
            }
            story.edit(path, "replicas: 1", "replicas: 2");
            story.remove(HELLO);
            for _ in 0..3 {
                let loaded = story.load();
                let expected =
                    format!("Deployment acme/hello may be in {path}, where it counts for nothing");
                assert_eq!(why(&loaded, "acme/hello"), Some(expected));
                assert!(loaded.holding.keys().eq([path]), "{path}");
                story.resume();
            }
            story.remove(path);
            assert_eq!(why(&story.load(), "acme/hello"), None);
        }
    }
}

/// While another file is broken nobody can tell; once it is mended, the copy of before holds nothing back still.
#[test]
fn an_old_copy_does_not_take_over_from_a_broken_file_that_is_mended() {
    for restarts in RESTARTS {
        let mut story = Story::example();
        story.copy(HELLO, "templates/hello.yaml");
        story.copy(HELLO, "deployments/acme/third.yaml");
        story.edit("deployments/acme/third.yaml", "name: hello", "name: third");
        story.load();
        let third = story.tree["deployments/acme/third.yaml"].clone();
        story.write("deployments/acme/third.yaml", GARBAGE);
        story.remove(HELLO);
        let told = why(&story.load(), "acme/hello").expect("it may be in the broken file");
        expect!["Deployment acme/hello may be in deployments/acme/third.yaml:1:7: not valid YAML: unclosed bracket '['"]
            .assert_eq(&told);
        if restarts {
            story.resume();
            assert!(why(&story.load(), "acme/hello").is_some());
        }
        story.write("deployments/acme/third.yaml", &third);
        let (wanted, frozen) = known(&story.load());
        assert!(
            !wanted.contains("acme/hello") && frozen.is_empty(),
            "{frozen:?}"
        );
    }
}

/// What was kept before this was kept tells nothing of old copies, so that every one counts.
#[test]
fn of_a_record_that_does_not_tell_what_holds_a_removal_every_copy_may() {
    let mut story = Story::example();
    story.copy(HELLO, "deployment/acme/hello.yaml");
    story.remove(HELLO);
    story.load();
    let mut besides = story.loader.besides(&story.loaded);
    assert!(besides.came.take().is_some());
    story.restart();
    let blob = |key: [u8; 20]| Ok(story.blobs[&key].clone());
    story.loader.prime(&story.loaded, &besides, &blob);
    nothing_is_removed(&mut story, &BOTH);
}

/// With the store lost nobody knows what was in force of it, but status tells that it was not removed.
#[test]
fn what_status_tells_was_left_alone_is_not_removed_while_a_file_may_be_it() {
    let missed = || {
        let identity = |kind, owner: Option<&str>, name: &str| Identity {
            kind,
            owner: owner.map(str::to_owned),
            name: name.into(),
        };
        [
            identity(Kind::Deployment, Some("acme"), "hello"),
            identity(Kind::Deployment, Some("acme"), "hello-again"),
            identity(Kind::CapacityTarget, None, "tiny"),
        ]
    };
    for (to, text) in [
        ("deployment/acme/hello.yaml", None),
        ("deployments/hello.yaml", None),
        ("deployments/acme/front.yaml", Some(GARBAGE)),
    ] {
        let mut story = Story::example();
        let hello = story.tree[HELLO].clone();
        story.write(to, text.unwrap_or(&hello));
        story.remove(HELLO);
        story.load();
        story.restart();
        story.load();
        story.loader.was_kept(missed().into_iter());
        nothing_is_removed(&mut story, &BOTH);
        let loaded = story.load();
        assert_eq!(
            known(&loaded).0,
            BTreeSet::from(["acme/hello-again".to_owned()])
        );
        assert_eq!(loaded.model.expect("a model").desired.targets.len(), 1);
        story.remove(to);
        let (_, frozen) = known(&story.load());
        assert!(frozen.is_empty(), "{to}: {frozen:?}");
    }
}

/// More than are read for what they say.
#[test]
fn a_folder_that_is_misspelt_is_no_removal_beside_thousands_of_other_files() {
    let mut story = Story::example();
    for number in 0..2_500 {
        story.write(&format!("apps/{number}.yaml"), "kind: Pod\n");
    }
    story.copy(HELLO, "deploymets/acme/hello.yaml");
    story.remove(HELLO);
    nothing_is_removed(&mut story, &BOTH);
    story.remove("deploymets/acme/hello.yaml");
    story.load();
    // Those that were there before are not read again.
    story.copy(AGAIN, "deploymets/acme/hello-again.yaml");
    story.edit(
        "deploymets/acme/hello-again.yaml",
        "replicas: 2",
        "replicas: 3",
    );
    story.remove(AGAIN);
    nothing_is_removed(&mut story, &["acme/hello-again"]);
}

#[test]
fn a_file_that_moves_to_a_misspelt_folder_and_breaks_is_no_removal() {
    let broken = "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata: [";
    for text in [broken, "kind: Deployment\nspec: {"] {
        let mut story = Story::example();
        story.write("deployment/acme/hello.yaml", text);
        story.remove(HELLO);
        nothing_is_removed(&mut story, &BOTH);
        story.remove("deployment/acme/hello.yaml");
        assert_eq!(why(&story.load(), "acme/hello"), None);
    }
}

/// While another file is broken, nobody knows which document came to a wrong place.
#[test]
fn what_was_moved_beside_a_broken_file_is_no_removal_when_that_is_mended() {
    for restarts in RESTARTS {
        let mut story = Story::example();
        let hello = story.tree[HELLO].clone();
        story.copy(AGAIN, "deployment/acme/again.yaml");
        story.write(AGAIN, GARBAGE);
        story.remove(HELLO);
        nothing_is_removed(&mut story, &BOTH);
        if restarts {
            story.resume();
        }
        story.write(AGAIN, &hello);
        nothing_is_removed(&mut story, &BOTH);
    }
}

/// A version that cannot be in force any more takes no good one of the same document with it.
#[test]
fn a_document_that_was_mended_elsewhere_keeps_its_good_version_when_it_breaks_again() {
    let mut story = Story::example();
    story.edit(HELLO, "replicas:", "replica:");
    story.was_in_force();
    story.load();
    let other = "deployments/acme/other.yaml";
    story.copy(HELLO, other);
    story.edit(other, "replica:", "replicas:");
    story.load();
    story.edit(other, "replicas: 1", "replicas: one");
    let (wanted, frozen) = known(&story.load());
    assert!(wanted.contains("acme/hello"), "{wanted:?} {frozen:?}");
}

/// It cannot be in force any more, and so runs on as it is.
#[test]
fn what_is_frozen_and_moves_onto_another_file_is_no_removal_of_either() {
    let mut story = Story::example();
    story.edit(HELLO, "replicas:", "replica:");
    story.was_in_force();
    nothing_is_removed(&mut story, &BOTH);
    let broken = story.tree[HELLO].clone();
    story.remove(HELLO);
    story.write(AGAIN, &broken);
    nothing_is_removed(&mut story, &BOTH);
}

/// Which file of the tree holds which deployment, as its author means it; none of a file is readable, or all of it.
#[derive(Default)]
struct Meant {
    files: BTreeMap<String, (String, How)>,
    /// Numbers that look drawn.
    seed: u64,
}

/// Where a deployment of acme counts for nothing.
const WRONG: [&str; 4] = [
    "deployments/",
    "deployments/zeta/",
    "deployment/acme/",
    "secrets/acme/",
];

#[derive(Clone, Copy, PartialEq)]
enum How {
    Good,
    Broken,
    Garbage,
}

impl Meant {
    fn draw(&mut self, below: usize) -> usize {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.seed >> 33).expect("31 bits") % below
    }

    /// A file that is there.
    fn file(&mut self) -> Option<String> {
        let files: Vec<_> = self.files.keys().cloned().collect();
        match files.len() {
            0 => None,
            all => Some(files[self.draw(all)].clone()),
        }
    }

    fn step(&mut self) -> Option<()> {
        let file = self.file()?;
        match self.draw(4) {
            0 => {
                let how = [How::Good, How::Broken, How::Garbage][self.draw(3)];
                self.files.get_mut(&file)?.1 = how;
            }
            1 => {
                let other = self.file()?;
                let (one, two) = (self.files.remove(&file)?, self.files.remove(&other));
                self.files.insert(other, one);
                self.files.extend(two.map(|two| (file, two)));
            }
            _ => {
                let to = match self.draw(12) {
                    number @ 0..5 => format!("deployments/acme/{number}.yaml"),
                    number => format!("{}{}.yaml", WRONG[number % WRONG.len()], number % 2),
                };
                if !self.files.contains_key(&to) {
                    let moved = self.files.remove(&file)?;
                    self.files.insert(to, moved);
                }
            }
        }
        Some(())
    }

    fn write(&self, story: &mut Story, template: &str) {
        let is_one = |path: &str| {
            ["deployment", "secrets"]
                .iter()
                .any(|it| path.starts_with(it))
        };
        story.tree.retain(|path, _| !is_one(path));
        for (path, (name, how)) in &self.files {
            let text = template.replace("name: hello", &format!("name: {name}"));
            // What lies in a wrong place tells what it is, and in another owner's folder by its very bytes.
            match how {
                _ if path.starts_with("deployments/zeta/") => story.write(path, &text),
                How::Garbage if !path.starts_with("deployments/acme/") => {
                    story.write(path, &text.replace("replicas:", "replica:"));
                }
                How::Good => story.write(path, &text),
                How::Broken => story.write(path, &text.replace("replicas:", "replica:")),
                How::Garbage => story.write(path, &format!("{name}: [")),
            }
        }
    }
}

/// Files move, swap places, break and are mended, several at a time; the deployments stay the same, and so must what is
/// known of them. When all can be read again, all are as they were.
#[test]
fn no_way_of_moving_and_breaking_files_removes_a_deployment() {
    let names = ["a", "b", "c"];
    let all: BTreeSet<_> = names.iter().map(|name| format!("acme/{name}")).collect();
    for seed in 0..300 {
        let mut story = Story::example();
        let template = story.tree[HELLO].clone();
        let mut meant = Meant {
            seed,
            ..Meant::default()
        };
        for name in names {
            let file = format!("deployments/acme/{name}.yaml");
            meant.files.insert(file, (name.to_owned(), How::Good));
        }
        meant.write(&mut story, &template);
        story.load();
        for turn in 0..8 {
            for _ in 0..=meant.draw(3) {
                meant.step();
            }
            meant.write(&mut story, &template);
            let loaded = story.load();
            let (wanted, frozen) = known(&loaded);
            let known: BTreeSet<_> = wanted.union(&frozen).cloned().collect();
            assert!(
                all.is_subset(&known),
                "seed {seed}, turn {turn}:\n{}",
                show(&loaded)
            );
            assert!(
                wanted.is_subset(&all),
                "seed {seed}, turn {turn}:\n{}",
                show(&loaded)
            );
            let is_good = |(path, (_, how)): (&String, &(String, How))| {
                path.starts_with("deployments/acme/") && *how == How::Good
            };
            let is_good = meant.files.iter().all(is_good);
            assert!(
                !is_good || (&wanted, frozen.len()) == (&all, 0),
                "{}",
                show(&loaded)
            );
            if meant.draw(3) == 0 {
                story.resume();
            }
        }
    }
}
