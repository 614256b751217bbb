//! Google's own words, fetched when they are needed: its discovery document and its client for Python, in an environment
//! of Python's under `target/`. What cannot be fetched is not run, and never passed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use crate::contract::Contract;

/// What is fetched, to the version.
const PACKAGES: [&str; 2] = [
    "google-api-python-client==2.202.0",
    "google-cloud-compute==1.57.0",
];

/// How long one step may take.
const STEP: Duration = Duration::from_secs(600);

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
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("google-packages");
    let made = MADE.get_or_init(|| easyenclave_tests::environment(&folder, &PACKAGES));
    let how = "Debian: apt-get install python3-venv; and a package index";
    easyenclave_tests::given("Google's packages for Python", how, made.as_deref())
}

/// Runs a program to its end, for as long as it may take.
pub(crate) fn run(command: &mut Command) -> Result<Output, String> {
    easyenclave_tests::run(command, STEP)
}
