//! Environments of Python's, in which the client libraries and judges of others are put.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::run;

/// How long one step may take.
const STEP: Duration = Duration::from_secs(600);

/// Makes an environment with these packages, each with its version, or finds the one that an earlier run has finished. Answers
/// its Python.
///
/// # Errors
/// When Python has no `venv`, or a package cannot be fetched.
pub fn environment(folder: &Path, packages: &[&str]) -> Result<PathBuf, String> {
    let python = folder.join("bin/python3");
    let finished = folder.join(packages.join("-"));
    if finished.exists() {
        return Ok(python);
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(folder);
    run(&mut venv, STEP)?;
    run(pip(&python, "install").args(packages), STEP)?;
    std::fs::write(&finished, "").map_err(|error| error.to_string())?;
    Ok(python)
}

/// The installer of an environment, with bounds on how long it waits for an index.
pub fn pip(python: &Path, verb: &str) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", verb, "--quiet", "--disable-pip-version-check"]);
    pip.args(["--timeout", "20", "--retries", "1"]);
    pip
}
