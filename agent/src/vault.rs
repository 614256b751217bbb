//! The secrets of what runs here: asked for with a key that is made for each answer, held in this process, and put into
//! files of a folder in memory. They come to no disk, no log and no report, and are gone with the assignment.
//!
//! A process has one folder with all its files. Containers see each file alone, and a file whose value is as it was stays where
//! it is: an engine makes a container anew when it is to see another file. The names of those places say nothing of the values,
//! because engines write them to their disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use easyenclave_engine::Generation as Compose;
use easyenclave_processes::{Memory, MemoryError};
use easyenclave_schemas::documents::{SecretUse, Workload};
use easyenclave_schemas::sealed::{Asking, Case, SealedError};
use easyenclave_schemas::wire::{
    SealedAnswer, SecretValues, SecretsRequest, WorkloadCause, WorkloadReport, routes,
};
use easyenclave_schemas::{Digest, Generation, Secret, SecretName};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::client::CallError;
use crate::clock;
use crate::instructions::Assignment;
use crate::node::Node;
use crate::runtime::{Board, starting};

/// The pauses between requests grow from this …
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// … to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What the answer is for; see [`Case::what`].
const SECRETS: &str = "secrets";

/// Where containers see the files.
const IN_CONTAINERS: &str = "/run/secrets";

/// The folder of the files, below the one in memory.
const FOLDER: &str = "secrets";

/// The values of an assignment's secrets, by name.
pub(crate) type Values = BTreeMap<SecretName, Secret<Vec<u8>>>;

/// Where the secrets of this agent are.
#[derive(Debug)]
pub(crate) struct Vault {
    memory: Memory,
    /// Those of the assignment that runs or is about to. Written by whoever runs it.
    held: Mutex<Held>,
}

/// What an assignment was given.
#[derive(Debug, Default)]
struct Held {
    values: Values,
    /// The files that its containers see.
    mounts: Vec<Mount>,
}

/// A file of a secret, and which services see it where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) source: PathBuf,
    pub(crate) name: String,
    pub(crate) services: Vec<String>,
}

impl Mount {
    /// Whether a service sees it.
    pub(crate) fn is_for(&self, service: &str) -> bool {
        self.services.is_empty() || self.services.iter().any(|one| one == service)
    }

    /// As Compose files say it, in the form that has no engine make a folder where the file is missing. Docker's first compose
    /// knows no word for that, and never makes one in this form.
    pub(crate) fn entry(&self, compose: Compose) -> Value {
        let mut entry = json!({
            "type": "bind", "source": self.source, "target": format!("{IN_CONTAINERS}/{}", self.name), "read_only": true,
        });
        if compose == Compose::Second {
            entry["bind"] = json!({ "create_host_path": false });
        }
        entry
    }
}

/// Why an assignment's secrets cannot be had at the moment. No variant quotes what came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    /// The reconciler does not answer, or gives none out.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What came is not for this request.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// What came is not what the instruction names.
    #[error("the answer does not hold the secrets of the instruction")]
    Answer,
    /// There is no place for them.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// They cannot be written into memory.
    #[error("cannot write {what} in memory")]
    Write {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl VaultError {
    /// In words for a report: the reconciler's code where it gave one, and never what else an answer says.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Call(CallError::Refused { code, .. }) => code.clone(),
            error => error.to_string(),
        }
    }
}

impl Vault {
    /// Of an agent that holds none yet. Files of an earlier start of it stay until it is known what is to run: containers may
    /// see them.
    pub(crate) fn new(memory: Memory) -> Self {
        Self {
            memory,
            held: Mutex::default(),
        }
    }

    /// Asks the reconciler for the secrets of an assignment until they are where the workload finds them. Meanwhile the
    /// report says what it waits for.
    pub(crate) async fn obtain(
        &self,
        node: &Node,
        generation: Generation,
        assignment: &Assignment,
    ) {
        let mut failures = 0;
        while let Err(error) = self.fill(node, generation, assignment).await {
            failures += 1;
            let message = format!("waits for its secrets: {}", error.shown());
            if u32::is_power_of_two(failures) {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(failures, error, "no secrets yet");
            }
            node.workload.send_replace(Some(WorkloadReport {
                cause: Some(WorkloadCause::SecretsUnavailable),
                message,
                ..starting(generation, assignment)
            }));
            sleep(clock::pause(failures, FIRST_PAUSE, LONGEST_PAUSE)).await;
        }
    }

    /// Nothing is to be run any more before it was started.
    pub(crate) fn give_up(&self, board: &Board) {
        self.clear();
        board.send_replace(None);
    }

    /// Those of before are held no longer when new ones are not to be had at the moment.
    async fn fill(
        &self,
        node: &Node,
        generation: Generation,
        assignment: &Assignment,
    ) -> Result<(), VaultError> {
        *self.held() = Held::default();
        if assignment.secrets.is_empty() {
            return Ok(());
        }
        let values = ask(node, generation, &assignment.secrets).await?;
        self.put(assignment, values)
    }

    /// Puts the values of an assignment where the workload finds them.
    pub(crate) fn put(&self, assignment: &Assignment, values: Values) -> Result<(), VaultError> {
        let mounts = match &assignment.workload {
            Workload::Compose(_) => self.place(&assignment.secrets, &values)?,
            Workload::Process(_) => {
                self.write(assignment, &values)?;
                Vec::new()
            }
        };
        *self.held() = Held { values, mounts };
        Ok(())
    }

    /// The variables of a process, with their values.
    pub(crate) fn env(&self, uses: &[SecretUse]) -> Vec<(OsString, Secret<OsString>)> {
        let held = self.held();
        let variable = |one: &SecretUse| {
            let value = held.values.get(&one.name)?.reveal().clone();
            Some((
                one.env.as_ref()?.into(),
                Secret::new(OsString::from_vec(value)),
            ))
        };
        uses.iter().filter_map(variable).collect()
    }

    /// The folder with a process's files of these uses, whether it is there or not. Other uses, and other versions of the same
    /// secrets, have another one.
    pub(crate) fn files(&self, uses: &[SecretUse], version: Option<Digest>) -> PathBuf {
        let uses = serde_json::to_vec(uses).expect("a document is plain data");
        let version = version.map(|digest| digest.as_bytes().to_vec());
        let digest = Digest::of_list([uses.as_slice(), version.as_deref().unwrap_or_default()]);
        self.folder().join(digest.short(16))
    }

    /// The files that the services of the assignment see.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        self.held().mounts.clone()
    }

    /// Removes what was held before, once no container sees it any more.
    pub(crate) fn keep_mounts(&self) {
        let mounts = self.mounts();
        let is_seen = |folder: &Path| mounts.iter().any(|one| one.source.starts_with(folder));
        for folder in self.places().filter(|folder| !is_seen(folder)) {
            removed(&folder, fs::remove_dir_all(&folder));
        }
    }

    /// Removes all that is held.
    pub(crate) fn clear(&self) {
        *self.held() = Held::default();
        removed(&self.folder(), fs::remove_dir_all(self.folder()));
        // What else the agent has in memory stays, and with it the folder.
        let _ = fs::remove_dir(self.memory.path());
    }

    /// The files of a process, each whole or not at all.
    fn write(&self, assignment: &Assignment, values: &Values) -> Result<(), VaultError> {
        let uses = &assignment.secrets;
        let folder = self.files(uses, assignment.secrets_digest);
        for one in uses {
            if let (Some(name), Some(value)) = (&one.file, values.get(&one.name)) {
                self.write_one(&folder, name, value)?;
            }
        }
        Ok(())
    }

    /// A place for each file that containers see: the one where it is already, or another one.
    fn place(&self, uses: &[SecretUse], values: &Values) -> Result<Vec<Mount>, VaultError> {
        let mut mounts = Vec::new();
        for one in uses {
            let (Some(name), Some(value)) = (&one.file, values.get(&one.name)) else {
                continue;
            };
            let folder = match self.places().find(|it| holds(&it.join(name), value)) {
                Some(folder) => folder,
                None => {
                    let folder = self.folder().join(clock::unique());
                    self.write_one(&folder, name, value)?;
                    folder
                }
            };
            mounts.push(Mount {
                source: folder.join(name),
                name: name.clone(),
                services: one.services.clone(),
            });
        }
        Ok(mounts)
    }

    /// The folders that there are.
    fn places(&self) -> impl Iterator<Item = PathBuf> {
        let found = fs::read_dir(self.folder()).into_iter().flatten().flatten();
        found.map(|entry| entry.path())
    }

    fn write_one(
        &self,
        folder: &Path,
        name: &str,
        value: &Secret<Vec<u8>>,
    ) -> Result<(), VaultError> {
        self.memory.make()?;
        let mut private = DirBuilder::new();
        let made = private.recursive(true).mode(0o700).create(folder);
        made.map_err(|source| failed(folder, source))?;
        let path = folder.join(name);
        write(&path, value.reveal()).map_err(|source| failed(&path, source))
    }

    fn folder(&self) -> PathBuf {
        self.memory.path().join(FOLDER)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Readable by every user, in a folder that is open to nobody else: programs in containers are often not the agent's user.
fn write(path: &Path, value: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new~");
    let _ = fs::remove_file(&aside);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(&aside)?;
    file.write_all(value)?;
    fs::rename(&aside, path)
}

/// Whether a file has this value.
fn holds(path: &Path, value: &Secret<Vec<u8>>) -> bool {
    fs::read(path).is_ok_and(|found| found == *value.reveal())
}

fn failed(path: &Path, source: io::Error) -> VaultError {
    let what = path.display().to_string();
    VaultError::Write { what, source }
}

/// Says so when something is left.
fn removed(path: &Path, result: io::Result<()>) {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::error!(folder = %path.display(), error = %error, "secrets are left in memory");
        }
        _ => {}
    }
}

/// The values that these uses name, no more and no fewer.
async fn ask(
    node: &Node,
    generation: Generation,
    uses: &[SecretUse],
) -> Result<Values, VaultError> {
    let asking = Asking::new()?;
    let request = SecretsRequest {
        boot_id: node.boot_id(),
        generation,
        public_key: asking.public().to_owned(),
    };
    let path = routes::secrets(&node.id);
    let answer: SealedAnswer = node.client.post(&path, &request).await?;
    let case = Case {
        what: SECRETS,
        agent: &node.id,
        key: &node.keypair.public(),
        generation,
    };
    let values = SecretValues::read(&asking.open(&answer, &case)?).ok_or(VaultError::Answer)?;
    let names: BTreeSet<_> = uses.iter().map(|one| &one.name).collect();
    match values.keys().eq(names) {
        true => Ok(values),
        false => Err(VaultError::Answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(version: &[u8]) -> Assignment {
        let workload = json!({ "process": { "command": ["true"] } });
        Assignment {
            deployment: "acme/web".parse().expect("a deployment"),
            digest: Digest::of(version),
            workload: serde_json::from_value(workload).expect("a workload"),
            health: None,
            secrets: serde_json::from_value(json!([{ "name": "db", "file": "db" }])).expect("uses"),
            secrets_digest: Some(Digest::of(version)),
        }
    }

    fn services(uses: &Value) -> Assignment {
        let workload = json!({ "compose": { "source": { "inline": "services: {}" } } });
        Assignment {
            workload: serde_json::from_value(workload).expect("a workload"),
            secrets: serde_json::from_value(uses.clone()).expect("uses"),
            ..process(b"1")
        }
    }

    fn values(values: &[(&str, &str)]) -> Values {
        let value = |(name, value): &(&str, &str)| {
            let name = SecretName::new(*name).expect("a name");
            (name, Secret::new(value.as_bytes().to_vec()))
        };
        values.iter().map(value).collect()
    }

    fn vault() -> Vault {
        Vault::new(Memory::of(&format!("test@{}", clock::unique()), "tiny-1"))
    }

    /// Where each file is, by its name.
    fn sources(vault: &Vault) -> BTreeMap<String, PathBuf> {
        let mounts = vault.mounts().into_iter();
        mounts.map(|one| (one.name, one.source)).collect()
    }

    #[test]
    fn a_process_has_a_folder_for_each_version() {
        let vault = vault();
        let (old, new) = (process(b"1"), process(b"2"));
        vault.put(&old, values(&[("db", "old")])).expect("memory");
        vault.put(&old, values(&[("db", "old")])).expect("memory");
        vault.put(&new, values(&[("db", "new")])).expect("memory");
        let file = |of: &Assignment| vault.files(&of.secrets, of.secrets_digest).join("db");
        let read = |of| fs::read_to_string(file(of)).expect("there");
        assert_eq!((read(&old).as_str(), read(&new).as_str()), ("old", "new"));
        vault.clear();
        assert!(!vault.memory.path().exists());
    }

    #[test]
    fn a_file_whose_value_is_as_it_was_stays_where_it_is() {
        let vault = vault();
        let uses = json!([{ "name": "db", "file": "db.txt" }, { "name": "key", "file": "key" }]);
        let one = services(&uses);
        let put = |vault: &Vault, db, key| {
            let given = vault.put(&one, values(&[("db", db), ("key", key)]));
            given.expect("memory");
            sources(vault)
        };
        let before = put(&vault, "old", "same");
        let after = put(&vault, "new", "same");
        assert_eq!(after["key"], before["key"]);
        assert_ne!(after["db.txt"], before["db.txt"]);
        let read = |path: &PathBuf| fs::read_to_string(path).expect("there");
        assert_eq!(read(&before["db.txt"]), "old", "a container may see it");
        vault.keep_mounts();
        assert!(!before["db.txt"].exists());
        assert_eq!(
            (read(&after["db.txt"]), read(&after["key"])),
            ("new".into(), "same".into())
        );
        // The agent is started again: containers go on with the files that they see.
        let again = Vault::new(vault.memory.clone());
        assert_eq!(put(&again, "new", "same"), after);
        // An engine that looked for a file while it was away has made a folder of that name.
        fs::remove_file(&after["key"]).expect("removed");
        fs::create_dir(&after["key"]).expect("made");
        let mended = put(&again, "new", "same");
        assert_eq!(read(&mended["key"]), "same");
        again.keep_mounts();
        assert!(!after["key"].exists());
        again.clear();
        assert!(!again.memory.path().exists());
    }

    #[test]
    fn services_see_the_files_that_are_theirs_and_can_change_none() {
        let vault = vault();
        let uses = json!([{ "name": "db", "file": "db.key" },
            { "name": "db", "file": "of-db", "services": ["db"] }]);
        let given = values(&[("db", "value")]);
        vault.put(&services(&uses), given).expect("memory");
        let mounts = vault.mounts();
        assert!(mounts[0].is_for("web") && mounts[0].is_for("db"));
        assert!(mounts[1].is_for("db") && !mounts[1].is_for("web"));
        let mut entry = json!({ "type": "bind", "source": mounts[0].source,
            "target": "/run/secrets/db.key", "read_only": true });
        assert_eq!(mounts[0].entry(Compose::First), entry);
        entry["bind"] = json!({ "create_host_path": false });
        assert_eq!(mounts[0].entry(Compose::Second), entry);
        vault.clear();
        assert_eq!(vault.mounts(), []);
    }

    #[test]
    fn what_an_earlier_start_left_stays_until_it_is_not_wanted_and_what_else_it_had_longer() {
        let left = vault();
        let one = process(b"1");
        left.put(&one, values(&[("db", "old")])).expect("memory");
        let other = left.memory.path().join("other");
        fs::write(&other, "").expect("written");
        let found = Vault::new(left.memory.clone());
        let file = found.files(&one.secrets, one.secrets_digest).join("db");
        assert!(file.exists(), "a container may see it");
        found.clear();
        assert!(!file.exists() && other.exists());
        found.memory.remove().expect("removed");
    }

    #[test]
    fn a_refusal_is_shown_by_its_code_alone() {
        let refused = CallError::Refused {
            later: false,
            code: "secrets_lapsed".into(),
            message: "as somebody says".into(),
        };
        assert_eq!(VaultError::from(refused).shown(), "secrets_lapsed");
        let answer = VaultError::Answer.shown();
        assert!(answer.starts_with("the answer does not hold"), "{answer}");
    }
}
