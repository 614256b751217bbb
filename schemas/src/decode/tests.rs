//! The decoder as people meet it.

use expect_test::{Expect, expect};

use super::*;
use crate::documents::Kind;

const HELLO: &str = r#"# Says hello.
apiVersion: easyenclave.dev/v1
kind: Deployment
metadata:
  name: hello
  owner: acme
spec:
  workload:
    process:
      command: ["hello", "world"]
      env: { GREETING: hi }
  replicas: 1
  nodeSize: tiny
  health:
    probe:
      http: { path: /healthz }
    interval: 250ms
"#;

const POLICY: &str = r#"apiVersion: easyenclave.dev/v1
kind: AttestationPolicy
metadata: { name: real }
spec:
  trustRoot: { kind: intel }
  measurements: []
"#;

fn check(text: &str, expected: Expect) {
    let shown = match decode(text.as_bytes()) {
        Ok(located) => format!("{}\n", located.identity),
        Err(problems) => problems
            .iter()
            .map(|problem| format!("{problem}\n"))
            .collect(),
    };
    expected.assert_eq(&shown);
}

/// The example with one text in it replaced.
fn changed(text: &str, from: &str, to: &str, expected: Expect) {
    assert!(text.contains(from), "{from:?} is in the example");
    check(&text.replacen(from, to, 1), expected);
}

#[test]
fn a_document_reads_and_knows_its_places() {
    check(
        HELLO,
        expect![[r#"
        Deployment acme/hello
    "#]],
    );
    let located = decode(HELLO.as_bytes()).expect("a valid document");
    assert_eq!(located.position("/spec/replicas"), (12, 13));
    assert_eq!(
        located.position("/spec/workload/process/command/1"),
        (10, 26)
    );
    assert_eq!(
        located.position("/spec/expose/path"),
        (8, 3),
        "the nearest above"
    );
    assert_eq!(located.position(""), (2, 1));
    let Document::Deployment(object) = located.document else {
        panic!("a deployment")
    };
    assert_eq!(object.spec.replicas, 1);
}

#[test]
fn typing_errors_get_a_suggestion() {
    changed(
        HELLO,
        "replicas",
        "replica",
        expect![[r#"
            12:3: unknown field `replica` in `spec`
              help: did you mean `replicas`?
        "#]],
    );
    changed(
        HELLO,
        "process:",
        "proces:",
        expect![[r#"
            9:5: unknown field `proces` in `spec.workload`
              help: did you mean `process`?
        "#]],
    );
    changed(
        HELLO,
        "kind: Deployment",
        "kind: Deploymnet",
        expect![[r#"
            3:7: `kind`: expected one of Fleet, Owner, AttestationPolicy, Provider, CapacityTarget, CapacityReservation, Deployment, Secret, Approval, found the text "Deploymnet"
              help: did you mean `Deployment`?
        "#]],
    );
    changed(
        HELLO,
        "nodeSize: tiny",
        "nodeSize: Tiny",
        expect![[r#"
            13:13: `spec.nodeSize`: expected 1 to 40 characters: a-z, 0-9 and '-', starting and ending with a letter or digit, found the text "Tiny"
              help: did you mean `tiny`?
        "#]],
    );
    changed(
        HELLO,
        "dev/v1",
        "dev/v2",
        expect![[r#"
            2:13: `apiVersion`: expected easyenclave.dev/v1, found the text "easyenclave.dev/v2"
              help: did you mean `easyenclave.dev/v1`?
        "#]],
    );
    changed(
        HELLO,
        "command:",
        "restart: onfailure\n      command:",
        expect![[r#"
            10:16: `spec.workload.process.restart`: expected one of always, onFailure, never, found the text "onfailure"
              help: did you mean `onFailure`?
        "#]],
    );
}

#[test]
fn a_field_that_is_there_already_is_named_and_not_suggested() {
    changed(
        HELLO,
        "  replicas: 1\n",
        "  replicas: 1\n  health2: {}\n",
        expect![[r#"
            13:3: unknown field `health2` in `spec`; `health` is there already
        "#]],
    );
    changed(
        HELLO,
        "    interval: 250ms\n",
        "    interval: 250ms\n    every: 1s\n",
        expect![[r#"
            18:5: unknown field `every` in `spec.health`; its fields are failures, interval, probe, timeout
        "#]],
    );
}

#[test]
fn percent_are_not_taken_for_numbers() {
    for rollout in [
        "{ maxUnavailable: 50% }",
        "{ maxSurge: '25 %' }",
        "{ waves: [25%, 100] }",
        "{ canary: many% }",
    ] {
        let text = format!("{HELLO}  rollout: {rollout}\n");
        let problems = decode(text.as_bytes()).expect_err("no number");
        let says = problems[0].message.ends_with("; `%` is not taken here");
        assert_eq!(says, !rollout.contains("many"), "{problems:?}");
    }
}

#[test]
fn wrong_types_say_what_was_found() {
    changed(
        HELLO,
        "hi }",
        "8080 }",
        expect![[r#"
            11:24: `spec.workload.process.env.GREETING`: expected a text, found the number 8080; quote it to make it a text
              help: did you mean `"8080"`?
        "#]],
    );
    changed(
        HELLO,
        "replicas: 1",
        "replicas: \"1\"",
        expect![[r#"
            12:13: `spec.replicas`: expected a whole number from 0 to 100000, found the text "1"
              help: did you mean `1`?
        "#]],
    );
    changed(
        HELLO,
        "replicas: 1",
        "replicas: 100001",
        expect![[r#"
        12:13: `spec.replicas`: expected a whole number from 0 to 100000, found the number 100001
    "#]],
    );
    changed(
        HELLO,
        "replicas: 1",
        "replicas: 1.5",
        expect![[r#"
        12:13: `spec.replicas`: expected a whole number from 0 to 100000, found the number 1.5
    "#]],
    );
    changed(
        HELLO,
        "replicas: 1",
        "replicas: [1, 2]",
        expect![[r#"
        12:13: `spec.replicas`: expected a whole number from 0 to 100000, found a list of 2
    "#]],
    );
    changed(
        HELLO,
        "replicas: 1",
        "replicas: 1\n  placement:",
        expect![[r#"
            13:12: `spec.placement`: expected a mapping, found nothing
              help: did you mean `{}`?
        "#]],
    );
    changed(
        HELLO,
        "250ms",
        "250",
        expect![[r#"
        17:15: `spec.health.interval`: expected a duration such as 250ms, 30s, 5m, 12h or 30d, ten years at most, found the number 250
    "#]],
    );
    changed(
        HELLO,
        "[\"hello\", \"world\"]",
        "hello world",
        expect![[r#"
        10:16: `spec.workload.process.command`: expected a list of 1 to 100, found the text "hello world"
    "#]],
    );
    changed(
        HELLO,
        "[\"hello\", \"world\"]",
        "[]",
        expect![[r#"
        10:16: `spec.workload.process.command`: expected a list of 1 to 100, found an empty list
    "#]],
    );
    changed(
        HELLO,
        "[\"hello\", \"world\"]",
        "[hello, 1, true]",
        expect![[r#"
            10:24: `spec.workload.process.command[1]`: expected a text, found the number 1; quote it to make it a text
              help: did you mean `"1"`?
            10:27: `spec.workload.process.command[2]`: expected a text, found `true`; quote it to make it a text
              help: did you mean `"true"`?
        "#]],
    );
}

#[test]
fn a_probe_is_exactly_one() {
    changed(
        HELLO,
        "http: { path: /healthz }",
        "http: { path: / }\n      tcp: {}",
        expect![[r#"
        17:7: `spec.health.probe`: expected exactly one of http, tcp, command, found http and tcp
    "#]],
    );
    changed(
        HELLO,
        "http: { path: /healthz }",
        "{}",
        expect![[r#"
        15:5: `spec.health.probe`: expected exactly one of http, tcp, command, found none
    "#]],
    );
    changed(
        HELLO,
        "\n      http: { path: /healthz }",
        " tcp",
        expect![[r#"
        15:12: `spec.health.probe`: expected a mapping with exactly one of http, tcp, command, found the text "tcp"
    "#]],
    );
    changed(
        HELLO,
        "http: { path: /healthz }",
        "tcp:",
        expect![[r#"
            16:10: `spec.health.probe.tcp`: expected a mapping, found nothing
              help: did you mean `{}`?
        "#]],
    );
    changed(
        HELLO,
        "/healthz",
        "healthz",
        expect![[r#"
        16:21: `spec.health.probe.http.path`: expected 1 to 1000 characters: a path that starts with '/', without spaces, found the text "healthz"
    "#]],
    );
    changed(
        HELLO,
        "http: { path: /healthz }",
        "command: []",
        expect![[r#"
        16:16: `spec.health.probe.command`: expected a list of 1 to 100, found an empty list
    "#]],
    );
}

#[test]
fn owners_are_for_owned_kinds() {
    changed(
        HELLO,
        "  owner: acme\n",
        "",
        expect![[r#"
        4:1: missing field `owner` in `metadata`
    "#]],
    );
    changed(
        POLICY,
        "name: real",
        "name: real, owner: acme",
        expect![[r#"
        3:25: `metadata.owner` has no place in this kind of document
    "#]],
    );
}

#[test]
fn all_problems_come_at_once() {
    check(
        "kind: Deployment\nmetadata: {}\nspec: {replicas: -1, size: 2}\n",
        expect![[r#"
            1:1: missing field `apiVersion`
            2:1: missing field `name` in `metadata`
            2:1: missing field `owner` in `metadata`
            3:1: missing field `nodeSize` in `spec`
            3:1: missing field `workload` in `spec`
            3:18: `spec.replicas`: expected a whole number from 0 to 100000, found the number -1
            3:22: unknown field `size` in `spec`; its fields are expose, health, nodeSize, placement, replicas, rollout, secrets, workload
        "#]],
    );
    check(
        "kind: Thing\n",
        expect![[r#"
            1:1: missing field `apiVersion`
            1:1: missing field `metadata`
            1:1: missing field `spec`
            1:7: `kind`: expected one of Fleet, Owner, AttestationPolicy, Provider, CapacityTarget, CapacityReservation, Deployment, Secret, Approval, found the text "Thing"
        "#]],
    );
    check(
        "- a\n",
        expect![[r#"
        1:1: expected a mapping, found a list of 1
    "#]],
    );
}

#[test]
fn rules_go_beyond_the_schema() {
    changed(
        HELLO,
        "250ms",
        "99ms",
        expect![[r#"
        17:15: `spec.health.interval`: expected at least 100ms, found 99ms
    "#]],
    );
    changed(
        HELLO,
        "\"hello\"",
        "\" \"",
        expect![[r#"
        10:17: `spec.workload.process.command[0]`: expected a program, found an empty text
    "#]],
    );
    changed(
        HELLO,
        "\"world\"",
        "\"\\0\"",
        expect![[r#"
        10:26: `spec.workload.process.command[1]` contains a NUL character
    "#]],
    );
    changed(
        HELLO,
        "GREETING",
        "PORT",
        expect![[r#"
        11:20: environment variable PORT is set by the agent
    "#]],
    );
    changed(
        HELLO,
        "GREETING",
        "EASYENCLAVE_X",
        expect![[r#"
        11:29: environment variable EASYENCLAVE_X is set by the agent
    "#]],
    );
    changed(
        HELLO,
        "GREETING",
        "my-name",
        expect![[r#"
        11:23: environment variables are named with letters, digits and '_', not starting with a digit
    "#]],
    );
    changed(
        POLICY,
        "intel",
        "simulated",
        expect![[r#"
        5:14: missing field `keyId` in `spec.trustRoot`: a simulated root is named by it
    "#]],
    );
    let key = format!("intel, keyId: {}", "0".repeat(96));
    changed(
        POLICY,
        "intel",
        &key,
        expect![[r#"
            5:36: `spec.trustRoot.keyId`: expected 96 lower-case hex digits, found the number 0000000000000000000000000000000000000000…; quote it to make it a text
              help: did you mean `"000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"`?
        "#]],
    );
    changed(
        POLICY,
        "intel",
        "simulated, keyId: 12ab",
        expect![[r#"
        5:40: `spec.trustRoot.keyId`: expected 96 lower-case hex digits, found the text "12ab"
    "#]],
    );
    changed(
        POLICY,
        "[]",
        "[]\n  maxAge: 0s",
        expect![[r#"
            7:11: `spec.maxAge`: expected at least 10m, found 0ms
        "#]],
    );
    let twice = format!(
        "[{{name: \"a\\n::b\", mrtd: {0}}}, {{name: b, mrtd: {0}}}]",
        "a".repeat(96)
    );
    changed(
        POLICY,
        "[]",
        &twice,
        expect![[r#"
        6:140: `spec.measurements[1]` repeats the measurement named "a\n::b"
    "#]],
    );
}

#[test]
fn what_a_policy_may_not_weaken_and_what_it_may() {
    for mode in ["optional", "disabled"] {
        let modes = format!("[]\n  modes: {{nonce: {mode}}}");
        let refused = expect![[r#"
            7:18: `spec.modes.nonce`: expected required under Intel's trust root; the other modes are for tests with a simulated one
        "#]];
        changed(POLICY, "[]", &modes, refused);
        let simulated = format!("simulated, keyId: \"{}\"", "a".repeat(96));
        let of_tests = POLICY.replace("intel", &simulated);
        let accepted = expect![[r#"
            AttestationPolicy real
        "#]];
        changed(&of_tests, "[]", &modes, accepted);
    }
    changed(
        POLICY,
        "[]",
        "[]\n  modes: {tcb: warn, rtmr: disabled}",
        expect![[r#"
            AttestationPolicy real
        "#]],
    );
    changed(
        POLICY,
        "[]",
        "[]\n  modes: {tcb: lenient}",
        expect![[r#"
            7:16: `spec.modes.tcb`: expected one of strict, warn, disabled, found the text "lenient"
        "#]],
    );
    changed(
        POLICY,
        "[]",
        "[]\n  verifiers: {}",
        expect![[r#"
            7:14: `spec.verifiers` names nobody: expected dcap, ita or both
        "#]],
    );
    changed(
        POLICY,
        "[]",
        "[]\n  verifiers: {ita: {leeway: 11m}}",
        expect![[r#"
            7:29: `spec.verifiers.ita.leeway`: expected at most 10m, found 11m
        "#]],
    );
}

#[test]
fn a_measurement_has_a_name_of_its_own_and_values_of_its_own() {
    let entry =
        |name: &str, more: &str| format!("{{name: {name}, mrtd: {}{more}}}", "a".repeat(96));
    let registers = format!(", rtmr1: {}", "b".repeat(96));
    let sets = format!("[{}, {}]", entry("a", ""), entry("b", &registers));
    changed(
        POLICY,
        "[]",
        &sets,
        expect![[r#"
            AttestationPolicy real
        "#]],
    );
    let names = format!("[{}, {}]", entry("a", ""), entry("a", &registers));
    changed(
        POLICY,
        "[]",
        &names,
        expect![[r#"
            6:140: `spec.measurements[1].name`: "a" is the name of `spec.measurements[0]` too
        "#]],
    );
    let sizes = format!(
        "[{}, {}]",
        entry("a", ", nodeSize: tiny"),
        entry("a", ", nodeSize: llm")
    );
    changed(
        POLICY,
        "[]",
        &sizes,
        expect![[r#"
            AttestationPolicy real
        "#]],
    );
}

#[test]
fn targets_and_reservations() {
    let target = "apiVersion: easyenclave.dev/v1\nkind: CapacityTarget\nmetadata: {name: t}\nspec:\n  \
                  datacenter: local\n  nodeSize: tiny\n  provider: p\n  policy: q\n  min: 3\n  max: 2\n";
    check(
        target,
        expect![[r#"
        9:8: `spec.min` is 3, more than `spec.max`, 2
    "#]],
    );
    let disruption = format!(
        "{}  disruption:\n    budgets:\n    - {{max: 101%, reasons: [upgrade]}}\n    - {{max: -1}}\n    \
         - {{max: 1, windows: [{{days: [sunday], from: 7:00, for: 8h}}]}}\n    consolidateAfter: 5\n",
        target.replace("min: 3", "min: 1")
    );
    check(
        &disruption,
        expect![[r#"
        13:13: `spec.disruption.budgets[0].max`: expected a whole number from 0 to 100000, or percent such as 10%, found the text "101%"
        13:29: `spec.disruption.budgets[0].reasons[0]`: expected one of surplus, drift, refused, found the text "upgrade"
        14:13: `spec.disruption.budgets[1].max`: expected a whole number from 0 to 100000, or percent such as 10%, found the number -1
        15:34: `spec.disruption.budgets[2].windows[0].days[0]`: expected one of mon, tue, wed, thu, fri, sat, sun, found the text "sunday"
        15:49: `spec.disruption.budgets[2].windows[0].from`: expected a time of day in UTC such as 22:00, found the text "7:00"
        16:23: `spec.disruption.consolidateAfter`: expected a duration such as 250ms, 30s, 5m, 12h or 30d, ten years at most, found the number 5
    "#]],
    );
    changed(
        target,
        "  min: 3\n",
        "  disruption:\n    budgets:\n    - {max: 10%, reasons: [drift]}\n    \
         - {max: 0, windows: [{days: [sat, sun], from: 22:00, for: 8d}, {from: \"06:30\", for: 1s}]}\n    drainWithin: 9s\n",
        expect![[r#"
            12:63: `spec.disruption.budgets[1].windows[0].for`: expected at most 7d, found 8d
            12:89: `spec.disruption.budgets[1].windows[1].for`: expected at least 1m, found 1s
            13:18: `spec.disruption.drainWithin`: expected at least 10s, found 9s
        "#]],
    );
    changed(
        target,
        "  min: 3\n",
        "  places:\n  - {provider: p, datacenter: far}\n  - {datacenter: local, provider: p}\n  - {provider: p, datacenter: far}\n",
        expect![[r#"
            11:5: `spec.places[1]`: p in local is a place of this target already
            12:5: `spec.places[2]`: p in far is a place of this target already
        "#]],
    );
    let reservation = "apiVersion: easyenclave.dev/v1\nkind: CapacityReservation\n\
                       metadata: {name: r, owner: acme}\nspec:\n  target: t\n  count: 0\n  until: soon\n";
    check(
        reservation,
        expect![[r#"
        6:10: `spec.count`: expected a whole number from 1 to 100000, found the number 0
        7:10: `spec.until`: expected a time such as 2026-01-31T12:00:00Z, found the text "soon"
    "#]],
    );
    changed(
        reservation,
        "count: 0\n  until: soon",
        "count: 1\n  paid: twice",
        expect![[r#"
            7:9: `spec.paid`: expected true or false, found the text "twice"
        "#]],
    );
}

#[test]
fn approvals_name_a_digest() {
    let approval = "apiVersion: easyenclave.dev/v1\nkind: Approval\nmetadata: {name: a}\nspec:\n  \
                    planDigest: 12ab\n";
    check(
        approval,
        expect![[r#"
        5:15: `spec.planDigest`: expected 64 lower-case hex digits, found the text "12ab"
    "#]],
    );
    changed(
        approval,
        "12ab",
        &"0a".repeat(32),
        expect![[r#"
        Approval a
    "#]],
    );
}

#[test]
fn what_yaml_can_do_beyond_data_is_refused() {
    changed(
        HELLO,
        "replicas: 1",
        "replicas: &n 1\n  other: *n",
        expect![[r#"
            12:16: anchors (`&name`) are not accepted; write the value out
            13:3: unknown field `other` in `spec`; its fields are expose, health, nodeSize, placement, replicas, rollout, secrets, workload
            13:10: aliases (`*name`) are not accepted; write the value out
        "#]],
    );
    changed(
        HELLO,
        "replicas: 1",
        "replicas: !!int 1",
        expect![[r#"
        12:19: tags (`!name`) are not accepted; quote a text instead
    "#]],
    );
    changed(
        HELLO,
        "replicas: 1",
        "<<: {replicas: 1}",
        expect![[r#"
        7:1: missing field `replicas` in `spec`
        12:3: merge keys (`<<`) are not accepted; write the fields out
    "#]],
    );
    changed(
        HELLO,
        "replicas: 1",
        "replicas: 1\n  replicas: 2",
        expect![[r#"
            13:3: field `replicas` is given twice, first at 12:3
        "#]],
    );
    changed(
        HELLO,
        "replicas: 1",
        "? [a]\n  : 1",
        expect![[r#"
        12:5: expected a field's name, found something else
    "#]],
    );
    check(
        &format!("{HELLO}---\n{HELLO}"),
        expect![[r#"
        18:1: a second document begins here; put each into a file of its own
    "#]],
    );
    check(
        &format!("%YAML 1.2\n---\n{HELLO}"),
        expect![[r#"
        1:1: not valid YAML: YAML directives are disallowed
    "#]],
    );
}

#[test]
fn text_that_is_no_yaml() {
    check(
        "",
        expect![[r#"
        1:1: the file holds no document
    "#]],
    );
    check(
        "# nothing\n",
        expect![[r#"
        1:1: the file holds no document
    "#]],
    );
    check(
        "a: [\n",
        expect![[r#"
        1:4: not valid YAML: unclosed bracket '['
    "#]],
    );
    check(
        "a:\n\tb: 1\n",
        expect![[r#"
            2:2: not valid YAML: tabs disallowed within this context (block indentation); indent with spaces
        "#]],
    );
    check(
        "a: \"x\n",
        expect![[r#"
        1:4: not valid YAML: unclosed quote
    "#]],
    );
    check(
        "a: b: c\n",
        expect![[r#"
        1:5: not valid YAML: mapping values are not allowed in this context
    "#]],
    );
    let shown = decode(b"a: 1\nb: \xff\n").expect_err("no UTF-8");
    assert_eq!(shown[0].to_string(), "2:4: the file is not UTF-8 text");
}

#[test]
fn limits_hold() {
    check(
        &"[".repeat(40),
        expect![[r#"
        1:40: not valid YAML: unclosed bracket '['
    "#]],
    );
    check(
        &"- ".repeat(40),
        expect![[r#"
        1:65: nested deeper than 32 levels
    "#]],
    );
    check(
        &"- a\n".repeat(20_001),
        expect![[r#"
        20001:3: more than 20000 values
    "#]],
    );
    check(
        &"# comment\n".repeat(30_000),
        expect![[r#"
        1:1: the file is larger than 256 KiB
    "#]],
    );
    check(
        &format!("? {}\n: 1\n", "a".repeat(300)),
        expect![[r#"
        1:3: a field's name is longer than 256 bytes
    "#]],
    );
    let targets = vec!["tiny"; 101].join(", ");
    changed(
        HELLO,
        "replicas: 1",
        &format!("replicas: 1\n  placement: {{ targets: [{targets}] }}"),
        expect![[r#"
            13:25: `spec.placement.targets`: expected a list of 0 to 100, found a list of 101
        "#]],
    );
    let many: String = (0..200).map(|n| format!("f{n}: 1\n")).collect();
    let problems = decode(many.as_bytes()).expect_err("unknown fields");
    assert_eq!(problems.len(), 50);
}

/// Every byte of the examples changed, dropped and doubled: an answer always, and never an accepted text
/// that the committed schema refuses.
#[test]
fn mutated_documents_get_an_answer_that_the_schema_agrees_with() {
    for text in [HELLO, POLICY] {
        for at in 0..text.len() {
            for byte in [
                b'\0', b'\t', b'\n', b' ', b'-', b':', b'[', b'{', b'"', b'1', b'*', 0xff,
            ] {
                let mut changed = text.as_bytes().to_vec();
                changed[at] = byte;
                agree(&changed);
                changed = text.as_bytes().to_vec();
                changed.insert(at, byte);
                agree(&changed);
            }
            let mut shorter = text.as_bytes().to_vec();
            shorter.remove(at);
            agree(&shorter);
            agree(&text.as_bytes()[..at]);
        }
    }
}

/// The decoder accepts nothing that a validator refuses. Refused by the decoder alone may be what JSON
/// cannot say: rules, formats and YAML's own extras.
fn agree(text: &[u8]) {
    static VALIDATORS: std::sync::LazyLock<Vec<jsonschema::Validator>> =
        std::sync::LazyLock::new(|| {
            let validator = |kind: &Kind| {
                jsonschema::validator_for(&json_schema(*kind)).expect("the schema is one")
            };
            Kind::ALL.iter().map(validator).collect()
        });
    let mut problems = Problems::default();
    let Some(text) = utf8(text, MAX_BYTES, &mut problems) else {
        return;
    };
    let Some(root) =
        tree::parse(text, tree::Dialect::Document, &mut problems).filter(|_| problems.is_empty())
    else {
        assert!(decode(text.as_bytes()).is_err());
        return;
    };
    let claimed = root.field("kind").and_then(Node::text);
    let Some(index) = Kind::ALL
        .iter()
        .position(|kind| claimed == Some(kind.as_str()))
    else {
        assert!(decode(text.as_bytes()).is_err());
        return;
    };
    let value = typed::json(&root);
    walk::walk(&root, shape::of(&root), &mut problems);
    let valid = VALIDATORS[index].is_valid(&value);
    assert_eq!(
        problems.is_empty(),
        valid,
        "{text}\n{:?}",
        problems.into_sorted()
    );
}

#[test]
fn a_byte_order_mark_and_crlf_are_accepted() {
    assert!(decode(format!("\u{feff}{HELLO}").as_bytes()).is_ok());
    assert!(decode(HELLO.replace('\n', "\r\n").as_bytes()).is_ok());
}
