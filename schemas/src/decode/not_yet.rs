//! Fields that documents will have and nobody acts on yet. A field that is accepted and does nothing is a lie, so each is
//! refused until the code that obeys it takes its line out of this table.

use super::problem::{At, Problem};
use super::{Located, Problems};
use crate::documents::Kind;

/// Kind and pointer; the empty pointer is the whole document. None now.
const NOT_YET: &[(Kind, &str)] = &[];

/// Reports what of a document has no effect yet.
pub(super) fn refuse(located: &Located, problems: &mut Problems) {
    refuse_all(NOT_YET, located, problems);
}

fn refuse_all(table: &[(Kind, &str)], located: &Located, problems: &mut Problems) {
    let fields = table
        .iter()
        .filter(|(kind, _)| *kind == located.identity.kind);
    for (kind, pointer) in fields {
        let Some(At { line, column }) = located.at(pointer) else {
            continue;
        };
        let what = match pointer.trim_start_matches('/').replace('/', ".") {
            whole if whole.is_empty() => format!("the kind {kind}"),
            name => format!("`{name}`"),
        };
        let message = format!("{what} has no effect in this version of EasyEnclave");
        problems.add(Problem::new(At { line, column }, "not-yet", message).of(*pointer));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode, json_schema};
    use super::*;

    #[test]
    fn every_line_names_a_field_that_there_is() {
        for (kind, pointer) in NOT_YET {
            let schema = json_schema(*kind);
            let mut at = &schema;
            for step in pointer.split('/').skip(1) {
                while let Some(name) = at.get("$ref").and_then(|name| name.as_str()) {
                    let name = name.strip_prefix('#').expect("a reference within");
                    at = schema.pointer(name).expect("a definition");
                }
                let choices = at.get("oneOf").and_then(|choices| choices.as_array());
                let mut choices = choices.into_iter().flatten().chain([at]);
                let found = choices.find_map(|choice| choice.get("properties")?.get(step));
                at = found.unwrap_or_else(|| panic!("{kind} has no {pointer}"));
            }
        }
    }

    #[test]
    fn what_has_no_effect_is_refused_where_it_stands() {
        let text = b"apiVersion: easyenclave.dev/v1\nkind: Secret\nmetadata: {name: a, owner: acme}\nspec:\n  \
                     sealed: YWdlLWVuY3J5cHRpb24ub3JnL3YxCg==\n";
        let located = decode(text).expect("a document");
        let mut problems = Problems::default();
        let table = [
            (Kind::Secret, ""),
            (Kind::Secret, "/spec/sealed"),
            (Kind::Secret, "/spec/other"),
            (Kind::Fleet, "/spec/sealed"),
        ];
        refuse_all(&table, &located, &mut problems);
        let said: Vec<_> = problems
            .into_sorted()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            said,
            [
                "1:1: the kind Secret has no effect in this version of EasyEnclave",
                "5:11: `spec.sealed` has no effect in this version of EasyEnclave",
            ]
        );
    }
}
