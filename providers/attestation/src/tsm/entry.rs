//! One request: a folder of its own in configfs, which is gone again whatever came of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

use super::error::{Step, TsmError};

/// The provider of TDX guests.
const TDX: &str = "tdx_guest";

/// The longest attribute that is text: the kernel's page is longer.
const TEXT: usize = 256;

/// The longest quote that is read. The kernel's own limit is 32 KiB, and newer ones may have four times that.
const QUOTE: usize = 128 * 1024;

/// A signal may interrupt a step so often.
const INTERRUPTIONS: u32 = 8;

/// A request's folder. Dropping it removes it.
pub(super) struct Entry {
    folder: PathBuf,
    length: usize,
}

impl Entry {
    /// Makes the folder, under a name that no other request has.
    pub(super) fn make(reports: &Path) -> Result<Self, TsmError> {
        let folder = reports.join(name()?);
        match fs::create_dir(&folder) {
            Ok(()) => Ok(Self { folder, length: 0 }),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(TsmError::NotMounted {
                path: reports.to_owned(),
            }),
            Err(error) => Err(TsmError::of(Step::Make, error, 0)),
        }
    }

    /// Who makes quotes here.
    pub(super) fn provider(&self) -> Result<String, TsmError> {
        let text = self.text("provider", Step::Provider)?;
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
        let name: String = text.chars().filter(|c| plain(*c)).take(40).collect();
        match name.is_empty() {
            true => Err(TsmError::Unreadable {
                step: Step::Provider,
            }),
            false => Ok(name),
        }
    }

    /// A quote over `inblob`, which the kernel takes at 64 bytes only, in one write.
    pub(super) fn quote(&mut self, inblob: &[u8]) -> Result<Vec<u8>, TsmError> {
        self.length = inblob.len();
        let name = self.provider()?;
        if name != TDX {
            return Err(TsmError::OtherProvider { name });
        }
        let before = self.generation()?;
        self.write(inblob)?;
        let quote = self.read("outblob", QUOTE, Step::Read)?;
        if self.generation()? != before.wrapping_add(1) {
            return Err(TsmError::Interfered { attempts: 1 });
        }
        match quote.iter().all(|byte| *byte == 0) {
            true => Err(TsmError::Empty),
            false => Ok(quote),
        }
    }

    /// How often anybody has written to this request.
    fn generation(&self) -> Result<u64, TsmError> {
        let step = Step::Generation;
        let text = self.text("generation", step)?;
        let number = text.trim().parse();
        number.map_err(|_| TsmError::Unreadable { step })
    }

    /// The kernel takes what was written when the file is closed, and knows only then how much it was.
    fn write(&self, inblob: &[u8]) -> Result<(), TsmError> {
        let path = self.folder.join("inblob");
        let open = || OpenOptions::new().write(true).open(&path);
        let written = persistently(|| open()?.write(inblob));
        match written {
            Ok(length) if length == inblob.len() => Ok(()),
            Ok(length) => Err(TsmError::Input { length }),
            Err(error) => Err(self.failed(Step::Write, error)),
        }
    }

    fn text(&self, attribute: &str, step: Step) -> Result<String, TsmError> {
        let bytes = self.read(attribute, TEXT, step)?;
        String::from_utf8(bytes).map_err(|_| TsmError::Unreadable { step })
    }

    fn read(&self, attribute: &str, longest: usize, step: Step) -> Result<Vec<u8>, TsmError> {
        let path = self.folder.join(attribute);
        let file = persistently(|| File::open(&path));
        let mut file = file.map_err(|error| self.failed(step, error))?;
        let (mut bytes, mut chunk) = (Vec::new(), [0; 8192]);
        loop {
            let read = persistently(|| file.read(&mut chunk));
            match read.map_err(|error| self.failed(step, error))? {
                0 => return Ok(bytes),
                length => bytes.extend_from_slice(&chunk[..length]),
            }
            if bytes.len() > longest {
                return Err(match step {
                    Step::Read => TsmError::TooLong,
                    _ => TsmError::Unreadable { step },
                });
            }
        }
    }

    fn failed(&self, step: Step, error: io::Error) -> TsmError {
        TsmError::of(step, error, self.length)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Nothing can be done about a folder that stays; the next one has another name.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// A step that signals may interrupt a few times.
fn persistently<T>(mut step: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..INTERRUPTIONS {
        match step() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
    step()
}

fn name() -> Result<String, TsmError> {
    let mut bytes = [0; 8];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| TsmError::Unexpected {
        step: Step::Make,
        source: io::Error::other("the operating system gives no random bytes"),
    })?;
    let process = std::process::id();
    Ok(format!("easyenclave-{process}-{}", hex::encode(bytes)))
}
