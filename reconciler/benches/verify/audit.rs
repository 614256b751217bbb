//! `easyenclave verify`, run as people run it, and what it took.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::flips::{Extent, Flip, Flipper};

const PROGRAM: &str = env!("CARGO_BIN_EXE_easyenclave");

/// One run.
pub(crate) struct Ran {
    /// What it said.
    pub(crate) found: Value,
    /// Whether it ended as when nothing is wrong.
    pub(crate) is_good: bool,
    pub(crate) time: Duration,
    /// The most memory that it had at a time, in MiB: all of it, with the parts of the clone's files that it read.
    pub(crate) peak: u64,
}

/// Checks a repository: the whole branch, or what follows on a commit.
pub(crate) fn run(repository: &Path, after: Option<&str>) -> Ran {
    let started = Instant::now();
    let range = after.map(|after| format!("--range={after}..status"));
    let mut child = Command::new(PROGRAM)
        .args(["verify", "--output", "json", "--repo"])
        .arg(repository)
        .args(range)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let id = child.id();
    let stdout = child.stdout.take().expect("piped");
    let read = std::thread::spawn(move || std::io::read_to_string(stdout).expect("text"));
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        peak = memory(id).unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(5));
    };
    let time = started.elapsed();
    let text = read.join().expect("read");
    Ran {
        found: serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")),
        is_good: status.success(),
        time,
        peak,
    }
}

/// The peak of a process that runs, in MiB.
fn memory(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}

/// What came of changing one bit at a time.
#[derive(Default)]
pub(crate) struct Flips {
    /// So many of each kind.
    pub(crate) kinds: BTreeMap<&'static str, usize>,
    /// Those that were not named by commit and path.
    pub(crate) unnamed: Vec<String>,
}

pub(crate) fn flips(clone: &Path, count: usize, seed: u64, extent: Extent) -> Flips {
    let mut flipper = Flipper::open(clone, seed);
    let mut flips = Flips::default();
    for _ in 0..count {
        let dir = tempfile::tempdir().expect("a folder");
        let flip = flipper.flip(&dir.path().join("altered.git"), extent);
        *flips.kinds.entry(flip.kind).or_default() += 1;
        let ran = run(&flip.repository, flip.after.as_deref());
        if ran.is_good || !is_named(&ran.found, &flip) {
            let (kind, paths) = (flip.kind, flip.paths.join(" or "));
            let unnamed = format!("{kind} {paths} in {}: {}", flip.commit, ran.found);
            flips.unnamed.push(unnamed);
        }
    }
    flips
}

fn is_named(found: &Value, flip: &Flip) -> bool {
    let findings = found["findings"].as_array().expect("a list");
    findings.iter().any(|finding| {
        let path = finding["path"].as_str();
        let (is_path, kind) = match path {
            Some(path) => (flip.paths.iter().any(|altered| altered == path), "files"),
            None => (flip.paths.is_empty(), "signature"),
        };
        finding["commit"] == flip.commit.as_str() && is_path && finding["kind"] == kind
    })
}
