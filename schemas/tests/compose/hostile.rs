//! Every field of a service, and of what is declared beside services, with values that would reach out: what the reader lets
//! through is shown to Compose, and its rendering to a look that knows none of our tables.

use std::collections::BTreeMap;

use easyenclave_schemas::compose::{WorkloadRules, read};
use serde_json::{Map, Value, json};

use crate::oracle::{ALL, compose, config, schema};
use crate::rendered::{declared_escapes, escapes};

/// Values that would reach out at one field or another, and some that are odd.
fn values() -> Vec<Value> {
    let reservation =
        json!({"resources": {"reservations": {"devices": [{"capabilities": ["gpu"]}]}}});
    let texts = [
        "host",
        "container:other",
        "service:other",
        "bridge",
        "none",
        "all",
        "nvidia",
        "unconfined",
        "/",
        "/etc",
        "./x",
        "x",
        "true",
        "yes",
        "0",
        "-1",
        "64m",
        "1s",
        "${UNSET:-host}",
        "${UNSET-/}",
        "${UNSET:+x}",
        "",
    ];
    let items = [
        "/:/x",
        "./x:/x",
        "~/x:/x",
        "..:/x",
        "/var/run/docker.sock:/var/run/docker.sock",
        "${UNSET:-/}:/x",
        "x:/x",
        "/x",
        "/dev/kvm",
        "/dev/kvm:/dev/kvm:rwm",
        "SYS_ADMIN",
        "cap_sys_admin",
        "ALL",
        "CHOWN",
        "seccomp=unconfined",
        "seccomp:unconfined",
        "apparmor:unconfined",
        "label=disable",
        "systempaths=unconfined",
        "no-new-privileges",
        "no-new-privileges:true",
        "container:other",
        "other",
        "other:x",
        "x:host-gateway",
        "x=host-gateway",
        "x=1.2.3.4",
        "kernel.panic=1",
        "net.core.somaxconn=1",
        "dev.easyenclave.order=x",
        "com.docker.compose.project=x",
        "x=y",
        "c 1:3 mr",
        "80:80",
        "default",
        "host",
    ];
    let mappings = [
        json!({"type": "bind", "source": "/", "target": "/x"}),
        json!({"type": "volume", "source": "/", "target": "/x"}),
        json!({"type": "volume", "target": "/x", "volume": {"subpath": "../.."}}),
        json!({"type": "image", "source": "x", "target": "/x"}),
        json!({"type": "tmpfs", "target": "/x"}),
        json!({"type": "npipe", "source": "x", "target": "/x"}),
        json!({"command": "x", "privileged": true}),
        json!({"command": "x", "privileged": "on"}),
        json!({"command": "x"}),
        json!({"source": "/dev/kvm", "target": "/dev/kvm", "permissions": "rwm"}),
        json!({"path": "/etc/passwd"}),
        json!({"capabilities": ["gpu"]}),
        json!({"target": 80, "published": "80"}),
        json!({"path": "/dev/sda", "weight": 10}),
        json!({"file": "/etc/passwd"}),
        json!({"service": "other"}),
        json!({"service": "other", "file": "x.yaml"}),
        json!({"x": "host-gateway"}),
        json!({"kernel.panic": 1}),
        json!({"dev.easyenclave.order": "x"}),
        json!({"x": "y"}),
        json!({"default": {"driver_opts": {"x": "y"}}}),
        json!({"default": {}}),
        json!({"driver": "syslog"}),
        json!({"driver": "json-file"}),
        json!({"other": {"condition": "service_started"}}),
        json!({"driver": "nfs"}),
        json!({"name": "x"}),
        json!({"external": true}),
        json!({"external": "true"}),
        json!({"external": {"name": "x"}}),
        json!({"driver_opts": {"type": "none", "device": "/", "o": "bind"}}),
        json!({"driver": "local", "driver_opts": {"device": "/"}}),
        json!({"environment": "HOME"}),
        json!({"content": "x"}),
        json!({"driver": "macvlan", "driver_opts": {"parent": "eth0"}}),
        json!({"ipam": {"config": [{"subnet": "0.0.0.0/1"}]}}),
        json!({"labels": {"dev.easyenclave.fleet": "x"}}),
        json!({"type": "sh", "options": {"c": "id"}}),
        reservation,
        json!({}),
    ];
    let mut values: Vec<Value> = texts.into_iter().map(Value::from).collect();
    values.extend([
        Value::Null,
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!([]),
    ]);
    values.extend(items.into_iter().map(|item| json!([item])));
    values.extend(mappings.iter().map(|mapping| json!([mapping])));
    values.extend(mappings);
    values
}

fn fields(schema: &Value, definition: &str) -> Vec<String> {
    let properties = schema["definitions"][definition]["properties"].as_object();
    properties.expect("fields").keys().cloned().collect()
}

/// The document that would run, if the file is let through.
fn let_through(file: &Value) -> Option<Value> {
    let read = read(
        file.to_string().as_bytes(),
        &WorkloadRules::default(),
        &BTreeMap::new(),
    );
    read.ok()
        .map(|composition| serde_json::from_str(&composition.document).expect("JSON"))
}

#[test]
fn no_field_of_a_service_reaches_out_with_any_value() {
    let (Some(schema), Some(())) = (schema(), compose()) else {
        return;
    };
    let mut services = Map::from_iter([("other".to_owned(), json!({"image": "y"}))]);
    let mut refused = 0;
    for field in fields(schema, "service") {
        for (index, value) in values().into_iter().enumerate() {
            let file = json!({"services": {"s": {"image": "x", field.as_str(): value}, "other": {"image": "y"}}});
            match let_through(&file) {
                Some(mut document) => {
                    let name = format!("{}-{index}", field.replace('_', "-"));
                    services.insert(name, document["services"]["s"].take());
                }
                None => refused += 1,
            }
        }
    }
    assert!(
        services.len() > 150 && refused > 5000,
        "{} of {refused}",
        services.len()
    );
    let rendered = config(&json!({"services": services}).to_string(), &[], &ALL)
        .expect("Compose takes what we do");
    let rendered = rendered["services"].as_object().expect("services");
    assert_eq!(rendered.len(), services.len());
    for (name, service) in rendered {
        let escapes = escapes(service, false);
        assert!(escapes.is_empty(), "{name}: {escapes:?}");
    }
}

#[test]
fn nothing_that_is_declared_beside_services_reaches_out_with_any_value() {
    let (Some(schema), Some(())) = (schema(), compose()) else {
        return;
    };
    let mut taken = 0;
    for (section, definition) in [
        ("networks", "network"),
        ("volumes", "volume"),
        ("configs", "config"),
        ("secrets", "secret"),
    ] {
        let mut declared = Map::new();
        let whole = values()
            .into_iter()
            .enumerate()
            .map(|(index, value)| (format!("whole-{index}"), value));
        let parts = fields(schema, definition).into_iter().flat_map(|field| {
            let value =
                move |(index, value)| (format!("{field}-{index}"), json!({field.as_str(): value}));
            values()
                .into_iter()
                .enumerate()
                .map(value)
                .collect::<Vec<_>>()
        });
        for (name, value) in whole.chain(parts) {
            let file = json!({"services": {"s": {"image": "x"}}, section: {name.as_str(): value}});
            if let Some(mut document) = let_through(&file) {
                declared.insert(name.clone(), document[section][&name].take());
            }
        }
        taken += declared.len();
        let file = json!({"services": {"s": {"image": "x"}}, section: declared});
        let rendered = config(&file.to_string(), &[], &ALL).expect("Compose takes what we do");
        let escapes = declared_escapes(&rendered);
        assert!(escapes.is_empty(), "{section}: {escapes:?}");
    }
    assert!(taken > 20, "{taken}");
}
