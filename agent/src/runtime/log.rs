//! The workload's output: two files of bounded size, the older of which is given up for the newer. Never
//! makes the workload wait for longer than a write to the disk takes, and never keeps a line of any length. What one deployment
//! prints is never given out as another's.

use std::fs;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use easyenclave_schemas::DeploymentId;
use easyenclave_schemas::wire::{LOG_BYTES, LogPage};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::process::named;
use crate::clock;

/// A file is given up for a new one at this size, in bytes.
const FILE: u64 = 1024 * 1024;

/// A longer line is cut, in bytes.
const LINE: usize = 4096;

/// Written in place of what was cut off.
const CUT: &[u8] = b" [cut]";

/// The log of the workload.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    newer: PathBuf,
    older: PathBuf,
    /// Held while the files change their places or are opened, and not while they are read.
    origin: Arc<Mutex<Origin>>,
    grown: Arc<Notify>,
}

/// Where the newer file begins in all that was printed.
#[derive(Debug)]
struct Origin {
    /// Since when it is counted: another one for each time that all is forgotten.
    run: String,
    /// So many bytes came before it, as far as they are known of.
    before: u64,
    /// Whose output it is; nobody's where that is not known.
    of: Option<DeploymentId>,
}

impl Origin {
    fn new(before: u64) -> Self {
        Self {
            run: clock::unique(),
            before,
            of: None,
        }
    }

    /// How many bytes came before a cursor, if it is of this run.
    fn place(&self, cursor: &str) -> Option<u64> {
        let place = cursor.strip_prefix(&self.run)?.strip_prefix('.')?;
        place.parse().ok()
    }
}

/// What is in both files at one moment.
struct Content {
    run: String,
    /// So many bytes came before the cursor that was shown, if it is of this run.
    known: Option<u64>,
    /// So many bytes came before it.
    start: u64,
    /// Whole lines. What is not ended yet is none.
    bytes: Vec<u8>,
}

impl Log {
    /// The log in this folder, which may have one already: nobody's until another is begun.
    pub(crate) fn new(folder: &Path) -> Self {
        let older = folder.join("workload.log.1");
        let before = std::fs::metadata(&older).map_or(0, |found| found.len());
        Self {
            newer: folder.join("workload.log"),
            older,
            origin: Arc::new(Mutex::new(Origin::new(before))),
            grown: Arc::default(),
        }
    }

    /// Whoever waits for this is told when something is printed.
    pub(crate) fn grown(&self) -> &Notify {
        &self.grown
    }

    /// Forgets everything: what is printed from now on is this deployment's.
    pub(crate) async fn begin(&self, of: &DeploymentId) -> io::Result<()> {
        self.forget(Some(of.clone())).await
    }

    /// Forgets everything, and is nobody's. Nothing more is given out even where it stays on the disk.
    pub(crate) async fn clear(&self) -> io::Result<()> {
        self.forget(None).await
    }

    async fn forget(&self, next: Option<DeploymentId>) -> io::Result<()> {
        let failed = |error| named(error, format!("cannot clear {}", self.newer.display()));
        self.aside(|log| log.remove(next)).await.map_err(failed)
    }

    fn remove(&self, next: Option<DeploymentId>) -> io::Result<()> {
        let mut origin = self.origin();
        *origin = Origin::new(0);
        for file in [&self.older, &self.newer] {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        origin.of = next;
        Ok(())
    }

    /// Gives the older file up for the newer one, which has this size.
    fn turn(&self, size: u64) -> io::Result<()> {
        let mut origin = self.origin();
        fs::rename(&self.newer, &self.older)?;
        origin.before += size;
        Ok(())
    }

    fn origin(&self) -> MutexGuard<'_, Origin> {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does this where disks may be waited for.
    async fn aside<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let log = self.clone();
        let done = tokio::task::spawn_blocking(move || what(&log)).await;
        done.map_err(io::Error::other)?
    }

    /// The end of a pipe for a process to write to, and the task that empties the pipe until nobody
    /// writes to it any more.
    pub(crate) fn sink(&self) -> io::Result<(io::PipeWriter, JoinHandle<()>)> {
        let (reader, writer) = io::pipe()?;
        let reader = pipe::Receiver::from_owned_fd(reader.into())?;
        Ok((writer, tokio::spawn(drain(reader, self.clone()))))
    }

    /// The last lines of a deployment, oldest first, at most so many; none of another's.
    pub(crate) async fn tail(&self, of: &DeploymentId, lines: usize) -> io::Result<String> {
        let of = of.clone();
        let content = self.aside(move |log| log.read(&of, "")).await?;
        let bytes = content.map(|content| content.bytes).unwrap_or_default();
        let recent = &bytes[bytes.len().saturating_sub(LOG_BYTES)..];
        let text = String::from_utf8_lossy(recent);
        let skipped = text.lines().count().saturating_sub(lines);
        Ok(text
            .lines()
            .skip(skipped)
            .flat_map(|line| [line, "\n"])
            .collect())
    }

    /// The first lines of a deployment after a cursor, at most so many; the last ones where that is none of this run's, and none
    /// of another deployment's.
    pub(crate) async fn page(
        &self,
        of: &DeploymentId,
        after: &str,
        lines: usize,
    ) -> io::Result<LogPage> {
        let Some(content) = self.content(of, after).await? else {
            return Ok(LogPage::nothing(after));
        };
        let Content {
            run,
            known,
            start,
            bytes,
        } = content;
        let (from, missed) = match known.map(|at| at.checked_sub(start)) {
            Some(Some(from)) => (usize::try_from(from).unwrap_or(usize::MAX), false),
            Some(None) => (0, true),
            None => (last(&bytes, lines), !after.is_empty()),
        };
        let from = from.min(bytes.len());
        let given = first(&bytes[from..], lines);
        let next = start + (from + given.len()) as u64;
        Ok(LogPage {
            text: String::from_utf8_lossy(given).into_owned(),
            cursor: format!("{run}.{next}"),
            missed,
        })
    }

    /// What there is at this moment, as far as it has to be read for what came after a cursor.
    async fn content(&self, of: &DeploymentId, after: &str) -> io::Result<Option<Content>> {
        let (of, after) = (of.clone(), after.to_owned());
        let mut content = self.aside(move |log| log.read(&of, &after)).await?;
        if let Some(Content { bytes, .. }) = &mut content {
            let ends = bytes.iter().rposition(|byte| *byte == b'\n');
            bytes.truncate(ends.map_or(0, |at| at + 1));
        }
        Ok(content)
    }

    /// The same with a line that is not ended yet; none where the output is another's. Whoever writes waits for no reader: a file
    /// that is open stays what it is, wherever it is moved.
    fn read(&self, of: &DeploymentId, after: &str) -> io::Result<Option<Content>> {
        let (run, before, known, files) = {
            let origin = self.origin();
            if origin.of.as_ref() != Some(of) {
                return Ok(None);
            }
            let files = [open_there(&self.older)?, open_there(&self.newer)?];
            let known = origin.place(after);
            (origin.run.clone(), origin.before, known, files)
        };
        let ([older, newer], mut bytes) = (files, Vec::new());
        let from = known.and_then(|at| at.checked_sub(before));
        let start = match from {
            Some(from) => before + from,
            None => before.saturating_sub(read_from(older, 0, &mut bytes)?),
        };
        read_from(newer, from.unwrap_or(0), &mut bytes)?;
        Ok(Some(Content {
            run,
            known,
            start,
            bytes,
        }))
    }
}

/// The first of whole lines, at most so many, and no more bytes than are given out at a time.
fn first(bytes: &[u8], lines: usize) -> &[u8] {
    let within = &bytes[..bytes.len().min(LOG_BYTES)];
    let ends = within
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n');
    let end = ends.take(lines).last();
    &bytes[..end.map_or(0, |(at, _)| at + 1)]
}

/// Where the last of whole lines begin, under the same bounds.
fn last(bytes: &[u8], lines: usize) -> usize {
    let most = bytes.len().saturating_sub(LOG_BYTES);
    let ends = bytes
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n');
    let begins = ends.map(|(at, _)| at + 1).skip(1).chain([0]);
    let fitting = begins.take(lines).take_while(|at| *at >= most);
    fitting.last().unwrap_or(bytes.len())
}

fn open_there(path: &Path) -> io::Result<Option<fs::File>> {
    match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Reads a file that may be there from this place on. Answers how many bytes there were.
fn read_from(file: Option<fs::File>, start: u64, bytes: &mut Vec<u8>) -> io::Result<u64> {
    let Some(mut file) = file else {
        return Ok(0);
    };
    file.seek(io::SeekFrom::Start(start))?;
    Ok(file.read_to_end(bytes)? as u64)
}

/// Empties the pipe. When the disk fails, output is lost rather than the workload stopped.
async fn drain(mut reader: pipe::Receiver, log: Log) {
    let (mut cutter, mut buffer) = (Cutter::default(), vec![0; 16 * 1024]);
    let mut writer = Writer::default();
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        let cut = cutter.cut(&buffer[..count]);
        if let Err(error) = writer.write(&log, &cut).await {
            if !writer.failing {
                tracing::warn!(error = %error, "output of the workload is lost");
            }
            writer = Writer {
                failing: true,
                ..Writer::default()
            };
        }
    }
}

/// The newer file, once it is open.
#[derive(Default)]
struct Writer {
    file: Option<(File, u64)>,
    failing: bool,
}

impl Writer {
    async fn write(&mut self, log: &Log, bytes: &[u8]) -> io::Result<()> {
        let (mut file, mut size) = match self.file.take() {
            Some(open) => open,
            None => open(&log.newer).await?,
        };
        if size >= FILE {
            log.aside(move |log| log.turn(size)).await?;
            (file, size) = open(&log.newer).await?;
        }
        file.write_all(bytes).await?;
        file.flush().await?;
        log.grown.notify_waiters();
        self.file = Some((file, size + bytes.len() as u64));
        Ok(())
    }
}

async fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .await?;
    let size = file.metadata().await?.len();
    Ok((file, size))
}

/// Cuts long lines as they pass.
#[derive(Default)]
struct Cutter {
    /// The length of the line so far, as far as it matters.
    length: usize,
}

impl Cutter {
    fn cut(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(bytes.len());
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = LINE.saturating_sub(self.length);
            kept.extend_from_slice(&text[..text.len().min(room)]);
            if self.length <= LINE && self.length + text.len() > LINE {
                kept.extend_from_slice(CUT);
            }
            self.length = (self.length + text.len()).min(LINE + 1);
            if ends {
                kept.push(b'\n');
                self.length = 0;
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn of(name: &str) -> DeploymentId {
        name.parse().expect("a name")
    }

    async fn begun(folder: &Path) -> Log {
        let log = Log::new(folder);
        log.begin(&of("acme/web")).await.expect("begun");
        log
    }

    #[test]
    fn long_lines_are_cut_wherever_they_are_split() {
        let long = [&[b'x'; 10_000][..], b"\nshort\n", &[b'y'; LINE], b"\n"].concat();
        let expected = [&[b'x'; LINE][..], CUT, b"\nshort\n", &[b'y'; LINE], b"\n"].concat();
        for step in [1, 7, LINE - 1, LINE, LINE + 1, 100_000] {
            let mut cutter = Cutter::default();
            let cut: Vec<u8> = long
                .chunks(step)
                .flat_map(|part| cutter.cut(part))
                .collect();
            assert!(cut == expected, "in steps of {step}");
        }
    }

    #[tokio::test]
    async fn a_flood_stays_bounded_and_the_last_lines_are_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = begun(folder.path()).await;
        let (mut writer, drained) = log.sink().expect("a pipe");
        let written = tokio::task::spawn_blocking(move || {
            for number in 0..400_000 {
                writeln!(writer, "line {number}").expect("written");
            }
        });
        written.await.expect("all written");
        drained.await.expect("drained");
        let size = |path: &Path| std::fs::metadata(path).expect("there").len();
        assert!(size(&log.newer) <= FILE + 32 * 1024 && size(&log.older) <= FILE + 32 * 1024);
        assert_eq!(
            log.tail(&of("acme/web"), 2).await.expect("read"),
            "line 399998\nline 399999\n"
        );
        assert!(
            log.tail(&of("acme/web"), usize::MAX)
                .await
                .expect("read")
                .len()
                <= LOG_BYTES
        );
        log.begin(&of("acme/web")).await.expect("begun");
        assert_eq!(log.tail(&of("acme/web"), 10).await.expect("read"), "");
    }

    #[tokio::test]
    async fn the_output_of_one_deployment_is_never_given_out_as_anothers() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = begun(folder.path()).await;
        let (mut writer, drained) = log.sink().expect("a pipe");
        writer.write_all(b"ours\n").expect("written");
        drop(writer);
        drained.await.expect("drained");
        let (ours, theirs) = (of("acme/web"), of("other/web"));
        let given = async |log: &Log, of: &DeploymentId| {
            let page = log.page(of, "", 10).await.expect("read");
            let text = log.tail(of, 10).await.expect("read");
            assert_eq!(page.text, text);
            text
        };
        assert_eq!(given(&log, &ours).await, "ours\n");
        assert_eq!(given(&log, &theirs).await, "");
        let cursor = log.page(&ours, "", 10).await.expect("read").cursor;
        let again = Log::new(folder.path());
        assert_eq!(
            given(&again, &ours).await,
            "",
            "after a start it is nobody's"
        );
        log.begin(&theirs).await.expect("begun");
        assert_eq!(given(&log, &theirs).await, "");
        let page = log.page(&ours, &cursor, 10).await.expect("read");
        assert_eq!(page, LogPage::nothing(&cursor), "whoever follows waits");
        log.clear().await.expect("cleared");
        assert!(
            std::fs::read_dir(folder.path())
                .expect("there")
                .next()
                .is_none()
        );
    }

    #[tokio::test]
    async fn whoever_reads_on_gets_each_line_once_and_is_told_what_is_not_there_any_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = begun(folder.path()).await;
        let (writer, drained) = log.sink().expect("a pipe");
        let mut print = Print(writer, 0);
        let page = log.page(&of("acme/web"), "", 2).await.expect("read");
        assert_eq!((page.text.as_str(), page.missed), ("", false));
        // From the first line on, in pages of any size, while the files change their places.
        let (mut cursor, mut got) = (page.cursor, String::new());
        for _ in 0..30 {
            print = print.lines(5_000).await;
            let read_on = log.read_on(&cursor, 5_000).await;
            (cursor, got) = (read_on.0, got + &read_on.1);
        }
        let all: String = (0..150_000)
            .map(|number| format!("line {number}\n"))
            .collect();
        assert!(got == all, "each once");
        // A line counts when it has ended.
        print.0.write_all(b"half").expect("written");
        let page = log.page(&of("acme/web"), &cursor, 2).await.expect("read");
        assert_eq!((page.text.as_str(), &page.cursor), ("", &cursor));
        print.0.write_all(b"\n").expect("written");
        assert_eq!(log.read_on(&cursor, 1).await.1, "half\n");
        // More than is kept.
        print = print.lines(400_000).await;
        drop(print);
        drained.await.expect("drained");
        let page = log
            .page(&of("acme/web"), &cursor, 1000)
            .await
            .expect("read");
        assert!(page.missed && page.text.lines().count() == 1000);
        let again = log
            .page(&of("acme/web"), &page.cursor, 1000)
            .await
            .expect("read");
        assert!(!again.missed && again.text.lines().count() == 1000);
        // What was printed before all was forgotten is missed, too.
        log.begin(&of("acme/web")).await.expect("begun");
        let page = log
            .page(&of("acme/web"), &again.cursor, 10)
            .await
            .expect("read");
        assert_eq!((page.text.as_str(), page.missed), ("", true));
        let page = log
            .page(&of("acme/web"), "what is this", 10)
            .await
            .expect("read");
        assert!(page.missed);
    }

    struct Print(io::PipeWriter, u32);

    impl Print {
        async fn lines(mut self, count: u32) -> Self {
            let print = move || {
                for number in self.1..self.1 + count {
                    writeln!(self.0, "line {number}").expect("written");
                }
                self.1 += count;
                self
            };
            tokio::task::spawn_blocking(print).await.expect("printed")
        }
    }

    impl Log {
        /// Pages until there are so many lines more, none of which was missed. Answers the last cursor, too.
        async fn read_on(&self, cursor: &str, lines: usize) -> (String, String) {
            let (mut cursor, mut text) = (cursor.to_owned(), String::new());
            while text.lines().count() < lines {
                let page = self
                    .page(&of("acme/web"), &cursor, 700)
                    .await
                    .expect("read");
                assert!(!page.missed);
                (cursor, text) = (page.cursor, text + &page.text);
                tokio::task::yield_now().await;
            }
            (cursor, text)
        }
    }

    #[test]
    fn pages_begin_and_end_with_whole_lines() {
        let text = b"a\nbb\n\nccc\n";
        for (lines, begin, end) in [
            (1, &b"ccc\n"[..], &b"a\n"[..]),
            (2, b"\nccc\n", b"a\nbb\n"),
            (9, text, text),
        ] {
            assert_eq!(&text[last(text, lines)..], begin);
            assert_eq!(first(text, lines), end);
        }
        let long = [&[b'x'; LOG_BYTES - 2][..], b"\nyy\n"].concat();
        assert_eq!(&long[last(&long, 9)..], b"yy\n");
        assert_eq!(first(&long, 9).len(), LOG_BYTES - 1);
        assert_eq!((last(b"", 9), first(b"", 9)), (0, &b""[..]));
    }

    #[tokio::test]
    async fn a_disk_that_fails_does_not_hold_the_writer() {
        let log = Log::new(Path::new("/nowhere"));
        let (mut writer, drained) = log.sink().expect("a pipe");
        let written = tokio::task::spawn_blocking(move || writer.write_all(&[b'x'; 500_000]));
        written.await.expect("not held").expect("taken");
        drained.await.expect("drained");
    }
}
