//! Parts of services that are tables of their own: health, mounts, ports, resources, hooks.

use super::super::forms;
use super::super::shape::{Field, Refusal, Shape, field, noted, refused, required};

pub(super) const FIXED_NAME: &str = "a fixed name clashes with that of another replica or project on the same engine; leave it out, \
                                     and others of this file reach it by the name that it has here";
const SWARM: &str = "compose-swarm";
const ONLY_SWARM: &str = "only a swarm acts on it; leave it out";
const MACHINE: &str = "compose-privileged";

pub(super) static ANY: Shape = Shape::Any;
pub(super) static TEXT: Shape = Shape::Text(forms::any);
pub(super) static BOOL: Shape = Shape::Bool;
pub(super) static NAMES: Shape = Shape::List(&Shape::Text(forms::name));
pub(super) static TEXTS: Shape = Shape::List(&TEXT);
pub(super) static LABELS: Shape = Shape::Pairs(forms::label);
pub(super) static VARIABLES: Shape = Shape::Pairs(forms::variable);
pub(super) static DURATION: Shape = Shape::Text(forms::duration);
pub(super) static SCALARS: Shape = Shape::ByKind {
    scalar: Some(&ANY),
    list: None,
    map: None,
};

/// What others own is not accepted.
pub(super) static EXTERNAL: Shape = Shape::ByKind {
    scalar: Some(&Shape::Off(NOT_OURS)),
    list: None,
    map: Some(&Shape::Named(not_ours, &ANY)),
};

const NOT_OURS: Refusal = Refusal {
    code: "compose-external",
    why: "nobody makes it on an agent, and nobody would remove it; leave this out, and it is the project's own",
};

fn not_ours(_: &str, _: &super::super::WorkloadRules) -> Result<(), super::super::shape::Fault> {
    Err(super::super::shape::Fault::Refused(NOT_OURS))
}

/// A command: a text that is split into words, or the words.
pub(super) static COMMAND: Shape = Shape::Optional(&GIVEN_COMMAND);
static GIVEN_COMMAND: Shape = Shape::ByKind {
    scalar: Some(&TEXT),
    list: Some(&TEXTS),
    map: None,
};

pub(super) static HEALTHCHECK: Shape = Shape::Fields(&[
    field("disable", &BOOL),
    field("interval", &DURATION),
    field("retries", &Shape::Number(forms::whole)),
    field("test", &GIVEN_COMMAND),
    field("timeout", &DURATION),
    field("start_period", &DURATION),
    field("start_interval", &DURATION),
]);

pub(super) static DEPENDS_ON: Shape = Shape::ByKind {
    scalar: None,
    list: Some(&NAMES),
    map: Some(&Shape::Named(
        forms::name,
        &Shape::Fields(&[
            required("condition", &Shape::Text(forms::condition)),
            field("restart", &BOOL),
            field("required", &BOOL),
        ]),
    )),
};

pub(super) static EXTENDS: Shape = Shape::ByKind {
    scalar: Some(&Shape::Text(forms::name)),
    list: None,
    map: Some(&Shape::Fields(&[
        required("service", &Shape::Text(forms::name)),
        refused(
            "file",
            "compose-outside-file",
            "no other file lies beside this one on an agent; write that service here, and extend it by its name",
        ),
    ])),
};

pub(super) static NETWORKS: Shape = Shape::ByKind {
    scalar: None,
    list: Some(&NAMES),
    map: Some(&Shape::Named(
        forms::name,
        &Shape::Optional(&Shape::Fields(&[
            field("aliases", &Shape::List(&Shape::Text(forms::host_name))),
            field("interface_name", &Shape::Text(forms::name)),
            field("ipv4_address", &Shape::Text(forms::address)),
            field("ipv6_address", &Shape::Text(forms::address)),
            field("link_local_ips", &Shape::List(&Shape::Text(forms::address))),
            field("mac_address", &Shape::Text(forms::hardware_address)),
            refused(
                "driver_opts",
                "compose-driver",
                "options of an interface may change the machine's parameters; leave them out, or use `sysctls`",
            ),
            field("priority", &Shape::Number(forms::limit)),
            field("gw_priority", &Shape::Number(forms::limit)),
        ])),
    )),
};

pub(super) static CONFIGS: Shape = Shape::List(&Shape::ByKind {
    scalar: Some(&Shape::Text(forms::name)),
    list: None,
    map: Some(&Shape::Fields(&[
        required("source", &Shape::Text(forms::name)),
        field("target", &Shape::Text(forms::path)),
        field("uid", &TEXT),
        field("gid", &TEXT),
        field("mode", &Shape::Scalar(forms::permissions)),
    ])),
});

pub(super) static PORTS: Shape = Shape::List(&Shape::ByKind {
    scalar: Some(&Shape::Scalar(forms::short_port)),
    list: None,
    map: Some(&Shape::Fields(&[
        field("name", &TEXT),
        field("mode", &Shape::Text(port_mode)),
        field("host_ip", &Shape::Text(forms::address)),
        required("target", &Shape::Scalar(forms::port)),
        field("published", &Shape::Scalar(forms::port_range)),
        field("protocol", &Shape::Text(protocol)),
        field("app_protocol", &TEXT),
    ])),
});

fn port_mode(text: &str, _: &super::super::WorkloadRules) -> forms::Fit {
    forms::expect(matches!(text, "host" | "ingress"), "one of host, ingress")
}

fn protocol(text: &str, _: &super::super::WorkloadRules) -> forms::Fit {
    forms::expect(
        matches!(text, "tcp" | "udp" | "sctp"),
        "one of tcp, udp, sctp",
    )
}

pub(super) static VOLUMES: Shape = Shape::List(&Shape::ByKind {
    scalar: Some(&Shape::Text(forms::mount)),
    list: None,
    map: Some(&Shape::Fields(&[
        noted(
            "type",
            &Shape::Text(forms::mount_kind),
            "`volume` or `tmpfs`; paths of the machine are refused: `compose-host-path`",
        )
        .due(),
        field("source", &TEXT),
        required("target", &Shape::Text(forms::path)),
        field("read_only", &BOOL),
        field("consistency", &TEXT),
        refused(
            "bind",
            "compose-host-path",
            "it belongs to the type `bind`, a path of the machine; leave it out",
        ),
        field(
            "volume",
            &Shape::Fields(&[
                field("labels", &LABELS),
                field("nocopy", &BOOL),
                field("subpath", &Shape::Text(forms::subpath)),
            ]),
        ),
        field(
            "tmpfs",
            &Shape::Fields(&[
                field("size", &Shape::Scalar(forms::memory)),
                field("mode", &Shape::Scalar(forms::permissions)),
            ]),
        ),
        refused(
            "image",
            "compose-unsupported",
            "it belongs to the type `image`, which not every engine has; leave it out",
        ),
    ])),
});

pub(super) static ULIMITS: Shape = Shape::Named(
    forms::name,
    &Shape::ByKind {
        scalar: Some(&Shape::Scalar(forms::limit)),
        list: None,
        map: Some(&Shape::Fields(&[
            required("soft", &Shape::Scalar(forms::limit)),
            required("hard", &Shape::Scalar(forms::limit)),
        ])),
    },
);

pub(super) static LOGGING: Shape = Shape::Fields(&[
    noted(
        "driver",
        &Shape::Text(forms::log_driver),
        "`json-file` or `local`, refused otherwise: `compose-logging`",
    ),
    noted(
        "options",
        &Shape::Named(forms::log_option, &SCALARS),
        "the agent's own bounds come first",
    ),
]);

pub(super) static BLKIO: Shape = Shape::Fields(&[
    field("weight", &Shape::Scalar(forms::weight)),
    refused("weight_device", MACHINE, A_DEVICE),
    refused("device_read_bps", MACHINE, A_DEVICE),
    refused("device_read_iops", MACHINE, A_DEVICE),
    refused("device_write_bps", MACHINE, A_DEVICE),
    refused("device_write_iops", MACHINE, A_DEVICE),
]);

const A_DEVICE: &str = "the devices of the machine are not the workload's, and have other names elsewhere; leave it out";

pub(super) static HOOKS: Shape = Shape::List(&Shape::Fields(&[
    required("command", &COMMAND),
    field("user", &TEXT),
    noted(
        "privileged",
        &Shape::Off(PRIVILEGED),
        "false; true is refused: `compose-privileged`",
    ),
    field("working_dir", &TEXT),
    field("environment", &VARIABLES),
]));

pub(super) const PRIVILEGED: Refusal = Refusal {
    code: MACHINE,
    why: "whoever is privileged owns the machine, the agent and its key with it; leave it out",
};

pub(super) static DEPLOY: Shape = Shape::Optional(&Shape::Fields(&[
    noted(
        "mode",
        &Shape::Text(forms::mode),
        "`replicated`, refused otherwise: `compose-swarm`",
    ),
    refused("endpoint_mode", SWARM, ONLY_SWARM),
    noted(
        "replicas",
        &Shape::Scalar(forms::replicas),
        "at most 100 on one agent",
    ),
    refused(
        "labels",
        SWARM,
        "only a swarm acts on them; write `labels` beside `deploy`",
    ),
    refused(
        "rollback_config",
        SWARM,
        "only a swarm acts on it; roll-outs are the deployment's: `spec.rollout`",
    ),
    refused(
        "update_config",
        SWARM,
        "only a swarm acts on it; roll-outs are the deployment's: `spec.rollout`",
    ),
    field(
        "resources",
        &Shape::Fields(&[
            field(
                "limits",
                &Shape::Fields(&[
                    field("cpus", &Shape::Scalar(forms::processors)),
                    field("memory", &Shape::Text(forms::memory)),
                    field("pids", &Shape::Scalar(forms::limit)),
                ]),
            ),
            field(
                "reservations",
                &Shape::Fields(&[
                    field("cpus", &Shape::Scalar(forms::processors)),
                    field("memory", &Shape::Text(forms::memory)),
                    refused("generic_resources", SWARM, ONLY_SWARM),
                    refused("devices", "compose-device", super::service::NO_DEVICES),
                ]),
            ),
        ]),
    ),
    field(
        "restart_policy",
        &Shape::Fields(&[
            field("condition", &Shape::Text(forms::restart_condition)),
            field("delay", &DURATION),
            field("max_attempts", &Shape::Scalar(forms::whole)),
            field("window", &DURATION),
        ]),
    ),
    refused(
        "placement",
        SWARM,
        "only a swarm acts on it; where a deployment may run is its `spec.placement`",
    ),
]));

impl Field {
    /// The same field, which has to be there.
    const fn due(self) -> Self {
        Self {
            is_required: true,
            ..self
        }
    }
}
