//! Google's own words, fetched when they are needed: its discovery document and its client for Python, in an environment
//! of Python's under `target/`. What cannot be fetched is not run, and never passed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::contract::Contract;

/// What is fetched, to the version.
const PACKAGES: [&str; 2] = [
    "google-api-python-client==2.202.0",
    "google-cloud-compute==1.57.0",
];

/// How long one step may take.
const STEP: Duration = Duration::from_secs(240);

/// Google's discovery document of Compute Engine, if it can be had.
pub(crate) fn contract() -> Option<&'static Contract> {
    static READ: OnceLock<Contract> = OnceLock::new();
    let python = environment()?;
    Some(READ.get_or_init(|| read(python)))
}

fn read(python: &Path) -> Contract {
    let print = "import googleapiclient.discovery_cache as c; print(c.__path__[0])";
    let folder = run(Command::new(python).args(["-c", print])).expect("the package is there");
    let folder = String::from_utf8(folder.stdout).expect("a path");
    let file = Path::new(folder.trim()).join("documents/compute.v1.json");
    let document = std::fs::read(file).expect("the document is there");
    Contract::new(serde_json::from_slice(&document).expect("the document is JSON"))
}

/// The program of an environment with Google's packages, if it can be had.
pub(crate) fn environment() -> Option<&'static Path> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let required = std::env::var("EASYENCLAVE_REQUIRE").is_ok_and(|what| what == "all");
    match MADE.get_or_init(make) {
        Ok(python) => Some(python),
        Err(error) => {
            assert!(
                !required,
                "EASYENCLAVE_REQUIRE=all, and Google's packages are not here: {error}"
            );
            println!(
                "SKIPPED: needs Python's venv (Debian: apt-get install python3-venv) and a package index: {error}"
            );
            None
        }
    }
}

/// Makes the environment, or finds the one that an earlier run has finished.
fn make() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("google-packages");
    let python = folder.join("bin/python3");
    let finished = folder.join(PACKAGES.join("-"));
    if finished.exists() {
        return Ok(python);
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&folder))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    let bounds = ["--timeout", "20", "--retries", "1"];
    run(Command::new(&python).args(pip).args(bounds).args(PACKAGES))?;
    std::fs::write(&finished, "").map_err(|error| error.to_string())?;
    Ok(python)
}

/// Runs a program to its end, for as long as it may take.
pub(crate) fn run(command: &mut Command) -> Result<Output, String> {
    let shown = format!("{:?}", command.get_program());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("{shown}: {error}"))?;
    let deadline = Instant::now() + STEP;
    while child
        .try_wait()
        .map_err(|error| error.to_string())?
        .is_none()
    {
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{shown} takes too long"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    let words = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(output),
        false => Err(format!(
            "{shown}: {}",
            words.trim().lines().last().unwrap_or_default()
        )),
    }
}
