//! Decoded documents by the id of their blob. A blob is decoded once; many new ones on several threads.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;

use easyenclave_schemas::Digest;
use easyenclave_schemas::decode::{self, Located, Problem};
use easyenclave_schemas::documents::{Document, Identity};

use crate::revision::WorkloadVersion;

/// The id of a blob.
pub(super) type BlobKey = [u8; 20];

/// Stands for what is no file at all, where a document should be. No blob has this id.
pub const NOT_A_FILE: BlobKey = [0; 20];

/// Reads the bytes of a blob.
pub(super) type ReadBlob<'a> = &'a (dyn Fn(BlobKey) -> Result<Vec<u8>, String> + Sync);

/// A document that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) located: Located,
    /// What a deployment runs, by its digest.
    pub(super) workload: Option<(Digest, Arc<WorkloadVersion>)>,
}

/// A document that could not be read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) problems: Vec<Problem>,
    /// What it says it is, when that much can be read.
    pub(super) claims: Option<Identity>,
}

/// What came of a blob.
pub(super) type Decoded = Result<Arc<Read>, Arc<Unread>>;

/// All that was decoded and is still of use.
#[derive(Debug, Default)]
pub(super) struct Blobs(HashMap<BlobKey, Decoded>);

/// Fewer new blobs than this are not worth a thread.
const FEW: usize = 32;

impl Blobs {
    /// What came of a blob, from memory or newly decoded.
    pub(super) fn get(&mut self, key: BlobKey, blob: ReadBlob<'_>) -> Decoded {
        if let Some(decoded) = self.0.get(&key) {
            return decoded.clone();
        }
        let (decoded, keep) = decode(key, blob);
        if keep {
            self.0.insert(key, decoded.clone());
        }
        decoded
    }

    /// Decodes all of these that are new.
    pub(super) fn prepare(&mut self, keys: impl Iterator<Item = BlobKey>, blob: ReadBlob<'_>) {
        let mut new: Vec<_> = keys.filter(|key| !self.0.contains_key(key)).collect();
        new.sort_unstable();
        new.dedup();
        if new.len() < FEW {
            return;
        }
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let size = new.len().div_ceil(threads);
        std::thread::scope(|scope| {
            let decode_all = |keys: &[BlobKey]| -> Vec<_> {
                keys.iter().map(|key| (*key, decode(*key, blob))).collect()
            };
            let parts: Vec<_> = new
                .chunks(size)
                .map(|keys| scope.spawn(move || decode_all(keys)))
                .collect();
            for part in parts {
                let part = part.join().expect("decoding does not panic");
                let kept = part.into_iter().filter(|(_, (_, keep))| *keep);
                self.0
                    .extend(kept.map(|(key, (decoded, _))| (key, decoded)));
            }
        });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets what is no longer of use.
    pub(super) fn retain(&mut self, used: impl Fn(&BlobKey) -> bool) {
        self.0.retain(|key, _| used(key));
    }
}

/// Decodes a blob. An outage is no property of a blob, so it is not to be kept.
fn decode(key: BlobKey, blob: ReadBlob<'_>) -> (Decoded, bool) {
    if key == NOT_A_FILE {
        let problems = vec![not_a_file()];
        let claims = None;
        return (Err(Arc::new(Unread { problems, claims })), true);
    }
    let bytes = match blob(key) {
        Ok(bytes) => bytes,
        Err(error) => {
            let problems = vec![unreadable(&error)];
            return (
                Err(Arc::new(Unread {
                    problems,
                    claims: None,
                })),
                false,
            );
        }
    };
    let decoded = match decode::decode(&bytes) {
        Ok(located) => Ok(Arc::new(Read {
            workload: workload(&located.document),
            located,
        })),
        Err(problems) => {
            let claims = decode::identify(&bytes);
            Err(Arc::new(Unread { problems, claims }))
        }
    };
    (decoded, true)
}

fn unreadable(error: &str) -> Problem {
    of_the_file("unreadable", format!("the file cannot be read: {error}"))
}

fn not_a_file() -> Problem {
    let message = "a link or submodule is no document; put the file itself here";
    of_the_file("not-a-file", message.into())
}

fn of_the_file(code: &'static str, message: String) -> Problem {
    Problem {
        line: 1,
        column: 1,
        pointer: String::new(),
        code,
        message,
        suggestion: None,
    }
}

fn workload(document: &Document) -> Option<(Digest, Arc<WorkloadVersion>)> {
    let Document::Deployment(object) = document else {
        return None;
    };
    let version = WorkloadVersion {
        workload: object.spec.workload.clone(),
        health: object.spec.health.clone(),
        secrets: object.spec.secrets.clone(),
        secrets_digest: None,
    };
    Some((version.digest(), Arc::new(version)))
}
