//! How a machine is reached, and what it calls its host: the network that QEMU makes by itself, in which every machine
//! has the same address, and two ports of this host that lead to it.

use std::io;
use std::net::TcpListener;

/// The machine's address, as it sees it.
pub(super) const GUEST: &str = "10.0.2.15";
/// This host's own loopback, as the machine sees it.
const HOST: &str = "10.0.2.2";
/// Where the agent listens in its machine.
pub(super) const AGENT: u16 = 8081;
/// Where the agent takes connections for its workload.
pub(super) const WORKLOAD: u16 = 8080;

/// The ports of 127.0.0.1 that lead to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    /// To its agent.
    pub(super) agent: u16,
    /// To its workload.
    pub(super) workload: u16,
}

impl Ports {
    /// Two that nobody listens on now. Somebody may before QEMU does; then it ends at once, and the next try has
    /// others.
    pub(super) fn free() -> io::Result<Self> {
        let listen = || TcpListener::bind(("127.0.0.1", 0));
        let (agent, workload) = (listen()?, listen()?);
        Ok(Self {
            agent: agent.local_addr()?.port(),
            workload: workload.local_addr()?.port(),
        })
    }
}

/// An address as a machine has to write it: this host's own loopback is another name there.
pub(super) fn from_inside(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (origin, path) = rest.split_at(end);
    for name in ["127.0.0.1", "localhost", "[::1]"] {
        let port = origin.strip_prefix(name);
        if let Some(port) = port.filter(|port| port.is_empty() || port.starts_with(':')) {
            return format!("{scheme}://{HOST}{port}{path}");
        }
    }
    url.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_of_this_host_has_another_name_inside() {
        for (outside, inside) in [
            ("http://127.0.0.1:8080", "http://10.0.2.2:8080"),
            ("http://localhost:8080/api", "http://10.0.2.2:8080/api"),
            ("http://[::1]:8080", "http://10.0.2.2:8080"),
            ("https://localhost", "https://10.0.2.2"),
            ("http://127.0.0.11:8080", "http://127.0.0.11:8080"),
            ("https://localhost.example", "https://localhost.example"),
            (
                "https://cp.example/127.0.0.1",
                "https://cp.example/127.0.0.1",
            ),
            ("nothing", "nothing"),
        ] {
            assert_eq!(from_inside(outside), inside);
        }
    }

    #[test]
    fn two_ports_are_two() {
        let ports = Ports::free().expect("ports");
        assert_ne!(ports.agent, ports.workload);
    }
}
