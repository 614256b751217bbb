//! What an agent showed, out of the files that its record names: as they are, or opened by an auditor.

use std::collections::BTreeMap;
use std::fmt;

use easyenclave_attestation::Collateral;
use easyenclave_schemas::Digest;
use easyenclave_schemas::evidence::{Bounded, Evidence as Shown, EvidenceRecord, Kept, Part};

use super::evidence::{Wrong, parsed, wrong};
use crate::seal::{OpenError, Opener};

/// The longest part of evidence: collateral as JSON, where a byte of it takes up to four.
const LONGEST: usize = 4 * Collateral::MAX;

/// Why what an agent showed cannot be looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Closed {
    /// Digests only are kept.
    NotKept,
    /// It is sealed, and nobody brought an identity.
    Sealed,
    /// It is sealed for others.
    NotOpened,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotKept => "is kept as digests only",
            Self::Sealed => "is sealed; auditors open it with --identity FILE",
            Self::NotOpened => "is sealed for others than the given identities",
        })
    }
}

/// The parts that may name a machine, by the digest of their bytes.
pub(super) struct Parts(BTreeMap<Digest, Vec<u8>>);

impl Parts {
    /// All parts of a record, out of its files. What is sealed has to be as it was written, whether or not it can be
    /// opened.
    pub(super) fn of(
        record: &EvidenceRecord,
        opener: Option<&Opener>,
        file: impl Fn(Digest) -> Result<Vec<u8>, Wrong>,
    ) -> Result<Result<Self, Closed>, Wrong> {
        let mut parts = BTreeMap::new();
        let mut closed = None;
        for part in record.parts() {
            match bytes(part, opener, &file)? {
                Ok(bytes) => drop(parts.insert(part.digest, bytes)),
                Err(why) => closed = Some(why),
            }
        }
        Ok(closed.map_or(Ok(Self(parts)), Err))
    }

    /// What the agent showed.
    pub(super) fn shown(&self, record: &EvidenceRecord) -> Result<Shown, Wrong> {
        let mut shown = Shown::of_quote(self.bounded(&record.quote)?);
        let log = record.event_log.as_ref();
        shown.event_log = log.map(|part| self.bounded(part)).transpose()?;
        let token = record.token.as_ref();
        shown.token = token.map(|part| self.bounded(part)).transpose()?;
        Ok(shown)
    }

    /// The collateral, where it is not public.
    pub(super) fn collateral(&self, record: &EvidenceRecord) -> Result<Option<Collateral>, Wrong> {
        let part = record.private_collateral.as_ref();
        let read = part.map(|part| parsed(part.digest, &self.0[&part.digest]));
        read.transpose()
    }

    fn bounded<const MAX: usize>(&self, part: &Part) -> Result<Bounded<MAX>, Wrong> {
        let bytes = Bounded::new(self.0[&part.digest].clone());
        bytes.map_err(|error| wrong(part.digest, error.to_string()))
    }
}

fn bytes(
    part: &Part,
    opener: Option<&Opener>,
    file: &impl Fn(Digest) -> Result<Vec<u8>, Wrong>,
) -> Result<Result<Vec<u8>, Closed>, Wrong> {
    let at = match part.kept {
        Kept::Full => return file(part.digest).map(Ok),
        Kept::Sealed(at) => at,
        Kept::DigestOnly => return Ok(Err(Closed::NotKept)),
    };
    let sealed = file(at)?;
    let Some(opener) = opener else {
        return Ok(Err(Closed::Sealed));
    };
    match opener.open(&sealed, LONGEST) {
        Ok(bytes) if Digest::of(&bytes) == part.digest => Ok(Ok(bytes)),
        Ok(_) => {
            let message = format!(
                "holds other bytes than {}, which it is sealed for",
                part.digest
            );
            Err(wrong(at, message))
        }
        Err(OpenError::ForOthers) => Ok(Err(Closed::NotOpened)),
        Err(error) => Err(wrong(at, error.to_string())),
    }
}
