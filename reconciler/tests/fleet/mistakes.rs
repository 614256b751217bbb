//! Mistakes that people push, one after another. What ran before still runs; the status branch names the
//! problem; the fix, or the approval, is taken up.

use serde_json::Value;

use crate::harness::{Fleet, condition, deployment, find, signal};

const WEB: &str = "deployments/acme/web.yaml";

/// The problem that says this word, and that the fleet still runs as it did.
fn problem(fleet: &Fleet, replicas: u64, word: &str) -> Value {
    let said = |status: &Value| {
        let problems = status["problems"].as_array().cloned().unwrap_or_default();
        let says = |problem: &&Value| {
            problem["message"]
                .as_str()
                .is_some_and(|m| m.contains(word))
        };
        problems.iter().find(says).cloned()
    };
    let status = fleet.wait(&format!("{word} is a problem"), |status| {
        said(status).is_some()
    });
    let web = find(&status["deployments"], "deployment", "acme/web");
    assert_eq!(
        (&web["phase"], &web["ready"]),
        (&"running".into(), &replicas.into()),
        "{web}"
    );
    assert_eq!(
        fleet.workloads().len() as u64,
        replicas,
        "what ran still runs"
    );
    said(&status).expect("just seen")
}

fn mended(fleet: &Fleet, replicas: u64) {
    fleet.wait("no problems are left", |status| {
        let web = find(&status["deployments"], "deployment", "acme/web");
        status["problems"].as_array().is_some_and(Vec::is_empty)
            && web["phase"] == "running"
            && web["ready"] == replicas
    });
}

#[test]
fn broken_yaml_an_unknown_field_and_a_missing_target() {
    let fleet = Fleet::started(2, 0);
    fleet.wait_running(2);

    fleet.commit(WEB, Some("kind: Deployment\n  broken: [\n"));
    let found = problem(&fleet, 2, "not valid YAML");
    assert_eq!(
        (&found["line"], &found["column"]),
        (&2.into(), &9.into()),
        "{found}"
    );
    assert!(
        found["consequence"]
            .as_str()
            .is_some_and(|text| text.contains("last good")),
        "{found}"
    );

    fleet.commit(
        WEB,
        Some(&deployment("web", 2, "").replace("replicas:", "replicsa:")),
    );
    let found = problem(&fleet, 2, "replicsa");
    let message = found["message"].as_str().expect("a text");
    assert!(
        message.contains("replicsa") && message.contains("replicas"),
        "{found}"
    );

    let missing = deployment("web", 3, "  placement:\n    targets: [tyni]\n");
    fleet.commit(WEB, Some(&missing));
    let found = problem(&fleet, 2, "tyni");
    let message = found["message"].as_str().expect("a text");
    assert!(
        message.contains("tyni") && message.contains("tiny"),
        "{found}"
    );

    fleet.commit(WEB, Some(&deployment("web", 3, "")));
    mended(&fleet, 3);
    fleet.stop();
}

/// Kills the reconciler and, while it is away, an agent: the next one replaces it, by what was in force.
fn restarted(fleet: &mut Fleet, desired: &str) -> Value {
    fleet.kill_serve();
    let lost = fleet.agents().swap_remove(0);
    signal(lost.pid, "KILL");
    fleet.start_serve();
    fleet.wait("another agent runs what the lost one ran", |status| {
        let agents = status["agents"].as_array().cloned().unwrap_or_default();
        let web = find(&status["deployments"], "deployment", "acme/web");
        status["fleet"]["desiredCommit"] == desired
            && web["ready"] == 2
            && agents
                .iter()
                .all(|agent| agent["agent"] != lost.order.as_str())
    })
}

#[test]
fn an_empty_tree_changes_nothing_and_neither_does_a_restart() {
    let mut fleet = Fleet::started(2, 0);
    fleet.wait_running(2);
    let files = fleet.git(&["ls-tree", "-r", "--name-only", "main"]);
    let files = String::from_utf8_lossy(&files.stdout).into_owned();
    let all: Vec<_> = files.lines().map(|path| (path, None)).collect();
    let before = fleet.git(&["rev-parse", "main"]);
    let empty = fleet.commit_all(&all);
    let status = fleet.wait("the empty tree was considered", |status| {
        status["fleet"]["desiredCommit"] == empty.as_str()
    });
    let readable = condition(&status["fleet"], "Readable");
    assert_eq!(readable["status"], "False", "{readable}");
    assert_ne!(status["fleet"]["effectiveCommit"], empty.as_str());
    assert_eq!(fleet.workloads().len(), 2);
    let status = restarted(&mut fleet, &empty);
    let readable = condition(&status["fleet"], "Readable");
    assert_eq!(readable["reason"], "RevisionRefused", "{readable}");
    let before = String::from_utf8_lossy(&before.stdout).trim().to_owned();
    let output = fleet.git(&["show", &format!("{before}:{WEB}")]);
    let web = String::from_utf8_lossy(&output.stdout).replace("replicas: 2", "replicas: 3");
    // The revert, with one more replica, so that it can be told from before.
    let restored: Vec<(String, String)> = files
        .lines()
        .map(|path| {
            let output = fleet.git(&["show", &format!("{before}:{path}")]);
            (
                path.to_owned(),
                String::from_utf8_lossy(&output.stdout).into_owned(),
            )
        })
        .collect();
    let mut restored: Vec<_> = restored
        .iter()
        .map(|(path, text)| (path.as_str(), Some(text.as_str())))
        .collect();
    restored.retain(|(path, _)| *path != WEB);
    restored.push((WEB, Some(web.as_str())));
    fleet.commit_all(&restored);
    fleet.wait_running(3);
    fleet.stop();
}

#[test]
fn a_renamed_file_is_no_change() {
    let fleet = Fleet::started(2, 0);
    let before = fleet.wait_running(2);
    let commit = fleet.commit_all(&[
        (WEB, None),
        (
            "deployments/acme/renamed.yaml",
            Some(&deployment("web", 2, "")),
        ),
    ]);
    let after = fleet.wait("the rename was considered", |status| {
        status["fleet"]["effectiveCommit"] == commit.as_str()
    });
    assert_eq!(before["agents"], after["agents"], "no agent was touched");
    assert!(after["problems"].as_array().is_some_and(Vec::is_empty));
    fleet.stop();
}

#[test]
fn deleting_half_of_the_deployments_is_held_until_it_is_approved() {
    let fleet = Fleet::started(1, 0);
    for name in ["b", "c", "d"] {
        let path = format!("deployments/acme/{name}.yaml");
        fleet.commit(&path, Some(&deployment(name, 1, "")));
    }
    let all_run = |status: &Value| status["fleet"]["counts"]["deploymentsRunning"] == 4;
    fleet.wait("four deployments run", all_run);
    fleet.commit_all(&[
        ("deployments/acme/c.yaml", None),
        ("deployments/acme/d.yaml", None),
    ]);
    let status = fleet.wait("the removal is held", |status| {
        status["fleet"]["held"]
            .as_array()
            .is_some_and(|held| held.len() == 1)
    });
    assert_eq!(fleet.workloads().len(), 4, "what ran still runs");
    let digest = status["fleet"]["held"][0]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned();
    let why = fleet.run(&["why", "acme/c", "--data", "data"]);
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains(&digest), "{why}");
    for gone in ["acme/c", "acme/d"] {
        assert!(
            why.contains(&format!("held: unassign {gone} from ")),
            "{why}"
        );
    }
    let approved = fleet.run(&[
        "approve",
        &digest,
        "--data",
        "data",
        "--reason",
        "cleaning up",
    ]);
    assert!(
        approved.status.success(),
        "{}",
        String::from_utf8_lossy(&approved.stderr)
    );
    fleet.wait("the removal has happened", |status| {
        let gone = |name: &str| find(&status["deployments"], "deployment", name).is_null();
        gone("acme/c") && gone("acme/d") && status["fleet"]["held"].is_null()
    });
    fleet.until("two workloads are left", || fleet.workloads().len() == 2);
    fleet.stop();
}

#[test]
fn an_approval_that_came_too_late_approves_nothing_later() {
    let mut fleet = Fleet::started(3, 0);
    let before = fleet.wait_running(3);
    let web = fleet.file("deployments/acme/web.yaml");
    let held = |status: &Value| {
        status["fleet"]["held"][0]["digest"]
            .as_str()
            .map(str::to_owned)
    };
    fleet.commit("deployments/acme/web.yaml", None);
    let status = fleet.wait("the removal is held", |status| held(status).is_some());
    let digest = held(&status).expect("a digest");
    fleet.commit("deployments/acme/web.yaml", Some(&web));
    fleet.wait("nothing is held any more", |status| held(status).is_none());
    let approval = format!(
        "apiVersion: easyenclave.dev/v1\nkind: Approval\nmetadata:\n  name: late\nspec:\n  \
         planDigest: \"{digest}\"\n"
    );
    fleet.commit("approvals/late.yaml", Some(&approval));
    fleet.wait("the approval is spent", |status| {
        status["fleet"]["spentApprovals"][0]["planDigest"] == *digest
    });
    // A restart does not bring it back to life.
    fleet.kill_serve();
    fleet.start_serve();
    fleet.wait_running(3);
    fleet.commit("deployments/acme/web.yaml", None);
    let status = fleet.wait("the same removal is held again", |status| {
        held(status).is_some()
    });
    assert_eq!(held(&status).as_deref(), Some(digest.as_str()));
    let pids = |status: &Value| status["agents"].as_array().map(Vec::len);
    assert_eq!(pids(&status), pids(&before));
    assert_eq!(fleet.workloads().len(), 3, "nobody approved it this time");
    let approved = fleet.run(&["approve", &digest, "--data", "data"]);
    assert!(approved.status.success());
    fleet.wait("now somebody has", |status| {
        status["deployments"].as_array().is_some_and(Vec::is_empty)
    });
    fleet.stop();
}
