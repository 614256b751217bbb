//! Ports of services, single and in ranges, as Compose writes them.

use super::{Fit, expect};
use crate::compose::WorkloadRules;

const SHORT: &str = "PORT, or [ADDRESS:][PORT:]PORT[/tcp|/udp], or ranges of equal length";

/// One port, or a range of them: the first and the last.
type Range = (u16, u16);

/// One port.
pub(in crate::compose) fn port(text: &str, _: &WorkloadRules) -> Fit {
    let is_one = range(text).is_some_and(|(first, last)| first == last);
    expect(is_one, "a port from 1 to 65535")
}

/// A port or a range, or nothing, for the side of the machine.
pub(in crate::compose) fn port_range(text: &str, _: &WorkloadRules) -> Fit {
    let is_any = text.is_empty() || text == "0";
    expect(
        is_any || range(text).is_some(),
        "a port, or a range such as 8000-8010",
    )
}

/// A port that services of the file reach: `PORT[-PORT][/PROTOCOL]`.
pub(in crate::compose) fn expose(text: &str, _: &WorkloadRules) -> Fit {
    let parsed = protocol(text).and_then(range);
    expect(
        parsed.is_some(),
        "PORT or PORT-PORT, and perhaps /tcp or /udp",
    )
}

/// A port in its short form.
pub(in crate::compose) fn short_port(text: &str, _: &WorkloadRules) -> Fit {
    expect(published_ports(text).is_some(), SHORT)
}

/// The ports of a container that a short form names, and whether it fixes those of the machine.
pub(in crate::compose) fn published_ports(text: &str) -> Option<(Range, bool)> {
    let text = protocol(text)?;
    let (rest, container) = match text.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, text),
    };
    let container = range(container)?;
    let Some(rest) = rest else {
        return Some((container, false));
    };
    let (address, machine) = match rest.rsplit_once(':') {
        Some((address, machine)) => (Some(address), machine),
        None => (None, rest),
    };
    if let Some(address) = address {
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<std::net::IpAddr>().ok()?;
    }
    if machine.is_empty() {
        return address.map(|_| (container, false));
    }
    let (first, last) = range(machine)?;
    let is_one = container.0 == container.1;
    (is_one || last - first == container.1 - container.0).then_some((container, true))
}

fn protocol(text: &str) -> Option<&str> {
    match text.split_once('/') {
        None => Some(text),
        Some((ports, "tcp" | "udp" | "sctp")) => Some(ports),
        Some(_) => None,
    }
}

fn range(text: &str) -> Option<Range> {
    let one = |text: &str| {
        let is_plain = text.bytes().all(|c| c.is_ascii_digit());
        text.parse::<u16>()
            .ok()
            .filter(|port| is_plain && *port > 0)
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (one(first)?, one(last)?),
        None => (one(text)?, one(text)?),
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ports_are_taken_apart() {
        let cases = [
            ("80", Some(((80, 80), false))),
            ("8080:80", Some(((80, 80), true))),
            ("22:22", Some(((22, 22), true))),
            ("127.0.0.1:8080:80", Some(((80, 80), true))),
            ("127.0.0.1::80", Some(((80, 80), false))),
            ("[::1]:8080:80", Some(((80, 80), true))),
            ("3000-3005", Some(((3000, 3005), false))),
            ("9090-9091:8080-8081", Some(((8080, 8081), true))),
            ("9000-9005:80", Some(((80, 80), true))),
            ("6060:6060/udp", Some(((6060, 6060), true))),
            ("", None),
            ("0", None),
            ("65536", None),
            ("80/icmp", None),
            (":80", None),
            ("x:80", None),
            ("9090-9092:8080-8081", None),
            ("3005-3000", None),
            ("host:80:80", None),
            ("+80", None),
        ];
        for (text, expected) in cases {
            assert_eq!(published_ports(text), expected, "{text}");
        }
    }
}
