//! Programs that a test writes itself.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Puts a program there, whole at once, that anybody may run. Another process writes it: a child that another test starts
/// meanwhile would have the file open for writing for a moment, and the system runs no such program.
///
/// # Panics
/// When it cannot be written.
pub fn put_program(path: &Path, text: &str) {
    let write = "cat >\"$0.new\" && chmod 755 \"$0.new\" && mv \"$0.new\" \"$0\"";
    let mut sh = Command::new("sh");
    sh.args(["-c", write]).arg(path).stdin(Stdio::piped());
    let mut sh = sh.spawn().expect("sh starts");
    let mut stdin = sh.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("given");
    drop(stdin);
    assert!(sh.wait().expect("ended").success(), "{}", path.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by the test itself, one in two hundred could not be run: "text file busy".
    #[test]
    fn what_was_put_there_runs_whatever_is_started_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let threads = (0..4).map(|thread| {
            let path = folder.path().join(thread.to_string());
            std::thread::spawn(move || {
                for round in 0..20 {
                    put_program(&path, &format!("#!/bin/sh\necho {round}\n"));
                    let said = Command::new(&path).output().expect("it runs");
                    assert_eq!(said.stdout, format!("{round}\n").as_bytes());
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
    }
}
