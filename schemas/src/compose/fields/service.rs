//! The fields of a service: every one of the official schema, taken or refused.

use super::super::forms;
use super::super::shape::{Shape, field, noted, refused};
use super::parts::*;
use super::{NO_BUILD, OUTSIDE, SECRET, UNSUPPORTED};

const MACHINE: &str = "compose-privileged";
pub(super) const NO_DEVICES: &str =
    "an agent lends no devices of its machine, graphics processors included; leave it out";
const ONLY_WINDOWS: &str = "only an engine of Windows acts on it; leave it out";
const REAL_TIME: &str = "a service of real-time priority may starve the agent; leave it out";

static NUMBER: Shape = Shape::Scalar(forms::whole);
static TEXT_OR_TEXTS: Shape = Shape::ByKind {
    scalar: Some(&TEXT),
    list: Some(&TEXTS),
    map: None,
};
static ADDRESSES: Shape = Shape::ByKind {
    scalar: Some(&Shape::Text(forms::address)),
    list: Some(&Shape::List(&Shape::Text(forms::address))),
    map: None,
};
static HOSTS: Shape = Shape::ByKind {
    scalar: None,
    list: Some(&Shape::List(&Shape::Text(forms::host))),
    map: Some(&Shape::Named(
        forms::host_name,
        &Shape::ByKind {
            scalar: Some(&Shape::Text(forms::host_address)),
            list: Some(&Shape::List(&Shape::Text(forms::host_address))),
            map: None,
        },
    )),
};
static TEMPORARY: Shape = Shape::ByKind {
    scalar: Some(&Shape::Text(forms::temporary)),
    list: Some(&Shape::List(&Shape::Text(forms::temporary))),
    map: None,
};

pub(super) static SERVICE: Shape = Shape::Fields(&[
    refused(
        "develop",
        UNSUPPORTED,
        "nothing is developed on an agent; write it into a Compose file of your own, beside this one",
    ),
    field("deploy", &DEPLOY),
    refused(
        "annotations",
        MACHINE,
        "runtimes of containers obey annotations; use `labels`",
    ),
    noted(
        "attach",
        &BOOL,
        "without effect: an agent attaches to nothing",
    ),
    refused("build", "compose-build", NO_BUILD),
    field("blkio_config", &BLKIO),
    noted(
        "cap_add",
        &Shape::List(&Shape::Text(forms::capability)),
        "what every container has, and IPC_LOCK; refused otherwise: `compose-privileged`",
    ),
    field(
        "cap_drop",
        &Shape::List(&Shape::Text(forms::dropped_capability)),
    ),
    noted(
        "cgroup",
        &Shape::Text(forms::cgroup),
        "`private`; `host` is refused: `compose-privileged`",
    ),
    refused(
        "cgroup_parent",
        MACHINE,
        "the machine's control groups are the agent's own; leave it out",
    ),
    field("command", &COMMAND),
    field("configs", &CONFIGS),
    refused("container_name", "compose-fixed-name", FIXED_NAME),
    refused("cpu_count", UNSUPPORTED, ONLY_WINDOWS),
    refused("cpu_percent", UNSUPPORTED, ONLY_WINDOWS),
    field("cpu_shares", &NUMBER),
    field("cpu_quota", &Shape::Scalar(forms::limit)),
    field("cpu_period", &NUMBER),
    refused("cpu_rt_period", MACHINE, REAL_TIME),
    refused("cpu_rt_runtime", MACHINE, REAL_TIME),
    field("cpus", &Shape::Scalar(forms::processors)),
    field("cpuset", &Shape::Text(forms::processor_set)),
    refused("credential_spec", UNSUPPORTED, ONLY_WINDOWS),
    field("depends_on", &DEPENDS_ON),
    refused("device_cgroup_rules", "compose-device", NO_DEVICES),
    refused("devices", "compose-device", NO_DEVICES),
    field("dns", &ADDRESSES),
    field("dns_opt", &TEXTS),
    field("dns_search", &TEXT_OR_TEXTS),
    field("domainname", &Shape::Text(forms::host_name)),
    field("entrypoint", &COMMAND),
    refused(
        "env_file",
        OUTSIDE,
        "no other file lies beside this one on an agent; write the variables under `environment`",
    ),
    refused(
        "label_file",
        OUTSIDE,
        "no other file lies beside this one on an agent; write the labels under `labels`",
    ),
    noted(
        "environment",
        &VARIABLES,
        "a name without a value takes it from `env` of the deployment",
    ),
    field("expose", &Shape::List(&Shape::Scalar(forms::expose))),
    noted("extends", &EXTENDS, "a service of the same file"),
    refused(
        "provider",
        MACHINE,
        "it runs a program of the machine; run a container",
    ),
    refused(
        "external_links",
        "compose-external",
        "a container outside of this file is nobody's; name services of this file",
    ),
    noted(
        "extra_hosts",
        &HOSTS,
        "`host-gateway` is refused unless the fleet lends its machines' network: `compose-host-network`",
    ),
    refused("gpus", "compose-device", NO_DEVICES),
    field("group_add", &Shape::List(&Shape::Scalar(forms::any))),
    field("healthcheck", &HEALTHCHECK),
    field("hostname", &Shape::Text(forms::host_name)),
    noted(
        "image",
        &Shape::Text(forms::image),
        "with a digest where the fleet asks for one: `compose-unpinned`",
    ),
    field("init", &BOOL),
    noted(
        "ipc",
        &Shape::Text(forms::ipc),
        "`host` is refused: `compose-privileged`; `container:…` too: `compose-external`",
    ),
    refused("isolation", UNSUPPORTED, ONLY_WINDOWS),
    noted(
        "labels",
        &LABELS,
        "those of EasyEnclave and Compose are refused: `compose-reserved-label`",
    ),
    field("links", &TEXTS),
    noted(
        "logging",
        &LOGGING,
        "the agent keeps logs, within bounds of its own",
    ),
    field("mac_address", &Shape::Text(forms::hardware_address)),
    field("mem_limit", &Shape::Scalar(forms::memory)),
    field("mem_reservation", &Shape::Scalar(forms::memory)),
    field("mem_swappiness", &Shape::Scalar(forms::percent)),
    field("memswap_limit", &Shape::Number(forms::memory_or_none)),
    noted(
        "network_mode",
        &Shape::Text(forms::network_mode),
        "`none` and `service:NAME`; `host` where the fleet lends it: `compose-host-network`; refused otherwise: `compose-external`",
    ),
    refused(
        "models",
        UNSUPPORTED,
        "no engine of an agent runs models; run a service that does",
    ),
    field("networks", &NETWORKS),
    noted(
        "oom_kill_disable",
        &Shape::Off(NO_SAVIOUR),
        "false; true is refused: `compose-privileged`",
    ),
    field("oom_score_adj", &Shape::Scalar(forms::readiness)),
    noted(
        "pid",
        &Shape::Optional(&Shape::Text(forms::pid)),
        "`service:NAME`; `host` is refused: `compose-privileged`; `container:…` too: `compose-external`",
    ),
    field("pids_limit", &Shape::Scalar(forms::limit)),
    noted(
        "platform",
        &Shape::Text(forms::platform),
        "`linux/amd64`, refused otherwise: `compose-unsupported`",
    ),
    noted(
        "ports",
        &PORTS,
        "without effect on the machine: the agent publishes the port that the deployment names",
    ),
    field("post_start", &HOOKS),
    field("pre_stop", &HOOKS),
    noted(
        "privileged",
        &Shape::Off(PRIVILEGED),
        "false; true is refused: `compose-privileged`",
    ),
    field("profiles", &Shape::List(&Shape::Text(forms::profile))),
    noted(
        "pull_policy",
        &Shape::Text(forms::pull_policy),
        "`build` is refused: `compose-build`; `never` too: `compose-unsupported`",
    ),
    refused(
        "pull_refresh_after",
        UNSUPPORTED,
        "no engine acts on it; write `pull_policy: every_TIME`",
    ),
    field("read_only", &BOOL),
    field("restart", &Shape::Text(forms::restart)),
    refused(
        "runtime",
        MACHINE,
        "another runtime may hold a container less well; leave it out",
    ),
    noted(
        "scale",
        &Shape::Scalar(forms::replicas),
        "at most 100 on one agent",
    ),
    noted(
        "security_opt",
        &Shape::List(&Shape::Text(forms::security_option)),
        "`no-new-privileges`, refused otherwise: `compose-privileged`",
    ),
    field("shm_size", &Shape::Scalar(forms::memory)),
    refused("secrets", "compose-secret", SECRET),
    noted(
        "sysctls",
        &Shape::Pairs(forms::kernel_parameter),
        "those that a container has of its own, refused otherwise: `compose-privileged`",
    ),
    field("stdin_open", &BOOL),
    field("stop_grace_period", &DURATION),
    field("stop_signal", &Shape::Text(forms::signal)),
    refused(
        "storage_opt",
        UNSUPPORTED,
        "an agent's storage has no such options; use a volume",
    ),
    field("tmpfs", &TEMPORARY),
    field("tty", &BOOL),
    field("ulimits", &ULIMITS),
    refused(
        "use_api_socket",
        MACHINE,
        "whoever speaks to the engine owns the machine; leave it out",
    ),
    field("user", &TEXT),
    refused(
        "uts",
        MACHINE,
        "it would share the machine's name; leave it out, or use `hostname`",
    ),
    refused(
        "userns_mode",
        MACHINE,
        "it would share the machine's users; leave it out",
    ),
    noted(
        "volumes",
        &VOLUMES,
        "volumes of this file and memory; paths of the machine are refused: `compose-host-path`",
    ),
    noted(
        "volumes_from",
        &Shape::List(&Shape::Text(forms::service_mounts)),
        "services of this file; `container:…` is refused: `compose-external`",
    ),
    field("working_dir", &TEXT),
]);

const NO_SAVIOUR: super::super::shape::Refusal = super::super::shape::Refusal {
    code: MACHINE,
    why: "want of memory would end the agent instead; leave it out, and set `mem_limit`",
};
