//! An owner's document as text, with one key more or less. Nothing else of it changes, comments included; what this cannot
//! do with certainty it leaves to a person.

use anyhow::bail;
use easyenclave_schemas::decode::decode;
use easyenclave_schemas::documents::{ApiKey, Document, OwnerSpec};

use super::Owned;

/// The document with this key at the end of its keys.
pub(super) fn with_key(owned: &Owned, key: &ApiKey) -> anyhow::Result<String> {
    let mut wanted = owned.spec().clone();
    wanted.keys.push(key.clone());
    let lines: Vec<&str> = owned.text.lines().collect();
    let (indent, list) = match owned.spec().keys.is_empty() {
        // The column of a mapping in a list is two behind its dash.
        false => (column(owned, "/spec/keys/0").saturating_sub(2), false),
        true => (column(owned, "/spec"), true),
    };
    let (start, least) = match list {
        true => (line(owned, "/spec"), indent),
        false => (last_key(owned), indent + 1),
    };
    let at = end_of(&lines, start, least);
    let mut added = item(key, if list { indent + 2 } else { indent });
    if list {
        added.insert(0, format!("{}keys:", " ".repeat(indent)));
    }
    let edited = joined(&lines[..at], &added, &lines[at..]);
    checked(owned, edited, &wanted, &added)
}

/// The document without the key of this id.
pub(super) fn without_key(owned: &Owned, id: &str) -> anyhow::Result<String> {
    let keys = &owned.spec().keys;
    let mut wanted = owned.spec().clone();
    wanted.keys.retain(|key| key.id != id);
    let lines: Vec<&str> = owned.text.lines().collect();
    let index = keys.iter().position(|key| key.id == id).unwrap_or_default();
    let pointer = format!("/spec/keys/{index}");
    let indent = column(owned, &pointer).saturating_sub(2);
    let mut from = line(owned, &pointer);
    let end = end_of(&lines, from, indent + 1);
    if keys.len() == 1 {
        // Without its only item the list goes too.
        let heading = lines[..from]
            .iter()
            .rposition(|line| line.trim() == "keys:");
        from = heading.unwrap_or(from);
    }
    let edited = joined(&lines[..from], &[], &lines[end..]);
    checked(owned, edited, &wanted, &[])
}

/// What was edited says what was meant, and nothing beside it.
fn checked(
    owned: &Owned,
    edited: String,
    wanted: &OwnerSpec,
    added: &[String],
) -> anyhow::Result<String> {
    let read = decode(edited.as_bytes()).ok();
    let says = read.is_some_and(|located| {
        located.identity == owned.located.identity
            && matches!(&located.document, Document::Owner(object) if object.spec == *wanted)
    });
    match (says, added.is_empty()) {
        (true, _) => Ok(edited),
        (false, true) => bail!(
            "{} is written so that only a person can take it out",
            owned.path
        ),
        (false, false) => bail!(
            "{} is written so that only a person can add a key; under `spec` it needs:\n{}",
            owned.path,
            added.join("\n")
        ),
    }
}

fn item(key: &ApiKey, indent: usize) -> Vec<String> {
    let pad = " ".repeat(indent);
    let name = serde_json::to_string(&key.name).unwrap_or_default();
    vec![
        format!("{pad}- id: {}", quoted(&key.id)),
        format!("{pad}  hash: {}", quoted(&key.hash)),
        format!("{pad}  name: {name}"),
        format!("{pad}  expires: {}", quoted(&key.expires.to_string())),
    ]
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn line(owned: &Owned, pointer: &str) -> usize {
    owned.located.position(pointer).0.saturating_sub(1) as usize
}

fn column(owned: &Owned, pointer: &str) -> usize {
    owned.located.position(pointer).1.saturating_sub(1) as usize
}

fn last_key(owned: &Owned) -> usize {
    let last = owned.spec().keys.len().saturating_sub(1);
    line(owned, &format!("/spec/keys/{last}"))
}

/// Behind the lines from `start` on that are indented at least so far, and before blank lines and comments that end them.
fn end_of(lines: &[&str], start: usize, least: usize) -> usize {
    let mut end = (start + 1).min(lines.len());
    for (at, line) in lines.iter().enumerate().skip(start + 1) {
        let text = line.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if line.len() - text.len() < least {
            break;
        }
        end = at + 1;
    }
    end
}

fn joined(before: &[&str], added: &[String], after: &[&str]) -> String {
    let added = added.iter().map(String::as_str);
    let all = before
        .iter()
        .copied()
        .chain(added)
        .chain(after.iter().copied());
    all.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use easyenclave_schemas::Timestamp;
    use expect_test::expect;

    use super::*;
    use crate::auth::keys;

    fn owned(text: &str) -> Owned {
        Owned {
            path: "owners/acme.yaml".into(),
            located: decode(text.as_bytes()).unwrap_or_else(|found| panic!("{found:?}")),
            text: text.into(),
        }
    }

    fn key(letter: char) -> ApiKey {
        ApiKey {
            id: letter.to_string().repeat(26),
            hash: format!("$argon2id${letter}"),
            name: format!("{letter}: \"x\" # y"),
            expires: Timestamp::from_millis(1_800_000_000_000),
        }
    }

    const HEAD: &str =
        "# Acme's.\napiVersion: easyenclave.dev/v1\nkind: Owner\nmetadata:\n  name: acme\n";

    #[test]
    fn keys_come_and_go_and_nothing_else_changes() {
        let rest = "spec:\n  # Who.\n  github:\n    - organization: acme # all of it\n  quota: {agents: 3}\n\n# The end.\n";
        let text = format!("{HEAD}{rest}");
        let one = with_key(&owned(&text), &key('a')).expect("edited");
        let two = with_key(&owned(&one), &key('b')).expect("edited");
        expect![[r##"
            # Acme's.
            apiVersion: easyenclave.dev/v1
            kind: Owner
            metadata:
              name: acme
            spec:
              # Who.
              github:
                - organization: acme # all of it
              quota: {agents: 3}
              keys:
                - id: "aaaaaaaaaaaaaaaaaaaaaaaaaa"
                  hash: "$argon2id$a"
                  name: "a: \"x\" # y"
                  expires: "2027-01-15T08:00:00Z"
                - id: "bbbbbbbbbbbbbbbbbbbbbbbbbb"
                  hash: "$argon2id$b"
                  name: "b: \"x\" # y"
                  expires: "2027-01-15T08:00:00Z"

            # The end.
        "##]]
        .assert_eq(&two);
        let only = without_key(&owned(&two), &key('a').id).expect("edited");
        assert_eq!(owned(&only).spec().keys, [key('b')]);
        assert_eq!(
            without_key(&owned(&two), &key('b').id).expect("edited"),
            one
        );
        assert_eq!(
            without_key(&owned(&one), &key('a').id).expect("edited"),
            text
        );
    }

    #[test]
    fn keys_that_stand_first_or_are_less_indented_are_found() {
        for rest in [
            "spec:\n  keys:\n  - id: cccccccccccccccccccccccccc\n    hash: $argon2id$c\n    name: c\n    expires: 2027-01-01T00:00:00Z\n  quota:\n    agents: 3\n",
            "spec:\n    keys:\n        - name: c\n          # Soon.\n          expires: 2027-01-01T00:00:00Z\n          id: cccccccccccccccccccccccccc\n          hash: $argon2id$c\n",
        ] {
            let text = format!("{HEAD}{rest}");
            let two = with_key(&owned(&text), &key('a')).expect("edited");
            let keys: Vec<_> = owned(&two)
                .spec()
                .keys
                .iter()
                .map(|key| key.name.clone())
                .collect();
            assert_eq!(keys, ["c", &key('a').name]);
            assert_eq!(
                without_key(&owned(&two), &key('a').id).expect("edited"),
                text
            );
            let none = without_key(&owned(&text), &"c".repeat(26));
            // An owner without anything left is written in a way that this does not find.
            assert_eq!(none.is_ok(), text.contains("quota"), "{none:?}");
        }
    }

    #[test]
    fn what_is_written_in_another_way_is_left_to_a_person() {
        for rest in [
            "spec: {}\n",
            "spec: {quota: {agents: 3}}\n",
            "spec:\n  keys: []\n",
        ] {
            let error = with_key(&owned(&format!("{HEAD}{rest}")), &key('a'));
            let error = error.expect_err(rest).to_string();
            assert!(error.contains("hash: \"$argon2id$a\""), "{error}");
        }
    }

    #[test]
    fn a_made_key_is_one_that_a_document_can_hold() {
        let made = keys::new().expect("a key");
        let key = ApiKey {
            id: made.id,
            hash: made.hash,
            ..key('a')
        };
        let text = format!("{HEAD}spec:\n  quota:\n    agents: 3\n");
        let text = with_key(&owned(&text), &key).expect("edited");
        assert_eq!(owned(&text).spec().keys, [key]);
    }
}
