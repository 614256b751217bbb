//! Holds a tree against the shape of its kind and reports everything that does not fit, each thing once
//! and at its own line and column.

use std::fmt::Write as _;

pub(super) use super::path::push_field;
use super::path::{Path, Step};
use super::problem::{At, Problem, Problems, did_you_mean, shorten};
use super::shape::{Field, Shape};
use super::tree::{Entry, Node, Value};
use super::words::{code, expected, fits, found, is_percent, suggestion};

/// Reports all that does not fit.
pub(super) fn walk(root: &Node<'_>, shape: &Shape, problems: &mut Problems) {
    Walker {
        path: Path::default(),
        problems,
    }
    .node(root, root.at, shape);
}

struct Walker<'t, 'p> {
    path: Path<'t>,
    problems: &'p mut Problems,
}

impl<'t> Walker<'t, '_> {
    /// `name` is where the node's name stands: fields that are missing are reported there.
    fn node(&mut self, node: &'t Node<'_>, name: At, shape: &Shape) {
        match (shape, &node.value) {
            (Shape::Any, _) | (_, Value::Broken) => {}
            (Shape::Refused, _) => self.refused(name),
            (Shape::Fields(fields), Value::Map(entries)) => {
                let meant = self.known(fields, entries);
                self.missing(fields, &meant, node, name);
            }
            (Shape::OneOf(fields), Value::Map(entries)) => {
                let meant = self.known(fields, entries);
                self.exactly_one(fields, &meant, entries, name);
            }
            (Shape::Free(shape), Value::Map(entries)) => {
                for entry in entries {
                    self.step(Step::Field(&entry.key), &entry.node, entry.at, shape);
                }
            }
            (
                Shape::List {
                    items,
                    fewest,
                    most,
                },
                Value::List(found),
            ) => {
                if found.len() < *fewest || found.len() > *most {
                    self.unexpected(node, shape);
                }
                for (index, item) in found.iter().enumerate() {
                    self.step(Step::Item(index), item, item.at, items);
                }
            }
            (shape, Value::Scalar(scalar)) if fits(shape, scalar) => {}
            (shape, _) => self.unexpected(node, shape),
        }
    }

    fn step(&mut self, step: Step<'t>, node: &'t Node<'_>, name: At, shape: &Shape) {
        self.path.push(step);
        self.node(node, name, shape);
        self.path.pop();
    }

    /// Tells which fields were probably meant by unknown ones. Stops when nobody would be told more: an unknown field is
    /// compared with all the others, and thousands of them must not take seconds.
    fn known<'s>(&mut self, fields: &'s [Field], entries: &'t [Entry<'_>]) -> Vec<&'s str> {
        let mut meant = Vec::new();
        for entry in entries {
            if self.problems.is_full() {
                break;
            }
            match fields.iter().find(|field| field.name == entry.key) {
                Some(field) => {
                    self.step(Step::Field(&entry.key), &entry.node, entry.at, &field.shape);
                }
                None => meant.extend(self.unknown(fields, entry, entries)),
            }
        }
        meant
    }

    /// The answer is the field that was probably meant, if it is not there as well.
    fn unknown<'s>(
        &mut self,
        fields: &'s [Field],
        entry: &'t Entry<'_>,
        entries: &[Entry<'_>],
    ) -> Option<&'s str> {
        let accepted = fields
            .iter()
            .filter(|field| !matches!(field.shape, Shape::Refused));
        let names: Vec<_> = accepted.map(|field| field.name.as_str()).collect();
        let near = did_you_mean(&entry.key, names.iter().copied());
        let is_free = |name: &&str| entries.iter().all(|entry| entry.key != *name);
        let meant = near.filter(is_free);
        let mut message = format!(
            "unknown field `{}`{}",
            shorten(&entry.key, 60),
            self.within()
        );
        match (meant, near) {
            (Some(_), _) => {}
            (None, Some(given)) => _ = write!(message, "; `{given}` is there already"),
            (None, None) => _ = write!(message, "; its fields are {}", names.join(", ")),
        }
        self.path.push(Step::Field(&entry.key));
        self.report(Problem::new(entry.at, "unknown-field", message).suggest(meant));
        self.path.pop();
        meant
    }

    /// A field that was meant by one with a typing error is not missing: it is the same mistake.
    fn missing(&mut self, fields: &[Field], meant: &[&str], node: &Node<'_>, name: At) {
        for field in fields.iter().filter(|field| field.required) {
            if node.entry(&field.name).is_none() && !meant.contains(&field.name.as_str()) {
                let message = format!("missing field `{}`{}", field.name, self.within());
                self.report(Problem::new(name, "missing-field", message));
            }
        }
    }

    fn exactly_one(&mut self, fields: &[Field], meant: &[&str], entries: &[Entry<'_>], name: At) {
        let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
        let mut given = entries
            .iter()
            .filter(|entry| names.contains(&entry.key.as_ref()));
        let (first, second) = (given.next(), given.next());
        let (at, found) = match (first, second) {
            (Some(_), None) => return,
            (None, _) if !meant.is_empty() => return,
            (Some(first), Some(second)) => (second.at, format!("{} and {}", first.key, second.key)),
            _ => (name, "none".into()),
        };
        let message = format!(
            "`{}`: expected exactly one of {}, found {found}",
            self.path.name(),
            names.join(", ")
        );
        self.report(Problem::new(at, "exactly-one", message));
    }

    fn refused(&mut self, name: At) {
        let message = format!(
            "`{}` has no place in this kind of document",
            self.path.name()
        );
        self.report(Problem::new(name, "refused-field", message));
    }

    fn unexpected(&mut self, node: &Node<'_>, shape: &Shape) {
        let code = code(shape, &node.value);
        let found = match shape {
            Shape::Hidden => "something else, which is not shown".into(),
            _ => found(&node.value),
        };
        let mut message = match self.path.is_empty() {
            true => format!("expected {}, found {found}", expected(shape)),
            false => format!(
                "`{}`: expected {}, found {found}",
                self.path.name(),
                expected(shape)
            ),
        };
        let suggestion = suggestion(shape, &node.value);
        if code == "wrong-type" && matches!(shape, Shape::Text { .. }) && suggestion.is_some() {
            message.push_str("; quote it to make it a text");
        }
        if is_percent(shape, &node.value) {
            message.push_str("; `%` is not taken here");
        }
        self.report(Problem::new(node.at, code, message).suggest(suggestion));
    }

    fn report(&mut self, problem: Problem) {
        let pointer = self.path.pointer();
        self.problems.add(problem.of(pointer));
    }

    fn within(&self) -> String {
        if self.path.is_empty() {
            String::new()
        } else {
            format!(" in `{}`", self.path.name())
        }
    }
}
