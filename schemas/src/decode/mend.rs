//! Stand-ins for what does not fit, so that the rest of a flawed document can be judged. Whoever judges is told which
//! places are unknown; nothing that was mended is ever in force.

use super::path::push_field;
use super::problem::did_you_mean;
use super::scalar::Scalar;
use super::shape::{Field, Shape};
use super::tree::{Entry, Node, Value};
use super::words::fits;

/// A place of which nothing is known any more.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unknown {
    /// Its JSON pointer.
    pub(super) pointer: String,
    /// The text that stands there, where another one is due. None of what may be a secret.
    pub(super) found: Option<String>,
}

/// Makes a tree fit its shape. The answer is what is unknown after that.
pub(super) fn mend(root: &mut Node<'_>, shape: &Shape) -> Vec<Unknown> {
    let mut mender = Mender::default();
    mender.node(root, shape);
    mender.unknown
}

#[derive(Default)]
struct Mender {
    pointer: String,
    unknown: Vec<Unknown>,
}

impl Mender {
    /// Whether the node as a whole had to give way.
    fn node(&mut self, node: &mut Node<'_>, shape: &Shape) -> bool {
        match (shape, &mut node.value) {
            (Shape::Any, _) => {}
            (Shape::Fields(fields), Value::Map(entries)) => {
                self.known(fields, entries);
                self.missing(fields, node);
            }
            (Shape::OneOf(fields), Value::Map(entries)) if has_one(fields, entries) => {
                self.known(fields, entries);
            }
            (Shape::Free(shape), Value::Map(entries)) => {
                for Entry { key, node, .. } in entries {
                    self.below(key, |it| it.node(node, shape));
                }
            }
            (
                Shape::List {
                    items,
                    fewest,
                    most,
                },
                Value::List(found),
            ) if (fewest..=most).contains(&&found.len()) => {
                for (index, item) in found.iter_mut().enumerate() {
                    self.below(&index.to_string(), |it| it.node(item, items));
                }
            }
            (shape, Value::Scalar(scalar)) if fits(shape, scalar) => {}
            (shape, value) => {
                let found = match (shape, &*value) {
                    (Shape::Text { .. }, Value::Scalar(Scalar::Text(text))) => {
                        Some(text.to_string())
                    }
                    _ => None,
                };
                *value = stand_in(shape);
                self.lose(found);
                return true;
            }
        }
        false
    }

    /// Unknown fields go, and with them what is known of those that they may have been meant for. So do optional ones
    /// that do not fit.
    fn known(&mut self, fields: &[Field], entries: &mut Vec<Entry<'_>>) {
        entries.retain_mut(|Entry { key, node, .. }| {
            let is_it = |field: &&Field| field.name == *key;
            match fields.iter().find(is_it).map(|field| (field, &field.shape)) {
                Some((field, shape)) if !matches!(shape, Shape::Refused) => {
                    let is_stand_in = self.below(key, |it| it.node(node, shape));
                    field.required || !is_stand_in
                }
                _ => {
                    let names = fields.iter().map(|field| field.name.as_str());
                    for name in did_you_mean(key, names).into_iter().chain([&**key]) {
                        self.below(name, |it| it.lose(None));
                    }
                    false
                }
            }
        });
    }

    fn missing(&mut self, fields: &[Field], node: &mut Node<'_>) {
        let at = node.at;
        for field in fields.iter().filter(|field| field.required) {
            if node.entry(&field.name).is_none()
                && let Value::Map(entries) = &mut node.value
            {
                let value = stand_in(&field.shape);
                let (key, node) = (field.name.clone().into(), Node { at, value });
                entries.push(Entry { key, at, node });
                self.below(&field.name, |it| it.lose(None));
            }
        }
    }

    fn lose(&mut self, found: Option<String>) {
        let pointer = self.pointer.clone();
        self.unknown.push(Unknown { pointer, found });
    }

    fn below<A>(&mut self, step: &str, look: impl FnOnce(&mut Self) -> A) -> A {
        let end = self.pointer.len();
        push_field(&mut self.pointer, step);
        let answer = look(self);
        self.pointer.truncate(end);
        answer
    }
}

fn has_one(fields: &[Field], entries: &[Entry<'_>]) -> bool {
    let names = |entry: &&Entry<'_>| fields.iter().any(|field| field.name == entry.key);
    entries.iter().filter(names).count() == 1
}

/// Something that fits.
pub(super) fn stand_in<'a>(shape: &Shape) -> Value<'a> {
    let entry = |field: &Field| {
        let (at, value) = (super::At::new(1, 1), stand_in(&field.shape));
        let (key, node) = (field.name.clone().into(), Node { at, value });
        Entry { key, at, node }
    };
    match shape {
        Shape::Any | Shape::Refused => Value::Scalar(Scalar::Null("".into())),
        Shape::Bool => Value::Scalar(Scalar::Bool("false".into(), false)),
        Shape::Integer { min, .. } | Shape::IntegerOr { min, .. } => {
            Value::Scalar(Scalar::Integer(min.to_string().into(), *min))
        }
        Shape::Hidden => Value::Scalar(Scalar::Text("".into())),
        Shape::Text {
            shortest, pattern, ..
        } => {
            let example = pattern.map(|pattern| pattern.example.to_owned());
            let text = example.unwrap_or_else(|| "x".repeat(*shortest));
            Value::Scalar(Scalar::Text(text.into()))
        }
        Shape::Choice(choices) => {
            let first = choices.first().cloned().unwrap_or_default();
            Value::Scalar(Scalar::Text(first.into()))
        }
        Shape::List { items, fewest, .. } => {
            let item = || Node {
                at: super::At::new(1, 1),
                value: stand_in(items),
            };
            Value::List((0..*fewest).map(|_| item()).collect())
        }
        Shape::Free(_) => Value::Map(Vec::new()),
        Shape::Fields(fields) => {
            let required = fields.iter().filter(|field| field.required);
            Value::Map(required.map(entry).collect())
        }
        Shape::OneOf(fields) => Value::Map(fields.iter().take(1).map(entry).collect()),
    }
}
