//! Where an agent in a machine of its own is reached, and its workload.

use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::wire::{WorkloadPort, WorkloadState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::fleet::{Agent, Reconciler, SOON, copy};

/// An address that nobody listens on now.
fn free() -> std::net::SocketAddr {
    ([127, 0, 0, 1], easyenclave_tests::port()).into()
}

#[tokio::test]
async fn agent_and_workload_are_reached_where_the_configuration_says() {
    let keypair = Keypair::generate().expect("randomness");
    let reconciler = Reconciler::start(copy(&keypair)).await;
    let (api, outside) = (free(), free());
    let address = format!("http://localhost:{}", api.port());
    let mut agent = Agent::configured(keypair, reconciler, |config| {
        config.listen = Some(api);
        config.address = Some(address.clone());
        config.workload = Some(WorkloadPort {
            listen: outside,
            address: Some("http://machine.example:8080".into()),
        });
    });
    assert_eq!(agent.address().await, address);
    let folder = tempfile::tempdir().expect("a folder");
    let port = folder.path().join("port");
    let script = format!(
        "echo $PORT > {0}.new; mv {0}.new {0}; exec sleep 300",
        port.display()
    );
    agent.run(&script).await;
    let report = agent
        .reported("it is ready", |report| report.state == WorkloadState::Ready)
        .await;
    assert_eq!(report.url.as_deref(), Some("http://machine.example:8080"));
    let told = async {
        loop {
            if let Ok(text) = std::fs::read_to_string(&port) {
                return text.trim().parse::<u16>().expect("a port");
            }
            sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let inside = timeout(SOON, told).await.expect("it has a port");
    let workload = TcpListener::bind(("127.0.0.1", inside))
        .await
        .expect("free");
    let mut visitor = TcpStream::connect(outside).await.expect("open");
    visitor.write_all(b"hello").await.expect("said");
    let (mut inside, _) = workload.accept().await.expect("carried");
    let mut bytes = [0; 5];
    inside.read_exact(&mut bytes).await.expect("heard");
    assert_eq!(&bytes, b"hello");
    // When the workload has been stopped, nothing is behind the door any more.
    let undeploy = agent.undeploy();
    let route = easyenclave_schemas::wire::routes::UNDEPLOY;
    agent.instruct(route, &undeploy).await;
    let stopped =
        |script: &crate::fleet::Script| script.beats.last()?.workload.is_none().then_some(());
    agent.reconciler.until("it has stopped", stopped).await;
    let mut late = TcpStream::connect(outside)
        .await
        .expect("the door is there");
    let mut bytes = Vec::new();
    let _ = timeout(SOON, late.read_to_end(&mut bytes))
        .await
        .expect("hung up");
    assert!(bytes.is_empty());
    agent.stop().await;
}

/// As in a machine that had its address from DHCP, where nobody could write it down before.
#[tokio::test]
async fn a_machine_that_was_told_no_address_finds_its_own() {
    let keypair = Keypair::generate().expect("randomness");
    let reconciler = Reconciler::start(copy(&keypair)).await;
    let port = free().port();
    let mut agent = Agent::configured(keypair, reconciler, |config| {
        config.listen = Some(([0, 0, 0, 0], port).into());
        config.workload = Some(WorkloadPort {
            listen: ([0, 0, 0, 0], 0).into(),
            address: None,
        });
    });
    assert_eq!(agent.address().await, format!("http://127.0.0.1:{port}"));
    agent.run("exec sleep 300").await;
    let report = agent
        .reported("it is ready", |report| report.state == WorkloadState::Ready)
        .await;
    let url = report.url.expect("an address");
    let door: u16 = url
        .strip_prefix("http://127.0.0.1:")
        .and_then(|port| port.parse().ok())
        .expect("a port of this machine");
    assert_ne!(door, port);
    agent.stop().await;
}
