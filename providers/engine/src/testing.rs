//! A real engine for tests: one test at a time, an image made on the spot, a registry, and what the engine holds before and
//! after. Where there is no engine a test says so and is skipped, or fails where everything is required.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Container, Generation, Health, State, Surroundings};

mod podman;

/// How to get what is missing.
const HOW: &str = "a container engine with compose \
    (Debian: bash tests/setup)";

/// Where engines listen: at the usual place, and the one that tests/engine starts.
const USUAL: &str = "unix:///var/run/docker.sock";
const OURS: &str = "/var/tmp/easyenclave-engine";

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The image of tests: a shell and a few programs, of one static program.
pub const IMAGE: &str = "easyenclave-tests/busybox:1";

/// A real engine, for as long as this is held.
#[derive(Debug)]
pub struct Bed {
    folder: TempDir,
    path: OsString,
    host: String,
    /// The engine's program.
    program: &'static str,
    /// Suites of several programs take turns: they compare all that an engine holds.
    _turn: File,
}

/// What an engine holds, in lines: every container, network and volume, whoever's it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings(pub String);

impl Container {
    /// A container as it may be seen.
    pub fn sample(service: &str, state: State, health: Health) -> Self {
        Self {
            id: format!("{service}-1"),
            service: service.into(),
            deployment: None,
            wanted: IMAGE.into(),
            image: String::new(),
            state,
            health,
            error: String::new(),
            restarts: 0,
            unnamed: Vec::new(),
        }
    }
}

impl Bed {
    /// An engine with this generation of compose. None where there is none, which is said.
    ///
    /// # Panics
    /// Where everything is required and there is none.
    pub fn take(generation: Generation) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let (host, path, program) = match generation {
            Generation::First | Generation::Second => {
                (host(), path(folder.path(), generation), "docker")
            }
            Generation::Podman => (String::new(), podman::path(folder.path()), "podman"),
        };
        let bed = Self {
            _turn: turn(&host),
            folder,
            path,
            host,
            program,
        };
        let compose: &[&str] = match generation {
            Generation::First => &["docker-compose", "--version"],
            Generation::Second => &["docker", "compose", "version"],
            Generation::Podman => &["podman-compose", "--help"],
        };
        // Podman's own before 1.0.6 takes no values, and counts as none.
        let is_compose = |told: Output| {
            let takes = String::from_utf8_lossy(&told.stdout).contains("--env-file");
            told.status.success() && (takes || generation != Generation::Podman)
        };
        if bed.run(&[program, "version"]).status.success() && is_compose(bed.run(compose)) {
            bed.make_image();
            return Some(bed);
        }
        println!("SKIPPED: needs {HOW}");
        let required = std::env::var("EASYENCLAVE_REQUIRE").is_ok_and(|value| value == "all");
        assert!(!required, "{HOW}");
        None
    }

    /// The search path in which this generation of compose is the only one.
    pub fn path(&self) -> &OsString {
        &self.path
    }

    /// Where Docker's engine listens.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The same as agents and workers are told it; Podman listens nowhere.
    pub fn told(&self) -> Option<String> {
        Some(self.host.clone()).filter(|host| !host.is_empty())
    }

    /// What this crate is given of an agent here.
    pub fn surroundings(&self) -> Surroundings {
        Surroundings {
            path: self.path.clone(),
            host: self.told(),
            home: self.folder.path().join("home"),
            labels: Vec::new(),
        }
    }

    /// What the engine's program prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = self.run(&[&[self.program], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs a program that may fail.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn run(&self, line: &[&str]) -> Output {
        let mut command = self.command(line);
        command.stdin(Stdio::null());
        command.output().unwrap_or_else(|_| Output {
            status: std::os::unix::process::ExitStatusExt::from_raw(127 << 8),
            stdout: Vec::new(),
            stderr: Vec::new(),
        })
    }

    fn command(&self, line: &[&str]) -> Command {
        let folders = std::env::split_paths(&self.path).map(|folder| folder.join(line[0]));
        let program = folders.into_iter().find(|path| path.is_file());
        let mut command = Command::new(program.unwrap_or_else(|| "/nowhere".into()));
        command.args(&line[1..]).env("DOCKER_HOST", &self.host);
        command
    }

    /// All that the engine holds now. Networks and volumes are compared by name and id: one that was made again counts
    /// as another.
    pub fn holdings(&self) -> Holdings {
        let lists: [&[&str]; 3] = [
            &[
                "ps",
                "--all",
                "--no-trunc",
                "--format",
                "container {{.ID}} {{.Names}}",
            ],
            &[
                "network",
                "ls",
                "--no-trunc",
                "--format",
                "network {{.ID}} {{.Name}}",
            ],
            &["volume", "ls", "--format", "volume {{.Name}}"],
        ];
        let told = lists.map(|list| self.docker(list));
        let mut lines: Vec<_> = told.iter().flat_map(|told| told.lines()).collect();
        lines.sort_unstable();
        Holdings(lines.join("\n"))
    }

    /// Made anew for each test, in no time.
    fn make_image(&self) {
        let root = self.folder.path().join("root");
        fs::create_dir_all(root.join("bin")).expect("a folder");
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let busybox = std::env::split_paths(&paths).map(|folder| folder.join("busybox"));
        let busybox = busybox.into_iter().find(|path| path.is_file());
        let busybox = busybox.expect("busybox (Debian: bash tests/setup)");
        fs::copy(busybox, root.join("bin/busybox")).expect("copied");
        for name in [
            "sh", "sleep", "httpd", "cat", "ls", "mkdir", "test", "wget", "true", "date",
        ] {
            symlink("busybox", root.join("bin").join(name)).expect("linked");
        }
        let tar = Command::new("tar")
            .args([
                "-c",
                "--sort=name",
                "--mtime=@0",
                "--owner=0",
                "--group=0",
                "-C",
            ])
            .arg(&root)
            .arg(".")
            .stdout(Stdio::piped())
            .spawn();
        let mut tar = tar.expect("tar runs");
        let mut import = self.command(&[self.program, "import", "-", IMAGE]);
        import.stdin(tar.stdout.take().expect("piped"));
        let imported = import.output().expect("the engine's program runs");
        assert!(imported.status.success(), "{imported:?}");
        assert!(tar.wait().expect("ended").success());
    }
}

/// A search path in which only this generation of compose is found, whatever the system has.
fn path(folder: &Path, generation: Generation) -> OsString {
    let system = std::env::var_os("PATH").unwrap_or_default();
    let own = folder.join("bin");
    fs::create_dir_all(&own).expect("a folder");
    fs::create_dir_all(folder.join("home")).expect("a folder");
    let find = |name: &str| {
        let mut paths = std::env::split_paths(&system).map(|folder| folder.join(name));
        paths.find(|path| path.is_file())
    };
    let (docker, first) = (find("docker"), PathBuf::from("/usr/bin/docker-compose"));
    if let Some(docker) = docker.filter(|_| generation == Generation::First) {
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = compose ] && exit 1\nexec {} \"$@\"\n",
            docker.display()
        );
        fs::write(own.join("docker"), script).expect("written");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(own.join("docker"), mode).expect("executable");
        symlink(first, own.join("docker-compose")).expect("linked");
    }
    std::env::join_paths([own].into_iter().chain(std::env::split_paths(&system)))
        .expect("a search path")
}

/// What a test that has failed has left in Podman's folder would run on without it.
impl Drop for Bed {
    fn drop(&mut self) {
        if self.program == "podman" {
            self.run(&["podman", "rm", "--all", "--force", "--volumes"]);
            self.run(&["podman", "network", "prune", "--force"]);
            podman::forget_networks();
        }
    }
}

/// The engine that is named, or that answers.
fn host() -> String {
    if let Ok(named) = std::env::var("DOCKER_HOST") {
        return named;
    }
    let folder = std::env::var("EASYENCLAVE_ENGINE_DIR").unwrap_or_else(|_| OURS.into());
    let answers = |host: &String| {
        let mut command = Command::new("docker");
        command.arg("version").env("DOCKER_HOST", host);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let known = [USUAL.to_owned(), format!("unix://{folder}/docker.sock")];
    known
        .into_iter()
        .find(answers)
        .unwrap_or_else(|| USUAL.into())
}

/// The lock of this engine, across programs and runs: not below `TMPDIR`, which is a run's own.
fn turn(host: &str) -> File {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = host.chars().map(plain).collect();
    let path = PathBuf::from(format!("/var/tmp/easyenclave-turn-{name}.lock"));
    // One that another user has made is only read.
    let lock = File::open(&path).or_else(|_| File::create(&path));
    let lock = lock.expect("a lock");
    lock.lock().expect("locked");
    lock
}

/// A registry on loopback, whose images have digests. It ends with this.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Registry {
    /// Starts one that is empty.
    ///
    /// # Panics
    /// When there is none (Debian: tests/setup brings it).
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let child = Self::spawn(folder.path(), port);
        let registry = Self {
            child,
            port,
            folder,
        };
        registry.answers();
        registry
    }

    fn spawn(folder: &Path, port: u16) -> Child {
        let config = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {}/images }}\n  \
             delete: {{ enabled: true }}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            folder.display()
        );
        fs::write(&config, text).expect("written");
        Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry (Debian: bash tests/setup)")
    }

    fn answers(&self) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "the registry does not answer");
            sleep(Duration::from_millis(20));
        }
    }

    /// The name of an image in it.
    pub fn name(&self, image: &str) -> String {
        format!("127.0.0.1:{}/{image}", self.port)
    }

    /// Gives it a copy of the tests' image under this name, with a label that makes it another image, and leaves none
    /// of it in the engine. Answers its name by digest.
    ///
    /// # Panics
    /// When it cannot be given.
    pub fn push(&self, bed: &Bed, image: &str, label: &str) -> String {
        let name = self.name(image);
        let container = bed.docker(&["create", "--label", "for=an image", IMAGE, "true"]);
        let change = format!("LABEL version={label}");
        bed.docker(&["commit", "--change", &change, container.trim(), &name]);
        bed.docker(&["rm", container.trim()]);
        bed.docker(&["push", "--quiet", &name]);
        let digests = bed.docker(&[
            "image",
            "inspect",
            "--format",
            "{{join .RepoDigests \" \"}}",
            &name,
        ]);
        let repository = name
            .rsplit_once(':')
            .map_or(name.as_str(), |(repository, _)| repository);
        let digest = digests
            .split_whitespace()
            .find(|digest| digest.starts_with(repository));
        let digest = digest.expect("a digest").to_owned();
        bed.docker(&["image", "rm", "--force", &name, &digest]);
        digest
    }

    /// Stops it for a while.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, with the images that it had.
    pub fn restart(&mut self) {
        self.child = Self::spawn(self.folder.path(), self.port);
        self.answers();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}
