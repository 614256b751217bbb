//! How a machine is reached, and what it calls its host. By QEMU's own network every machine has the same address, and
//! two ports of this host lead to it; on a bridge it is a machine of that network like any other.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::str::FromStr;

use crate::LaunchRequest;

/// The machine's address, as it sees it, in QEMU's own network.
pub(super) const GUEST: &str = "10.0.2.15";
/// This host's own loopback, as the machine sees it there.
const HOST: &str = "10.0.2.2";
/// Where the agent listens in its machine.
pub(super) const AGENT: u16 = 8081;
/// Where the agent takes connections for its workload.
pub(super) const WORKLOAD: u16 = 8080;

/// How machines are connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// By QEMU alone: two ports of this address of the host lead into each machine, and the machine reaches what the
    /// host reaches.
    User(Ipv4Addr),
    /// To this bridge of the host, where somebody gives addresses by DHCP.
    Bridge(Bridge),
}

/// The name of a bridge, as Linux names interfaces: at most 15 of letters, digits, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge(String);

impl Bridge {
    /// The name.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// It is no interface's name.
#[derive(Debug, thiserror::Error)]
#[error("expected a bridge's name: at most 15 letters, digits, `.`, `_` and `-`")]
pub struct NotBridge;

impl FromStr for Bridge {
    type Err = NotBridge;

    fn from_str(name: &str) -> Result<Self, NotBridge> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = (1..=15).contains(&name.len()) && name.bytes().all(plain);
        match fits && ![".", ".."].contains(&name) {
            true => Ok(Self(name.into())),
            false => Err(NotBridge),
        }
    }
}

/// How one machine is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// By these ports of this address.
    User(Ipv4Addr, Ports),
    /// To this bridge, by a card with this address.
    Bridge(Bridge, Mac),
}

impl Link {
    /// A link for the machine of this order.
    pub(super) fn new(network: &Network, request: &LaunchRequest) -> io::Result<Self> {
        Ok(match network {
            Network::User(address) => Self::User(*address, Ports::free(*address)?),
            Network::Bridge(name) => Self::Bridge(name.clone(), Mac::of(request)),
        })
    }

    /// Where others reach the agent and its workload, where that is known before the machine has started.
    pub(super) fn addresses(&self) -> Option<(String, String)> {
        let Self::User(address, ports) = self else {
            return None;
        };
        let url = |port| format!("http://{address}:{port}");
        Some((url(ports.agent), url(ports.workload)))
    }
}

/// The address of a network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mac([u8; 5]);

impl Mac {
    /// All but the first byte of it.
    #[cfg(test)]
    pub(super) fn new(bytes: [u8; 5]) -> Self {
        Self(bytes)
    }

    /// One that no other machine on the bridge has: fleets and hosts know nothing of each other.
    fn of(request: &LaunchRequest) -> Self {
        let (fleet, order, fence) = (&request.fleet, &request.order, request.fence);
        let of = format!("{}/{fleet}/{order}/{fence}", request.spec.reconciler_key);
        let digest = ring::digest::digest(&ring::digest::SHA256, of.as_bytes());
        let mut mac = [0; 5];
        mac.copy_from_slice(&digest.as_ref()[..5]);
        Self(mac)
    }
}

impl std::fmt::Display for Mac {
    /// With the first byte of addresses that belong to no manufacturer.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("02")?;
        self.0.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

/// The ports of this host that lead to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    /// To its agent.
    pub(super) agent: u16,
    /// To its workload.
    pub(super) workload: u16,
}

impl Ports {
    /// Two of an address on which nobody listens now. Somebody may before QEMU does; then it ends at once, and the
    /// next try has others.
    pub(super) fn free(address: Ipv4Addr) -> io::Result<Self> {
        let listen = || TcpListener::bind((address, 0));
        let (agent, workload) = (listen()?, listen()?);
        Ok(Self {
            agent: agent.local_addr()?.port(),
            workload: workload.local_addr()?.port(),
        })
    }
}

/// Why machines on a network cannot reach this URL, if that is sure.
pub(super) fn out_of_reach(network: &Network, url: &str) -> Option<&'static str> {
    let (scheme, name, ..) = loopback(url)?;
    match network {
        Network::Bridge(_) => Some("machines on a bridge do not reach the host's loopback"),
        Network::User(_) if name == "[::1]" => Some("machines reach the host's loopback by IPv4"),
        Network::User(_) if scheme == "https" => {
            Some("machines know the host's loopback by another name than its certificate")
        }
        Network::User(_) => None,
    }
}

/// An address as a machine in QEMU's own network has to write it: this host's own loopback is another name there.
pub(super) fn from_inside(network: &Network, url: &str) -> String {
    match (network, loopback(url)) {
        (Network::User(_), Some((scheme, _, rest))) => format!("{scheme}://{HOST}{rest}"),
        _ => url.to_owned(),
    }
}

/// The scheme of a URL of this host's own loopback, the name that it uses, and what follows.
fn loopback(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    ["127.0.0.1", "localhost", "[::1]"]
        .into_iter()
        .find_map(|name| {
            let after = rest.strip_prefix(name)?;
            let ends = name.len() == end || after.starts_with(':');
            ends.then_some((scheme, name, after))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Network = Network::User(Ipv4Addr::LOCALHOST);

    fn bridge() -> Network {
        Network::Bridge("br0".parse().expect("a name"))
    }

    #[test]
    fn the_loopback_of_this_host_has_another_name_inside() {
        for (outside, inside) in [
            ("http://127.0.0.1:8080", "http://10.0.2.2:8080"),
            ("http://localhost:8080/api", "http://10.0.2.2:8080/api"),
            ("http://localhost/api", "http://10.0.2.2/api"),
            ("http://127.0.0.11:8080", "http://127.0.0.11:8080"),
            ("https://localhost.example", "https://localhost.example"),
            (
                "https://cp.example/127.0.0.1",
                "https://cp.example/127.0.0.1",
            ),
            ("nothing", "nothing"),
        ] {
            assert_eq!(from_inside(&USER, outside), inside);
            assert_eq!(from_inside(&bridge(), outside), outside);
            assert_eq!(out_of_reach(&USER, outside), None, "{outside}");
        }
    }

    #[test]
    fn what_no_machine_would_reach_is_known_before_one_is_made() {
        for (network, url, reason) in [
            (USER, "http://[::1]:8080", "by IPv4"),
            (USER, "https://localhost", "its certificate"),
            (bridge(), "http://127.0.0.1:8080", "on a bridge"),
        ] {
            let why = out_of_reach(&network, url).expect(url);
            assert!(why.contains(reason), "{why}");
        }
        for url in ["http://10.0.0.1:8080", "https://cp.example", "nothing"] {
            assert_eq!(out_of_reach(&bridge(), url), None);
        }
    }

    #[test]
    fn a_bridge_has_the_name_of_an_interface() {
        for name in ["br0", "virbr-1", "a.b_c"] {
            assert_eq!(name.parse::<Bridge>().expect(name).as_str(), name);
        }
        for name in ["", "..", "br0,ifname=eth0", "a/b", "sixteen-letters-"] {
            assert!(name.parse::<Bridge>().is_err(), "{name}");
        }
    }

    #[test]
    fn two_ports_are_two() {
        let ports = Ports::free(Ipv4Addr::LOCALHOST).expect("ports");
        assert_ne!(ports.agent, ports.workload);
    }
}
