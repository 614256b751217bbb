//! The way from the root of a document to a place in it, as people write it and as a JSON pointer.

use std::fmt::Write as _;

use super::problem::shorten;

/// A step into a mapping or a list.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'t> {
    Field(&'t str),
    Item(usize),
}

/// A way from the root.
#[derive(Debug, Clone, Default)]
pub(crate) struct Path<'t>(Vec<Step<'t>>);

impl<'t> Path<'t> {
    pub(crate) fn push(&mut self, step: Step<'t>) {
        self.0.push(step);
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The place as people write it: `spec.workload.process.command[1]`.
    pub(crate) fn name(&self) -> String {
        let mut name = String::new();
        for step in &self.0 {
            match step {
                Step::Field(field) if name.is_empty() => name.push_str(&shorten(field, 60)),
                Step::Field(field) => _ = write!(name, ".{}", shorten(field, 60)),
                Step::Item(index) => _ = write!(name, "[{index}]"),
            }
        }
        name
    }

    /// The place as a JSON pointer.
    pub(crate) fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.0 {
            match step {
                Step::Field(field) => push_field(&mut pointer, field),
                Step::Item(index) => _ = write!(pointer, "/{index}"),
            }
        }
        pointer
    }
}

/// Appends a field to a JSON pointer.
pub(crate) fn push_field(pointer: &mut String, field: &str) {
    pointer.push('/');
    for c in field.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}
