//! The deploy API over a repository that lies elsewhere, with somebody else at work in it, and with nobody there at all.

use std::os::unix::fs::PermissionsExt;

use reqwest::Method;

use crate::caller::{Caller, owner};
use crate::deploys::{DEPLOY, hello, refs};
use crate::harness::Fleet;
use crate::proofs::new_key_in;

/// Reaches a repository as SSH would. With a file `away` beside it, it does not; with a file `others`, somebody commits as
/// soon as something was fetched.
const WAY: &str = r#"#!/bin/sh
here=$(dirname "$0")
test ! -e "$here/away" || exit 255
eval "$2"
case "$2" in *upload-pack*) ;; *) exit ;; esac
test -e "$here/others" || exit 0
cd "$here/state.git" || exit
export GIT_AUTHOR_NAME=Bob GIT_AUTHOR_EMAIL=bob@example.invalid GIT_COMMITTER_NAME=Bob GIT_COMMITTER_EMAIL=bob@example.invalid
tip=$(git rev-parse main)
made=$(git commit-tree -p "$tip" -m "somebody else's" "$tip^{tree}")
git update-ref refs/heads/main "$made" "$tip"
exit 0
"#;

/// A fleet with nothing deployed and a key of acme, whose repository the reconciler reaches in this way.
async fn fleet() -> (Fleet, Caller, String) {
    let mut fleet = Fleet::new(0, 0);
    fleet.commit("deployments/acme/web.yaml", None);
    let way = fleet.path("way.sh");
    std::fs::write(&way, WAY).expect("written");
    std::fs::set_permissions(&way, PermissionsExt::from_mode(0o755)).expect("it can be run");
    let state = fleet.state().display().to_string();
    fleet.environment = vec![
        ("GIT_SSH_COMMAND", way.display().to_string()),
        ("GIT_SSH_VARIANT", "simple".into()),
    ];
    fleet.relocate(&format!("ssh://host{state}"));
    fleet.start_serve();
    let caller = Caller::of(&fleet);
    let key = new_key_in(&fleet, ["--repo", &state], &[]);
    caller.until(&key, Ok("acme")).await;
    (fleet, caller, key)
}

async fn deploy(caller: &Caller, key: &str) -> (u16, String) {
    let mut call = hello("api", "1");
    call["replicas"] = 0.into();
    let (status, answer) = caller.call(Method::POST, DEPLOY, key, Some(call)).await;
    let said = answer["code"].as_str().or(answer["commit"].as_str());
    (status, said.expect("a code or a commit").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_slower_than_others_tries_again_and_loses_nothing_of_theirs() {
    let (fleet, caller, key) = fleet().await;
    let others = || {
        let log = fleet.git(&["log", "--format=%an %s", "main"]);
        let log = String::from_utf8(log.stdout).expect("UTF-8");
        assert!(!log.contains("deploy: "), "{log}");
        log.matches("Bob somebody else's").count()
    };
    std::fs::write(fleet.path("others"), "").expect("written");
    assert_eq!(deploy(&caller, &key).await, (503, "busy".into()));
    let theirs = others();
    assert!(theirs >= 3, "one for each time that it was tried: {theirs}");
    std::fs::remove_file(fleet.path("others")).expect("removed");
    std::fs::write(fleet.path("away"), "").expect("written");
    let unavailable = (503, "repository_unavailable".into());
    assert_eq!(deploy(&caller, &key).await, unavailable);
    std::fs::remove_file(fleet.path("away")).expect("removed");
    let before = others();
    let (status, commit) = deploy(&caller, &key).await;
    assert_eq!((status, commit.as_str()), (202, refs(&fleet).trim()));
    fleet.file("deployments/acme/api.yaml");
    let log = fleet.git(&["log", "--format=%an", "main"]);
    let log = String::from_utf8(log.stdout).expect("UTF-8");
    assert_eq!(log.matches("Bob").count(), before, "{log}");
    fleet.stop();
}

/// The reconciler has not read the commit yet when the key is shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_newest_commit_revokes_commits_nothing() {
    let (fleet, caller, key) = fleet().await;
    fleet.commit("owners/acme.yaml", Some(&owner("acme")));
    let before = refs(&fleet);
    assert_eq!(deploy(&caller, &key).await, (401, "invalid_api_key".into()));
    assert_eq!(refs(&fleet), before);
    fleet.stop();
}
