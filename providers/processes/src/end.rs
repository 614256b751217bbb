//! Ends processes: asks some of them, waits, then kills whatever is left.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::Process;
use crate::find::{list, own_session};

/// How long processes may take to go after SIGKILL before that is an error.
pub const AFTER_KILL: Duration = Duration::from_secs(5);

/// The first pause between two looks.
const BETWEEN: Duration = Duration::from_millis(2);

/// The longest pause between two looks.
const LONGEST_LOOK: Duration = Duration::from_millis(50);

/// Why processes could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// They could not be looked for, or not be signalled.
    #[error("processes cannot be listed or signalled")]
    System(#[source] io::Error),
    /// Some are left although they were killed: the kernel holds them.
    #[error("{0} processes are still there after they were killed")]
    Left(usize),
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// There was nothing to end.
    Nothing,
    /// All went when they were asked.
    Asked,
    /// Some had to be killed.
    Killed,
}

/// Ends every process that `belongs`: sends SIGTERM to those that are `asked` (to all, when none of
/// them is), waits for at most `grace` until all are gone, and kills the rest. `belongs` is given the
/// process and the caller's own session, see [`Process::is_in_group`].
///
/// # Errors
/// When processes cannot be listed or signalled, or some outlive SIGKILL by five seconds.
pub async fn end(
    belongs: impl Fn(&Process, u32) -> bool + Send + Sync + 'static,
    asked: impl Fn(&Process) -> bool,
    grace: Duration,
) -> Result<Ended, EndError> {
    let belongs = Arc::new(belongs);
    let mut found = find(&belongs).await?;
    if found.is_empty() {
        // One look may miss a process that its parent made just before it ended.
        sleep(BETWEEN).await;
        found = find(&belongs).await?;
    }
    if found.is_empty() {
        return Ok(Ended::Nothing);
    }
    let nobody = !found.iter().any(&asked);
    let mut told: Vec<Process> = Vec::new();
    // One that the first look missed is told when it is found.
    let ask = |process: &Process| {
        if !(nobody || asked(process)) || told.iter().any(|other| other.is(process)) {
            return Ok(());
        }
        told.push(process.clone());
        process.signal(Signal::TERM)
    };
    if gone(&belongs, ask, grace).await? == 0 {
        return Ok(Ended::Asked);
    }
    let kill = |process: &Process| process.signal(Signal::KILL);
    match gone(&belongs, kill, AFTER_KILL).await? {
        0 => Ok(Ended::Killed),
        left => Err(EndError::Left(left)),
    }
}

/// Looks until none is left or the time is up, and tells those that it finds. Answers how many are
/// left. A process may be missed that is made while the others are listed, so none has to be found twice.
async fn gone<F>(
    belongs: &Arc<F>,
    mut tell: impl FnMut(&Process) -> io::Result<()>,
    within: Duration,
) -> Result<usize, EndError>
where
    F: Fn(&Process, u32) -> bool + Send + Sync + 'static,
{
    let deadline = Instant::now() + within;
    let mut pause = BETWEEN;
    let mut clear = 0;
    loop {
        let found = find(belongs).await?;
        clear = if found.is_empty() { clear + 1 } else { 0 };
        if clear == 2 {
            return Ok(0);
        }
        if clear == 0 && Instant::now() >= deadline {
            return Ok(found.len());
        }
        for process in &found {
            tell(process).map_err(EndError::System)?;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
    }
}

async fn find<F>(belongs: &Arc<F>) -> Result<Vec<Process>, EndError>
where
    F: Fn(&Process, u32) -> bool + Send + Sync + 'static,
{
    let belongs = Arc::clone(belongs);
    let look = move || {
        let session = own_session()?;
        let mut found = list()?;
        found.retain(|process| belongs(process, session));
        Ok(found)
    };
    let looked = tokio::task::spawn_blocking(look).await;
    looked
        .unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
        .map_err(EndError::System)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    const NAME: &str = "EASYENCLAVE_TEST";

    fn shell(label: &str, script: &str) -> Child {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .env(NAME, label)
            .stdout(Stdio::piped())
            .process_group(0);
        command.spawn().expect("sh starts")
    }

    fn unique(test: &str) -> String {
        format!("{test}-{}", std::process::id())
    }

    fn labelled(label: &str) -> impl Fn(&Process, u32) -> bool + Send + Sync + 'static {
        let label = label.to_owned();
        move |process, _| process.label(NAME) == Some(label.as_str())
    }

    fn count(label: &str) -> usize {
        let of_label = |process: &Process| process.label(NAME) == Some(label);
        list()
            .expect("listed")
            .iter()
            .filter(|process| of_label(process))
            .count()
    }

    /// Waits until the script has printed its line, so that its traps and children are there.
    fn ready(child: &mut Child) {
        use std::io::BufRead;
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("piped");
        std::io::BufReader::new(out)
            .read_line(&mut line)
            .expect("a line");
        assert_eq!(line, "ready\n");
    }

    #[tokio::test]
    async fn nothing_is_no_error() {
        let ended = end(labelled("nobody"), |_| true, Duration::from_secs(5)).await;
        assert_eq!(ended.expect("looked"), Ended::Nothing);
    }

    #[tokio::test]
    async fn one_that_listens_is_asked_and_one_that_does_not_is_killed() {
        let (kind, deaf) = (unique("kind"), unique("deaf"));
        let mut child = shell(&kind, "echo ready; exec sleep 60");
        ready(&mut child);
        let ended = end(labelled(&kind), |_| true, Duration::from_secs(5)).await;
        assert_eq!(ended.expect("ended"), Ended::Asked);
        let mut child = shell(
            &deaf,
            "trap '' TERM; echo ready; while :; do sleep 60; done",
        );
        ready(&mut child);
        let ended = end(labelled(&deaf), |_| true, Duration::from_millis(100)).await;
        assert_eq!(ended.expect("ended"), Ended::Killed);
        assert_eq!((count(&kind), count(&deaf)), (0, 0));
    }

    #[tokio::test]
    async fn children_in_sessions_of_their_own_go_too() {
        let label = unique("escaped");
        let mut child = shell(
            &label,
            "setsid sleep 60 & setsid sleep 60 & echo ready; wait",
        );
        ready(&mut child);
        let ended = end(labelled(&label), |_| true, Duration::from_secs(5)).await;
        assert_eq!(ended.expect("ended"), Ended::Asked);
        assert_eq!(count(&label), 0);
    }

    #[tokio::test]
    async fn one_that_the_first_look_missed_is_asked_too() {
        let label = unique("missed");
        let mut child = shell(&label, "sleep 60 & echo ready; wait");
        ready(&mut child);
        let shell = child.id();
        let looks = std::sync::atomic::AtomicU32::new(0);
        let belongs = labelled(&label);
        let missed = move |process: &Process, session| {
            let known = belongs(process, session);
            let sleeps = known && process.id() != shell;
            known && !(sleeps && looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0)
        };
        let ended = end(missed, |_| true, Duration::from_secs(5)).await;
        assert_eq!(ended.expect("ended"), Ended::Asked);
        assert_eq!(count(&label), 0);
    }

    #[tokio::test]
    async fn a_group_is_found_without_labels_but_only_in_our_session() {
        let label = unique("group");
        let mut child = shell(
            &label,
            &format!("env -u {NAME} sleep 60 & echo ready; exit"),
        );
        ready(&mut child);
        child.wait().expect("its leader has ended");
        let leader = child.id();
        let session = own_session().expect("readable");
        let members = || {
            let list = list().expect("listed");
            list.iter()
                .filter(|process| process.is_in_group(leader, session))
                .count()
        };
        assert_eq!(members(), 1);
        let stranger = list().expect("listed");
        assert!(
            !stranger
                .iter()
                .any(|process| process.is_in_group(leader, session + 1))
        );
        let in_group = move |process: &Process, session| process.is_in_group(leader, session);
        let ended = end(in_group, |_| true, Duration::from_secs(5)).await;
        assert_eq!(ended.expect("ended"), Ended::Asked);
        assert_eq!(members(), 0);
    }

    /// A program whose first thread ends while another goes on.
    const HEADLESS: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *go_on(void *unused) { puts("ready"); fflush(stdout); sleep(60); return unused; }
int main(void) { pthread_t t; pthread_create(&t, NULL, go_on, NULL); pthread_exit(NULL); }
"#;

    #[tokio::test]
    async fn one_whose_first_thread_has_ended_is_found_and_ended() {
        let dir = tempfile::tempdir().expect("a folder");
        let (source, program) = (dir.path().join("headless.c"), dir.path().join("headless"));
        std::fs::write(&source, HEADLESS).expect("written");
        let mut cc = Command::new("cc");
        cc.args(["-pthread", "-o"]).args([&program, &source]);
        assert!(cc.status().expect("cc runs").success());
        let label = unique("headless");
        let mut child = Command::new(&program)
            .env(NAME, &label)
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("it starts");
        ready(&mut child);
        let stat = format!("/proc/{}/stat", child.id());
        while !std::fs::read_to_string(&stat)
            .expect("there")
            .contains(") Z ")
        {
            sleep(BETWEEN).await;
        }
        assert_eq!(count(&label), 1);
        let ended = end(labelled(&label), |_| true, Duration::from_secs(5)).await;
        assert_eq!(ended.expect("ended"), Ended::Asked);
        assert_eq!(count(&label), 0);
        child.wait().expect("ended");
    }

    #[tokio::test]
    async fn those_who_are_not_asked_are_given_time_and_then_killed() {
        let label = unique("asked");
        let mut child = shell(&label, "sleep 60 & echo ready; wait");
        ready(&mut child);
        let leader = child.id();
        let asked = move |process: &Process| process.id() == leader;
        let ended = end(labelled(&label), asked, Duration::from_millis(100)).await;
        assert_eq!(ended.expect("ended"), Ended::Killed);
        assert_eq!(count(&label), 0);
    }
}
