//! A lock on a file that one process has at a time, from when it takes it until it ends.

use std::fs::{File, TryLockError};
use std::thread::sleep;
use std::time::Duration;

/// A process that was killed may seem to hold a lock for a moment more: a program that it was just starting has what its parent had
/// open. So a lock is tried for so often, with so long between.
const TRIES: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(10);

/// Takes the lock of a file, which goes with the file. Blocks for up to a second while somebody has it.
///
/// # Errors
/// When another process has it still, or the system refuses.
pub fn take_lock(file: &File) -> Result<(), TryLockError> {
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => sleep(BETWEEN),
            taken => return taken,
        }
    }
    file.try_lock()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn one_that_is_let_go_of_in_a_moment_is_waited_for_and_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let open = || File::create(&path).expect("made");
        // A child that was given the file holds what its parent held.
        let held = open();
        take_lock(&held).expect("nobody has it");
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(held)
            .spawn()
            .expect("cat starts");
        let refused = take_lock(&open()).expect_err("the child has it");
        assert!(matches!(refused, TryLockError::WouldBlock), "{refused}");
        let other = open();
        let waits = std::thread::spawn(move || take_lock(&other));
        drop(child.stdin.take());
        waits.join().expect("no panic").expect("it was let go of");
        child.wait().expect("ended");
    }
}
