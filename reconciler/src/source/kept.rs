//! What is in force is kept over restarts, so that neither history nor a conflict is decided anew.

use easyenclave_git::{BlobId, CommitId};
use easyenclave_schemas::records::InForceRecord;
use easyenclave_store::Space;

use crate::desired::Besides;
use crate::journal::{Journal, JournalError};

const KEY: &str = "accepted-commit";

/// What was in force before a restart, if that is known.
///
/// # Errors
/// When the store fails.
pub async fn kept(journal: &Journal) -> Result<Option<InForceRecord>, JournalError> {
    let value = journal.get(Space::Meta, KEY.into()).await?;
    Ok(value.and_then(|bytes| read(&bytes)))
}

/// Keeps what is in force now.
///
/// # Errors
/// When the store fails.
pub async fn keep(journal: &Journal, in_force: &InForceRecord) -> Result<(), JournalError> {
    let record = serde_json::to_vec(in_force).expect("a record is plain data");
    journal.keep(Space::Meta, KEY, record).await
}

/// A commit, and what differs from its files.
pub(super) fn record(commit: CommitId, besides: &Besides) -> InForceRecord {
    let text = |key: &[u8; 20]| BlobId::from_bytes(*key).to_string();
    let documents = besides.documents.iter();
    let attached = besides.attached.iter();
    InForceRecord {
        commit: commit.to_string(),
        besides: documents
            .map(|(path, key)| (path.clone(), key.as_ref().map(text)))
            .collect(),
        attached: attached
            .map(|(path, key)| (path.clone(), text(key)))
            .collect(),
        came: besides.came.clone(),
    }
}

/// What differed from the files of the commit.
pub(super) fn besides(record: &InForceRecord) -> Besides {
    let key = |text: &String| text.parse().ok().map(|id: BlobId| *id.as_bytes());
    let documents = record.besides.iter();
    let attached = record.attached.iter();
    Besides {
        documents: documents
            .map(|(path, id)| (path.clone(), id.as_ref().and_then(key)))
            .collect(),
        attached: attached
            .filter_map(|(path, id)| Some((path.clone(), key(id)?)))
            .collect(),
        came: record.came.clone(),
    }
}

/// Before there were records, the commit alone was kept, as text.
fn read(bytes: &[u8]) -> Option<InForceRecord> {
    let commit = |commit: &str| InForceRecord {
        commit: commit.to_owned(),
        ..InForceRecord::default()
    };
    let text = || std::str::from_utf8(bytes).ok().map(commit);
    serde_json::from_slice(bytes).ok().or_else(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_was_kept_as_text_is_still_read() {
        let commit = "a1".repeat(20);
        let old = read(commit.as_bytes()).expect("readable");
        assert_eq!(
            (old.commit.as_str(), old.besides.len()),
            (commit.as_str(), 0)
        );
        let digits = "12".repeat(20);
        assert_eq!(read(digits.as_bytes()).map(|old| old.commit), Some(digits));
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut record = InForceRecord {
            commit: "a1".repeat(20),
            ..InForceRecord::default()
        };
        record.besides.insert("a".into(), None);
        record.besides.insert("b".into(), Some("b2".repeat(20)));
        let before = serde_json::to_string(&record).expect("plain data");
        assert!(!before.contains("attached"), "{before}");
        record.attached.insert("b".into(), "c3".repeat(20));
        record.came = Some(["x.yaml".to_owned()].into());
        let bytes = serde_json::to_vec(&record).expect("plain data");
        assert_eq!(read(&bytes).as_ref(), Some(&record));
        let commit = record.commit.parse().expect("a commit");
        assert_eq!(self::record(commit, &besides(&record)), record);
    }
}
