//! Machines on a bridge: a real one, in a network of the test's own, in which the test runs itself once more.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use easyenclave_capacity::conformance::Stand;
use easyenclave_capacity::qemu::Network;
use easyenclave_tests::given;
use tokio::process::Command;
use tokio::time::timeout;

use crate::kernel::Then;
use crate::qemu::{QemuStand, skipped};

/// Set where the test runs in its own network.
const INSIDE: &str = "EASYENCLAVE_TEST_BRIDGE";

/// The bridge.
const BRIDGE: &str = "ee-test";

/// QEMU's helper connects to bridges that a file of the system allows: it gets one of its own, too.
const GROUND: &str = "set -e
cp -a /etc \"$1/etc\"
mkdir -p \"$1/etc/qemu\"
echo \"allow $2\" >\"$1/etc/qemu/bridge.conf\"
mount --bind \"$1/etc\" /etc
ip link set lo up
ip link add \"$2\" type bridge
ip link set \"$2\" up
shift 2
exec \"$@\"";

/// Whether this machine lets nobody make networks, so that this test cannot be.
fn closed() -> bool {
    let root = rustix::process::geteuid().is_root();
    let tap = Path::new("/dev/net/tun").exists();
    let found = (root && tap).then_some(());
    let found = found.ok_or("there is no way to make one");
    given("a network of its own", "as root, with /dev/net/tun", found).is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_connected_to_its_bridge_and_leaves_nothing_on_it() {
    if std::env::var_os(INSIDE).is_some() {
        return inside().await;
    }
    if skipped() || closed() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", GROUND, "ground"]);
    command.arg(folder.path()).arg(BRIDGE);
    command.arg(std::env::current_exe().expect("a program"));
    let name = "bridge::a_machine_is_connected_to_its_bridge_and_leaves_nothing_on_it";
    command.args([name, "--exact", "--nocapture"]);
    command
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(Duration::from_secs(60), command.output()).await;
    let output = output.expect("in time").expect("started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{output:?}");
    assert!(text.contains("1 passed"), "{text}");
}

async fn inside() {
    let network = Network::Bridge(BRIDGE.parse().expect("a name"));
    let stand = QemuStand::on(network, "up\n", Then::Wait);
    let mut request = stand.request("a", |_| ());
    request.spec.reconciler_url = "http://10.77.0.1:8080".into();
    let provider = stand.provider();
    provider.ensure(&request).await.expect("ensured");
    let ports = ports().await;
    assert_eq!(ports.lines().count(), 1, "{ports}");
    provider.remove(&request.order).await.expect("removed");
    assert_eq!(self::ports().await, "");
    request.spec.reconciler_url = "http://127.0.0.1:8080".into();
    let error = provider.ensure(&request).await.expect_err("out of reach");
    assert_eq!(error.to_string(), "the machine cannot be made here");
}

/// What is connected to the bridge, one a line.
async fn ports() -> String {
    let mut command = Command::new("ip");
    command.args(["-oneline", "link", "show", "master", BRIDGE]);
    let output = command.output().await.expect("started");
    String::from_utf8(output.stdout).expect("text")
}
