//! A judgement as the status branch keeps it: a record, and beside it the parts that it was made from, each a file of
//! its own digest. Made once, when judged, and kept in the store until the branch has a newer one of the same agent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use easyenclave_attestation::QuoteView;
use easyenclave_schemas::documents::{EvidenceSpec, Keep};
use easyenclave_schemas::evidence::{EvidenceRecord, Kept, Outcome, Part};
use easyenclave_schemas::{AgentId, Digest};
use easyenclave_store::Space;

use super::Exhibit;
use crate::journal::{Change, Journal, JournalError};
use crate::revision::Applied;
use crate::seal::{SealError, Sealer};

/// The most judgements of one agent that may wait to be forgotten; a chain that is longer is damaged.
const MOST: usize = 1000;

/// A judgement, as of when the evidence was shown.
pub(crate) struct Judgement {
    /// Whose evidence it was.
    pub(crate) agent: AgentId,
    /// What was shown.
    pub(crate) exhibit: Arc<Exhibit>,
    /// The policy that was applied.
    pub(crate) applied: Arc<Applied>,
    /// What verification said.
    pub(crate) outcome: Outcome,
}

impl Judgement {
    /// Whether the platform is surely a simulated one, which there is no machine to be named of. The policy alone does
    /// not tell: real evidence that was kept is judged again by whatever policy is put in its place.
    fn is_simulated(&self) -> bool {
        let root = self.outcome.trust_root();
        root.is_some_and(|root| root.is_simulated())
    }
}

/// The files of one judgement.
#[derive(Debug)]
pub(crate) struct Filing {
    /// The digest of its record.
    pub(crate) record: Digest,
    files: Files,
}

/// Files by the digest of their bytes.
pub(crate) type Files = BTreeMap<Digest, Vec<u8>>;

impl Filing {
    /// The files of a judgement, as much of them as is to be kept. Sealing is arithmetic: not for the threads that
    /// answer requests.
    pub(crate) fn of(judgement: Judgement, spec: &EvidenceSpec, sealer: Option<Sealer>) -> Self {
        let keep = spec.keeps(judgement.is_simulated());
        let mut desk = Desk {
            keeping: Keeping::of(keep, sealer),
            files: Files::new(),
        };
        let record = desk.record(judgement).to_json();
        let digest = desk.public(record);
        Self {
            record: digest,
            files: desk.files,
        }
    }

    /// Keeps the files, and remembers which judgement this one comes after.
    pub(crate) fn put(self, change: &mut Change, before: Option<Digest>) {
        let record = self.record;
        for (file, bytes) in self.files {
            change.put(Space::Filings, &key(record, file), bytes);
        }
        if let Some(before) = before.filter(|before| *before != record) {
            let bytes = before.to_string().into_bytes();
            change.put(Space::Filings, &before_key(record), bytes);
        }
    }
}

/// What becomes of parts that may name a machine.
enum Keeping {
    Full,
    Sealed(Sealer),
    DigestOnly,
}

impl Keeping {
    /// Sealing needs somebody to seal for: digests only meanwhile, which the fleet's condition `Auditable` says.
    fn of(keep: Keep, sealer: Option<Sealer>) -> Self {
        match keep {
            Keep::Full => Self::Full,
            Keep::Sealed => sealer.map_or(Self::DigestOnly, Self::Sealed),
            Keep::Digest => Self::DigestOnly,
        }
    }
}

struct Desk {
    keeping: Keeping,
    files: Files,
}

impl Desk {
    fn record(&mut self, judgement: Judgement) -> EvidenceRecord {
        let exhibit = &*judgement.exhibit;
        let evidence = &exhibit.evidence;
        let quote = evidence.quote.as_bytes();
        let quote = QuoteView::parse(quote).map_or(quote, |view| view.bytes());
        let (collateral, private_collateral) = self.collateral(exhibit);
        EvidenceRecord {
            agent: judgement.agent,
            public_key: exhibit.binding.public_key.clone(),
            nonce: exhibit.binding.nonce.clone(),
            ita_nonce: exhibit.binding.ita.clone(),
            nonce_failure: exhibit.nonce_failure,
            quote: self.part(quote),
            event_log: evidence
                .event_log
                .as_ref()
                .map(|log| self.part(log.as_bytes())),
            token: evidence
                .token
                .as_ref()
                .map(|token| self.part(token.as_bytes())),
            token_keys: exhibit
                .token_keys
                .as_ref()
                .map(|keys| self.public(keys.to_json())),
            collateral,
            private_collateral,
            policy: self.public(judgement.applied.document.to_json()),
            at: exhibit.at,
            outcome: judgement.outcome,
        }
    }

    /// Collateral is public, unless a chain that names the machine is in it.
    fn collateral(&mut self, exhibit: &Exhibit) -> (Option<Digest>, Option<Part>) {
        let Some(collateral) = &exhibit.collateral else {
            return (None, None);
        };
        let json = serde_json::to_vec(collateral).expect("plain data");
        let names_machine = collateral.as_dcap().pck_certificate_chain.is_some();
        match &self.keeping {
            Keeping::Sealed(_) | Keeping::DigestOnly if names_machine => {
                (None, Some(self.part(&json)))
            }
            _ => (Some(self.public(json)), None),
        }
    }

    fn part(&mut self, bytes: &[u8]) -> Part {
        let digest = Digest::of(bytes);
        let kept = match &self.keeping {
            Keeping::Full => {
                self.files.insert(digest, bytes.to_vec());
                Kept::Full
            }
            Keeping::Sealed(sealer) => match sealer.seal(bytes) {
                Ok(sealed) => Kept::Sealed(self.public(sealed)),
                Err(error) => {
                    unsealed(&error);
                    Kept::DigestOnly
                }
            },
            Keeping::DigestOnly => Kept::DigestOnly,
        };
        Part { digest, kept }
    }

    fn public(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.files.insert(digest, bytes);
        digest
    }
}

fn unsealed(error: &SealError) {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "evidence is not sealed: its digest alone is kept"
    );
}

/// The files of the record with this digest, itself among them; none unless the store has all of them.
///
/// # Errors
/// When the store fails.
pub(crate) async fn filed(
    journal: &Journal,
    record: Digest,
) -> Result<Option<Files>, JournalError> {
    let Some(bytes) = journal.get(Space::Filings, key(record, record)).await? else {
        return Ok(None);
    };
    let Ok(read) = serde_json::from_slice::<EvidenceRecord>(&bytes) else {
        return Ok(None);
    };
    let mut files = Files::from([(record, bytes)]);
    for file in read.files() {
        let Some(bytes) = journal.get(Space::Filings, key(record, file)).await? else {
            return Ok(None);
        };
        files.insert(file, bytes);
    }
    Ok(Some(files))
}

/// Forgets judgements that the branch holds no more, and all judgements before those that it has now.
///
/// # Errors
/// When the store fails.
pub(crate) async fn forget(
    journal: &Journal,
    gone: &[Digest],
    newest: &[Digest],
) -> Result<(), JournalError> {
    let mut keys = Vec::new();
    for record in gone {
        add_keys(journal, *record, &mut keys).await?;
    }
    for record in newest {
        let mut at = before(journal, *record).await?;
        keys.push(before_key(*record));
        for _ in 0..MOST {
            let Some(old) = at else { break };
            at = before(journal, old).await?;
            add_keys(journal, old, &mut keys).await?;
        }
    }
    delete(journal, keys).await
}

async fn add_keys(
    journal: &Journal,
    record: Digest,
    keys: &mut Vec<String>,
) -> Result<(), JournalError> {
    let bytes = journal.get(Space::Filings, key(record, record)).await?;
    let read = bytes.and_then(|bytes| serde_json::from_slice::<EvidenceRecord>(&bytes).ok());
    if let Some(read) = read {
        keys.extend(read.files().map(|file| key(record, file)));
        keys.push(key(record, record));
    }
    keys.push(before_key(record));
    Ok(())
}

/// Forgets all judgements that are no agent's newest: nobody asks for them after a start.
///
/// # Errors
/// When the store fails.
pub(crate) async fn forget_strays(journal: &Journal) -> Result<(), JournalError> {
    let newest: BTreeSet<String> = {
        let records = journal.read();
        let agents = records.agents.values();
        agents
            .filter_map(|agent| Some(agent.evidence?.to_string()))
            .collect()
    };
    let keys = journal.keys(Space::Filings).await?;
    let stray = |key: &String| !newest.contains(key.split('/').next().unwrap_or_default());
    delete(journal, keys.into_iter().filter(stray).collect()).await
}

async fn delete(journal: &Journal, keys: Vec<String>) -> Result<(), JournalError> {
    if keys.is_empty() {
        return Ok(());
    }
    let deleted = journal.transact(move |_, change| {
        keys.iter()
            .for_each(|key| change.delete(Space::Filings, key));
        Ok::<_, ()>(())
    });
    deleted.await?.unwrap_or_default();
    Ok(())
}

async fn before(journal: &Journal, record: Digest) -> Result<Option<Digest>, JournalError> {
    let bytes = journal.get(Space::Filings, before_key(record)).await?;
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.and_then(|text| Digest::parse(&text)))
}

fn key(record: Digest, file: Digest) -> String {
    format!("{record}/{file}")
}

fn before_key(record: Digest) -> String {
    format!("{record}/before")
}

#[cfg(test)]
mod tests;
