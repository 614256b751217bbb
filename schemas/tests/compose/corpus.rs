//! The files, and what is said of each of them, in a neighbour file that `UPDATE_EXPECT=1` refreshes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use easyenclave_schemas::compose::{Composition, WorkloadRules, read};
use easyenclave_schemas::decode::Problem;
use expect_test::expect_file;

/// A file with what its head says of the deployment and the fleet around it.
pub(crate) struct Case {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) rules: WorkloadRules,
}

impl Case {
    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name().expect("a file");
        name.to_string_lossy().into_owned()
    }

    pub(crate) fn read(&self) -> Result<Composition, Vec<Problem>> {
        read(self.text.as_bytes(), &self.rules, &self.env)
    }
}

/// The files of a folder beside this one, sorted.
pub(crate) fn cases(folder: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/compose")
        .join(folder);
    let entries = std::fs::read_dir(&folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    paths.sort();
    paths.into_iter().map(case).collect()
}

fn case(path: PathBuf) -> Case {
    let text = std::fs::read_to_string(&path).expect("a text");
    assert!(
        text.starts_with("# "),
        "{}: what it is like",
        path.display()
    );
    let head = |name: &str| {
        let lines = text.lines().take_while(|line| line.starts_with("# "));
        let mut values = lines.filter_map(|line| line.strip_prefix(&format!("# {name}: ")));
        values.next().unwrap_or_default().to_owned()
    };
    let env = head("env");
    let pairs = env.split_whitespace();
    let pairs = pairs.map(|pair| pair.split_once('=').expect("NAME=VALUE"));
    let env = pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let rules = WorkloadRules {
        pinned: head("rules").contains("pinned"),
        host_network: head("rules").contains("hostNetwork"),
    };
    Case {
        path,
        text,
        env,
        rules,
    }
}

/// What is said of a file, a line for each thing.
fn said(result: &Result<Composition, Vec<Problem>>) -> String {
    let mut said = String::new();
    let problems = match result {
        Ok(composition) => {
            for (name, service) in &composition.services {
                let profiles: Vec<_> = service.profiles.iter().map(String::as_str).collect();
                let profiles = if profiles.is_empty() {
                    "always".into()
                } else {
                    profiles.join("+")
                };
                let (image, replicas) = (&service.image, service.replicas);
                _ = writeln!(said, "{name}: {replicas} of {image}, {profiles}");
            }
            &composition.warnings
        }
        Err(problems) => problems,
    };
    for problem in problems {
        let Problem {
            line,
            column,
            code,
            message,
            suggestion,
            ..
        } = problem;
        _ = write!(said, "{line}:{column} {code} {message}");
        if let Some(suggestion) = suggestion {
            _ = write!(said, " (did you mean `{suggestion}`?)");
        }
        said.push('\n');
    }
    said
}

fn check(folder: &str, fewest: usize, is_good: bool) {
    let cases = cases(folder);
    assert!(cases.len() >= fewest, "{folder}: {} files", cases.len());
    for case in cases {
        let result = case.read();
        let said = said(&result);
        assert_eq!(result.is_ok(), is_good, "{}:\n{said}", case.name());
        expect_file![case.path.with_extension("txt")].assert_eq(&said);
    }
}

#[test]
fn files_of_projects_that_people_run_are_accepted() {
    check("accepted", 25, true);
}

#[test]
fn files_that_reach_out_of_their_project_are_refused_for_a_stated_rule() {
    check("refused", 10, false);
    let stated: Vec<_> = cases("refused")
        .iter()
        .flat_map(|case| case.read().expect_err("refused"))
        .collect();
    for problem in &stated {
        let is_rule = problem.code.starts_with("compose-");
        assert!(is_rule, "{problem}");
    }
}

#[test]
fn broken_files_are_refused_with_their_exact_error() {
    check("broken", 25, false);
}

#[test]
fn every_place_is_in_the_text() {
    let folders = ["refused", "broken"].into_iter();
    for case in folders.flat_map(cases) {
        let lines: Vec<_> = case.text.split('\n').collect();
        for problem in case.read().expect_err("refused") {
            let line = lines
                .get(problem.line as usize - 1)
                .map_or(0, |line| line.chars().count());
            assert!(
                problem.column as usize <= line + 1,
                "{}: {problem}",
                case.name()
            );
        }
    }
}

#[test]
fn what_was_read_reads_again_to_the_same() {
    for case in cases("accepted") {
        let first = case.read().expect("accepted");
        let again = read(first.document.as_bytes(), &case.rules, &BTreeMap::new());
        let again = again.unwrap_or_else(|problems| panic!("{}: {problems:?}", case.name()));
        assert_eq!(first.document, again.document, "{}", case.name());
        assert_eq!(first.services, again.services, "{}", case.name());
    }
}
