//! The command line: what it prints, and its exit codes.

use crate::harness::{Fleet, deployment, find};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_plan_needs_only_a_clone() {
    let fleet = Fleet::started(2, 0);
    fleet.wait_published(2);
    fleet.git(&["branch", "change", "main"]);
    let state = fleet.state().display().to_string();
    let changes = [(
        "deployments/acme/web.yaml".to_owned(),
        Some(deployment("web", 4, "").into()),
    )];
    easyenclave_git::commit_files(
        &state,
        "change",
        &changes.into_iter().collect(),
        "four",
        ("Ada", "ada@example.invalid"),
        3,
    )
    .expect("committed");
    let plan = |output: &str| {
        let args = [
            "plan", "--repo", &state, "--base", "main", "--head", "change", "--status", "status",
        ];
        fleet.run(&[args.as_slice(), &["--output", output]].concat())
    };
    let json = plan("json");
    assert_eq!(json.status.code(), Some(0), "{}", text(&json.stderr));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["changes"][0], "deployment acme/web: replicas: 2 -> 4");
    let tip = text(&fleet.git(&["rev-parse", "status"]).stdout);
    assert_eq!(json["status"]["commit"], tip.trim(), "{json}");
    assert_eq!(json["alarms"].as_array().map(Vec::len), Some(0), "{json}");
    let said = text(&plan("text").stdout);
    let against = format!("and status commit {:.12} of ", tip.trim());
    assert!(
        said.contains(&against) && said.contains("judged as of now"),
        "{said}"
    );
    let detailed = fleet.run(&[
        "plan",
        "--repo",
        &state,
        "--head",
        "change",
        "--status",
        "status",
        "--exit-code",
    ]);
    assert_eq!(
        detailed.status.code(),
        Some(5),
        "{}",
        text(&detailed.stdout)
    );
    assert_eq!(json["actions"].as_array().map(Vec::len), Some(2), "{json}");
    let markdown = text(&plan("markdown").stdout);
    assert!(
        markdown.contains(json["digest"].as_str().expect("a digest")),
        "{markdown}"
    );
    assert!(markdown.chars().count() <= 65_000);
    let base = fleet.run(&[
        "plan", "--repo", &state, "--head", "main", "--status", "status",
    ]);
    assert!(
        text(&base.stdout).contains("nothing to do"),
        "{}",
        text(&base.stdout)
    );
    assert_eq!(base.status.code(), Some(0));
    let aside = fleet.run(&[
        "plan",
        "--repo",
        &state,
        "--base",
        "change",
        "--head",
        "main",
        "--status",
        "status",
        "--exit-code",
    ]);
    let aside = text(&aside.stdout);
    assert!(
        aside
            .lines()
            .next()
            .is_some_and(|line| line.contains("does not descend from")),
        "{aside}"
    );
    fleet.stop();
}

/// Why not, of a revision that nobody has merged: what has an agent, what is given one, and why each other is not chosen.
#[test]
fn why_an_agent_is_not_chosen_needs_only_a_clone() {
    let fleet = Fleet::started(1, 2);
    fleet.wait_published(1);
    fleet.wait("two agents are kept free", |status| {
        find(&status["targets"], "target", "tiny")["agents"] == 3
    });
    let state = fleet.state().display().to_string();
    fleet.git(&["branch", "change", "main"]);
    let next = deployment(
        "next",
        1,
        "  placement:\n    deniedDatacenters: [nowhere]\n",
    );
    let picky = deployment("picky", 1, "  placement:\n    agent: nobody\n");
    let changes = [("next", next), ("picky", picky)].map(|(name, text)| {
        let path = format!("deployments/acme/{name}.yaml");
        (path, Some(text.into_bytes()))
    });
    easyenclave_git::commit_files(
        &state,
        "change",
        &changes.into_iter().collect(),
        "more",
        ("Ada", "ada@example.invalid"),
        3,
    )
    .expect("committed");
    let ask = |name: &str, output: &str| {
        let args = ["why-not", name, "--repo", &state, "--head", "change"];
        let more = ["--status", "status", "--output", output];
        fleet.run(&[args.as_slice(), &more].concat())
    };
    let json = |name: &str| -> serde_json::Value {
        let ended = ask(name, "json");
        assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
        serde_json::from_slice(&ended.stdout).expect("JSON")
    };
    let web = json("web");
    assert_eq!(web["has"].as_array().map(Vec::len), Some(1), "{web}");
    assert_eq!(web["missing"], 0, "{web}");
    assert_eq!(web["code"], serde_json::Value::Null, "{web}");
    let next = json("acme/next");
    assert_eq!(next["gets"].as_array().map(Vec::len), Some(1), "{next}");
    assert_eq!(next["notes"][0]["code"], "WARM_RESERVATION_PENDING");
    let mut codes: Vec<_> = next["agents"].as_array().expect("a list").iter().collect();
    codes.sort_by_key(|agent| agent["code"].to_string());
    assert_eq!(codes.len(), 2, "{next}");
    assert_eq!(codes[0]["code"], "AGENT_NOT_NEEDED", "{next}");
    assert_eq!(codes[1]["code"], "AGENT_STATUS_NOT_DEPLOYABLE", "{next}");
    let picky = json("picky");
    assert_eq!(picky["code"], "AGENT_NOT_FOUND", "{picky}");
    assert_eq!(picky["waits"][0]["reason"], "AgentNotFree", "{picky}");
    let said = text(&ask("picky", "text").stdout);
    let all = "agents that were not chosen: 3 (3 AGENT_NOT_NAMED)";
    assert!(said.contains(all), "{said}");
    let unknown = ask("acme/nex", "text");
    assert_eq!(unknown.status.code(), Some(1));
    let said = text(&unknown.stderr);
    assert!(said.contains("did you mean `acme/next`?"), "{said}");
    fleet.stop();
}

#[test]
fn a_plan_says_what_it_leaves_out_because_it_is_not_committed() {
    let fleet = Fleet::started(1, 0);
    fleet.wait_published(1);
    let clone = fleet.path("clone");
    let state = fleet.state().display().to_string();
    let folder = clone.display().to_string();
    let cloned = std::process::Command::new("git")
        .args(["clone", "--quiet", &state, &folder])
        .status();
    assert!(cloned.expect("git runs").success());
    let plan = |more: &[&str]| {
        let ended = fleet.run(&[&["plan", "--repo", &folder], more].concat());
        assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
        (text(&ended.stdout), text(&ended.stderr))
    };
    std::fs::write(clone.join("README.md"), "no document").expect("written");
    std::fs::write(clone.join("owners/notes.txt"), "no document").expect("written");
    assert_eq!(plan(&[]).1, "", "nothing of the state is edited");
    std::fs::remove_file(clone.join("deployments/acme/web.yaml")).expect("removed");
    std::fs::create_dir(clone.join("deployments/more")).expect("made");
    std::fs::write(clone.join("deployments/more/new.yaml"), "kind: Deployment").expect("written");
    let (said, note) = plan(&[]);
    let expected = "2 files have edits that are not committed: not in this plan \
                    (deployments/acme/web.yaml, deployments/more/new.yaml)\n";
    assert_eq!(note, expected);
    assert!(said.contains("nothing to do"), "{said}");
    fleet.commit("README.md", Some("later"));
    let fetched = std::process::Command::new("git")
        .args(["-C", &folder, "fetch", "--quiet"])
        .status();
    assert!(fetched.expect("git runs").success());
    let (_, note) = plan(&["--head", "origin/main"]);
    assert_eq!(note, "", "what is planned is not what is checked out");
    fleet.stop();
}

#[test]
fn a_plan_shows_changes_of_the_fleet_and_its_owners_and_puts_what_weakens_them_first() {
    let fleet = Fleet::started(1, 0);
    fleet.wait_published(1);
    fleet.git(&["branch", "change", "main"]);
    let state = fleet.state().display().to_string();
    let document =
        fleet.file("fleet.yaml") + "  breaker:\n    maxRemovals: 1000\n    maxPercent: 100\n";
    let document = document.replace("lostAfter: 20s", "lostAfter: 25s");
    let owner = fleet
        .file("owners/acme.yaml")
        .replace("agents: 20", "agents: 5000");
    let changes = [
        ("fleet.yaml".to_owned(), Some(document.into_bytes())),
        ("owners/acme.yaml".to_owned(), Some(owner.into_bytes())),
    ];
    let author = ("Ada", "ada@example.invalid");
    easyenclave_git::commit_files(&state, "change", &changes.into(), "open", author, 3)
        .expect("ok");
    let plan = |output: &str, code: i32| {
        let plan = [
            "plan", "--repo", &state, "--head", "change", "--status", "status",
        ];
        let ended = fleet.run(&[plan.as_slice(), &["--exit-code", "--output", output]].concat());
        assert_eq!(ended.status.code(), Some(code), "{}", text(&ended.stderr));
        text(&ended.stdout)
    };
    let said = plan("text", 5);
    let first: Vec<_> = said.lines().take(3).collect();
    assert_eq!(
        first,
        [
            "WEAKER PROTECTION: fleet test: breaker.maxPercent: 25 -> 100",
            "WEAKER PROTECTION: fleet test: breaker.maxRemovals: 1 -> 1000",
            "WEAKER PROTECTION: owner acme: quota.agents: 20 -> 5000",
        ],
        "{said}"
    );
    assert!(
        said.contains("\n  fleet test: timing.lostAfter: \"20s\" -> \"25s\"\n"),
        "{said}"
    );
    assert!(said.contains("no action follows"), "{said}");
    let page = plan("markdown", 5);
    assert!(
        page.contains("**WEAKER PROTECTION: 3 changes, listed first**"),
        "{page}"
    );
    let section = page.find("#### Weaker protection").expect("a section");
    assert!(
        page[section..].contains("owner acme: quota.agents: 20 -> 5000"),
        "{page}"
    );
    let json: serde_json::Value = serde_json::from_str(&plan("json", 5)).expect("JSON");
    assert_eq!(json["alarms"].as_array().map(Vec::len), Some(3), "{json}");
    let timing = &json["differences"][2];
    assert_eq!(timing["field"], "timing.lostAfter", "{json}");
    assert_eq!(timing["weakens"], false, "{json}");
    fleet.stop();
}

#[test]
fn a_plan_that_removes_too_much_says_so_by_its_exit_code() {
    let fleet = Fleet::started(3, 0);
    fleet.wait_published(3);
    fleet.git(&["branch", "change", "main"]);
    let state = fleet.state().display().to_string();
    let changes = [("deployments/acme/web.yaml".to_owned(), None)];
    let author = ("Ada", "ada@example.invalid");
    easyenclave_git::commit_files(&state, "change", &changes.into(), "none", author, 3)
        .expect("ok");
    let plan = fleet.run(&[
        "plan", "--repo", &state, "--head", "change", "--status", "status",
    ]);
    assert_eq!(plan.status.code(), Some(4), "{}", text(&plan.stdout));
    assert!(
        text(&plan.stdout).contains("held"),
        "{}",
        text(&plan.stdout)
    );
    fleet.stop();
}

#[test]
fn init_makes_a_state_that_checks() {
    let dir = tempfile::tempdir().expect("a folder");
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(crate::harness::PROGRAM);
        command
            .args(args)
            .current_dir(dir.path())
            .output()
            .expect("the program runs")
    };
    let made = run(&["init", "state"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let checked = run(&["check", "state"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));
    let warned = text(&checked.stderr);
    assert!(
        warned.contains("policies/simulated.yaml:11:13: warning: no platform has this root"),
        "{warned}"
    );
    let again = run(&["init", "state"]);
    assert_eq!(again.status.code(), Some(1), "it overwrites nothing");
    let file = dir.path().join("state/capacity/tiny.yaml");
    let wrong = std::fs::read_to_string(&file)
        .expect("there")
        .replace("policy:", "polciy:");
    std::fs::write(&file, wrong).expect("written");
    let checked = run(&["check", "state"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(
        text(&checked.stdout).contains("capacity/tiny.yaml:"),
        "{}",
        text(&checked.stdout)
    );
    let annotated = run(&["check", "state", "--output", "github"]);
    assert!(
        text(&annotated.stdout).starts_with("::error file=state/capacity/tiny.yaml,"),
        "{}",
        text(&annotated.stdout)
    );
}

/// Runs the program in a folder, and answers its exit code and what it said beside its answer.
fn said(folder: &std::path::Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(crate::harness::PROGRAM);
    let output = command.args(args).current_dir(folder).output();
    let output = output.expect("the program runs");
    (output.status.code(), text(&output.stderr))
}

#[test]
fn what_is_missing_is_told_in_words_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let cases: [&[&str]; 10] = [
        &["agent", "--config", "nowhere"],
        &["status"],
        &["why", "web"],
        &["measure"],
        &["approve", "ab12345678"],
        &["worker"],
        &["status", "--data", "nowhere"],
        &["check", "nowhere"],
        &["check"],
        &["up", "nowhere"],
    ];
    for args in cases {
        let (code, said) = said(dir.path(), args);
        assert_eq!(code, Some(1), "{args:?}: {said}");
        assert!(!said.contains("os error"), "{args:?}: {said}");
        let help = ["--data DIR", "does not exist", "no fleet.yaml"];
        assert!(
            help.iter().any(|help| said.contains(help)),
            "{args:?}: {said}"
        );
    }
    let left = dir.path().read_dir().expect("there").count();
    assert_eq!(left, 0, "nothing was made");
}

#[test]
fn a_status_says_its_age_whether_it_was_checked_and_that_nobody_reports_any_more() {
    let mut fleet = Fleet::started(1, 0);
    fleet.wait_published(1);
    let status = |fleet: &Fleet| text(&fleet.run(&["status", "--data", "data"]).stdout);
    let kept = status(&fleet);
    assert!(
        kept.contains("s ago") && kept.contains("signature good"),
        "{kept}"
    );
    assert!(!kept.contains("no reconciler"), "{kept}");
    let state = fleet.state().display().to_string();
    let pushed = text(&fleet.run(&["status", "--repo", &state]).stdout);
    assert!(
        pushed.contains("signature not checked, see `verify`"),
        "{pushed}"
    );
    let second = fleet.run(&[
        "serve",
        "--repo",
        &state,
        "--data",
        "data",
        "--listen",
        "127.0.0.1:0",
    ]);
    let second = text(&second.stderr);
    assert!(
        second.contains("another `up` or `serve` runs with the data folder"),
        "{second}"
    );
    let why = fleet.run(&["why", "wbe", "--data", "data"]);
    let why = text(&why.stderr);
    assert!(why.contains("did you mean `web`?"), "{why}");
    assert!(
        why.contains("easyenclave status --data data` shows"),
        "{why}"
    );
    fleet.kill_serve();
    let left = status(&fleet);
    assert!(left.contains("no reconciler answers"), "{left}");
    fleet.stop();
}

#[test]
fn why_and_status_say_what_a_deployment_waits_for() {
    let mut fleet = Fleet::new(2, 0);
    fleet.start_serve();
    let status = fleet.wait("the deployment waits", |status| {
        let web = find(&status["deployments"], "deployment", "acme/web");
        web["waits"]
            .as_array()
            .is_some_and(|waits| !waits.is_empty())
    });
    let web = find(&status["deployments"], "deployment", "acme/web");
    // Nothing is launched before a worker has said what there is.
    assert_eq!(web["waits"][0]["reason"], "WorkerNotHeardYet", "{web}");
    let why = text(&fleet.run(&["why", "web", "--data", "data"]).stdout);
    assert!(why.contains("WorkerNotHeardYet"), "{why}");
    let unknown = fleet.run(&["why", "nothing", "--data", "data"]);
    assert_eq!(unknown.status.code(), Some(1));
    for name in ["deployments", "agents", "orders", "targets"] {
        assert!(status[name].is_array(), "{name}");
        for thing in status[name].as_array().expect("a list") {
            for field in ["phase", "conditions", "waits"] {
                assert!(!thing[field].is_null(), "{name} without {field}: {thing}");
            }
        }
    }
    fleet.stop();
}

#[test]
fn status_is_never_written_to_the_branch_of_what_should_be() {
    let fleet = Fleet::new(1, 0);
    let state = fleet.state().display().to_string();
    let args = ["serve", "--repo", &state, "--status-branch", "main"];
    let output = fleet.run(&args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains("need a branch each"), "{text}");
}

#[test]
fn why_tells_what_keeps_a_replica_from_starting() {
    let fleet = Fleet::started(1, 0);
    let broken = deployment("web", 1, "").replace("\"easyenclave\", ", "\"no-such-program\", ");
    fleet.commit("deployments/acme/web.yaml", Some(&broken));
    fleet.until("the deployment's own answer says it", || {
        let why = fleet.run(&["why", "web", "--data", "data"]);
        let why = text(&why.stdout);
        why.contains("on tiny-") && why.contains("no-such-program")
    });
    fleet.stop();
}

#[test]
fn a_plan_of_what_is_no_clone_touches_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let lock = dir.path().join("project/Cargo.lock");
    std::fs::create_dir_all(lock.parent().expect("a folder")).expect("made");
    std::fs::write(&lock, "somebody's").expect("written");
    for repo in ["https://git.example.invalid/state.git", "no-such-folder"] {
        let output = std::process::Command::new(crate::harness::PROGRAM)
            .args(["plan", "--repo", repo, "--status", "status"])
            .current_dir(dir.path())
            .env("TMPDIR", dir.path())
            .output()
            .expect("the program runs");
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains("is not a clone on this machine"), "{said}");
    }
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .expect("there")
        .flatten()
        .collect();
    assert!(lock.exists() && left.len() == 1, "{left:?}");
}

#[test]
fn an_answer_that_nobody_reads_is_no_fault() {
    use std::process::{Command, Stdio};
    let fleet = Fleet::started(1, 0);
    fleet.wait_published(1);
    let mut child = Command::new(crate::harness::PROGRAM)
        .args(["status", "--output", "json", "--repo"])
        .arg(fleet.state())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    fleet.stop();
}

#[test]
fn an_approval_goes_to_the_branch_of_the_installation() {
    let mut fleet = Fleet::new(3, 0);
    fleet.git(&["branch", "-m", "main", "prod"]);
    fleet.start_serve_with(&["--branch", "prod"]);
    fleet.start_worker();
    fleet.wait_published(3);
    let state = fleet.state().display().to_string();
    let author = ("Ada", "ada@example.invalid");
    let gone = [("deployments/acme/web.yaml".to_owned(), None)];
    easyenclave_git::commit_files(&state, "prod", &gone.into(), "none", author, 3).expect("ok");
    let status = fleet.wait("the removal is held", |status| {
        status["fleet"]["held"]
            .as_array()
            .is_some_and(|held| !held.is_empty())
    });
    let digest = status["fleet"]["held"][0]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned();
    let approved = fleet.run(&["approve", &digest, "--data", "data"]);
    assert!(approved.status.success(), "{}", text(&approved.stderr));
    assert_eq!(
        text(&approved.stdout).trim().len(),
        40,
        "a commit, for programs"
    );
    let words = text(&approved.stderr);
    assert!(
        words.contains("this approves: 3 replicas of owner acme would go"),
        "{words}"
    );
    assert!(
        words.contains("approved: committed") && words.contains("to prod of "),
        "{words}"
    );
    fleet.wait("the removal went ahead", |status| {
        status["deployments"].as_array().is_some_and(Vec::is_empty)
    });
    let branches = text(&fleet.git(&["branch", "--format=%(refname:short)"]).stdout);
    assert!(!branches.lines().any(|name| name == "main"), "{branches}");
    fleet.stop();
}
