//! Revisions as people push them, one after the other.

mod compose;
mod flaws;
mod hostnames;
mod keys;
mod moves;
mod owners;
mod secrets;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use easyenclave_plan::Frozen;
use easyenclave_schemas::Digest;
use easyenclave_schemas::documents::Workload;
use expect_test::{Expect, expect, expect_file};

use super::*;

/// A state repository with its history, and the loader that follows it.
#[derive(Default)]
struct Story {
    loader: Loader,
    tree: BTreeMap<String, String>,
    blobs: BTreeMap<[u8; 20], Vec<u8>>,
    /// Files whose blob is not that of their text in the tree.
    odd: BTreeMap<String, [u8; 20]>,
    /// Every version that a file had, newest first.
    history: BTreeMap<String, Vec<[u8; 20]>>,
    /// The files that were loaded last.
    loaded: BTreeMap<String, [u8; 20]>,
    /// The store does not answer.
    outage: bool,
    /// The fleet's keys, where the loader has them.
    keyring: Option<std::sync::Arc<crate::secrets::Keyring>>,
}

impl Story {
    /// The example repository, loaded once.
    fn example() -> Self {
        let mut story = Self::default();
        let dir = root().join("valid");
        for path in [
            "fleet.yaml",
            "owners/acme.yaml",
            "policies/simulated.yaml",
            "providers/local.yaml",
            "capacity/tiny.yaml",
            "deployments/acme/hello.yaml",
            "deployments/acme/hello-again.yaml",
        ] {
            story.write(path, &read(&dir.join(path)));
        }
        assert_eq!(story.load().problems, []);
        story
    }

    fn write(&mut self, path: &str, text: &str) {
        let digest = Digest::of(text.as_bytes());
        let key = *digest.as_bytes().first_chunk().expect("longer than a key");
        self.blobs.insert(key, text.into());
        self.odd.remove(path);
        self.history.entry(path.into()).or_default().insert(0, key);
        self.tree.insert(path.into(), text.into());
    }

    fn edit(&mut self, path: &str, from: &str, to: &str) {
        let text = self.tree[path].clone();
        assert!(text.contains(from), "{from:?} is in {path}");
        self.write(path, &text.replacen(from, to, 1));
    }

    fn copy(&mut self, from: &str, to: &str) {
        let text = self.tree[from].clone();
        self.write(to, &text);
    }

    fn remove(&mut self, path: &str) {
        self.tree.remove(path).expect("the file is there");
    }

    /// A restart that has lost everything but the repository.
    fn restart(&mut self) {
        self.loader = match &self.keyring {
            Some(keyring) => Loader::opening(keyring.clone()),
            None => Loader::default(),
        };
    }

    /// A restart that knows what was in force.
    fn resume(&mut self) {
        let besides = self.loader.besides(&self.loaded);
        self.restart();
        let blob = |key: [u8; 20]| Ok(self.blobs[&key].clone());
        self.loader.prime(&self.loaded, &besides, &blob);
    }

    /// The tree was in force before a restart, whatever the checks say of it now.
    fn was_in_force(&mut self) {
        self.restart();
        let files = self.files();
        let blob = |key: [u8; 20]| Ok(self.blobs[&key].clone());
        self.loader.prime(&files, &Besides::default(), &blob);
    }

    /// The same at every load, before restarts and after them.
    fn check_over_restarts(&mut self, expected: Expect) {
        let first = show(&self.load());
        for _ in 0..2 {
            assert_eq!(show(&self.load()), first);
            self.resume();
            assert_eq!(show(&self.load()), first);
        }
        expected.assert_eq(&first);
    }

    fn files(&self) -> BTreeMap<String, [u8; 20]> {
        let key = |(path, text): (&String, &String)| {
            let digest = Digest::of(text.as_bytes());
            let key = *digest.as_bytes().first_chunk().expect("longer than a key");
            (path.clone(), *self.odd.get(path).unwrap_or(&key))
        };
        self.tree.iter().map(key).collect()
    }

    fn load(&mut self) -> Loaded {
        let files = self.files();
        let (blobs, outage) = (&self.blobs, self.outage);
        let blob = |key: [u8; 20]| match blobs.get(&key) {
            Some(text) if !outage => Ok(text.clone()),
            _ => Err("the store does not answer".to_owned()),
        };
        let history = |path: &str| match outage {
            false => Ok(self.history.get(path).cloned().unwrap_or_default()),
            true => Err("the store does not answer".to_owned()),
        };
        let loaded = self.loader.load(&files, &blob, &history);
        self.loaded = files;
        loaded
    }

    fn check(&mut self, expected: Expect) {
        expected.assert_eq(&show(&self.load()));
    }
}

fn show(loaded: &Loaded) -> String {
    let mut shown = String::new();
    for problem in &loaded.problems {
        let (file, line, column) = (&problem.file, problem.line, problem.column);
        let (message, consequence) = (&problem.message, &problem.consequence);
        let _ = writeln!(shown, "{file}:{line}:{column}: {message} ({consequence})");
    }
    let Some(model) = &loaded.model else {
        return shown + "no model\n";
    };
    for (id, deployment) in &model.desired.deployments {
        let digest = model.workloads[&deployment.workload].digest();
        assert_eq!(digest, deployment.workload);
        let _ = writeln!(shown, "deployment {id} x{}", deployment.replicas);
        if let Workload::Compose(compose) = &model.workloads[&deployment.workload].workload {
            let _ = writeln!(shown, "  runs {:?}", compose.source);
        }
    }
    for (name, target) in &model.desired.targets {
        let _ = writeln!(shown, "target {name} of {} {}", target.max, target.size);
    }
    for (id, reservation) in &model.desired.reservations {
        let _ = writeln!(
            shown,
            "reservation {id} x{} of {}",
            reservation.count, reservation.target
        );
    }
    for frozen in model.desired.frozen.keys() {
        let _ = match frozen {
            Frozen::Deployment(id) => writeln!(shown, "frozen deployment {id}"),
            Frozen::Target(name) => writeln!(shown, "frozen target {name}"),
        };
    }
    for (owner, quota) in &model.desired.quotas {
        let _ = writeln!(shown, "owner {owner} {quota}");
    }
    shown
}

fn reservation(owner: &str, name: &str, count: u32) -> String {
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: CapacityReservation\nmetadata:\n  name: {name}\n  \
         owner: {owner}\nspec:\n  target: tiny\n  count: {count}\n"
    )
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples-state")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const HELLO: &str = "deployments/acme/hello.yaml";
const AGAIN: &str = "deployments/acme/hello-again.yaml";
const TINY: &str = "capacity/tiny.yaml";

#[test]
fn the_example_is_what_it_says() {
    let mut story = Story::example();
    let model = story.load().model.expect("a model");
    assert_eq!(model.desired.fleet.as_str(), "demo");
    assert_eq!(model.status.pushes_per_minute, 6);
    assert!(model.paths.values().all(|path| path == "/"));
    assert_eq!(
        (
            model.paths.len(),
            model.policies.len(),
            model.providers.len()
        ),
        (2, 1, 1)
    );
    story.check(expect![[r#"
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

/// Property 3 of a plan begins here: the planner's input is sorted by identity, so an order could only come from files.
#[test]
fn the_names_and_order_of_files_decide_nothing() {
    let mut story = Story::example();
    let before = story.load().model.expect("a model").desired;
    let files: Vec<String> = story.tree.keys().cloned().collect();
    for round in 0..20_u32 {
        for (at, path) in files.iter().enumerate().skip(1) {
            let Some((folder, _)) = path.rsplit_once('/') else {
                continue;
            };
            let name = Digest::of(format!("{round} {at}").as_bytes()).short(8);
            let old = story
                .tree
                .keys()
                .find(|other| **other == *path || other.ends_with(&was(round, at)));
            let old = old.expect("the file is there").clone();
            story.copy(&old, &format!("{folder}/{name}.yaml"));
            story.remove(&old);
        }
        let loaded = story.load();
        assert_eq!(loaded.problems, [], "round {round}");
        assert_eq!(
            loaded.model.expect("a model").desired,
            before,
            "round {round}"
        );
    }

    /// The name that a file was given in the round before.
    fn was(round: u32, at: usize) -> String {
        let before = round.checked_sub(1);
        let name = |round: u32| Digest::of(format!("{round} {at}").as_bytes()).short(8);
        before.map_or_else(
            || "nothing is named so".into(),
            |round| format!("{}.yaml", name(round)),
        )
    }
}

#[test]
fn a_mistake_keeps_the_last_good_version_and_stops_nothing_else() {
    let mut story = Story::example();
    story.edit(HELLO, "replicas: 1", "replicas: one");
    story.edit(AGAIN, "replicas: 2", "replicas: 3");
    story.check(expect![[r#"
        deployments/acme/hello.yaml:11:13: `spec.replicas`: expected a whole number from 0 to 100000, found the text "one" (the last good version stays in force)
        deployment acme/hello x1
        deployment acme/hello-again x3
        target tiny of 32 tiny
        owner acme 20
    "#]]);
    story.edit(HELLO, "replicas: one", "replicas: 4");
    story.check(expect![[r#"
        deployment acme/hello x4
        deployment acme/hello-again x3
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn after_a_restart_the_last_good_version_comes_from_history() {
    let mut story = Story::example();
    story.edit(HELLO, "replicas: 1", "replicas: 5");
    story.edit(HELLO, "replicas: 5", "replicas: five");
    story.edit(HELLO, "replicas: five", "replicas: -5");
    story.restart();
    story.check(expect![[r#"
        deployments/acme/hello.yaml:11:13: `spec.replicas`: expected a whole number from 0 to 100000, found the number -5 (the last good version stays in force)
        deployment acme/hello x5
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn what_never_was_good_is_frozen_by_what_it_claims_or_else_by_its_path() {
    let mut story = Story::example();
    story.edit(HELLO, "tiny", "[tiny]");
    story.history.clear();
    story.write(TINY, "\tnot yaml: [");
    story.history.clear();
    story.copy(AGAIN, "deployments/acme/other.yaml");
    story.edit("deployments/acme/other.yaml", "hello-again", "third");
    story.edit(
        "deployments/acme/other.yaml",
        "replicas: 2",
        "replicas: two",
    );
    story.history.clear();
    story.restart();
    story.check(expect![[r#"
        capacity/tiny.yaml:1:12: not valid YAML: unclosed bracket '[' (nothing of it is touched)
        deployments/acme/hello.yaml:12:13: `spec.nodeSize`: expected 1 to 40 characters: a-z, 0-9 and '-', starting and ending with a letter or digit, found a list of 1 (nothing of it is touched)
        deployments/acme/other.yaml:14:13: `spec.replicas`: expected a whole number from 0 to 100000, found the text "two" (nothing of it is touched)
        deployment acme/hello-again x2
        frozen deployment acme/hello
        frozen deployment acme/third
        frozen target tiny
        owner acme 20
    "#]]);
}

#[test]
fn after_a_restart_garbage_in_a_file_of_another_name_is_not_taken_for_a_removal() {
    let mut story = Story::example();
    story.copy(HELLO, "deployments/acme/frontend.yaml");
    story.remove(HELLO);
    story.write("deployments/acme/frontend.yaml", "}");
    story.restart();
    story.check(expect![[r#"
        deployments/acme/frontend.yaml:1:1: not valid YAML: misplaced bracket (the last good version stays in force)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_moved_file_is_no_change_even_when_it_breaks() {
    let mut story = Story::example();
    let before = show(&story.load());
    story.copy(HELLO, "deployments/acme/sub/moved.yaml");
    story.remove(HELLO);
    assert_eq!(show(&story.load()), before);
    story.copy(
        "deployments/acme/sub/moved.yaml",
        "deployments/acme/again.yaml",
    );
    story.remove("deployments/acme/sub/moved.yaml");
    story.edit(
        "deployments/acme/again.yaml",
        "replicas: 1",
        "replicas: one",
    );
    story.history.clear();
    story.check(expect![[r#"
        deployments/acme/again.yaml:11:13: `spec.replicas`: expected a whole number from 0 to 100000, found the text "one" (the last good version stays in force)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_removed_file_is_a_removal() {
    let mut story = Story::example();
    story.remove(HELLO);
    story.check(expect![[r#"
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn two_files_cannot_be_one_document() {
    let mut story = Story::example();
    story.copy(HELLO, "deployments/acme/a-copy.yaml");
    story.check(expect![[r#"
        deployments/acme/a-copy.yaml:5:9: Deployment acme/hello is also in deployments/acme/hello.yaml:5:9 (the other file counts)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
    story.remove("deployments/acme/a-copy.yaml");
    story.edit(AGAIN, "name: hello-again", "name: hello");
    story.check(expect![[r#"
        deployments/acme/hello-again.yaml:5:9: Deployment acme/hello is also in deployments/acme/hello.yaml:5:9 (the last good version stays in force)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_restart_does_not_settle_a_conflict_anew() {
    let mut story = Story::example();
    let copy = story.tree[HELLO].replace("replicas: 1", "replicas: 0");
    story.write("deployments/acme/a-copy.yaml", &copy);
    story.load();
    story.check_over_restarts(expect![[r#"
        deployments/acme/a-copy.yaml:5:9: Deployment acme/hello is also in deployments/acme/hello.yaml:5:9 (the other file counts)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
    story.edit(HELLO, "250ms", "350ms");
    let edited = story.load().model.expect("a model").workloads;
    assert!(
        edited
            .values()
            .any(|version| format!("{version:?}").contains("350"))
    );
    story.check_over_restarts(expect![[r#"
        deployments/acme/a-copy.yaml:5:9: Deployment acme/hello is also in deployments/acme/hello.yaml:5:9 (the other file counts)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_restart_does_not_settle_a_quota_anew() {
    let mut story = Story::example();
    let other = story.tree[HELLO].replace("name: hello", "name: a");
    let other = other.replace("replicas: 1", "replicas: 18");
    story.write("deployments/acme/a.yaml", &other);
    story.load();
    story.check_over_restarts(expect![[r#"
        deployments/acme/a.yaml:11:13: replicas of all deployments of acme come to 21; the quota is 20 (nothing of it is touched)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        frozen deployment acme/a
        owner acme 20
    "#]]);
    story.edit(HELLO, "250ms", "350ms");
    story.check_over_restarts(expect![[r#"
        deployments/acme/a.yaml:11:13: replicas of all deployments of acme come to 21; the quota is 20 (nothing of it is touched)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        frozen deployment acme/a
        owner acme 20
    "#]]);
}

#[test]
fn a_file_that_breaks_as_it_moves_is_not_taken_for_a_removal() {
    let mut story = Story::example();
    story.remove(HELLO);
    story.write("deployments/acme/frontend.yaml", "kind: [");
    story.check_over_restarts(expect![[r#"
        deployments/acme/frontend.yaml:1:7: not valid YAML: unclosed bracket '[' (nothing of it is touched)
        deployment acme/hello-again x2
        target tiny of 32 tiny
        frozen deployment acme/frontend
        frozen deployment acme/hello
        owner acme 20
    "#]]);
    story.edit("deployments/acme/frontend.yaml", "kind: [", "kind: [[");
    story.remove(AGAIN);
    story.check_over_restarts(expect![[r#"
        deployments/acme/frontend.yaml:1:8: not valid YAML: unclosed bracket '[' (nothing of it is touched)
        target tiny of 32 tiny
        frozen deployment acme/frontend
        frozen deployment acme/hello
        frozen deployment acme/hello-again
        owner acme 20
    "#]]);
    story.remove("deployments/acme/frontend.yaml");
    story.check_over_restarts(expect![[r#"
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn garbage_that_lies_about_holds_up_no_removal() {
    let mut story = Story::example();
    story.write("deployments/acme/garbage.yaml", "kind: [");
    story.load();
    story.resume();
    story.remove(HELLO);
    story.check_over_restarts(expect![[r#"
        deployments/acme/garbage.yaml:1:7: not valid YAML: unclosed bracket '[' (nothing of it is touched)
        deployment acme/hello-again x2
        target tiny of 32 tiny
        frozen deployment acme/garbage
        owner acme 20
    "#]]);
}

#[test]
fn garbage_in_one_folder_holds_up_no_removal_in_another() {
    let mut story = Story::example();
    story.remove(HELLO);
    story.write("deployments/other/garbage.yaml", "kind: [");
    story.write("capacity/garbage.yaml", "kind: [");
    story.check_over_restarts(expect![[r#"
        capacity/garbage.yaml:1:7: not valid YAML: unclosed bracket '[' (nothing of it is touched)
        deployments/other/garbage.yaml:1:7: not valid YAML: unclosed bracket '[' (nothing of it is touched)
        deployment acme/hello-again x2
        target tiny of 32 tiny
        frozen deployment other/garbage
        frozen target garbage
        owner acme 20
    "#]]);
}

#[test]
fn names_resolve_or_are_suggested() {
    let mut story = Story::example();
    story.edit(
        HELLO,
        "  replicas",
        "  placement: { targets: [tiny, tinny] }\n  replicas",
    );
    story.edit(AGAIN, "nodeSize: tiny", "nodeSize: tinny");
    story.copy(TINY, "capacity/second.yaml");
    story.edit("capacity/second.yaml", "name: tiny", "name: second");
    story.edit(
        "capacity/second.yaml",
        "provider: local",
        "provider: locale",
    );
    story.edit("capacity/second.yaml", "policy: simulated", "policy: intel");
    let other = reservation("acne", "r", 1).replace("target: tiny", "target: huge");
    story.write("reservations/r.yaml", &other);
    story.history.clear();
    story.restart();
    story.check(expect![[r#"
        capacity/second.yaml:10:13: there is no Provider named locale; did you mean `local`? (nothing of it is touched)
        capacity/second.yaml:11:11: there is no AttestationPolicy named intel; known are simulated (nothing of it is touched)
        deployments/acme/hello-again.yaml:15:13: no target has agents of size tinny; did you mean `tiny`? (nothing of it is touched)
        deployments/acme/hello.yaml:11:32: there is no CapacityTarget named tinny; did you mean `tiny`? (nothing of it is touched)
        reservations/r.yaml:5:10: there is no Owner named acne; did you mean `acme`? (it is left out)
        reservations/r.yaml:7:11: there is no CapacityTarget named huge; known are second, tiny (it is left out)
        target tiny of 32 tiny
        frozen deployment acme/hello
        frozen deployment acme/hello-again
        frozen target second
        owner acme 20
    "#]]);
}

#[test]
fn a_change_over_quota_is_refused_and_not_its_neighbours() {
    let mut story = Story::example();
    story.edit(HELLO, "replicas: 1", "replicas: 19");
    story.check(expect![[r#"
        deployments/acme/hello.yaml:11:13: replicas of all deployments of acme come to 21; the quota is 20 (the last good version stays in force)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
    story.edit(HELLO, "replicas: 19", "replicas: 18");
    story.check(expect![[r#"
        deployment acme/hello x18
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_quota_below_what_runs_is_refused_itself() {
    let mut story = Story::example();
    story.edit("owners/acme.yaml", "agents: 20", "agents: 2");
    story.check(expect![[r#"
        owners/acme.yaml:12:13: replicas of all deployments of acme come to 3; the quota is 2 (the last good version stays in force)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn reservations_stay_within_quota_and_target() {
    let mut story = Story::example();
    story.write("reservations/acme/a.yaml", &reservation("acme", "a", 15));
    story.check(expect![[r#"
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        reservation acme/a x15 of tiny
        owner acme 20
    "#]]);
    story.write("reservations/acme/b.yaml", &reservation("acme", "b", 6));
    story.edit(TINY, "max: 32", "max: 10");
    story.check(expect![[r#"
        capacity/tiny.yaml:12:8: reserved agents of target tiny come to 21; its `spec.max` is 10 (the last good version stays in force)
        reservations/acme/b.yaml:8:10: reserved agents of acme come to 21; the quota is 20 (it is left out)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        reservation acme/a x15 of tiny
        owner acme 20
    "#]]);
}

/// Found by fuzzing: the copy took the place of the last good fleet, and then fell itself.
#[test]
fn a_misplaced_copy_does_not_push_out_a_last_good_version() {
    let mut story = Story::example();
    story.copy("fleet.yaml", "policies/simulated.yaml");
    story.write("fleet.yaml", "nothing");
    story.check(expect![[r#"
        fleet.yaml:1:1: expected a mapping, found the text "nothing" (the last good version stays in force)
        policies/simulated.yaml:3:7: the fleet is described in fleet.yaml and nowhere else (the last good version stays in force)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_change_that_falls_takes_nothing_with_it() {
    let mut story = Story::example();
    story.write("reservations/acme/a.yaml", &reservation("acme", "a", 5));
    story.load();
    story.edit(TINY, "name: tiny", "name: small");
    story.edit(TINY, "policy: simulated", "policy: simulate");
    story.check(expect![[r#"
        capacity/tiny.yaml:11:11: there is no AttestationPolicy named simulate; did you mean `simulated`? (the last good version stays in force)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        reservation acme/a x5 of tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_folder_speaks_for_its_owner_only() {
    let mut story = Story::example();
    story.copy("owners/acme.yaml", "deployments/acme/owner.yaml");
    story.edit("deployments/acme/owner.yaml", "name: acme", "name: other");
    story.copy("fleet.yaml", "providers/fleet.yaml");
    story.copy(HELLO, "deployments/other/hello.yaml");
    story.edit("deployments/other/hello.yaml", "name: hello", "name: third");
    story.copy(HELLO, "deployments/hello.yaml");
    story.edit("deployments/hello.yaml", "name: hello", "name: fourth");
    story.write("reservations/other/a.yaml", &reservation("acme", "a", 1));
    story.check(expect![[r#"
        deployments/acme/owner.yaml:3:7: deployments/ holds the kind Deployment, found Owner (nothing of it is touched)
        deployments/hello.yaml:6:10: deployments of acme lie under deployments/acme/; did you mean `deployments/acme/hello.yaml`? (it is left out)
        deployments/other/hello.yaml:6:10: deployments of acme lie under deployments/acme/ (nothing of it is touched)
        providers/fleet.yaml:3:7: the fleet is described in fleet.yaml and nowhere else (what depends on it is not touched)
        reservations/other/a.yaml:5:10: reservations of acme lie under reservations/acme/ (it is left out)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        frozen deployment acme/owner
        frozen deployment other/hello
        owner acme 20
    "#]]);
}

#[test]
fn who_may_write_one_folder_cannot_freeze_what_is_in_another() {
    let mut story = Story::example();
    story.copy(HELLO, "deployments/other/x.yaml");
    story.edit("deployments/other/x.yaml", "replicas: 1", "replicas: one");
    story.remove(HELLO);
    story.check(expect![[r#"
        deployments/other/x.yaml:6:10: deployments of acme lie under deployments/acme/ (nothing of it is touched)
        deployments/other/x.yaml:11:13: `spec.replicas`: expected a whole number from 0 to 100000, found the text "one" (nothing of it is touched)
        deployment acme/hello-again x2
        target tiny of 32 tiny
        frozen deployment other/x
        owner acme 20
    "#]]);
}

#[test]
fn what_depends_on_an_unreadable_document_is_not_blamed_but_stays_as_it_is() {
    let mut story = Story::example();
    story.edit(
        "policies/simulated.yaml",
        "kind: simulated",
        "kind: simulate",
    );
    story.history.clear();
    story.restart();
    story.check(expect![[r#"
        policies/simulated.yaml:8:11: `spec.trustRoot.kind`: expected one of intel, simulated, found the text "simulate"; did you mean `simulated`? (what depends on it is not touched)
        deployment acme/hello x1
        deployment acme/hello-again x2
        frozen target tiny
        owner acme 20
    "#]]);
    story.edit(
        "policies/simulated.yaml",
        "kind: simulate",
        "kind: simulated",
    );
    story.write("owners/acme.yaml", "nothing");
    story.history.clear();
    story.restart();
    story.check(expect![[r#"
        owners/acme.yaml:1:1: expected a mapping, found the text "nothing" (what depends on it is not touched)
        target tiny of 32 tiny
        frozen deployment acme/hello
        frozen deployment acme/hello-again
    "#]]);
}

#[test]
fn what_a_removal_leaves_hanging_stays_as_it_is() {
    let mut story = Story::example();
    story.remove("providers/local.yaml");
    story.check(expect![[r#"
        capacity/tiny.yaml:10:13: there is no Provider named local (nothing of it is touched)
        deployment acme/hello x1
        deployment acme/hello-again x2
        frozen target tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_file_used_again_does_not_bring_back_what_was_removed() {
    let mut story = Story::example();
    story.remove(HELLO);
    story.load();
    story.write(
        HELLO,
        "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata: { name: new, owner: acme }\n",
    );
    story.check(expect![[r#"
        deployments/acme/hello.yaml:1:1: missing field `spec` (nothing of it is touched)
        deployment acme/hello-again x2
        target tiny of 32 tiny
        frozen deployment acme/new
        owner acme 20
    "#]]);
}

#[test]
fn without_a_fleet_nothing_changes() {
    let mut story = Story::example();
    story.edit("fleet.yaml", "pushesPerMinute: 6", "pushesPerMinute: 0");
    story.check(expect![[r#"
        fleet.yaml:8:22: `spec.status.pushesPerMinute`: expected a whole number from 1 to 600, found the number 0 (the last good version stays in force)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
    story.history.clear();
    story.restart();
    story.check(expect![[r#"
        fleet.yaml:0:1: fleet.yaml has no good version; nothing is changed (nothing is changed)
        fleet.yaml:8:22: `spec.status.pushesPerMinute`: expected a whole number from 1 to 600, found the number 0 (nothing is changed)
        no model
    "#]]);
    story.remove("fleet.yaml");
    story.check(expect![[r#"
        fleet.yaml:0:1: there is no fleet.yaml; nothing is changed (nothing is changed)
        no model
    "#]]);
    story.tree.clear();
    story.check(expect![[r#"
        fleet.yaml:0:1: the tree holds no documents; nothing is changed (nothing is changed)
        no model
    "#]]);
}

#[test]
fn an_outage_is_not_remembered_as_a_mistake() {
    let mut story = Story::example();
    let before = show(&story.load());
    story.edit(HELLO, "What runs", "This runs");
    story.outage = true;
    story.check(expect![[r#"
        deployments/acme/hello.yaml:1:1: the file cannot be read: the store does not answer (the last good version stays in force)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
    assert!(story.load().outage, "loading again may say more");
    story.outage = false;
    let after = story.load();
    assert_eq!((show(&after), after.outage), (before, false));
}

/// Whatever one byte does to a file, the others stay in force, and a refused file is reported.
#[test]
fn mutated_files_harm_nothing_else() {
    let mut story = Story::example();
    let good = story.tree.clone();
    for (path, text) in &good {
        for at in (0..text.len()).step_by(5) {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = b"\t:{\0-z"[at % 6];
            story.write(path, &String::from_utf8_lossy(&bytes));
            let loaded = story.load();
            assert!(
                loaded.problems.iter().all(|problem| problem.line > 0),
                "{loaded:?}"
            );
            let model = loaded.model.expect("the fleet stays");
            let known = model.desired.deployments.len() + model.desired.frozen.len();
            assert!(known >= 2, "{path} at {at}: {:?}", model.desired);
            story.tree.clone_from(&good);
            assert_eq!(story.load().problems, []);
        }
    }
}

/// Every invalid example gives exactly the output beside it.
#[test]
fn invalid_examples_give_the_output_beside_them() {
    let mut cases = 0;
    for case in std::fs::read_dir(root().join("invalid")).expect("the examples are there") {
        let dir = case.expect("readable").path();
        let checked = check_dir(&dir).expect("readable");
        assert!(!checked.problems.is_empty(), "{} is invalid", dir.display());
        expect_file![dir.join("expected.txt")].assert_eq(&checked.text());
        cases += 1;
    }
    assert!(cases >= 10, "only {cases} invalid examples");
}

#[test]
fn the_valid_example_is_valid() {
    let checked = check_dir(&root().join("valid")).expect("readable");
    assert_eq!(checked.text(), "");
    assert_eq!(checked.summary(), "7 documents, no problems");
    for other in ["qemu", "gcp", "compose"] {
        let checked = check_dir(&root().join(other)).expect("readable");
        assert_eq!(checked.text(), "", "{other}");
        assert_eq!(checked.summary(), "6 documents, no problems");
    }
}

#[test]
fn a_cloud_gives_its_targets_zones_and_machine_types_in_the_order_of_preference() {
    let mut story = Story::example();
    let cloud = "apiVersion: easyenclave.dev/v1\nkind: Provider\nmetadata:\n  name: local\nspec:\n  gcp:\n    \
                 project: p\n    image: projects/p/global/images/i\n    zones: [z-a, z-b]\n    sizes:\n      tiny:\n        \
                 machineTypes: [c3, n4]\n        pricePerHour: \"0.25\"\n";
    story.write("providers/local.yaml", cloud);
    let message = "provider local makes confidential machines of Google Cloud, and policy simulated asks for a simulated \
                   root, which vouches for none of them";
    let problems = story.load().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].message, message);
    let policy = "apiVersion: easyenclave.dev/v1\nkind: AttestationPolicy\nmetadata:\n  name: simulated\nspec:\n  \
                  trustRoot:\n    kind: intel\n  measurements: []\n";
    story.write("policies/simulated.yaml", policy);
    story.edit(
        "fleet.yaml",
        "spec:\n",
        "spec:\n  evidence:\n    keep: digest\n",
    );
    let loaded = story.load();
    assert_eq!(loaded.problems, []);
    let model = loaded.model.expect("a model");
    let spots = model.desired.targets["tiny"].spots.iter();
    let shown: Vec<_> = spots.map(ToString::to_string).collect();
    assert_eq!(
        shown.join("\n"),
        "local in local zone z-a shape c3\nlocal in local zone z-a shape n4\n\
         local in local zone z-b shape c3\nlocal in local zone z-b shape n4"
    );
}

/// As a revision with the same files would be, whatever their names.
#[test]
fn a_directory_with_links_and_odd_names_is_read_as_git_reads_it() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().expect("a folder");
    for path in ["fleet.yaml", "owners/acme.yaml"] {
        let copy = dir.path().join(path);
        std::fs::create_dir_all(copy.parent().expect("a folder")).expect("made");
        std::fs::write(&copy, read(&root().join("valid").join(path))).expect("written");
    }
    let owners = dir.path().join("owners");
    std::os::unix::fs::symlink("acme.yaml", owners.join("link.yaml")).expect("linked");
    for name in [b"caf\xe8.yaml", b"caf\xe9.yaml"] {
        let odd = owners.join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(odd, "no document").expect("written");
    }
    let checked = check_dir(dir.path()).expect("readable");
    let found = checked.problems.iter();
    let found: BTreeMap<_, _> = found
        .map(|problem| (problem.file.as_str(), problem.problem.code))
        .collect();
    assert_eq!(
        found.get("owners/link.yaml"),
        Some(&"not-a-file"),
        "{found:?}"
    );
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(checked.documents, 5);
}
