//! Runs the programs that do part of the work: without a shell, in their own process group, with a deadline and a bound
//! on what is kept of their output.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::ImageError;

/// The most output that is taken of a child, in bytes: more than the largest module or the longest list.
const OUTPUT: u64 = 64 * 1024 * 1024;

/// The most that an error quotes, in characters.
const WORDS: usize = 400;

/// A program that does part of the work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// Its name.
    pub(crate) program: &'static str,
    /// The package that brings it.
    pub(crate) package: &'static str,
    /// How long it may take.
    pub(crate) limit: Duration,
}

impl Tool {
    /// Runs it in a folder and gives what it prints.
    ///
    /// # Errors
    /// When it cannot be run, does not end in time, or ends with an error.
    pub(crate) async fn run<S: AsRef<OsStr>>(
        self,
        folder: &Path,
        args: &[S],
    ) -> Result<Vec<u8>, ImageError> {
        let mut child = self.start(folder, args)?;
        let group = Group::of(&child);
        let Ok(ended) = timeout(self.limit, collect(&mut child)).await else {
            let (program, limit) = (self.program, self.limit);
            return Err(ImageError::Deadline { program, limit });
        };
        let (success, out, err) = ended.map_err(|error| self.failed(error.to_string()))?;
        group.ended();
        match success {
            true => Ok(out),
            false => Err(self.failed(words(&err))),
        }
    }

    fn start<S: AsRef<OsStr>>(self, folder: &Path, args: &[S]) -> Result<Child, ImageError> {
        let mut command = Command::new(self.program);
        command.args(args).current_dir(folder).env("LC_ALL", "C");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command.spawn().map_err(|source| ImageError::Missing {
            program: self.program,
            package: self.package,
            source,
        })
    }

    fn failed(self, words: String) -> ImageError {
        ImageError::Failed {
            program: self.program,
            words,
        }
    }
}

/// A child's process group, killed when it is dropped before the child has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn collect(child: &mut Child) -> std::io::Result<(bool, Vec<u8>, Vec<u8>)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (out, err) = tokio::join!(bounded(stdout), bounded(stderr));
    let status = child.wait().await?;
    Ok((status.success(), out?, err?))
}

async fn bounded(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(pipe) = pipe else { return Ok(bytes) };
    pipe.take(OUTPUT + 1).read_to_end(&mut bytes).await?;
    match bytes.len() as u64 > OUTPUT {
        true => Err(std::io::Error::other("it prints more than 64 MiB")),
        false => Ok(bytes),
    }
}

/// The end of what a program said, on one line, without what a terminal would obey.
fn words(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let line = lines.join("; ");
    let skip = line.chars().count().saturating_sub(WORDS);
    line.chars()
        .skip(skip)
        .filter(|letter| !letter.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SH: Tool = Tool {
        program: "sh",
        package: "dash",
        limit: Duration::from_millis(200),
    };

    async fn sh(script: &str) -> Result<Vec<u8>, ImageError> {
        SH.run(Path::new("/"), &["-c", script]).await
    }

    #[tokio::test]
    async fn what_a_program_says_is_its_answer_or_its_error() {
        assert_eq!(sh("echo $LC_ALL").await.expect("ended"), b"C\n");
        let error = sh("echo one >&2; printf '\\033[2Jtwo\\n' >&2; exit 3").await;
        assert_eq!(
            error.expect_err("failed").to_string(),
            "sh failed: one; [2Jtwo"
        );
        let none = Tool {
            program: "no-such-program",
            ..SH
        };
        let error = none.run(Path::new("/"), &["x"]).await.expect_err("missing");
        assert!(matches!(error, ImageError::Missing { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_what_it_started() {
        let dir = tempfile::tempdir().expect("a folder");
        let script = "sleep 60 & echo $! >helper; wait";
        let ended = SH.run(dir.path(), &["-c", script]).await;
        assert!(
            matches!(ended, Err(ImageError::Deadline { .. })),
            "{ended:?}"
        );
        let id = std::fs::read_to_string(dir.path().join("helper")).expect("written");
        let stat = format!("/proc/{}/stat", id.trim());
        let gone = async {
            while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(5), gone).await.expect("killed");
    }
}
