//! `easyenclave secret` as people use it, and what it refuses.

use crate::desk::{Desk, texts};

#[test]
fn secrets_are_set_listed_rotated_and_sealed_again() {
    let desk = Desk::started();
    desk.set("set", "acme/db", b"s3cr3t");
    let listed = desk.done(&["secret", "list", "--data", "data"]);
    assert_eq!(listed, "acme/db  secrets/acme/db.yaml  not used\n");
    let document = || desk.fleet.file("secrets/acme/db.yaml");
    let before = document();
    desk.set("rotate", "acme/db", b"n3w\n");
    assert_ne!(document(), before);
    let rotated = document();
    let state = desk.fleet.state().display().to_string();
    let published = || {
        desk.fleet
            .git(&["rev-parse", "--verify", "status"])
            .status
            .success()
    };
    desk.fleet.until("there is a status", published);
    let plan = [
        "plan", "--repo", &state, "--status", "status", "--base", "main~1", "--head", "main",
    ];
    for output in ["text", "json"] {
        let planned = desk.fleet.run(&[&plan[..], &["--output", output]].concat());
        let (said, told) = texts(&planned);
        assert!(said.contains("acme/db"), "{said}{told}");
        assert!(
            !said.contains("YWdl"),
            "a ciphertext is no use to readers: {said}"
        );
    }
    desk.done(&["secret", "rotate", "--recipients", "--data", "data"]);
    assert_ne!(document(), rotated, "sealed again");
    let log = desk.fleet.git(&["log", "-3", "--format=%s", "main"]);
    assert_eq!(
        texts(&log).0,
        "secret: seal again to the recipients of now\nsecret: change acme/db\nsecret: add acme/db\n"
    );
    let checked = desk.fleet.wait("all of it is in force", |status| {
        status["problems"].as_array().is_some_and(Vec::is_empty)
    });
    assert!(!checked.to_string().contains("s3cr3t"));
    desk.fleet.stop();
}

#[test]
fn what_makes_no_sense_is_refused_and_commits_nothing() {
    let desk = Desk::started();
    let head = || texts(&desk.fleet.git(&["rev-parse", "main"])).0;
    let before = head();
    let long = vec![b'x'; 16 * 1024 + 1];
    let cases: [(&[&str], &[u8], &str); 7] = [
        (&["set", "nobody/db"], b"s3cr3t", "main has no owner nobody"),
        (&["set", "acme/db"], b"", "the value is empty"),
        (&["set", "acme/db"], &long, "longer than 16 KiB"),
        (&["set", "acme"], b"s3cr3t", "expected OWNER/NAME"),
        (
            &["rotate", "acme/db"],
            b"s3cr3t",
            "main has no secret acme/db: `secret set` makes one",
        ),
        (
            &["rotate"],
            b"s3cr3t",
            "required arguments were not provided",
        ),
        (
            &["set", "acme/db", "--file", "/nowhere"],
            b"",
            "the file of the value /nowhere does not exist",
        ),
    ];
    for (args, value, said) in cases {
        let output = desk.give(&[&["secret"], args, &["--data", "data"]].concat(), value);
        let (_, told) = texts(&output);
        assert!(
            !output.status.success() && told.contains(said),
            "{args:?}: {told}"
        );
        assert!(!told.contains("s3cr3t"), "{told}");
    }
    let unnamed = desk.fleet.file("fleet.yaml");
    let start = unnamed.find("recipients: [").expect("named");
    desk.fleet.commit(
        "fleet.yaml",
        Some(&(unnamed[..start].to_owned() + "recipients: []\n")),
    );
    let output = desk.give(&["secret", "set", "acme/db", "--data", "data"], b"s3cr3t");
    let (_, told) = texts(&output);
    assert!(
        told.contains("names nobody to seal to: add `spec.secrets.recipients`"),
        "{told}"
    );
    assert_ne!(head(), before, "only what this test itself committed");
    let log = desk.fleet.git(&["log", "-1", "--format=%s", "main"]);
    assert_eq!(texts(&log).0, "a change\n");
    desk.fleet.stop();
}

/// Who commits by hand is told the same, at the place.
#[test]
fn a_copy_under_another_name_is_a_problem_of_the_copy() {
    let desk = Desk::started();
    desk.set("set", "acme/db", b"s3cr3t");
    let copy = desk
        .fleet
        .file("secrets/acme/db.yaml")
        .replace("name: \"db\"", "name: \"api\"");
    desk.fleet.commit("secrets/acme/api.yaml", Some(&copy));
    let status = desk.fleet.wait("the copy is refused", |status| {
        status["problems"]
            .as_array()
            .is_some_and(|list| !list.is_empty())
    });
    let problem = &status["problems"][0];
    assert_eq!(problem["code"], "secret-of-another", "{problem}");
    assert_eq!(
        (&problem["file"], &problem["line"]),
        (&"secrets/acme/api.yaml".into(), &7.into())
    );
    assert_eq!(status["problems"].as_array().map(Vec::len), Some(1));
    desk.fleet.stop();
}
