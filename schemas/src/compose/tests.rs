//! Small Compose files through the reader, each for one thing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;

/// What comes of a file: the document that runs, or all that is wrong.
fn said(text: &str) -> String {
    let env = [
        ("A", "one"),
        ("EMPTY", ""),
        ("LONG", &"x".repeat(1000)),
        ("EVIL", "true\nprivileged: true $B ${B} \"'"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    match read(
        text.as_bytes(),
        &WorkloadRules::default(),
        &BTreeMap::from(env),
    ) {
        Ok(composition) => composition.document + "\n",
        Err(problems) => {
            let mut said = String::new();
            for problem in problems {
                let (line, column, code) = (problem.line, problem.column, problem.code);
                _ = writeln!(said, "{line}:{column} {} {code}", problem.pointer);
            }
            said
        }
    }
}

#[track_caller]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&said(text));
}

#[test]
fn own_fields_win_over_merged_ones_and_the_first_of_a_list() {
    check(
        "x-a: &a {image: a, hostname: a, user: a}\nx-b: &b {image: b, hostname: b, init: true}\n\
         services:\n  s: {image: s, <<: [*a, *b], working_dir: /s}\n",
        expect![[r#"
            {"services":{"s":{"hostname":"a","image":"s","init":true,"user":"a","working_dir":"/s"}}}
        "#]],
    );
}

#[test]
fn a_merge_is_of_one_level() {
    check(
        "x-a: &a {image: a, environment: {A: 1, B: 2}}\nservices:\n  s:\n    <<: *a\n    environment: {B: 3}\n",
        expect![[r#"
            {"services":{"s":{"environment":{"B":3},"image":"a"}}}
        "#]],
    );
}

#[test]
fn what_is_merged_may_be_overridden_and_what_is_own_may_not_be_given_twice() {
    check(
        "x-a: &a {image: a}\nservices:\n  s: {image: b, <<: *a, image: c}\n",
        expect![[r#"
            3:25  duplicate-field
        "#]],
    );
}

#[test]
fn an_anchor_may_be_given_again_and_the_newest_before_the_alias_counts() {
    check(
        "x-a: &a one\nx-b: &a two\nservices:\n  s: {image: *a}\n",
        expect![[r#"
            {"services":{"s":{"image":"two"}}}
        "#]],
    );
}

#[test]
fn a_mistake_in_an_anchor_is_reported_once_and_there() {
    check(
        "x-a: &a {image: a, privileged: true}\nservices:\n  s: {<<: *a}\n  t: *a\n",
        expect![[r#"
            1:32 /services/s/privileged compose-privileged
        "#]],
    );
}

#[test]
fn notes_are_not_judged_unless_they_are_used() {
    check(
        "x-a: {privileged: true, volumes: [/:/x]}\nservices:\n  s: {image: a, x-b: {pid: host}}\n",
        expect![[r#"
            {"services":{"s":{"image":"a"}}}
        "#]],
    );
}

#[test]
fn variables_become_texts_and_nothing_else() {
    check(
        "services:\n  s:\n    image: a\n    command: [\"$EVIL\", '$$A $${A}']\n    environment: {EVIL: }\n",
        expect![[r#"
            {"services":{"s":{"command":["true\nprivileged: true $$B $${B} \"'","$$A $${A}"],"environment":{"EVIL":"true\nprivileged: true $$B $${B} \"'"},"image":"a"}}}
        "#]],
    );
}

#[test]
fn variables_are_held_against_the_rules_like_texts() {
    check(
        "services:\n  s:\n    image: a\n    privileged: ${A:+true}\n    pid: \"${P:-host}\"\n    volumes: [\"${V-/}:/x\"]\n",
        expect![[r#"
            4:17 /services/s/privileged compose-privileged
            5:10 /services/s/pid compose-privileged
            6:15 /services/s/volumes/0 compose-host-path
        "#]],
    );
}

#[test]
fn what_is_privileged_by_any_word_is_refused() {
    check(
        "services:\n  s: {image: a, privileged: \"yes\"}\n  t: {image: a, privileged: ON}\n  u: {image: a, privileged: 'n'}\n",
        expect![[r#"
            2:29 /services/s/privileged compose-privileged
            3:29 /services/t/privileged compose-privileged
        "#]],
    );
}

#[test]
fn an_unset_variable_that_is_used_by_several_is_reported_once() {
    check(
        "x-e: &e\n  B: $B\n  D:\nservices:\n  s: {image: a, environment: *e}\n  t: {image: a, environment: {<<: *e}}\n",
        expect![[r#"
            2:6 /services/s/environment/B compose-unset-variable
            3:3 /services/s/environment/D compose-unset-variable
        "#]],
    );
}

#[test]
fn what_a_service_extends_counts_as_its_own() {
    check(
        "services:\n  a: {image: a, extends: b, networks: [default]}\n  b: {extends: c, profiles: [p]}\n  \
         c: {image: c, network_mode: none, depends_on: [d]}\n  d: {image: d, depends_on: [a], profiles: [p, q]}\n",
        expect![[r#"
            2:29 /services/a/network_mode compose-conflict
            4:50 /services/c/depends_on/0 compose-profile
            5:30 /services/d/depends_on/0 compose-cycle
            5:30 /services/d/depends_on/0 compose-profile
        "#]],
    );
}

#[test]
fn limits_hold() {
    check(
        &format!(
            "services:\n  s: {{image: a, command: \"{}\"}}\n",
            "x".repeat(MAX_BYTES)
        ),
        expect![[r#"
            1:1  too-large
        "#]],
    );
    let services: String = (0..101)
        .map(|n| format!("  s{n}: {{image: a}}\n"))
        .collect();
    check(
        &format!("services:\n{services}"),
        expect![[r#"
            1:1 /services too-large
        "#]],
    );
    let long = format!(
        "x-a: &a \"{}\"\nservices:\n  s: {{image: a, command: [",
        "x".repeat(60_000)
    );
    check(
        &format!("{long}*a, *a]}}\n"),
        expect![[r#"
            1:1  too-large
        "#]],
    );
    check(
        &format!("{long}{}*a]}}\n", "*a, ".repeat(1000)),
        expect![[r#"
            3:95  too-large
        "#]],
    );
    check(
        &format!(
            "services:\n  s: {{image: a, command: [{}x]}}\n",
            "\"${LONG}${LONG}\", ".repeat(200)
        ),
        expect![[r#"
            2:2385 /services/s/command/131 too-large
            2:2403 /services/s/command/132 too-large
            2:2421 /services/s/command/133 too-large
            2:2439 /services/s/command/134 too-large
            2:2457 /services/s/command/135 too-large
            2:2475 /services/s/command/136 too-large
            2:2493 /services/s/command/137 too-large
            2:2511 /services/s/command/138 too-large
            2:2529 /services/s/command/139 too-large
            2:2547 /services/s/command/140 too-large
            2:2565 /services/s/command/141 too-large
            2:2583 /services/s/command/142 too-large
            2:2601 /services/s/command/143 too-large
            2:2619 /services/s/command/144 too-large
            2:2637 /services/s/command/145 too-large
            2:2655 /services/s/command/146 too-large
            2:2673 /services/s/command/147 too-large
            2:2691 /services/s/command/148 too-large
            2:2709 /services/s/command/149 too-large
            2:2727 /services/s/command/150 too-large
            2:2745 /services/s/command/151 too-large
            2:2763 /services/s/command/152 too-large
            2:2781 /services/s/command/153 too-large
            2:2799 /services/s/command/154 too-large
            2:2817 /services/s/command/155 too-large
            2:2835 /services/s/command/156 too-large
            2:2853 /services/s/command/157 too-large
            2:2871 /services/s/command/158 too-large
            2:2889 /services/s/command/159 too-large
            2:2907 /services/s/command/160 too-large
            2:2925 /services/s/command/161 too-large
            2:2943 /services/s/command/162 too-large
            2:2961 /services/s/command/163 too-large
            2:2979 /services/s/command/164 too-large
            2:2997 /services/s/command/165 too-large
            2:3015 /services/s/command/166 too-large
            2:3033 /services/s/command/167 too-large
            2:3051 /services/s/command/168 too-large
            2:3069 /services/s/command/169 too-large
            2:3087 /services/s/command/170 too-large
            2:3105 /services/s/command/171 too-large
            2:3123 /services/s/command/172 too-large
            2:3141 /services/s/command/173 too-large
            2:3159 /services/s/command/174 too-large
            2:3177 /services/s/command/175 too-large
            2:3195 /services/s/command/176 too-large
            2:3213 /services/s/command/177 too-large
            2:3231 /services/s/command/178 too-large
            2:3249 /services/s/command/179 too-large
            2:3267 /services/s/command/180 too-large
        "#]],
    );
}

#[test]
fn nul_characters_and_odd_names_are_refused() {
    check(
        "services:\n  s: {image: a, user: \"a\\0b\", environment: {\"a\\nb\": c, \"\": d}}\n  \"..\": {image: a}\nvolumes: {\"..\": }\n",
        expect![[r#"
            2:23 /services/s/user bad-format
            2:45 /services/s/environment/a
            b bad-format
            2:56 /services/s/environment/ bad-format
            3:3 /services/.. bad-format
            4:11 /volumes/.. bad-format
        "#]],
    );
}

#[test]
fn no_prefix_of_a_file_and_no_broken_byte_makes_it_panic_and_what_runs_reads_to_itself() {
    let text = include_str!("../../tests/compose/accepted/workers-with-anchors.yaml");
    let rules = WorkloadRules::default();
    let mut taken = 0;
    for end in 0..text.len() {
        let mut bytes = text.as_bytes().to_vec();
        bytes[end] = b"*&{}[]:$\x00\xff"[end % 10];
        for bytes in [&text.as_bytes()[..end], &bytes] {
            let Ok(composition) = read(bytes, &rules, &BTreeMap::new()) else {
                continue;
            };
            taken += 1;
            let again = read(composition.document.as_bytes(), &rules, &BTreeMap::new());
            let again = again.expect("what runs is let through");
            assert_eq!(again.document, composition.document);
        }
    }
    assert!(taken > 100, "{taken}");
}

#[test]
fn a_variable_is_no_list() {
    let text = "services: {s: {image: s, environment: {A: [1], B: {}}}}\n";
    let problems = read(text.as_bytes(), &WorkloadRules::default(), &BTreeMap::new());
    let problems = problems.expect_err("no scalars");
    let messages = problems.iter().map(|problem| format!("{problem}\n"));
    expect![[r#"
        1:43: `services.s.environment.A`: expected a text, a number, true, false or nothing, found a list of 1
        1:51: `services.s.environment.B`: expected a text, a number, true, false or nothing, found a mapping
    "#]].assert_eq(&messages.collect::<String>());
}
