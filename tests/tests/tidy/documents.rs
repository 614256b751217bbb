//! Documents that stay true: links that lead somewhere, decisions that are listed, nothing of one person's machine,
//! workflows that hold no more power than they need.

use crate::expect_none;
use crate::tree::{File, files, read, root};

#[test]
fn links_lead_somewhere() {
    let documents = files()
        .into_iter()
        .filter(|file| file.path.ends_with(".md"));
    let problems: Vec<_> = documents
        .flat_map(|file| {
            let broken = links(&file.text)
                .into_iter()
                .filter(|link| !leads(&file, link));
            broken
                .map(|link| format!("{}: {link}", file.path))
                .collect::<Vec<_>>()
        })
        .collect();
    expect_none("a link leads to a file of the repository", &problems);
}

#[test]
fn every_decision_is_listed_and_complete() {
    let index = read("docs/decisions/README.md");
    let pages = files()
        .into_iter()
        .filter(|file| file.path.starts_with("docs/decisions/0"));
    let mut problems = Vec::new();
    let mut numbers = Vec::new();
    for page in pages {
        let name = page.path.rsplit('/').next().unwrap_or_default();
        numbers.push(name[..4].to_owned());
        if !index.contains(&format!("]({name})")) {
            problems.push(format!("{name} is not in docs/decisions/README.md"));
        }
        for part in ["## Context", "## Decision", "## Consequence"] {
            if !page.text.contains(&format!("{part}\n")) {
                problems.push(format!("{name} has no {part:?}"));
            }
        }
    }
    expect_none("decision pages", &problems);
    // Numbers are given out before their pages land, so there may be a gap for a while.
    let twice = numbers.windows(2).any(|pair| pair[0] == pair[1]);
    assert!(!twice, "each decision page has a number of its own");
}

/// What people and programs meet by name stands in the pages about it. The names come from the code.
#[test]
fn pages_know_the_names_of_the_code() {
    let names: [(&str, &str, &str, &str); 5] = [
        (
            "docs/status.md",
            "reconciler/plan/src/display/waits.rs",
            "=> \"",
            "\",",
        ),
        (
            "docs/state-documents.md",
            "schemas/src/documents/mod.rs",
            "=> \"",
            "\",",
        ),
        (
            "docs/owners.md",
            "reconciler/src/auth/denied.rs",
            "=> \"",
            "\",",
        ),
        (
            "docs/http-api.md",
            "schemas/src/wire/mod.rs",
            "&str = \"",
            "\";",
        ),
        (
            "docs/http-api.md",
            "reconciler/src/api/public.rs",
            "(super) async fn ",
            "(",
        ),
    ];
    for (page, code, before, after) in names {
        let (text, code_text) = (read(page), read(code));
        let names = between(&code_text, before, after);
        assert!(names.len() > 2, "{code} has {names:?}");
        let missing = names.into_iter().filter(|name| !text.contains(name));
        let missing: Vec<_> = missing.map(|name| format!("{page}: {name}")).collect();
        expect_none("a page does not know a name", &missing);
    }
}

/// The agent is the trusted base: whatever it is built with has a line and a reason.
#[test]
fn the_agents_dependencies_are_listed() {
    let page = read("ARCHITECTURE.md");
    let list = page.split("## The agent's dependencies").nth(1);
    let list = list.expect("ARCHITECTURE.md lists the agent's dependencies");
    let manifest = read("agent/Cargo.toml");
    let lines = manifest
        .split("\n[dependencies]\n")
        .nth(1)
        .unwrap_or_default();
    let lines = lines.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ']).next());
    let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    assert!(names.len() > 5, "{names:?}");
    let missing = names
        .iter()
        .filter(|name| !list.contains(&format!("`{name}`")));
    let missing: Vec<_> = missing.map(ToString::to_string).collect();
    expect_none("ARCHITECTURE.md does not list", &missing);
}

/// Home folders and the like: what works on one machine only. Written in halves, or this file would be found.
#[test]
fn nothing_depends_on_one_machine() {
    let folders = [
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["/wo", "rk/"],
        ["/Us", "ers/"],
        ["C:", "\\"],
    ];
    let folders = folders.map(|halves| halves.concat());
    let problems: Vec<_> = files()
        .iter()
        .flat_map(|file| {
            let found = |line: &str| folders.iter().any(|folder| names_folder(line, folder));
            let lines = file
                .text
                .lines()
                .enumerate()
                .filter(|(_, line)| found(line));
            lines
                .map(|(at, _)| format!("{}:{}", file.path, at + 1))
                .collect::<Vec<_>>()
        })
        .collect();
    expect_none("a path of somebody's machine", &problems);
}

/// A branch of somebody else's can be moved to other code overnight; a commit cannot.
#[test]
fn workflows_are_pinned_and_hold_no_power() {
    let workflows = files().into_iter().filter(|file| {
        file.path.starts_with(".github/workflows/") || file.path.contains("/.github/workflows/")
    });
    let problems: Vec<_> = workflows.flat_map(|file| workflow(&file)).collect();
    expect_none("a workflow", &problems);
}

#[test]
fn one_job_stands_for_all_in_ci() {
    let text = read(".github/workflows/test.yml");
    let jobs = text
        .split("\njobs:\n")
        .nth(1)
        .expect("the workflow has jobs");
    let is_job =
        |line: &&str| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':');
    let names = jobs
        .lines()
        .filter(is_job)
        .map(|line| line.trim().trim_end_matches(':'));
    let others: Vec<_> = names.filter(|name| *name != "conclusion").collect();
    let conclusion = jobs
        .split("\n  conclusion:\n")
        .nth(1)
        .expect("there is a job conclusion");
    assert!(
        conclusion.contains(&format!("needs: [{}]", others.join(", "))),
        "{others:?}"
    );
    assert!(
        conclusion.contains("if: always()"),
        "a skipped job would count as a success"
    );
}

fn workflow(file: &File) -> Vec<String> {
    let mut problems = Vec::new();
    if !file.text.contains("\npermissions: {}\n") {
        problems.push(format!("{}: no empty `permissions` at the top", file.path));
    }
    for line in file.text.lines().map(str::trim) {
        if line.contains("cargo install") && !line.contains('@') {
            problems.push(format!("{}: {line} names no version", file.path));
        }
        let action = line.trim_start_matches("- ").strip_prefix("uses: ");
        let Some(action) = action.filter(|action| !action.starts_with("./")) else {
            continue;
        };
        let commit = action.split(['@', ' ']).nth(1).unwrap_or_default();
        if commit.len() != 40 || !commit.chars().all(|c| c.is_ascii_hexdigit()) {
            problems.push(format!("{}: {action} is not pinned to a commit", file.path));
        }
    }
    problems
}

/// The single words between two marks.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    let found = text
        .split(before)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(after)?.0));
    let word = |name: &&str| !name.is_empty() && !name.contains(char::is_whitespace);
    found.filter(word).collect()
}

/// The targets of a document's links that point into the repository.
fn links(text: &str) -> Vec<&str> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    let targets = targets.map(|(target, _)| target.split('#').next().unwrap_or_default());
    targets
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

fn leads(file: &File, link: &str) -> bool {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    root().join(folder).join(link).exists()
}

/// Whether a line names this folder at the root, rather than one of that name inside another.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"._-}~/*".contains(c))
    })
}

#[test]
fn what_is_wrong_is_found() {
    assert_eq!(
        links("[a](b.md#c) [d](https://e) [f](#g) ![h](i.png)"),
        ["b.md", "i.png"]
    );
    let home = ["/ho", "me/"].concat();
    assert!(names_folder(&format!("path = \"{home}me\""), &home));
    assert!(!names_folder(&format!("$dir{home}me and a{home}"), &home));
    let file = |text: &str| File {
        path: "w.yml".into(),
        text: text.into(),
    };
    assert_eq!(
        workflow(&file("on: push\n    - uses: actions/checkout@v4\n")).len(),
        2
    );
    let commit = "0123456789abcdef".repeat(3);
    let pinned = format!(
        "on: push\npermissions: {{}}\n  - uses: a/b@{} # v4\n",
        &commit[..40]
    );
    assert_eq!(workflow(&file(&pinned)), Vec::<String>::new());
    let installs = format!("{pinned}  - run: cargo install --locked x\n");
    assert_eq!(workflow(&file(&installs)).len(), 1);
}
