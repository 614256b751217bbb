//! Where an agent listens, for itself and for its workload, and what others call that. Which address of its machine
//! others reach, a machine behind DHCP learns when it has started: it is the one from which it reaches the reconciler.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use easyenclave_schemas::wire::AgentConfig;
use reqwest::Url;
use tokio::net::{TcpListener, UdpSocket, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::forward::{self, Door};

/// How long a network may take to have a way to the reconciler.
const WAY: Duration = Duration::from_secs(60);

/// How long one look for it may take.
const LOOK: Duration = Duration::from_secs(5);

/// The pause between two looks.
const BETWEEN: Duration = Duration::from_millis(500);

/// The listener for the agent's own API.
#[derive(Debug)]
pub(crate) struct Ear {
    pub(crate) listener: TcpListener,
    address: SocketAddr,
}

impl Ear {
    /// Listens where the configuration says, and otherwise at a port of 127.0.0.1.
    pub(crate) async fn open(config: &AgentConfig) -> anyhow::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(config.listen.unwrap_or(any))
            .await
            .context("the agent's own port")?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Its address on this machine.
    pub(crate) fn inside(&self) -> String {
        let mut own = self.address;
        if own.ip().is_unspecified() {
            own.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{own}")
    }

    /// Its address for others, where the configuration has none.
    pub(crate) async fn outside(&self, config: &AgentConfig) -> anyhow::Result<String> {
        outside(self.address, config).await
    }
}

/// The door to the workload from outside this machine, where one is wanted.
pub(crate) async fn door(
    config: &AgentConfig,
    server: &mut JoinSet<Infallible>,
) -> anyhow::Result<Option<Door>> {
    let Some(port) = &config.workload else {
        return Ok(None);
    };
    let listener = TcpListener::bind(port.listen)
        .await
        .context("the workload's port")?;
    let address = match &port.address {
        Some(address) => address.clone(),
        None => outside(listener.local_addr()?, config).await?,
    };
    let door = Door::new(address);
    server.spawn(forward::forward(listener, door.port()));
    Ok(Some(door))
}

/// What others call a socket of this machine.
async fn outside(mut socket: SocketAddr, config: &AgentConfig) -> anyhow::Result<String> {
    if socket.ip().is_unspecified() {
        let way = way_to(&config.reconciler_url).await;
        socket.set_ip(way.context("which address of this machine others reach")?);
    }
    Ok(format!("http://{socket}"))
}

/// The address of this machine from which it reaches a URL.
async fn way_to(url: &str) -> anyhow::Result<IpAddr> {
    let url = Url::parse(url).context("reconciler_url")?;
    let host = url.host_str().context("reconciler_url names no host")?;
    let host = host.trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let deadline = Instant::now() + WAY;
    loop {
        let look = timeout(LOOK, look(host, port)).await;
        let look = look.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match look {
            Ok(address) => return Ok(address),
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => sleep(BETWEEN).await,
        }
    }
}

/// Nothing is sent: the system only chooses the way.
async fn look(host: &str, port: u16) -> io::Result<IpAddr> {
    let mut error = io::Error::from(io::ErrorKind::NotFound);
    for reconciler in lookup_host((host, port)).await? {
        let any: IpAddr = match reconciler.is_ipv4() {
            true => Ipv4Addr::UNSPECIFIED.into(),
            false => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        match socket.connect(reconciler).await {
            Ok(()) => return Ok(socket.local_addr()?.ip()),
            Err(other) => error = other,
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_is_known_by_the_address_from_which_it_reaches_the_reconciler() {
        for url in ["http://127.0.0.1:9/", "http://127.0.0.1"] {
            let way = way_to(url).await.expect("a way");
            assert_eq!(way, IpAddr::from(Ipv4Addr::LOCALHOST), "{url}");
        }
    }

    #[tokio::test]
    async fn what_is_no_url_has_no_way() {
        for url in ["nothing", "data:text"] {
            let error = way_to(url).await.expect_err("no way").to_string();
            assert!(error.starts_with("reconciler_url"), "{error}");
        }
    }
}
