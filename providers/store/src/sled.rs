//! The embedded store: one sled tree per space.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sled::transaction::{
    ConflictableTransactionError, TransactionError, Transactional, TransactionalTree,
};

use crate::disk::Disk;
use crate::{Batch, Expect, Space, Store, StoreError};

/// A store that was closed may hold its folder for a moment: threads of the engine end after it, and a program that is being
/// started has what its parent had open. So opening asks so often, and waits so long between.
const TRIES: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(10);

/// A store in a folder of its own, used by one process at a time.
#[derive(Debug)]
pub struct SledStore {
    engine: Arc<Engine>,
    disk: Disk,
    /// A write has failed. What it left in memory may be gone without another error, so there is no success any more.
    failed: AtomicBool,
}

#[derive(Debug)]
struct Engine {
    db: sled::Db,
    trees: Vec<sled::Tree>,
}

impl SledStore {
    /// Opens the store in `dir`, or makes it.
    ///
    /// # Errors
    /// `InUse` when another process has it open, and still has after a second; otherwise when the engine fails.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let db = open_free(dir, || thread::sleep(BETWEEN))?;
        let trees = Space::ALL
            .iter()
            .map(|space| db.open_tree(space.name()))
            .collect::<Result<_, _>>()
            .map_err(engine)?;
        db.flush().map_err(engine)?;
        let disk = Disk::of(dir).map_err(engine)?;
        let engine = Arc::new(Engine { db, trees });
        let failed = AtomicBool::new(false);
        Ok(Self {
            engine,
            disk,
            failed,
        })
    }

    fn tree(&self, space: Space) -> &sled::Tree {
        &self.engine.trees[index(space)]
    }

    /// Writes, unless a write has failed before.
    fn write(
        &self,
        write: impl FnOnce(&Engine) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(engine(io::Error::other("the disk failed before")));
        }
        let written = write(&self.engine);
        if matches!(written, Err(StoreError::Engine(_)))
            && !self.failed.swap(true, Ordering::SeqCst)
        {
            // Its end would wait for what cannot be written, for ever, so it is not ended.
            std::mem::forget(Arc::clone(&self.engine));
        }
        written
    }
}

impl Store for SledStore {
    fn get(&self, space: Space, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.tree(space).get(key).map_err(engine)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn list(&self, space: Space) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let entry = |item: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = item.map_err(engine)?;
            Ok((String::from_utf8_lossy(&key).into_owned(), value.to_vec()))
        };
        self.tree(space).iter().map(entry).collect()
    }

    fn keys(&self, space: Space) -> Result<Vec<String>, StoreError> {
        let key = |item: sled::Result<sled::IVec>| {
            let key = item.map_err(engine)?;
            Ok(String::from_utf8_lossy(&key).into_owned())
        };
        self.tree(space).iter().keys().map(key).collect()
    }

    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.write(|engine| {
            let trees = engine.trees.as_slice();
            let applied = trees.transaction(|trees| apply(trees, batch));
            applied.map_err(transaction_error)
        })
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.write(|open| {
            open.db.flush().map_err(engine)?;
            self.disk.sync().map_err(engine)
        })
    }
}

fn apply(
    trees: &[TransactionalTree],
    batch: &Batch,
) -> Result<(), ConflictableTransactionError<StoreError>> {
    for (space, key, expect) in &batch.expects {
        let found = trees[index(*space)].get(key.as_bytes())?;
        let holds = match (expect, &found) {
            (Expect::Absent, found) => found.is_none(),
            (Expect::Value(value), Some(found)) => found == value,
            (Expect::Value(_), None) => false,
        };
        if !holds {
            let conflict = StoreError::Conflict {
                space: space.name(),
                key: key.clone(),
            };
            return Err(ConflictableTransactionError::Abort(conflict));
        }
    }
    for (space, key, value) in &batch.writes {
        let tree = &trees[index(*space)];
        match value {
            Some(value) => tree.insert(key.as_bytes(), value.as_slice())?,
            None => tree.remove(key.as_bytes())?,
        };
    }
    Ok(())
}

fn index(space: Space) -> usize {
    Space::ALL
        .iter()
        .position(|other| *other == space)
        .expect("every space is in the list")
}

fn engine(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Engine(Box::new(error))
}

fn transaction_error(error: TransactionError<StoreError>) -> StoreError {
    match error {
        TransactionError::Abort(error) => error,
        TransactionError::Storage(error) => engine(error),
    }
}

/// Opens the folder as soon as nobody has it any more; `wait` is called each time that somebody has.
fn open_free(dir: &Path, mut wait: impl FnMut()) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(16 * 1024 * 1024);
    let open = || config.open().map_err(|error| open_error(dir, error));
    for _ in 1..TRIES {
        match open() {
            Err(StoreError::InUse(_)) => wait(),
            opened => return opened,
        }
    }
    open()
}

fn open_error(dir: &Path, error: sled::Error) -> StoreError {
    match &error {
        sled::Error::Io(io) if io.to_string().contains("lock") => {
            StoreError::InUse(dir.display().to_string())
        }
        _ => engine(error),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Stdio};

    use easyenclave_tests::given;

    use super::{SledStore, open_free};
    use crate::{Store, StoreError, conformance};

    /// Names the folder of the store to the process that is killed.
    const DIR: &str = "EASYENCLAVE_TEST_STORE";

    fn open(dir: &Path) -> Box<dyn Store> {
        Box::new(SledStore::open(dir).expect("the folder is free"))
    }

    /// This program again, as the process that commits.
    fn committing(dir: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let test = "sled::tests::what_was_committed_survives_a_kill";
        command.args(["--exact", test, "--nocapture"]).env(DIR, dir);
        command
    }

    #[test]
    fn the_embedded_store_keeps_its_promises() {
        conformance::run(open);
    }

    #[test]
    fn what_was_committed_survives_a_kill() {
        match std::env::var_os(DIR) {
            Some(dir) => conformance::commit_until_killed(open(Path::new(&dir)).as_ref()),
            None => conformance::survives_kill(open, committing),
        }
    }

    #[test]
    fn what_was_committed_survives_a_full_disk() {
        conformance::survives_a_full_disk(open, committing);
    }

    /// A kill loses nothing that the system was given; a power cut does. So what is asked of the system
    /// is looked at.
    #[test]
    fn each_commit_is_synced_before_it_is_said() {
        let dir = tempfile::tempdir().expect("a folder");
        let (store, trace) = (dir.path().join("store"), dir.path().join("trace"));
        let mut strace = Command::new("strace");
        let child = committing(&store);
        strace
            .args(["-f", "-y", "-s", "40", "-e", "trace=fdatasync,write", "-o"])
            .arg(&trace)
            .arg(child.get_program())
            .args(child.get_args())
            .env(DIR, &store)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let how = "Debian: apt-get install strace";
        let Some(mut child) = given("strace", how, strace.spawn()) else {
            return;
        };
        let said = std::io::BufReader::new(child.stdout.take().expect("piped"));
        let committed = |line: &std::io::Result<String>| {
            line.as_ref()
                .is_ok_and(|line| line.starts_with("committed"))
        };
        let lines = std::io::BufRead::lines(said);
        assert_eq!(lines.filter(committed).take(10).count(), 10);
        // Its output is closed now, so it ends with its next line.
        child.wait().expect("ended");
        let trace = std::fs::read_to_string(&trace).expect("written");
        let mut between: Vec<&str> = trace.split("\"committed ").take(10).collect();
        let of = |part: &str, file: &str| {
            let synced = |line: &str| line.contains("fdatasync(") && line.contains(file);
            part.lines().any(synced)
        };
        assert!(between.iter().all(|part| of(part, "/store/db>")), "{trace}");
        between.retain(|part| of(part, "/store/blobs/"));
        assert!(between.len() >= 2, "two of them have a long value: {trace}");
    }

    #[test]
    fn a_folder_that_is_let_go_of_in_a_moment_is_waited_for() {
        let dir = tempfile::tempdir().expect("a folder");
        drop(SledStore::open(dir.path()).expect("the folder is free"));
        let lock = std::fs::File::open(dir.path().join("db")).expect("the engine's file");
        lock.lock().expect("as soon as nobody has it");
        let (mut held, mut waits) = (Some(lock), 0);
        let opened = open_free(dir.path(), || {
            waits += 1;
            drop(held.take());
        });
        opened.expect("the folder is free");
        assert!(waits > 0);
    }

    #[test]
    fn a_second_process_is_told_that_the_store_is_in_use() {
        let dir = tempfile::tempdir().expect("a folder");
        let _first = SledStore::open(dir.path()).expect("the folder is free");
        let error = SledStore::open(dir.path()).expect_err("one at a time");
        assert!(matches!(error, StoreError::InUse(_)), "{error:?}");
    }
}
