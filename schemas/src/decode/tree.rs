//! YAML text as a tree whose every node and key knows its place, with hard limits.
//! Refuses what state documents have no use for: anchors, aliases, tags, merge keys, repeated keys.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Tag, options};

use super::problem::{At, Problem, Problems, shorten};
use super::scalar::{Scalar, resolve};

/// The deepest nesting. The formats need nine levels.
const MAX_DEPTH: usize = 32;
/// The most nodes and keys together: a policy with a thousand measurements has some 7,000.
const MAX_NODES: usize = 20_000;
/// The longest key, in bytes: no field and no environment variable has a longer name.
const MAX_KEY: usize = 256;

/// A node of the tree.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) at: At,
    pub(super) value: Value<'a>,
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Scalar(Scalar<'a>),
    List(Vec<Node<'a>>),
    Map(Vec<Entry<'a>>),
    /// Something that has been reported already, so nothing more is said about it.
    Broken,
}

/// A field of a mapping.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) at: At,
    pub(super) node: Node<'a>,
}

impl<'a> Node<'a> {
    /// The field of this name, when this is a mapping that has it.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry<'a>> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The node under a field.
    pub(super) fn field(&self, key: &str) -> Option<&Node<'a>> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The text of a scalar that is a text.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(Scalar::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// Reads the one document of a file. With `None`, what is wrong is among the problems.
pub(super) fn parse<'a>(text: &'a str, problems: &mut Problems) -> Option<Node<'a>> {
    let mut builder = Builder {
        open: Vec::new(),
        nodes: 0,
        root: None,
        problems,
    };
    for event in Parser::new_from_str_with_options(text, parser_options()) {
        let taken = match event {
            Ok((event, span)) => {
                let at = At::new(span.start.line(), span.start.col() + 1);
                builder.take(event, at)
            }
            Err(error) => Err(syntax(&error)),
        };
        if let Err(fatal) = taken {
            builder.problems.add(fatal);
            return None;
        }
    }
    if builder.root.is_none() {
        let message = "the file holds no document";
        builder
            .problems
            .add(Problem::new(At::new(1, 1), "empty", message));
    }
    builder.root
}

fn parser_options() -> Options {
    options! {
        disallow_directives: true,
        emit_comments: false,
        emit_unresolved_aliases: true,
    }
}

fn syntax(error: &ScanError) -> Problem {
    let at = At::new(error.marker().line(), error.marker().col() + 1);
    let mut kind = error.kind().to_string();
    if kind.contains("tab") {
        kind.push_str("; indent with spaces");
    }
    Problem::new(
        at,
        "syntax",
        format!("not valid YAML: {}", shorten(&kind, 200)),
    )
}

/// A collection whose end has not come yet.
enum Open<'a> {
    List(At, Vec<Node<'a>>),
    Map(Box<OpenMap<'a>>),
}

struct OpenMap<'a> {
    at: At,
    entries: Vec<Entry<'a>>,
    seen: HashMap<Cow<'a, str>, At>,
    key: Option<(Cow<'a, str>, At)>,
}

/// A problem that a step answers is one after which nothing more can be read.
struct Builder<'a, 'p> {
    open: Vec<Open<'a>>,
    nodes: usize,
    root: Option<Node<'a>>,
    problems: &'p mut Problems,
}

impl<'a> Builder<'a, '_> {
    fn take(&mut self, event: Event<'a>, at: At) -> Result<(), Problem> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                let message = "a second document begins here; put each into a file of its own";
                Err(Problem::new(at, "several-documents", message))
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(at, anchor, tag.as_deref());
                let plain = style == ScalarStyle::Plain;
                let scalar = if plain {
                    resolve(text)
                } else {
                    Scalar::Text(text)
                };
                self.close(at, Value::Scalar(scalar))
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_extras(at, anchor, tag.as_deref());
                self.enter(at, Open::List(at, Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_extras(at, anchor, tag.as_deref());
                let (entries, seen) = (Vec::new(), HashMap::new());
                self.enter(
                    at,
                    Open::Map(Box::new(OpenMap {
                        at,
                        entries,
                        seen,
                        key: None,
                    })),
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.refuse(
                    at,
                    "alias",
                    "aliases (`*name`) are not accepted; write the value out",
                );
                self.close(at, Value::Broken)
            }
            _ => Ok(()),
        }
    }

    fn refuse_extras(&mut self, at: At, anchor: usize, tag: Option<&Tag>) {
        if anchor != 0 {
            self.refuse(
                at,
                "anchor",
                "anchors (`&name`) are not accepted; write the value out",
            );
        }
        if tag.is_some() {
            self.refuse(
                at,
                "tag",
                "tags (`!name`) are not accepted; quote a text instead",
            );
        }
    }

    fn refuse(&mut self, at: At, code: &'static str, message: &str) {
        self.problems.add(Problem::new(at, code, message));
    }

    fn enter(&mut self, at: At, open: Open<'a>) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(Problem::new(at, "too-deep", message));
        }
        self.open.push(open);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Problem> {
        match self.open.pop() {
            Some(Open::List(at, items)) => self.close(at, Value::List(items)),
            Some(Open::Map(map)) => self.close(map.at, Value::Map(map.entries)),
            None => Ok(()),
        }
    }

    /// A node is complete: it becomes a key, a value, an item or the root.
    fn close(&mut self, at: At, value: Value<'a>) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Problem::new(
                at,
                "too-large",
                format!("more than {MAX_NODES} values"),
            ));
        }
        match self.open.last_mut() {
            None => self.root = Some(Node { at, value }),
            Some(Open::List(_, items)) => items.push(Node { at, value }),
            Some(Open::Map(map)) => match map.key.take() {
                None => map.key = Some((key(at, value)?, at)),
                Some(key) => map.add(key, Node { at, value }, self.problems),
            },
        }
        Ok(())
    }
}

impl<'a> OpenMap<'a> {
    fn add(&mut self, (key, at): (Cow<'a, str>, At), node: Node<'a>, problems: &mut Problems) {
        if key == "<<" {
            let message = "merge keys (`<<`) are not accepted; write the fields out";
            problems.add(Problem::new(at, "merge-key", message));
        } else if let Some(At { line, column }) = self.seen.get(&key) {
            let key = shorten(&key, 60);
            let message = format!("field `{key}` is given twice, first at {line}:{column}");
            problems.add(Problem::new(at, "duplicate-field", message));
        } else {
            self.seen.insert(key.clone(), at);
            self.entries.push(Entry { key, at, node });
        }
    }
}

/// Field names are texts, whatever they look like: `on` and `1` are no less names than `name`.
fn key<'a>(at: At, value: Value<'a>) -> Result<Cow<'a, str>, Problem> {
    match value {
        Value::Scalar(scalar) if scalar.raw().len() <= MAX_KEY => Ok(scalar.into_raw()),
        Value::Scalar(_) => {
            let message = format!("a field's name is longer than {MAX_KEY} bytes");
            Err(Problem::new(at, "key", message))
        }
        Value::Broken | Value::List(_) | Value::Map(_) => Err(Problem::new(
            at,
            "key",
            "expected a field's name, found something else",
        )),
    }
}
