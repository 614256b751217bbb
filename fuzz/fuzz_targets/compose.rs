//! Any bytes as a Compose file: an answer always, its places within the text, nothing in it that a terminal obeys; and a document
//! that runs reads again, without variables and under the same rules, to itself.
#![no_main]

use std::collections::BTreeMap;

use easyenclave_schemas::compose::{MAX_BYTES, WorkloadRules, read};
use easyenclave_schemas::decode::Problem;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let env = [("A", "one"), ("B", ""), ("C", "$A ${D} \"'\n")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let env = BTreeMap::from(env);
    let lines = lines(&String::from_utf8_lossy(text));
    for (pinned, host_network) in [(false, false), (false, true), (true, true)] {
        let rules = WorkloadRules {
            pinned,
            host_network,
        };
        match read(text, &rules, &env) {
            Ok(composition) => {
                assert!(composition.document.len() <= MAX_BYTES);
                judge(&composition.warnings, &lines);
                let again = read(composition.document.as_bytes(), &rules, &BTreeMap::new());
                let again = again.expect("what runs is let through");
                assert_eq!(again.document, composition.document);
                assert_eq!(again.services, composition.services);
            }
            Err(problems) => {
                assert!(!problems.is_empty() && problems.len() <= 50);
                judge(&problems, &lines);
            }
        }
    }
});

fn judge(problems: &[Problem], lines: &[usize]) {
    assert!(problems.is_sorted());
    for problem in problems {
        assert!(problem.message.len() < 2000, "{problem:?}");
        let told = problem.message.chars();
        let mut told = told.chain(problem.suggestion.iter().flat_map(|text| text.chars()));
        assert!(!told.any(char::is_control), "{problem:?}");
        let placed = is_within(lines, problem.line, problem.column);
        assert!(placed || problem.code == "not-utf8", "{problem:?}");
    }
}

/// How many characters each line has, after YAML's line breaks.
fn lines(text: &str) -> Vec<usize> {
    let text = text.replace("\r\n", "\n");
    let lines = text.split(['\n', '\r']);
    lines.map(|line| line.chars().count()).collect()
}

/// The end of a line, and of the text, are places as well.
fn is_within(lines: &[usize], line: u32, column: u32) -> bool {
    let (line, column) = (line as usize, column as usize);
    let length = match line.checked_sub(1) {
        Some(index) if index < lines.len() => lines[index],
        Some(index) if index == lines.len() => 0,
        _ => return false,
    };
    (1..=length + 1).contains(&column)
}
