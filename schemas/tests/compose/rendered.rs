//! What Compose itself makes of what we let through: an independent look at its rendering, which knows none of our tables.

use serde_json::Value;

use crate::corpus::cases;
use crate::oracle::{ALL, compose, config};

/// Everything of a service that would reach out of it.
pub(crate) fn escapes(service: &Value, is_host_network: bool) -> Vec<String> {
    let mut found = Vec::new();
    for mount in list(&service["volumes"]) {
        if !["volume", "tmpfs"].contains(&mount["type"].as_str().unwrap_or_default()) {
            found.push(format!("mount {mount}"));
        }
    }
    let banned = [
        "build",
        "cgroup_parent",
        "container_name",
        "credential_spec",
        "develop",
        "device_cgroup_rules",
        "devices",
        "env_file",
        "external_links",
        "gpus",
        "isolation",
        "label_file",
        "models",
        "provider",
        "runtime",
        "secrets",
        "storage_opt",
        "use_api_socket",
        "userns_mode",
        "uts",
        "ports",
    ];
    for field in banned
        .into_iter()
        .filter(|field| !service[*field].is_null())
    {
        found.push(format!("{field}: {}", service[field]));
    }
    if service["privileged"] == true || service["oom_kill_disable"] == true {
        found.push("privileged".into());
    }
    for field in ["network_mode", "pid", "ipc", "cgroup"] {
        let mode = service[field].as_str().unwrap_or_default();
        let is_lent = field == "network_mode" && is_host_network;
        if mode.starts_with("container:") || (mode == "host" && !is_lent) {
            found.push(format!("{field}: {mode}"));
        }
    }
    for capability in list(&service["cap_add"]) {
        let name = capability.as_str().unwrap_or_default().to_uppercase();
        if [
            "ALL", "ADMIN", "MODULE", "RAWIO", "PTRACE", "BOOT", "TIME", "BPF",
        ]
        .iter()
        .any(|part| name.contains(part))
        {
            found.push(format!("capability {name}"));
        }
    }
    for option in list(&service["security_opt"]) {
        if !option
            .as_str()
            .unwrap_or_default()
            .starts_with("no-new-privileges")
        {
            found.push(format!("security {option}"));
        }
    }
    let hooks = list(&service["post_start"]).chain(list(&service["pre_stop"]));
    found.extend(
        hooks
            .filter(|hook| hook["privileged"] == true)
            .map(|hook| format!("hook {hook}")),
    );
    let labels = service["labels"].as_object().into_iter().flatten();
    let ours = labels.filter(|(name, _)| {
        name.starts_with("dev.easyenclave") || name.starts_with("com.docker.compose")
    });
    found.extend(ours.map(|(name, _)| format!("label {name}")));
    found
}

/// Everything that is declared beside services and is not the project's own.
pub(crate) fn declared_escapes(rendered: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for section in ["volumes", "networks", "configs", "secrets"] {
        for (name, made) in rendered[section].as_object().into_iter().flatten() {
            let is_plain =
                ["", "local", "bridge"].contains(&made["driver"].as_str().unwrap_or_default());
            let has_source = made["driver_opts"]["device"].is_string()
                || made["file"].is_string()
                || made["environment"].is_string();
            let is_named = made["name"]
                .as_str()
                .is_none_or(|made| made.ends_with(&format!("_{name}")));
            let labels = made["labels"].to_string();
            let is_impostor = labels.contains("dev.easyenclave.") || labels.contains("com.docker.");
            let is_wide = made["ipam"].to_string().contains("0.0.0.0");
            if !is_plain
                || has_source
                || !is_named
                || is_impostor
                || is_wide
                || !made["external"].is_null()
                || section == "secrets"
            {
                found.push(format!("{section} {name}: {made}"));
            }
        }
    }
    found
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[test]
fn nothing_that_is_let_through_reaches_out() {
    let Some(()) = compose() else {
        return;
    };
    for case in cases("accepted") {
        let document = case.read().expect("accepted").document;
        let rendered =
            config(&document, &[], &ALL).unwrap_or_else(|error| panic!("{}: {error}", case.name()));
        let services = rendered["services"].as_object().expect("services");
        for (name, service) in services {
            let escapes = escapes(service, case.rules.host_network);
            assert!(escapes.is_empty(), "{}: {name}: {escapes:?}", case.name());
        }
        let escapes = declared_escapes(&rendered);
        assert!(escapes.is_empty(), "{}: {escapes:?}", case.name());
    }
}

#[test]
fn the_look_at_renderings_finds_what_reaches_out() {
    let Some(()) = compose() else {
        return;
    };
    let text = r#"services:
  a:
    image: x
    privileged: true
    pid: host
    volumes: ["/:/host", "./x:/x"]
    cap_add: [SYS_ADMIN]
    security_opt: [seccomp=unconfined]
    devices: [/dev/kvm]
    ports: ["80:80"]
    labels: {dev.easyenclave.order: x}
"#;
    let rendered = config(text, &[], &[]).expect("Compose takes it");
    let found = escapes(&rendered["services"]["a"], false);
    assert_eq!(found.len(), 9, "{found:?}");
}

/// Compose reads our document as it reads the text: the same services of the same images, commands and environments.
#[test]
fn what_runs_means_the_same_as_what_was_written() {
    let Some(()) = compose() else {
        return;
    };
    for case in cases("accepted") {
        let env: Vec<_> = case.env.clone().into_iter().collect();
        let written = config(&case.text, &env, &ALL).expect("Compose takes it");
        let document = case.read().expect("accepted").document;
        let runs = config(&document, &[], &ALL).expect("Compose takes it");
        for section in ["services", "volumes", "networks", "configs"] {
            let (written, runs) = (plain(&written[section]), plain(&runs[section]));
            assert_eq!(written, runs, "{}: {section}", case.name());
        }
    }
}

/// Without what has no effect on an agent: ports, notes, and the name of the project in names of volumes and networks.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, value)| {
                let is_dropped = ["ports", "attach"].contains(&name.as_str());
                let is_name =
                    *name == "name" && value.as_str().is_some_and(|name| name.contains('_'));
                let is_note = name.starts_with("x-") && !value.is_string();
                !is_dropped && !is_name && !is_note
            });
            let kept = kept.map(|(name, value)| (name.clone(), plain(value)));
            Value::Object(kept.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        other => other.clone(),
    }
}
