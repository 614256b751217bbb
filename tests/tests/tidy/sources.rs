//! Files that open with what they are for, files and functions that can be read in one go, no silenced lint and
//! no ignored test.

use crate::expect_none;
use crate::mask::lines_with;
use crate::tree::{Source, sources};

/// The longest file, in lines without its unit tests.
const FILE: usize = 400;

/// The longest function, in lines.
const FUNCTION: usize = 60;

/// Files that may be longer, each with its reason.
const LONG_FILES: [(&str, &str); 0] = [];

#[test]
fn every_file_says_first_what_it_is_for() {
    let problem = |source: &Source| {
        let lines = source
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .count();
        let wrong = !(1..=6).contains(&lines);
        wrong.then(|| format!("{}: {lines} lines of `//!` at the top", source.path))
    };
    let problems: Vec<_> = sources().iter().filter_map(problem).collect();
    expect_none("a file starts with one to six lines of `//!`", &problems);
}

#[test]
fn files_can_be_read_in_one_go() {
    let problem = |source: &Source| {
        let lines = source.product().lines().count();
        let excused = LONG_FILES.iter().any(|(path, _)| *path == source.path);
        (lines > FILE && !excused).then(|| format!("{}: {lines} lines", source.path))
    };
    let problems: Vec<_> = sources().iter().filter_map(problem).collect();
    expect_none("a file has at most 400 lines without its tests", &problems);
}

#[test]
fn functions_can_be_read_in_one_go() {
    // A story or a table of cases is told in one piece.
    let is_test = |path: &str| path.contains("/tests/") || path.ends_with("/tests.rs");
    let problems: Vec<_> = sources()
        .iter()
        .filter(|source| !is_test(&source.path))
        .flat_map(|source| {
            let long = functions(&source.code)
                .into_iter()
                .filter(|(_, lines)| *lines > FUNCTION);
            let say = |(line, lines)| format!("{}:{line}: {lines} lines", source.path);
            long.map(say).collect::<Vec<_>>()
        })
        .collect();
    expect_none("a function has at most 60 lines", &problems);
}

#[test]
fn no_lint_is_silenced_and_no_test_ignored() {
    let banned = ["#[allow", "#![allow", "#[ignore", "todo!", "unimplemented!"];
    let problems: Vec<_> = sources()
        .iter()
        .flat_map(|source| {
            let found = banned.iter().flat_map(|word| {
                let lines = lines_with(&source.code, word);
                lines
                    .into_iter()
                    .map(move |line| format!("{}:{line}: {word}", source.path))
            });
            found.collect::<Vec<_>>()
        })
        .collect();
    expect_none(
        "use #[expect(…, reason = …)], and assert what holds today",
        &problems,
    );
}

/// The first line and the length of every function that has a body.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let starts = code
        .match_indices("fn ")
        .filter(|(at, _)| is_function(code, *at));
    let bodies = starts.filter_map(|(at, _)| {
        let body = at + code[at..].find(['{', ';'])?;
        let end = (code.as_bytes()[body] == b'{').then(|| closing(code, body))?;
        let line = |at: usize| code[..at].matches('\n').count() + 1;
        Some((line(at), line(end) - line(at) + 1))
    });
    bodies.collect()
}

fn is_function(code: &str, at: usize) -> bool {
    let before = code[..at].chars().next_back();
    let name = code[at + 3..].trim_start().chars().next();
    before.is_none_or(char::is_whitespace) && name.is_some_and(|c| c.is_alphabetic() || c == '_')
}

fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

#[test]
fn the_length_of_a_function_is_counted() {
    let code =
        "fn a() {\n  if x {\n  }\n}\ntrait T {\n  fn b();\n  fn c(f: fn(u8)) -> u8 {\n  }\n}\n";
    assert_eq!(functions(code), [(1, 4), (7, 2)]);
}
