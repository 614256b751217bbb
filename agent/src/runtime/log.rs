//! The workload's output: two files of bounded size, the older of which is given up for the newer. Never
//! makes the workload wait for longer than a write to the disk takes, and never keeps a line of any length.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use super::process::named;

/// A file is given up for a new one at this size, in bytes.
const FILE: u64 = 1024 * 1024;

/// A longer line is cut, in bytes.
const LINE: usize = 4096;

/// The most that is given out at a time, in bytes.
const TAIL: usize = 256 * 1024;

/// Written in place of what was cut off.
const CUT: &[u8] = b" [cut]";

/// The log of the workload.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    newer: PathBuf,
    older: PathBuf,
}

impl Log {
    /// The log in this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            newer: folder.join("workload.log"),
            older: folder.join("workload.log.1"),
        }
    }

    /// Forgets everything.
    pub(crate) async fn clear(&self) -> io::Result<()> {
        let failed = |error| named(error, format!("cannot clear {}", self.newer.display()));
        for file in [&self.older, &self.newer] {
            match fs::remove_file(file).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The end of a pipe for a process to write to, and the task that empties the pipe until nobody
    /// writes to it any more.
    pub(crate) fn sink(&self) -> io::Result<(io::PipeWriter, JoinHandle<()>)> {
        let (reader, writer) = io::pipe()?;
        let reader = pipe::Receiver::from_owned_fd(reader.into())?;
        Ok((writer, tokio::spawn(drain(reader, self.clone()))))
    }

    /// The last lines, oldest first, at most so many.
    pub(crate) async fn tail(&self, lines: usize) -> io::Result<String> {
        let mut bytes = read(&self.older).await?;
        bytes.extend(read(&self.newer).await?);
        let recent = &bytes[bytes.len().saturating_sub(TAIL)..];
        let text = String::from_utf8_lossy(recent);
        let skipped = text.lines().count().saturating_sub(lines);
        Ok(text
            .lines()
            .skip(skipped)
            .flat_map(|line| [line, "\n"])
            .collect())
    }
}

async fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result,
    }
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
            fs::rename(&log.newer, &log.older).await?;
            (file, size) = open(&log.newer).await?;
        }
        file.write_all(bytes).await?;
        file.flush().await?;
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
        let log = Log::new(folder.path());
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
            log.tail(2).await.expect("read"),
            "line 399998\nline 399999\n"
        );
        assert!(log.tail(usize::MAX).await.expect("read").len() <= TAIL);
        log.clear().await.expect("cleared");
        assert_eq!(log.tail(10).await.expect("read"), "");
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
