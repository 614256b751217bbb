//! An environment of Python's with Cloudflare's SDK, and its source with its own tests, fetched when they are needed and by digest.
//! What cannot be fetched is not run, and never passed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use easyenclave_tests::{environment, given, pip};

/// The SDK's source.
const SDK: &str = "cloudflare-5.9.0";

/// The same, as a line of requirements.
const PINNED: &str = "cloudflare==5.9.0 --hash=sha256:1c9b9e243602c754e03636204272422dc45776f3babdc67f8341ca4d559d49e8\n";

/// What its tests need.
const PACKAGES: [&str; 9] = [
    "aiohttp==3.14.5",
    "httpx-aiohttp==0.2.0",
    "pytest==9.2.0",
    "pytest-asyncio==1.5.0",
    "dirty-equals==0.11",
    "time-machine==3.6.0",
    "respx==0.23.1",
    "rich==15.0.0",
    "importlib-metadata==10.2.0",
];

/// How long one step may take.
const STEP: Duration = Duration::from_secs(600);

/// Where the SDK is.
pub(crate) struct Sdk {
    /// The program of the environment.
    pub(crate) python: PathBuf,
    /// The source, with its tests.
    pub(crate) source: PathBuf,
}

/// The SDK, if it can be had.
pub(crate) fn sdk() -> Option<&'static Sdk> {
    static MADE: OnceLock<Result<Sdk, String>> = OnceLock::new();
    let how = "Debian: apt-get install python3-venv; and a package index";
    given("Cloudflare's SDK", how, MADE.get_or_init(make).as_ref())
}

/// Makes the environment, or finds the one that an earlier run has finished.
fn make() -> Result<Sdk, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cloudflare-sdk");
    let sdk = Sdk {
        python: environment(&folder, &PACKAGES)?,
        source: folder.join(SDK),
    };
    let finished = folder.join(format!("{SDK}-finished"));
    if finished.exists() {
        return Ok(sdk);
    }
    let pinned = folder.join("pinned.txt");
    std::fs::write(&pinned, PINNED).map_err(|error| error.to_string())?;
    let exact = [
        "--no-deps",
        "--no-binary",
        ":all:",
        "--require-hashes",
        "-r",
    ];
    run(pip(&sdk.python, "download")
        .args(exact)
        .arg(&pinned)
        .arg("--dest")
        .arg(&folder))?;
    let archive = folder.join(format!("{SDK}.tar.gz"));
    run(pip(&sdk.python, "install").arg(&archive))?;
    run(Command::new("tar")
        .arg("-xzf")
        .arg(&archive)
        .arg("-C")
        .arg(&folder))?;
    std::fs::write(&finished, "").map_err(|error| error.to_string())?;
    Ok(sdk)
}

/// Runs a program to its end, for as long as it may take.
pub(crate) fn run(command: &mut Command) -> Result<Output, String> {
    easyenclave_tests::run(command, STEP)
}
