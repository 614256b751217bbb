//! `SHA256SUMS`: what one commit of a ledger wrote and removed, in the format that `sha256sum --check` reads. Its digest
//! is in the commit's signed message, so a byte that changes later is named by its path.

use std::collections::BTreeMap;
use std::fmt::Write;

use git2::{Oid, Repository};
use ring::digest::{SHA256, digest};

use crate::GitError;
use crate::entries::differences;

/// The file, at the root of the tree. It is written by the ledger alone.
pub const SUMS: &str = "SHA256SUMS";

/// The trailer with the file's own digest.
pub const SUMS_TRAILER: &str = "Files-Digest";

/// The digest of a file.
pub type Sha256 = [u8; 32];

const REMOVED: &str = "# removed ";

/// What a commit did, by path: the digest of what it wrote, or none for what it removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums(pub(crate) BTreeMap<String, Option<Sha256>>);

/// A text that no ledger wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected lines of a digest and a path, sorted by path")]
pub struct SumsError;

impl Sums {
    /// A file that was written.
    pub(crate) fn wrote(&mut self, path: &str, bytes: &[u8]) {
        self.0.insert(path.into(), Some(sha256(bytes)));
    }

    /// A file that was removed.
    pub(crate) fn removed(&mut self, path: &str) {
        self.0.insert(path.into(), None);
    }

    /// What makes one tree of another.
    pub(crate) fn between(
        repository: &Repository,
        from: Option<Oid>,
        to: Oid,
    ) -> Result<Self, GitError> {
        let found = differences(&repository.odb()?, from, Some(to))?;
        let mut sums = Self::default();
        for (path, (_, after)) in found {
            match after {
                _ if path == SUMS => {}
                Some(blob) => sums.wrote(&path, repository.find_blob(blob)?.content()),
                None => sums.removed(&path),
            }
        }
        Ok(sums)
    }

    /// Whether nothing was written or removed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was done to a path: nothing, removed, or written with this digest.
    pub fn get(&self, path: &str) -> Option<Option<&Sha256>> {
        self.0.get(path).map(Option::as_ref)
    }

    /// The paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The file.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (path, sum) in &self.0 {
            let _ = match sum {
                Some(sum) => writeln!(text, "{}  {path}", hex(sum)),
                None => writeln!(text, "{REMOVED}{path}"),
            };
        }
        text
    }

    /// Reads the file; only what [`Sums::text`] writes is read.
    ///
    /// # Errors
    /// When a ledger would have written it otherwise.
    pub fn parse(text: &str) -> Result<Self, SumsError> {
        let mut sums = Self::default();
        for line in text.lines() {
            let (path, sum) = match line.strip_prefix(REMOVED) {
                Some(path) => (path, None),
                None => {
                    let (sum, path) = line.split_once("  ").ok_or(SumsError)?;
                    (path, Some(unhex(sum).ok_or(SumsError)?))
                }
            };
            sums.0.insert(path.into(), sum);
        }
        match sums.text() == text {
            true => Ok(sums),
            false => Err(SumsError),
        }
    }
}

/// The SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

/// The message of a commit that wrote this file of sums. A trailer that is there already is replaced.
pub(crate) fn with_trailer(message: &str, text: &str) -> String {
    let old = format!("{SUMS_TRAILER}: ");
    let lines = message.lines().filter(|line| !line.starts_with(&old));
    let message = lines.collect::<Vec<_>>().join("\n");
    let message = message.trim_end();
    let gap = if ends_in_trailers(message) { "" } else { "\n" };
    format!("{message}\n{gap}{old}{}\n", hex(&sha256(text.as_bytes())))
}

/// The value of a trailer: a line of the last paragraph. The first paragraph is the subject.
pub fn trailer<'m>(message: &'m str, name: &str) -> Option<&'m str> {
    let (_, last) = message.trim_end().rsplit_once("\n\n")?;
    let value = |line: &'m str| line.strip_prefix(name)?.strip_prefix(": ");
    last.lines().find_map(value)
}

fn ends_in_trailers(message: &str) -> bool {
    let is_trailer = |line: &str| {
        let name = line.split_once(": ").map(|(name, _)| name);
        name.is_some_and(|name| !name.is_empty() && !name.contains(' '))
    };
    let last = message.rsplit_once("\n\n").map(|(_, last)| last);
    last.is_some_and(|last| last.lines().all(is_trailer))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Sha256> {
    let mut sum = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in sum.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums() -> Sums {
        let mut sums = Sums::default();
        sums.wrote("b/c.yaml", b"1");
        sums.removed("a");
        sums
    }

    #[test]
    fn what_was_written_reads_back_and_nothing_else_does() {
        let text = sums().text();
        assert_eq!(Sums::parse(&text), Ok(sums()));
        let one = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
        assert_eq!(text, format!("# removed a\n{one}  b/c.yaml\n"));
        for wrong in [
            text.to_uppercase(),
            text.trim_end().into(),
            text.replace("  ", " "),
            text.replace("# removed a\n", "# removed z\n"),
            format!("{text}{text}"),
            text.replace(&one[..2], "+b"),
        ] {
            assert_eq!(Sums::parse(&wrong), Err(SumsError), "{wrong}");
        }
    }

    #[test]
    fn a_trailer_joins_those_that_are_there() {
        let sum = hex(&sha256(b"x"));
        let signed = format!("s: t\n\nFleet: demo\nFiles-Digest: {sum}\n");
        assert_eq!(with_trailer("s: t\n\nFleet: demo\n", "x"), signed);
        assert_eq!(with_trailer(&signed, "x"), signed);
        let alone = format!("status: one\n\nFiles-Digest: {sum}\n");
        assert_eq!(with_trailer("status: one", "x"), alone);
        assert_eq!(trailer(&signed, "Fleet"), Some("demo"));
        assert_eq!(trailer(&signed, SUMS_TRAILER), Some(sum.as_str()));
        assert_eq!(trailer("Fleet: demo", "Fleet"), None);
    }
}
