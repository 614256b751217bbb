//! `verify` on a status branch of 10,000 commits and 1,000 agents: time, memory, and how many of 200 changed bits it
//! names. Run with `cargo bench -p easyenclave --bench verify`; a number after `--` is the seed of the changes.

mod audit;
mod flips;
mod maker;
mod statuses;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use flips::Extent;
use maker::{Made, Shape};

const WHOLE: Shape = Shape {
    agents: 1000,
    commits: 10_000,
    seed: 1,
};
/// Each looked at from the commit before it to the one with it: what was changed lies there, and a check of the whole
/// branch for each of them would take most of an hour.
const FLIPS: usize = 200;
/// Each with all commits after it written anew, and the whole branch looked at.
const FLIPS_OF_REST: usize = 3;

fn main() {
    let dir = tempfile::tempdir().expect("a folder");
    let (made, clone) = make(&dir.path().join("whole"), &WHOLE);
    let size = megabytes(&clone.join("objects/pack"));
    let Shape {
        agents, commits, ..
    } = WHOLE;
    println!("verify, {commits} status commits of {agents} agents, in a clone of {size} MiB");
    println!(
        "  {} records of evidence, {} of them refusals; {} commits of desired state",
        made.records, made.refusals, made.desired
    );
    report(&made, &clone);
    let seed = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
        now.expect("after 1970").as_secs()
    });
    println!("bits that were changed, each in a copy of the branch; seed {seed}");
    let how = "anywhere in the whole branch, which ends with the change; looked at is the commit that has it";
    named(how, &clone, (FLIPS, seed), Extent::One);
    let how = "with all commits after it written anew; looked at is the whole branch";
    named(how, &clone, (FLIPS_OF_REST, seed + 1), Extent::Rest);
}

fn report(made: &Made, clone: &Path) {
    let ran = audit::run(clone, None);
    assert_eq!(
        ran.found["findings"],
        serde_json::json!([]),
        "{}",
        ran.found
    );
    let seconds = ran.time.as_secs_f64();
    let count = |name: &str| ran.found["verdicts"][name].as_u64().expect("a number");
    let verdicts = count("recomputed") + count("notAccepted");
    assert_eq!(usize::try_from(verdicts), Ok(made.records), "{}", ran.found);
    let commits = ran.found["commits"].as_f64().expect("a number");
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    println!("  time        {seconds:>9.1} s     bar: at most 30 s; {cores} cores");
    println!("  commits     {:>9.0} a second", commits / seconds);
    println!("  verdicts    {:>9.0} a second", verdicts as f64 / seconds);
    println!("  peak memory {:>9} MiB   bar: at most 300 MiB", ran.peak);
}

fn named(how: &str, clone: &Path, (count, seed): (usize, u64), extent: Extent) {
    let started = Instant::now();
    let audit::Flips { kinds, unnamed } = audit::flips(clone, count, seed, extent);
    let time = started.elapsed().as_secs_f64();
    let named = count - unnamed.len();
    println!("  {named} of {count} named by path and commit, in {time:.0} s: {how}");
    let kinds = kinds.iter().map(|(kind, count)| format!("{kind} {count}"));
    println!("    {}", kinds.collect::<Vec<_>>().join(", "));
    assert!(unnamed.is_empty(), "{}", unnamed.join("\n"));
}

/// Makes a branch, and clones it as an auditor would.
fn make(dir: &Path, shape: &Shape) -> (Made, PathBuf) {
    std::fs::create_dir(dir).expect("made");
    let started = Instant::now();
    let made = maker::make(dir, shape);
    let clone = dir.join("clone.git");
    let address = format!("file://{}", made.state.display());
    let cloned = Command::new("git")
        .args(["clone", "--quiet", "--mirror", &address])
        .arg(&clone)
        .status();
    assert!(cloned.expect("git runs").success());
    let seconds = started.elapsed().as_secs();
    eprintln!("made {} commits in {seconds} s", shape.commits);
    (made, clone)
}

fn megabytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).expect("a folder").flatten();
    let bytes: u64 = files
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum();
    bytes / (1 << 20)
}
