//! What is published is reached through tunnels of Cloudflare: made when it serves, kept over a crash, gone when it is not published
//! any more. Cloudflare is one on this machine, and so is a stand-in for its connector.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use easyenclave_tests::program_given;
use easyenclave_tunnel::testing::server::{ACCOUNT, Server, TOKEN, ZONE, ZONE_NAME};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::harness::{Fleet, condition, deployment, find, target};

const STAND_IN: &str = include_str!("../../../agent/src/connector/stand_in.py");

/// How the tokens of tunnels begin at this Cloudflare.
const CONNECTOR_TOKEN: &str = "connector-token-";

/// A fleet whose tunnels are made at this server; nothing runs yet. None where there is no Python for the stand-in.
pub(crate) fn fleet(server: &Server) -> Option<Fleet> {
    program_given("python3", "Debian: apt-get install python3")?;
    let api = server.api();
    let mut fleet = Fleet::with(|root| {
        let mut files = easyenclave::examples::files(Some(root));
        files.retain(|path, _| !path.starts_with("deployments/"));
        let fleet = format!(
            "apiVersion: easyenclave.dev/v1\nkind: Fleet\nmetadata:\n  name: test\nspec:\n  status:\n    pushesPerMinute: 600\n  \
             timing:\n    lostAfter: 20s\n  tunnel:\n    cloudflare:\n      accountId: {ACCOUNT}\n      zoneId: {ZONE}\n      \
             zone: {ZONE_NAME}\n      apiUrl: {api}\n"
        );
        files.insert("fleet.yaml".into(), fleet.into());
        files.insert("capacity/tiny.yaml".into(), target(4, 0).into());
        files.insert(
            "deployments/acme/web.yaml".into(),
            deployment("web", 1, "").into(),
        );
        files
    });
    let tools = fleet.path("tools");
    fs::create_dir(&tools).expect("made");
    fs::write(tools.join("cloudflared"), STAND_IN).expect("written");
    fs::set_permissions(tools.join("cloudflared"), fs::Permissions::from_mode(0o755)).expect("set");
    let path = std::env::var_os("PATH").expect("a path");
    let path = std::env::join_paths([tools].into_iter().chain(std::env::split_paths(&path)));
    let path = path.expect("a path").into_string().expect("UTF-8");
    fleet.environment = vec![("PATH", path), ("CLOUDFLARE_API_TOKEN", TOKEN.to_owned())];
    Some(fleet)
}

/// Where the only replica of `acme/web` is reached.
fn url(status: &Value) -> &Value {
    &find(&status["deployments"], "deployment", "acme/web")["replicas"][0]["url"]
}

/// The processes of connectors.
pub(crate) fn connectors(fleet: &Fleet) -> Vec<u32> {
    let found = fleet.processes().into_iter();
    let found = found.filter(|process| process.role.as_deref() == Some("connector"));
    found.map(|process| process.pid).collect()
}

/// Every file of the fleet's folder, and of every process its arguments and environment.
fn places(fleet: &Fleet) -> Vec<PathBuf> {
    let mut folders = vec![fleet.path("")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    let processes = fs::read_dir("/proc").expect("a Linux system").flatten();
    files.extend(
        processes.flat_map(|entry| ["cmdline", "environ"].map(|file| entry.path().join(file))),
    );
    files
}

/// Those that hold this text.
fn holding(fleet: &Fleet, text: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    places(fleet).into_iter().filter(holds).collect()
}

#[test]
fn what_is_published_is_reached_through_a_tunnel_until_it_is_not() {
    let runtime = Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start());
    let others: BTreeSet<String> = [
        server.put_tunnel("ee.test-2.a"),
        server.put_tunnel("control-plane"),
        server.put_record(
            "CNAME",
            "shop.example.com",
            "shop.example.net",
            Some("somebody's"),
        ),
    ]
    .into();
    let before = server.shown(&others);
    let Some(mut fleet) = fleet(&server) else {
        return;
    };
    fleet.start_serve();
    fleet.start_worker();

    // It is made when the replica serves, and nobody is told of it before it is connected.
    let status = fleet.wait_running(1);
    let agent =
        find(&status["deployments"], "deployment", "acme/web")["replicas"][0]["agent"].clone();
    let agent = agent.as_str().expect("a name");
    let made = [
        format!("tunnel ee.test.{agent}"),
        format!("{agent}.example.com -> ee.test.{agent}"),
    ];
    let ours = || {
        let mut summary = server.summary();
        summary.retain(|line| line.contains("ee.test."));
        summary
    };
    fleet.until("its tunnel is made", || {
        made.iter().all(|line| ours().contains(line))
    });
    fleet.until("its connector runs", || connectors(&fleet).len() == 1);
    let status = fleet.status().expect("a status");
    assert_eq!(*url(&status), Value::Null);
    let web = find(&status["deployments"], "deployment", "acme/web");
    assert_eq!(condition(web, "Exposed")["reason"], "NotAllPublished");
    fs::write(fleet.path("tools/connected"), "").expect("written");
    let address = format!("https://{agent}.example.com/");
    fleet.wait("it is reached through the tunnel", |status| {
        url(status).as_str() == Some(&address)
    });

    // What the connector was given is nowhere but with it; the one that it notes is the proof that the search finds.
    let found = holding(&fleet, CONNECTOR_TOKEN);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("connector/starts"), "{found:?}");
    let found = holding(&fleet, TOKEN);
    let is_environment = |path: &&PathBuf| path.ends_with("environ");
    assert!(
        found.iter().all(|path| is_environment(&path)) && !found.is_empty(),
        "{found:?}"
    );

    for process in fleet.processes() {
        let own = PathBuf::from(format!("/proc/{}/environ", process.pid));
        assert!(
            !found.contains(&own),
            "neither agents nor what they start have it"
        );
    }

    // A crash of the reconciler takes nothing away.
    let connector = connectors(&fleet);
    fleet.kill_serve();
    fleet.start_serve();
    let asked = server.said().len();
    fleet.until("it has looked again", || server.said().len() > asked + 4);
    fleet.wait("it is reached as before", |status| {
        url(status).as_str() == Some(&address)
    });
    assert_eq!(connectors(&fleet), connector);
    assert_eq!(
        server
            .changes()
            .iter()
            .filter(|change| change.starts_with("POST"))
            .count(),
        2,
        "made once"
    );

    // Nor does it stay when it is published no more.
    let hidden = deployment("web", 1, "").replace("  expose: {}\n", "");
    fleet.commit("deployments/acme/web.yaml", Some(&hidden));
    fleet.until("its tunnel is gone", || ours().is_empty());
    fleet.until("its connector has ended", || connectors(&fleet).is_empty());
    assert_eq!(fleet.workloads().len(), 1, "it runs on");
    assert_eq!(
        server.shown(&others),
        before,
        "what is not ours is as it was"
    );
    fleet.stop();
}

#[test]
fn a_copy_of_the_data_folder_that_is_started_beside_takes_no_tunnel_away() {
    let runtime = Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start());
    let Some(mut fleet) = fleet(&server) else {
        return;
    };
    let shown = deployment("web", 1, "");
    let hidden = shown.replace("  expose: {}\n", "");
    fleet.commit("deployments/acme/web.yaml", Some(&hidden));
    fleet.start_serve();
    fleet.start_worker();
    fleet.wait_running(1);
    fleet.kill_serve();
    fleet.copy_data();
    fleet.start_serve();
    fleet.commit("deployments/acme/web.yaml", Some(&shown));
    fleet.wait("it is published", |status| {
        let web = find(&status["deployments"], "deployment", "acme/web");
        condition(web, "Exposed")["reason"] == "NotAllPublished"
    });
    fleet.until("its tunnel is made", || connectors(&fleet).len() == 1);
    let made = server.summary();
    // The copy knows of an agent on which nothing is published, and that is not heard any more.
    let copy = fleet.start_copy();
    fleet.until("the copy would take it away", || {
        fleet.log("copy.log").contains("tunnels_kept")
    });
    assert_eq!(server.summary(), made);
    drop(copy);
    let changes = server.changes();
    let removed = |change: &String| change.starts_with("DELETE");
    assert!(!changes.iter().any(removed), "{changes:?}");
    fleet.stop();
}
