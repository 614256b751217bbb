//! A commit object taken apart, byte by byte: what a signature is over is exactly the object without the signature.

use git2::Oid;

/// The parts of a commit object.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) tree: Oid,
    pub(crate) parents: Vec<Oid>,
    /// The committer's time, in seconds since the epoch.
    pub(crate) when: i64,
    pub(crate) message: String,
    /// The armoured signature.
    pub(crate) signature: Option<String>,
    /// The object without its signature.
    pub(crate) payload: Vec<u8>,
}

/// Takes a commit object apart. Headers that a ledger does not write are kept in the payload, so that no signature of a
/// ledger's is over them, and so is what is no text.
pub(crate) fn parse(bytes: &[u8]) -> Option<Raw> {
    let end = bytes.windows(2).position(|two| two == b"\n\n")?;
    let (head, message) = (&bytes[..end], &bytes[end + 2..]);
    let (mut payload, mut signature) = (Vec::with_capacity(bytes.len()), None::<String>);
    let (mut tree, mut parents, mut when) = (None, Vec::new(), None);
    let mut in_signature = false;
    for line in head.split(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        if let Some(more) = text.strip_prefix(' ').filter(|_| in_signature) {
            let signature = signature.get_or_insert_default();
            signature.push('\n');
            signature.push_str(more);
            continue;
        }
        in_signature = signature.is_none() && text.starts_with("gpgsig ");
        if in_signature {
            signature = text.strip_prefix("gpgsig ").map(str::to_owned);
            continue;
        }
        match text.split_once(' ') {
            Some(("tree", id)) => tree = Oid::from_str(id).ok(),
            Some(("parent", id)) => parents.push(Oid::from_str(id).ok()?),
            Some(("committer", who)) => when = who.rsplit(' ').nth(1)?.parse().ok(),
            _ => {}
        }
        payload.extend(line);
        payload.push(b'\n');
    }
    payload.push(b'\n');
    payload.extend(message);
    Some(Raw {
        tree: tree?,
        parents,
        when: when?,
        message: String::from_utf8_lossy(message).into_owned(),
        signature,
        payload,
    })
}

/// The beginning of a commit object that is too long to be held: without message, signature and payload.
pub(crate) fn beginning(bytes: &[u8]) -> Option<Raw> {
    let mut raw = parse(&[bytes, b"\n\n"].concat())?;
    raw.message = String::new();
    raw.signature = None;
    raw.payload = Vec::new();
    Some(raw)
}

/// The parents alone.
pub(crate) fn parents(bytes: &[u8]) -> Option<Vec<Oid>> {
    let end = bytes.windows(2).position(|two| two == b"\n\n")?;
    let lines = bytes[..end].split(|byte| *byte == b'\n');
    let ids = lines.filter_map(|line| line.strip_prefix(b"parent "));
    let parent = |id: &[u8]| Oid::from_str(std::str::from_utf8(id).ok()?).ok();
    ids.map(parent).collect()
}
