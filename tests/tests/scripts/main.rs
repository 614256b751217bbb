//! Scripts for developers, run as they run them: what they must never do.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use easyenclave_tests::given;

/// A process that others could take for a part of the engine: its command line names the engine's folder.
struct Bystander(Child);

impl Bystander {
    fn of(folder: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "read line", "reader"]);
        command.arg(folder.join("dockerd.log"));
        Self(command.stdin(Stdio::piped()).spawn().expect("sh runs"))
    }

    fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.output().is_ok_and(|output| output.status.success())
}

/// Whether there is root, which the script asks for; that there is none is said.
fn has_root() -> bool {
    let has = runs("sh", &["-c", "[ \"$(id -u)\" = 0 ]"]) || runs("sudo", &["-n", "true"]);
    let found = has.then_some(()).ok_or("neither root nor sudo");
    given("root", "for the engine of the tests", found).is_some()
}

fn engine(verb: &str, folder: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine");
    let mut command = Command::new("bash");
    command.arg(script).arg(verb).stdin(Stdio::null());
    command.env("EASYENCLAVE_ENGINE_DIR", folder);
    command.output().expect("bash runs")
}

#[test]
fn the_engine_of_the_tests_clears_no_folder_that_is_not_its_own() {
    if !has_root() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("engine");
    fs::create_dir(&folder).expect("a folder");
    let theirs = folder.join("data");
    fs::write(&theirs, "years of work").expect("written");
    let mut bystander = Bystander::of(&folder);
    let output = engine("stop", &folder);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("not empty and not of this program"), "{said}");
    assert_eq!(fs::read_to_string(&theirs).expect("there"), "years of work");
    assert!(bystander.runs());
}

#[test]
fn the_engine_of_the_tests_ends_nobody_who_only_looks_into_its_folder() {
    if !has_root() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("engine");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("easyenclave-engine"), "").expect("written");
    let mut bystander = Bystander::of(&folder);
    let output = engine("stop", &folder);
    assert!(output.status.success(), "{output:?}");
    assert!(!folder.exists());
    assert!(bystander.runs());
}
