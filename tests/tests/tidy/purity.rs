//! The net over the parts that must stay pure: the planner, and verification of evidence. Clippy's bans are the
//! first net; this one reads the text, because a ban names one function and leaves its neighbour.

use expect_test::expect_file;

use crate::expect_none;
use crate::mask::lines_with;
use crate::tree::{read, sources};

/// What must stay pure.
const PURE: [&str; 2] = ["reconciler/plan/src/", "providers/attestation/src/verify/"];

/// What pure code never says. `std::{` is on the list because a group import would hide the others.
const IMPURE: [&str; 22] = [
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "std::io",
    "std::os",
    "std::sync",
    "std::{",
    "std as",
    "SystemTime",
    "Instant",
    "static",
    "thread_local",
    "async",
    ".await",
    "println",
    "eprintln",
    "HashMap",
    "HashSet",
    "unsafe",
    "extern",
];

#[test]
fn pure_code_reaches_for_nothing_outside() {
    let sources = sources();
    for folder in PURE {
        let files = sources
            .iter()
            .filter(|source| source.path.starts_with(folder));
        assert!(files.clone().count() > 2, "{folder} has moved");
        let problems: Vec<_> = files
            .flat_map(|source| {
                let found = impure(source.product());
                found
                    .into_iter()
                    .map(|(line, word)| format!("{}:{line}: {word}", source.path))
            })
            .collect();
        expect_none("pure code takes time and all else as arguments", &problems);
    }
}

#[test]
fn the_planner_forbids_its_own_exceptions() {
    let text: String = read("reconciler/plan/src/lib.rs")
        .split_whitespace()
        .collect();
    let forbids = "#![forbid(clippy::disallowed_methods,clippy::disallowed_types,\
                   clippy::disallowed_macros)]";
    assert!(
        text.contains(forbids),
        "reconciler/plan/src/lib.rs does not forbid exceptions"
    );
}

#[test]
fn the_planner_keeps_the_bans_of_the_workspace() {
    let (root, plan) = (read("clippy.toml"), read("reconciler/plan/clippy.toml"));
    let repeated = banned(&plan);
    let missing: Vec<_> = banned(&root)
        .into_iter()
        .filter(|path| !repeated.contains(path))
        .collect();
    assert!(!banned(&root).is_empty() && repeated.len() > banned(&root).len());
    expect_none(
        "reconciler/plan/clippy.toml replaces clippy.toml and repeats it",
        &missing,
    );
}

#[test]
fn every_ban_has_its_reason() {
    for file in ["clippy.toml", "reconciler/plan/clippy.toml"] {
        let text = read(file);
        let bare = text
            .lines()
            .filter(|line| line.contains("path = ") && !line.contains("reason = "));
        let bare: Vec<_> = bare
            .map(|line| format!("{file}: {}", line.trim()))
            .collect();
        expect_none("a ban says why and what to use instead", &bare);
    }
}

/// What the planner is built of, all the way down: one more name here is one more thing to trust with purity.
/// A change shows in the committed list; `UPDATE_EXPECT=1` writes it again.
#[test]
fn the_planner_is_built_of_what_is_listed() {
    let args = [
        "-p",
        "easyenclave-plan",
        "-e",
        "normal",
        "--target",
        "x86_64-unknown-linux-gnu",
    ];
    let form = ["--prefix", "none", "--format", "{p} {f}"];
    let tree =
        crate::edges::cargo(&[&["tree", "--offline", "--locked"], &args[..], &form].concat());
    let lines: Vec<&str> = tree.lines().collect();
    let schemas = lines
        .iter()
        .find(|line| line.starts_with("easyenclave-schemas "));
    let schemas = schemas
        .expect("the planner uses the schemas")
        .trim_end_matches("(*)")
        .trim();
    assert!(
        schemas.ends_with(')'),
        "the planner asks for features of the schemas: {schemas}"
    );
    let mut names: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    names.sort_unstable();
    names.dedup();
    expect_file!["../../plan-tree.txt"].assert_eq(&(names.join("\n") + "\n"));
}

fn impure(code: &str) -> Vec<(usize, &'static str)> {
    let found = |word: &'static str| {
        lines_with(code, word)
            .into_iter()
            .map(move |line| (line, word))
    };
    IMPURE.into_iter().flat_map(found).collect()
}

/// The paths that a clippy.toml bans.
fn banned(toml: &str) -> Vec<String> {
    let entries = toml
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ path = \""));
    entries
        .filter_map(|entry| Some(entry.split_once('"')?.0.to_owned()))
        .collect()
}

#[test]
fn the_net_catches_what_it_is_for() {
    let code = "use std::fs::read_to_string;\nuse std::{env, fs};\nstatic COUNT: u8 = 0;\n\
                async fn f() { g().await }\nlet now = SystemTime::now();\n";
    let lines: Vec<usize> = impure(code).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [1, 2, 5, 3, 4, 4]);
    assert!(
        impure("fn name() -> &'static str { fs() }\nuse std::collections::BTreeMap;").is_empty()
    );
    assert_eq!(
        banned("    { path = \"std::env::var\", reason = \"x\" },\n"),
        ["std::env::var"]
    );
}
