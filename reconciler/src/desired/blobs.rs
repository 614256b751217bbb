//! Documents by the ids of their blobs. A blob is decoded once; many new ones on several threads.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::num::NonZero;
use std::sync::Arc;

use easyenclave_schemas::Digest;
use easyenclave_schemas::decode::{self, Located, Problem, did_you_mean};
use easyenclave_schemas::documents::{Document, Identity};

use super::compose::{self, Composed, Wants};
use super::paths::{beside, is_attachment};
use crate::revision::WorkloadVersion;

/// The id of a blob.
pub(super) type BlobKey = [u8; 20];

/// Stands for what is no file at all, where a document should be. No blob has this id.
pub const NOT_A_FILE: BlobKey = [0; 20];

/// The id of a version of a document: its blob, and that of the file beside it which is a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct VersionKey {
    pub(super) document: BlobKey,
    pub(super) beside: Option<BlobKey>,
}

impl VersionKey {
    /// Of a document that has nothing beside it.
    pub(super) fn of(document: BlobKey) -> Self {
        Self {
            document,
            beside: None,
        }
    }
}

/// Reads the bytes of a blob.
pub(super) type ReadBlob<'a> = &'a (dyn Fn(BlobKey) -> Result<Vec<u8>, String> + Sync);

/// A document that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) located: Located,
    /// What a deployment runs, by its digest; none of one that wants a file and has none yet.
    pub(super) workload: Option<(Digest, Arc<WorkloadVersion>)>,
    /// The file beside it that is a part of it.
    pub(super) file: Option<String>,
    /// What its Compose file comes to, wherever that stands.
    pub(super) composed: Option<Composed>,
}

/// In which file of a version a problem stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// In the document.
    Document,
    /// In the file beside it.
    Beside,
}

/// A document that could not be read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) problems: Vec<(Part, Problem)>,
    /// What it says it is, when that much can be read.
    pub(super) claims: Option<Identity>,
    /// What is left of it, in which more may be wrong. It is never in force.
    pub(super) rest: Option<Arc<Read>>,
}

impl Unread {
    /// A document that wants a file beside it which is not there.
    pub(super) fn missing(
        read: &Arc<Read>,
        path: &str,
        file: &str,
        files: &BTreeMap<String, BlobKey>,
    ) -> Self {
        let pointer = SOURCE_FILE;
        let (line, column) = read.located.position(pointer);
        let problem = Problem {
            line,
            column,
            pointer: pointer.into(),
            code: "no-such-file",
            message: format!("there is no file {file} beside this document"),
            suggestion: near_file(path, file, files),
        };
        Self {
            problems: vec![(Part::Document, problem)],
            claims: Some(read.located.identity.clone()),
            rest: Some(Arc::clone(read)),
        }
    }
}

/// Where a deployment names the file that it wants beside it.
pub(super) const SOURCE_FILE: &str = "/spec/workload/compose/source/file";

/// The Compose file in a document's folder that was probably meant.
pub(super) fn near_file(
    path: &str,
    file: &str,
    files: &BTreeMap<String, BlobKey>,
) -> Option<String> {
    let folder = beside(path, "");
    let others = files.keys().filter(|path| is_attachment(path));
    let others = others.filter_map(|path| path.strip_prefix(&folder));
    did_you_mean(file, others).map(str::to_owned)
}

/// What came of a blob, or of two.
pub(super) type Decoded = Result<Arc<Read>, Arc<Unread>>;

/// All that was decoded and is still of use.
#[derive(Debug, Clone, Default)]
pub(super) struct Blobs {
    alone: HashMap<BlobKey, Decoded>,
    pairs: HashMap<(BlobKey, BlobKey), Decoded>,
}

/// Fewer new blobs than this are not worth a thread.
const FEW: usize = 32;

impl Blobs {
    /// What came of a document's blob, from memory or newly decoded.
    pub(super) fn get(&mut self, key: BlobKey, blob: ReadBlob<'_>) -> Decoded {
        if let Some(decoded) = self.alone.get(&key) {
            return decoded.clone();
        }
        let (decoded, keep) = decode(key, blob);
        if keep {
            self.alone.insert(key, decoded.clone());
        }
        decoded
    }

    /// What came of a document with the file that it wants beside it.
    pub(super) fn pair(
        &mut self,
        read: &Read,
        key: (BlobKey, BlobKey),
        blob: ReadBlob<'_>,
    ) -> Decoded {
        if let Some(decoded) = self.pairs.get(&key) {
            return decoded.clone();
        }
        let (decoded, keep) = attach(read, key.1, blob);
        if keep {
            self.pairs.insert(key, decoded.clone());
        }
        decoded
    }

    /// Decodes all of these that are new, documents first and then what stands beside them: `pairs` tells for each
    /// document and what it wants which blob that is.
    pub(super) fn prepare(
        &mut self,
        documents: &[(&str, BlobKey)],
        beside: impl Fn(&str, &str) -> Option<BlobKey>,
        blob: ReadBlob<'_>,
    ) {
        let new = documents.iter().map(|(_, key)| *key);
        let new = new.filter(|key| !self.alone.contains_key(key)).collect();
        self.alone.extend(on_threads(new, |key| decode(*key, blob)));
        let mut wanted = HashMap::new();
        for (path, key) in documents {
            if let Some(Ok(read)) = self.alone.get(key)
                && let Some(other) = read.file.as_ref().and_then(|name| beside(path, name))
                && !self.pairs.contains_key(&(*key, other))
            {
                wanted.insert((*key, other), Arc::clone(read));
            }
        }
        let new = wanted.keys().copied().collect();
        let pairs = on_threads(new, |key| attach(&wanted[key], key.1, blob));
        self.pairs.extend(pairs);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.alone.len() + self.pairs.len()
    }

    /// Forgets what is no longer of use.
    pub(super) fn retain(&mut self, used: impl Fn(&BlobKey) -> bool) {
        self.alone.retain(|key, _| used(key));
        self.pairs
            .retain(|(document, beside), _| used(document) && used(beside));
    }
}

/// Makes many at once, and keeps those that are to be kept. A few are left to those who ask for them.
fn on_threads<K, V>(mut new: Vec<K>, make: impl Fn(&K) -> (V, bool) + Sync) -> Vec<(K, V)>
where
    K: Copy + Ord + Hash + Send + Sync,
    V: Send,
{
    new.sort_unstable();
    new.dedup();
    if new.len() < FEW {
        return Vec::new();
    }
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let size = new.len().div_ceil(threads);
    let make_all = |keys: &[K]| -> Vec<_> {
        let made = keys.iter().map(|key| (*key, make(key)));
        let kept = made.filter(|(_, (_, keep))| *keep);
        kept.map(|(key, (made, _))| (key, made)).collect()
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = new
            .chunks(size)
            .map(|keys| scope.spawn(|| make_all(keys)))
            .collect();
        let made = parts.into_iter();
        made.flat_map(|part| part.join().expect("decoding does not panic"))
            .collect()
    })
}

/// Decodes a blob. An outage is no property of a blob, so it is not to be kept.
fn decode(key: BlobKey, blob: ReadBlob<'_>) -> (Decoded, bool) {
    let (bytes, keep) = bytes(key, Part::Document, blob);
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(problems) => return (unread(problems, None, None), keep),
    };
    let decoded = match decode::salvage(&bytes) {
        Ok(located) => read(&bytes, located),
        Err(flawed) => {
            let claims = decode::identify(&bytes);
            let rest = flawed.rest.map(|located| read(&bytes, *located));
            further(in_document(flawed.problems), claims, rest)
        }
    };
    (decoded, true)
}

/// A document with problems, and with those of what is left of it.
fn further(
    mut problems: Vec<(Part, Problem)>,
    claims: Option<Identity>,
    rest: Option<Decoded>,
) -> Decoded {
    let rest = match rest {
        None => None,
        Some(Ok(read)) => Some(read),
        Some(Err(other)) => {
            problems.extend(other.problems.iter().cloned());
            other.rest.clone()
        }
    };
    unread(problems, claims, rest)
}

/// A document, with the Compose file that stands within it, if one does.
fn read(bytes: &[u8], mut located: Located) -> Decoded {
    let (mut file, mut composed) = (None, None);
    let mut problems = Vec::new();
    match compose::wants(&located) {
        Wants::Nothing => {}
        Wants::File(name) => file = Some(name),
        Wants::Text(text) => {
            let (found, wrong) = compose::within(&mut located, bytes, &text);
            (composed, problems) = (Some(found), wrong);
        }
    }
    let workload = match &file {
        None => workload(&located.document),
        Some(_) => None,
    };
    whole(
        Read {
            located,
            workload,
            file,
            composed,
        },
        problems,
    )
}

/// A document, with the file that stands beside it.
fn attach(read: &Read, key: BlobKey, blob: ReadBlob<'_>) -> (Decoded, bool) {
    let (bytes, keep) = bytes(key, Part::Beside, blob);
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(problems) => {
            let claims = Some(read.located.identity.clone());
            return (unread(problems, claims, None), keep);
        }
    };
    let mut located = read.located.clone();
    let (composed, problems) = compose::beside(&mut located, &bytes);
    let attached = Read {
        workload: workload(&located.document),
        located,
        file: read.file.clone(),
        composed: Some(composed),
    };
    (whole(attached, problems), true)
}

/// What was read, unless something is wrong with it.
fn whole(read: Read, problems: Vec<(Part, Problem)>) -> Decoded {
    let read = Arc::new(read);
    match problems.is_empty() {
        true => Ok(read),
        false => unread(problems, Some(read.located.identity.clone()), Some(read)),
    }
}

type Bytes = Result<Vec<u8>, Vec<(Part, Problem)>>;

/// The bytes of a blob, and whether what came of it is true of the blob itself.
fn bytes(key: BlobKey, part: Part, blob: ReadBlob<'_>) -> (Bytes, bool) {
    if key == NOT_A_FILE {
        return (Err(vec![(part, not_a_file(part))]), true);
    }
    match blob(key) {
        Ok(bytes) => (Ok(bytes), true),
        Err(error) => (Err(vec![(part, unreadable(&error))]), false),
    }
}

fn unread(
    problems: Vec<(Part, Problem)>,
    claims: Option<Identity>,
    rest: Option<Arc<Read>>,
) -> Decoded {
    Err(Arc::new(Unread {
        problems,
        claims,
        rest,
    }))
}

fn in_document(problems: Vec<Problem>) -> Vec<(Part, Problem)> {
    let place = |problem| (Part::Document, problem);
    problems.into_iter().map(place).collect()
}

fn unreadable(error: &str) -> Problem {
    of_the_file("unreadable", format!("the file cannot be read: {error}"))
}

fn not_a_file(part: Part) -> Problem {
    let what = match part {
        Part::Document => "document",
        Part::Beside => "Compose file",
    };
    let message = format!("a link or submodule is no {what}; put the file itself here");
    of_the_file("not-a-file", message)
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
