//! Holds a Compose file against the grammar and our rules for single values; reports all that does not fit, each
//! thing once and at its own place.

use crate::compose::WorkloadRules;
use crate::decode::path::{Path, Step};
use crate::decode::problem::{At, Problem, Problems, did_you_mean, shorten};
use crate::decode::scalar::Scalar;
use crate::decode::tree::{Entry, Node, Value};
use crate::decode::words::found;

use super::shape::{Fault, Field, Form, Refusal, Shape, Take};

/// Reports all that does not fit.
pub(super) fn walk(root: &Node<'_>, shape: &Shape, rules: &WorkloadRules, problems: &mut Problems) {
    let path = Path::default();
    Walker {
        path,
        rules,
        problems,
    }
    .node(root, root.at, shape);
}

struct Walker<'t, 'p> {
    path: Path<'t>,
    rules: &'p WorkloadRules,
    problems: &'p mut Problems,
}

impl<'t> Walker<'t, '_> {
    /// `name` is where the node's name stands: fields that are missing are reported there.
    fn node(&mut self, node: &'t Node<'_>, name: At, shape: &Shape) {
        match (shape, &node.value) {
            (Shape::Any, _) | (_, Value::Broken) => {}
            (Shape::Optional(_), Value::Scalar(Scalar::Null(_))) => {}
            (Shape::Optional(shape), _) => self.node(node, name, shape),
            (Shape::ByKind { scalar, list, map }, value) => {
                let chosen = match value {
                    Value::List(_) => list,
                    Value::Map(_) => map,
                    _ => scalar,
                };
                match chosen {
                    Some(chosen) if !is_null_for(chosen, value) => self.node(node, name, chosen),
                    _ => self.unexpected(node, shape),
                }
            }
            (Shape::List(shape), Value::List(items)) => self.items(items, shape),
            (Shape::Named(form, shape), Value::Map(entries)) => self.named(entries, *form, shape),
            (Shape::Fields(fields), Value::Map(entries)) => {
                let meant = self.fields(fields, entries);
                self.missing(fields, &meant, node, name);
            }
            (Shape::Pairs(form), Value::Map(entries)) => self.named(entries, *form, &PAIR),
            (Shape::Pairs(form), Value::List(items)) => self.pairs(items, *form),
            (shape, Value::Scalar(scalar)) => self.scalar(node, scalar, shape),
            (shape, _) => self.unexpected(node, shape),
        }
    }

    fn scalar(&mut self, node: &Node<'_>, scalar: &Scalar<'_>, shape: &Shape) {
        match (shape, scalar) {
            (Shape::Text(form) | Shape::Scalar(form) | Shape::Number(form), Scalar::Text(text)) => {
                self.form(node.at, text, *form);
            }
            (Shape::Scalar(form) | Shape::Number(form), Scalar::Integer(raw, value)) => {
                let is_octal = raw.starts_with('0') && raw.len() > 1;
                let text = if is_octal {
                    raw.to_string()
                } else {
                    value.to_string()
                };
                self.form(node.at, &text, *form);
            }
            (Shape::Scalar(form) | Shape::Number(form), Scalar::Float(raw)) => {
                self.form(node.at, raw, *form);
            }
            (Shape::Bool, scalar) if truth(scalar).is_some() => {}
            (Shape::Off(_), scalar) if truth(scalar) == Some(false) => {}
            (Shape::Off(refusal), scalar) if truth(scalar) == Some(true) => {
                self.refuse(node.at, refusal);
            }
            _ => self.unexpected(node, shape),
        }
    }

    fn items(&mut self, items: &'t [Node<'_>], shape: &Shape) {
        for (index, item) in items.iter().enumerate() {
            self.step(Step::Item(index), item, item.at, shape);
        }
    }

    fn named(&mut self, entries: &'t [Entry<'_>], form: Form, shape: &Shape) {
        for entry in entries {
            self.path.push(Step::Field(&entry.key));
            self.form(entry.at, &entry.key, form);
            self.path.pop();
            self.step(Step::Field(&entry.key), &entry.node, entry.at, shape);
        }
    }

    fn pairs(&mut self, items: &'t [Node<'_>], form: Form) {
        for (index, item) in items.iter().enumerate() {
            self.path.push(Step::Item(index));
            match &item.value {
                Value::Scalar(Scalar::Text(text)) => {
                    let name = text.split_once('=').map_or(&**text, |(name, _)| name);
                    self.form(item.at, name, form);
                }
                Value::Broken => {}
                _ => self.unexpected(item, &PAIR_TEXT),
            }
            self.path.pop();
        }
    }

    fn step(&mut self, step: Step<'t>, node: &'t Node<'_>, name: At, shape: &Shape) {
        self.path.push(step);
        self.node(node, name, shape);
        self.path.pop();
    }

    /// Tells which fields were probably meant by unknown ones. Stops when nobody would be told more, since an unknown field is
    /// compared with all the others.
    fn fields(&mut self, fields: &[Field], entries: &'t [Entry<'_>]) -> Vec<&'static str> {
        let mut meant = Vec::new();
        for entry in entries {
            if self.problems.is_full() {
                break;
            }
            if entry.key.starts_with("x-") {
                continue;
            }
            match fields.iter().find(|field| field.name == entry.key) {
                Some(Field { take, .. }) => match take {
                    Take::Shape(shape) => {
                        self.step(Step::Field(&entry.key), &entry.node, entry.at, shape);
                    }
                    Take::Refuse(refusal) => {
                        self.path.push(Step::Field(&entry.key));
                        self.refuse(entry.at, refusal);
                        self.path.pop();
                    }
                },
                None => meant.extend(self.unknown(fields, entry, entries)),
            }
        }
        meant
    }

    /// The answer is the field that was probably meant.
    fn unknown(
        &mut self,
        fields: &[Field],
        entry: &'t Entry<'_>,
        entries: &[Entry<'_>],
    ) -> Option<&'static str> {
        let free = |field: &&Field| entries.iter().all(|entry| entry.key != field.name);
        let names = fields.iter().filter(free).map(|field| field.name);
        let near = did_you_mean(&entry.key, names);
        let within = self.within();
        let key = shorten(&entry.key, 60);
        let message =
            format!("unknown field `{key}`{within}; a field of your own begins with `x-`");
        self.path.push(Step::Field(&entry.key));
        self.report(Problem::new(entry.at, "unknown-field", message).suggest(near));
        self.path.pop();
        near
    }

    fn missing(&mut self, fields: &[Field], meant: &[&str], node: &Node<'_>, name: At) {
        for field in fields.iter().filter(|field| field.is_required) {
            if node.entry(field.name).is_none() && !meant.contains(&field.name) {
                let within = self.within();
                let message = format!("missing field `{}`{within}", field.name);
                self.report(Problem::new(name, "missing-field", message));
            }
        }
    }

    fn within(&self) -> String {
        match self.path.is_empty() {
            true => String::new(),
            false => format!(" in `{}`", self.path.name()),
        }
    }

    fn form(&mut self, at: At, text: &str, form: Form) {
        match form(text, self.rules) {
            Ok(()) => {}
            Err(Fault::Refused(refusal)) => self.refuse(at, &refusal),
            Err(Fault::Expected(expected)) => {
                let (name, text) = (self.path.name(), shorten(text, 100));
                let message = format!("`{name}`: expected {expected}, found \"{text}\"");
                self.report(Problem::new(at, "bad-format", message));
            }
        }
    }

    fn refuse(&mut self, at: At, refusal: &Refusal) {
        let message = format!("`{}`: {}", self.path.name(), refusal.why);
        self.report(Problem::new(at, refusal.code, message));
    }

    fn unexpected(&mut self, node: &Node<'_>, shape: &Shape) {
        let (expected, found) = (shape.expected(), found(&node.value));
        let mut message = match self.path.is_empty() {
            true => format!("expected {expected}, found {found}"),
            false => format!("`{}`: expected {expected}, found {found}", self.path.name()),
        };
        let suggestion = quoted(shape, &node.value);
        if suggestion.is_some() {
            message.push_str("; quote it to make it a text");
        }
        self.report(Problem::new(node.at, "wrong-type", message).suggest(suggestion));
    }

    fn report(&mut self, problem: Problem) {
        let pointer = self.path.pointer();
        self.problems.add(problem.of(pointer));
    }
}

/// A scalar beside a name.
static PAIR: Shape = Shape::ByKind {
    scalar: Some(&Shape::Any),
    list: None,
    map: None,
};
static PAIR_TEXT: Shape = Shape::Text(|_, _| Ok(()));

/// Whether nothing is given where something is due; `Any` and `Optional` are content with nothing.
fn is_null_for(shape: &Shape, value: &Value<'_>) -> bool {
    let is_null = matches!(value, Value::Scalar(Scalar::Null(_)));
    is_null && !matches!(shape, Shape::Any | Shape::Optional(_))
}

/// What a scalar says to Compose where true or false is due.
pub(super) fn truth(scalar: &Scalar<'_>) -> Option<bool> {
    match scalar {
        Scalar::Bool(_, value) => Some(*value),
        Scalar::Text(text) => match text.to_lowercase().as_str() {
            "true" | "y" | "yes" | "on" => Some(true),
            "false" | "n" | "no" | "off" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn quoted(shape: &Shape, value: &Value<'_>) -> Option<String> {
    let takes_text = match shape {
        Shape::Text(_) => true,
        Shape::ByKind { scalar, .. } => matches!(scalar, Some(Shape::Text(_))),
        _ => false,
    };
    match value {
        Value::Scalar(Scalar::Null(_) | Scalar::Text(_)) => None,
        Value::Scalar(scalar) if takes_text => Some(format!("\"{}\"", shorten(scalar.raw(), 100))),
        _ => None,
    }
}
