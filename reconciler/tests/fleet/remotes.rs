//! Remotes that stay silent, refuse, or take history back: the daemon goes on serving, says so, and
//! recovers by itself where it may.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Fleet, PROGRAM, condition, deployment, find};

#[test]
fn history_that_is_taken_back_is_refused_and_a_descendant_is_taken_up() {
    let fleet = Fleet::started(1, 1);
    fleet.wait_running(1);
    let old = fleet.git(&["rev-parse", "main"]);
    let old = String::from_utf8_lossy(&old.stdout).trim().to_owned();
    let two = fleet.commit("deployments/acme/web.yaml", Some(&deployment("web", 2, "")));
    fleet.wait_running(2);
    assert!(
        fleet
            .git(&["update-ref", "refs/heads/main", &old])
            .status
            .success()
    );
    let status = fleet.wait("the rewritten history is refused", |status| {
        condition(&status["fleet"], "Readable")["reason"] == "HistoryRewritten"
    });
    assert_eq!(status["fleet"]["effectiveCommit"], two.as_str());
    assert_eq!(fleet.workloads().len(), 2, "what ran still runs");
    assert!(
        fleet
            .git(&["update-ref", "refs/heads/main", &two])
            .status
            .success()
    );
    fleet.commit("deployments/acme/web.yaml", Some(&deployment("web", 3, "")));
    fleet.wait_running(3);
    fleet.stop();
}

#[test]
fn pushes_that_are_refused_do_not_stop_the_fleet_and_go_through_later() {
    let fleet = Fleet::started(1, 0);
    fleet.wait_running(1);
    let hook = fleet.state().join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().expect("a folder")).expect("made");
    std::fs::write(
        &hook,
        "#!/bin/sh\necho 'the branch is frozen' >&2\nexit 1\n",
    )
    .expect("written");
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).expect("executable");
    fleet.commit("deployments/acme/web.yaml", Some(&deployment("web", 2, "")));
    fleet.until("the second replica runs", || fleet.workloads().len() == 2);
    fleet.wait("the trouble is told where it can be", |status| {
        let published = condition(&status["fleet"], "Published");
        published["reason"] == "Refused"
            && published["message"]
                .as_str()
                .is_some_and(|text| text.contains("frozen"))
    });
    std::fs::remove_file(&hook).expect("removed");
    fleet.until("the remote has it", || {
        let shown = fleet.git(&["show", "status:fleet.yaml"]);
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        text.contains("replicasReady: 2") && text.contains("reason: Pushed")
    });
    fleet.stop();
}

#[test]
fn a_status_branch_that_moves_under_us_is_built_upon() {
    let fleet = Fleet::started(1, 1);
    fleet.wait_running(1);
    let theirs = fleet.git(&[
        "commit-tree",
        "-m",
        "theirs",
        "-p",
        "status",
        "status^{tree}",
    ]);
    let theirs = String::from_utf8_lossy(&theirs.stdout).trim().to_owned();
    assert!(
        fleet
            .git(&["update-ref", "refs/heads/status", &theirs])
            .status
            .success()
    );
    fleet.commit("deployments/acme/web.yaml", Some(&deployment("web", 2, "")));
    fleet.wait_running(2);
    fleet.until("our newest commit stands on theirs", || {
        let shown = fleet.git(&["show", "status:fleet.yaml"]);
        let contains = fleet.git(&["merge-base", "--is-ancestor", &theirs, "status"]);
        String::from_utf8_lossy(&shown.stdout).contains("replicasReady: 2")
            && contains.status.success()
    });
    fleet.stop();
}

#[test]
fn a_status_branch_that_cannot_be_read_is_written_anew() {
    let mut fleet = Fleet::started(1, 0);
    fleet.wait_published(1);
    fleet.kill_serve();
    let state = fleet.state().display().to_string();
    let strange = |text: &str| Some(text.as_bytes().to_vec());
    let changes = BTreeMap::from([
        ("agents/zz/x.yaml".to_owned(), strange("rubbish")),
        ("notes/theirs.md".to_owned(), strange("kept")),
    ]);
    let author = ("Eve", "eve@example.invalid");
    easyenclave_git::commit_files(&state, "status", &changes, "rubbish", author, 2)
        .expect("committed");
    let read = || fleet_status(&fleet, &state);
    assert!(read().is_none(), "nobody can read it");
    fleet.start_serve();
    fleet.until("the branch can be read again", || {
        fleet_status(&fleet, &state).is_some_and(|status| {
            find(&status["deployments"], "deployment", "acme/web")["ready"] == 1
        })
    });
    let files = fleet.git(&["ls-tree", "-r", "--name-only", "status"]);
    let files = String::from_utf8_lossy(&files.stdout).into_owned();
    assert!(!files.contains("agents/zz"), "{files}");
    assert!(files.contains("notes/theirs.md"), "{files}");
    fleet.stop();
}

fn fleet_status(fleet: &Fleet, state: &str) -> Option<Value> {
    let output = fleet.run(&["status", "--repo", state, "--output", "json"]);
    let read = output.status.success();
    read.then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn a_remote_that_never_answers_does_not_stop_the_daemon() {
    let mut fleet = Fleet::started(1, 0);
    fleet.wait_running(1);
    fleet.kill_serve();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound");
    let held = std::thread::spawn(move || {
        // Connections are taken and kept, and nothing is ever said.
        silent
            .incoming()
            .take(3)
            .filter_map(Result::ok)
            .collect::<Vec<TcpStream>>()
    });
    fleet.relocate(&format!("git://{address}/state.git"));
    fleet.start_serve();
    fleet.until("the daemon answers", || {
        get(&fleet, "/healthz").contains("200 OK")
    });
    let mut answers = 0;
    for _ in 0..20 {
        answers += u32::from(get(&fleet, "/healthz").contains("200 OK"));
        sleep(Duration::from_millis(100));
    }
    assert_eq!(answers, 20, "the daemon answers all the time");
    assert_eq!(fleet.workloads().len(), 1, "what ran still runs");
    fleet.kill_serve();
    let state = fleet.state().display().to_string();
    fleet.relocate(&state);
    fleet.start_serve();
    fleet.commit("deployments/acme/web.yaml", Some(&deployment("web", 2, "")));
    fleet.wait_running(2);
    drop(held);
    fleet.stop();
}

#[test]
fn a_repository_at_a_url_is_fetched_and_pushed() {
    let mut fleet = Fleet::new(1, 0);
    let url = format!("file://{}", fleet.state().display());
    fleet.relocate(&url);
    fleet.start_serve();
    fleet.start_worker();
    fleet.wait_running(1);
    let status = fleet.run(&["status", "--repo", &url, "--output", "json"]);
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stderr)
    );
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert!(!find(&status["deployments"], "deployment", "acme/web").is_null());
    fleet.stop();
}

fn get(fleet: &Fleet, path: &str) -> String {
    use std::io::Write;
    let address = fleet.url().replace("http://", "");
    let Ok(mut stream) = TcpStream::connect(&address) else {
        return String::new();
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(request.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_path_that_is_no_repository_ends_serve_at_once_and_leaves_nothing_behind() {
    let fleet = Fleet::new(1, 0);
    std::fs::create_dir(fleet.path("folder")).expect("made");
    for (repo, why) in [
        ("sate.git", "does not exist"),
        ("folder", "is not a Git repository"),
    ] {
        let output = fleet.run(&["serve", "--repo", repo, "--listen", "127.0.0.1:0"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("--repo") && said.contains(repo) && said.contains(why),
            "{said}"
        );
        assert!(!fleet.path("easyenclave-data").exists(), "nothing was made");
    }
}

#[test]
fn a_relative_path_counts_from_where_serve_was_started() {
    let fleet = Fleet::new(1, 0);
    let mut serve = Command::new(PROGRAM);
    serve.args(["serve", "--repo", "state.git", "--listen", "127.0.0.1:0"]);
    serve.current_dir(fleet.path("")).stderr(Stdio::null());
    let mut serve = serve.spawn().expect("started");
    let settings = fleet.path("easyenclave-data/settings.json");
    fleet.until("it has started", || settings.exists());
    let kept = std::fs::read_to_string(settings).expect("readable");
    serve.kill().expect("killed");
    serve.wait().expect("gone");
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    assert_eq!(kept["repository"], fleet.state().display().to_string());
}

#[test]
fn a_repository_that_vanishes_changes_nothing_and_is_read_again_when_it_is_back() {
    let fleet = Fleet::started(1, 0);
    fleet.wait_running(1);
    let (state, aside) = (fleet.state(), fleet.path("aside.git"));
    std::fs::rename(&state, &aside).expect("moved");
    let gone = fleet.wait("it cannot be read", |status| {
        condition(&status["fleet"], "Readable")["reason"] == "Unreadable"
    });
    let web = find(&gone["deployments"], "deployment", "acme/web");
    assert_eq!(web["ready"], 1, "what ran still runs");
    std::fs::rename(&aside, &state).expect("moved back");
    fleet.commit("deployments/acme/web.yaml", Some(&deployment("web", 2, "")));
    fleet.wait_running(2);
    fleet.stop();
}
