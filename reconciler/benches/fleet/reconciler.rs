//! The reconciler, in a process of its own, so that what it takes is its own and nobody else's.

use std::fs;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use easyenclave::api;
use easyenclave::auth::Door;
use easyenclave::clock::{Clock, System};
use easyenclave::metrics::Metrics;
use easyenclave::pass::pass;
use easyenclave::presence::Presence;
use easyenclave::report::{self, Notes};
use easyenclave::source::Source;
use easyenclave::trust::{Judge, Sources};
use easyenclave::world::{Parts, World};
use easyenclave_attestation::simulated::Platform;
use easyenclave_attestation::{NoAuthority, NoCollateral};
use easyenclave_schemas::Secret;
use easyenclave_schemas::signature::Keypair;
use tokio::net::TcpListener;

use crate::setup::{Setup, open};

/// The process, as the benchmark talks to it: a line in, a line out. Ended when dropped.
pub(crate) struct Reconciler {
    child: Child,
    questions: ChildStdin,
    answers: std::io::BufReader<ChildStdout>,
}

impl Reconciler {
    pub(crate) fn start(dir: &Path, setup: &Setup) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.arg("reconciler").arg(dir);
        command.args([&setup.root, &setup.repository]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("started");
        Self {
            questions: child.stdin.take().expect("piped"),
            answers: std::io::BufReader::new(child.stdout.take().expect("piped")),
            child,
        }
    }

    /// The words of its next answer.
    pub(crate) fn answer(&mut self) -> Vec<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        line.split_whitespace().map(str::to_owned).collect()
    }

    pub(crate) fn ask(&mut self, question: &str) -> Vec<String> {
        writeln!(self.questions, "{question}").expect("it listens");
        self.answer()
    }

    /// Resident memory of the whole process, in MiB.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("a Linux system");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kib.expect("the kernel's number") / 1024
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the process does: starts and makes its first plan, serves, and answers questions until its
/// input ends.
pub(crate) fn main(dir: &Path, root: &str, repository: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let started = Instant::now();
    let (world, actions) = runtime.block_on(first_plan(dir, root, repository));
    let restart = started.elapsed().as_secs_f64();
    let (address, thread) = serve(Arc::clone(&world));
    println!("{restart} {actions} {address}");
    for line in std::io::stdin().lines() {
        match line.expect("UTF-8").as_str() {
            "time" => println!("{}", time_of(&thread).as_secs_f64()),
            _ => println!("{}", runtime.block_on(settle(&world))),
        }
    }
}

/// All that a daemon does before its first plan.
async fn first_plan(dir: &Path, root: &str, repository: &str) -> (Arc<World>, usize) {
    let platform = Platform::open_or_create(&dir.join("platform"), System.now()).expect("opened");
    assert_eq!(platform.root_key_id().to_string(), root);
    let world = Arc::new(World::new(Parts {
        clock: Arc::new(System),
        entropy: Arc::new(System),
        presence: Presence::new(System.now()),
        journal: open(dir),
        seed: Secret::new([7; 32]),
        keypair: Keypair::generate().expect("randomness"),
        launcher_key: Secret::new("key".into()),
        judge: Judge::new(
            Sources {
                simulated: Arc::new(platform),
                intel: Arc::new(NoCollateral("not in this bench")),
            },
            Arc::new(NoAuthority),
            Metrics::default(),
        ),
        door: door(),
        keyring: Arc::default(),
        metrics: Metrics::default(),
        public_url: "http://127.0.0.1:9".into(),
    }));
    let source = Source::open(repository, &dir.join("mirror"), "main", None).expect("open");
    assert_eq!(source.refresh(&world).await, None);
    let revision = world.revision().expect("a revision");
    let report = pass(&world, revision, System.now()).await.expect("a pass");
    (world, report.plan.actions.len())
}

fn serve(world: Arc<World>) -> (SocketAddr, String) {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("bound");
            let thread = fs::read_link(Path::new("/proc").join(OWN)).expect("a Linux system");
            sender
                .send((address, thread.display().to_string()))
                .expect("received");
            match api::serve(listener, world, None).await {}
        });
    });
    receiver.recv().expect("started")
}

/// A pass with everything heard, and its status: what a daemon holds all the time.
async fn settle(world: &Arc<World>) -> u32 {
    let revision = world.revision().expect("a revision");
    let report = pass(world, revision, System.now()).await.expect("a pass");
    let records = world.journal.read();
    let status = report::status(&report, &records, &world.presence, &Notes::default(), None);
    status.fleet.counts.replicas_ready
}

/// The thread that asks, in `/proc`.
const OWN: &str = "thread-self";

/// User and system time of a thread; the kernel counts in hundredths of a second.
fn time_of(thread: &str) -> Duration {
    let stat = fs::read_to_string(Path::new("/proc").join(thread).join("stat")).expect("there");
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn door() -> Door {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Door::new().expect("TLS is there")
}
