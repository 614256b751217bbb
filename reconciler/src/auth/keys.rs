//! API keys: `ee_<id>_<secret>`. The id is looked up, the secret is held against a hash by Argon2id. Both are random, so
//! that nobody finds a key by trying; Git has the id and the hash.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use easyenclave_schemas::documents::ApiKey;
use easyenclave_schemas::{Digest, OwnerName, Secret, Timestamp};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Caller, Callers, Denied, Identity, Proof};
use crate::keys::{KeyError, random};

/// What every key begins with, so that scanners for secrets find it.
const PREFIX: &str = "ee_";

/// Characters of an id: 128 random bits.
const ID: usize = 26;

/// Characters of a secret: 256 random bits.
const SECRET: usize = 52;

/// The most memory that verifying one key may take, in KiB. New keys take 19 MiB; a document that asks for more than this
/// would have strangers use up the reconciler's memory.
const MEMORY: u32 = 64 * 1024;

/// The most passes over that memory, and lanes in it.
const PASSES: u32 = 4;

/// So many keys are verified at a time.
const AT_A_TIME: usize = 2;

/// So many callers wait for that, and no longer than this. Further ones are told to try again.
const WAITING: usize = 32;
const WAIT: Duration = Duration::from_secs(5);

/// A key as a caller shows it.
#[derive(Debug)]
pub(super) struct Shown {
    id: String,
    secret: Secret<String>,
}

/// A new key: what its holder is given, once, and what the owner's document gets.
#[derive(Debug)]
pub(crate) struct NewKey {
    /// The whole key.
    pub(crate) key: Secret<String>,
    /// Its id.
    pub(crate) id: String,
    /// The hash of its secret.
    pub(crate) hash: String,
}

/// A hash that is not verified with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HashError {
    /// Not a whole hash.
    #[error("expected a hash by Argon2id in the PHC format, found something else")]
    Format,
    /// Verifying it would be too much work.
    #[error(
        "expected at most {MEMORY} KiB of memory, {PASSES} passes and {PASSES} lanes, found {memory} KiB, {passes} and {lanes}"
    )]
    TooMuch {
        /// KiB.
        memory: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
}

impl Shown {
    /// Reads a key; none when it cannot be one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let fits = is_base32(id, ID) && is_base32(secret, SECRET);
        fits.then(|| Self {
            id: id.to_owned(),
            secret: Secret::new(secret.to_owned()),
        })
    }
}

/// Makes a key.
///
/// # Errors
/// When the system gives no randomness.
pub(crate) fn new() -> Result<NewKey, KeyError> {
    let (id, secret, salt) = (random::<16>()?, random::<32>()?, random::<16>()?);
    let (id, secret) = (base32(&id), base32(&secret));
    let hash = Argon2::default()
        .hash_password_with_salt(secret.as_bytes(), &salt)
        .expect("the parameters are the crate's own");
    Ok(NewKey {
        key: Secret::new(format!("{PREFIX}{id}_{secret}")),
        hash: hash.to_string(),
        id,
    })
}

/// Whether a hash can be verified with, and is not too much work.
///
/// # Errors
/// When it cannot, or is.
pub(crate) fn readable(hash: &str) -> Result<(), HashError> {
    read(hash).map(drop)
}

fn read(hash: &str) -> Result<PasswordHash, HashError> {
    let read = PasswordHash::new(hash).map_err(|_| HashError::Format)?;
    let params = Params::try_from(&read).map_err(|_| HashError::Format)?;
    // Version 1.3; a hash that does not say is of an older one.
    let is_whole = read.algorithm.as_str() == "argon2id"
        && read.version == Some(0x13)
        && read.salt.is_some()
        && read.hash.is_some_and(|hash| hash.as_bytes().len() >= 32);
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    match is_whole {
        false => Err(HashError::Format),
        true if memory > MEMORY || passes > PASSES || lanes > PASSES => Err(HashError::TooMuch {
            memory,
            passes,
            lanes,
        }),
        true => Ok(read),
    }
}

/// Whose key this is, which was verified with this hash: it is there with the same one, and its time is not over.
pub(super) fn stands<'c>(
    callers: &'c Callers,
    id: &str,
    hash: &str,
    now: Timestamp,
) -> Result<&'c OwnerName, Denied> {
    let known = callers.key(id).filter(|(_, key)| key.hash == hash);
    match known {
        None => Err(Denied::Key),
        Some((_, key)) if now >= key.expires => Err(Denied::KeyExpired),
        Some((owner, _)) => Ok(owner),
    }
}

/// Verifies keys within bounds. A key that was verified once is known again by the digest of its secret, which is in
/// memory only: 256 random bits cannot be found from it.
pub(super) struct Verifier {
    queue: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    /// By id: the hash that it was held against, and the digest of the secret.
    verified: Mutex<BTreeMap<String, (String, Digest)>>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self {
            queue: Arc::new(Semaphore::new(WAITING)),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            verified: Mutex::default(),
        }
    }
}

impl Verifier {
    /// Who shows a key. What is wrong with it is told to whoever has the secret, and to nobody else.
    pub(super) async fn admit(
        &self,
        callers: &Callers,
        shown: Shown,
        now: Timestamp,
    ) -> Result<Caller, Denied> {
        let (_, key) = callers.key(&shown.id).ok_or(Denied::Key)?;
        if !self.is_known(&shown, key) && !self.verify(shown, key).await? {
            return Err(Denied::Key);
        }
        let (id, hash) = (key.id.clone(), key.hash.clone());
        Ok(Caller {
            owner: stands(callers, &id, &hash, now)?.clone(),
            identity: Identity::Key {
                id: id.clone(),
                name: key.name.clone(),
            },
            proof: Proof::Key { id, hash },
        })
    }

    fn is_known(&self, shown: &Shown, key: &ApiKey) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let known = verified.get(&key.id);
        known.is_some_and(|(hash, digest)| *hash == key.hash && *digest == digest_of(shown))
    }

    async fn verify(&self, shown: Shown, key: &ApiKey) -> Result<bool, Denied> {
        let Ok(hash) = read(&key.hash) else {
            return Ok(false);
        };
        let place = Arc::clone(&self.queue).try_acquire_owned();
        let place = place.map_err(|_| Denied::Busy)?;
        let turn = timeout(WAIT, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| Denied::Busy)?.expect("never closed");
        let work = tokio::task::spawn_blocking(move || {
            // The work's own, and not its caller's: it goes on when the caller has hung up.
            let _held = (place, turn);
            let secret = shown.secret.reveal().as_bytes();
            let fits = Argon2::default().verify_password(secret, &hash).is_ok();
            (fits, shown)
        });
        let (fits, shown) = work.await.map_err(|_| Denied::Busy)?;
        if fits {
            self.remember(&shown, key);
        }
        Ok(fits)
    }

    fn remember(&self, shown: &Shown, key: &ApiKey) {
        const MOST: usize = 4096;
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of keys that are gone go too; all others are verified once more.
        if verified.len() >= MOST {
            verified.clear();
        }
        verified.insert(key.id.clone(), (key.hash.clone(), digest_of(shown)));
    }
}

fn digest_of(shown: &Shown) -> Digest {
    Digest::of(shown.secret.reveal().as_bytes())
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

fn is_base32(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

/// Bytes in base32 (RFC 4648) in lower case, without padding.
fn base32(bytes: &[u8]) -> String {
    let bits = bytes.len() * 8;
    let bit = |at: usize| match bytes.get(at / 8) {
        Some(byte) => usize::from(byte >> (7 - at % 8) & 1),
        None => 0,
    };
    let digit = |from: usize| (0..5).fold(0, |digit, at| digit << 1 | bit(from + at));
    let digits = (0..bits).step_by(5).map(digit);
    digits.map(|digit| char::from(ALPHABET[digit])).collect()
}

#[cfg(test)]
mod tests {
    use easyenclave_schemas::OwnerName;
    use easyenclave_schemas::documents::{ApiSpec, OwnerSpec, Quota};

    use super::*;

    #[test]
    fn the_work_of_callers_who_hang_up_still_counts_until_it_ends() {
        // The one thread for such work is busy, so what is begun stays where it is.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().max_blocking_threads(1).build();
        runtime.expect("a runtime").block_on(async {
            let (end, ended) = std::sync::mpsc::sync_channel::<()>(1);
            let busy = tokio::task::spawn_blocking(move || ended.recv());
            let verifier = Verifier::default();
            let (shown, callers) = known();
            for _ in 0..2 * WAITING {
                let admit = verifier.admit(&callers, shown(), Timestamp::default());
                let answer = timeout(Duration::ZERO, admit).await;
                assert!(answer.is_err(), "the caller hung up first");
            }
            assert_eq!(verifier.turns.available_permits(), 0, "all are taken");
            drop(end);
            busy.await.expect("ended").expect_err("hung up");
            let admit = verifier.admit(&callers, shown(), Timestamp::default());
            admit.await.expect("let in when the work is done");
        });
    }

    /// A key as it is shown, and callers among whom it is known.
    fn known() -> (impl Fn() -> Shown, Callers) {
        let new = new().expect("a key");
        let spec = OwnerSpec {
            github: Vec::new(),
            keys: vec![ApiKey {
                id: new.id,
                hash: new.hash,
                name: "ci".into(),
                expires: Timestamp::from_millis(1),
            }],
            quota: Quota::default(),
        };
        let owner = OwnerName::new("acme").expect("a name");
        let callers = Callers::of(&ApiSpec::default(), [(owner, &spec)]);
        (
            move || Shown::parse(new.key.reveal()).expect("a key"),
            callers,
        )
    }

    #[test]
    fn base32_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foobar", "mzxw6ytboi"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_new_key_is_read_and_no_two_are_alike() {
        let (one, other) = (new().expect("a key"), new().expect("a key"));
        let shown = Shown::parse(one.key.reveal()).expect("a key");
        assert_eq!(shown.id, one.id);
        assert_ne!(one.id, other.id);
        assert_ne!(one.hash, other.hash);
        assert_eq!(readable(&one.hash), Ok(()));
        assert!(!one.hash.contains(shown.secret.reveal().as_str()));
        assert!(!format!("{one:?} {shown:?}").contains(shown.secret.reveal().as_str()));
    }

    #[test]
    fn what_is_no_key_is_none() {
        let key = new().expect("a key").key.reveal().clone();
        for text in [
            "",
            "ee_",
            "ee__",
            &key[1..],
            &key[..key.len() - 1],
            &format!("{key}a"),
            &key.to_uppercase(),
            &key.replacen("ee_", "ee-", 1),
            &format!("{key}é"),
        ] {
            assert!(Shown::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_hash_that_would_be_too_much_work_is_not_verified_with() {
        let good = new().expect("a key").hash;
        for (from, to) in [
            ("m=19456", "m=4194304"),
            ("t=2", "t=4000000"),
            ("p=1", "p=16"),
        ] {
            let bomb = readable(&good.replacen(from, to, 1));
            assert!(matches!(bomb, Err(HashError::TooMuch { .. })), "{to}");
        }
        let without_hash = good.rsplit_once('$').expect("parts").0;
        for bad in [
            "",
            "secret",
            "$argon2id$",
            without_hash,
            &good.replacen("argon2id", "argon2i", 1),
            &good.replacen("argon2id", "argon2d", 1),
            &good.replacen("v=19", "v=16", 1),
            &good.replacen("$v=19", "", 1),
            &good.replacen("m=19456", "m=0", 1),
            &good[..good.len() - 20],
        ] {
            assert_eq!(readable(bad), Err(HashError::Format), "{bad}");
        }
    }
}
