//! YAML text as a tree whose every node and key knows its place, with hard limits.
//! Refuses repeated keys and tags; and what state documents have no use for, but Compose has: anchors, aliases, merge keys.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Tag, options};

use super::merge;
use super::problem::{At, Problem, Problems, shorten};
use super::scalar::{Scalar, resolve, resolve_as_compose};

/// The deepest nesting. The formats need nine levels.
const MAX_DEPTH: usize = 32;
/// The most nodes and keys together: a policy with a thousand measurements has some 7,000.
const MAX_NODES: usize = 20_000;
/// The longest key, in bytes: no field and no environment variable has a longer name.
const MAX_KEY: usize = 256;
/// The most text that aliases may copy, in bytes: a Compose file has 64 KiB.
const MAX_COPIED: usize = 1024 * 1024;

const NO_ALIASES: &str = "aliases (`*name`) are not accepted; write the value out";

/// Which YAML is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// State documents: no anchors, aliases and merge keys; numbers after YAML 1.2.
    Document,
    /// Compose files: anchors, aliases and merge keys; numbers as Compose's own parser reads them.
    Compose,
}

/// A node of the tree.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    pub(crate) at: At,
    pub(crate) value: Value<'a>,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Value<'a> {
    Scalar(Scalar<'a>),
    List(Vec<Node<'a>>),
    Map(Vec<Entry<'a>>),
    /// Something that has been reported already, so nothing more is said about it.
    Broken,
}

/// A field of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) at: At,
    pub(crate) node: Node<'a>,
}

impl<'a> Node<'a> {
    /// The field of this name, when this is a mapping that has it.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry<'a>> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The node under a field.
    pub(crate) fn field(&self, key: &str) -> Option<&Node<'a>> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The node under a field, to be changed.
    pub(crate) fn field_mut(&mut self, key: &str) -> Option<&mut Node<'a>> {
        match &mut self.value {
            Value::Map(entries) => {
                let mut entries = entries.iter_mut();
                let found = entries.find(|entry| entry.key == key);
                found.map(|entry| &mut entry.node)
            }
            _ => None,
        }
    }

    /// The text of a scalar that is a text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(Scalar::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// Reads the one document of a file. With `None`, what is wrong is among the problems.
pub(crate) fn parse<'a>(
    text: &'a str,
    dialect: Dialect,
    problems: &mut Problems,
) -> Option<Node<'a>> {
    let mut builder = Builder {
        dialect,
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        copied: 0,
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
    List(Mark, Vec<Node<'a>>),
    Map(Box<OpenMap<'a>>),
}

/// Where a node begins, and the number of its anchor; 0 when it has none.
#[derive(Clone, Copy)]
struct Mark {
    at: At,
    anchor: usize,
}

struct OpenMap<'a> {
    mark: Mark,
    entries: Vec<Entry<'a>>,
    seen: HashMap<Cow<'a, str>, At>,
    key: Option<(Cow<'a, str>, At)>,
    /// What a merge key takes in, once the mapping is complete.
    merged: Vec<Entry<'a>>,
}

/// A problem that a step answers is one after which nothing more can be read.
struct Builder<'a, 'p> {
    dialect: Dialect,
    open: Vec<Open<'a>>,
    anchors: HashMap<usize, Node<'a>>,
    nodes: usize,
    copied: usize,
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
                let mark = self.mark(at, anchor, tag.as_deref());
                let scalar = match (style, self.dialect) {
                    (ScalarStyle::Plain, Dialect::Document) => resolve(text),
                    (ScalarStyle::Plain, Dialect::Compose) => resolve_as_compose(text),
                    _ => Scalar::Text(text),
                };
                self.close(mark, Value::Scalar(scalar))
            }
            Event::SequenceStart(_, anchor, tag) => {
                let mark = self.mark(at, anchor, tag.as_deref());
                self.enter(at, Open::List(mark, Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                let mark = self.mark(at, anchor, tag.as_deref());
                let map = OpenMap {
                    mark,
                    entries: Vec::new(),
                    seen: HashMap::new(),
                    key: None,
                    merged: Vec::new(),
                };
                self.enter(at, Open::Map(Box::new(map)))
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(anchor) => self.alias(at, anchor),
            Event::UnresolvedAlias(name) => {
                let name = shorten(&name, 60);
                let message = match self.dialect {
                    Dialect::Document => NO_ALIASES.into(),
                    Dialect::Compose => format!("there is no anchor `&{name}` above this alias"),
                };
                self.problems.add(Problem::new(at, "alias", message));
                self.close(Mark { at, anchor: 0 }, Value::Broken)
            }
            _ => Ok(()),
        }
    }

    fn mark(&mut self, at: At, anchor: usize, tag: Option<&Tag>) -> Mark {
        if anchor != 0 && self.dialect == Dialect::Document {
            let message = "anchors (`&name`) are not accepted; write the value out";
            self.refuse(at, "anchor", message);
        }
        if tag.is_some() {
            let message = "tags (`!name`) are not accepted; quote a text instead";
            self.refuse(at, "tag", message);
        }
        Mark { at, anchor }
    }

    /// An alias is a copy of its anchor's node, which keeps the places of its text: there a mistake is to be mended.
    fn alias(&mut self, at: At, anchor: usize) -> Result<(), Problem> {
        let value = match self.anchors.get(&anchor) {
            _ if self.dialect == Dialect::Document => {
                self.refuse(at, "alias", NO_ALIASES);
                Value::Broken
            }
            None => {
                self.refuse(at, "alias", "this alias stands inside of its own anchor");
                Value::Broken
            }
            Some(node) => {
                let size = merge::size(node);
                self.nodes += size.nodes;
                self.copied += size.bytes;
                if self.nodes > MAX_NODES || self.copied > MAX_COPIED {
                    return Err(Problem::new(at, "too-large", "aliases copy too much"));
                }
                let node = node.clone();
                return self.put(node);
            }
        };
        self.close(Mark { at, anchor: 0 }, value)
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
            Some(Open::List(mark, items)) => self.close(mark, Value::List(items)),
            Some(Open::Map(map)) => self.close(map.mark, Value::Map(map.complete())),
            None => Ok(()),
        }
    }

    /// A node is complete.
    fn close(&mut self, mark: Mark, value: Value<'a>) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values");
            return Err(Problem::new(mark.at, "too-large", message));
        }
        let node = Node { at: mark.at, value };
        if mark.anchor != 0 && self.dialect == Dialect::Compose {
            self.anchors.insert(mark.anchor, node.clone());
        }
        self.put(node)
    }

    /// A node becomes a key, a value, an item or the root.
    fn put(&mut self, node: Node<'a>) -> Result<(), Problem> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(map)) => match map.key.take() {
                None => map.key = Some((key(node.at, node.value)?, node.at)),
                Some(key) => map.add(key, node, self.dialect, self.problems),
            },
        }
        Ok(())
    }
}

impl<'a> OpenMap<'a> {
    fn add(
        &mut self,
        (key, at): (Cow<'a, str>, At),
        node: Node<'a>,
        dialect: Dialect,
        problems: &mut Problems,
    ) {
        if key == "<<" && dialect == Dialect::Document {
            let message = "merge keys (`<<`) are not accepted; write the fields out";
            problems.add(Problem::new(at, "merge-key", message));
        } else if let Some(At { line, column }) = self.seen.get(&key) {
            let key = shorten(&key, 60);
            let message = format!("field `{key}` is given twice, first at {line}:{column}");
            problems.add(Problem::new(at, "duplicate-field", message));
        } else if key == "<<" {
            self.seen.insert(key, at);
            merge::take(node, &mut self.merged, problems);
        } else {
            self.seen.insert(key.clone(), at);
            self.entries.push(Entry { key, at, node });
        }
    }

    /// All fields: its own, and those that it lacks of what it merges, of which the first counts.
    fn complete(self) -> Vec<Entry<'a>> {
        let (mut entries, mut seen) = (self.entries, self.seen);
        for entry in self.merged {
            if seen.insert(entry.key.clone(), entry.at).is_none() {
                entries.push(entry);
            }
        }
        entries
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
