//! SSH signatures over commits, as `git verify-commit` with `gpg.format=ssh` checks them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

/// Git's namespace for signatures over its objects.
const NAMESPACE: &str = "git";

/// Signs commits with one Ed25519 key.
#[derive(Debug, Clone)]
pub struct Signer {
    key: PrivateKey,
}

/// A signing key that cannot be used. A person must look at the file.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The file cannot be read or written.
    #[error("signing key {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The file holds something else.
    #[error("signing key {} is not an unencrypted Ed25519 OpenSSH key", .0.display())]
    Content(PathBuf),
    /// Signing failed.
    #[error("the commit cannot be signed")]
    Sign,
}

/// Keys that may sign commits.
#[derive(Debug, Clone, Default)]
pub struct Signers(Vec<PublicKey>);

/// What is wrong with a commit's signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFlaw {
    /// There is none.
    #[error("it is not signed")]
    Missing,
    /// It is no SSH signature, or not as one is written.
    #[error("its signature cannot be read")]
    Unreadable,
    /// Another key made it.
    #[error("it is signed with {0}, which is no key of those who may sign")]
    Stranger(String),
    /// The commit is not the one that was signed.
    #[error("it is not as it was signed")]
    Altered,
    /// The commit is longer than any that is signed.
    #[error("it has more than {0} bytes, which no reconciler signs")]
    TooLong(usize),
}

/// A line that names no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a key such as `ssh-ed25519 AAAA…`, found {0:?}")]
pub struct SignersError(String);

impl Signers {
    /// Reads keys, one a line, as in `authorized_keys` or in an allowed-signers file of Git. Empty lines and
    /// those that begin with `#` are passed over.
    ///
    /// # Errors
    /// When a line holds no Ed25519 key.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, SignersError> {
        let lines = lines.into_iter().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let key = |line: &str| {
            let error = || SignersError(line.chars().take(100).collect());
            let start = line.find("ssh-ed25519 ").ok_or_else(error)?;
            PublicKey::from_openssh(&line[start..]).map_err(|_| error())
        };
        Ok(Self(lines.map(key).collect::<Result<_, _>>()?))
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of the keys made this signature over this message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, message: &[u8], signature: &str) -> Result<(), SignatureFlaw> {
        let unreadable = |_| SignatureFlaw::Unreadable;
        let read = SshSig::from_pem(signature).map_err(unreadable)?;
        // Other texts can stand for the same signature; only one is written.
        let written = read.to_pem(LineEnding::LF).map_err(unreadable)?;
        if written.trim_end() != signature.trim_end_matches('\n') {
            return Err(SignatureFlaw::Unreadable);
        }
        let key = self
            .0
            .iter()
            .find(|key| key.key_data() == read.public_key());
        let Some(key) = key else {
            let stranger = read.public_key().fingerprint(HashAlg::Sha256);
            return Err(SignatureFlaw::Stranger(stranger.to_string()));
        };
        let checked = key.verify(NAMESPACE, message, &read);
        checked.map_err(|_| SignatureFlaw::Altered)
    }
}

impl Signer {
    /// Reads the key of this file, or makes one that only its owner can read.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open_or_create(path: &Path) -> Result<Self, SignError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path),
            Err(error) => Err(SignError::File(path.into(), error)),
        }
    }

    /// The public key, as in `authorized_keys`.
    pub fn public_openssh(&self) -> String {
        self.key.public_key().to_openssh().unwrap_or_default()
    }

    /// A line for an allowed-signers file.
    pub fn allowed_signers_line(&self, principal: &str) -> String {
        format!(
            "{principal} namespaces=\"{NAMESPACE}\" {}",
            self.public_openssh()
        )
    }

    /// An armoured signature.
    ///
    /// # Errors
    /// When the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<String, SignError> {
        let signature = self
            .key
            .sign(NAMESPACE, HashAlg::Sha512, message)
            .map_err(|_| SignError::Sign)?;
        signature
            .to_pem(LineEnding::LF)
            .map_err(|_| SignError::Sign)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, SignError> {
        let content = || SignError::Content(path.into());
        let key = PrivateKey::from_openssh(text).map_err(|_| content())?;
        match key.key_data() {
            KeypairData::Ed25519(_) => Ok(Self { key }),
            _ => Err(content()),
        }
    }

    /// Written aside and linked into place: a crash leaves no half key, and of two that race one wins.
    fn create(path: &Path) -> Result<Self, SignError> {
        let mut seed = [0; 32];
        kernel_random(&mut seed).map_err(|error| SignError::File(path.into(), error))?;
        let pair = Ed25519Keypair::from_seed(&seed);
        let key = PrivateKey::new(KeypairData::Ed25519(pair), "easyenclave status")
            .map_err(|_| SignError::Sign)?;
        let text = key
            .to_openssh(LineEnding::LF)
            .map_err(|_| SignError::Sign)?;
        let write = || -> io::Result<String> {
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
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            let linked = fs::hard_link(&aside, path);
            fs::remove_file(&aside)?;
            match linked {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            // The name too: commits with this key may be elsewhere before a power cut.
            if let Some(parent) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
                fs::File::open(parent)?.sync_all()?;
            }
            fs::read_to_string(path)
        };
        let text = write().map_err(|error| SignError::File(path.into(), error))?;
        Self::parse(path, &text)
    }
}

/// The kernel's randomness, without another dependency.
fn kernel_random(bytes: &mut [u8]) -> io::Result<()> {
    use std::io::Read;
    fs::File::open("/dev/urandom")?.read_exact(bytes)
}
