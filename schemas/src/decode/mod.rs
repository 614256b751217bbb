//! State documents from YAML: text → tree with places → held against the kind's JSON Schema → typed →
//! judged by the kind's rules. Every problem is reported with its place; no bytes make it panic.

mod mend;
mod merge;
pub(crate) mod path;
mod pattern;
pub(crate) mod problem;
mod rules;
pub(crate) mod scalar;
mod schema;
mod shape;
#[cfg(test)]
mod tests;
pub(crate) mod tree;
mod typed;
mod walk;
pub(crate) mod words;

use std::hash::{DefaultHasher, Hash, Hasher};

pub use problem::{Problem, did_you_mean};
pub use schema::json_schema;

use crate::documents::{Document, Identity};
use problem::{At, Problems};
use tree::{Dialect, Node, Value};

/// The longest document, in bytes. One that somebody wrote by hand has less than 10 KiB.
pub const MAX_BYTES: usize = 256 * 1024;

/// A document that knows where its fields stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// The document.
    pub document: Document,
    /// What identifies it.
    pub identity: Identity,
    /// The places of all values by a hash of their pointers, sorted: repositories have many documents,
    /// and only those with problems across documents are ever asked. A collision shows a wrong line.
    places: Box<[(u64, At)]>,
    /// What is unknown, because something stands there that does not fit. Only what is left of a flawed document has any.
    unknown: Vec<mend::Unknown>,
}

/// A document that does not fit, or that a rule forbids.
#[derive(Debug, Clone, PartialEq)]
pub struct Flawed {
    /// Everything that is wrong with it, in the order of the text, up to a bound.
    pub problems: Vec<Problem>,
    /// What is left of it, with stand-ins for what is unknown: to look for what else is wrong, and for nothing else. None
    /// when it is not even known which document this is.
    pub rest: Option<Box<Located>>,
}

impl Located {
    /// Whether all is known that stands under a JSON pointer.
    pub fn knows(&self, pointer: &str) -> bool {
        let is_under = |below: &str, above: &str| {
            let rest = below.strip_prefix(above);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut unknown = self.unknown.iter();
        !unknown.any(|it| is_under(&it.pointer, pointer) || is_under(pointer, &it.pointer))
    }

    /// The text that stands under a JSON pointer though it does not fit there.
    pub fn unfit(&self, pointer: &str) -> Option<&str> {
        let it = self.unknown.iter().find(|it| it.pointer == pointer)?;
        it.found.as_deref()
    }

    /// The line and column, from 1, of the value under a JSON pointer. When there is none, of the
    /// nearest value above it.
    pub fn position(&self, pointer: &str) -> (u32, u32) {
        let mut pointer = pointer;
        loop {
            if let Some(at) = self.at(pointer) {
                return (at.line, at.column);
            }
            match pointer.rfind('/') {
                Some(end) => pointer = &pointer[..end],
                None => return (1, 1),
            }
        }
    }

    /// The place of the value under a JSON pointer, where there is one.
    fn at(&self, pointer: &str) -> Option<At> {
        let wanted = hash(pointer);
        let index = self.places.binary_search_by_key(&wanted, |(hash, _)| *hash);
        Some(self.places[index.ok()?].1)
    }
}

/// Reads a document.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text, up to a bound.
pub fn decode(text: &[u8]) -> Result<Located, Vec<Problem>> {
    salvage(text).map_err(|flawed| flawed.problems)
}

/// Reads a document, or as much of it as can be.
///
/// # Errors
/// Everything that is wrong with it, and what is left of it.
pub fn salvage(text: &[u8]) -> Result<Located, Flawed> {
    let mut problems = Problems::default();
    let located = read(text, &mut problems);
    match located {
        Some(located) if problems.is_empty() => Ok(located),
        rest => Err(Flawed {
            rest: rest.filter(|_| !problems.is_full()).map(Box::new),
            problems: problems.into_sorted(),
        }),
    }
}

/// What a document says it is, even when it is wrong elsewhere. `None` when that cannot be told.
pub fn identify(text: &[u8]) -> Option<Identity> {
    let mut ignored = Problems::default();
    let text = utf8(text, MAX_BYTES, &mut ignored)?;
    let root = tree::parse(text, Dialect::Document, &mut ignored)?;
    typed::claimed(&root)
}

fn read(text: &[u8], problems: &mut Problems) -> Option<Located> {
    let text = utf8(text, MAX_BYTES, problems)?;
    let mut root = tree::parse(text, Dialect::Document, problems)?;
    let shape = shape::of(&root);
    walk::walk(&root, shape, problems);
    let places = places(&root);
    let unknown = match problems.is_empty() {
        true => Vec::new(),
        false if problems.is_full() => return None,
        false => mend::mend(&mut root, shape),
    };
    let document = match typed::document(&root) {
        Ok(document) => document,
        Err(error) => {
            // The schema is at least as strict as the types, so this is a second net.
            if problems.is_empty() {
                let message = problem::shorten(&error.to_string(), 200);
                problems.add(Problem::new(root.at, "invalid", message));
            }
            return None;
        }
    };
    let identity = typed::identity(&document);
    let located = Located {
        document,
        identity,
        places,
        unknown,
    };
    let frame = ["/apiVersion", "/kind", "/metadata/name", "/metadata/owner"];
    if !frame.iter().all(|pointer| located.knows(pointer)) {
        return None;
    }
    for finding in rules::judge(&located) {
        let (line, column) = located.position(&finding.pointer);
        let problem = Problem::new(At { line, column }, finding.code, finding.message);
        problems.add(problem.of(finding.pointer));
    }
    Some(located)
}

/// The bytes as text, if they are UTF-8 and not more than `most`.
pub(crate) fn utf8<'a>(text: &'a [u8], most: usize, problems: &mut Problems) -> Option<&'a str> {
    if text.len() > most {
        let message = format!("the file is larger than {} KiB", most / 1024);
        problems.add(Problem::new(At::new(1, 1), "too-large", message));
        return None;
    }
    match std::str::from_utf8(text) {
        Ok(text) => Some(text),
        Err(error) => {
            let valid = String::from_utf8_lossy(&text[..error.valid_up_to()]);
            let line = valid.matches('\n').count() + 1;
            let column = valid
                .rsplit('\n')
                .next()
                .map_or(0, |last| last.chars().count())
                + 1;
            let message = "the file is not UTF-8 text";
            problems.add(Problem::new(At::new(line, column), "not-utf8", message));
            None
        }
    }
}

fn hash(pointer: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    pointer.hash(&mut hasher);
    hasher.finish()
}

fn places(root: &Node<'_>) -> Box<[(u64, At)]> {
    let mut places = Vec::new();
    let mut pointer = String::new();
    collect(root, &mut pointer, &mut places);
    places.sort_by_key(|(hash, _)| *hash);
    places.into()
}

fn collect(node: &Node<'_>, pointer: &mut String, places: &mut Vec<(u64, At)>) {
    places.push((hash(pointer), node.at));
    let end = pointer.len();
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                path::push_field(pointer, &entry.key);
                collect(&entry.node, pointer, places);
                pointer.truncate(end);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                pointer.push('/');
                pointer.push_str(&index.to_string());
                collect(item, pointer, places);
                pointer.truncate(end);
            }
        }
        Value::Scalar(_) | Value::Broken => {}
    }
}
