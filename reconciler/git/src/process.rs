//! Runs the `git` program: a child in its own process group, with a deadline, no prompts and bounded
//! output. The user's SSH configuration and credential helpers stay in force: they are how people reach
//! their hosts. What could harm our own clones is switched off.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::GitError;

/// The most output that is kept of a child, in bytes.
const OUTPUT: u64 = 64 * 1024;

/// How long a child has between the polite signal and the other.
const GRACE: Duration = Duration::from_secs(1);

const SAFE: [&str; 10] = [
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "advice.pushUpdateRejected=false",
];

/// What a child said.
#[derive(Debug)]
pub(crate) struct Output {
    /// Whether it exited with 0.
    pub(crate) success: bool,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error, with credentials taken out of addresses.
    pub(crate) stderr: String,
}

/// Runs `git` in a repository.
pub(crate) async fn git<S: AsRef<OsStr>>(
    repository: &Path,
    operation: &'static str,
    args: &[S],
    deadline: Duration,
) -> Result<Output, GitError> {
    let mut command = Command::new("git");
    command
        .arg("--git-dir")
        .arg(repository)
        .args(SAFE)
        .args(args);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    command
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE");
    command
        .env("GIT_ASKPASS", "true")
        .env("SSH_ASKPASS", "true")
        .env("SSH_ASKPASS_REQUIRE", "never");
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(GitError::Missing)?;
    let group = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let output = timeout(deadline, collect(&mut child)).await;
    match output {
        Ok(output) => output.map_err(|error| GitError::Unreachable {
            operation,
            message: error.to_string(),
        }),
        Err(_) => {
            stop(&mut child, group).await;
            Err(GitError::Timeout {
                operation,
                limit: deadline,
            })
        }
    }
}

async fn collect(child: &mut Child) -> std::io::Result<Output> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::join!(bounded(stdout), bounded(stderr));
    let status = child.wait().await?;
    Ok(Output {
        success: status.success(),
        stdout: stdout?,
        stderr: redact(&stderr?),
    })
}

/// What is beyond the bound is read and thrown away, so that the child never blocks on us.
async fn bounded(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(OUTPUT).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn stop(child: &mut Child, group: Option<Pid>) {
    for signal in [Signal::TERM, Signal::KILL] {
        if let Some(group) = group {
            let _ = kill_process_group(group, signal);
        }
        if signal == Signal::TERM {
            // Helpers of `git` such as ssh are in the group and may outlive it, so the second signal
            // is sent in any case.
            sleep(GRACE).await;
        }
    }
    let _ = timeout(GRACE, child.wait()).await;
}

/// `https://user:secret@host` becomes `https://host`.
pub(crate) fn redact(text: &str) -> String {
    let words =
        text.split_inclusive(char::is_whitespace)
            .map(|word| match word.split_once("://") {
                Some((scheme, rest)) => {
                    let end = rest.find('/').unwrap_or(rest.len());
                    match rest[..end].rfind('@') {
                        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
                        None => word.to_owned(),
                    }
                }
                None => word.to_owned(),
            });
    words.collect()
}

/// The first telling lines of what `git` said, on one line.
pub(crate) fn first_words(stderr: &str) -> String {
    let telling = |line: &&str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with("hint:") && !line.starts_with("To ")
    };
    let lines: Vec<_> = stderr
        .lines()
        .filter(telling)
        .map(str::trim)
        .take(4)
        .collect();
    lines.join("; ").chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_reach_messages() {
        let text = "fatal: unable to access 'https://me:s3cr3t@host.example/x': no";
        assert_eq!(
            redact(text),
            "fatal: unable to access 'https://host.example/x': no"
        );
        assert_eq!(
            redact("ssh://git@h/x https://h/a@b"),
            "ssh://h/x https://h/a@b"
        );
    }
}
