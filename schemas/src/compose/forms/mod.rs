//! The forms of single texts and numbers: well formed, and let through by our rules. Each answers what was expected, or
//! which rule refuses it.

mod host;
mod image;
mod mounts;
mod numbers;
mod ports;

pub(super) use host::*;
pub(super) use image::{Image, image};
pub(super) use mounts::{Mount, mount, mount_kind, service_mounts, temporary};
pub(super) use numbers::*;
pub(super) use ports::{expose, port, port_range, published_ports, short_port};

use super::WorkloadRules;
use super::shape::{Fault, Refusal};

/// The result of a form.
pub(super) type Fit = Result<(), Fault>;

/// Good, or what was expected.
pub(super) fn expect(is_good: bool, expected: &'static str) -> Fit {
    if is_good {
        Ok(())
    } else {
        Err(Fault::Expected(expected))
    }
}

/// Refused by a rule.
fn refuse(code: &'static str, why: &'static str) -> Fit {
    Err(Fault::Refused(Refusal { code, why }))
}

/// Any text.
pub(super) fn any(_: &str, _: &WorkloadRules) -> Fit {
    Ok(())
}

/// A name of a service, volume, network or config. It becomes part of paths and of names of the engine, so it never begins
/// with a dot; and what begins with `x-` is a note to some versions of Compose.
pub(super) fn name(text: &str, _: &WorkloadRules) -> Fit {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_plain = |c: char| is_word(c) || matches!(c, '.' | '-');
    let is_good = text.starts_with(is_word) && text.len() <= 63 && text.chars().all(is_plain);
    expect(
        is_good && !text.starts_with("x-"),
        "a name of up to 63 letters, digits, `.`, `_` and `-`, which begins with none of `.`, `-` and `x-`",
    )
}

/// A project's name.
pub(super) fn project(text: &str, _: &WorkloadRules) -> Fit {
    let is_small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    expect(
        text.starts_with(is_small) && text.chars().all(|c| is_small(c) || matches!(c, '_' | '-')),
        "lower-case letters, digits, `_` and `-`, beginning with a letter or a digit",
    )
}

/// A profile's name.
pub(super) fn profile(text: &str, rules: &WorkloadRules) -> Fit {
    name(text, rules)
}

/// The name of an environment variable.
pub(super) fn variable(text: &str, _: &WorkloadRules) -> Fit {
    expect(
        !text.is_empty() && !text.contains(['=', '$']) && !text.contains(char::is_control),
        "the name of a variable",
    )
}

/// A label's key, which is nobody else's.
pub(super) fn label(text: &str, _: &WorkloadRules) -> Fit {
    const RESERVED: [&str; 3] = [
        "dev.easyenclave.",
        "com.docker.compose.",
        "io.podman.compose.",
    ];
    if RESERVED.iter().any(|reserved| text.starts_with(reserved)) {
        return refuse(
            "compose-reserved-label",
            "labels that begin with `dev.easyenclave.`, `com.docker.compose.` or `io.podman.compose.` tell whose a container \
             is; choose another name",
        );
    }
    expect(
        !text.is_empty() && !text.contains('$') && !text.contains(char::is_control),
        "a label's key",
    )
}

/// When a service is started again.
pub(super) fn restart(text: &str, _: &WorkloadRules) -> Fit {
    let times = text.strip_prefix("on-failure:");
    let is_counted = times.is_some_and(|times| times.parse::<u32>().is_ok());
    expect(
        is_counted || matches!(text, "no" | "always" | "on-failure" | "unless-stopped"),
        "one of no, always, on-failure, on-failure:TIMES, unless-stopped",
    )
}

/// When a service of a swarm's syntax is started again.
pub(super) fn restart_condition(text: &str, _: &WorkloadRules) -> Fit {
    let known = matches!(text, "none" | "on-failure" | "any");
    expect(known, "one of none, on-failure, any")
}

/// How replicas are made.
pub(super) fn mode(text: &str, _: &WorkloadRules) -> Fit {
    match text {
        "global" | "global-job" | "replicated-job" => refuse(
            "compose-swarm",
            "only a swarm has this mode; write `replicated`, or leave it out",
        ),
        _ => expect(text == "replicated", "replicated"),
    }
}

/// What a dependency waits for.
pub(super) fn condition(text: &str, _: &WorkloadRules) -> Fit {
    let known = matches!(
        text,
        "service_started" | "service_healthy" | "service_completed_successfully"
    );
    expect(
        known,
        "one of service_started, service_healthy, service_completed_successfully",
    )
}

/// When an image is pulled.
pub(super) fn pull_policy(text: &str, rules: &WorkloadRules) -> Fit {
    let every = text.strip_prefix("every_");
    match text {
        "build" => refuse("compose-build", super::fields::NO_BUILD),
        "never" => refuse(
            "compose-unsupported",
            "an agent has no images of its own, so what is never pulled never starts; write `missing`",
        ),
        "always" | "missing" | "if_not_present" | "daily" | "weekly" => Ok(()),
        _ => expect(
            every.is_some_and(|every| duration(every, rules).is_ok()),
            "one of always, missing, daily, weekly, every_TIME",
        ),
    }
}

/// A signal.
pub(super) fn signal(text: &str, _: &WorkloadRules) -> Fit {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-');
    expect(
        !text.is_empty() && text.len() <= 16 && text.chars().all(is_plain),
        "a signal, such as SIGTERM",
    )
}

/// An absolute path inside of a container.
pub(super) fn path(text: &str, _: &WorkloadRules) -> Fit {
    expect(
        is_path(text),
        "an absolute path inside of the container, without `..`",
    )
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.split('/').any(|part| part == "..")
}

/// A relative path inside of a volume.
pub(super) fn subpath(text: &str, _: &WorkloadRules) -> Fit {
    let climbs = text.split('/').any(|part| part == "..");
    expect(
        !text.is_empty() && !text.starts_with('/') && !climbs,
        "a relative path inside of the volume, without `..`",
    )
}

/// What keeps a service's log: the agent, in files that are bounded.
pub(super) fn log_driver(text: &str, _: &WorkloadRules) -> Fit {
    match text {
        "json-file" | "local" => Ok(()),
        _ => refuse(
            "compose-logging",
            "the agent keeps the logs, and shows them; leave it out, or write `json-file`",
        ),
    }
}

/// How a service's log is kept.
pub(super) fn log_option(text: &str, _: &WorkloadRules) -> Fit {
    let known = [
        "max-size",
        "max-file",
        "compress",
        "labels",
        "labels-regex",
        "env",
        "env-regex",
        "tag",
        "mode",
        "max-buffer-size",
    ];
    match known.contains(&text) {
        true => Ok(()),
        false => refuse(
            "compose-logging",
            "the agent keeps the logs, and shows them; only options of json-file and local are taken",
        ),
    }
}

/// The driver of a named volume.
pub(super) fn volume_driver(text: &str, _: &WorkloadRules) -> Fit {
    match text {
        "local" => Ok(()),
        _ => refuse(
            "compose-driver",
            "volumes lie on the agent's data disk, which no other driver knows; leave it out",
        ),
    }
}

/// The driver of a network.
pub(super) fn network_driver(text: &str, _: &WorkloadRules) -> Fit {
    match text {
        "bridge" | "default" => Ok(()),
        _ => refuse(
            "compose-driver",
            "a network is a bridge inside of the agent's machine, and another driver reaches out of it; leave it out",
        ),
    }
}

/// An option of a bridge that stays inside of the machine.
pub(super) fn network_option(text: &str, _: &WorkloadRules) -> Fit {
    const KNOWN: [&str; 3] = [
        "com.docker.network.driver.mtu",
        "com.docker.network.bridge.enable_icc",
        "com.docker.network.bridge.enable_ip_masquerade",
    ];
    match KNOWN.contains(&text) {
        true => Ok(()),
        false => refuse(
            "compose-driver",
            "this option is not one of com.docker.network.driver.mtu, com.docker.network.bridge.enable_icc and \
             com.docker.network.bridge.enable_ip_masquerade; leave it out",
        ),
    }
}

/// The driver of addresses.
pub(super) fn address_driver(text: &str, _: &WorkloadRules) -> Fit {
    match text {
        "default" => Ok(()),
        _ => refuse(
            "compose-driver",
            "only the engine's own driver of addresses is there; leave it out",
        ),
    }
}

/// The system and processor of an image.
pub(super) fn platform(text: &str, _: &WorkloadRules) -> Fit {
    match text.split('/').collect::<Vec<_>>().as_slice() {
        [""] | ["linux"] | ["linux", "amd64"] | ["linux", "amd64", _] => Ok(()),
        _ => refuse(
            "compose-unsupported",
            "agents are linux/amd64; leave it out, or write `linux/amd64`",
        ),
    }
}
