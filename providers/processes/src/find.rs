//! Reads `/proc`: which processes of this user run, in which group, under which labels.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, geteuid, getpid, pidfd_open, pidfd_send_signal};

/// A program that is being loaded has no environment yet, for well under a millisecond as a rule. It is
/// looked at so often, a millisecond apart, before the listing fails.
const LOOKS: u32 = 200;

/// The bit of a kernel thread in a process's flags. Such a thread has no environment.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// Only variables with this prefix are kept of an environment.
const PREFIX: &[u8] = b"EASYENCLAVE_";

/// A process that ran when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pid: Pid,
    stat: Stat,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    group: i32,
    session: i32,
    started: u64,
    life: Life,
    environment: Environment,
}

/// What is left of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// It runs.
    Runs,
    /// Its first thread has ended and others run: the kernel shows it as a zombie without an environment.
    Headless,
    /// It waits for its parent to take notice.
    Ended,
}

/// Whether a process has an environment, by what the kernel says of its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Environment {
    /// It has none, and will not get one.
    None,
    /// Its program is being loaded.
    Coming,
    /// It has one.
    There,
}

impl Process {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// Whether it is this process, whatever it runs by now and in whatever group.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.pid, self.stat.started) == (other.pid, other.stat.started)
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// Whether it is in the group that a child of ours leads or led. A group of that number in
    /// another session is somebody else's.
    pub fn is_in_group(&self, leader: u32, session: u32) -> bool {
        self.stat.group.unsigned_abs() == leader && self.stat.session.unsigned_abs() == session
    }

    /// Sends a signal, if it is still this process that has the number. One that has ended is no
    /// error.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.try_signal(signal) {
            Err(error) if is_gone(&error) => Ok(()),
            result => result,
        }
    }

    /// The descriptor is opened first and the number checked after: if the process of this start
    /// time still has the number, then it had it when the descriptor was opened.
    fn try_signal(&self, signal: Signal) -> io::Result<()> {
        let pidfd = pidfd_open(self.pid, PidfdFlags::empty())?;
        let now = stat(&folder(self.pid))?;
        if now.started == self.stat.started && now.life != Life::Ended {
            pidfd_send_signal(pidfd, signal)?;
        }
        Ok(())
    }
}

/// Every process of this user but the caller's own. Zombies do not count. One that hides its environment
/// from its own user, such as one with more rights, has no labels; its group is known all the same.
///
/// # Errors
/// When `/proc` cannot be read; a listing is complete or an error.
pub fn list() -> io::Result<Vec<Process>> {
    let (user, own) = (geteuid().as_raw(), getpid());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw);
        let Some(pid) = pid.filter(|pid| *pid != own) else {
            continue;
        };
        match read(pid, user) {
            Ok(process) => found.extend(process),
            Err(error) if is_gone(&error) || is_hidden(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The caller's own session.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn own_session() -> io::Result<u32> {
    Ok(stat(Path::new("/proc/self"))?.session.unsigned_abs())
}

fn read(pid: Pid, user: u32) -> io::Result<Option<Process>> {
    let folder = folder(pid);
    // The folder of one that hides is root's.
    if fs::metadata(&folder)?.uid() != user && real_user(&folder)? != Some(user) {
        return Ok(None);
    }
    let process = |stat, labels| Ok(Some(Process { pid, stat, labels }));
    for _ in 0..LOOKS {
        let stat = stat(&folder)?;
        let found = match stat.life {
            Life::Ended => return Ok(None),
            Life::Runs => environ(&folder, stat.environment),
            Life::Headless => environ_of_threads(&folder),
        };
        match found {
            Ok(Some(environ)) => return process(stat, labels(&environ)),
            Ok(None) => thread::sleep(Duration::from_millis(1)),
            Err(error) if is_hidden(&error) => return process(stat, BTreeMap::new()),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, untold(pid)))
}

/// Its labels are in its environment, which it does not have before its program is loaded.
fn untold(pid: Pid) -> String {
    format!("process {pid} is still being started, so nobody can tell yet whose it is")
}

/// The environment of a process or thread; nothing when it is still to come.
fn environ(folder: &Path, environment: Environment) -> io::Result<Option<Vec<u8>>> {
    let environ = fs::read(folder.join("environ"))?;
    let is_known = environment == Environment::None || !environ.is_empty();
    Ok(is_known.then_some(environ))
}

/// The environment that the threads of a process share; nothing when none of them could tell.
fn environ_of_threads(folder: &Path) -> io::Result<Option<Vec<u8>>> {
    for thread in fs::read_dir(folder.join("task"))? {
        let thread = thread?.path();
        let found = stat(&thread).and_then(|stat| match stat.life {
            Life::Runs => environ(&thread, stat.environment),
            Life::Headless | Life::Ended => Ok(None),
        });
        match found {
            Ok(None) => {}
            Err(error) if is_gone(&error) => {}
            found => return found,
        }
    }
    Ok(None)
}

/// Who started a process, whatever rights it has by now.
fn real_user(folder: &Path) -> io::Result<Option<u32>> {
    let status = fs::read(folder.join("status"))?;
    let status = String::from_utf8_lossy(&status);
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    Ok(users.and_then(|users| users.split_whitespace().next()?.parse().ok()))
}

fn folder(pid: Pid) -> std::path::PathBuf {
    Path::new("/proc").join(pid.as_raw_pid().to_string())
}

fn stat(folder: &Path) -> io::Result<Stat> {
    let text = fs::read(folder.join("stat"))?;
    parse(&String::from_utf8_lossy(&text))
        .ok_or_else(|| io::Error::other(format!("{} has no known shape", folder.display())))
}

/// The name of a program may hold anything, so fields are counted after the last parenthesis.
fn parse(stat: &str) -> Option<Stat> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let flags: u32 = fields.get(6)?.parse().ok()?;
    let (start, end): (u64, u64) = (fields.get(47)?.parse().ok()?, fields.get(48)?.parse().ok()?);
    let code_end: u64 = fields.get(24)?.parse().ok()?;
    // While a program is loaded, the kernel notes where its environment starts, and the same place as its end;
    // goes through it; notes its real end; and only then where the program's code is. So without code, no end
    // is believed.
    let environment = match (flags & KERNEL_THREAD, code_end) {
        (0, 0) => Environment::Coming,
        (0, _) if start < end => Environment::There,
        (0, _) if start != end || start == 0 => Environment::Coming,
        _ => Environment::None,
    };
    let threads: u32 = fields.get(17)?.parse().ok()?;
    let life = match *fields.first()? {
        "Z" if threads > 1 => Life::Headless,
        "Z" | "X" | "x" => Life::Ended,
        _ => Life::Runs,
    };
    Some(Stat {
        life,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        environment,
    })
}

fn labels(environ: &[u8]) -> BTreeMap<String, String> {
    let ours = environ
        .split(|byte| *byte == 0)
        .filter(|entry| entry.starts_with(PREFIX));
    ours.filter_map(|entry| {
        let (name, value) = std::str::from_utf8(entry).ok()?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    })
    .collect()
}

/// A process that ends while it is read.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

fn is_hidden(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of `/proc/PID/stat` of a loaded program with these flags and this environment.
    fn line(name: &str, flags: u32, start: u64, end: u64) -> String {
        line_of(name, flags, 9, start, end)
    }

    /// The same, with the end of its code.
    fn line_of(name: &str, flags: u32, code_end: u64, start: u64, end: u64) -> String {
        let zeros = "0 ".repeat(22);
        format!(
            "9 ({name}) S 1 77 78 0 -1 {flags} 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0 0 8 {code_end} {zeros}{start} {end} 0"
        )
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let expected = Stat {
            group: 77,
            session: 78,
            started: 4242,
            life: Life::Runs,
            environment: Environment::There,
        };
        assert_eq!(parse(&line("a) Z (b", 0x40_0000, 10, 20)), Some(expected));
        let zombie = line("a", 0x40_0000, 0, 0).replace(") S", ") Z");
        assert_eq!(parse(&zombie).expect("a stat line").life, Life::Ended);
        let headless = zombie.replace(" 20 0 1 0 ", " 20 0 2 0 ");
        assert_eq!(parse(&headless).expect("a stat line").life, Life::Headless);
        assert_eq!(parse("9 (a"), None);
        assert_eq!(parse("9 (a) S 1 2"), None);
    }

    #[test]
    fn no_environment_is_told_from_one_that_is_coming() {
        let environment = |line: String| parse(&line).expect("a stat line").environment;
        assert_eq!(
            environment(line("loading", 0x40_0000, 0, 0)),
            Environment::Coming
        );
        assert_eq!(
            environment(line("loading", 0x40_0000, 10, 0)),
            Environment::Coming
        );
        assert_eq!(
            environment(line("bare", 0x40_0000, 10, 10)),
            Environment::None
        );
        for end in [10, 20] {
            assert_eq!(
                environment(line_of("loading", 0x40_0000, 0, 10, end)),
                Environment::Coming
            );
        }
        assert_eq!(
            environment(line("kthreadd", 0x20_8040, 0, 0)),
            Environment::None
        );
    }

    /// Starting a program is over for its parent before the kernel shows the environment.
    #[test]
    fn a_process_is_found_as_soon_as_it_was_started() {
        let path = std::env::var_os("PATH").expect("a search path");
        for _ in 0..50 {
            let mut sleep = std::process::Command::new("sleep");
            sleep
                .arg("60")
                .env_clear()
                .env("PATH", &path)
                .env("EASYENCLAVE_TEST", "started");
            let mut child = sleep.spawn().expect("sleep starts");
            let found = list()
                .expect("listed")
                .into_iter()
                .find(|other| other.id() == child.id());
            child.kill().expect("killed");
            child.wait().expect("ended");
            assert_eq!(
                found.expect("running").label("EASYENCLAVE_TEST"),
                Some("started")
            );
        }
    }

    #[test]
    fn what_keeps_a_listing_is_told_in_words_of_whoever_reads_the_log() {
        let said = untold(Pid::INIT);
        assert!(
            said.starts_with("process 1 is still being started"),
            "{said}"
        );
    }

    #[test]
    fn a_process_without_an_environment_is_not_waited_for() {
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("60")
            .env_clear()
            .spawn()
            .expect("sleep starts");
        let found = read(Pid::from_child(&child), geteuid().as_raw());
        child.kill().expect("killed");
        child.wait().expect("ended");
        let found = found.expect("readable").expect("running");
        assert_eq!(found.stat.environment, Environment::None);
    }

    #[test]
    fn only_labels_are_kept_of_an_environment() {
        let environ = b"PATH=/bin\0EASYENCLAVE_ORDER=a=b\0SECRET=x\0EASYENCLAVE_BAD\0";
        let expected = BTreeMap::from([("EASYENCLAVE_ORDER".to_owned(), "a=b".to_owned())]);
        assert_eq!(labels(environ), expected);
    }

    #[test]
    fn a_number_that_another_process_has_now_is_not_signalled() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep starts");
        let pid = Pid::from_child(&child);
        let mut other = read(pid, geteuid().as_raw())
            .expect("readable")
            .expect("running");
        other.stat.started += 1;
        other.signal(Signal::KILL).expect("nothing is done");
        assert!(child.try_wait().expect("waits").is_none());
        other.stat.started -= 1;
        other.signal(Signal::KILL).expect("signalled");
        child.wait().expect("ended");
        other
            .signal(Signal::KILL)
            .expect("one that has ended is no error");
    }
}
