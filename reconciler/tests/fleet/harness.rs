//! One fleet in a temporary folder, and the means to change it, look at it and hurt it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use easyenclave_attestation::simulated::Platform;
use easyenclave_git::{commit_files, init_repository};
use easyenclave_schemas::{Digest, Timestamp};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_easyenclave");

const AUTHOR: (&str, &str) = ("Ada", "ada@example.invalid");

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A fleet.
pub(crate) struct Fleet {
    dir: TempDir,
    repository: String,
    port: u16,
    serve: Option<Child>,
    pub(crate) worker: Option<Child>,
    /// What the environment of each program has beside this one's.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// What each worker is started with.
    pub(crate) worker_arguments: Vec<String>,
}

/// A deployment document.
pub(crate) fn deployment(name: &str, replicas: u32, extra: &str) -> String {
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  owner: acme\n\
         spec:\n  workload:\n    process:\n      command: [\"easyenclave\", \"hello-tdx\"]\n\
         \x20     env:\n        VERSION: \"1\"\n  replicas: {replicas}\n  nodeSize: tiny\n  health:\n\
         \x20   probe:\n      http:\n        path: /healthz\n    interval: 100ms\n  expose: {{}}\n{extra}"
    )
}

pub(crate) fn target(max: u32, warm: u32) -> String {
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: CapacityTarget\nmetadata:\n  name: tiny\nspec:\n  \
         datacenter: local\n  nodeSize: tiny\n  provider: local\n  policy: simulated\n  max: {max}\n  \
         warm: {warm}\n"
    )
}

impl Fleet {
    /// A fleet with one target and one deployment, `acme/web`; nothing runs yet.
    pub(crate) fn new(replicas: u32, warm: u32) -> Self {
        Self::with(|root| {
            let mut files = easyenclave::examples::files(Some(root));
            files.retain(|path, _| !path.starts_with("deployments/"));
            let fleet = "apiVersion: easyenclave.dev/v1\nkind: Fleet\nmetadata:\n  name: test\nspec:\n  \
                         status:\n    pushesPerMinute: 600\n  timing:\n    lostAfter: 20s\n";
            files.insert("fleet.yaml".into(), fleet.into());
            files.insert("capacity/tiny.yaml".into(), target(40, warm).into());
            files.insert(
                "deployments/acme/web.yaml".into(),
                deployment("web", replicas, "").into(),
            );
            files
        })
    }

    /// A fleet whose state repository starts with these files, under this root; nothing runs yet.
    pub(crate) fn with(files: impl FnOnce(&str) -> BTreeMap<String, Vec<u8>>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let platform = Platform::open_or_create(&dir.path().join("data/platform"), now());
        let root = platform.expect("a platform").root_key_id().to_string();
        let files = files(&root);
        let repository = dir.path().join("state.git");
        init_repository(&repository, "main", &files, "start", AUTHOR, 1).expect("made");
        let repository = repository.display().to_string();
        Self {
            dir,
            repository,
            port: easyenclave_tests::port(),
            serve: None,
            worker: None,
            environment: Vec::new(),
            worker_arguments: Vec::new(),
        }
    }

    /// The same, with reconciler and worker running.
    pub(crate) fn started(replicas: u32, warm: u32) -> Self {
        let mut fleet = Self::new(replicas, warm);
        fleet.start_serve();
        fleet.start_worker();
        fleet
    }

    /// The reconciler reads and writes another location from its next start on.
    pub(crate) fn relocate(&mut self, location: &str) {
        self.repository = location.into();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state.git")
    }

    pub(crate) fn start_serve(&mut self) {
        self.start_serve_with(&[]);
    }

    pub(crate) fn start_serve_with(&mut self, more: &[&str]) {
        let command = self.command("serve.log");
        self.serve_by(command, more);
    }

    /// One that is told of a full disk by an error, as [`Fleet::fill_disk`] needs it, and not by a signal.
    pub(crate) fn start_serve_for_a_full_disk(&mut self) {
        let mut command = self.of("sh", "serve.log");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", PROGRAM]);
        self.serve_by(command, &[]);
    }

    /// From now on the reconciler's disk takes nothing but its log: no file is written beyond so many bytes.
    pub(crate) fn fill_disk(&self) {
        let serve = self.serve.as_ref().expect("started").id();
        let pid = i32::try_from(serve).ok().and_then(Pid::from_raw);
        let full = Rlimit {
            current: Some(100 * 1024),
            maximum: Some(100 * 1024),
        };
        prlimit(Some(pid.expect("a process")), Resource::Fsize, full).expect("limited");
    }

    /// Waits for a reconciler that ends by itself.
    pub(crate) fn serve_ended(&mut self) -> ExitStatus {
        let mut serve = self.serve.take().expect("started");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(ended) = serve.try_wait().expect("a child") {
                return ended;
            }
            if Instant::now() > deadline {
                kill(&mut Some(serve));
                panic!("the reconciler does not end\n{}", self.log("serve.log"));
            }
            sleep(Duration::from_millis(50));
        }
    }

    fn serve_by(&mut self, mut command: Command, more: &[&str]) {
        let listen = format!("127.0.0.1:{}", self.port);
        command.args(["serve", "--repo", &self.repository, "--listen", &listen]);
        command.arg("--data").arg(self.path("data")).args(more);
        self.serve = Some(command.spawn().expect("started"));
        let settings = self.path("data/settings.json");
        self.until("the reconciler has started", || settings.exists());
    }

    /// Copies the data folder of a reconciler that does not run.
    pub(crate) fn copy_data(&self) {
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.path("data")).arg(self.path("copy"));
        assert!(copy.status().expect("cp runs").success());
    }

    /// Another reconciler, with the copy.
    pub(crate) fn start_copy(&self) -> Beside {
        let mut command = self.command("copy.log");
        let listen = format!("127.0.0.1:{}", easyenclave_tests::port());
        command.args(["serve", "--repo", &self.repository, "--listen", &listen]);
        command.arg("--data").arg(self.path("copy"));
        Beside(Some(command.spawn().expect("started")))
    }

    pub(crate) fn start_worker(&mut self) {
        self.start_worker_with(&[]);
    }

    pub(crate) fn start_worker_with(&mut self, arguments: &[&str]) {
        let mut command = self.command("worker.log");
        command.arg("worker").arg("--data").arg(self.path("data"));
        command.args(&self.worker_arguments).args(arguments);
        self.worker = Some(command.spawn().expect("started"));
    }

    /// `kill -9`.
    pub(crate) fn kill_serve(&mut self) {
        kill(&mut self.serve);
    }

    /// `kill -9`.
    pub(crate) fn kill_worker(&mut self) {
        kill(&mut self.worker);
    }

    /// All that the reconciler knew of agents and orders is gone.
    pub(crate) fn lose_store(&mut self) {
        self.kill_serve();
        std::fs::remove_dir_all(self.path("data/store")).expect("removed");
    }

    fn command(&self, log: &str) -> Command {
        self.of(PROGRAM, log)
    }

    fn of(&self, program: &str, log: &str) -> Command {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(log));
        let log = log.expect("a log");
        let mut command = Command::new(program);
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Commits one changed file to the state repository.
    pub(crate) fn commit(&self, path: &str, text: Option<&str>) -> String {
        self.commit_all(&[(path, text)])
    }

    pub(crate) fn commit_all(&self, files: &[(&str, Option<&str>)]) -> String {
        let bytes = |text: &Option<&str>| text.map(|text| text.as_bytes().to_vec());
        let changes: BTreeMap<_, _> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), bytes(text)))
            .collect();
        let state = self.state().display().to_string();
        commit_files(&state, "main", &changes, "a change", AUTHOR, 2)
            .expect("committed")
            .to_string()
    }

    /// Runs the program and answers what it printed.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command.output().expect("the program runs")
    }

    /// A file of the state repository as it is on `main`.
    pub(crate) fn file(&self, path: &str) -> String {
        let shown = self.git(&["show", &format!("main:{path}")]);
        assert!(shown.status.success(), "{path} is there");
        String::from_utf8(shown.stdout).expect("UTF-8")
    }

    pub(crate) fn git(&self, args: &[&str]) -> Output {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(self.state())
            .args(args)
            .output()
            .expect("git runs")
    }

    /// `status --output json`, once there is one.
    pub(crate) fn status(&self) -> Option<Value> {
        let output = self.run(&["status", "--data", "data", "--output", "json"]);
        output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// Waits until the status says so.
    pub(crate) fn wait(&self, what: &str, mut holds: impl FnMut(&Value) -> bool) -> Value {
        let mut last = None;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            last = self.status();
            if let Some(status) = last.as_ref().filter(|status| holds(status)) {
                return status.clone();
            }
            sleep(Duration::from_millis(100));
        }
        let last = last.map(|status| serde_json::to_string_pretty(&status).expect("JSON"));
        let tail = |name: &str| {
            let log = self.log(name);
            let lines: Vec<_> = log.lines().collect();
            lines[lines.len().saturating_sub(30)..].join("\n")
        };
        panic!(
            "waited in vain until {what}\n{}\nreconciler:\n{}\nworker:\n{}",
            last.unwrap_or_default(),
            tail("serve.log"),
            tail("worker.log")
        );
    }

    pub(crate) fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            sleep(Duration::from_millis(50));
        }
    }

    /// Waits until so many replicas of `acme/web` run as wanted.
    pub(crate) fn wait_running(&self, replicas: u64) -> Value {
        self.wait(&format!("{replicas} replicas run"), |status| {
            let web = find(&status["deployments"], "deployment", "acme/web");
            web["phase"] == "running" && web["ready"] == replicas
        })
    }

    /// Waits until the status branch itself says so: the daemon's own clone is ahead of it.
    pub(crate) fn wait_published(&self, replicas: u64) {
        self.wait_running(replicas);
        let state = self.state().display().to_string();
        self.until("the status branch says so too", || {
            let output = self.run(&["status", "--repo", &state, "--output", "json"]);
            let status = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
            let web = find(&status["deployments"], "deployment", "acme/web");
            web["phase"] == "running" && web["ready"] == replicas
        });
    }

    /// Processes that belong to this fleet's folder: agents and workloads.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let folder = self.dir.path().display().to_string();
        let own = std::process::id();
        let daemons: Vec<u32> = self
            .serve
            .iter()
            .chain(&self.worker)
            .map(std::process::Child::id)
            .collect();
        let all = std::fs::read_dir("/proc")
            .expect("a Linux system")
            .flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid != own && !daemons.contains(pid))
            .filter_map(|pid| Process::read(pid, &folder))
            .collect()
    }

    pub(crate) fn agents(&self) -> Vec<Process> {
        self.processes()
            .into_iter()
            .filter(|process| process.role.as_deref() == Some("agent"))
            .collect()
    }

    pub(crate) fn workloads(&self) -> Vec<Process> {
        self.processes()
            .into_iter()
            .filter(|process| process.deployment.is_some())
            .collect()
    }

    /// Takes the fleet down as an operator would: the worker ends its machines. What is left then is a leak and fails
    /// the test; nothing here ends it before it was looked for.
    pub(crate) fn stop(self) {
        self.stop_with(|| ());
    }

    /// The same, with a look at what is left in the fleet's folder.
    pub(crate) fn stop_with(mut self, look: impl FnOnce()) {
        self.kill_serve();
        self.kill_worker();
        let mut command = self.command("stop.log");
        command.args(["worker", "--stop-units-on-exit"]);
        command.args(&self.worker_arguments);
        command.args(["--reconciler", "http://127.0.0.1:9", "--data"]);
        let worker = command.arg(self.path("data")).spawn().expect("started");
        let pid = worker.id();
        self.worker = Some(worker);
        // Since it has asked for orders, it listens for the signal too.
        self.until("the last worker is up", || {
            self.log("stop.log").contains("orders cannot be claimed")
        });
        signal(pid, "TERM");
        let ended = self.worker.as_mut().map(Child::wait);
        let ended = ended.expect("it is there").expect("ended");
        assert!(ended.success(), "{}", self.log("stop.log"));
        assert_eq!(self.processes(), vec![], "nothing is left running");
        look();
    }

    fn end_units(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left = self.processes();
            if left.is_empty() || Instant::now() > deadline {
                return;
            }
            for process in left {
                signal(process.pid, "KILL");
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// What agents that were killed have left in memory goes. It is named by the folder of their worker.
    fn empty_memory(&self) {
        for data in ["data", "up"] {
            let Ok(units) = self.path(data).join("worker/units").canonicalize() else {
                continue;
            };
            let mark = Digest::of(units.as_os_str().as_encoded_bytes()).short(12);
            let mark = format!("@{mark}.");
            for entry in std::fs::read_dir("/dev/shm")
                .into_iter()
                .flatten()
                .flatten()
            {
                if entry.file_name().to_string_lossy().contains(&mark) {
                    let _ = std::fs::remove_dir_all(entry.path());
                }
            }
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.kill_serve();
        self.kill_worker();
        self.end_units();
        self.empty_memory();
    }
}

/// A reconciler beside the fleet's own.
pub(crate) struct Beside(Option<Child>);

impl Drop for Beside {
    fn drop(&mut self) {
        kill(&mut self.0);
    }
}

/// A process of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// What it is within its unit: the agent, or the connector of its tunnel.
    pub(crate) role: Option<String>,
    pub(crate) order: String,
    pub(crate) deployment: Option<String>,
}

impl Process {
    fn read(pid: u32, folder: &str) -> Option<Self> {
        let root = Path::new("/proc").join(pid.to_string());
        // Before its environment, which is its own from then on.
        let has_a_program = has_a_program(&root);
        let environ = std::fs::read(root.join("environ")).ok()?;
        let environ = String::from_utf8_lossy(&environ).into_owned();
        let line = std::fs::read(root.join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let value = |name: &str| {
            let entry = environ.split('\0').find(|entry| entry.starts_with(name))?;
            Some(entry[name.len()..].to_owned())
        };
        let order = value("EASYENCLAVE_ORDER=")?;
        let role = value("EASYENCLAVE_ROLE=").filter(|_| has_a_program);
        (environ.contains(folder) || line.contains(folder)).then(|| Self {
            pid,
            role,
            order,
            deployment: value("EASYENCLAVE_DEPLOYMENT="),
        })
    }
}

/// Whether a process runs a program of its own. Until a child does, it looks like its parent.
fn has_a_program(process: &Path) -> bool {
    const FORKED_ONLY: u32 = 0x40;
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let flags = after_name.split_whitespace().nth(6);
    let flags = flags.and_then(|flags| flags.parse::<u32>().ok());
    flags.is_some_and(|flags| flags & FORKED_ONLY == 0)
}

/// The entry of a list whose field has this value.
pub(crate) fn find<'a>(list: &'a Value, field: &str, value: &str) -> &'a Value {
    let entries = list.as_array().map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .find(|entry| entry[field] == value)
        .unwrap_or(&Value::Null)
}

/// A condition of something.
pub(crate) fn condition<'a>(thing: &'a Value, kind: &str) -> &'a Value {
    find(&thing["conditions"], "type", kind)
}

pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .output();
}

/// A small, reproducible source of random numbers.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    Timestamp::from_millis(i64::try_from(since.as_millis()).expect("before the year 292278994"))
}

fn kill(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}
