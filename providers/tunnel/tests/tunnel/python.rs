//! An environment of Python's with Cloudflare's SDK, and its source with its own tests, fetched when they are needed and by digest.
//! What cannot be fetched is not run, and never passed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

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
const STEP: Duration = Duration::from_secs(240);

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
    let required = std::env::var("EASYENCLAVE_REQUIRE").is_ok_and(|what| what == "all");
    match MADE.get_or_init(make) {
        Ok(sdk) => Some(sdk),
        Err(error) => {
            assert!(
                !required,
                "EASYENCLAVE_REQUIRE=all, and Cloudflare's SDK is not here: {error}"
            );
            println!(
                "SKIPPED: needs Python's venv (Debian: apt-get install python3-venv) and a package index: {error}"
            );
            None
        }
    }
}

/// Makes the environment, or finds the one that an earlier run has finished.
fn make() -> Result<Sdk, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cloudflare-sdk");
    let sdk = Sdk {
        python: folder.join("bin/python3"),
        source: folder.join(SDK),
    };
    let finished = folder.join(format!("{SDK}-{}", PACKAGES.join("-")));
    if finished.exists() {
        return Ok(sdk);
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&folder))?;
    let pinned = folder.join("pinned.txt");
    std::fs::write(&pinned, PINNED).map_err(|error| error.to_string())?;
    let pip = |verb: &str| {
        let mut pip = Command::new(&sdk.python);
        pip.args(["-m", "pip", verb, "--quiet", "--disable-pip-version-check"]);
        pip.args(["--timeout", "20", "--retries", "1"]);
        pip
    };
    let exact = [
        "--no-deps",
        "--no-binary",
        ":all:",
        "--require-hashes",
        "-r",
    ];
    run(pip("download")
        .args(exact)
        .arg(&pinned)
        .arg("--dest")
        .arg(&folder))?;
    let archive = folder.join(format!("{SDK}.tar.gz"));
    run(pip("install").arg(&archive).args(PACKAGES))?;
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
    let shown = format!("{:?}", command.get_program());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("{shown}: {error}"))?;
    // What it says is read while it runs: a pipe that is full would stop it.
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let stdout = std::thread::spawn(move || read(out.as_mut()));
    let stderr = std::thread::spawn(move || read(err.as_mut()));
    let deadline = Instant::now() + STEP;
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if Instant::now() >= deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{shown} takes too long"));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let output = Output {
        status,
        stdout: stdout.join().expect("no panic"),
        stderr: stderr.join().expect("no panic"),
    };
    let words = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let last: Vec<&str> = words.trim().lines().rev().take(40).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{shown}: {}", last.join("\n"))),
    }
}

fn read(pipe: Option<&mut impl std::io::Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}
