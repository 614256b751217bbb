//! The log of a unit's agent: one file, which the agent holds open for as long as it lives, and one predecessor.
//! It is cut from outside, so that it stays bounded whatever the agent's program is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use easyenclave_schemas::wire::{CONSOLE, console};

/// A log is cut when it is longer than this, in bytes; its predecessor is never longer.
const LONGEST: u64 = 1024 * 1024;

/// The longest line of last words, in characters.
const WORDS: usize = 300;

/// So much of a log is searched for its last line, in bytes.
const SEARCHED: u64 = 8 * 1024;

pub(crate) const NAME: &str = "agent.log";
const PREDECESSOR: &str = "agent.log.1";

/// Opens the log in a unit's folder. It is written at its end, wherever that is now, so that it can be cut while
/// it is open.
pub(crate) fn open(folder: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(folder.join(NAME))
}

/// Cuts the log in a unit's folder when it has become too long. Its end becomes the predecessor; a line that is
/// written in between is lost.
pub(crate) fn cut(folder: &Path) -> io::Result<()> {
    let mut log = match OpenOptions::new()
        .read(true)
        .write(true)
        .open(folder.join(NAME))
    {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    if log.metadata()?.len() <= LONGEST {
        return Ok(());
    }
    let kept = keep_end(&mut log, folder);
    // A disk that is full is no reason to let it grow.
    log.set_len(0)?;
    kept
}

/// Written aside and renamed, so that a crash leaves the old predecessor or the new one.
fn keep_end(log: &mut File, folder: &Path) -> io::Result<()> {
    let aside = folder.join("agent.log.new");
    let mut predecessor = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    io::copy(&mut end_of(log, LONGEST)?, &mut predecessor)?;
    fs::rename(aside, folder.join(PREDECESSOR))
}

/// The last line of the log in a unit's folder that says anything; empty when there is none.
pub(crate) fn last_line(folder: &Path) -> io::Result<String> {
    for name in [NAME, PREDECESSOR] {
        let line = match File::open(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            file => last_line_of(&mut file?)?,
        };
        if !line.is_empty() {
            return Ok(line);
        }
    }
    Ok(String::new())
}

/// The end of the log in a unit's folder, at most [`CONSOLE`] bytes; that of its predecessor when it has just been cut.
pub(crate) fn tail(folder: &Path) -> io::Result<String> {
    for name in [NAME, PREDECESSOR] {
        let text = match File::open(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            file => tail_of(&mut file?)?,
        };
        if !text.trim().is_empty() {
            return Ok(text);
        }
    }
    Ok(String::new())
}

/// What is no UTF-8 grows when it is made to be, so the end is taken of what came of it.
fn tail_of(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    end_of(file, CONSOLE as u64)?.read_to_end(&mut bytes)?;
    Ok(console(&String::from_utf8_lossy(&bytes)))
}

fn last_line_of(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    end_of(file, SEARCHED)?.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let last = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    Ok(last
        .chars()
        .filter(|c| !c.is_control())
        .take(WORDS)
        .collect())
}

/// At most so many bytes of a file, from its end as it is now.
fn end_of(file: &mut File, most: u64) -> io::Result<io::Take<&mut File>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    Ok(file.take(most))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_stays_bounded_while_its_writer_holds_it_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let size = |name: &str| {
            let metadata = fs::metadata(folder.path().join(name));
            metadata.map_or(0, |metadata| metadata.len())
        };
        let mut writer = open(folder.path()).expect("opened");
        for number in 0..100_000 {
            writeln!(writer, "line {number} of some length").expect("written");
            if number % 1000 == 0 {
                cut(folder.path()).expect("cut");
                assert!(size(PREDECESSOR) <= LONGEST);
            }
        }
        assert!(size(NAME) <= LONGEST + 32 * 1000, "{}", size(NAME));
        assert!(size(PREDECESSOR) > 0);
        let last = "line 99999 of some length";
        assert_eq!(last_line(folder.path()).expect("read"), last);
        let text = fs::read_to_string(folder.path().join(NAME)).expect("text without holes");
        assert!(text.starts_with("line "), "it begins with a whole line");
    }

    #[test]
    fn last_words_outlive_a_cut_and_are_those_of_a_flood() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(last_line(folder.path()).expect("nothing"), "");
        cut(folder.path()).expect("nothing to cut");
        let mut writer = open(folder.path()).expect("opened");
        let flood = vec![b'x'; usize::try_from(3 * LONGEST).expect("small")];
        writer.write_all(&flood).expect("written");
        writer.write_all(b"\nlast words\n\n").expect("written");
        cut(folder.path()).expect("cut");
        let length = |name| fs::metadata(folder.path().join(name)).expect("there").len();
        assert_eq!((length(NAME), length(PREDECESSOR)), (0, LONGEST));
        assert_eq!(last_line(folder.path()).expect("read"), "last words");
        assert!(
            tail(folder.path())
                .expect("read")
                .ends_with("x\nlast words\n\n")
        );
    }

    #[test]
    fn the_end_of_a_log_is_bounded_text_whatever_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(tail(folder.path()).expect("nothing"), "");
        let mut writer = open(folder.path()).expect("opened");
        writer.write_all(b"one\r\n\x1b[1mtwo\n").expect("written");
        assert_eq!(tail(folder.path()).expect("read"), "one\n[1mtwo\n");
        writer.write_all(&[0xff; 3 * CONSOLE]).expect("written");
        let text = tail(folder.path()).expect("read");
        assert!(
            text.len() <= CONSOLE && text.len() > CONSOLE - 4,
            "{}",
            text.len()
        );
        assert!(text.chars().all(|c| c == char::REPLACEMENT_CHARACTER));
    }
}
