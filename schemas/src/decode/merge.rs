//! Merge keys and copies of YAML: what `<<` takes in, and how much an alias copies.

use super::problem::{Problem, Problems};
use super::tree::{Entry, Node, Value};

/// How much a tree holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Nodes and keys.
    pub(super) nodes: usize,
    /// Bytes of texts and keys.
    pub(super) bytes: usize,
}

/// The size of a tree.
pub(super) fn size(node: &Node<'_>) -> Size {
    let mut size = Size::default();
    add(node, &mut size);
    size
}

fn add(node: &Node<'_>, size: &mut Size) {
    size.nodes += 1;
    match &node.value {
        Value::Scalar(scalar) => size.bytes += scalar.raw().len(),
        Value::List(items) => items.iter().for_each(|item| add(item, size)),
        Value::Map(entries) => {
            for entry in entries {
                size.nodes += 1;
                size.bytes += entry.key.len();
                add(&entry.node, size);
            }
        }
        Value::Broken => {}
    }
}

/// The fields that a merge key takes in: those of a mapping, or of a list of mappings.
pub(super) fn take<'a>(node: Node<'a>, merged: &mut Vec<Entry<'a>>, problems: &mut Problems) {
    match node.value {
        Value::Map(entries) => merged.extend(entries),
        Value::List(items) if items.iter().all(is_mapping) => {
            for item in items {
                take(item, merged, problems);
            }
        }
        Value::Broken => {}
        Value::List(_) | Value::Scalar(_) => {
            let message = "a merge key (`<<`) takes a mapping, or a list of mappings";
            problems.add(Problem::new(node.at, "merge-key", message));
        }
    }
}

fn is_mapping(node: &Node<'_>) -> bool {
    matches!(node.value, Value::Map(_) | Value::Broken)
}
