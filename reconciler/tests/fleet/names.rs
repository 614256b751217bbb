//! The name of a deployment leads to a replica that serves, whatever happens to the others: over roll-outs, a lost store, and
//! hands at Cloudflare. It is visited all the time, as a browser's request would come: by its record, its tunnel's rules, and the
//! workload behind them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use easyenclave_tunnel::testing::server::Server;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::harness::{Fleet, condition, deployment, find};
use crate::tunnels::{connectors, fleet};

const WEB: &str = "deployments/acme/web.yaml";
const POLICY: &str = "policies/simulated.yaml";
const NAME: &str = "www.example.com";
/// Longer than any answer takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Two replicas under a name.
fn web(version: &str, hostname: &str) -> String {
    deployment("web", 2, "")
        .replace("VERSION: \"1\"", &format!("VERSION: \"{version}\""))
        .replace(
            "  expose: {}\n",
            &format!("  expose:\n    hostname: {hostname}\n"),
        )
}

/// The agent that a name leads to.
fn front(server: &Server, name: &str) -> Option<String> {
    let prefix = format!("{name} -> ee.test.");
    let lines = server.summary();
    let mut fronts = lines.iter().filter_map(|line| line.strip_prefix(&prefix));
    fronts.next().map(ToOwned::to_owned)
}

/// Goes where a name leads, as the edge does. Says to whom it came.
fn visit(server: &Server, name: &str) -> Result<String, String> {
    let agent = front(server, name).ok_or("there is no such name")?;
    let tunnels = server.tunnels();
    let tunnel = tunnels.iter().find(|tunnel| {
        tunnel["name"] == format!("ee.test.{agent}") && tunnel["deleted_at"].is_null()
    });
    let tunnel = tunnel.ok_or("its tunnel is gone")?;
    let rules = tunnel["config"]["ingress"].as_array();
    let mut rules = rules.into_iter().flatten();
    let rule = rules.find(|rule| rule["hostname"] == name || rule["hostname"].is_null());
    let service = rule.and_then(|rule| rule["service"].as_str());
    let address = service.and_then(|service| service.strip_prefix("http://"));
    let address = address.ok_or_else(|| format!("{agent} lets it not in: {tunnel}"))?;
    let answer = get(address).map_err(|error| format!("{agent} at {address}: {error}"))?;
    match answer.starts_with("HTTP/1.1 200") {
        true => Ok(agent),
        false => Err(format!("{agent} at {address}: {answer}")),
    }
}

fn get(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Visits a name until it is told to stop: to whom it led, one after the other.
struct Visitor {
    stop: Arc<AtomicBool>,
    visits: JoinHandle<(Vec<String>, usize, Vec<String>)>,
}

impl Visitor {
    fn start(server: &Arc<Server>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (server, until) = (Arc::clone(server), Arc::clone(&stop));
        let visits = thread::spawn(move || {
            let (mut path, mut count, mut failed) = (Vec::<String>::new(), 0, Vec::new());
            while !until.load(Ordering::Relaxed) {
                count += 1;
                let before = front(&server, NAME);
                match visit(&server, NAME) {
                    Ok(agent) if path.last() != Some(&agent) => path.push(agent),
                    Ok(_) => {}
                    // Where it led when the visit began, it does not lead any more.
                    Err(_) if before.is_some() && front(&server, NAME) != before => {}
                    Err(error) => failed.push(error),
                }
                thread::sleep(Duration::from_millis(5));
            }
            (path, count, failed)
        });
        Self { stop, visits }
    }

    /// Where it led, all the time.
    fn path(self, what: &str) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let (path, count, failed) = self.visits.join().expect("no panic");
        println!("{what}: {count} visits, {} failed, {path:?}", failed.len());
        assert!(failed.is_empty(), "{what}: {failed:#?}");
        path
    }
}

fn row(status: &Value) -> &Value {
    find(&status["deployments"], "deployment", "acme/web")
}

fn is_reached(status: &Value, name: &str) -> bool {
    let web = row(status);
    web["url"].as_str() == Some(&format!("https://{name}/"))
        && condition(web, "Exposed")["status"] == "True"
}

/// How often it was decided where a name leads.
fn decisions(fleet: &Fleet) -> usize {
    fleet
        .log("serve.log")
        .matches("decided action=point ")
        .count()
}

#[test]
fn a_name_leads_to_a_replica_that_serves_at_every_moment() {
    let runtime = Runtime::new().expect("a runtime");
    let server = Arc::new(runtime.block_on(Server::start()));
    let Some(mut fleet) = fleet(&server) else {
        return;
    };
    fleet.commit(WEB, Some(&web("1", NAME)));
    fleet.start_serve();
    fleet.start_worker();

    // It leads nowhere before a replica is trusted, healthy and connected.
    fleet.wait_running(2);
    fleet.until("its connectors run", || connectors(&fleet).len() == 2);
    assert_eq!(front(&server, NAME), None);
    let status = fleet.wait("it says what it waits for", |status| {
        row(status)["waits"].to_string().contains("NoFront")
    });
    assert_eq!(row(&status)["hostname"], NAME);
    assert_eq!(condition(row(&status), "Exposed")["status"], "False");
    fs::write(fleet.path("tools/connected"), "").expect("written");
    let status = fleet.wait("it is reached", |status| is_reached(status, NAME));
    let old = row(&status)["workload"].clone();

    let visitor = Visitor::start(&server);
    fleet.commit(WEB, Some(&web("2", NAME)));
    fleet.wait("the version is out", |status| {
        row(status)["workload"] != old
            && row(status)["updated"] == 2
            && row(status)["ready"] == 2
            && is_reached(status, NAME)
    });
    let path = visitor.path("a roll-out");
    assert_eq!(path.len(), 2, "it moves once");

    // With the store everything is forgotten but what is there.
    let visitor = Visitor::start(&server);
    let decided = decisions(&fleet);
    fleet.lose_store();
    fleet.start_serve();
    fleet.until("it is decided anew", || decisions(&fleet) > decided);
    fleet.wait("it is known again", |status| is_reached(status, NAME));
    // It stays where it is, unless the other replica is published again before that one: then it moves to the other.
    assert!(visitor.path("a lost store").len() <= 2);
    let before = front(&server, NAME);

    // Who serves is killed: the name moves to the other.
    let agents = fleet.agents();
    let agent = agents
        .iter()
        .find(|agent| Some(&agent.order) == before.as_ref());
    crate::harness::signal(agent.expect("it runs").pid, "KILL");
    fleet.until("it leads to the other", || {
        front(&server, NAME) != before && visit(&server, NAME).is_ok()
    });
    fleet.stop();
}

#[test]
fn a_name_goes_with_what_it_was_for_and_comes_back_when_others_take_it() {
    let runtime = Runtime::new().expect("a runtime");
    let server = Arc::new(runtime.block_on(Server::start()));
    let others: BTreeSet<String> = [
        server.put_tunnel("ee.test-2.a"),
        server.put_record("CNAME", "shop.example.com", "shop.example.net", None),
    ]
    .into();
    let before = server.shown(&others);
    let Some(mut fleet) = fleet(&server) else {
        return;
    };
    fs::write(fleet.path("tools/connected"), "").expect("written");
    fleet.commit(WEB, Some(&web("1", NAME)));
    fleet.start_serve();
    fleet.start_worker();
    fleet.wait("it is reached", |status| is_reached(status, NAME));

    // Somebody takes the name off the edge, where it resolves for nobody: the next listing puts it back.
    let record = || {
        let mut records = server.records().into_iter();
        records.find(|record| record["name"] == NAME)
    };
    let id = record().expect("it is there")["id"].clone();
    let id = id.as_str().expect("an id");
    fleet.kill_serve();
    server.set_record(id, "proxied", false.into());
    fleet.start_serve();
    fleet.until("it is served again", || {
        record().is_some_and(|record| record["proxied"] == true)
    });
    fleet.wait("it is reached as before", |status| is_reached(status, NAME));

    // Another name in its place.
    fleet.commit(WEB, Some(&web("1", "app.example.com")));
    fleet.wait("it has another name", |status| {
        is_reached(status, "app.example.com")
    });
    fleet.until("the first is gone", || front(&server, NAME).is_none());
    fleet.commit(WEB, Some(&web("1", NAME)));
    fleet.wait("it has the first again", |status| is_reached(status, NAME));

    // A policy that trusts none of them ends it all.
    let trusted = fleet.file(POLICY);
    let at = trusted.find("mrtd: ").expect("a measurement") + "mrtd: ".len();
    let mut outlawed = trusted.clone();
    outlawed.replace_range(at..at + 96, &"ab".repeat(48));
    let ours = || {
        server
            .summary()
            .iter()
            .any(|line| line.contains("ee.test."))
    };
    fleet.commit(POLICY, Some(&outlawed));
    fleet.until("nothing leads to anybody", || !ours());
    fleet.until("no connector runs", || connectors(&fleet).is_empty());
    assert_eq!(fleet.workloads().len(), 2, "they run on");
    let again = format!("# The image is trusted again.\n{trusted}");
    fleet.commit(POLICY, Some(&again));
    fleet.wait("it is reached again", |status| is_reached(status, NAME));

    // Nothing is left of what is published no more.
    let hidden = deployment("web", 2, "").replace("  expose: {}\n", "");
    fleet.commit(WEB, Some(&hidden));
    fleet.until("all is gone", || !ours());
    fleet.commit(WEB, Some(&web("1", NAME)));
    fleet.wait("it is reached once more", |status| is_reached(status, NAME));

    // Nor of a deployment that is removed, once a person has said so; until then its name leads where it led.
    let before_removal = front(&server, NAME);
    fleet.commit(WEB, None);
    let status = fleet.wait("the removal is held", |status| {
        status["fleet"]["held"][0]["digest"].is_string()
    });
    assert_eq!(front(&server, NAME), before_removal);
    let digest = status["fleet"]["held"][0]["digest"].as_str();
    let approve = ["approve", digest.expect("a digest"), "--data", "data"];
    assert!(fleet.run(&approve).status.success());
    fleet.until("all is gone", || !ours());
    assert_eq!(
        server.shown(&others),
        before,
        "what is not ours is as it was"
    );
    fleet.stop();
}
