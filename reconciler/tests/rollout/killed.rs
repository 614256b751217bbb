//! Fifty replicas, two of which may be away, while agents are killed at random. Looked at from outside: who answers with
//! which version, and what the reconciler has decided.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::{Dice, Fleet, deployment, signal, target};

const REPLICAS: u32 = 50;

/// `maxUnavailable`.
const MOST: usize = 2;

/// So many agents are killed at least, one after the other and two at once by turns.
const KILLS: usize = 6;

const SEED: u64 = 5;

/// A workload that takes longer to answer is not available. On a busy machine they take much less.
const LIMIT: Duration = Duration::from_secs(2);

/// What is known from outside.
struct Watch<'f> {
    fleet: &'f Fleet,
    start: Instant,
    /// So much of the reconciler's log was read.
    read: usize,
    /// Agents that were told to run the new version in place of the old one, and do not answer with it yet.
    taken: BTreeSet<String>,
    /// Agents that were given a replica in place of a lost one, and do not answer yet.
    replacing: BTreeSet<String>,
    /// Agents that run the old version as far as was decided.
    old: BTreeSet<String>,
    /// Each time that a replica was taken away: whose replicas were away then as the reconciler knew, that one included.
    away: Vec<BTreeSet<String>>,
    killed: BTreeSet<String>,
    workloads: Workloads,
    rows: Vec<Row>,
}

/// One look.
struct Row {
    at: Duration,
    ready: usize,
    updated: usize,
    killed: usize,
    taken: usize,
}

impl<'f> Watch<'f> {
    fn new(fleet: &'f Fleet) -> Self {
        let mut workloads = Workloads::default();
        let old = workloads.answering(fleet).into_keys().collect();
        Self {
            fleet,
            start: Instant::now(),
            read: fleet.log("serve.log").len(),
            taken: BTreeSet::new(),
            replacing: BTreeSet::new(),
            old,
            away: Vec::new(),
            killed: BTreeSet::new(),
            workloads,
            rows: Vec::new(),
        }
    }

    /// Reads what was decided before it asks who answers: what was decided on a replica's being ready is then seen ready.
    fn look(&mut self) -> usize {
        let log = self.fleet.log("serve.log");
        // The last line may be half written.
        let whole = log.rfind('\n').map_or(0, |end| end + 1).max(self.read);
        for line in log[self.read..whole].lines() {
            self.decided(line);
        }
        self.read = whole;
        let answers = self.workloads.answering(self.fleet);
        let is_new = |order: &String| answers.get(order).is_some_and(|version| version == "2");
        self.taken
            .retain(|order| !is_new(order) && !self.killed.contains(order));
        self.replaced(&answers);
        let updated = answers.values().filter(|version| *version == "2").count();
        self.rows.push(Row {
            at: self.start.elapsed(),
            ready: answers.len(),
            updated,
            killed: self.killed.len(),
            taken: self.taken.len(),
        });
        assert!(
            self.taken.len() <= MOST,
            "{:?}\n{}",
            self.taken,
            self.table()
        );
        updated
    }

    /// Forgets who replaces a lost one and answers. What was away when a replica was taken was no more than may be: what
    /// answers by now may have done so then, and a killed one was not known to be away.
    fn replaced(&mut self, answers: &BTreeMap<String, String>) {
        let (taken, killed, replacing) = (&self.taken, &self.killed, &mut self.replacing);
        let is_silent = |order: &String| !answers.contains_key(order) && !killed.contains(order);
        let is_away = |order: &String| taken.contains(order) || is_silent(order);
        for order in replacing.extract_if(.., |order| !is_silent(order)) {
            if answers.get(&order).is_some_and(|version| version == "1") {
                self.old.insert(order);
            }
        }
        for away in std::mem::take(&mut self.away) {
            let away: Vec<_> = away.into_iter().filter(is_away).collect();
            assert!(away.len() <= MOST, "{away:?}\n{}", self.table());
        }
    }

    /// `decided action=assign acme/web to AGENT generation ...`, and what else takes a replica away.
    fn decided(&mut self, line: &str) {
        let line = line.split("action=").nth(1).unwrap_or_default();
        let words: Vec<&str> = line
            .split_whitespace()
            .map(|word| word.trim_matches('"'))
            .collect();
        let agent = match words.as_slice() {
            ["assign" | "unassign", "acme/web", "to" | "from", agent, ..] => agent,
            _ => return,
        };
        let agent = (*agent).to_owned();
        if self.old.remove(&agent) {
            self.taken.insert(agent);
            self.away.push(&self.taken | &self.replacing);
        } else if words[0] == "assign" && !self.taken.contains(&agent) {
            self.replacing.insert(agent);
        }
    }

    fn kill(&mut self, dice: &mut Dice) {
        let agents = self.fleet.agents();
        let at = dice.below(agents.len() as u64);
        let agent = &agents[usize::try_from(at).expect("small")];
        signal(agent.pid, "KILL");
        self.killed.insert(agent.order.clone());
        self.old.remove(&agent.order);
    }

    fn table(&self) -> String {
        let mut text = String::from("   time  ready  updated  killed  taken by us\n");
        let mut last = None;
        for row in &self.rows {
            let second = row.at.as_secs();
            let shown = last.replace(second) != Some(second);
            if shown || row.taken > MOST {
                let Row {
                    ready,
                    updated,
                    killed,
                    taken,
                    ..
                } = row;
                let at = row.at.as_secs_f32();
                text += &format!("{at:>6.1}s {ready:>6} {updated:>8} {killed:>7} {taken:>12}\n");
            }
        }
        text
    }
}

#[test]
fn fifty_replicas_roll_out_two_at_a_time_while_agents_are_killed() {
    let rollout = format!("  rollout:\n    maxUnavailable: {MOST}\n");
    let fleet = Fleet::new(REPLICAS, 4);
    let first = deployment("web", REPLICAS, &rollout);
    let owner = fleet
        .file("owners/acme.yaml")
        .replace("agents: 20", "agents: 100");
    fleet.commit_all(&[
        ("owners/acme.yaml", Some(&owner)),
        ("capacity/tiny.yaml", Some(&target(70, 4))),
        ("deployments/acme/web.yaml", Some(&first)),
    ]);
    let mut fleet = fleet;
    fleet.start_serve();
    fleet.start_worker();
    fleet.wait_running(u64::from(REPLICAS));
    let mut watch = Watch::new(&fleet);
    assert_eq!(watch.old.len(), REPLICAS as usize, "all answer before");
    let second = first.replace("VERSION: \"1\"", "VERSION: \"2\"");
    fleet.commit("deployments/acme/web.yaml", Some(&second));
    let mut dice = Dice(SEED);
    let mut next_kill = 3;
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let begun = Instant::now();
        let updated = watch.look();
        if updated == REPLICAS as usize {
            break;
        }
        assert!(begun < deadline, "{}", watch.table());
        if watch.killed.len() < KILLS && updated >= next_kill {
            watch.kill(&mut dice);
            if watch.killed.len() % 3 == 2 {
                watch.kill(&mut dice);
            }
            next_kill = updated + 4 + usize::try_from(dice.below(4)).expect("small");
        }
        std::thread::sleep(Duration::from_millis(100).saturating_sub(begun.elapsed()));
    }
    let samples = watch.rows.len();
    let most = watch.rows.iter().map(|row| row.taken).max();
    let least = watch.rows.iter().map(|row| row.ready).min();
    println!(
        "seed {SEED}, {samples} looks; at most taken by us: {most:?}; fewest ready: {least:?}; not in time: {}",
        watch.workloads.slow
    );
    println!("{}", watch.table());
    assert!(
        watch.killed.len() >= KILLS,
        "all were killed before its end"
    );
    drop(watch);
    fleet.wait_running(u64::from(REPLICAS));
    fleet.stop();
}

/// A workload as its surroundings tell.
#[derive(Debug, Clone)]
struct Workload {
    order: String,
    port: u16,
    version: String,
}

impl Workload {
    fn read(pid: u32) -> Option<Self> {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let environ = String::from_utf8_lossy(&environ).into_owned();
        let value = |name: &str| {
            let entry = environ.split('\0').find(|entry| entry.starts_with(name));
            entry.map(|entry| entry[name.len()..].to_owned())
        };
        Some(Self {
            order: value("EASYENCLAVE_ORDER=")?,
            port: value("PORT=")?.parse().ok()?,
            version: value("VERSION=")?,
        })
    }
}

/// The workloads of a fleet that answer.
#[derive(Default)]
struct Workloads {
    known: BTreeMap<u32, Workload>,
    /// How often one was asked that did not answer in time.
    slow: usize,
}

impl Workloads {
    /// By the order of their agents. Only processes that were not seen before are looked at closely.
    fn answering(&mut self, fleet: &Fleet) -> BTreeMap<String, String> {
        let pids: BTreeSet<u32> = std::fs::read_dir("/proc")
            .expect("a Linux system")
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        self.known.retain(|pid, _| pids.contains(pid));
        if pids.iter().any(|pid| !self.known.contains_key(pid)) {
            let workloads = fleet.workloads().into_iter();
            let new = workloads.filter(|process| !self.known.contains_key(&process.pid));
            let new: Vec<_> = new.collect();
            self.known.extend(
                new.iter()
                    .filter_map(|it| Some((it.pid, Workload::read(it.pid)?))),
            );
        }
        let mut answering = BTreeMap::new();
        for workload in self.known.values() {
            match ask(workload.port) {
                Answer::Ready => {
                    answering.insert(workload.order.clone(), workload.version.clone());
                }
                Answer::Slow => self.slow += 1,
                Answer::None => {}
            }
        }
        answering
    }
}

/// What came of asking a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Ready,
    /// None within [`LIMIT`]: whoever asks for a page has given up by then.
    Slow,
    None,
}

fn ask(port: u16) -> Answer {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.ends_with(b"200"))
    };
    match ask() {
        Ok(true) => Answer::Ready,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Answer::Slow
        }
        Ok(false) | Err(_) => Answer::None,
    }
}
