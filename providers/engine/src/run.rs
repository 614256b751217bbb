//! Runs one program to its end: in a group of its own, with a deadline, and no more of its output than is asked for. Whoever
//! drops the call ends the group: a program of an engine starts others.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::EngineError;

/// The most bytes of an answer. A listing of a thousand containers in full is shorter.
const OUTPUT: u64 = 16 * 1024 * 1024;

/// The most bytes of a line that is looked at as it comes.
const LINE: u64 = 64 * 1024;

/// So many lines of the end of what a program said are kept.
const LAST: usize = 20;

/// The longest message, in characters.
const MESSAGE: usize = 240;

/// A program that runs, with all that it starts.
struct Group(Child);

impl Group {
    fn start(mut command: Command) -> io::Result<Self> {
        command
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map(Self)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It is waited for by nobody else, so its number is its own until then.
        let leader = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(leader) = leader.and_then(Pid::from_raw) {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Runs a program that answers on its standard output.
pub(crate) async fn answer(
    what: &str,
    command: Command,
    deadline: Duration,
) -> Result<Vec<u8>, EngineError> {
    let (status, out, err) = both(what, command, deadline).await?;
    match status.success() {
        true => Ok(out),
        false => Err(EngineError::Failed {
            what: what.into(),
            said: last_line(&String::from_utf8_lossy(&err)),
        }),
    }
}

/// Runs a program whose both outputs matter.
pub(crate) async fn both(
    what: &str,
    command: Command,
    deadline: Duration,
) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), EngineError> {
    let mut group = Group::start(command).map_err(|source| system(what, source))?;
    let (out, err) = (group.0.stdout.take(), group.0.stderr.take());
    let run = async {
        let (out, err) = tokio::try_join!(whole(out), whole(err))?;
        io::Result::Ok((group.0.wait().await?, out, err))
    };
    let (status, out, err) = timeout(deadline, run)
        .await
        .map_err(|_| late(what, deadline))?
        .map_err(|source| system(what, source))?;
    match out.len() as u64 > OUTPUT || err.len() as u64 > OUTPUT {
        true => Err(EngineError::Output(what.into())),
        false => Ok((status, out, err)),
    }
}

/// Runs a program that tells how far it has come, line by line on either output.
pub(crate) async fn told(
    what: &str,
    command: Command,
    deadline: Duration,
    mut line: impl FnMut(&str),
) -> Result<(), EngineError> {
    let mut group = Group::start(command).map_err(|source| system(what, source))?;
    let (out, err) = (group.0.stdout.take(), group.0.stderr.take());
    let mut last = Vec::new();
    let run = async {
        let (mut out, mut err) = (Lines::of(out), Lines::of(err));
        loop {
            let text = tokio::select! {
                Some(text) = out.next() => text,
                Some(text) = err.next() => text,
                else => break,
            };
            line(&text);
            last.push(text);
            if last.len() > LAST {
                last.remove(0);
            }
        }
        group.0.wait().await
    };
    let status = timeout(deadline, run)
        .await
        .map_err(|_| late(what, deadline))?
        .map_err(|source| system(what, source))?;
    match status.success() {
        true => Ok(()),
        false => Err(EngineError::Failed {
            what: what.into(),
            said: last_line(&last.join("\n")),
        }),
    }
}

async fn whole(output: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(output) = output {
        output.take(OUTPUT + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Lines of one output, each cut at a bound.
struct Lines<R> {
    reader: Option<BufReader<R>>,
    bytes: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn of(output: Option<R>) -> Self {
        Self {
            reader: output.map(BufReader::new),
            bytes: Vec::new(),
        }
    }

    /// The next line; none at the end. May be dropped and called again.
    async fn next(&mut self) -> Option<String> {
        let reader = self.reader.as_mut()?;
        let room = LINE.saturating_sub(self.bytes.len() as u64).max(1);
        let read = reader.take(room).read_until(b'\n', &mut self.bytes).await;
        if matches!(read, Ok(0) | Err(_)) && self.bytes.is_empty() {
            self.reader = None;
            return None;
        }
        let text = String::from_utf8_lossy(&self.bytes).trim_end().to_owned();
        self.bytes.clear();
        Some(text)
    }
}

/// The last line that says something, without what moves a terminal's cursor, and bounded.
pub(crate) fn last_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim);
    let last = lines.rfind(|line| !line.is_empty());
    let plain = last.unwrap_or("it gave no reason");
    let plain = plain.chars().filter(|c| !c.is_control());
    plain.take(MESSAGE).collect()
}

fn late(what: &str, deadline: Duration) -> EngineError {
    EngineError::Late {
        what: what.into(),
        seconds: deadline.as_secs(),
    }
}

fn system(what: &str, source: io::Error) -> EngineError {
    EngineError::System {
        what: what.into(),
        source,
    }
}
