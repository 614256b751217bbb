//! The fields of a Compose file: which are taken, in which form, and which are refused by which rule. One table, held
//! against the official schema and against docs/compose.md by tests.

mod parts;
mod service;

use super::forms;
use super::shape::{Field, Shape, field, noted, refused, required};
use parts::{BOOL, EXTERNAL, FIXED_NAME, LABELS, SCALARS};

/// Why nothing is built.
pub(super) const NO_BUILD: &str = "nothing is built on an agent, and no sources lie beside this file; build the image in a \
                                   pipeline, push it, and name it under `image`";
const UNSUPPORTED: &str = "compose-unsupported";
const OUTSIDE: &str = "compose-outside-file";
const SECRET: &str = "secrets come from the state repository, encrypted, and never from this file; name them under `spec.secrets` \
                      of the deployment";

/// The whole document.
pub(super) static DOCUMENT: Shape = Shape::Fields(&[
    noted(
        "version",
        &Shape::Text(forms::any),
        "without effect, as in Compose itself",
    ),
    noted(
        "name",
        &Shape::Text(forms::project),
        "without effect: the agent names projects",
    ),
    refused(
        "include",
        OUTSIDE,
        "no other file lies beside this one on an agent; write its services here",
    ),
    required("services", &Shape::Named(forms::name, &service::SERVICE)),
    refused(
        "models",
        UNSUPPORTED,
        "no engine of an agent runs models; run a service that does",
    ),
    field(
        "networks",
        &Shape::Optional(&Shape::Named(forms::name, &NETWORK)),
    ),
    field(
        "volumes",
        &Shape::Optional(&Shape::Named(forms::name, &VOLUME)),
    ),
    refused("secrets", "compose-secret", SECRET),
    field(
        "configs",
        &Shape::Optional(&Shape::Named(forms::name, &CONFIG)),
    ),
]);

static NETWORK: Shape = Shape::Optional(&Shape::Fields(&[
    refused("name", "compose-fixed-name", FIXED_NAME),
    noted(
        "driver",
        &Shape::Text(forms::network_driver),
        "`bridge`, refused otherwise: `compose-driver`",
    ),
    noted(
        "driver_opts",
        &Shape::Named(forms::network_option, &SCALARS),
        "three of a bridge's, refused otherwise: `compose-driver`",
    ),
    field("ipam", &IPAM),
    noted(
        "external",
        &EXTERNAL,
        "false; true is refused: `compose-external`",
    ),
    field("internal", &BOOL),
    field("enable_ipv4", &BOOL),
    field("enable_ipv6", &BOOL),
    field("attachable", &BOOL),
    field("labels", &LABELS),
]));

static IPAM: Shape = Shape::Fields(&[
    field("driver", &Shape::Text(forms::address_driver)),
    field(
        "config",
        &Shape::List(&Shape::Fields(&[
            noted(
                "subnet",
                &Shape::Text(forms::subnet),
                "private and small, refused otherwise: `compose-host-network`",
            ),
            field("ip_range", &Shape::Text(forms::subnet)),
            field("gateway", &Shape::Text(forms::address)),
            field(
                "aux_addresses",
                &Shape::Named(forms::any, &Shape::Text(forms::address)),
            ),
        ])),
    ),
    refused(
        "options",
        "compose-driver",
        "the engine's own driver of addresses has no options; leave them out",
    ),
]);

static VOLUME: Shape = Shape::Optional(&Shape::Fields(&[
    refused("name", "compose-fixed-name", FIXED_NAME),
    noted(
        "driver",
        &Shape::Text(forms::volume_driver),
        "`local`, refused otherwise: `compose-driver`",
    ),
    refused(
        "driver_opts",
        "compose-driver",
        "options may mount a path or a device of the machine; leave them out: a volume lies on the agent's data disk",
    ),
    noted(
        "external",
        &EXTERNAL,
        "false; true is refused: `compose-external`",
    ),
    field("labels", &LABELS),
]));

static CONFIG: Shape = Shape::Fields(&[
    refused("name", "compose-fixed-name", FIXED_NAME),
    noted(
        "content",
        &Shape::Text(forms::any),
        "the one source of a config",
    ),
    refused(
        "environment",
        OUTSIDE,
        "the environment of an agent is not the workload's; write `content: ${NAME}`, and the value under `env` of the deployment",
    ),
    refused(
        "file",
        OUTSIDE,
        "no other file lies beside this one on an agent; write the text under `content`",
    ),
    noted(
        "external",
        &EXTERNAL,
        "false; true is refused: `compose-external`",
    ),
    field("labels", &LABELS),
    refused(
        "template_driver",
        "compose-swarm",
        "only a swarm fills in templates; write the text out",
    ),
]);

/// The fields of a mapping of the grammar, for the table and for tests: path, what becomes of it.
pub(super) fn all() -> Vec<(String, &'static Field)> {
    let mut found = Vec::new();
    collect("", &DOCUMENT, &mut found);
    found
}

fn collect(path: &str, shape: &'static Shape, found: &mut Vec<(String, &'static Field)>) {
    for field in shape.fields().unwrap_or_default() {
        let path = match path {
            "" => field.name.to_owned(),
            path => format!("{path}.{}", field.name),
        };
        found.push((path.clone(), field));
        if let super::shape::Take::Shape(shape) = field.take {
            collect(&path, shape, found);
        }
    }
}
