//! A fleet with a key for its secrets, and the commands that work on them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::harness::{Fleet, PROGRAM, target};

pub(crate) struct Desk {
    pub(crate) fleet: Fleet,
    /// What no other fleet is called.
    name: String,
}

impl Desk {
    /// A fleet with one target, two owners and a key for secrets; it runs nothing yet.
    pub(crate) fn started() -> Self {
        let name = format!("s{}", hex::encode(random::<6>()));
        let mut fleet = Fleet::with(|root| files(root, &name));
        fleet.environment = vec![("EASYENCLAVE_LOG", "trace".into())];
        fleet.start_serve();
        fleet.start_worker();
        let desk = Self { fleet, name };
        let recipient = desk.done(&["secret", "recipient", "--data", "data"]);
        let file = desk.fleet.file("fleet.yaml");
        let named = file.replace(
            "recipients: []",
            &format!("recipients: [{}]", recipient.trim()),
        );
        assert_ne!(named, file);
        desk.fleet.commit("fleet.yaml", Some(&named));
        desk
    }

    /// Runs a command that succeeds. Answers what it printed.
    pub(crate) fn done(&self, args: &[&str]) -> String {
        let output = self.fleet.run(args);
        let (said, told) = texts(&output);
        assert!(output.status.success(), "{args:?}: {told}");
        said
    }

    /// Runs a command with a value on its stdin.
    pub(crate) fn give(&self, args: &[&str], value: &[u8]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(args).current_dir(self.fleet.path(""));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let mut stdin = child.stdin.take().expect("a pipe");
        // Whoever refuses at once reads nothing.
        let _ = stdin.write_all(value);
        drop(stdin);
        child.wait_with_output().expect("ended")
    }

    /// Sets a secret.
    pub(crate) fn set(&self, verb: &str, name: &str, value: &[u8]) {
        let output = self.give(&["secret", verb, name, "--data", "data"], value);
        let (commit, told) = texts(&output);
        assert!(output.status.success(), "{told}");
        assert_eq!(commit.trim().len(), 40, "{commit}");
    }

    /// How the names of this fleet's folders in memory begin.
    pub(crate) fn name_in_memory(&self) -> String {
        format!("easyenclave.{}@", self.name)
    }

    /// Folders in memory that are this fleet's.
    pub(crate) fn in_memory(&self) -> Vec<PathBuf> {
        Self::left(&self.name_in_memory())
    }

    /// Folders in memory whose names begin so.
    pub(crate) fn left(begins: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir("/dev/shm")
            .expect("there is memory")
            .flatten();
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(begins));
        ours.map(|entry| entry.path()).collect()
    }
}

fn files(root: &str, name: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = easyenclave::examples::files(Some(root));
    files.retain(|path, _| !path.starts_with("deployments/"));
    let fleet = format!(
        "apiVersion: easyenclave.dev/v1\nkind: Fleet\nmetadata:\n  name: {name}\nspec:\n  status:\n    \
         pushesPerMinute: 600\n  timing:\n    lostAfter: 5s\n  secrets:\n    recipients: []\n"
    );
    files.insert("fleet.yaml".into(), fleet.into());
    files.insert("capacity/tiny.yaml".into(), target(4, 0).into());
    files
}

/// What a command printed, and what it told.
pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let file = std::fs::File::open("/dev/urandom").expect("randomness");
    std::io::Read::read_exact(&mut &file, &mut bytes).expect("randomness");
    bytes
}
