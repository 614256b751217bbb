//! Deployments with Compose files: what a file beside a document does is what a change of the document would do.

use super::*;
use crate::desired::NOT_A_FILE;

const WEB: &str = "deployments/acme/web.yaml";
const FILE: &str = "deployments/acme/compose.web.yaml";

const DEPLOYMENT: &str = "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata: { name: web, owner: acme }\nspec:\n  \
                          workload:\n    compose:\n      source: { file: compose.web.yaml }\n  replicas: 1\n  nodeSize: tiny\n";

const COMPOSE: &str = "services:\n  web:\n    image: web:1\n";

/// The fleet's own documents, and one deployment with a file beside it.
fn story() -> Story {
    let mut story = Story::example();
    story.remove("deployments/acme/hello.yaml");
    story.remove("deployments/acme/hello-again.yaml");
    story.write(WEB, DEPLOYMENT);
    story.write(FILE, COMPOSE);
    assert_eq!(story.load().problems, []);
    story
}

/// The version that is in force.
fn version(story: &mut Story) -> Digest {
    let model = story.load().model.expect("a model");
    model.desired.deployments[&"acme/web".parse().expect("a name")].workload
}

/// What is said of a file that is not as it should be, while the version of before stays in force, over restarts too.
fn keeps(break_it: impl Fn(&mut Story), expected: Expect) {
    let mut story = story();
    let before = version(&mut story);
    break_it(&mut story);
    let said = |story: &mut Story| {
        let loaded = story.load();
        let problems = loaded.problems.iter();
        let lines = problems.map(|it| {
            let (file, line, column) = (&it.file, it.line, it.column);
            format!(
                "{file}:{line}:{column}: {} ({})\n",
                it.message, it.consequence
            )
        });
        lines.collect::<String>()
    };
    let first = said(&mut story);
    for _ in 0..2 {
        assert_eq!(version(&mut story), before);
        story.resume();
        assert_eq!(said(&mut story), first);
        assert_eq!(version(&mut story), before, "after a restart");
    }
    expected.assert_eq(&first);
}

#[test]
fn a_file_beside_a_deployment_is_a_part_of_it() {
    story().check(expect![[r#"
        deployment acme/web x1
          runs Inline("{\"services\":{\"web\":{\"image\":\"web:1\"}}}")
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_change_of_the_file_alone_is_a_new_version_and_one_of_its_comments_is_none() {
    let mut story = story();
    let first = version(&mut story);
    story.edit(FILE, "services:", "# Says hello.\nservices:");
    assert_eq!(version(&mut story), first);
    story.edit(FILE, "web:1", "web:2");
    let second = version(&mut story);
    assert_ne!(second, first);
    story.resume();
    assert_eq!(version(&mut story), second);
    story.edit(FILE, "web:2", "web:1");
    assert_eq!(version(&mut story), first);
}

/// A deployment's version is the digest of what the reader makes of its file. Where a change of the reader changes these bytes, every
/// deployment with such a field rolls out anew at the update without a change of its document: say so in the changelog.
#[test]
fn the_bytes_that_a_version_is_the_digest_of_stay_as_they_are() {
    let mut story = story();
    story.write(FILE, include_str!("golden.compose.yaml"));
    assert_eq!(story.load().problems, []);
    let digest = version(&mut story);
    let model = story.load().model.expect("a model");
    let version = serde_json::to_string(&model.workloads[&digest].workload).expect("JSON");
    let told = format!("{digest}\n{version}\n");
    expect![[r#"
        44060f1f6829e737013e0f08b1c7d982a434a4bcc8cdc7bf0ec4d919e1d060b3
        {"compose":{"source":{"inline":"{\"networks\":{\"inner\":{}},\"services\":{\"db\":{\"command\":[\"db\",\"a b\"],\"environment\":{\"EMPTY\":\"\",\"N\":1.5,\"T\":\"true\"},\"image\":\"db:1\",\"mem_limit\":\"1gb\",\"networks\":{\"inner\":{\"aliases\":[\"database\"]}}},\"web\":{\"command\":\"serve --port 80\",\"depends_on\":[\"db\"],\"environment\":[\"B=two\",\"A=1\"],\"healthcheck\":{\"interval\":\"90s\",\"retries\":3,\"test\":\"true\"},\"image\":\"web:1\",\"init\":true,\"logging\":{\"driver\":\"local\"},\"restart\":\"unless-stopped\",\"stop_grace_period\":\"1m30s\",\"volumes\":[\"data:/data:ro\",{\"target\":\"/tmp\",\"type\":\"tmpfs\"}]}},\"volumes\":{\"data\":null}}"}}}
    "#]].assert_eq(&told);
}

#[test]
fn another_order_of_fields_is_no_new_version() {
    let mut story = story();
    let services = "services:\n  web:\n    image: web:1\n    init: true\n  a:\n    image: a:1\n";
    story.write(FILE, services);
    let first = version(&mut story);
    let other = "services:\n  a:\n    image: a:1\n  web:\n    init: true\n    image: web:1\n";
    story.write(FILE, other);
    assert_eq!(version(&mut story), first);
}

#[test]
fn the_same_file_within_the_document_is_the_same_version() {
    let mut story = story();
    let beside = version(&mut story);
    let inline = "source:\n        inline: |\n          services:\n            web:\n              image: web:1\n";
    story.edit(WEB, "source: { file: compose.web.yaml }\n", inline);
    assert_eq!(version(&mut story), beside);
    story.remove(FILE);
    assert_eq!(version(&mut story), beside);
}

#[test]
fn a_file_that_broke_keeps_the_version_before() {
    keeps(
        |story| story.edit(FILE, "image:", "imagee:"),
        expect![[r#"
            deployments/acme/compose.web.yaml:3:5: unknown field `imagee` in `services.web`; a field of your own begins with `x-`; did you mean `image`? (the last good version stays in force)
        "#]],
    );
    keeps(
        |story| story.write(FILE, "services: ["),
        expect![[r#"
        deployments/acme/compose.web.yaml:1:11: not valid YAML: unclosed bracket '[' (the last good version stays in force)
    "#]],
    );
    keeps(
        |story| story.write(FILE, ""),
        expect![[r#"
        deployments/acme/compose.web.yaml:1:1: the file holds no document (the last good version stays in force)
    "#]],
    );
}

#[test]
fn a_file_that_is_gone_keeps_the_version_before() {
    keeps(
        |story| story.remove(FILE),
        expect![[r#"
        deployments/acme/web.yaml:7:23: there is no file compose.web.yaml beside this document (the last good version stays in force)
    "#]],
    );
    keeps(
        |story| {
            story.copy(FILE, "deployments/acme/below/compose.web.yaml");
            story.remove(FILE);
        },
        expect![[r#"
            deployments/acme/web.yaml:7:23: there is no file compose.web.yaml beside this document (the last good version stays in force)
        "#]],
    );
}

#[test]
fn a_file_of_a_similar_name_may_be_meant() {
    let mut story = story();
    story.edit(WEB, "compose.web.yaml", "compose.wbe.yaml");
    story.write("deployments/other/compose.wbe.yaml", COMPOSE);
    let said = &story.load().problems[0].message;
    assert!(said.ends_with("did you mean `compose.web.yaml`?"), "{said}");
}

#[test]
fn what_is_no_text_keeps_the_version_before() {
    keeps(
        |story| {
            story.odd.insert(FILE.into(), NOT_A_FILE);
        },
        expect![[r#"
            deployments/acme/compose.web.yaml:1:1: a link or submodule is no Compose file; put the file itself here (the last good version stays in force)
        "#]],
    );
    keeps(
        |story| {
            story.blobs.insert([7; 20], b"services:\n  \xff".to_vec());
            story.odd.insert(FILE.into(), [7; 20]);
        },
        expect![[r#"
            deployments/acme/compose.web.yaml:2:3: the file is not UTF-8 text (the last good version stays in force)
        "#]],
    );
    keeps(
        |story| story.write(FILE, &format!("{COMPOSE}# {}\n", "x".repeat(64 * 1024))),
        expect![[r#"
            deployments/acme/compose.web.yaml:1:1: the file is larger than 64 KiB (the last good version stays in force)
        "#]],
    );
}

#[test]
fn a_deployment_that_broke_keeps_its_version_whatever_becomes_of_the_file() {
    keeps(
        |story| {
            story.edit(WEB, "replicas: 1", "replicas: one");
            story.edit(FILE, "web:1", "web:2");
        },
        expect![[r#"
            deployments/acme/web.yaml:8:13: `spec.replicas`: expected a whole number from 0 to 100000, found the text "one" (the last good version stays in force)
        "#]],
    );
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [
        "../compose.yaml",
        "/compose.yaml",
        "below/compose.yaml",
        "web.yaml",
        "..",
    ] {
        let mut story = story();
        story.edit(WEB, "compose.web.yaml", name);
        let problems = story.load().problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!((problems[0].file.as_str(), problems[0].line), (WEB, 7));
        assert_eq!(problems[0].code, "bad-format", "{name}");
    }
}

#[test]
fn what_a_deployment_names_of_its_file_is_there() {
    let mut story = story();
    story.edit(
        WEB,
        "file: compose.web.yaml }",
        "file: compose.web.yaml }\n      web: { service: wbe, port: 80 }\n      profiles: [debug]",
    );
    story.check(expect![[r#"
        deployments/acme/web.yaml:8:23: the Compose file has no service named wbe; did you mean `web`? (the last good version stays in force)
        deployments/acme/web.yaml:9:18: the Compose file has no profile named debug (the last good version stays in force)
        deployment acme/web x1
          runs Inline("{\"services\":{\"web\":{\"image\":\"web:1\"}}}")
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

/// What is said of a service that answers for the deployment, with these fields and this profile on.
fn of_web(service: &str, profiles: &str, expected: Expect) {
    let mut story = story();
    let with = format!(
        "file: compose.web.yaml }}\n      web: {{ service: web, port: 80 }}\n      profiles: [{profiles}]"
    );
    let fields = format!("web:1\n{service}  db:\n    image: db:1\n    profiles: [debug]\n");
    story.write(WEB, &DEPLOYMENT.replace("file: compose.web.yaml }", &with));
    story.write(FILE, &COMPOSE.replace("web:1\n", &fields));
    let problems = story.load().problems;
    let lines = problems.iter().map(|it| {
        let (file, line, column, code) = (&it.file, it.line, it.column, &it.code);
        format!("{file}:{line}:{column} {code}: {}\n", it.message)
    });
    expected.assert_eq(&lines.collect::<String>());
}

#[test]
fn the_service_that_answers_runs() {
    let debug = "    profiles: [debug, test]\n";
    of_web(debug, "debug", expect![""]);
    of_web(
        debug,
        "",
        expect![[r#"
        deployments/acme/web.yaml:8:23 compose-web: the service web runs with the profile `debug` or `test` only; name it under `profiles` of the workload
    "#]],
    );
    of_web(
        "    extends: base\n  base:\n    image: b\n    profiles: [debug]\n",
        "",
        expect![[r#"
            deployments/acme/web.yaml:8:23 compose-web: the service web runs with the profile `debug` only; name it under `profiles` of the workload
        "#]],
    );
}

#[test]
fn the_service_that_answers_has_a_network_of_its_own() {
    of_web(
        "    network_mode: none\n",
        "",
        expect![[r#"
        deployments/acme/web.yaml:8:23 compose-web: the service web has no network of its own (`network_mode: none`), so no port of it can be reached; leave `network_mode` out
    "#]],
    );
    of_web(
        "    network_mode: host\n",
        "",
        expect![[r#"
        deployments/acme/compose.web.yaml:4:19 compose-host-network: `services.web.network_mode`: the network of the agent's machine is the agent's own, and this fleet does not lend it; leave it out
        deployments/acme/web.yaml:8:23 compose-web: the service web has no network of its own (`network_mode: host`), so no port of it can be reached; leave `network_mode` out
    "#]],
    );
    of_web(
        "    network_mode: service:other\n  other:\n    image: other:1\n",
        "",
        expect![[r#"
            deployments/acme/web.yaml:8:23 compose-web: the service web has no network of its own (`network_mode: service:other`), so no port of it can be reached; leave `network_mode` out
        "#]],
    );
}

#[test]
fn the_service_that_answers_is_one_container_on_each_agent() {
    of_web("    scale: 1\n", "", expect![""]);
    of_web(
        "    scale: 0\n",
        "",
        expect![[r#"
        deployments/acme/web.yaml:8:23 compose-web: the service web has 0 containers on each agent, and the port of the workload leads to one; leave `scale` and `deploy.replicas` out: `replicas` of the deployment says how many agents run it
    "#]],
    );
    of_web(
        "    deploy: { replicas: 2 }\n",
        "",
        expect![[r#"
        deployments/acme/web.yaml:8:23 compose-web: the service web has 2 containers on each agent, and the port of the workload leads to one; leave `scale` and `deploy.replicas` out: `replicas` of the deployment says how many agents run it
    "#]],
    );
}

#[test]
fn two_deployments_share_a_file_and_what_is_wrong_with_it() {
    let mut story = story();
    let other = DEPLOYMENT.replace("name: web", "name: other");
    story.write("deployments/acme/other.yaml", &other);
    assert_eq!(story.load().problems, []);
    story.edit(FILE, "image:", "imagee:");
    story.check_over_restarts(expect![[r#"
        deployments/acme/compose.web.yaml:3:5: unknown field `imagee` in `services.web`; a field of your own begins with `x-`; did you mean `image`? (the last good version stays in force)
        deployment acme/other x1
          runs Inline("{\"services\":{\"web\":{\"image\":\"web:1\"}}}")
        deployment acme/web x1
          runs Inline("{\"services\":{\"web\":{\"image\":\"web:1\"}}}")
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

/// One file, good for one of two deployments only: each keeps its own version over restarts.
#[test]
fn deployments_that_share_a_file_may_have_different_versions_of_it_in_force() {
    let mut story = story();
    let other = DEPLOYMENT.replace("name: web", "name: other");
    story.write("deployments/acme/other.yaml", &other);
    story.load();
    let env = "source: { file: compose.web.yaml }\n      env: { TAG: \"2\" }";
    story.edit(WEB, "source: { file: compose.web.yaml }", env);
    story.edit(FILE, "web:1", "web:${TAG}");
    story.check_over_restarts(expect![[r#"
        deployments/acme/compose.web.yaml:3:12: `services.web.image`: nothing is set for `TAG`; name it under `env` of the deployment, or write `${TAG:-DEFAULT}` (the last good version stays in force)
        deployment acme/other x1
          runs Inline("{\"services\":{\"web\":{\"image\":\"web:1\"}}}")
        deployment acme/web x1
          runs Inline("{\"services\":{\"web\":{\"image\":\"web:2\"}}}")
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_deployment_that_moves_with_its_file_goes_on() {
    let mut story = story();
    let before = version(&mut story);
    for (from, to) in [
        (WEB, "deployments/acme/a/web.yaml"),
        (FILE, "deployments/acme/a/compose.web.yaml"),
    ] {
        story.copy(from, to);
        story.remove(from);
    }
    assert_eq!(version(&mut story), before);
    story.edit("deployments/acme/a/compose.web.yaml", "image:", "imagee:");
    assert_eq!(version(&mut story), before);
    story.resume();
    assert_eq!(version(&mut story), before);
}

/// What stood beside an older version is not known, so no older one is taken: nothing is touched.
#[test]
fn with_the_store_lost_a_broken_file_freezes_its_deployment() {
    let mut story = story();
    story.edit(FILE, "image:", "imagee:");
    story.restart();
    story.check(expect![[r#"
        deployments/acme/compose.web.yaml:3:5: unknown field `imagee` in `services.web`; a field of your own begins with `x-`; did you mean `image`? (nothing of it is touched)
        target tiny of 32 tiny
        frozen deployment acme/web
        owner acme 20
    "#]]);
}

#[test]
fn with_the_store_lost_a_broken_document_does_not_go_back_behind_its_file() {
    let mut story = Story::example();
    let process = "workload:\n    process: { command: [web] }\n  ";
    let (before, after) = DEPLOYMENT.split_once("workload:").expect("there");
    let after = after.split_once("replicas:").expect("there").1;
    story.write(WEB, &format!("{before}{process}replicas:{after}"));
    story.write(WEB, DEPLOYMENT);
    story.write(FILE, COMPOSE);
    story.edit(WEB, "replicas: 1", "replicas: one");
    story.restart();
    story.check(expect![[r#"
        deployments/acme/web.yaml:8:13: `spec.replicas`: expected a whole number from 0 to 100000, found the text "one" (nothing of it is touched)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        frozen deployment acme/web
        owner acme 20
    "#]]);
}

#[test]
fn a_problem_within_a_document_stands_where_its_text_does() {
    let inline = |text: &str| DEPLOYMENT.replace("source: { file: compose.web.yaml }\n", text);
    let mut story = story();
    story.write(WEB, &inline("source:\n        inline: |-\n\n          services:\n            web:\n              imagee: web:1\n"));
    story.check(expect![[r#"
        deployments/acme/web.yaml:12:15: unknown field `imagee` in `services.web`; a field of your own begins with `x-`; did you mean `image`? (the last good version stays in force)
        deployment acme/web x1
          runs Inline("{\"services\":{\"web\":{\"image\":\"web:1\"}}}")
        target tiny of 32 tiny
        owner acme 20
    "#]]);
    for (sign, blank) in [("|", ""), ("|+ # kept", "\n"), (">", "")] {
        let text = format!(
            "source:\n        inline: {sign}\n{blank}            services:\n              web:\n                \
             imagee: web:1\n"
        );
        story.write(WEB, &inline(&text));
        let problems = story.load().problems;
        let at = problems.iter().map(|it| (it.line, it.column));
        let line = 10 + u32::from(!blank.is_empty());
        let expected = match sign {
            ">" => [(9, 13)],
            _ => [(line + 1, 17)],
        };
        assert_eq!(at.collect::<Vec<_>>(), expected, "{sign}: {problems:?}");
    }
    story.write(
        WEB,
        &inline("source: { inline: \"services:\\n  web: { imagee: web:1 }\" }\n"),
    );
    story.check(expect![[r#"
        deployments/acme/web.yaml:7:25: unknown field `imagee` in `services.web`; a field of your own begins with `x-` (line 2 of the text); did you mean `image`? (the last good version stays in force)
        deployment acme/web x1
          runs Inline("{\"services\":{\"web\":{\"image\":\"web:1\"}}}")
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_fleet_that_asks_for_more_changes_nothing_that_runs() {
    let mut story = story();
    story.edit(
        "fleet.yaml",
        "spec:\n",
        "spec:\n  workloads: { pinned: true }\n",
    );
    story.check_over_restarts(expect![[r#"
        fleet.yaml:7:24: deployment acme/web runs an image that no digest names (the last good version stays in force)
        deployment acme/web x1
          runs Inline("{\"services\":{\"web\":{\"image\":\"web:1\"}}}")
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_file_that_a_fleet_does_not_allow_is_refused_where_it_stands() {
    let mut story = story();
    story.edit(FILE, "image: web:1", "image: web:1\n    network_mode: host");
    story.check_over_restarts(expect![[r#"
        deployments/acme/compose.web.yaml:4:19: `services.web.network_mode`: the network of the agent's machine is the agent's own, and this fleet does not lend it; leave it out (the last good version stays in force)
        deployment acme/web x1
          runs Inline("{\"services\":{\"web\":{\"image\":\"web:1\"}}}")
        target tiny of 32 tiny
        owner acme 20
    "#]]);
    story.edit(
        "fleet.yaml",
        "spec:\n",
        "spec:\n  workloads: { hostNetwork: true }\n",
    );
    story.check(expect![[r#"
        deployment acme/web x1
          runs Inline("{\"services\":{\"web\":{\"image\":\"web:1\",\"network_mode\":\"host\"}}}")
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn an_outage_of_the_file_is_not_remembered_as_a_mistake() {
    let mut story = story();
    let before = version(&mut story);
    story.edit(FILE, "web:1", "web:2");
    story.outage = true;
    assert!(story.load().outage);
    assert_eq!(version(&mut story), before);
    story.outage = false;
    assert_ne!(version(&mut story), before);
    assert_eq!(story.load().problems, []);
}

/// Rules may be tighter in a new version of EasyEnclave. What runs by what it let through before is left as it is.
#[test]
fn what_was_in_force_and_cannot_be_read_any_more_is_not_replaced_by_an_older_version() {
    let inline = "source:\n        inline: |\n          services:\n            web:\n              image: web:1\n";
    let mut story = story();
    story.edit(WEB, "source: { file: compose.web.yaml }\n", inline);
    assert_eq!(story.load().problems, []);
    story.edit(WEB, "image:", "imagee:");
    story.was_in_force();
    story.check_over_restarts(expect![[r#"
        deployments/acme/web.yaml:11:15: unknown field `imagee` in `services.web`; a field of your own begins with `x-`; did you mean `image`? (nothing of it is touched)
        target tiny of 32 tiny
        frozen deployment acme/web
        owner acme 20
    "#]]);
    story.edit(WEB, "replicas: 1", "replicas: one");
    story.check_over_restarts(expect![[r#"
        deployments/acme/web.yaml:11:15: unknown field `imagee` in `services.web`; a field of your own begins with `x-`; did you mean `image`? (nothing of it is touched)
        deployments/acme/web.yaml:12:13: `spec.replicas`: expected a whole number from 0 to 100000, found the text "one" (nothing of it is touched)
        target tiny of 32 tiny
        frozen deployment acme/web
        owner acme 20
    "#]]);
    story.write(WEB, "{");
    story.check_over_restarts(expect![[r#"
        deployments/acme/web.yaml:1:1: not valid YAML: unclosed bracket '{' (nothing of it is touched)
        target tiny of 32 tiny
        frozen deployment acme/web
        owner acme 20
    "#]]);
    story.edit(WEB, "{", DEPLOYMENT);
    story.check_over_restarts(expect![[r#"
        deployment acme/web x1
          runs Inline("{\"services\":{\"web\":{\"image\":\"web:1\"}}}")
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn a_file_in_force_that_cannot_be_read_any_more_freezes_its_deployment() {
    let mut story = story();
    story.edit(FILE, "image:", "imagee:");
    story.was_in_force();
    story.edit(FILE, "web:1", "web:2");
    story.check_over_restarts(expect![[r#"
        deployments/acme/compose.web.yaml:3:5: unknown field `imagee` in `services.web`; a field of your own begins with `x-`; did you mean `image`? (nothing of it is touched)
        target tiny of 32 tiny
        frozen deployment acme/web
        owner acme 20
    "#]]);
}

/// The file has another name than its document, so only what was in force tells which one it is.
#[test]
fn what_was_in_force_and_cannot_be_read_any_more_is_no_removal_when_its_file_becomes_garbage() {
    let mut story = story();
    let path = "deployments/acme/first.yaml";
    story.edit(WEB, "replicas: 1", "replicas: one");
    story.copy(WEB, path);
    story.remove(WEB);
    story.was_in_force();
    story.write(path, "{");
    story.check_over_restarts(expect![[r#"
        deployments/acme/first.yaml:1:1: not valid YAML: unclosed bracket '{' (nothing of it is touched)
        target tiny of 32 tiny
        frozen deployment acme/web
        owner acme 20
    "#]]);
    story.remove(path);
    story.write("deployments/acme/second.yaml", "[");
    story.check_over_restarts(expect![[r#"
        deployments/acme/second.yaml:1:1: not valid YAML: unclosed bracket '[' (nothing of it is touched)
        target tiny of 32 tiny
        frozen deployment acme/second
        frozen deployment acme/web
        owner acme 20
    "#]]);
    story.remove("deployments/acme/second.yaml");
    story.check(expect![[r#"
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

#[test]
fn what_cannot_be_read_at_a_start_goes_on_when_it_can_be() {
    let mut story = story();
    let inline = "source: { inline: \"services: { web: { image: web:1 } }\" }\n";
    story.edit(WEB, "source: { file: compose.web.yaml }\n", inline);
    let before = version(&mut story);
    let (files, besides) = (story.files(), Besides::default());
    story.restart();
    let down = |_: [u8; 20]| Err("the store does not answer".to_owned());
    story.loader.prime(&files, &besides, &down);
    story.edit(WEB, "replicas: 1", "replicas: one");
    assert_eq!(version(&mut story), before);
}

/// Nothing tells what ran: an older version may obey only because it is older than the rule.
#[test]
fn with_the_store_lost_what_the_fleet_does_not_allow_is_frozen_and_not_replaced_by_an_older_version()
 {
    let digest = "0".repeat(64);
    let inline = format!(
        "source:\n        inline: |\n          services:\n            web:\n              image: web@sha256:{digest}\n"
    );
    let mut story = story();
    story.edit(WEB, "source: { file: compose.web.yaml }\n", &inline);
    story.edit(WEB, &format!("web@sha256:{digest}"), "web:1");
    assert_eq!(story.load().problems, []);
    story.edit(
        "fleet.yaml",
        "spec:\n",
        "spec:\n  workloads: { pinned: true }\n",
    );
    story.restart();
    story.check_over_restarts(expect![[r#"
        deployments/acme/web.yaml:11:22: `services.web.image`: this fleet takes images by digest, since a tag may be moved; append `@sha256:` and the digest of the image that you mean (nothing of it is touched)
        target tiny of 32 tiny
        frozen deployment acme/web
        owner acme 20
    "#]]);
    story.edit(WEB, "replicas: 1", "replicas: one");
    story.check_over_restarts(expect![[r#"
        deployments/acme/web.yaml:11:22: `services.web.image`: this fleet takes images by digest, since a tag may be moved; append `@sha256:` and the digest of the image that you mean (nothing of it is touched)
        deployments/acme/web.yaml:12:13: `spec.replicas`: expected a whole number from 0 to 100000, found the text "one" (nothing of it is touched)
        target tiny of 32 tiny
        frozen deployment acme/web
        owner acme 20
    "#]]);
}

#[test]
fn what_was_in_force_under_a_fleet_that_does_not_allow_it_is_frozen() {
    let mut story = story();
    let inline = "source:\n        inline: |\n          services:\n            web:\n              image: web:1\n";
    story.edit(WEB, "source: { file: compose.web.yaml }\n", inline);
    story.edit(WEB, "web:1", "web:2\n              network_mode: host");
    story.was_in_force();
    story.check_over_restarts(expect![[r#"
        deployments/acme/web.yaml:12:29: `services.web.network_mode`: the network of the agent's machine is the agent's own, and this fleet does not lend it; leave it out (nothing of it is touched)
        target tiny of 32 tiny
        frozen deployment acme/web
        owner acme 20
    "#]]);
    story.edit(WEB, "replicas: 1", "replicas: one");
    story.check_over_restarts(expect![[r#"
        deployments/acme/web.yaml:12:29: `services.web.network_mode`: the network of the agent's machine is the agent's own, and this fleet does not lend it; leave it out (nothing of it is touched)
        deployments/acme/web.yaml:13:13: `spec.replicas`: expected a whole number from 0 to 100000, found the text "one" (nothing of it is touched)
        target tiny of 32 tiny
        frozen deployment acme/web
        owner acme 20
    "#]]);
    story.edit(
        "fleet.yaml",
        "spec:\n",
        "spec:\n  workloads: { hostNetwork: true }\n",
    );
    story.check(expect![[r#"
        deployments/acme/web.yaml:13:13: `spec.replicas`: expected a whole number from 0 to 100000, found the text "one" (the last good version stays in force)
        deployment acme/web x1
          runs Inline("{\"services\":{\"web\":{\"image\":\"web:2\",\"network_mode\":\"host\"}}}")
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}
