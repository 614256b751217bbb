//! What differs between two values, by the paths of their fields: for documents that people review.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use easyenclave_git::redact;
use serde_json::{Map, Value};

/// Lists whose order counts, so that they are shown whole. Of others it has no effect.
const SEQUENCES: [&str; 4] = ["command", "entrypoint", "test", "urls"];

/// Fields of workloads into which people write passwords, though they should not. That they change is shown.
const UNSHOWN: [&str; 9] = [
    "args",
    "command",
    "content",
    "entrypoint",
    "env",
    "environment",
    "labels",
    "sealed",
    "test",
];

/// What is shown of them.
const NOT_SHOWN: &str = "<not shown>";

/// Characters of a text in a line. A public key of Ed25519 with its comment and a register are whole.
const TEXT: usize = 140;

/// Characters of a text within a value of several.
const PART: usize = 40;

/// Characters of a value of several.
const WHOLE: usize = 400;

/// One field that differs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    path: Vec<Step>,
    /// What was there, if anything.
    pub(super) old: Option<Value>,
    /// What is there, if anything.
    pub(super) new: Option<Value>,
    /// It is an entry of a list that had none.
    pub(super) was_empty: bool,
    /// It is an entry of a list that has none.
    pub(super) is_empty: bool,
}

/// One step from a value to a value in it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// A field, or a key of a map.
    Field(String),
    /// An entry of a list, by the name that it gives itself.
    Named(String),
    /// An entry of a list without a name.
    Entry,
}

/// What differs, with fields in the order of their names.
pub(super) fn between(old: &Value, new: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    descend(&[], Some(old), Some(new), &mut found);
    found
}

impl Difference {
    fn new(path: &[Step], old: Option<&Value>, new: Option<&Value>) -> Self {
        let unshown =
            |step: &Step| matches!(step, Step::Field(name) if UNSHOWN.contains(&name.as_str()));
        let secret = path.iter().any(unshown);
        let clean = |value: &Value| match secret {
            true => NOT_SHOWN.into(),
            false => each_text(value, &|text| redact(text)),
        };
        Self {
            path: path.to_vec(),
            old: old.map(clean),
            new: new.map(clean),
            was_empty: false,
            is_empty: false,
        }
    }

    /// The path's fields; entries of lists are `*`.
    pub(super) fn pattern(&self) -> impl Iterator<Item = &str> {
        self.path.iter().map(|step| match step {
            Step::Field(name) => name.as_str(),
            Step::Named(_) | Step::Entry => "*",
        })
    }

    /// The path as people write it, such as `measurements["hello for tiny"].mrtd`.
    pub(super) fn field(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) if is_plain(name) && path.is_empty() => path.push_str(name),
                Step::Field(name) if is_plain(name) => path = path + "." + name,
                Step::Field(name) | Step::Named(name) => {
                    path = path + "[" + &shown(&name.as_str().into()) + "]"
                }
                Step::Entry => {}
            }
        }
        path
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_entry = !matches!(self.path.last(), Some(Step::Field(_)));
        write!(f, "{}: ", self.field())?;
        match (&self.old, &self.new) {
            (None, Some(new)) if is_entry => write!(f, "added {}", shown(new)),
            (Some(old), None) if is_entry => write!(f, "removed {}", shown(old)),
            (old, new) => write!(f, "{} -> {}", given(old.as_ref()), given(new.as_ref())),
        }
    }
}

/// What is left out counts as empty, so that each field of what comes or goes is told apart.
fn descend(path: &[Step], old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    if old == new {
        return;
    }
    let (no_fields, no_entries) = (Map::new(), Vec::new());
    let fields = |value| Option::map_or(value, Some(&no_fields), Value::as_object);
    let entries = |value| Option::map_or(value, Some(&no_entries), Value::as_array);
    match (fields(old), fields(new), entries(old), entries(new)) {
        (Some(old), Some(new), ..) if !(old.is_empty() && new.is_empty()) => {
            each_field(path, old, new, found);
        }
        (.., Some(old), Some(new)) if is_set(path) => {
            let first = found.len();
            each_entry(path, old, new, found);
            let is_entry = |one: &&mut Difference| one.path.len() == path.len() + 1;
            for entry in found[first..].iter_mut().filter(is_entry) {
                (entry.was_empty, entry.is_empty) = (old.is_empty(), new.is_empty());
            }
        }
        _ => found.push(Difference::new(path, old, new)),
    }
}

fn is_set(path: &[Step]) -> bool {
    !matches!(path.last(), Some(Step::Field(name)) if SEQUENCES.contains(&name.as_str()))
}

type Fields = Map<String, Value>;

fn each_field(path: &[Step], old: &Fields, new: &Fields, found: &mut Vec<Difference>) {
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for name in names {
        let path = [path, &[Step::Field(name.clone())]].concat();
        descend(&path, old.get(name), new.get(name), found);
    }
}

/// Entries that have names of their own in both lists are held against each other; of others each is there or is not.
fn each_entry(path: &[Step], old: &[Value], new: &[Value], found: &mut Vec<Difference>) {
    if let (Some(old), Some(new)) = (named(old), named(new)) {
        let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for name in names {
            let path = [path, &[Step::Named(name.clone())]].concat();
            match (old.get(name), new.get(name)) {
                (Some(old), Some(new)) => descend(&path, Some(old), Some(new), found),
                (old, new) => found.push(Difference::new(&path, old.copied(), new.copied())),
            }
        }
        return;
    }
    let path = [path, &[Step::Entry]].concat();
    let gone = old.iter().filter(|entry| !new.contains(entry));
    found.extend(gone.map(|entry| Difference::new(&path, Some(entry), None)));
    let come = new.iter().filter(|entry| !old.contains(entry));
    found.extend(come.map(|entry| Difference::new(&path, None, Some(entry))));
}

/// Entries by their names, with the size that they are for; none when one has no name, or two have the same.
fn named(entries: &[Value]) -> Option<BTreeMap<String, &Value>> {
    let mut named = BTreeMap::new();
    for entry in entries {
        let name = entry.get("name")?.as_str()?;
        let size = entry.get("nodeSize").and_then(Value::as_str);
        let name = size.map_or(name.into(), |size| format!("{name} for {size}"));
        named.insert(name, entry).is_none().then_some(())?;
    }
    Some(named)
}

/// A value with each of its texts put through `change`.
fn each_text(value: &Value, change: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => change(text).into(),
        Value::Array(entries) => entries
            .iter()
            .map(|entry| each_text(entry, change))
            .collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.clone(), each_text(value, change)))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn given(value: Option<&Value>) -> String {
    value.map_or("not given".into(), shown)
}

/// A value on one line, as JSON has it, within bounds.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text == NOT_SHOWN => text.clone(),
        Value::String(text) => Value::from(cut(text, TEXT)).to_string(),
        _ => cut(
            &each_text(value, &|text| cut(text, PART)).to_string(),
            WHOLE,
        ),
    }
}

/// The beginning and the end of a text that is too long.
fn cut(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.into();
    }
    let half = most / 2;
    let (first, last) = (&letters[..half], &letters[letters.len() - half..]);
    first.iter().chain(&['…']).chain(last).collect()
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(old: Value, new: Value) -> Vec<String> {
        between(&old, &new)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_field_is_told_by_its_path_with_both_values() {
        let old = json!({ "breaker": { "maxPercent": 25, "maxRemovals": 1 }, "keep": "sealed" });
        let new = json!({ "breaker": { "maxPercent": 25, "maxRemovals": 100 } });
        assert_eq!(
            lines(old.clone(), new),
            [
                "breaker.maxRemovals: 1 -> 100",
                "keep: \"sealed\" -> not given"
            ]
        );
        assert_eq!(lines(old.clone(), old), Vec::<String>::new());
    }

    #[test]
    fn what_comes_or_goes_whole_is_told_field_by_field() {
        let dcap = json!({ "dcap": {} });
        let ita = json!({ "dcap": {}, "ita": { "issuer": "a", "version": "v2" } });
        assert_eq!(
            lines(dcap.clone(), ita),
            [
                "ita.issuer: not given -> \"a\"",
                "ita.version: not given -> \"v2\""
            ]
        );
        assert_eq!(lines(dcap, json!({})), ["dcap: {} -> not given"]);
    }

    #[test]
    fn entries_of_lists_are_added_and_removed_whatever_their_order() {
        let old = json!({ "signers": ["a", "b"], "urls": ["a", "b"] });
        let new = json!({ "signers": ["c", "b"], "urls": ["b", "a"] });
        assert_eq!(
            lines(old, new),
            [
                "signers: removed \"a\"",
                "signers: added \"c\"",
                r#"urls: ["a","b"] -> ["b","a"]"#
            ]
        );
        assert_eq!(
            lines(json!({}), json!({ "auditors": ["x"] })),
            ["auditors: added \"x\""]
        );
    }

    #[test]
    fn entries_with_names_are_held_against_each_other() {
        let image = |mrtd: &str| json!([{ "name": "hello", "nodeSize": "tiny", "mrtd": mrtd }]);
        assert_eq!(
            lines(image("41"), image("ab")),
            [r#"["hello for tiny"].mrtd: "41" -> "ab""#]
        );
        let twice = json!([{ "mrtd": "1", "name": "a" }, { "mrtd": "2", "name": "a" }]);
        assert_eq!(
            lines(json!([{ "name": "a", "mrtd": "1" }]), twice),
            [r#": added {"mrtd":"2","name":"a"}"#],
            "names that say nothing are not relied on"
        );
    }

    #[test]
    fn no_password_and_no_flood_is_shown() {
        let workload = |word: &str| json!({ "process": { "command": ["run", word], "env": { "KEY": word, "a.b": word } } });
        let said = lines(workload("hunter1"), workload("hunter2"));
        assert_eq!(
            said,
            [
                "process.command: <not shown> -> <not shown>",
                "process.env.KEY: <not shown> -> <not shown>",
                r#"process.env["a.b"]: <not shown> -> <not shown>"#,
            ]
        );
        let urls = between(
            &json!({}),
            &json!({ "urls": ["https://me:hunter2@cache/"] }),
        );
        assert_eq!(urls[0].new, Some(json!(["https://cache/"])));
        let long = lines(
            json!({ "a": "x".repeat(10_000) }),
            json!({ "a": vec!["y".repeat(10_000); 1000] }),
        );
        assert!(long[0].chars().count() < 600, "{long:?}");
    }
}
