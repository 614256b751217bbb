//! One command boots machines, three at once; their workloads answer through the forwarded ports; and when none is wanted
//! any more, none is left. Prints when each machine reached each stage.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use easyenclave_git::commit_files;
use easyenclave_schemas::Timestamp;
use serde_json::Value;

use crate::ground::{Ground, HELLO, folders, machines};
use crate::harness::{Fleet, PROGRAM, find, now, signal};

const MACHINES: usize = 3;

/// Longer than three machines take to boot on two busy cores.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn one_command_boots_three_machines_whose_workloads_answer_and_none_is_left_when_none_is_wanted() {
    let Some(ground) = Ground::take() else {
        return;
    };
    let mut up = Up::start(&ground);
    let mut times = up.times_until_all_answer();
    let status = up.status().expect("a status");
    for order in launches(&status) {
        times.get_mut(name(&order)).expect("it has answered").order = order.clone();
        let agent = find(&status["agents"], "agent", name(&order));
        assert_eq!(agent["trust"]["state"], "accepted", "{agent}");
        assert_eq!(agent["trust"]["simulated"], true, "{agent}");
        let config = up.fleet.path("up/worker/units").join(name(&order));
        let config = std::fs::read(config.join("config.json")).expect("its configuration");
        let config = ring::digest::digest(&ring::digest::SHA384, &config);
        let named = &agent["trust"]["verdict"]["mrconfigid"];
        assert_eq!(*named, hex::encode(config), "its quotes name what it obeys");
    }
    assert_eq!(times.len(), MACHINES);
    up.want_none();
    let asked = now();
    for (machine, gone) in up.wait_until_gone() {
        times.get_mut(&machine).expect("one of the three").gone = Some(gone);
    }
    println!("{}", table(&times, asked));
    up.stop();
}

/// `up` in a folder of its own, ended with the test, however that ends.
struct Up {
    fleet: Fleet,
    child: Option<Child>,
}

/// When a machine reached its stages.
struct Times {
    /// Its order, as the status has it.
    order: Value,
    /// When its workload answered first.
    answered: Timestamp,
    gone: Option<Timestamp>,
}

impl Up {
    fn start(ground: &Ground) -> Self {
        let fleet = Fleet::with(|_| BTreeMap::from([("README.md".into(), b"unused".to_vec())]));
        let replicas = u32::try_from(MACHINES).expect("few");
        for (path, bytes) in machines(replicas, None) {
            let path = fleet.path("state").join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, bytes).expect("written");
        }
        let log = std::fs::File::create(fleet.path("up.log")).expect("a log");
        let mut command = Command::new(PROGRAM);
        command.arg("up").arg(fleet.path("state"));
        command.arg("--data").arg(fleet.path("up"));
        command.args(["--machines", "qemu", "--image", ground.image()]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(log).spawn().expect("started");
        let child = Some(child);
        Self { fleet, child }
    }

    fn status(&self) -> Option<Value> {
        let status = ["status", "--data", "up", "--output", "json"];
        let output = self.fleet.run(&status);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Looks again and again, and says what `up` said when it is in vain.
    fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            let log = || self.fleet.log("up.log");
            assert!(Instant::now() < deadline, "in vain: {what}\n{}", log());
            sleep(Duration::from_millis(100));
        }
    }

    /// Waits until each machine's workload has answered at its own address, with the machine's verdict.
    fn times_until_all_answer(&self) -> BTreeMap<String, Times> {
        let mut times = BTreeMap::new();
        self.wait("all workloads answer", || {
            let status = self.status()?;
            let hello = find(&status["deployments"], "deployment", "acme/hello");
            for replica in hello["replicas"].as_array()? {
                let (agent, url) = (replica["agent"].as_str()?, replica["url"].as_str());
                if times.contains_key(agent) || !url.is_some_and(|url| answers(url, agent)) {
                    continue;
                }
                let (order, answered, gone) = (Value::Null, now(), None);
                let seen = Times {
                    order,
                    answered,
                    gone,
                };
                times.insert(agent.to_owned(), seen);
            }
            (times.len() == MACHINES).then_some(())
        });
        times
    }

    /// Commits that no replica is wanted, and approves the removal that is held for it.
    fn want_none(&self) {
        let state = self.fleet.path("up/state.git").display().to_string();
        let none = machines(0, None).remove(HELLO);
        let change = BTreeMap::from([(HELLO.to_owned(), none)]);
        let ada = ("Ada", "ada@example.invalid");
        commit_files(&state, "main", &change, "none", ada, 3).expect("committed");
        let digest = self.wait("the removal is held", || {
            let held = &self.status()?["fleet"]["held"][0]["digest"];
            held.as_str().map(str::to_owned)
        });
        assert_eq!(self.machines().len(), MACHINES, "nothing goes unasked");
        let approve = ["approve", &digest, "--reason", "done", "--data", "up"];
        let approved = self.fleet.run(&approve);
        assert!(approved.status.success(), "{approved:?}");
    }

    /// The machines that run, by the labels of processes.
    fn machines(&self) -> BTreeSet<String> {
        let agents = self.fleet.agents().into_iter();
        agents.map(|agent| agent.order).collect()
    }

    fn folders(&self) -> BTreeSet<String> {
        folders(&self.fleet.path("up/worker"))
    }

    /// When each machine's process and folder were gone.
    fn wait_until_gone(&self) -> BTreeMap<String, Timestamp> {
        let all = self.folders();
        let mut gone = BTreeMap::new();
        self.wait("all machines are gone", || {
            let (machines, folders) = (self.machines(), self.folders());
            for machine in &all {
                if !machines.contains(machine) && !folders.contains(machine) {
                    gone.entry(machine.clone()).or_insert_with(now);
                }
            }
            (machines.is_empty() && folders.is_empty()).then_some(())
        });
        gone
    }

    fn stop(&mut self) {
        let mut up = self.child.take().expect("it runs");
        signal(up.id(), "TERM");
        let ended = up.wait().expect("ended");
        assert!(ended.success(), "{}", self.fleet.log("up.log"));
        assert_eq!(self.fleet.processes(), vec![], "nothing is left running");
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Some(mut up) = self.child.take() {
            let _ = up.kill();
            let _ = up.wait();
        }
    }
}

/// The launches that were fulfilled.
fn launches(status: &Value) -> Vec<Value> {
    let orders = status["orders"].as_array().cloned().unwrap_or_default();
    let launch = |order: &Value| order["work"]["launch"].is_object();
    orders
        .into_iter()
        .filter(|order| launch(order) && order["phase"] == "fulfilled")
        .collect()
}

fn name(order: &Value) -> &str {
    order["order"].as_str().expect("a name")
}

/// Whether the workload of this agent answers there, and names it.
fn answers(url: &str, agent: &str) -> bool {
    page(url).is_ok_and(|page| page.starts_with("HTTP/1.1 200 ") && page.contains(agent))
}

fn page(url: &str) -> std::io::Result<String> {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET /?format=json HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut page = String::new();
    stream.take(64 * 1024).read_to_string(&mut page)?;
    Ok(page)
}

/// Seconds from the order to each stage, and from the approval to the end. Status has whole seconds.
fn table(times: &BTreeMap<String, Times>, approved: Timestamp) -> String {
    let mut text = format!("{:<20}", "machine");
    for stage in [
        "opened",
        "claimed",
        "made",
        "booted",
        "registered",
        "answered",
        "gone",
    ] {
        text += &format!("{stage:>11}");
    }
    for (machine, times) in times {
        let at = |value: &Value| {
            value
                .as_str()
                .and_then(|text| text.parse::<Timestamp>().ok())
        };
        let opened = at(&times.order["openedAt"]).expect("a time");
        let stages = ["claimedAt", "madeAt", "bootedAt", "registeredAt"];
        let stages = stages.map(|stage| at(&times.order["times"][stage]));
        text += &format!("\n{machine:<20}{:>11}", 0);
        for stage in stages {
            let stage = stage.expect("a fulfilled order has been through all stages");
            text += &format!("{:>11}", stage.since(opened).as_secs());
        }
        text += &format!("{:>11.1}", times.answered.since(opened).as_secs_f64());
        let gone = times.gone.expect("it is gone");
        text += &format!("{:>11.1}", gone.since(approved).as_secs_f64());
    }
    text
}
