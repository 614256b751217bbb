//! Every status commit holds what was decided on: planning from its tree gives the plan that it names.

use std::collections::BTreeMap;

use easyenclave::desired::{Loader, is_read};
use easyenclave::report;
use easyenclave_git::{CommitId, Source};
use easyenclave_plan::{Plan, plan};
use easyenclave_schemas::Timestamp;

use crate::harness::{Fleet, deployment, find, signal};

const WEB: &str = "deployments/acme/web.yaml";

#[test]
fn the_plan_of_every_status_commit_follows_from_its_tree() {
    let fleet = Fleet::started(2, 1);
    fleet.wait_running(2);
    fleet.commit(WEB, Some(&deployment("web", 4, "")));
    fleet.wait_running(4);
    let lost = fleet.agents().swap_remove(0);
    signal(lost.pid, "KILL");
    fleet.wait("the lost agent is replaced", |status| {
        let web = find(&status["deployments"], "deployment", "acme/web");
        let gone = find(&status["agents"], "agent", &lost.order).is_null();
        gone && web["ready"] == 4
    });
    let rolled = deployment("web", 3, "").replace("VERSION: \"1\"", "VERSION: \"2\"");
    let rolled = fleet.commit(WEB, Some(&rolled));
    fleet.wait("the new version is considered", |status| {
        status["fleet"]["effectiveCommit"] == rolled.as_str()
    });
    fleet.wait_published(3);
    let commits = String::from_utf8(fleet.git(&["rev-list", "status"]).stdout).expect("UTF-8");
    assert!(commits.lines().count() >= 5, "{commits}");
    for commit in commits.lines() {
        let planned = planned(&fleet, commit);
        let digest = trailer(&fleet, commit, "Plan-Digest");
        assert_eq!(
            planned.digest().to_string(),
            digest,
            "{commit}: {planned:?}\n{}",
            shown(&fleet, commit)
        );
    }
    fleet.stop();
}

/// The plan that follows from a status commit, and from nothing else but the commit that it names.
fn planned(fleet: &Fleet, commit: &str) -> Plan {
    let status = report::read(&files(fleet, commit, &|_| true)).expect("readable");
    let at: Timestamp = trailer(fleet, commit, "Seen-At").parse().expect("a time");
    let documents = files(fleet, &status.fleet.effective_commit, &is_read);
    let keys: BTreeMap<_, _> = documents
        .keys()
        .cloned()
        .zip((1u8..).map(|n| [n; 20]))
        .collect();
    let blob = |key: [u8; 20]| {
        let text = documents.values().nth(usize::from(key[0]) - 1);
        Ok(text.expect("there").clone())
    };
    let loaded = Loader::default().load(&keys, &blob, &|_| Ok(Vec::new()));
    assert_eq!(loaded.problems, vec![]);
    let desired = loaded.model.expect("a model").desired;
    plan(&desired, &report::observed(&status), at)
}

fn files(fleet: &Fleet, commit: &str, wanted: &dyn Fn(&str) -> bool) -> BTreeMap<String, Vec<u8>> {
    let state = fleet.state().display().to_string();
    let source = Source::open(&state, &fleet.path("none"), "main").expect("opened");
    let commit: CommitId = commit.parse().expect("a commit");
    let entries = source.entries(commit, wanted).expect("readable");
    let bytes = |(path, blob)| (path, source.blob(blob, 1 << 20).expect("readable"));
    entries.into_iter().map(bytes).collect()
}

fn trailer(fleet: &Fleet, commit: &str, name: &str) -> String {
    let format = format!("--format=%(trailers:key={name},valueonly)");
    let shown = fleet.git(&["log", "-1", &format, commit]);
    String::from_utf8(shown.stdout)
        .expect("UTF-8")
        .trim()
        .to_owned()
}

/// A commit for a person who wants to know why it does not follow.
fn shown(fleet: &Fleet, commit: &str) -> String {
    let shown = fleet.git(&["show", "--format=fuller", commit]);
    String::from_utf8_lossy(&shown.stdout).into_owned()
}
