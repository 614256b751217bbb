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
use crate::clone::{is_arriving, sweep};
use crate::secret::add_args;

/// The most output that is kept of a child, in bytes.
const OUTPUT: u64 = 64 * 1024;

/// How long a child has between the polite signal and the other.
const GRACE: Duration = Duration::from_secs(1);

/// Settings that have to be what they are here, whatever the user's say: a push of one commit is that of
/// one commit, no hook runs, nothing is tidied behind our back, and what a ref names is on the disk before it:
/// a fetch is one pack, whatever its size, instead of many files that would be synced one by one.
const SAFE: [&str; 20] = [
    "-c",
    "core.fsync=all",
    "-c",
    "fetch.unpackLimit=1",
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
    "-c",
    "push.followTags=false",
    "-c",
    "push.recurseSubmodules=no",
    "-c",
    "fetch.recurseSubmodules=no",
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

/// Variables that would turn a child to another repository than ours, as they are set inside hooks.
/// Settings of the user's (`GIT_CONFIG_…`) stay: they may be how a host is reached.
const FOREIGN: [&str; 14] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// How long a first fetch may take. Stopped, it would begin anew and never come to an end.
const FIRST: Duration = Duration::from_secs(30 * 60);

/// How long a child may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// In any case.
    deadline: Duration,
    /// When something has arrived by then.
    most: Duration,
    /// Whose repository it is at work in.
    whose: Whose,
}

impl Limits {
    fn of(deadline: Duration, whose: Whose) -> Self {
        Self {
            deadline,
            most: deadline,
            whose,
        }
    }
}

/// Whose a repository is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// A clone of ours alone: what a stopped child leaves there is swept away.
    Ours,
    /// Others are at work in it, too: what looks left may be theirs.
    Shared,
}

/// Runs `git` in a clone of ours. A call that is given up, too, leaves no child.
pub(crate) async fn git<S: AsRef<OsStr>>(
    repository: &Path,
    operation: &'static str,
    args: &[S],
    deadline: Duration,
) -> Result<Output, GitError> {
    let limits = Limits::of(deadline, Whose::Ours);
    run(repository, operation, args, limits).await
}

/// The same in a repository that others write, too.
pub(crate) async fn git_beside_others<S: AsRef<OsStr>>(
    repository: &Path,
    operation: &'static str,
    args: &[S],
    deadline: Duration,
) -> Result<Output, GitError> {
    let limits = Limits::of(deadline, Whose::Shared);
    run(repository, operation, args, limits).await
}

/// The same for a fetch into a clone that has nothing yet: it may go on when something arrives.
pub(crate) async fn first_fetch<S: AsRef<OsStr>>(
    repository: &Path,
    args: &[S],
    deadline: Duration,
) -> Result<Output, GitError> {
    let limits = Limits {
        most: deadline.max(FIRST),
        ..Limits::of(deadline, Whose::Ours)
    };
    run(repository, "fetch", args, limits).await
}

async fn run<S: AsRef<OsStr>>(
    repository: &Path,
    operation: &'static str,
    args: &[S],
    limits: Limits,
) -> Result<Output, GitError> {
    let mut child = command(repository, args)
        .spawn()
        .map_err(GitError::Missing)?;
    let mut group = Group::of(&child);
    match in_time(repository, collect(&mut child, &mut group), limits).await {
        Ok(output) => output.map_err(|error| GitError::Unreachable {
            operation,
            message: error.to_string(),
        }),
        Err(limit) => {
            stop(&mut child, &mut group).await;
            if limits.whose == Whose::Ours {
                sweep(repository);
            }
            Err(GitError::Timeout { operation, limit })
        }
    }
}

/// What a call answers, or the limit that it met.
async fn in_time<T>(
    repository: &Path,
    call: impl Future<Output = T>,
    limits: Limits,
) -> Result<T, Duration> {
    tokio::pin!(call);
    if let Ok(answer) = timeout(limits.deadline, &mut call).await {
        return Ok(answer);
    }
    let more = limits.most.saturating_sub(limits.deadline);
    match more.is_zero() || !is_arriving(repository) {
        true => Err(limits.deadline),
        false => timeout(more, call).await.map_err(|_| limits.most),
    }
}

fn command<S: AsRef<OsStr>>(repository: &Path, args: &[S]) -> Command {
    let mut command = Command::new("git");
    command.arg("--git-dir").arg(repository).args(SAFE);
    add_args(&mut command, args);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    FOREIGN.iter().for_each(|name| {
        command.env_remove(name);
    });
    command
        .env("GIT_ASKPASS", "true")
        .env("SSH_ASKPASS", "true")
        .env("SSH_ASKPASS_REQUIRE", "never");
    if !chooses_ssh(repository) {
        // Otherwise ssh asks on the terminal that the daemon was started from.
        command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
    }
    command.process_group(0);
    command
}

/// Whether the user has said how to run ssh; then that is what happens.
fn chooses_ssh(repository: &Path) -> bool {
    let in_environment = ["GIT_SSH_COMMAND", "GIT_SSH"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    let configured = || {
        let config = git2::Repository::open(repository).and_then(|opened| opened.config());
        config.is_ok_and(|config| config.get_entry("core.sshCommand").is_ok())
    };
    in_environment || configured()
}

/// A child's process group, killed when it is dropped before the child has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

async fn collect(child: &mut Child, group: &mut Group) -> std::io::Result<Output> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = {
        let read = async { tokio::join!(bounded(stdout, &mut out), bounded(stderr, &mut err)) };
        tokio::pin!(read);
        tokio::select! {
            (stdout, stderr) = &mut read => {
                stdout.and(stderr)?;
                let status = child.wait().await?;
                group.0 = None;
                status
            }
            status = child.wait() => {
                group.0 = None;
                // What it left in the background may hold the pipes for as long as it likes.
                if let Ok((stdout, stderr)) = timeout(GRACE, read).await {
                    stdout.and(stderr)?;
                }
                status?
            }
        }
    };
    Ok(Output {
        success: status.success(),
        stdout: String::from_utf8_lossy(&out).into_owned(),
        stderr: redact(&String::from_utf8_lossy(&err)),
    })
}

/// What is beyond the bound is read and thrown away, so that the child never blocks on us.
async fn bounded(pipe: Option<impl AsyncRead + Unpin>, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(OUTPUT).read_to_end(bytes).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(())
}

/// Helpers of `git` such as ssh are in the group and may outlive it, so the second signal is sent in
/// any case. The child is not waited for before that: until then its id cannot be another's.
async fn stop(child: &mut Child, group: &mut Group) {
    group.signal(Signal::TERM);
    sleep(GRACE).await;
    group.signal(Signal::KILL);
    group.0 = None;
    let _ = timeout(GRACE, child.wait()).await;
}

/// A location or a text with locations, fit to be shown: `https://user:secret@host` becomes `https://host`.
pub fn redact(text: &str) -> String {
    let mut parts = text.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let ends = |letter: char| letter == '/' || letter.is_whitespace();
        let host = &part[..part.find(ends).unwrap_or(part.len())];
        let secret = host.rfind('@').map_or(0, |at| at + 1);
        clean.push_str("://");
        clean.push_str(&part[secret..]);
    }
    clean
}

/// The first telling lines of what `git` said, on one line. A remote's words may hold anything, but
/// nothing that a terminal obeys comes through.
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
    let line = lines.join("; ");
    let plain = line.chars().filter(|letter| !letter.is_control());
    plain.take(200).collect()
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
        assert_eq!(
            redact("https://a:b@h,https://c:d@i\nhttps://j"),
            "https://h,https://i\nhttps://j"
        );
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_leaves_no_helper_running() {
        let dir = tempfile::tempdir().expect("a folder");
        git2::Repository::init_bare(dir.path()).expect("made");
        let marker = dir.path().join("helper");
        // An alias runs a shell below `git`, as a transport runs ssh.
        let alias = format!(
            "alias.wait=!echo $$ >'{0}.new'; mv '{0}.new' '{0}'; sleep 60; :",
            marker.display()
        );
        let args = ["-c", &alias, "wait"];
        let call = git(dir.path(), "wait", &args, Duration::from_secs(60));
        let started = async {
            while !marker.exists() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = call => panic!("the helper ended by itself"),
            () = started => {}
        }
        let id = std::fs::read_to_string(&marker).expect("written");
        let stat = format!("/proc/{}/stat", id.trim());
        let gone = async {
            while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(5), gone)
            .await
            .expect("the helper was killed");
    }

    /// A clone in which a pack is half there.
    fn half_fetched() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        git2::Repository::init_bare(dir.path()).expect("made");
        let half = dir.path().join("objects/pack/tmp_pack_x");
        std::fs::write(&half, "PACK").expect("written");
        (dir, half)
    }

    #[tokio::test]
    async fn what_a_stopped_child_was_writing_is_removed() {
        let (dir, half) = half_fetched();
        let lock = dir.path().join("refs/heads/main.lock");
        std::fs::write(&lock, "").expect("written");
        let args = ["-c", "alias.wait=!sleep 60; :", "wait"];
        let stopped = git(dir.path(), "fetch", &args, Duration::from_millis(50)).await;
        assert!(matches!(stopped, Err(GitError::Timeout { .. })));
        assert!(!half.exists() && !lock.exists());
    }

    #[tokio::test]
    async fn a_first_fetch_goes_on_when_something_arrives() {
        let (dir, half) = half_fetched();
        // It ends when the test says so, which is after the deadline.
        let alias = format!(
            "alias.wait=!while test -e '{}'; do sleep 0.05; done; :",
            half.display()
        );
        let args = ["-c", &alias, "wait"];
        let deadline = Duration::from_millis(50);
        let fetch = first_fetch(dir.path(), &args, deadline);
        let ends = async {
            sleep(deadline * 10).await;
            std::fs::remove_file(&half).expect("there");
        };
        let (fetched, ()) = tokio::join!(fetch, ends);
        assert!(fetched.expect("not stopped").success);
        let args = ["-c", "alias.wait=!sleep 60; :", "wait"];
        let stopped = first_fetch(dir.path(), &args, deadline).await;
        assert!(matches!(stopped, Err(GitError::Timeout { limit, .. }) if limit == deadline));
    }

    #[tokio::test]
    async fn what_a_child_leaves_in_the_background_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a folder");
        git2::Repository::init_bare(dir.path()).expect("made");
        // It ends with the test's folder; before that it holds both pipes.
        let alias = format!(
            "alias.leave=!(while test -d '{}'; do sleep 0.1; done) & echo said; :",
            dir.path().display()
        );
        let args = ["-c", &alias, "leave"];
        let output = git(dir.path(), "leave", &args, Duration::from_secs(30)).await;
        let output = output.expect("ended");
        assert!(output.success && output.stdout == "said\n", "{output:?}");
    }

    #[test]
    fn a_child_sees_no_other_repository() {
        let mut list = std::process::Command::new("git");
        let list = list.args(["rev-parse", "--local-env-vars"]).output();
        let list = String::from_utf8(list.expect("git runs").stdout).expect("names");
        let local = |name: &&str| !name.starts_with("GIT_CONFIG");
        let missing: Vec<_> = list
            .lines()
            .filter(local)
            .filter(|name| !FOREIGN.contains(name))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn a_remotes_words_give_no_orders_to_a_terminal() {
        assert_eq!(first_words("remote: \u{1b}[2Jx\u{7}\n"), "remote: [2Jx");
    }

    #[test]
    fn ssh_asks_nobody_unless_the_user_chose_otherwise() {
        let dir = tempfile::tempdir().expect("a folder");
        let repository = git2::Repository::init_bare(dir.path()).expect("made");
        let mut config = repository.config().expect("readable");
        let sets_ssh = |path: &Path| {
            let command = command(path, &["version"]);
            command
                .as_std()
                .get_envs()
                .any(|(name, _)| name == "GIT_SSH_COMMAND")
        };
        let free = ["GIT_SSH_COMMAND", "GIT_SSH"]
            .iter()
            .all(|name| std::env::var_os(name).is_none())
            && config.get_entry("core.sshCommand").is_err();
        assert_eq!(sets_ssh(dir.path()), free, "batch mode by default");
        let chosen = "ssh -i key";
        config.set_str("core.sshCommand", chosen).expect("written");
        assert!(!sets_ssh(dir.path()), "the configured one stays in force");
    }
}
