//! What reaches out of a container: namespaces, capabilities, options of security, kernel parameters, addresses.

use std::net::IpAddr;

use super::{Fit, expect, refuse};
use crate::compose::WorkloadRules;

const MACHINE: &str = "compose-privileged";

/// The network that a service is in.
pub(in crate::compose) fn network_mode(text: &str, rules: &WorkloadRules) -> Fit {
    match text {
        "none" => Ok(()),
        "host" if rules.host_network => Ok(()),
        "host" => refuse(
            "compose-host-network",
            "the network of the agent's machine is the agent's own, and this fleet does not lend it; leave it out",
        ),
        _ if text.starts_with("service:") => Ok(()),
        _ => refuse(
            "compose-external",
            "this network is nobody's: others on the machine may be in it; leave it out, or name one of this file's under \
             `networks`",
        ),
    }
}

/// The process namespace of a service.
pub(in crate::compose) fn pid(text: &str, _: &WorkloadRules) -> Fit {
    match text {
        "host" => refuse(
            MACHINE,
            "it would see and signal the processes of the machine; leave it out",
        ),
        _ => of_a_service(text),
    }
}

/// The memory that services share.
pub(in crate::compose) fn ipc(text: &str, _: &WorkloadRules) -> Fit {
    match text {
        "host" => refuse(
            MACHINE,
            "it would share memory with the processes of the machine; write `shareable` and `service:NAME`",
        ),
        "private" | "shareable" | "none" => Ok(()),
        _ => of_a_service(text),
    }
}

fn of_a_service(text: &str) -> Fit {
    match text {
        _ if text.starts_with("container:") => refuse(
            "compose-external",
            "a container outside of this file is nobody's; write `service:NAME`",
        ),
        _ => expect(text.starts_with("service:"), "service:NAME"),
    }
}

/// The control group of a service.
pub(in crate::compose) fn cgroup(text: &str, _: &WorkloadRules) -> Fit {
    match text {
        "host" => refuse(
            MACHINE,
            "it would see the machine's control groups; leave it out",
        ),
        _ => expect(text == "private", "private"),
    }
}

/// A capability that stays inside of a container: what Docker gives anyway, and locked memory.
pub(in crate::compose) fn capability(text: &str, rules: &WorkloadRules) -> Fit {
    const HARMLESS: [&str; 15] = [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "IPC_LOCK",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "NET_RAW",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    dropped_capability(text, rules)?;
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    match HARMLESS.contains(&name) {
        true => Ok(()),
        false => refuse(
            MACHINE,
            "this capability reaches out of the container; leave it out: beside those that every container has, only IPC_LOCK \
             is given",
        ),
    }
}

/// A capability that is taken away.
pub(in crate::compose) fn dropped_capability(text: &str, _: &WorkloadRules) -> Fit {
    let is_plain = |c: char| c.is_ascii_alphabetic() || c == '_';
    expect(
        !text.is_empty() && text.chars().all(is_plain),
        "a capability, such as NET_RAW",
    )
}

/// An option of security that takes away, and gives nothing.
pub(in crate::compose) fn security_option(text: &str, _: &WorkloadRules) -> Fit {
    match text.replace('=', ":").as_str() {
        "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges:false" => Ok(()),
        _ => refuse(
            MACHINE,
            "it may loosen what holds the container, or name a file of the machine; only `no-new-privileges:true` is taken",
        ),
    }
}

/// A kernel parameter that each container has of its own.
pub(in crate::compose) fn kernel_parameter(text: &str, _: &WorkloadRules) -> Fit {
    let is_own = text.starts_with("net.")
        || text.starts_with("fs.mqueue.")
        || text.starts_with("kernel.msg")
        || text.starts_with("kernel.shm")
        || text == "kernel.sem";
    match is_own && !text.contains(['/', ' ']) {
        true => Ok(()),
        false => refuse(
            MACHINE,
            "this parameter is the whole machine's; only net.*, fs.mqueue.*, kernel.msg*, kernel.shm* and kernel.sem are a \
             container's own",
        ),
    }
}

/// An address.
pub(in crate::compose) fn address(text: &str, _: &WorkloadRules) -> Fit {
    expect(parse(text).is_some(), "an IP address")
}

/// A range of private addresses that is not too large: the machine sends what is for them to the network's bridge, so others
/// would take the addresses of what the agent itself speaks to.
pub(in crate::compose) fn subnet(text: &str, _: &WorkloadRules) -> Fit {
    let parts = text.split_once('/').and_then(|(address, bits)| {
        let address: IpAddr = address.parse().ok()?;
        Some((address, bits.parse::<u8>().ok()?))
    });
    let is_ours = match parts {
        Some((IpAddr::V4(address), bits)) if bits <= 32 => address.is_private() && bits >= 16,
        Some((IpAddr::V6(address), bits)) if bits <= 128 => address.is_unique_local() && bits >= 48,
        _ => return expect(false, "a range of addresses, such as 10.5.0.0/16"),
    };
    match is_ours {
        true => Ok(()),
        false => refuse(
            "compose-host-network",
            "the machine would send what is for these addresses to the services; take a private range of at most /16, or of \
             fd00::/8 at most /48",
        ),
    }
}

/// The address of a further host.
pub(in crate::compose) fn host_address(text: &str, rules: &WorkloadRules) -> Fit {
    match text {
        "host-gateway" if rules.host_network => Ok(()),
        "host-gateway" => refuse(
            "compose-host-network",
            "services of the agent's machine are the agent's own, and this fleet does not lend them; leave it out",
        ),
        _ => expect(parse(text).is_some(), "an IP address"),
    }
}

/// A further host and its address.
pub(in crate::compose) fn host(text: &str, rules: &WorkloadRules) -> Fit {
    let halves = text.split_once('=').or_else(|| text.split_once(':'));
    match halves {
        Some((name, address)) if !name.is_empty() => host_address(address, rules),
        _ => expect(false, "HOST=ADDRESS"),
    }
}

fn parse(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    bare.unwrap_or(text).parse().ok()
}

/// The hardware address of an interface.
pub(in crate::compose) fn hardware_address(text: &str, _: &WorkloadRules) -> Fit {
    let parts: Vec<_> = text.split([':', '-']).collect();
    let is_byte = |part: &&str| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit());
    expect(
        parts.len() == 6 && parts.iter().all(is_byte),
        "a hardware address, such as 02:42:ac:11:00:02",
    )
}

/// The name of a host or a domain.
pub(in crate::compose) fn host_name(text: &str, _: &WorkloadRules) -> Fit {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    expect(
        text.len() <= 253 && text.chars().all(is_plain),
        "a host's name",
    )
}
