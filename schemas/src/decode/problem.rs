//! Problems of a document: where, what is wrong, what was expected, what may have been meant.
//! Never quotes more than a line of what was found.

use std::fmt;

use serde::Serialize;

/// More problems of one document than this help nobody.
const MOST: usize = 50;

/// A place in a text: line and column from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl At {
    pub(crate) fn new(line: usize, column: usize) -> Self {
        let small = |number: usize| u32::try_from(number.max(1)).unwrap_or(u32::MAX);
        Self {
            line: small(line),
            column: small(column),
        }
    }
}

/// One problem of one document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The JSON pointer of the field; empty for the document as a whole.
    pub pointer: String,
    /// A stable code in kebab-case.
    pub code: &'static str,
    /// What is wrong and what was expected.
    pub message: String,
    /// What may have been meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

impl Problem {
    /// A problem of the document as a whole, or of a node that has no pointer.
    pub(crate) fn new(at: At, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            line: at.line,
            column: at.column,
            pointer: String::new(),
            code,
            message: message.into(),
            suggestion: None,
        }
    }

    /// The same problem, of the field under this pointer.
    pub(crate) fn of(self, pointer: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            ..self
        }
    }

    /// The same problem with what may have been meant.
    pub(crate) fn suggest(self, suggestion: Option<impl Into<String>>) -> Self {
        Self {
            suggestion: suggestion.map(Into::into),
            ..self
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "\n  help: did you mean `{suggestion}`?"),
            None => Ok(()),
        }
    }
}

/// The problems of one document, up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn add(&mut self, problem: Problem) {
        if !self.is_full() {
            self.0.push(problem);
        }
    }

    /// Whether more would be dropped, so that looking for more is idle.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order of the text.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.0.sort();
        self.0
    }
}

/// At most `most` characters of a text, with an ellipsis when it goes on. Line breaks and other
/// control characters are shown escaped.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    let mut short = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == most {
            short.push('…');
            break;
        }
        if c.is_control() {
            short.extend(c.escape_default());
        } else {
            short.push(c);
        }
    }
    short
}

/// The candidate that was probably meant, when one is close enough.
pub fn did_you_mean<'a>(
    found: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if found.len() > 100 {
        return None;
    }
    let lower = found.to_lowercase();
    let bound = (found.chars().count() / 3).max(1);
    let similar = |candidate: &&str| candidate.len().abs_diff(lower.len()) <= 2 * bound;
    let distance = |candidate: &str| strsim::osa_distance(&lower, &candidate.to_lowercase());
    candidates
        .into_iter()
        .filter(similar)
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map(|(_, candidate)| candidate)
}
