//! Typing errors in documents of every kind, each with all that is said of it; and what is in force meanwhile.

use super::*;

const WEB: &str = "deployments/acme/web.yaml";
const FILE: &str = "deployments/acme/compose.yaml";

const DEPLOYMENT: &str = r#"apiVersion: easyenclave.dev/v1
kind: Deployment
metadata: { name: web, owner: acme }
spec:
  workload:
    compose:
      source: { file: compose.yaml }
      web: { service: web, port: 8080 }
  replicas: 2
  nodeSize: tiny
  placement: {}
  rollout: { waves: [25, 50], canary: 1 }
  expose: {}
"#;

const COMPOSE: &str = "services:\n  web:\n    image: web:1\n";

/// The example, and a deployment with a Compose file.
fn story() -> Story {
    let mut story = Story::example();
    story.write(WEB, DEPLOYMENT);
    story.write(FILE, COMPOSE);
    assert_eq!(story.load().problems, []);
    story
}

/// What is said of changes, each a text of a file and what takes its place; what was in force is so still.
fn said(changes: &[(&str, &str, &str)]) -> String {
    let mut story = story();
    let before = show(&story.load());
    for (path, from, to) in changes {
        story.edit(path, from, to);
    }
    let loaded = story.load();
    let problems: String = loaded.problems.iter().map(line).collect();
    let after = Loaded {
        problems: Vec::new(),
        ..loaded
    };
    assert_eq!(show(&after), before, "{problems}");
    problems
}

fn line(problem: &easyenclave_schemas::status::ProblemStatus) -> String {
    let file = problem.file.rsplit('/').next().unwrap_or_default();
    let (line, column, message) = (problem.line, problem.column, &problem.message);
    format!("{file}:{line}:{column}: {message}\n")
}

#[test]
fn references_are_looked_at_beside_fields_that_do_not_fit() {
    expect![[r#"
        web.yaml:9:13: `spec.replicas`: expected a whole number from 0 to 100000, found the text "two"
        web.yaml:10:21: acme has no Secret named dbb
        web.yaml:10:32: `spec.secrets[0].file`: expected 1 to 100 characters: letters, digits, '.', '_' and '-', starting with a letter, digit or '_', found the text "../b"
        web.yaml:10:48: acme has no Secret named a
        web.yaml:10:56: a container engine writes variables to its disk; give the secret as a `file`
        web.yaml:11:13: no target has agents of size tinny; did you mean `tiny`?
        web.yaml:13:26: `spec.rollout.waves[1]`: expected more than 50, the wave before it, found 25
    "#]].assert_eq(&said(&[
        (
            WEB,
            "replicas: 2",
            "replicas: two\n  secrets: [{ name: dbb, file: ../b }, { name: a, env: A }]",
        ),
        (WEB, "[25, 50]", "[50, 25]"),
        (WEB, "nodeSize: tiny", "nodeSize: tinny"),
    ]));
    expect![[r#"
        compose.yaml:4:17: `services.web.privileged`: whoever is privileged owns the machine, the agent and its key with it; leave it out
        compose.yaml:5:19: `services.web.network_mode`: the network of the agent's machine is the agent's own, and this fleet does not lend it; leave it out
        web.yaml:8:34: `spec.workload.compose.web.port`: expected a whole number from 1 to 65535, found the text "http"
    "#]].assert_eq(&said(&[
        (WEB, "port: 8080", "port: http"),
        (WEB, "service: web", "service: wbe"),
        (
            FILE,
            "image: web:1",
            "image: web:1\n    privileged: true\n    network_mode: host",
        ),
    ]));
    expect![[r#"
        tiny.yaml:10:13: there is no Provider named locale; did you mean `local`?
        tiny.yaml:12:8: `spec.max`: expected a whole number from 0 to 100000, found the text "many"
        web.yaml:9:13: `spec.replicas`: expected a whole number from 0 to 100000, found the number -1
    "#]].assert_eq(&said(&[
        (TINY, "max: 32", "max: many"),
        (TINY, "provider: local", "provider: locale"),
        (WEB, "replicas: 2", "replicas: -1"),
    ]));
}

/// What stands in for what is unknown is never held against anything.
#[test]
fn what_is_unknown_is_blamed_for_nothing() {
    for (from, to) in [
        ("owner: acme", "owner: ACME"),
        ("nodeSize: tiny", "nodeSize: [tiny]"),
        ("nodeSize: tiny", "nodesize: tiny"),
        ("placement: {}", "placement: { allowedClouds: gcp }"),
        ("web: {", "wbe: {"),
        ("file: compose.yaml", "file: web.txt"),
        ("compose:\n", "kompose:\n"),
        ("source: {", "sources: {"),
        ("expose: {}", "expose: { hostname: 1 }"),
        ("[25, 50]", "[x, 50]"),
        ("expose: {}", "secrets: [{ name: 1, file: a }]"),
    ] {
        let said = said(&[(WEB, from, to)]);
        assert_eq!(said.lines().count(), 1, "{to}: {said}");
    }
    // Who cannot be read may be what another one asks for.
    let said = said(&[
        (TINY, "nodeSize: tiny", "nodeSize: 1"),
        ("owners/acme.yaml", "agents: 20", "agents: many"),
        (
            "fleet.yaml",
            "spec:",
            "spec:\n  tunnel: { cloudflare: {} }\n  workloads: { pinned: 1 }",
        ),
        (
            WEB,
            "expose: {}",
            "expose: { hostname: web.example.com, pth: / }",
        ),
    ]);
    let of_web: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("web.yaml"))
        .collect();
    assert_eq!(of_web.len(), 1, "{said}");
}

/// Thirty slips of the finger, in documents of every kind.
#[test]
fn typing_errors_are_told_with_their_place_and_what_was_meant() {
    let target = |from, to| (TINY, from, to);
    let owner = |from, to| ("owners/acme.yaml", from, to);
    let fleet = |to| ("fleet.yaml", "spec:", to);
    let policy = |from, to| ("policies/simulated.yaml", from, to);
    let provider = |from, to| ("providers/local.yaml", from, to);
    let web = |from, to| (WEB, from, to);
    let errors = [
        owner("kind: Owner", "kind: Onwer"),
        owner("name: acme", "name: Acme"),
        owner("agents: 20", "agent: 20"),
        owner("agents: 20", "agents: 20%"),
        owner(
            "quota:",
            "keys: [{ id: short, hash: x, name: ci, expires: tomorrow }]\n  quota:",
        ),
        owner("organization: acme", "organisation: acme"),
        fleet("spec:\n  timing: { lostAfter: 30 }"),
        fleet("spec:\n  timing: { lostafter: 30s }"),
        fleet("spec:\n  breaker: { share: 25 }"),
        fleet("spec:\n  workloads: { hostnetwork: true }"),
        fleet("spec:\n  api: { oidc: { audiense: x, issuer: \"http://example.com\" } }"),
        policy("kind: simulated", "kind: simulatd"),
        policy("trustRoot:", "maxAge: 24\n  trustRoot:"),
        provider("process:", "proces:"),
        target("nodeSize: tiny", "nodesize: tiny"),
        target("max: 32", "max: 32 agents"),
        target("max: 25%", "max: 10.5"),
        target(
            "max: 25%",
            "max: 110%\n      windows: [{ days: [Mon], from: 22, for: 2h }]",
        ),
        target("policy: simulated", "policy: simulate"),
        web("replicas: 2", "replicas: \"2\""),
        web("replicas: 2", "replica: 2"),
        web("canary: 1", "canary: 50%"),
        web("canary: 1", "maxUnavailable: 50%"),
        web("canary: 1", "canary: 1, revert: auto"),
        web(
            "canary: 1",
            "pause: { owner: ann, reason: x, until: tomorrow }",
        ),
        web("placement: {}", "placement: { allowedClouds: [gpc] }"),
        web("placement: {}", "placement: { allowedDatacenters: [locl] }"),
        web("placement: {}", "placement: { targets: [tinny] }"),
        web("placement: {}", "placement: { deniedDatacenters: [local] }"),
        web("nodeSize: tiny", "nodeSize: large"),
        web(
            "expose: {}",
            "health: { probe: { http: { path: healthz } } }\n  health2: {}",
        ),
        web("owner: acme", "owner: acmee"),
        web("file: compose.yaml", "file: compos.yaml"),
        web("file: compose.yaml", "file: compose.yml"),
        (
            FILE,
            "image: web:1",
            "image: web:1\n    environment: { B: [1] }",
        ),
    ];
    let mut all = String::new();
    for error in errors {
        let said = said(&[error]);
        assert!(!said.is_empty(), "{error:?}");
        all += &said;
    }
    expect_file!["flaws.txt"].assert_eq(&all);
}

/// Kinds of which the example has none: what is wrong keeps nothing in force, since nothing was.
#[test]
fn typing_errors_in_new_documents() {
    let secret = "apiVersion: easyenclave.dev/v1\nkind: Secret\nmetadata: { name: db, owner: acme }\nspec:\n  sealed: \
                  YWdlLWVuY3J5cHRpb24ub3JnL3YxCg==\n";
    let reservation = reservation("acme", "r", 1);
    let cases = [
        (
            "secrets/acme/db.yaml",
            secret,
            "sealed: YWdl",
            "seald: YWdl",
        ),
        (
            "secrets/acme/db.yaml",
            secret,
            "sealed: YWdl",
            "sealed: hunter2 YWdl",
        ),
        (
            "secrets/acme/db.yaml",
            secret,
            "owner: acme",
            "owner: acmee",
        ),
        ("secrets/db.yaml", secret, "owner: acme", "owner: acme"),
        (
            "reservations/r.yaml",
            reservation.as_str(),
            "count: 1",
            "count: one\n  until: tomorrow",
        ),
        (
            "reservations/r.yaml",
            reservation.as_str(),
            "target: tiny",
            "target: tinny\n  untill: x",
        ),
        (
            "reservations/acme/r.yaml",
            reservation.as_str(),
            "owner: acme",
            "owner: acmee",
        ),
        (
            "deployments/shop.yaml",
            DEPLOYMENT,
            "name: web",
            "name: shop",
        ),
        (
            "deployments/acme/shop.yaml",
            DEPLOYMENT,
            "name: web, owner: acme",
            "name: shop",
        ),
    ];
    let mut all = String::new();
    for (path, text, from, to) in cases {
        let mut story = story();
        story.write(path, text);
        story.edit(path, from, to);
        let problems = story.load().problems;
        assert!(!problems.iter().any(|one| one.message.contains("hunter2")));
        all.extend(problems.iter().map(line));
    }
    expect![[r#"
        db.yaml:5:3: unknown field `seald` in `spec`; did you mean `sealed`?
        db.yaml:5:11: `spec.sealed`: expected a file of `age` in base64, as `easyenclave secret set` writes it
        db.yaml:3:30: there is no Owner named acmee; secrets of acmee lie under secrets/acmee/; did you mean `acme`?
        db.yaml:3:30: secrets of acme lie under secrets/acme/; did you mean `secrets/acme/db.yaml`?
        r.yaml:8:10: `spec.count`: expected a whole number from 1 to 100000, found the text "one"
        r.yaml:9:10: `spec.until`: expected a time such as 2026-01-31T12:00:00Z, found the text "tomorrow"
        r.yaml:7:11: there is no CapacityTarget named tinny; did you mean `tiny`?
        r.yaml:8:3: unknown field `untill` in `spec`; did you mean `until`?
        r.yaml:5:10: there is no Owner named acmee; reservations of acmee lie under reservations/acmee/; did you mean `acme`?
        shop.yaml:3:32: deployments of acme lie under deployments/acme/; did you mean `deployments/acme/shop.yaml`?
        shop.yaml:7:23: there is no file compose.yaml beside this document
        shop.yaml:3:1: missing field `owner` in `metadata`
    "#]].assert_eq(&all);
}
