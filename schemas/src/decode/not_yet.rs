//! Fields that documents will have and nobody acts on yet. A field that is accepted and does nothing is a lie, so each is
//! refused until the code that obeys it takes its line out of this table.

use super::problem::{At, Problem};
use super::{Located, Problems};
use crate::documents::Kind;

/// Kind and pointer; the empty pointer is the whole document.
const NOT_YET: &[(Kind, &str)] = &[
    (Kind::Fleet, "/spec/secrets"),
    (Kind::Fleet, "/spec/tunnel"),
    (Kind::Provider, "/spec/process/runtimes"),
    (Kind::Provider, "/spec/qemu/runtimes"),
    (Kind::Provider, "/spec/gcp/runtimes"),
    (Kind::Deployment, "/spec/secrets"),
    (Kind::Deployment, "/spec/placement/spread"),
    (Kind::Deployment, "/spec/expose/hostname"),
    (Kind::Secret, ""),
];

/// Reports what of a document has no effect yet.
pub(super) fn refuse(located: &Located, problems: &mut Problems) {
    let fields = NOT_YET
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
        if NOT_YET.contains(&(Kind::Secret, "")) {
            let problems = decode(text).expect_err("refused");
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(
                problems[0].to_string(),
                "1:1: the kind Secret has no effect in this version of EasyEnclave"
            );
        }
    }
}
