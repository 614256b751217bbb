//! An installation on disk: `pki/root` for the reconciler's side, `pki/platform` for guests. It appears in one
//! rename, so it is either whole or not there; private files are readable by their owner only.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

use super::SimulatedError;

pub(super) const ROOT_KEY: &str = "root.key";
pub(super) const CA_KEY: &str = "platform-ca.key";
pub(super) const TCB_KEY: &str = "tcb-signing.key";
pub(super) const CA_CHAIN: &str = "platform-ca.chain.pem";
pub(super) const TCB_CHAIN: &str = "tcb-signing.chain.pem";
pub(super) const PCK_KEY: &str = "pck.key";
pub(super) const ATTESTATION_KEY: &str = "attestation.key";
pub(super) const PCK_CHAIN: &str = "pck.chain.pem";

const INSTALLATION: &str = "pki";
const ROOT: (&str, &[&str]) = ("root", &[ROOT_KEY, CA_KEY, TCB_KEY, CA_CHAIN, TCB_CHAIN]);
const GUEST: (&str, &[&str]) = ("platform", &[PCK_KEY, ATTESTATION_KEY, PCK_CHAIN]);
/// Ten times the longest file.
const LONGEST_FILE: u64 = 64 * 1024;

/// The texts of an installation, by file name.
#[derive(Default)]
pub(super) struct Files(BTreeMap<&'static str, String>);

impl Files {
    pub(super) fn put(&mut self, file: &'static str, text: String) {
        self.0.insert(file, text);
    }

    pub(super) fn text(&self, file: &'static str) -> Result<&str, SimulatedError> {
        self.0
            .get(file)
            .map(String::as_str)
            .ok_or(SimulatedError::Damaged { file })
    }
}

pub(super) fn guest_dir(dir: &Path) -> PathBuf {
    dir.join(INSTALLATION).join(GUEST.0)
}

pub(super) fn open_guest(dir: &Path) -> Result<Files, SimulatedError> {
    let mut files = Files::default();
    read_part(dir, GUEST.1, &mut files)?;
    Ok(files)
}

pub(super) fn open_or_create(
    dir: &Path,
    generate: impl FnOnce() -> Result<Files, SimulatedError>,
) -> Result<Files, SimulatedError> {
    let installation = dir.join(INSTALLATION);
    if !exists(&installation)? {
        create(dir, &installation, &generate()?)?;
    }
    // Read back even after creating: whoever lost the race opens the winner's.
    let mut files = Files::default();
    for (part, names) in [ROOT, GUEST] {
        read_part(&installation.join(part), names, &mut files)?;
    }
    Ok(files)
}

/// Builds the installation under a name of its own and renames it into place. A directory cannot be
/// renamed over one that is not empty, so exactly one of several processes succeeds.
fn create(dir: &Path, installation: &Path, files: &Files) -> Result<(), SimulatedError> {
    fs::create_dir_all(dir).map_err(|source| write_error(dir, source))?;
    let draft = dir.join(format!(".{INSTALLATION}-{}", random_name()?));
    make_dir(&draft)?;
    let written = [ROOT, GUEST]
        .into_iter()
        .try_for_each(|(part, names)| write_part(&draft.join(part), names, files))
        .and_then(|()| place(&draft, installation));
    if written.is_err() {
        // The first error is the one to report; a draft that stays behind is in nobody's way.
        let _ = fs::remove_dir_all(&draft);
    }
    written
}

fn place(draft: &Path, installation: &Path) -> Result<(), SimulatedError> {
    match fs::rename(draft, installation) {
        Ok(()) => sync_dir(installation.parent().unwrap_or(installation)),
        Err(_) if exists(installation)? => {
            fs::remove_dir_all(draft).map_err(|source| write_error(draft, source))
        }
        Err(source) => Err(write_error(installation, source)),
    }
}

fn write_part(dir: &Path, names: &[&'static str], files: &Files) -> Result<(), SimulatedError> {
    make_dir(dir)?;
    for name in names {
        let path = dir.join(name);
        write_file(&path, files.text(name)?).map_err(|source| write_error(&path, source))?;
    }
    sync_dir(dir)
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn make_dir(dir: &Path) -> Result<(), SimulatedError> {
    DirBuilder::new()
        .mode(0o700)
        .create(dir)
        .map_err(|source| write_error(dir, source))
}

fn sync_dir(dir: &Path) -> Result<(), SimulatedError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| write_error(dir, source))
}

fn read_part(dir: &Path, names: &[&'static str], files: &mut Files) -> Result<(), SimulatedError> {
    for name in names {
        let path = dir.join(name);
        let text = read_file(&path).map_err(|source| SimulatedError::Read { path, source })?;
        files.put(name, text);
    }
    Ok(())
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(LONGEST_FILE)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn exists(path: &Path) -> Result<bool, SimulatedError> {
    path.try_exists().map_err(|source| SimulatedError::Read {
        path: path.to_owned(),
        source,
    })
}

fn random_name() -> Result<String, SimulatedError> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

fn write_error(path: &Path, source: io::Error) -> SimulatedError {
    SimulatedError::Write {
        path: path.to_owned(),
        source,
    }
}
