//! The kernel interfaces of a TDX guest as a real file system (FUSE), so that what reads them makes real system calls
//! and gets real errors. Quotes behind it are minted by a simulated platform. It needs /dev/fuse.

mod files;
mod kernel;
mod report;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use easyenclave_schemas::evidence::MeasurementDigest;
use fuser::{BackgroundSession, Config, MountOption, ReplyData};

use crate::machine::Machine;
use crate::simulated::{Guest, TdBody};
use files::Files;
use kernel::Kernel;
pub use report::Fault;

/// A TDX guest's kernel, as a folder. Dropping it unmounts the folder and fails what still waits in it.
pub struct TestMachine {
    kernel: Arc<Mutex<Kernel>>,
    parked: Arc<Mutex<Vec<ReplyData>>>,
    session: Option<BackgroundSession>,
    folder: tempfile::TempDir,
}

impl TestMachine {
    /// A machine whose guest looks like `body`, all of whose registers are as it says but the last, which is zero as
    /// it is after a start. Its event log replays to the first three.
    ///
    /// # Errors
    /// When the file system cannot be mounted.
    pub fn mount(guest: Guest, body: TdBody) -> io::Result<Self> {
        let kernel = Arc::new(Mutex::new(Kernel::new(guest, body)));
        let parked = Arc::default();
        let files = Files::new(Arc::clone(&kernel), Arc::clone(&parked));
        let folder = tempfile::tempdir()?;
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("easyenclave-test".into())];
        let session = fuser::spawn_mount(files, folder.path(), &config)?;
        Ok(Self {
            kernel,
            parked,
            session: Some(session),
            folder,
        })
    }

    /// Its interfaces.
    pub fn machine(&self) -> Machine {
        Machine::at(self.root())
    }

    /// Its root.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The next requests fail in this way, one for each fault.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.kernel().reports.faults.extend(faults);
    }

    /// Later requests do not fail any more.
    pub fn forget_faults(&self) {
        self.kernel().reports.faults.clear();
    }

    /// Who makes quotes from now on; nobody when there is none.
    pub fn provide(&self, provider: Option<&str>) {
        self.kernel().reports.provider = provider.map(str::to_owned);
    }

    /// How many folders of requests there are.
    pub fn requests(&self) -> usize {
        self.kernel().reports.entries.len()
    }

    /// How many there were at one time.
    pub fn most_requests(&self) -> usize {
        self.kernel().reports.most
    }

    /// Whether there is a device of TEE hardware.
    pub fn device(&self, there: bool) {
        self.kernel().device = there;
    }

    /// The names of all requests that there ever were.
    pub fn names(&self) -> Vec<String> {
        self.kernel().reports.names.clone()
    }

    /// How many reads of a quote are held back by [`Fault::Hang`].
    pub fn parked(&self) -> usize {
        lock(&self.parked).len()
    }

    /// Answers the reads that were held back with an error of the kernel.
    pub fn release(&self, errno: i32) {
        for reply in lock(&self.parked).drain(..) {
            reply.error(fuser::Errno::from_i32(errno));
        }
    }

    /// What a runtime register holds.
    pub fn register(&self, index: usize) -> MeasurementDigest {
        self.kernel().body.rtmrs[index]
    }

    /// Has somebody else extend a runtime register.
    pub fn extend(&self, index: usize, digest: [u8; 48]) {
        self.kernel().extend(index, digest);
    }

    /// Whether the kernel extends registers; older ones do not.
    pub fn extends(&self, extends: bool) {
        self.kernel().extends = extends;
    }

    /// Replaces the event log; none is a machine without one.
    pub fn log(&self, log: Option<Vec<u8>>) {
        self.kernel().event_log = log;
    }

    /// Gives the boot another id.
    pub fn boot(&self, id: &str) {
        self.kernel().boot_id = id.to_owned();
    }

    fn kernel(&self) -> MutexGuard<'_, Kernel> {
        lock(&self.kernel)
    }
}

impl Drop for TestMachine {
    fn drop(&mut self) {
        // A read that nobody answers would keep its caller, and with it the mount.
        self.release(5);
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}

/// Whether file systems can be mounted here: by root, or by the program that mounts for others.
///
/// # Errors
/// Where they cannot; it says what that takes.
pub fn can_mount() -> Result<(), &'static str> {
    let mut open = fs::OpenOptions::new();
    let device = open.read(true).write(true).open("/dev/fuse").is_ok();
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if device && (root || Path::new("/usr/bin/fusermount3").exists()) {
        return Ok(());
    }
    Err("it takes /dev/fuse, and root or fusermount3 (Debian: apt-get install fuse3)")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
