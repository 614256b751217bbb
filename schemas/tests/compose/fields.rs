//! The table of fields: the same in docs/compose.md and in the reader, with every field of the official schema in it, and every
//! code explained.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use easyenclave_schemas::compose::field_rules;
use serde_json::Value;

use crate::corpus::cases;
use crate::oracle;

const BEGIN: &str = "--test compose` -->\n";
const END: &str = "<!-- end of fields -->";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compose.md")
}

fn table() -> String {
    let mut table = String::from("| field | refused by | note |\n|---|---|---|\n");
    for rule in field_rules() {
        let code = rule
            .refused
            .map(|code| format!("`{code}`"))
            .unwrap_or_default();
        _ = writeln!(table, "| `{}` | {code} | {} |", rule.path, rule.note);
    }
    table
}

#[test]
fn the_page_has_the_table_of_fields() {
    let text = std::fs::read_to_string(page()).expect("the page is there");
    let begin = text.find(BEGIN).expect("the table begins") + BEGIN.len();
    let end = text.find(END).expect("the table ends");
    let table = table();
    if text[begin..end] == table {
        return;
    }
    let is_update = std::env::var_os("UPDATE_EXPECT").is_some();
    assert!(
        is_update,
        "docs/compose.md is not current; run with UPDATE_EXPECT=1"
    );
    let text = [&text[..begin], &table, &text[end..]].concat();
    std::fs::write(page(), text).expect("the page is written");
}

#[test]
fn every_code_is_explained() {
    let text = std::fs::read_to_string(page()).expect("the page is there");
    let mut codes: BTreeSet<&str> = field_rules()
        .iter()
        .filter_map(|rule| rule.refused)
        .collect();
    for case in ["refused", "broken"].into_iter().flat_map(cases) {
        let problems = case.read().expect_err("refused");
        codes.extend(problems.iter().map(|problem| problem.code));
    }
    for case in cases("accepted") {
        let warnings = case.read().expect("accepted").warnings;
        codes.extend(warnings.iter().map(|warning| warning.code));
    }
    let explained = |code: &&str| !text.contains(&format!("`{code}`"));
    let missing: Vec<_> = codes.iter().filter(|code| explained(code)).collect();
    assert!(missing.is_empty(), "docs/compose.md lacks {missing:?}");
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `compose-"));
    for row in rows {
        let code = format!("compose-{}", row.split('`').next().unwrap_or_default());
        assert!(codes.contains(code.as_str()), "no file shows `{code}`");
    }
}

/// Fields that the official schema has at a place, by our way of writing places.
fn official(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    fields_of(schema, schema, "", &mut found);
    found
}

fn fields_of(root: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/definitions/").expect("a definition");
        return fields_of(root, &root["definitions"][name], path, found);
    }
    for choice in schema["oneOf"].as_array().into_iter().flatten() {
        fields_of(root, choice, path, found);
    }
    if schema["items"].is_object() {
        fields_of(root, &schema["items"], path, found);
    }
    for (pattern, schema) in schema["patternProperties"]
        .as_object()
        .into_iter()
        .flatten()
    {
        if pattern != "^x-" {
            fields_of(root, schema, path, found);
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        found.insert(path.clone());
        fields_of(root, schema, &path, found);
    }
}

#[test]
fn every_field_of_the_official_schema_is_taken_or_refused_and_no_other() {
    let Some(schema) = oracle::schema() else {
        return;
    };
    let rules = field_rules();
    let official = official(schema);
    let ours: BTreeSet<String> = rules.iter().map(|rule| rule.path.clone()).collect();
    // What is refused, or is `external`, is refused with all that is in it.
    let is_within_refused = |path: &str| {
        rules.iter().any(|rule| {
            let is_closed = rule.refused.is_some() || rule.path.ends_with(".external");
            is_closed && path.starts_with(&format!("{}.", rule.path))
        })
    };
    let unknown: Vec<_> = official
        .difference(&ours)
        .filter(|path| !is_within_refused(path))
        .collect();
    assert!(unknown.is_empty(), "neither taken nor refused: {unknown:?}");
    let invented: Vec<_> = ours.difference(&official).collect();
    assert!(
        invented.is_empty(),
        "not in the official schema: {invented:?}"
    );
    assert!(official.len() > 250, "{}", official.len());
}
