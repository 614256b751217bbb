//! Manifests: lints and versions come from the workspace, and what is built is what is committed.

use crate::expect_none;
use crate::tree::{File, files, read};

#[test]
fn every_crate_takes_the_workspaces_lints_and_edition() {
    let wanted = [
        "[lints]\nworkspace = true",
        "edition.workspace = true",
        "license.workspace = true",
    ];
    let problems: Vec<_> = manifests()
        .iter()
        .flat_map(|file| {
            let missing = wanted.iter().filter(|line| !file.text.contains(**line));
            missing
                .map(|line| format!("{}: {line:?} is missing", file.path))
                .collect::<Vec<_>>()
        })
        .collect();
    expect_none("a crate's manifest inherits", &problems);
    let root = read("Cargo.toml");
    assert!(root.contains("edition = \"2024\"") && root.contains("unsafe_code = \"forbid\""));
}

#[test]
fn versions_are_written_once() {
    let problems: Vec<_> = manifests()
        .iter()
        .flat_map(|file| {
            let own = dependencies(&file.text)
                .into_iter()
                .filter(|line| !is_inherited(line));
            own.map(|line| format!("{}: {line}", file.path))
                .collect::<Vec<_>>()
        })
        .collect();
    expect_none(
        "a dependency's version stands in the workspace's manifest",
        &problems,
    );
}

#[test]
fn every_dependency_of_the_workspace_is_used() {
    let manifests = manifests();
    let used = |name: &str| {
        let uses = |line: &&str| line.split(['.', ' ']).next() == Some(name);
        manifests
            .iter()
            .any(|file| dependencies(&file.text).iter().any(uses))
    };
    let root = read("Cargo.toml");
    let declared = root
        .split("[workspace.dependencies]")
        .nth(1)
        .expect("the workspace's versions");
    let declared = declared.split("\n[").next().unwrap_or_default();
    let names = declared
        .lines()
        .filter_map(|line| Some(line.split_once(" = ")?.0));
    let problems: Vec<_> = names
        .filter(|name| !used(name))
        .map(str::to_owned)
        .collect();
    expect_none("nobody uses this dependency of the workspace", &problems);
}

/// Everything comes from the public registry, by its own name: no mirror, no Git repository, no path outside.
#[test]
fn the_lock_file_is_committed_and_names_one_registry() {
    let lock = read("Cargo.lock");
    let sources = lock.lines().filter(|line| line.starts_with("source = "));
    let others = sources.filter(|line| {
        *line != "source = \"registry+https://github.com/rust-lang/crates.io-index\""
    });
    let others: Vec<_> = others.map(str::to_owned).collect();
    expect_none("Cargo.lock", &others);
    let files = files();
    assert!(
        files.iter().any(|file| file.path == "Cargo.lock"),
        "Cargo.lock is not committed"
    );
    let config = files
        .iter()
        .filter(|file| file.path.contains(".cargo/config"));
    let replaced =
        config.filter(|file| file.text.contains("source") || file.text.contains("registry"));
    let replaced: Vec<_> = replaced.map(|file| file.path.clone()).collect();
    expect_none(
        "a committed Cargo configuration names a registry",
        &replaced,
    );
}

/// The manifests of the crates; the workspace's own and the fuzz targets' stand outside.
fn manifests() -> Vec<File> {
    let member =
        |file: &File| file.path.ends_with("/Cargo.toml") && !file.path.starts_with("fuzz/");
    let manifests: Vec<_> = files().into_iter().filter(member).collect();
    assert!(
        manifests.len() > 5,
        "there are {} manifests",
        manifests.len()
    );
    manifests
}

/// The lines of a manifest that name a dependency.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line.trim_end_matches(']').ends_with("dependencies");
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            lines.push(line);
        }
    }
    lines
}

/// From the workspace, or one of our own crates by its path.
fn is_inherited(line: &str) -> bool {
    let own = line.contains("path = \"") && !line.contains("version");
    line.contains("workspace = true") || own
}

#[test]
fn a_version_in_a_crate_is_found() {
    let manifest = "[package]\nname = \"a\"\n[dependencies]\nserde.workspace = true\nhex = \"0.4\"\n\
                    [dev-dependencies]\na = { path = \".\" }\n[[bench]]\nname = \"b\"\n";
    let own: Vec<_> = dependencies(manifest)
        .into_iter()
        .filter(|l| !is_inherited(l))
        .collect();
    assert_eq!(own, ["hex = \"0.4\""]);
}
