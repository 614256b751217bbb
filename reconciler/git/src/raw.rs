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
/// ledger's is over them.
pub(crate) fn parse(bytes: &[u8]) -> Option<Raw> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, message) = text.split_once("\n\n")?;
    let (mut payload, mut signature) = (String::with_capacity(text.len()), None::<String>);
    let (mut tree, mut parents, mut when) = (None, Vec::new(), None);
    let mut in_signature = false;
    for line in head.split('\n') {
        if let Some(more) = line.strip_prefix(' ').filter(|_| in_signature) {
            let signature = signature.get_or_insert_default();
            signature.push('\n');
            signature.push_str(more);
            continue;
        }
        in_signature = signature.is_none() && line.starts_with("gpgsig ");
        if in_signature {
            signature = line.strip_prefix("gpgsig ").map(str::to_owned);
            continue;
        }
        match line.split_once(' ') {
            Some(("tree", id)) => tree = Oid::from_str(id).ok(),
            Some(("parent", id)) => parents.push(Oid::from_str(id).ok()?),
            Some(("committer", who)) => when = who.rsplit(' ').nth(1)?.parse().ok(),
            _ => {}
        }
        payload.push_str(line);
        payload.push('\n');
    }
    payload.push('\n');
    payload.push_str(message);
    Some(Raw {
        tree: tree?,
        parents,
        when: when?,
        message: message.to_owned(),
        signature,
        payload: payload.into_bytes(),
    })
}
