//! That nothing is missing: each row of the matrix has a test with its id in its name, and each reason code has a
//! test that meets it. Both are read from the tests' own texts, so a row or code without one fails here by name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use easyenclave_schemas::evidence::ReasonCode;

/// Where tests of attestation are.
const PLACES: [&str; 4] = [
    "providers/attestation/src",
    "providers/attestation/tests",
    "reconciler/src",
    "reconciler/tests",
];

/// The rows: group and last number.
const ROWS: [(&str, u32); 7] = [
    ("reg", 17),
    ("tcb", 3),
    ("rtmr", 3),
    ("nonce", 3),
    ("aud", 5),
    ("con", 3),
    ("api", 3),
];

struct Test {
    name: String,
    body: String,
}

/// Every test function below those places, but for this file's.
fn tests() -> Vec<Test> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for place in PLACES {
        collect(&root.join(place), &mut files);
    }
    files.retain(|file| !file.ends_with("tests/matrix/codes.rs"));
    let texts = files
        .iter()
        .map(|file| fs::read_to_string(file).expect("readable"));
    texts.flat_map(|text| functions(&text)).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// From the attribute to the closing brace at its own depth.
fn functions(text: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let attribute = line.trim_start();
        if !(attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test")) {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - attribute.len()]);
        let body: Vec<_> = lines.by_ref().take_while(|line| *line != end).collect();
        let body = body.join("\n");
        let name = body
            .split("fn ")
            .nth(1)
            .and_then(|rest| rest.split('(').next());
        let name = name.unwrap_or_default().to_owned();
        tests.push(Test { name, body });
    }
    tests
}

/// The rows that a name carries: `matrix_tcb_001_to_003_…`, `matrix_nonce_002_and_003_…`, `matrix_reg_001_…`.
fn rows(name: &str) -> Vec<(String, u32)> {
    let mut words = name.split('_').skip_while(|word| *word != "matrix").skip(1);
    let Some(group) = words.next() else {
        return Vec::new();
    };
    let words: Vec<_> = words.collect();
    let number = |at: usize| {
        words
            .get(at)
            .filter(|word| word.len() == 3)?
            .parse::<u32>()
            .ok()
    };
    let Some(first) = number(0) else {
        return Vec::new();
    };
    let numbers: Vec<u32> = match (words.get(1), number(2)) {
        (Some(&"to"), Some(last)) => (first..=last).collect(),
        (Some(&"and"), Some(other)) => vec![first, other],
        _ => vec![first],
    };
    numbers
        .into_iter()
        .map(|number| (group.to_owned(), number))
        .collect()
}

#[test]
fn every_row_of_the_matrix_has_a_test() {
    let tests = tests();
    let found: BTreeSet<_> = tests.iter().flat_map(|test| rows(&test.name)).collect();
    let wanted = ROWS
        .iter()
        .flat_map(|(group, last)| (1..=*last).map(|number| ((*group).to_owned(), number)));
    let missing: Vec<_> = wanted.filter(|row| !found.contains(row)).collect();
    assert!(missing.is_empty(), "rows without a test: {missing:?}");
}

/// A number that is kept for what agents say in words of their own today: nothing of ours is refused with it.
const UNUSED: ReasonCode = ReasonCode::Superseded;

#[test]
fn every_reason_code_has_a_test_that_meets_it() {
    let tests = tests();
    let met = |code: &&ReasonCode| {
        let (variant, text) = (format!("{code:?}"), code.code());
        tests.iter().any(|test| {
            let mut words = test.body.split(|c: char| !c.is_alphanumeric());
            test.body.contains(text) || words.any(|word| word == variant)
        })
    };
    let used = ReasonCode::ALL.iter().filter(|code| **code != UNUSED);
    let missing: Vec<_> = used.filter(|code| !met(code)).collect();
    assert!(missing.is_empty(), "codes without a test: {missing:?}");
}

#[test]
fn names_are_read_as_they_are_meant() {
    let row = |group: &str, number| (group.to_owned(), number);
    assert_eq!(rows("matrix_reg_001_an_agent"), [row("reg", 1)]);
    assert_eq!(
        rows("matrix_nonce_002_and_003_weak"),
        [row("nonce", 2), row("nonce", 3)]
    );
    assert_eq!(rows("matrix_tcb_001_to_003_revoked").len(), 3);
    assert!(rows("a_matrix_of_numbers").is_empty() && rows("something").is_empty());
}
