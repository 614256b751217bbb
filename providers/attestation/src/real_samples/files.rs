//! Where the verification library keeps its sample evidence. Shared with the benchmark.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// Where the library's sources are, wherever packages are kept.
pub(crate) fn samples() -> &'static PathBuf {
    static SAMPLES: OnceLock<PathBuf> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let library = library(&metadata());
        let manifest = PathBuf::from(library["manifest_path"].as_str().expect("a path"));
        manifest.with_file_name("sample")
    })
}

pub(crate) fn library(metadata: &Value) -> Value {
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages
        .iter()
        .find(|package| package["name"] == "dcap-qvl")
        .expect("a dependency")
        .clone()
}

pub(crate) fn metadata() -> Value {
    // Asking for this machine's packages only leaves nothing to download: they were just built.
    let version = cargo(&["-vV"]);
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("a host");
    let text = cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        host,
    ]);
    serde_json::from_str(&text).expect("JSON")
}

fn cargo(arguments: &[&str]) -> String {
    let directory = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(directory)
        .output();
    let output = output.expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}
