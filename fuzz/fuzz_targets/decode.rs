//! Any bytes through the decoder: an answer always, its places within the text, nothing in it that a terminal
//! obeys, and the same answer twice.
#![no_main]

use easyenclave_schemas::decode::{Problem, decode, identify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let decoded = decode(text);
    let lines = lines(&String::from_utf8_lossy(text));
    match &decoded {
        Ok(located) => {
            assert_eq!(identify(text).as_ref(), Some(&located.identity));
            let (line, column) = located.position("/spec");
            assert!(is_within(&lines, line, column), "{line}:{column}");
        }
        Err(problems) => {
            assert!(!problems.is_empty() && problems.len() <= 50);
            assert!(problems.is_sorted());
            for problem in problems {
                judge(problem);
                let placed = is_within(&lines, problem.line, problem.column);
                assert!(placed || problem.code == "not-utf8", "{problem:?}");
            }
        }
    }
    assert_eq!(decode(text), decoded);
});

fn judge(problem: &Problem) {
    assert!(problem.message.len() < 2000, "{problem:?}");
    let told = problem.message.chars();
    let mut told = told.chain(problem.suggestion.iter().flat_map(|text| text.chars()));
    assert!(!told.any(char::is_control), "{problem:?}");
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
