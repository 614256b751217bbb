//! Who is let in over HTTP, by a key that was made on the command line or by a job's token; and that neither is ever
//! seen again anywhere.

use easyenclave_attestation::testing::authority::Authority;
use serde_json::json;

use crate::caller::{Caller, believing, owner, token};
use crate::harness::{Fleet, now};

/// Makes a key of acme on the command line.
pub(crate) fn new_key(fleet: &Fleet, more: &[&str]) -> String {
    new_key_in(fleet, ["--data", "data"], more)
}

/// The same where the repository is.
pub(crate) fn new_key_in(fleet: &Fleet, place: [&str; 2], more: &[&str]) -> String {
    let args = [&["key", "new", "acme", "--name", "ci"][..], &place].concat();
    let made = fleet.run(&[&args[..], more].concat());
    assert!(made.status.success(), "{made:?}");
    let key = String::from_utf8(made.stdout).expect("UTF-8");
    let told = String::from_utf8(made.stderr).expect("UTF-8");
    assert!(!told.contains(key.trim()), "only stdout has it");
    key.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_works_from_its_commit_until_the_one_that_revokes_it() {
    let mut fleet = Fleet::new(0, 0);
    fleet.start_serve();
    let caller = Caller::of(&fleet);
    let key = new_key(&fleet, &[]);
    caller.until(&key, Ok("acme")).await;
    let short = new_key(&fleet, &["--expires-in", "0s"]);
    caller.until(&short, Err("api_key_expired")).await;
    let listed = fleet.run(&["key", "list", "--data", "data"]);
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let id = key.split('_').nth(1).expect("an id");
    assert!(
        listed.contains(id) && listed.contains("  acme  until "),
        "{listed}"
    );
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let whole = fleet.run(&["key", "revoke", &key, "--data", "data"]);
    assert!(!whole.status.success(), "a whole key is no id");
    let revoked = fleet.run(&["key", "revoke", id, "--data", "data"]);
    assert!(revoked.status.success(), "{revoked:?}");
    caller.until(&key, Err("invalid_api_key")).await;
    // Operators are told, without the key.
    fleet.wait("the refusal is told", |status| {
        let refusals = status["fleet"]["refusals"].to_string();
        refusals.contains("invalid_api_key") && refusals.contains("a caller with an API key")
    });
    let secret = key.rsplit_once('_').expect("a secret").1;
    nowhere(&fleet, secret);
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_document_that_cannot_be_read_is_not_said_to_be_gone() {
    let mut fleet = Fleet::new(0, 0);
    fleet.start_serve();
    let key = new_key(&fleet, &[]);
    Caller::of(&fleet).until(&key, Ok("acme")).await;
    let id = key.split('_').nth(1).expect("an id");
    let text = fleet.file("owners/acme.yaml");
    fleet.commit("owners/acme.yaml", Some(&format!("{text}mistake: 1\n")));
    let told = |args: &[&str]| {
        let output = fleet.run(&[&["key"], args, &["--data", "data"]].concat());
        let told = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(told.contains("owners/acme.yaml cannot be read"), "{told}");
        assert!(told.contains("may be in force still"), "{told}");
        output.status.success()
    };
    assert!(told(&["list"]));
    assert!(!told(&["revoke", id]));
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_let_in_or_refused_for_its_reason() {
    let authority = Authority::start(now()).await;
    let mut fleet = Fleet::new(0, 0);
    fleet.commit_all(&[
        ("fleet.yaml", Some(&believing(&authority))),
        ("owners/acme.yaml", Some(&owner("acme"))),
    ]);
    fleet.start_serve();
    let caller = Caller::of(&fleet);
    let good = token(&authority, &[]);
    caller.until(&good, Ok("acme")).await;
    let at = now().as_secs();
    for (claim, value, code) in [
        ("aud", json!("another"), "oidc_audience"),
        ("iss", json!("https://issuer.example.com"), "oidc_issuer"),
        ("repository", json!("acme/api"), "oidc_repository"),
        ("ref", json!("refs/heads/topic"), "oidc_ref"),
        ("environment", json!("staging"), "oidc_environment"),
        ("exp", json!(at - 61), "oidc_expired"),
    ] {
        let refused = token(&authority, &[(claim, value)]);
        assert_eq!(caller.me(&refused).await, Err(code.into()), "{claim}");
    }
    assert_eq!(caller.me("").await, Err("missing_auth".into()));
    // A commit that takes the identity out ends it.
    let other = owner("acme").replace("repository: web", "repository: other");
    fleet.commit("owners/acme.yaml", Some(&other));
    caller.until(&good, Err("oidc_repository")).await;
    nowhere(&fleet, good.rsplit_once('.').expect("a signature").1);
    fleet.stop();
}

/// The text is in no file of the fleet, Git's objects included.
fn nowhere(fleet: &Fleet, text: &str) {
    let found = std::process::Command::new("grep");
    let mut grep = found;
    let output = grep
        .args(["-rlaF", "--", text])
        .arg(fleet.path(""))
        .output();
    let output = output.expect("grep runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let objects = fleet.git(&["cat-file", "--batch-all-objects", "--batch"]);
    let objects = String::from_utf8_lossy(&objects.stdout).into_owned();
    assert!(objects.contains("kind: Owner"), "objects are readable");
    assert!(!objects.contains(text));
}
