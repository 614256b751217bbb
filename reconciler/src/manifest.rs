//! Documents that the deploy API writes: a call as a Deployment, in the form in which a person would write it. What it
//! wrote it knows by a digest in its first line, and nothing else does it ever overwrite.

use std::fmt::Write;

use easyenclave_schemas::documents::{
    ComposeSource, ComposeWorkload, DeploymentSpec, Placement, Rollout, Spread, Workload,
};
use easyenclave_schemas::wire::DeployCall;
use easyenclave_schemas::{Digest, NodeSize, OwnerName};
use serde_json::{Map, Value};

/// How the first line of what the API has written begins; it ends with the digest of all that follows. Whoever takes a
/// document over takes it out.
const MARK: &str = "# Written by the deploy API, which writes it anew at each deploy. To edit it, take this line out. As written: ";

/// Why a call is no deployment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// Neither or both.
    #[error("expected either `compose` or `process`")]
    Workload,
    /// A field that only a Compose file has a use for.
    #[error("`{0}` is for Compose files, and has no effect on a process")]
    ForCompose(&'static str),
    /// Two ways to say where.
    #[error("expected either `datacenter` or `allowed_datacenters`")]
    Datacenters,
    /// No size, and more than one to choose from.
    #[error("expected `node_size`: the fleet has agents of {0} sizes")]
    Size(usize),
    /// A version that would not stay in one line.
    #[error("`app_version` takes 1 to 100 characters on one line")]
    Version,
}

/// What a call wants, as a document says it. `size` is the only one of the fleet, if it has only one.
pub(crate) fn spec(call: DeployCall, sizes: &[NodeSize]) -> Result<DeploymentSpec, CallError> {
    let allowed_datacenters = match (call.datacenter, call.allowed_datacenters) {
        (Some(only), allowed) if allowed.is_empty() => vec![only],
        (Some(_), _) => return Err(CallError::Datacenters),
        (None, allowed) => allowed,
    };
    let workload = match (call.compose, call.process) {
        (Some(text), None) => Workload::Compose(ComposeWorkload {
            source: ComposeSource::Inline(text),
            env: call.config,
            profiles: Vec::new(),
            web: call.web,
        }),
        (None, Some(_)) if !call.config.is_empty() => return Err(CallError::ForCompose("config")),
        (None, Some(_)) if call.web.is_some() => return Err(CallError::ForCompose("web")),
        (None, Some(process)) => Workload::Process(process),
        _ => return Err(CallError::Workload),
    };
    let node_size = match (call.node_size, sizes) {
        (Some(size), _) => size,
        (None, [only]) => only.clone(),
        (None, sizes) => return Err(CallError::Size(sizes.len())),
    };
    Ok(DeploymentSpec {
        workload,
        replicas: call.replicas,
        node_size,
        secrets: call.secrets,
        placement: Placement {
            targets: Vec::new(),
            allowed_datacenters,
            denied_datacenters: call.denied_datacenters,
            allowed_clouds: call.allowed_clouds,
            denied_clouds: call.denied_clouds,
            agent: call.agent_name,
            spread: Spread::default(),
        },
        health: call.health,
        rollout: call.rollout.unwrap_or_default(),
        expose: call.expose,
    })
}

/// Whether the API may write a file anew: it wrote what is there, to the byte. What somebody has changed since is theirs, whether
/// or not they took the first line out.
pub(crate) fn is_ours(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else {
        return false;
    };
    text[..end] == *mark(&text[end + 1..]).as_bytes()
}

fn mark(document: &[u8]) -> String {
    format!("{MARK}{}", Digest::of(document))
}

/// The document's text.
pub(crate) fn text(owner: &OwnerName, name: &str, spec: &DeploymentSpec) -> String {
    let mut spec = serde_json::to_value(spec).expect("a document is plain data");
    if let Some(fields) = spec.as_object_mut() {
        // What is as it is anyway is left out, as people do.
        let empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
        let usual = serde_json::to_value(Rollout::default()).ok();
        fields.retain(|name, value| {
            !(name == "placement" && empty(value)
                || name == "rollout" && Some(&*value) == usual.as_ref())
        });
    }
    let mut text = format!(
        "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata:\n  name: \"{name}\"\n  owner: \"{owner}\"\nspec:\n"
    );
    fields(&mut text, &spec, 2);
    format!("{}\n{text}", mark(text.as_bytes()))
}

/// The fields of an object, one a line, deeper ones below.
fn fields(text: &mut String, value: &Value, indent: usize) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let pad = " ".repeat(indent);
        let _ = write!(text, "{pad}{}:", key(name));
        match value {
            Value::Object(object) if !object.is_empty() => {
                text.push('\n');
                fields(text, value, indent + 2);
            }
            Value::String(long) if is_block(long) => {
                text.push_str(" |\n");
                for line in long.lines() {
                    let pad = if line.is_empty() { "" } else { pad.as_str() };
                    let _ = writeln!(
                        text,
                        "{pad}{}{line}",
                        if line.is_empty() { "" } else { "  " }
                    );
                }
            }
            other => {
                let _ = writeln!(text, " {other}");
            }
        }
    }
}

/// Names of fields stand as they are; what others chose is quoted, because it may read as something else.
fn key(name: &str) -> String {
    const OTHERS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic());
    match is_word && !OTHERS.contains(&name.to_ascii_lowercase().as_str()) {
        true => name.to_owned(),
        false => Value::from(name).to_string(),
    }
}

/// Whether a text is the same when it is written as lines: nothing at the edges that YAML would take for its own, and
/// no character that is written in another way.
fn is_block(text: &str) -> bool {
    let is_plain = |c: char| {
        c == '\n'
            || !c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
    };
    let ends = text.ends_with('\n') && !text.ends_with("\n\n");
    let begins = !text.starts_with([' ', '\n', '\t']);
    let lines = text.lines().all(|line| line.trim_end() == line);
    text.lines().count() > 1 && ends && begins && lines && text.chars().all(is_plain)
}

/// Where the caller finds what a place of the document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The field of the call, if it is known.
    pub(crate) field: Option<&'static str>,
    /// The line and column: of a Compose file within its own text, and else of the document.
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// Which fields of a document come from which of a call.
const FIELDS: [(&str, &str); 16] = [
    ("metadata.name", "app_name"),
    ("spec.workload.process", "process"),
    (COMPOSE, "compose"),
    ("spec.workload.compose.env", "config"),
    ("spec.workload.compose.web", "web"),
    ("spec.replicas", "replicas"),
    ("spec.nodeSize", "node_size"),
    ("spec.secrets", "secrets"),
    ("spec.placement.allowedDatacenters", "allowed_datacenters"),
    ("spec.placement.deniedDatacenters", "denied_datacenters"),
    ("spec.placement.allowedClouds", "allowed_clouds"),
    ("spec.placement.deniedClouds", "denied_clouds"),
    ("spec.placement.agent", "agent_name"),
    ("spec.health", "health"),
    ("spec.rollout", "rollout"),
    ("spec.expose", "expose"),
];
const COMPOSE: &str = "spec.workload.compose.source.inline";

/// Which field of a call a place of its document, as [`text`] writes it, is about.
pub(crate) fn asked(text: &str, line: u32, column: u32) -> Asked {
    let mut path = Vec::new();
    let mut indent = usize::MAX;
    let lines = usize::try_from(line).unwrap_or(usize::MAX);
    let above = text.lines().zip(1_u32..).take(lines);
    for (text, number) in above.collect::<Vec<_>>().into_iter().rev() {
        let own = text.len() - text.trim_start().len();
        if let Some((key, _)) = text.trim_start().split_once(':').filter(|_| own < indent) {
            indent = own;
            path.push((key, number, own));
        }
    }
    path.reverse();
    let keys: Vec<_> = path.iter().map(|(key, ..)| *key).collect();
    let keys = keys.join(".");
    let is_in = |field: &str| {
        let rest = keys.strip_prefix(field);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let field = FIELDS.iter().find(|(field, _)| is_in(field));
    let inline = path
        .get(COMPOSE.split('.').count() - 1)
        .filter(|_| is_in(COMPOSE));
    let (line, column) = match inline {
        Some((_, first, indent)) => {
            let indent = u32::try_from(indent + 2).unwrap_or(u32::MAX);
            (line - first, column.saturating_sub(indent).max(1))
        }
        None => (line, column),
    };
    Asked {
        field: field.map(|(_, field)| *field),
        line,
        column,
    }
}

#[cfg(test)]
mod tests {
    use easyenclave_schemas::decode::decode;
    use easyenclave_schemas::documents::Document;
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn call(fields: Value) -> DeployCall {
        serde_json::from_value(fields).unwrap_or_else(|error| panic!("{error}"))
    }

    fn tiny() -> Vec<NodeSize> {
        vec![NodeSize::new("tiny").expect("a name")]
    }

    fn written(fields: Value) -> String {
        let spec = spec(call(fields), &tiny()).expect("a deployment");
        text(&OwnerName::new("acme").expect("a name"), "web", &spec)
    }

    #[test]
    fn a_call_becomes_the_document_that_a_person_would_write() {
        let text = written(json!({
            "app_name": "web",
            "process": {"command": ["easyenclave", "hello-tdx"], "env": {"NO": "no", "VERSION": "1: 2"}},
            "replicas": 2,
            "datacenter": "local",
            "health": {"probe": {"http": {"path": "/healthz"}}},
            "expose": {},
        }));
        expect![[r##"
            # Written by the deploy API, which writes it anew at each deploy. To edit it, take this line out. As written: f34a70c532afce23c55f3a9e0573b19e6e76dddbfe2deda12eef922fd3907800
            apiVersion: easyenclave.dev/v1
            kind: Deployment
            metadata:
              name: "web"
              owner: "acme"
            spec:
              workload:
                process:
                  command: ["easyenclave","hello-tdx"]
                  env:
                    "NO": "no"
                    VERSION: "1: 2"
                  restart: "always"
              replicas: 2
              nodeSize: "tiny"
              placement:
                allowedDatacenters: ["local"]
              health:
                probe:
                  http:
                    path: "/healthz"
                interval: "2s"
                timeout: "2s"
                failures: 3
              expose:
                path: "/"
        "##]].assert_eq(&text);
        let Document::Deployment(object) = decode(text.as_bytes()).expect("valid").document else {
            panic!("a deployment");
        };
        assert_eq!(object.spec.replicas, 2);
        assert!(is_ours(text.as_bytes()));
        assert!(!is_ours(text.split_once('\n').expect("lines").1.as_bytes()));
        for edited in [
            format!("{text}# mine\n"),
            text.replace("replicas: 2", "replicas: 3"),
            text.replace("replicas: 2\n", "replicas: 2 # for now\n"),
            text.replace('\n', "\r\n"),
        ] {
            assert_ne!(edited, text);
            assert!(!is_ours(edited.as_bytes()), "{edited}");
        }
        assert!(!is_ours(b""));
    }

    #[test]
    fn a_place_of_the_document_is_found_in_the_call() {
        let compose = "services:\n  web:\n    image: x\n\n    privileged: true\n";
        let text = written(json!({
            "app_name": "web",
            "compose": compose,
            "config": {"A": "1"},
            "replicas": 3,
            "denied_clouds": ["gcp"],
            "expose": {},
        }));
        let place = |needle: &str| {
            let line = text.lines().position(|line| line.contains(needle));
            let line = line.unwrap_or_else(|| panic!("{needle} in {text}"));
            let column = text.lines().nth(line).and_then(|line| line.find(needle));
            let one = |at: usize| u32::try_from(at + 1).expect("small");
            let asked = asked(&text, one(line), one(column.expect("there")));
            (asked.field, asked.line, asked.column)
        };
        assert_eq!(place("privileged"), (Some("compose"), 5, 5));
        assert_eq!(place("services"), (Some("compose"), 1, 1));
        for (needle, field) in [
            ("nodeSize", Some("node_size")),
            ("deniedClouds", Some("denied_clouds")),
            ("path:", Some("expose")),
            ("A: ", Some("config")),
            ("owner", None),
        ] {
            assert_eq!(place(needle).0, field, "{needle}");
        }
        assert_eq!(
            asked("", 7, 3),
            Asked {
                field: None,
                line: 7,
                column: 3
            }
        );
        assert_eq!(asked(&text, 0, 1).line, 0);
        let short = written(json!({"app_name": "web", "compose": "services: {}"}));
        let line = short
            .lines()
            .position(|line| line.contains("inline"))
            .expect("there")
            + 1;
        let asked = asked(&short, u32::try_from(line).expect("small"), 17);
        assert_eq!(
            (asked.field, asked.line),
            (Some("compose"), 0),
            "the message has the line"
        );
    }

    /// Whatever a caller sends as a text is that text in the document, and nothing beside it.
    #[test]
    fn no_text_breaks_out_of_its_field() {
        for inner in [
            "services:\n  web:\n    image: x\n",
            "services: {}\n\n# comment\n\n  deep\n",
            " leading\nspace\n",
            "no newline at the\nend",
            "two at the end\n\n",
            "tab\tinside\nx\n",
            "trailing \nspace\n",
            "\"quoted\"\n'x'\n",
            "---\n...\n--- !x\n",
            "%YAML 1.1\n- a\n",
            "\u{feff}bom\nx\n",
            "next\u{85}line\nx\n",
            "nul\u{0}\nx\n",
            "carriage\r\nreturn\r\n",
            "one line",
            "\n",
            "a: &x 1\nb: *x\n",
            "é ✓ 漢\nx\n",
        ] {
            for field in [inner.to_owned(), inner.repeat(3)] {
                let process = json!({"command": ["x"], "env": {"A": field, "true": "x", "null": field, "B C: d": "y"}});
                let spec = spec(
                    call(json!({"app_name": "web", "process": process})),
                    &tiny(),
                );
                let spec = spec.expect("a deployment");
                let text = text(&OwnerName::new("acme").expect("a name"), "web", &spec);
                let value: Value =
                    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
                let wanted = serde_json::to_value(&spec.workload).expect("data");
                assert_eq!(value["spec"]["workload"], wanted, "{text}");
                assert!(is_ours(text.as_bytes()), "{text}");
            }
        }
    }

    #[test]
    fn a_call_that_says_two_things_or_too_little_is_none() {
        let process = json!({"command": ["x"]});
        for (fields, sizes, error) in [
            (json!({}), 1, CallError::Workload),
            (
                json!({"compose": "x", "process": process}),
                1,
                CallError::Workload,
            ),
            (
                json!({"process": process, "config": {"A": "b"}}),
                1,
                CallError::ForCompose("config"),
            ),
            (
                json!({"process": process, "web": {"service": "x", "port": 1}}),
                1,
                CallError::ForCompose("web"),
            ),
            (
                json!({"process": process, "datacenter": "a", "allowed_datacenters": ["b"]}),
                1,
                CallError::Datacenters,
            ),
            (json!({"process": process}), 2, CallError::Size(2)),
            (json!({"process": process}), 0, CallError::Size(0)),
        ] {
            let mut fields = fields;
            fields["app_name"] = "web".into();
            let sizes: Vec<_> = tiny().into_iter().cycle().take(sizes).collect();
            assert_eq!(spec(call(fields), &sizes), Err(error));
        }
    }
}
