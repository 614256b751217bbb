//! What an agent keeps for another start of itself on the same boot: its key, and how far it has come. It is there only while
//! containers run here, which outlive an agent that is killed: a process that runs as the agent's user could read it. It lies in the
//! memory file system, never on a disk, is gone with the machine, and ends with an agent that ends by itself. One of another
//! boot, order or reconciler is not used: the agent is a new one then.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use easyenclave_processes::{Memory, MemoryError, take_lock};
use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::{Epoch, Generation, OrderId};
use serde::{Deserialize, Serialize};

/// The file of what is kept, and the one that becomes it.
const FILES: [&str; 2] = ["agent.json", "agent.new"];

/// The file that is locked. There is nothing in it.
const LOCK: &str = "agent.lock";

/// The longest file, in bytes.
const LONGEST: u64 = 4096;

/// Whose it is. All of it has to be as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Whose {
    /// The machine's boot, by its kernel.
    pub(crate) boot: String,
    /// The agent's order.
    pub(crate) order: OrderId,
    /// The only key that instructs it.
    pub(crate) reconciler: String,
}

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    whose: Whose,
    /// The private key, PKCS #8 in hex digits.
    key: String,
    epoch: Epoch,
    generation: Generation,
}

/// How far an agent has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Floor {
    /// The highest epoch that it has seen.
    pub(crate) epoch: Epoch,
    /// The highest instruction that it has taken in.
    pub(crate) generation: Generation,
}

/// Who an agent is over its starts, for as long as one of them lives. Nobody else is it at the same time.
#[derive(Debug)]
pub(crate) struct Identity {
    memory: Memory,
    whose: Whose,
    /// Whether something is kept.
    is_kept: Mutex<bool>,
    /// Held, so that two agents of one order never live at the same time.
    lock: Option<File>,
}

/// The lock goes with its agent; what is kept goes only when it is forgotten.
impl Drop for Identity {
    fn drop(&mut self) {
        if self.lock.is_some() {
            let _ = fs::remove_file(self.memory.path().join(LOCK));
            let _ = fs::remove_dir(self.memory.path());
        }
    }
}

/// Why nothing is kept for another start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// There is no memory file system that is this user's alone.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Another agent of the same order lives.
    #[error("another agent of this order lives on this machine")]
    Taken,
    /// The system refuses.
    #[error("it cannot be written")]
    System(#[from] io::Error),
}

impl Identity {
    /// That of the agent whose folder in memory this is, which is made.
    ///
    /// # Errors
    /// When there is no such folder, or another agent has it.
    pub(crate) fn open(memory: Memory, whose: Whose) -> Result<Self, IdentityError> {
        memory.make()?;
        let lock = private()
            .create(true)
            .truncate(false)
            .open(memory.path().join(LOCK))?;
        take_lock(&lock).map_err(|_| IdentityError::Taken)?;
        Ok(Self {
            memory,
            whose,
            is_kept: Mutex::default(),
            lock: Some(lock),
        })
    }

    /// The key of before and how far its agent had come, if it is this agent's. It stays kept.
    pub(crate) fn recall(&self) -> Option<(Keypair, Floor)> {
        let found = self.found();
        *self.is_kept() = found.is_some();
        found
    }

    fn found(&self) -> Option<(Keypair, Floor)> {
        let kept = match self.read() {
            Ok(kept) => kept.filter(|kept| kept.whose == self.whose)?,
            Err(error) => {
                tracing::warn!(error = %error, "what an agent of before has kept cannot be used");
                return None;
            }
        };
        let keypair = Keypair::from_pkcs8(&hex::decode(&kept.key).ok()?).ok()?;
        let Kept {
            epoch, generation, ..
        } = kept;
        Some((keypair, Floor { epoch, generation }))
    }

    fn read(&self) -> io::Result<Option<Kept>> {
        let mut text = String::new();
        let file = match File::open(self.file()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        file.take(LONGEST).read_to_string(&mut text)?;
        // An error of the reader could quote the key.
        let read = serde_json::from_str(&text);
        read.map(Some)
            .map_err(|_| io::Error::other("it is not in the expected format"))
    }

    /// Keeps the key and how far its agent has come, from now on.
    ///
    /// # Errors
    /// When it cannot be written; what was there before is gone then, so that nobody goes back to it.
    pub(crate) fn keep(&self, keypair: &Keypair, floor: Floor) -> io::Result<()> {
        let mut is_kept = self.is_kept();
        *is_kept = true;
        self.put(keypair, floor, &mut is_kept)
    }

    /// Notes how far its agent has come, if its key is kept.
    ///
    /// # Errors
    /// As [`Identity::keep`].
    pub(crate) fn note(&self, keypair: &Keypair, floor: Floor) -> io::Result<()> {
        let mut is_kept = self.is_kept();
        match *is_kept {
            true => self.put(keypair, floor, &mut is_kept),
            false => Ok(()),
        }
    }

    fn put(&self, keypair: &Keypair, floor: Floor, is_kept: &mut bool) -> io::Result<()> {
        let kept = Kept {
            whose: self.whose.clone(),
            key: hex::encode(keypair.pkcs8().reveal()),
            epoch: floor.epoch,
            generation: floor.generation,
        };
        let text = serde_json::to_vec(&kept).expect("it is plain data");
        let written = self.write(&text);
        if written.is_err() {
            *is_kept = false;
            self.remove()?;
        }
        written
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        let aside = self.memory.path().join("agent.new");
        let mut file = private().create(true).truncate(true).open(&aside)?;
        file.write_all(text)?;
        fs::rename(aside, self.file())
    }

    /// Keeps nothing any more. What else the agent has in memory stays.
    ///
    /// # Errors
    /// When something may be left.
    pub(crate) fn forget(&self) -> io::Result<()> {
        let mut is_kept = self.is_kept();
        self.remove()?;
        *is_kept = false;
        Ok(())
    }

    fn remove(&self) -> io::Result<()> {
        for file in FILES {
            match fs::remove_file(self.memory.path().join(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn is_kept(&self) -> MutexGuard<'_, bool> {
        self.is_kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> PathBuf {
        self.memory.path().join("agent.json")
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn whose(boot: &str) -> Whose {
        Whose {
            boot: boot.into(),
            order: OrderId::new("tiny-1").expect("a name"),
            reconciler: "ab".repeat(32),
        }
    }

    /// Its agent is killed.
    fn kill(mut identity: Identity) {
        identity.lock = None;
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").expect("a memory file system")
    }

    fn memory(folder: &Path) -> Memory {
        Memory::below(folder, "demo@0123", "tiny-1")
    }

    const FLOOR: Floor = Floor {
        epoch: Epoch(3),
        generation: Generation(7),
    };

    #[test]
    fn the_next_start_of_the_same_boot_finds_key_and_floor() {
        let folder = folder();
        let memory = memory(folder.path());
        let keypair = Keypair::generate().expect("a key");
        let first = Identity::open(memory.clone(), whose("a")).expect("opened");
        assert!(first.recall().is_none());
        first.keep(&keypair, FLOOR).expect("kept");
        let second = Identity::open(memory.clone(), whose("a"));
        assert!(
            matches!(second, Err(IdentityError::Taken)),
            "its agent still lives"
        );
        kill(first);
        let next = Identity::open(memory.clone(), whose("a")).expect("opened");
        let (found, floor) = next.recall().expect("there");
        assert_eq!((found.public(), floor), (keypair.public(), FLOOR));
        let mode = std::os::unix::fs::PermissionsExt::mode;
        let of = |name: &str| {
            fs::metadata(memory.path().join(name))
                .expect("there")
                .permissions()
        };
        assert_eq!(
            (mode(&of("")) & 0o777, mode(&of("agent.json")) & 0o777),
            (0o700, 0o600)
        );
        let (epoch, generation) = (Epoch(4), Generation(8));
        next.note(&keypair, Floor { epoch, generation })
            .expect("noted");
        drop(next);
        let next = Identity::open(memory.clone(), whose("a")).expect("opened");
        let (_, floor) = next.recall().expect("nobody has forgotten it");
        assert_eq!(floor, Floor { epoch, generation });
        next.forget().expect("forgotten");
        assert!(next.recall().is_none());
        drop(next);
        assert!(!memory.path().exists(), "nothing is left");
    }

    #[test]
    fn nothing_is_written_by_whoever_keeps_nothing() {
        let folder = folder();
        let memory = memory(folder.path());
        let keypair = Keypair::generate().expect("a key");
        let identity = Identity::open(memory.clone(), whose("a")).expect("opened");
        let file = memory.path().join("agent.json");
        identity.note(&keypair, FLOOR).expect("nothing to do");
        assert!(!file.exists());
        identity.keep(&keypair, FLOOR).expect("kept");
        assert!(file.exists());
        identity.forget().expect("forgotten");
        identity.note(&keypair, FLOOR).expect("nothing to do");
        assert!(!file.exists(), "a late instruction brings it back");
        fs::create_dir(&file).expect("made");
        identity.forget().expect_err("it is not confirmed");
    }

    #[test]
    fn what_is_anothers_is_not_used() {
        let folder = folder();
        let memory = memory(folder.path());
        let keypair = Keypair::generate().expect("a key");
        let first = Identity::open(memory.clone(), whose("a")).expect("opened");
        first.keep(&keypair, FLOOR).expect("kept");
        kill(first);
        let recalled = |whose| {
            let identity = Identity::open(memory.clone(), whose).expect("opened");
            let recalled = identity.recall().is_some();
            kill(identity);
            recalled
        };
        assert!(!recalled(whose("b")), "a stolen file on another boot");
        let mut other = whose("a");
        other.order = OrderId::new("tiny-2").expect("a name");
        assert!(!recalled(other));
        let mut other = whose("a");
        other.reconciler = "cd".repeat(32);
        assert!(!recalled(other));
        assert!(recalled(whose("a")));
        fs::write(memory.path().join("agent.json"), "{").expect("written");
        assert!(!recalled(whose("a")), "half of a file");
    }
}
