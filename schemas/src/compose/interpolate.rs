//! Variables in a Compose file: `${NAME}` and its kin, resolved from the deployment's `env` alone. What they come to is
//! bounded, and nothing of this process's own environment is ever read.

use std::collections::BTreeMap;

use crate::decode::path::{Path, Step};
use crate::decode::problem::{At, Problem, Problems, shorten};
use crate::decode::scalar::Scalar;
use crate::decode::tree::{Entry, Node, Value};

/// The most text that variables may come to, in bytes.
const MAX_TEXT: usize = 256 * 1024;
/// The deepest nesting of defaults.
const MAX_DEPTH: usize = 8;

/// Puts the values of variables in. A text that cannot be resolved is reported, and taken for unreadable.
pub(super) fn interpolate(
    root: &mut Node<'_>,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) {
    let mut filler = Filler {
        path: Path::default(),
        room: MAX_TEXT,
        env,
        problems,
    };
    filler.node(root);
}

struct Filler<'t, 'p> {
    path: Path<'t>,
    room: usize,
    env: &'p BTreeMap<String, String>,
    problems: &'p mut Problems,
}

impl<'t> Filler<'t, '_> {
    fn node(&mut self, node: &'t mut Node<'_>) {
        let at = node.at;
        if let Some(text) = node.text().filter(|text| text.contains(['$', '\0'])) {
            let filled = self.text(at, text);
            node.value = filled.map_or(Value::Broken, |text| {
                Value::Scalar(Scalar::Text(text.into()))
            });
            return;
        }
        match &mut node.value {
            Value::Scalar(_) | Value::Broken => {}
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.path.push(Step::Item(index));
                    self.node(item);
                    self.path.pop();
                }
            }
            Value::Map(entries) => {
                // Notes for people and other tools have no effect, and those that are used were copied to there.
                let is_root = self.path.is_empty();
                let is_used = |entry: &&mut Entry<'_>| !(is_root && entry.key.starts_with("x-"));
                for entry in entries.iter_mut().filter(is_used) {
                    self.path.push(Step::Field(&entry.key));
                    self.node(&mut entry.node);
                    self.path.pop();
                }
            }
        }
    }

    fn text(&mut self, at: At, text: &str) -> Option<String> {
        if text.contains('\0') {
            let message = format!("`{}`: a text holds no NUL characters", self.path.name());
            self.report(at, "bad-format", message);
            return None;
        }
        let mut template = Template {
            env: self.env,
            room: self.room,
            filled: String::new(),
            unset: Vec::new(),
        };
        let done = template.fill(text, 0);
        self.room = template.room;
        let name = self.path.name();
        for Unset {
            name: variable,
            why,
        } in &template.unset
        {
            let (variable, why) = (
                shorten(variable, 60),
                why.as_deref().map(|why| shorten(why, 100)),
            );
            let told = why
                .filter(|why| !why.is_empty())
                .map(|why| format!(" ({why})"));
            let message = format!(
                "`{name}`: nothing is set for `{variable}`{}; name it under `env` of the deployment, or write `${{{variable}:-DEFAULT}}`",
                told.unwrap_or_default()
            );
            self.report(at, "compose-unset-variable", message);
        }
        match done {
            Ok(()) if template.unset.is_empty() => return Some(template.filled),
            Ok(()) => {}
            Err(Stop::Malformed(found)) => {
                let message = format!(
                    "`{name}`: `{}` names no variable; write `$$` for a dollar sign",
                    shorten(found, 40)
                );
                self.report(at, "compose-interpolation", message);
            }
            Err(Stop::TooMuch) => {
                let message = format!(
                    "`{name}`: variables come to more than {} KiB",
                    MAX_TEXT / 1024
                );
                self.report(at, "too-large", message);
            }
        }
        None
    }

    fn report(&mut self, at: At, code: &'static str, message: String) {
        let pointer = self.path.pointer();
        self.problems
            .add(Problem::new(at, code, message).of(pointer));
    }
}

/// A variable without a value, and what the document says of that.
struct Unset {
    name: String,
    why: Option<String>,
}

enum Stop<'a> {
    Malformed(&'a str),
    TooMuch,
}

struct Template<'e> {
    env: &'e BTreeMap<String, String>,
    room: usize,
    filled: String,
    unset: Vec<Unset>,
}

impl Template<'_> {
    fn fill<'a>(&mut self, text: &'a str, depth: usize) -> Result<(), Stop<'a>> {
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            self.push(&rest[..dollar])?;
            let from = &rest[dollar..];
            let after = &from[1..];
            rest = if let Some(after) = after.strip_prefix('$') {
                self.push("$")?;
                after
            } else if let Some(inner) = after.strip_prefix('{') {
                let end = closing(inner).ok_or(Stop::Malformed(from))?;
                self.braced(&inner[..end], &from[..end + 3], depth)?;
                &inner[end + 1..]
            } else {
                let (name, after) = name(after);
                if name.is_empty() {
                    return Err(Stop::Malformed(from));
                }
                self.variable(name)?;
                after
            };
        }
        self.push(rest)
    }

    /// What stands between braces: a name, and perhaps an operator and its operand.
    fn braced<'a>(&mut self, inner: &'a str, whole: &'a str, depth: usize) -> Result<(), Stop<'a>> {
        let (name, rest) = name(inner);
        if name.is_empty() || depth >= MAX_DEPTH {
            return Err(Stop::Malformed(whole));
        }
        let value = self.env.get(name).cloned();
        let (value, rest) = match rest.strip_prefix(':') {
            Some(rest) => (value.filter(|value| !value.is_empty()), rest),
            None => (value, rest),
        };
        let mut operator = rest.chars();
        match (operator.next(), value) {
            (None, _) if whole.ends_with(":}") => Err(Stop::Malformed(whole)),
            (None, _) => self.variable(name),
            (Some('-' | '?'), Some(value)) => self.push(&value),
            (Some('-'), None) => self.fill(operator.as_str(), depth + 1),
            (Some('?'), None) => {
                let (name, why) = (name.to_owned(), Some(operator.as_str().to_owned()));
                self.unset.push(Unset { name, why });
                Ok(())
            }
            (Some('+'), Some(_)) => self.fill(operator.as_str(), depth + 1),
            (Some('+'), None) => Ok(()),
            (Some(_), _) => Err(Stop::Malformed(whole)),
        }
    }

    fn variable<'a>(&mut self, name: &str) -> Result<(), Stop<'a>> {
        match self.env.get(name) {
            Some(value) => self.push(&value.clone()),
            None => {
                let name = name.to_owned();
                self.unset.push(Unset { name, why: None });
                Ok(())
            }
        }
    }

    fn push<'a>(&mut self, text: &str) -> Result<(), Stop<'a>> {
        self.room = self.room.checked_sub(text.len()).ok_or(Stop::TooMuch)?;
        self.filled.push_str(text);
        Ok(())
    }
}

/// Where the brace closes that is open before the text.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes[at - 1] == b'$' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

/// The name that a text begins with, and the rest.
fn name(text: &str) -> (&str, &str) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = text.starts_with(|c: char| is_word(c) && !c.is_ascii_digit());
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    text.split_at(if begins { end } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> String {
        let pairs = [
            ("A", "one"),
            ("EMPTY", ""),
            ("DOLLAR", "$A ${A}"),
            ("_x1", "y"),
        ];
        let env = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let env = BTreeMap::from(env);
        let mut template = Template {
            env: &env,
            room: 100,
            filled: String::new(),
            unset: Vec::new(),
        };
        let done = template.fill(text, 0);
        let unset: Vec<_> = template
            .unset
            .iter()
            .map(|unset| unset.name.as_str())
            .collect();
        match done {
            Ok(()) if unset.is_empty() => template.filled,
            Ok(()) => format!("unset {}", unset.join(" ")),
            Err(Stop::Malformed(found)) => format!("malformed {found}"),
            Err(Stop::TooMuch) => "too much".into(),
        }
    }

    #[test]
    fn variables_are_filled_in_as_compose_does() {
        let cases = [
            ("a $A b", "a one b"),
            ("${A}${A}", "oneone"),
            ("$$A $${A}", "$A ${A}"),
            ("$_x1-z", "y-z"),
            ("${B:-two}", "two"),
            ("${B-two}", "two"),
            ("${EMPTY:-two}", "two"),
            ("${EMPTY-two}", ""),
            ("${A:-two}", "one"),
            ("${B:-${C:-$A}}", "one"),
            ("${B:-}", ""),
            ("${B:-a:b-c?d}", "a:b-c?d"),
            ("${A:+yes}", "yes"),
            ("${EMPTY:+yes}", ""),
            ("${EMPTY+yes}", "yes"),
            ("${B:+$C}", ""),
            ("${B:-{}}", "{}"),
            ("${A?no}", "one"),
            ("${B:?say it}", "unset B"),
            ("$B and ${C}", "unset B C"),
            ("$DOLLAR", "$A ${A}"),
            ("$", "malformed $"),
            ("a $1", "malformed $1"),
            ("${}", "malformed ${}"),
            ("${A", "malformed ${A"),
            ("${A!x}", "malformed ${A!x}"),
            ("${A:}", "malformed ${A:}"),
            ("${A:x}", "malformed ${A:x}"),
            ("$é", "malformed $é"),
        ];
        for (text, expected) in cases {
            assert_eq!(fill(text), expected, "{text}");
        }
    }

    #[test]
    fn neither_deep_nor_long_texts_take_long() {
        assert!(fill(&"${B:-".repeat(10_000)).starts_with("malformed"));
        let deep = "${B:-".repeat(20) + &"}".repeat(20);
        assert!(fill(&deep).starts_with("malformed"));
        assert_eq!(fill(&"${A}".repeat(40)), "too much");
    }
}
