//! Rules as people meet them. What has no effect yet is judged by them all the same.

use expect_test::{Expect, expect};

use crate::decode::path::push_field;
use crate::decode::problem::{At, Problem, Problems};
use crate::decode::tree::{self, Dialect, Node, Value};
use crate::decode::{decode, mend, shape, typed};
use crate::documents::Kind;

const COMPOSE: &str = r#"apiVersion: easyenclave.dev/v1
kind: Deployment
metadata: { name: web, owner: acme }
spec:
  workload:
    compose:
      source: { file: compose.web.yaml }
      env: { TAG: "1" }
      profiles: [debug]
      web: { service: web, port: 8080 }
  replicas: 10
  nodeSize: tiny
  secrets:
    - { name: db, file: db-password, services: [web] }
  placement:
    agent: tiny-0123456789ab
    allowedClouds: [gcp, on-prem]
    spread: datacenters
  health:
    probe: { http: { path: /healthz } }
  rollout:
    canary: 1
    waves: [25, 50]
    maxSurge: 2
    minHealthy: 30s
    deadline: 5m
    revert: automatic
    pause: { owner: ann, reason: holidays, until: "2027-01-02T00:00:00Z" }
  expose:
    hostname: web.example.com
"#;

const PROCESS: &str = r#"apiVersion: easyenclave.dev/v1
kind: Deployment
metadata: { name: web, owner: acme }
spec:
  workload: { process: { command: [web], env: { A: "1" } } }
  replicas: 1
  nodeSize: tiny
  secrets:
    - { name: db, env: PASSWORD }
    - { name: db, file: password }
"#;

const FLEET: &str = r#"apiVersion: easyenclave.dev/v1
kind: Fleet
metadata: { name: demo }
spec:
  api:
    oidc: { audience: demo }
  secrets: { recipients: [age1x] }
  tunnel:
    cloudflare:
      accountId: 0123456789abcdef0123456789abcdef
      zoneId: 0123456789abcdef0123456789abcdef
      zone: example.com
      protected: [www.example.com]
  workloads: { pinned: true }
"#;

const OWNER: &str = r#"apiVersion: easyenclave.dev/v1
kind: Owner
metadata: { name: acme }
spec:
  keys:
    - id: abcdefghijklmnopqrstuvwxyz
      hash: $argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA
      name: pipeline
      expires: "2027-01-02T00:00:00Z"
"#;

const SECRET: &str = r#"apiVersion: easyenclave.dev/v1
kind: Secret
metadata: { name: db, owner: acme }
spec:
  sealed: YWdlLWVuY3J5cHRpb24ub3JnL3YxCg==
"#;

const POLICY: &str = r#"apiVersion: easyenclave.dev/v1
kind: AttestationPolicy
metadata: { name: demo }
spec:
  trustRoot: { kind: intel }
  verifiers: { dcap: {} }
  maxAge: 1h
  measurements:
    - { name: one, mrtd: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }
    - { name: two, nodeSize: tiny, mrtd: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb }
"#;

const TARGET: &str = r#"apiVersion: easyenclave.dev/v1
kind: CapacityTarget
metadata: { name: tiny }
spec:
  datacenter: local
  nodeSize: tiny
  provider: local
  policy: demo
  min: 1
  max: 4
  warm: 0
  disruption:
    drainWithin: 1m
    budgets:
      - { max: 10%, windows: [{ days: [mon], from: "22:00", for: 2h }] }
"#;

/// What is wrong with a text.
fn problems(text: &str) -> String {
    let problems = decode(text.as_bytes()).err().unwrap_or_default();
    problems
        .iter()
        .map(|one| format!("{} {one}\n", one.code))
        .collect()
}

fn changed(text: &str, from: &str, to: &str, expected: Expect) {
    assert_eq!(problems(text), "");
    assert!(text.contains(from), "{from:?} is in the example");
    expected.assert_eq(&problems(&text.replacen(from, to, 1)));
}

#[test]
fn a_compose_file_lies_beside_its_deployment() {
    for elsewhere in [
        "../compose.yaml",
        "/compose.yaml",
        "a/compose.yaml",
        "..",
        "web.yaml",
        "compose.yaml/",
    ] {
        let text = COMPOSE.replace("compose.web.yaml", elsewhere);
        assert!(problems(&text).starts_with("bad-format 7:"), "{elsewhere}");
    }
    changed(
        COMPOSE,
        "{ file: compose.web.yaml }",
        "{ file: compose.yaml, inline: \"services: {}\" }",
        expect![[r#"
            exactly-one 7:37: `spec.workload.compose.source`: expected exactly one of file, inline, found file and inline
        "#]],
    );
}

#[test]
fn what_is_allowed_is_not_denied_as_well() {
    changed(
        COMPOSE,
        "allowedClouds: [gcp, on-prem]",
        "allowedClouds: [gcp, on-prem]\n    deniedClouds: [azure, baremetal]",
        expect![[r#"
            cloud-policy-conflict 18:27: `spec.placement.deniedClouds[1]`: baremetal is among `allowedClouds` too; take it out of one of them
        "#]],
    );
    changed(
        COMPOSE,
        "spread: datacenters",
        "spread: datacenters\n    allowedDatacenters: [a, b]\n    deniedDatacenters: [c, b, a]",
        expect![[r#"
            datacenter-policy-conflict 20:28: `spec.placement.deniedDatacenters[1]`: b is among `allowedDatacenters` too; take it out of one of them
            datacenter-policy-conflict 20:31: `spec.placement.deniedDatacenters[2]`: a is among `allowedDatacenters` too; take it out of one of them
        "#]],
    );
    changed(
        COMPOSE,
        "spread: datacenters",
        "spread: datacenters\n    allowedDatacenters: [a]\n    deniedDatacenters: [b]",
        expect![""],
    );
}

#[test]
fn a_datacenter_of_before_is_told_its_name_of_today() {
    changed(
        COMPOSE,
        "spread: datacenters",
        "allowedDatacenters: [\"google:us_central1-a\"]",
        expect![[r#"
            bad-format 18:26: `spec.placement.allowedDatacenters[0]`: expected 1 to 40 characters: a-z, 0-9 and '-', starting and ending with a letter or digit, found the text "google:us_central1-a"
              help: did you mean `gcp-us-central1-a`?
        "#]],
    );
    changed(
        COMPOSE,
        "spread: datacenters",
        "allowedDatacenters: [\"a:b:c\"]",
        expect![[r#"
            bad-format 18:26: `spec.placement.allowedDatacenters[0]`: expected 1 to 40 characters: a-z, 0-9 and '-', starting and ending with a letter or digit, found the text "a:b:c"
        "#]],
    );
}

#[test]
fn a_compose_file_is_no_way_to_steer_the_engine() {
    changed(
        COMPOSE,
        "TAG:",
        "DOCKER_HOST:",
        expect![[r#"
        variable-reserved 8:27: environment variable DOCKER_HOST would steer the engine's own programs
    "#]],
    );
    changed(
        COMPOSE,
        "TAG:",
        "A-B:",
        expect![[r#"
        variable-name 8:19: environment variables are named with letters, digits and '_', not starting with a digit
    "#]],
    );
}

#[test]
fn what_is_asked_of_a_compose_file_needs_a_service() {
    changed(
        COMPOSE,
        "      web: { service: web, port: 8080 }\n",
        "",
        expect![[r#"
            no-web 19:12: `spec.health.probe` needs `spec.workload.compose.web`, which names the service that is asked
            no-web 29:5: `spec.expose` needs `spec.workload.compose.web`, which names the service that is reached
        "#]],
    );
    changed(
        COMPOSE,
        "{ http: { path: /healthz } }",
        "{ command: [ok] }",
        expect![[r#"
            process-only 20:23: `spec.health.probe.command` is for processes; a service of a Compose file has a `healthcheck`
        "#]],
    );
    changed(
        COMPOSE,
        "port: 8080",
        "port: 65536",
        expect![[r#"
        out-of-range 10:34: `spec.workload.compose.web.port`: expected a whole number from 1 to 65535, found the number 65536
    "#]],
    );
    changed(
        COMPOSE,
        "service: web, port",
        "service: -web, port",
        expect![[r#"
            bad-format 10:23: `spec.workload.compose.web.service`: expected 1 to 100 characters: letters, digits, '.', '_' and '-', starting with a letter, digit or '_', found the text "-web"
        "#]],
    );
}

#[test]
fn an_inline_file_has_a_bound_in_bytes() {
    let text = COMPOSE.replace("{ file: compose.web.yaml }", "{ inline: \"TEXT\" }");
    assert_eq!(problems(&text), "");
    let most = text.replace("TEXT", &"é".repeat(32 * 1024));
    assert_eq!(problems(&most), "");
    let more = text.replace("TEXT", &"é".repeat(32 * 1024 + 1));
    expect![[r#"
        too-large 7:25: `spec.workload.compose.source.inline` is larger than 64 KiB
    "#]]
    .assert_eq(&problems(&more));
}

#[test]
fn secrets_are_given_in_one_way_that_no_disk_sees() {
    changed(
        COMPOSE,
        "file: db-password",
        "env: PASSWORD",
        expect![[r#"
        process-only 14:24: a container engine writes variables to its disk; give the secret as a `file`
    "#]],
    );
    changed(
        PROCESS,
        "env: PASSWORD",
        "env: PORT",
        expect![[r#"
        variable-reserved 9:24: environment variable PORT is set already
    "#]],
    );
    changed(
        PROCESS,
        "env: PASSWORD",
        "env: A",
        expect![[r#"
        variable-reserved 9:24: environment variable A is set already
    "#]],
    );
    changed(
        PROCESS,
        "env: PASSWORD",
        "env: P W",
        expect![[r#"
        variable-name 9:24: environment variables are named with letters, digits and '_', not starting with a digit
    "#]],
    );
    changed(
        PROCESS,
        ", env: PASSWORD",
        "",
        expect![[r#"
        exactly-one 9:7: `spec.secrets[0]`: expected exactly one of env, file
    "#]],
    );
    changed(
        PROCESS,
        "env: PASSWORD",
        "file: password",
        expect![[r#"
        repeated 10:7: `spec.secrets[1]` is given where another secret is
    "#]],
    );
    changed(
        PROCESS,
        "env: PASSWORD",
        "file: ../password",
        expect![[r#"
        bad-format 9:25: `spec.secrets[0].file`: expected 1 to 100 characters: letters, digits, '.', '_' and '-', starting with a letter, digit or '_', found the text "../password"
    "#]],
    );
    changed(
        PROCESS,
        "file: password",
        "file: a, services: [web]",
        expect![[r#"
            compose-only 10:38: `spec.secrets[1].services` is for services of a Compose file
        "#]],
    );
}

#[test]
fn a_secret_is_sealed_and_never_quoted_by_a_rule() {
    changed(
        SECRET,
        "YWdlLWVuY3J5cHRpb24ub3JnL3YxCg==",
        "aHVudGVyMg==",
        expect![[r#"
            not-sealed 5:11: `spec.sealed`: expected a file of `age` in base64, as `easyenclave secret set` writes it
        "#]],
    );
    for wrong in [
        "7777777",
        "[hunter2]",
        "hunter2",
        "\"hunter2 hunter2\"",
        "true",
    ] {
        let found = problems(&SECRET.replace("YWdlLWVuY3J5cHRpb24ub3JnL3YxCg==", wrong));
        assert!(found.contains("spec.sealed`: expected"), "{found}");
        assert!(
            !found.contains("hunter2") && !found.contains("777"),
            "{found}"
        );
    }
    changed(
        SECRET,
        "owner: acme",
        "labels: a",
        expect![[r#"
            missing-field 3:1: missing field `owner` in `metadata`
            unknown-field 3:23: unknown field `labels` in `metadata`; its fields are name, owner
        "#]],
    );
}

#[test]
fn roll_outs_go_one_way() {
    changed(
        COMPOSE,
        "[25, 50]",
        "[25, 25, 10]",
        expect![[r#"
        not-rising 23:17: `spec.rollout.waves[1]`: expected more than 25, the wave before it, found 25
        not-rising 23:21: `spec.rollout.waves[2]`: expected more than 25, the wave before it, found 10
    "#]],
    );
    changed(
        COMPOSE,
        "[25, 50]",
        "[0, 101]",
        expect![[r#"
        out-of-range 23:13: `spec.rollout.waves[0]`: expected a whole number from 1 to 100, found the number 0
        out-of-range 23:16: `spec.rollout.waves[1]`: expected a whole number from 1 to 100, found the number 101
    "#]],
    );
    changed(
        COMPOSE,
        "deadline: 5m",
        "deadline: 0s",
        expect![[r#"
        too-short 26:15: `spec.rollout.deadline`: expected at least 1s, found 0ms
    "#]],
    );
    changed(
        COMPOSE,
        "minHealthy: 30s",
        "minHealthy: 8d",
        expect![[r#"
        too-long 25:17: `spec.rollout.minHealthy`: expected at most 7d, found 8d
    "#]],
    );
    changed(
        COMPOSE,
        "owner: ann, reason",
        "reason",
        expect![[r#"
        missing-field 28:5: missing field `owner` in `spec.rollout.pause`
    "#]],
    );
    changed(
        COMPOSE,
        "revert: automatic",
        "revert: auto",
        expect![[r#"
        unknown-value 27:13: `spec.rollout.revert`: expected one of never, automatic, found the text "auto"
    "#]],
    );
}

#[test]
fn places_and_names_are_of_a_known_form() {
    changed(
        COMPOSE,
        "[gcp, on-prem]",
        "[gcp-us]",
        expect![[r#"
        bad-format 17:21: `spec.placement.allowedClouds[0]`: expected 1 to 40 characters: a cloud such as gcp or baremetal, in a-z and 0-9, found the text "gcp-us"
    "#]],
    );
    changed(
        COMPOSE,
        "web.example.com",
        "Web.example.com",
        expect![[r#"
        bad-format 30:15: `spec.expose.hostname`: expected 1 to 253 characters: a host's name such as app.example.com, in lower case, found the text "Web.example.com"
          help: did you mean `web.example.com`?
    "#]],
    );
    changed(
        COMPOSE,
        "spread: datacenters",
        "spread: zones",
        expect![[r#"
            unknown-value 18:13: `spec.placement.spread`: expected one of any, datacenters, found the text "zones"
        "#]],
    );
}

#[test]
fn callers_are_known_by_addresses_that_nobody_listens_to() {
    changed(
        FLEET,
        "audience: demo",
        "audience: demo, issuer: \"http://example.com\"",
        expect![[r#"
            address 6:37: `spec.api.oidc.issuer`: nothing is asked in the clear; expected https, or http to this machine, found "http://example.com"
        "#]],
    );
    changed(
        FLEET,
        "audience: demo",
        "audience: demo, jwksUrl: \"ftp://example.com\"",
        expect![[r#"
            address 6:38: `spec.api.oidc.jwksUrl`: nothing is asked in the clear; expected https, or http to this machine, found "ftp://example.com"
        "#]],
    );
    changed(
        FLEET,
        "zone: example.com",
        "zone: example.com\n      apiUrl: \"http://example.com\"",
        expect![[r#"
            address 13:15: `spec.tunnel.cloudflare.apiUrl`: nothing is asked in the clear; expected https, or http to this machine, found "http://example.com"
        "#]],
    );
    changed(
        FLEET,
        "www.example.com",
        "www.example.org",
        expect![[r#"
        not-in-zone 13:19: `spec.tunnel.cloudflare.protected[0]`: www.example.org is not in the zone example.com
    "#]],
    );
    changed(
        FLEET,
        "accountId: 0",
        "accountId: x",
        expect![[r#"
        bad-format 10:18: `spec.tunnel.cloudflare.accountId`: expected 32 lower-case hex digits, found the text "x123456789abcdef0123456789abcdef"
    "#]],
    );
}

#[test]
fn keys_are_told_apart() {
    let key = &OWNER[OWNER.find("    - id").expect("a key")..];
    assert_eq!(problems(OWNER), "");
    expect![[r#"
        repeated 10:11: `spec.keys[1].id` is the id of another key too
    "#]]
    .assert_eq(&problems(&format!("{OWNER}{key}")));
    changed(
        OWNER,
        "$argon2id$",
        "$argon2i$",
        expect![[r#"
        bad-format 7:13: `spec.keys[0].hash`: expected 1 to 200 characters: a hash by Argon2id such as $argon2id$v=19$m=19456,t=2,p=1$..., found the text "$argon2i$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"
    "#]],
    );
    changed(
        OWNER,
        "id: abc",
        "id: ABC",
        expect![[r#"
        bad-format 6:11: `spec.keys[0].id`: expected the 26 characters of a key's id, a-z and 2-7, found the text "ABCdefghijklmnopqrstuvwxyz"
          help: did you mean `abcdefghijklmnopqrstuvwxyz`?
    "#]],
    );
}

/// The examples with one text in each wrong: nothing is said but of this place, and of what stands above it.
#[test]
fn one_mistake_is_blamed_on_nothing_else() {
    let mut mistakes = 0;
    for text in [COMPOSE, PROCESS, FLEET, OWNER, SECRET, POLICY, TARGET] {
        assert_eq!(problems(text), "");
        let mut ignored = Problems::default();
        let root = tree::parse(text, Dialect::Document, &mut ignored).expect("YAML");
        let mut changes = Vec::new();
        mistakes_of(&root, &mut String::new(), &mut changes);
        for (at, length, wrong, pointer) in changes {
            let changed = replaced(text, at, length, &wrong);
            let found = decode(changed.as_bytes()).err().unwrap_or_default();
            let is_of_it = |one: &Problem| {
                pointer.starts_with(&one.pointer) || one.pointer.starts_with(&pointer)
            };
            assert!(
                found.iter().all(is_of_it),
                "{pointer} in {changed}{found:#?}"
            );
            mistakes += found.len();
        }
    }
    assert!(mistakes > 200, "{mistakes}");
}

type Mistake = (At, usize, String, String);

/// Each name with a letter too many, and each value as a mapping.
fn mistakes_of(node: &Node<'_>, pointer: &mut String, into: &mut Vec<Mistake>) {
    let end = pointer.len();
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                push_field(pointer, &entry.key);
                let (key, at) = (&entry.key, entry.at);
                into.push((at, key.len(), format!("{key}q"), pointer.clone()));
                mistakes_of(&entry.node, pointer, into);
                pointer.truncate(end);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                push_field(pointer, &index.to_string());
                mistakes_of(item, pointer, into);
                pointer.truncate(end);
            }
        }
        Value::Scalar(scalar) => {
            let length = scalar.raw().len();
            into.push((node.at, length, "{ x: 1 }".into(), pointer.clone()));
        }
        Value::Broken => {}
    }
}

/// The text with so many characters at a place, and the quotes around them, replaced.
fn replaced(text: &str, at: At, length: usize, by: &str) -> String {
    let lines = text.split_inclusive('\n');
    let lines = lines.zip(1..).map(|(line, number)| {
        if number != at.line {
            return line.to_owned();
        }
        let start = at.column as usize - 1;
        let quotes = if line[start..].starts_with('"') { 2 } else { 0 };
        format!("{}{by}{}", &line[..start], &line[start + length + quotes..])
    });
    lines.collect()
}

#[test]
fn what_rules_find_is_said_beside_what_does_not_fit() {
    let both = |text: &str, changes: &[(&str, &str)]| {
        let mut text = text.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from:?} is in the example");
            text = text.replacen(from, to, 1);
        }
        problems(&text)
    };
    expect![[r#"
        bad-format 12:13: `spec.nodeSize`: expected 1 to 40 characters: a-z, 0-9 and '-', starting and ending with a letter or digit, found the text "Tiny"
          help: did you mean `tiny`?
        process-only 14:24: a container engine writes variables to its disk; give the secret as a `file`
        not-rising 23:17: `spec.rollout.waves[1]`: expected more than 50, the wave before it, found 25
        bad-format 28:51: `spec.rollout.pause.until`: expected a time such as 2026-01-31T12:00:00Z, found the text "tomorrow:00:00Z"
    "#]].assert_eq(&both(
        COMPOSE,
        &[
            ("[25, 50]", "[50, 25]"),
            ("2027-01-02T00", "tomorrow"),
            ("nodeSize: tiny", "nodeSize: Tiny"),
            ("file: db-password", "env: PASSWORD"),
        ],
    ));
    expect![[r#"
        unknown-field 6:13: unknown field `audiense` in `spec.api.oidc`
          help: did you mean `audience`?
        address 6:37: `spec.api.oidc.issuer`: nothing is asked in the clear; expected https, or http to this machine, found "http://example.com"
        not-in-zone 13:19: `spec.tunnel.cloudflare.protected[0]`: www.example.org is not in the zone example.com
    "#]].assert_eq(&both(
        FLEET,
        &[
            (
                "audience: demo",
                "audiense: demo, issuer: http://example.com",
            ),
            ("www.example.com", "www.example.org"),
        ],
    ));
    expect![[r#"
        wrong-type 12:13: `spec.tunnel.cloudflare.zone`: expected 1 to 253 characters: a host's name such as app.example.com, in lower case, found the number 1
    "#]].assert_eq(&both(
        FLEET,
        &[
            ("zone: example.com", "zone: 1"),
            ("www.example.com", "www.example.org"),
        ],
    ));
    expect![[r#"
        min-over-max 9:8: `spec.min` is 9, more than `spec.max`, 4
        wrong-type 11:9: `spec.warm`: expected a whole number from 0 to 4294967295, found the text "none"
    "#]].assert_eq(&both(
        TARGET,
        &[("min: 1", "min: 9"), ("warm: 0", "warm: none")],
    ));
}

/// What stands in for what is wrong fits, so that the rest can be read at all.
#[test]
fn what_stands_in_is_a_document() {
    for kind in Kind::ALL {
        let text = format!("kind: {kind}\n");
        let mut ignored = Problems::default();
        let mut root = tree::parse(&text, Dialect::Document, &mut ignored).expect("YAML");
        let shape = shape::of(&root);
        assert!(!mend::mend(&mut root, shape).is_empty());
        assert_eq!(mend::mend(&mut root, shape), vec![], "{kind}");
        typed::document(&root).unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}
