//! Judges that are not ours: the official JSON Schema of Compose files, which the package `dclint` carries, and Compose itself,
//! which tests/setup installs. What is not here is not asked, and never passed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use easyenclave_schemas::Digest;
use easyenclave_tests::given;
use serde_json::Value;

use crate::corpus::{Case, cases};

/// The package with the schema, and the digest of the schema in it.
const PACKAGE: &str = "dclint@3.1.0";
const SCHEMA: &str = "46b7d35f19dd93a05f8fea530291bf84d881c1791ec167ecf0e6fb94e639d496";

/// How long one step may take.
const STEP: Duration = Duration::from_secs(300);

/// The most memory that a judge may take, in KiB: hostile files have made Compose take all that there was.
const MEMORY: u32 = 4 * 1024 * 1024;

/// Files whose reading costs Compose more memory than machines have, or that are beyond bounds which it does not have.
const TOO_MUCH: [&str; 2] = ["laughs.yaml", "deep.yaml"];

/// All profiles of a file.
pub(crate) const ALL: [&str; 1] = ["*"];

/// The official schema, if it can be had.
pub(crate) fn schema() -> Option<&'static Value> {
    static READ: OnceLock<Result<Value, String>> = OnceLock::new();
    given(
        "the official schema of Compose files",
        "npm and a package index",
        READ.get_or_init(fetch).as_ref(),
    )
}

fn fetch() -> Result<Value, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compose-schema");
    let file = folder.join("compose.schema.json");
    if !file.exists() {
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let scratch = tempfile::tempdir_in(&folder).map_err(|error| error.to_string())?;
        run(Command::new("npm")
            .args(["pack", "--silent", PACKAGE])
            .current_dir(scratch.path()))?;
        let archive = std::fs::read_dir(scratch.path()).map_err(|error| error.to_string())?;
        let archive = archive
            .filter_map(Result::ok)
            .next()
            .ok_or("no archive came")?;
        let inside = "package/schemas/compose.schema.json";
        run(Command::new("tar")
            .arg("-xzf")
            .arg(archive.path())
            .arg(inside)
            .current_dir(scratch.path()))?;
        std::fs::rename(scratch.path().join(inside), &file).map_err(|error| error.to_string())?;
    }
    let text = std::fs::read(&file).map_err(|error| error.to_string())?;
    assert_eq!(
        Digest::of(&text),
        Digest::parse(SCHEMA).expect("a digest"),
        "{}",
        file.display()
    );
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

/// Compose, if its second generation is installed.
pub(crate) fn compose() -> Option<()> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    let find = || {
        let version = run(Command::new("docker").args(["compose", "version", "--short"]))?;
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        let is_second = version.trim_start_matches('v').starts_with("2.");
        is_second
            .then_some(())
            .ok_or(format!("this is Compose {version}"))
    };
    given(
        "the second generation of Compose",
        "tests/setup",
        FOUND.get_or_init(find).as_ref(),
    )
    .copied()
}

/// Compose's first generation, if it is installed.
fn first_generation() -> Option<&'static PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let find = || {
        let program = PathBuf::from("docker-compose");
        let version = run(Command::new(&program).args(["version", "--short"]))?;
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        let is_first = version.starts_with("1.");
        is_first
            .then_some(program)
            .ok_or(format!("this is Compose {version}"))
    };
    given(
        "the first generation of Compose",
        "tests/setup",
        FOUND.get_or_init(find).as_ref(),
    )
}

/// Compose's own rendering of a file, with these profiles on.
pub(crate) fn config(
    text: &str,
    env: &[(String, String)],
    profiles: &[&str],
) -> Result<Value, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file: PathBuf = folder.path().join("compose.yaml");
    std::fs::write(&file, text).expect("the file is written");
    let script = format!("ulimit -v {MEMORY}; exec docker compose \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]);
    for profile in profiles {
        command.args(["--profile", profile]);
    }
    command.arg("-f").arg(&file);
    command.args(["config", "--format", "json", "--no-path-resolution"]);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
        .env("HOME", folder.path())
        .env("GOMEMLIMIT", "1GiB")
        .envs(env.iter().cloned());
    let output = run(&mut command)?;
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

fn env(case: &Case) -> Vec<(String, String)> {
    case.env.clone().into_iter().collect()
}

/// What the official schema finds in a file, which Compose holds against it after variables are filled in.
fn schema_findings(schema: &Value, case: &Case) -> Vec<String> {
    let document: Value = match serde_yaml::from_str(&case.text) {
        Ok(document) => document,
        Err(error) => return vec![error.to_string()],
    };
    let validator = jsonschema::draft7::new(schema).expect("the schema is one");
    let findings = validator.iter_errors(&document);
    findings
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[test]
fn what_is_accepted_passes_every_judge() {
    let schema = schema();
    let compose = compose();
    for case in cases("accepted") {
        if let Some(schema) = schema {
            let findings = schema_findings(schema, &case);
            assert!(findings.is_empty(), "{}: {findings:?}", case.name());
        }
        if compose.is_some() {
            let config = config(&case.text, &env(&case), &ALL);
            assert!(config.is_ok(), "{}: {config:?}", case.name());
        }
    }
}

#[test]
fn what_is_broken_fails_a_judge() {
    let (Some(schema), Some(())) = (schema(), compose()) else {
        return;
    };
    let asked = |case: &Case| !TOO_MUCH.contains(&case.name().as_str());
    for case in cases("broken").into_iter().filter(asked) {
        let is_good = schema_findings(schema, &case).is_empty()
            && config(&case.text, &env(&case), &[]).is_ok();
        assert!(!is_good, "{}: only we say that it is broken", case.name());
    }
}

/// The files with something that only the second generation of Compose knows.
const SECOND: [&str; 10] = [
    "healthchecks-of-all-kinds.yaml",
    "hooks-and-one-shots.yaml",
    "java-behind-proxy.yaml",
    "kernel-parameters.yaml",
    "language-models.yaml",
    "metrics-with-inline-configs.yaml",
    "swarm-like-resources.yaml",
    "update-policies.yaml",
    "volumes-of-all-kinds.yaml",
    "workers-with-anchors.yaml",
];

#[test]
fn what_runs_is_read_by_the_first_generation_of_compose_too() {
    let Some(program) = first_generation() else {
        return;
    };
    let cases = cases("accepted");
    let judged = std::thread::scope(|scope| {
        let one = |case: &Case| {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("compose.yaml");
            let document = case.read().expect("accepted").document;
            std::fs::write(&file, document).expect("the file is written");
            let mut command = Command::new(program);
            run(command.arg("-f").arg(&file).args(["config", "-q"]))
        };
        let parts = cases.chunks(cases.len().div_ceil(4));
        let judges: Vec<_> = parts
            .map(|part| {
                scope.spawn(move || {
                    part.iter()
                        .map(|case| (case.name(), one(case)))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let judged = judges
            .into_iter()
            .map(|judge| judge.join().expect("judged"));
        judged.flatten().collect::<Vec<_>>()
    });
    let unread = judged.iter().filter(|(_, result)| result.is_err());
    let unread: Vec<_> = unread.map(|(name, _)| name.as_str()).collect();
    let said: Vec<_> = judged
        .iter()
        .filter_map(|(_, result)| result.as_ref().err())
        .collect();
    assert_eq!(unread, SECOND, "{said:#?}");
}

/// Runs a program to its end, for as long as it may take.
fn run(command: &mut Command) -> Result<Output, String> {
    easyenclave_tests::run(command, STEP)
}
