//! Who acts for owners: a key is one owner's and can be verified, and a job acts for one owner. What was in force first
//! stays.

use super::*;
use crate::auth::keys;

const ACME: &str = "owners/acme.yaml";
const OTHER: &str = "owners/other.yaml";

fn owner(name: &str, lines: &str) -> String {
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: Owner\nmetadata:\n  name: {name}\nspec:\n{lines}"
    )
}

fn key(id: &str, hash: &str) -> String {
    format!(
        "  keys:\n    - id: {}\n      hash: {hash}\n      name: ci\n      expires: 2030-01-01T00:00:00Z\n",
        id.repeat(26)
    )
}

#[test]
fn a_key_is_one_owners_and_the_newer_document_is_at_fault() {
    let hash = keys::new().expect("a key").hash;
    let mut story = Story::example();
    story.write(ACME, &owner("acme", &key("a", &hash)));
    story.write(OTHER, &owner("other", &key("b", &hash)));
    assert_eq!(story.problems(), [] as [&str; 0]);
    story.write(OTHER, &owner("other", &key("a", &hash)));
    let told = "owners/other.yaml:7:11: `spec.keys[0].id` is the id of a key of owner acme (the last good version stays in force)";
    assert_eq!(story.problems(), [told]);
}

#[test]
fn a_hash_that_nobody_could_verify_or_should_is_refused() {
    let hash = keys::new().expect("a key").hash;
    let mut story = Story::example();
    for (bad, told) in [
        (
            "$argon2id$nothing".to_owned(),
            "expected a hash by Argon2id in the PHC format, found something else",
        ),
        (
            hash.replacen("m=19456", "m=4194304", 1),
            "expected at most 65536 KiB of memory, 4 passes and 4 lanes, found 4194304 KiB, 2 and 1",
        ),
    ] {
        story.write(ACME, &owner("acme", &key("a", &bad)));
        let line = format!(
            "owners/acme.yaml:8:13: `spec.keys[0].hash`: {told} (the last good version stays in force)"
        );
        assert_eq!(story.problems(), [line]);
    }
}

#[test]
fn a_job_acts_for_one_owner() {
    let mut story = Story::example();
    let web = "  github:\n    - organization: Acme\n      repository: web\n";
    story.write(ACME, &owner("acme", web));
    let refs = "      ref: refs/heads/main\n";
    story.write(OTHER, &owner("other", &web.replace("web", "api")));
    assert_eq!(story.problems(), [] as [&str; 0]);
    for lines in [
        "  github:\n    - organization: acme\n".to_owned(),
        format!("{}{refs}", web.replace("web", "WEB")),
    ] {
        story.write(OTHER, &owner("other", &lines));
        let told = "owners/other.yaml:7:7: `spec.github[0]` has jobs that owner acme names too: a job acts for one owner (the last good version stays in force)";
        assert_eq!(story.problems(), [told]);
    }
}
