//! Key files: made once, readable by their owner only, never overwritten.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use easyenclave_schemas::Secret;
use easyenclave_schemas::signature::Keypair;
use ring::rand::{SecureRandom, SystemRandom};

/// Why a key file cannot be used. A person must look at the file.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("key file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("key file {} does not hold a key of the expected kind", .0.display())]
    Content(PathBuf),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
}

/// The reconciler's Ed25519 key pair, as PKCS#8.
///
/// # Errors
/// When the file cannot be used.
pub fn keypair(path: &Path) -> Result<Keypair, KeyError> {
    let bytes = read_or_make(path, || {
        let pair = Keypair::generate().map_err(|_| KeyError::Random)?;
        Ok(pair.pkcs8().reveal().clone())
    })?;
    Keypair::from_pkcs8(&bytes).map_err(|_| KeyError::Content(path.into()))
}

/// A key in text that a person put there; none when the file does not exist.
///
/// # Errors
/// When the file cannot be read, or does not hold one line of text.
pub fn given(path: &Path) -> Result<Option<Secret<String>>, KeyError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            let path = path.into();
            return Err(KeyError::File { path, source });
        }
    };
    let key = text.trim();
    if key.is_empty() || key.len() > 4096 || key.contains(char::is_whitespace) {
        return Err(KeyError::Content(path.into()));
    }
    Ok(Some(Secret::new(key.to_owned())))
}

/// A seed of 32 random bytes.
///
/// # Errors
/// When the file cannot be used.
pub fn seed(path: &Path) -> Result<Secret<[u8; 32]>, KeyError> {
    let bytes = read_or_make(path, || Ok(random::<32>()?.to_vec()))?;
    let seed = bytes
        .try_into()
        .map_err(|_| KeyError::Content(path.into()))?;
    Ok(Secret::new(seed))
}

/// A bearer key in text: `ee_launcher_` and 64 hex digits.
///
/// # Errors
/// When the file cannot be used.
pub fn launcher_key(path: &Path) -> Result<Secret<String>, KeyError> {
    let bytes = read_or_make(path, || {
        Ok(format!("ee_launcher_{}\n", hex::encode(random::<32>()?)).into_bytes())
    })?;
    let text = String::from_utf8(bytes).map_err(|_| KeyError::Content(path.into()))?;
    Ok(Secret::new(text.trim().to_owned()))
}

/// The fleet's own identities of `age`, as age-keygen writes them: one that is made where there is no file, and as many
/// more as a person adds. The file's text.
///
/// # Errors
/// When the file cannot be used.
pub fn fleet_identities(path: &Path) -> Result<Secret<String>, KeyError> {
    let bytes = read_or_make(path, || {
        let identity = age::x25519::Identity::generate();
        let recipient = identity.to_public();
        let key = identity.to_string();
        Ok(format!("# public key: {recipient}\n{}\n", key.expose_secret()).into_bytes())
    })?;
    let text = String::from_utf8(bytes).map_err(|_| KeyError::Content(path.into()))?;
    Ok(Secret::new(text))
}

/// Adds a line to a file that `git verify-commit` takes. Keys that signed before stay in it.
///
/// # Errors
/// When the file cannot be used.
pub fn allow_signer(path: &Path, line: &str) -> Result<(), KeyError> {
    let allow = || -> io::Result<()> {
        let known = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            known => known?,
        };
        if known.lines().any(|other| other == line) {
            return Ok(());
        }
        // Aside first: the lines of earlier keys are nowhere else.
        let aside = path.with_extension("new");
        let mut file = fs::File::create(&aside)?;
        file.write_all(format!("{known}{line}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    allow().map_err(|source| KeyError::File {
        path: path.into(),
        source,
    })
}

/// Random bytes from the operating system.
///
/// # Errors
/// When the system gives none.
pub fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> Result<Vec<u8>, KeyError>,
) -> Result<Vec<u8>, KeyError> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path, &make()?),
        Err(source) => Err(KeyError::File {
            path: path.into(),
            source,
        }),
    }
}

/// Written aside and linked into place: a crash leaves no half key, and of two that race one wins.
fn create(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
    let attempt = || -> io::Result<Vec<u8>> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let aside = path.with_extension(format!("new-{}", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        let linked = fs::hard_link(&aside, path);
        fs::remove_file(&aside)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // The name too: others may have been told the key before a power cut.
        if let Some(parent) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
            fs::File::open(parent)?.sync_all()?;
        }
        fs::read(path)
    };
    attempt().map_err(|source| KeyError::File {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_made_once_and_kept_private() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys/launcher.key");
        let key = launcher_key(&path).expect("made");
        assert_eq!(launcher_key(&path).expect("read").reveal(), key.reveal());
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(dir.path().join("keys"))
                .expect("a folder")
                .count(),
            1
        );
    }

    #[test]
    fn a_file_that_holds_no_key_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("seed");
        fs::write(&path, "short").expect("written");
        let error = seed(&path).expect_err("not a seed");
        assert!(error.to_string().contains("seed does not hold"), "{error}");
    }
}
