//! Problems of files, and how `check` prints them: for people, for programs, for GitHub's annotations.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use easyenclave_schemas::decode::Problem;
use easyenclave_schemas::documents::Identity;
use easyenclave_schemas::status::ProblemStatus;
use serde::Serialize;

use super::model::Model;
use super::paths::shown;
use crate::words::plural;

/// A problem of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileProblem {
    /// The file, relative to the repository's root.
    pub file: String,
    /// What is wrong. Line 0 stands for the file as a whole.
    #[serde(flatten)]
    pub problem: Problem,
    /// What happens meanwhile.
    #[serde(skip)]
    pub consequence: &'static str,
}

impl FileProblem {
    /// The problem as status shows it.
    pub fn to_status(&self) -> ProblemStatus {
        let Problem {
            line, column, code, ..
        } = self.problem;
        ProblemStatus {
            file: shown(&self.file),
            line,
            column,
            code: code.into(),
            message: self.sentence(),
            consequence: self.consequence.into(),
        }
    }

    /// The message with its suggestion, in one line.
    fn sentence(&self) -> String {
        match &self.problem.suggestion {
            Some(suggestion) => format!("{}; did you mean `{suggestion}`?", self.problem.message),
            None => self.problem.message.clone(),
        }
    }
}

/// What came of a revision.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is in force. `None` when the revision says too little to change anything.
    pub model: Option<Model>,
    /// What is wrong, in the order of files and lines. Without a model, first why there is none.
    pub problems: Vec<ProblemStatus>,
    /// Something could not be read at the moment: loading the same files again may say more.
    pub outage: bool,
    /// Files that hold a removal back from where they count for nothing, with the document.
    pub holding: BTreeMap<String, Identity>,
}

/// What came of checking a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// How many documents were looked at.
    pub documents: usize,
    /// What is wrong, in the order of files and lines.
    pub problems: Vec<FileProblem>,
    /// What is valid and will not do, in the same order.
    pub warnings: Vec<FileProblem>,
}

impl Checked {
    /// Takes documents in that are not read.
    pub(super) fn add_astray(&mut self, found: Vec<FileProblem>) {
        self.documents += found.len();
        self.problems.extend(found);
        let place = |one: &FileProblem| (one.file.clone(), one.problem.line, one.problem.column);
        self.problems.sort_by_key(place);
    }

    /// For people: `file:line:col: message`, with a line of help where there is a suggestion.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for FileProblem { file, problem, .. } in &self.problems {
            let file = shown(file);
            let _ = match problem.line {
                0 => writeln!(text, "{file}: {}", problem.message),
                _ => writeln!(text, "{file}:{problem}"),
            };
        }
        text
    }

    /// Warnings, for people.
    pub fn cautions(&self) -> String {
        let mut text = String::new();
        for FileProblem { file, problem, .. } in &self.warnings {
            let (file, line, column) = (shown(file), problem.line, problem.column);
            let _ = writeln!(text, "{file}:{line}:{column}: warning: {}", problem.message);
        }
        text
    }

    /// For programs: a list of problems.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(&self.problems).expect("problems are plain data") + "\n"
    }

    /// As commands that a GitHub workflow turns into annotations. Their files lie under `dir`, which is relative
    /// to the repository's root.
    pub fn github(&self, dir: &Path) -> String {
        let mut text = String::new();
        let problems = self.problems.iter().map(|problem| ("error", problem));
        let warnings = self.warnings.iter().map(|warning| ("warning", warning));
        for (level, problem) in problems.chain(warnings) {
            let Problem {
                line, column, code, ..
            } = problem.problem;
            let file = dir.join(&problem.file);
            let file = property(&file.to_string_lossy());
            let place = if line == 0 {
                String::new()
            } else {
                format!(",line={line},col={column}")
            };
            let message = data(&problem.sentence());
            let _ = writeln!(text, "::{level} file={file}{place},title={code}::{message}");
        }
        text
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let documents = plural(self.documents, "document");
        match self.problems.len() {
            0 => format!("{documents}, no problems"),
            problems => format!("{documents}, {}", plural(problems, "problem")),
        }
    }
}

/// A workflow command's message.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A workflow command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn checked() -> Checked {
        let problem = Problem {
            line: 3,
            column: 5,
            pointer: "/spec/replica".into(),
            code: "unknown-field",
            message: "100% unknown\n::error::field".into(),
            suggestion: Some("replicas".into()),
        };
        let whole = Problem {
            line: 0,
            suggestion: None,
            ..problem.clone()
        };
        let file = |file: &str, problem| FileProblem {
            file: file.into(),
            problem,
            consequence: "",
        };
        Checked {
            documents: 1,
            problems: vec![file("a,b:c.yaml", problem), file("x", whole)],
            warnings: vec![],
        }
    }

    /// A workflow takes a line that starts with `::` for a command, whatever printed it.
    #[test]
    fn file_names_forge_no_lines() {
        let mut checked = checked();
        for problem in &mut checked.problems {
            problem.file = "a\n::error::forged\u{1b}[31m.yaml".into();
            problem.problem.message = "unknown field".into();
        }
        expect![[r#"
            a\n::error::forged\u{1b}[31m.yaml:3:5: unknown field
              help: did you mean `replicas`?
            a\n::error::forged\u{1b}[31m.yaml: unknown field
        "#]]
        .assert_eq(&checked.text());
        let status = checked.problems[0].to_status();
        assert_eq!(status.file, r"a\n::error::forged\u{1b}[31m.yaml");
        assert_eq!(checked.github(Path::new("")).lines().count(), 2);
    }

    #[test]
    fn github_commands_cannot_be_forged() {
        expect![[r#"
            ::error file=a%2Cb%3Ac.yaml,line=3,col=5,title=unknown-field::100%25 unknown%0A::error::field; did you mean `replicas`?
            ::error file=x,title=unknown-field::100%25 unknown%0A::error::field
        "#]]
        .assert_eq(&checked().github(Path::new("")));
    }

    #[test]
    fn programs_get_every_part() {
        expect![[r#"
            [
              {
                "file": "a,b:c.yaml",
                "line": 3,
                "column": 5,
                "pointer": "/spec/replica",
                "code": "unknown-field",
                "message": "100% unknown\n::error::field",
                "suggestion": "replicas"
              },
              {
                "file": "x",
                "line": 0,
                "column": 5,
                "pointer": "/spec/replica",
                "code": "unknown-field",
                "message": "100% unknown\n::error::field"
              }
            ]
        "#]]
        .assert_eq(&checked().json());
    }

    #[test]
    fn a_summary_counts() {
        assert_eq!(checked().summary(), "1 document, 2 problems");
        assert_eq!(
            Checked {
                documents: 2,
                problems: vec![],
                warnings: vec![],
            }
            .summary(),
            "2 documents, no problems"
        );
    }
}
