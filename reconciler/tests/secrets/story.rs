//! A secret is never readable: the life of one, from the deployment of what uses it to its end, while everything that is
//! written and runs is searched for its value again and again.

use std::process::{Command, Stdio};
use std::sync::Arc;

use easyenclave_schemas::Digest;

use crate::desk::{Desk, random};
use crate::harness::signal;
use crate::search::{Search, Watch};

/// What runs: it shows that it has both secrets by their digests, which give nothing away of 32 random bytes.
const DEPLOYMENT: &str = r#"apiVersion: easyenclave.dev/v1
kind: Deployment
metadata: {name: web, owner: acme}
spec:
  workload:
    process:
      command:
        - sh
        - -c
        - |
          printf %s "$TOKEN" | sha256sum >token.sum
          sha256sum <"$EASYENCLAVE_SECRETS/key.bin" >key.sum
          exec easyenclave hello-tdx
  replicas: 1
  nodeSize: tiny
  secrets:
    - {name: token, env: TOKEN}
    - {name: key, file: key.bin}
  health:
    probe: {http: {path: /healthz}}
    interval: 100ms
"#;

/// A value for each of the two, with which JSON, shells and logs have their trouble.
struct Values {
    token: Vec<u8>,
    key: Vec<u8>,
}

impl Values {
    fn new() -> Self {
        let token = format!(
            "{}\"\\ %\u{e9}{}",
            hex::encode(random::<16>()),
            hex::encode(random::<8>())
        );
        Self {
            token: token.into_bytes(),
            key: random::<32>().to_vec(),
        }
    }

    fn set(&self, verb: &str, desk: &Desk) {
        desk.set(verb, "acme/token", &self.token);
        desk.set(verb, "acme/key", &self.key);
    }
}

/// Waits until what runs has these values, by the digests that it wrote.
fn until_given(desk: &Desk, values: &Values) {
    let sum = |value: &[u8]| format!("{}  -\n", Digest::of(value));
    let wanted = (sum(&values.token), sum(&values.key));
    desk.fleet.until("the workload has its secrets", || {
        let units = std::fs::read_dir(desk.fleet.path("data/worker/units"));
        let units = units.into_iter().flatten().flatten();
        let read = |unit: &std::fs::DirEntry, name| {
            std::fs::read_to_string(unit.path().join("state/work").join(name)).unwrap_or_default()
        };
        let mut given = units.map(|unit| (read(&unit, "token.sum"), read(&unit, "key.sum")));
        given.any(|given| given == wanted)
    });
    desk.fleet.wait_running(1);
}

#[test]
fn a_secret_is_never_readable_but_by_what_it_is_for() {
    let mut desk = Desk::started();
    let (first, second) = (Values::new(), Values::new());
    let search = Arc::new(Search::new(&[
        ("the first token", &first.token),
        ("the first key", &first.key),
        ("the second token", &second.token),
        ("the second key", &second.key),
    ]));
    let watch = Watch::start(Arc::clone(&search), vec![desk.fleet.path("")]);

    first.set("set", &desk);
    desk.fleet
        .commit("deployments/acme/web.yaml", Some(DEPLOYMENT));
    until_given(&desk, &first);
    assert_eq!(desk.in_memory().len(), 1, "the file is in memory");
    println!("deployed");

    second.set("rotate", &desk);
    until_given(&desk, &second);
    println!("rotated by commit");

    for agent in desk.fleet.agents() {
        signal(agent.pid, "KILL");
    }
    desk.fleet.kill_serve();
    desk.fleet.start_serve();
    let before = desk.in_memory();
    desk.fleet
        .until("what the killed agent had in memory is removed", || {
            before.iter().all(|folder| !folder.exists())
        });
    until_given(&desk, &second);
    println!("agent and reconciler killed, and started again");

    desk.fleet.commit("deployments/acme/web.yaml", None);
    desk.fleet
        .until("nothing is left in memory", || desk.in_memory().is_empty());
    desk.fleet.wait("nothing runs", |status| {
        status["deployments"].as_array().is_some_and(Vec::is_empty)
    });
    println!("undeployed");

    let log = desk.fleet.log("serve.log");
    let released = log.lines().filter(|line| line.contains("secrets_released"));
    assert!(released.count() >= 3, "each release is in the log");
    let (rounds, found) = watch.end();
    assert!(found.is_empty(), "{found:#?}");
    println!("searched {rounds} times: nothing found");
    assert!(rounds > 5, "searched {rounds} times only");
    what_is_planted_is_found(&desk, &search, &first);
    let memory = desk.name_in_memory();
    desk.fleet.stop();
    assert!(Desk::left(&memory).is_empty(), "memory is empty after all");
}

/// The same search, with the value in each kind of place; otherwise it would prove nothing.
fn what_is_planted_is_found(desk: &Desk, search: &Search, values: &Values) {
    let planted = desk.fleet.path("data/store/planted");
    std::fs::write(&planted, [b"x".as_slice(), &values.key, b"y"].concat()).expect("written");
    let log = std::fs::OpenOptions::new()
        .append(true)
        .open(desk.fleet.path("serve.log"));
    let line = format!("DEBUG {:?}\n", String::from_utf8_lossy(&values.token));
    std::io::Write::write_all(&mut log.expect("a log"), line.as_bytes()).expect("written");
    let object = desk.fleet.path("object");
    std::fs::write(&object, hex::encode(&values.key)).expect("written");
    let hashed = desk
        .fleet
        .git(&["hash-object", "-w", &object.display().to_string()]);
    assert!(hashed.status.success());
    std::fs::remove_file(object).expect("removed");
    let sleep = |command: &mut Command| command.spawn().expect("started");
    let line = format!("exec sleep 60 # {}", hex::encode_upper(&values.key));
    let mut children = [
        // It starts nobody, who would outlive it.
        sleep(
            Command::new("sh")
                .args(["-c", "read -r line", &line])
                .stdin(Stdio::piped()),
        ),
        sleep(
            Command::new("sleep")
                .arg("60")
                .env("LEAK", hex::encode(&values.key)),
        ),
    ];
    let found = search.everywhere(&[desk.fleet.path("")]);
    for child in &mut children {
        child.kill().expect("it runs");
        child.wait().expect("ended");
    }
    for place in [
        "/data/store/planted",
        "/serve.log",
        "objects of ",
        "command line ",
        "environment ",
    ] {
        let is_there = found.keys().any(|found| found.contains(place));
        assert!(is_there, "{place} is not in {found:#?}");
    }
    println!("planted in {} places, and found in each", found.len());
}
