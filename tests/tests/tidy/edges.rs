//! Which of our crates may use which: the one-way street from formats to the programs, as a table.

use std::env;
use std::process::Command;

use serde_json::Value;

use crate::expect_none;
use crate::tree::root;

/// A crate, those of ours that it may use, and the features that it may ask of each.
type Row = (
    &'static str,
    &'static [(&'static str, &'static [&'static str])],
);

const SCHEMAS: &str = "easyenclave-schemas";
const PLAN: &str = "easyenclave-plan";
const GIT: &str = "easyenclave-git";
const STORE: &str = "easyenclave-store";
const CAPACITY: &str = "easyenclave-capacity";
const ATTESTATION: &str = "easyenclave-attestation";
const AGENT: &str = "easyenclave-agent";
const PROCESSES: &str = "easyenclave-processes";
const GCP: &str = "easyenclave-gcp";
const IMAGE: &str = "easyenclave-image";
const ENGINE: &str = "easyenclave-engine";
const TUNNEL: &str = "easyenclave-tunnel";

/// The edges of the programs. A new one needs a page in docs/decisions.
const EDGES: [Row; 14] = [
    (SCHEMAS, &[]),
    (PLAN, &[(SCHEMAS, &[])]),
    (GIT, &[]),
    (STORE, &[]),
    (PROCESSES, &[]),
    (ENGINE, &[]),
    (IMAGE, &[(SCHEMAS, &[])]),
    (CAPACITY, &[(SCHEMAS, &[]), (PROCESSES, &[]), (ENGINE, &[])]),
    // The trait is capacity's; a cloud's client is nobody's business but its own crate's.
    (GCP, &[(SCHEMAS, &[]), (CAPACITY, &[])]),
    (TUNNEL, &[(SCHEMAS, &[])]),
    (ATTESTATION, &[(SCHEMAS, &[])]),
    ("hello-tdx", &[]),
    // The agent collects evidence; verifying it is not its business.
    (
        AGENT,
        &[
            (SCHEMAS, &["signature"]),
            (ATTESTATION, &["fetch", "simulated"]),
            (PROCESSES, &[]),
            (ENGINE, &[]),
        ],
    ),
    (
        "easyenclave",
        &[
            (SCHEMAS, &["documents", "signature"]),
            (PLAN, &[]),
            (GIT, &[]),
            (STORE, &[]),
            (CAPACITY, &[]),
            (ATTESTATION, &["fetch", "simulated", "verify"]),
            (AGENT, &[]),
            (GCP, &[]),
            (IMAGE, &[]),
            (TUNNEL, &[]),
            ("hello-tdx", &[]),
        ],
    ),
];

/// What tests of a crate may use beside its own edges and `easyenclave-tests`, which may use all.
const TEST_EDGES: [Row; 10] = [
    (SCHEMAS, &[]),
    (PLAN, &[(SCHEMAS, &["documents"])]),
    (STORE, &[(STORE, &["testing"])]),
    (ENGINE, &[(ENGINE, &["testing"])]),
    (
        CAPACITY,
        &[(CAPACITY, &["testing"]), (ENGINE, &["testing"])],
    ),
    (GCP, &[(GCP, &["testing"]), (CAPACITY, &["testing"])]),
    (TUNNEL, &[(TUNNEL, &["testing"])]),
    (ATTESTATION, &[(ATTESTATION, &["testing"])]),
    (
        AGENT,
        &[(ATTESTATION, &["testing"]), (ENGINE, &["testing"])],
    ),
    (
        "easyenclave",
        &[
            (TUNNEL, &["testing"]),
            (ATTESTATION, &["testing"]),
            (STORE, &["testing"]),
            (CAPACITY, &["testing"]),
            (ENGINE, &["testing"]),
        ],
    ),
];

/// One dependency of one of our crates on another.
#[derive(Debug, PartialEq, Eq)]
struct Edge {
    from: String,
    to: String,
    for_tests: bool,
    features: Vec<String>,
}

#[test]
fn crates_use_each_other_one_way() {
    let edges = edges(&metadata());
    assert!(edges.len() > 10, "{edges:?}");
    let problems: Vec<_> = edges.iter().filter(|edge| !may(edge)).map(say).collect();
    expect_none(
        "the table in tests/tests/tidy/edges.rs does not have",
        &problems,
    );
}

#[test]
fn every_crate_is_in_the_table() {
    let known =
        |name: &str| EDGES.iter().any(|(row, _)| *row == name) || name == "easyenclave-tests";
    let names = packages(&metadata());
    let problems: Vec<_> = names.into_iter().filter(|name| !known(name)).collect();
    expect_none("a crate has a row in tests/tests/tidy/edges.rs", &problems);
}

#[test]
fn the_table_refuses_what_it_should() {
    let edge = |from: &str, to: &str, for_tests, features: &[&str]| Edge {
        from: from.into(),
        to: to.into(),
        for_tests,
        features: features.iter().map(ToString::to_string).collect(),
    };
    assert!(may(&edge(PLAN, SCHEMAS, false, &[])));
    assert!(!may(&edge(PLAN, SCHEMAS, false, &["documents"])));
    assert!(!may(&edge(PLAN, STORE, false, &[])));
    assert!(!may(&edge(STORE, PLAN, false, &[])));
    assert!(!may(&edge(GIT, SCHEMAS, false, &[])));
    assert!(!may(&edge(AGENT, ATTESTATION, false, &["verify"])));
    assert!(!may(&edge(STORE, STORE, false, &["testing"])));
    assert!(may(&edge(STORE, STORE, true, &["testing"])));
}

/// What Cargo knows of the workspace.
pub(crate) fn metadata() -> Value {
    let text = cargo(&[
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]);
    serde_json::from_str(&text).expect("cargo's metadata is JSON")
}

/// Runs Cargo in the repository and gives what it prints.
pub(crate) fn cargo(args: &[&str]) -> String {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(args)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

fn packages(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| text(&package["name"]))
        .collect()
}

fn edges(metadata: &Value) -> Vec<Edge> {
    let ours = packages(metadata);
    let packages = metadata["packages"].as_array().expect("packages");
    let of_package = |package: &Value| {
        let from = text(&package["name"]);
        let dependencies = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .clone();
        dependencies
            .into_iter()
            .map(move |dependency| edge(&from, &dependency))
    };
    let all = packages.iter().flat_map(of_package);
    all.filter(|edge| ours.contains(&edge.to)).collect()
}

fn edge(from: &str, dependency: &Value) -> Edge {
    let features = dependency["features"].as_array().expect("features");
    Edge {
        from: from.into(),
        to: text(&dependency["name"]),
        for_tests: dependency["kind"] == "dev",
        features: features.iter().map(text).collect(),
    }
}

fn may(edge: &Edge) -> bool {
    let row = |table: &[Row]| {
        let row = table.iter().find(|(from, _)| *from == edge.from);
        row.is_some_and(|(_, to)| to.iter().any(|to| allows(to, edge)))
    };
    let is_of_tests = [&edge.from, &edge.to]
        .into_iter()
        .any(|name| name == "easyenclave-tests");
    row(&EDGES) || edge.for_tests && (row(&TEST_EDGES) || is_of_tests)
}

fn allows((to, features): &(&str, &[&str]), edge: &Edge) -> bool {
    *to == edge.to
        && edge
            .features
            .iter()
            .all(|asked| features.contains(&asked.as_str()))
}

fn say(edge: &Edge) -> String {
    let kind = if edge.for_tests { "tests of " } else { "" };
    format!("{kind}{} → {} with {:?}", edge.from, edge.to, edge.features)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
