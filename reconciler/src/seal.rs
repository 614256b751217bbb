//! Seals: parts of evidence that name a machine, encrypted with `age` to the fleet's auditors. Who has an identity of
//! one of them opens what is sealed; nobody else does, the reconciler included.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use age::x25519::{Identity, Recipient};
use age::{DecryptError, Decryptor, EncryptError, Encryptor};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::rand::SystemRandom;

/// How the secret key of an auditor begins.
const SECRET: &str = "AGE-SECRET-KEY-";

/// What files of other secret keys say.
const PRIVATE: &str = "PRIVATE KEY";

/// Seals for some auditors. A copy is the same one.
#[derive(Clone)]
pub struct Sealer(Arc<[Recipient]>);

/// A text that names no auditor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// It is none.
    #[error("expected a recipient of age such as `age1…`, as age-keygen prints it, found {0:?}")]
    Unreadable(String),
    /// It is another kind of key.
    #[error("expected a recipient of age such as `age1…`; keys of SSH are not taken")]
    Ssh,
    /// It is what the auditor should have kept. It is not repeated.
    #[error(
        "this is a secret key, which opens what is sealed: take it out of Git, make a new one \
         with age-keygen, and name its recipient, `age1…`"
    )]
    Secret,
    /// It is written as one, and what is sealed for it would be open to everybody.
    #[error("this is no key that age-keygen makes: everybody could open what is sealed for it")]
    Weak,
}

/// Sealing failed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The library refuses.
    #[error("nothing can be sealed for these auditors")]
    Recipients(#[source] EncryptError),
    /// It cannot write, which memory always can.
    #[error("what was sealed cannot be written")]
    Write(#[source] std::io::Error),
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer(for {})", self.0.len())
    }
}

impl Sealer {
    /// For those of the auditors whose text can be read; none when there is no such one. The others are told of by
    /// [`recipient`].
    pub fn of(auditors: &[String]) -> Option<Self> {
        let read = auditors.iter().map(|text| recipient(text));
        let read: Vec<_> = read.filter_map(Result::ok).collect();
        (!read.is_empty()).then(|| Self(read.into()))
    }

    /// The bytes, so that each of the auditors can open them. Other bytes every time.
    ///
    /// # Errors
    /// When the library fails.
    pub fn seal(&self, bytes: &[u8]) -> Result<Vec<u8>, SealError> {
        let recipients = self.0.iter().map(|one| one as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(SealError::Recipients)?;
        let mut sealed = Vec::new();
        let mut writer = encryptor
            .wrap_output(&mut sealed)
            .map_err(SealError::Write)?;
        writer.write_all(bytes).map_err(SealError::Write)?;
        writer.finish().map_err(SealError::Write)?;
        Ok(sealed)
    }
}

/// Reads an auditor's recipient.
///
/// # Errors
/// When it is none for whom could be sealed.
pub fn recipient(text: &str) -> Result<Recipient, RecipientError> {
    let upper = text.to_ascii_uppercase();
    // Anywhere: a text that has a secret key in it is not to be repeated, whatever stands before.
    if upper.contains(SECRET) || upper.contains(PRIVATE) {
        return Err(RecipientError::Secret);
    }
    if upper.trim_start().starts_with("SSH-") {
        return Err(RecipientError::Ssh);
    }
    let unreadable = || RecipientError::Unreadable(text.chars().take(80).collect());
    let read = text.parse().map_err(|_| unreadable())?;
    let (_, key) = bech32::decode(text).map_err(|_| unreadable())?;
    match agrees(&key) {
        true => Ok(read),
        false => Err(RecipientError::Weak),
    }
}

/// Whether a secret can be agreed on with this key. There are a few with which it is always zero: for those the
/// library does not seal, but panics.
fn agrees(key: &[u8]) -> bool {
    let Ok(own) = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()) else {
        return false;
    };
    agree_ephemeral(own, &UnparsedPublicKey::new(&X25519, key), |_| ()).is_ok()
}

/// Opens what is sealed, with the identities of some files. It prints none of them.
#[derive(Default)]
pub struct Opener(Vec<Holder>);

/// The identities of one file.
struct Holder {
    file: String,
    identities: Vec<Identity>,
    has_opened: AtomicBool,
}

/// A file that holds no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// This line is none. It is not repeated.
    #[error(
        "line {0} is no identity of age: expected `AGE-SECRET-KEY-1…`, as age-keygen writes it"
    )]
    Line(usize),
    /// It has a passphrase.
    #[error("it is itself encrypted: decrypt it first, with `age --decrypt`")]
    Encrypted,
    /// There is none.
    #[error("it holds no identity: expected a line `AGE-SECRET-KEY-1…`, as age-keygen writes it")]
    Empty,
}

/// Something sealed that stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is sealed for others.
    #[error("is sealed for others")]
    ForOthers,
    /// It is not what was sealed, or was never sealed.
    #[error("is no sealed file, or a damaged one")]
    Damaged,
    /// It is longer than what it stands for can be.
    #[error("holds more than {0} bytes")]
    TooLong(usize),
}

impl Opener {
    /// Takes the identities of a file as age-keygen writes it: one a line, and comments.
    ///
    /// # Errors
    /// When it holds something else, or nothing.
    pub fn take(&mut self, file: String, text: &str) -> Result<(), IdentityError> {
        let identities = identities(text)?;
        self.0.push(Holder {
            file,
            identities,
            has_opened: AtomicBool::new(false),
        });
        Ok(())
    }

    /// What was sealed, at most so many bytes.
    ///
    /// # Errors
    /// When none of the identities opens it, or it is not as it was sealed.
    pub fn open(&self, sealed: &[u8], most: usize) -> Result<Vec<u8>, OpenError> {
        for holder in &self.0 {
            match open(&holder.identities, sealed, most) {
                Err(OpenError::ForOthers) => {}
                opened => {
                    holder.has_opened.store(true, Ordering::Relaxed);
                    return opened;
                }
            }
        }
        Err(OpenError::ForOthers)
    }

    /// Who is to be sealed to so that it opens.
    pub fn recipients(&self) -> impl Iterator<Item = String> {
        let identities = self.0.iter().flat_map(|holder| &holder.identities);
        identities.map(|one| one.to_public().to_string())
    }

    /// The files whose identities opened nothing.
    pub fn idle(&self) -> impl Iterator<Item = &str> {
        let idle = |holder: &&Holder| !holder.has_opened.load(Ordering::Relaxed);
        self.0.iter().filter(idle).map(|holder| &*holder.file)
    }
}

fn identities(text: &str) -> Result<Vec<Identity>, IdentityError> {
    if text.starts_with("age-encryption.org/") || text.starts_with("-----BEGIN AGE ENCRYPTED") {
        return Err(IdentityError::Encrypted);
    }
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let read = lines.map(|(at, line)| line.parse().map_err(|_| IdentityError::Line(at + 1)));
    let read: Vec<_> = read.collect::<Result<_, _>>()?;
    match read.is_empty() {
        true => Err(IdentityError::Empty),
        false => Ok(read),
    }
}

fn open(identities: &[Identity], sealed: &[u8], most: usize) -> Result<Vec<u8>, OpenError> {
    let decryptor = Decryptor::new_buffered(sealed).map_err(|_| OpenError::Damaged)?;
    let identities = identities.iter().map(|one| one as &dyn age::Identity);
    let reader = decryptor.decrypt(identities).map_err(|error| match error {
        DecryptError::NoMatchingKeys => OpenError::ForOthers,
        _ => OpenError::Damaged,
    })?;
    let mut bytes = Vec::new();
    let read = reader.take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|_| OpenError::Damaged)?;
    match bytes.len() > most {
        true => Err(OpenError::TooLong(most)),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests;
