//! Limits on what several documents take together, and which of them gives way.

use std::collections::BTreeMap;

use super::super::facts::Considered;
use super::Finding;

/// What a document takes of something limited.
pub(super) struct Share<'a> {
    pub(super) version: Considered<'a>,
    pub(super) count: u32,
    pub(super) pointer: &'static str,
}

/// By whoever takes it.
pub(super) fn group<'a>(
    shares: impl Iterator<Item = (&'a str, Share<'a>)>,
) -> BTreeMap<&'a str, Vec<Share<'a>>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, share) in shares {
        groups.entry(name).or_default().push(share);
    }
    groups
}

/// A limit on the sum of what several documents take.
pub(super) struct Limit<'a> {
    /// The document that sets it, and where.
    pub(super) version: Considered<'a>,
    pub(super) pointer: &'static str,
    pub(super) most: u32,
    pub(super) code: &'static str,
    pub(super) sum: String,
    pub(super) name: String,
}

impl Limit<'_> {
    /// What was in force before goes first. So a change that takes too much is blamed itself; and a
    /// changed limit below what is in force is blamed, not those who hold to the old one.
    pub(super) fn hold(&self, mut shares: Vec<Share<'_>>, findings: &mut Vec<Finding>) {
        let total: u64 = shares.iter().map(|share| u64::from(share.count)).sum();
        if total <= u64::from(self.most) {
            return;
        }
        let message = format!(
            "{} come to {total}; {} is {}",
            self.sum, self.name, self.most
        );
        let before = |share: &&Share<'_>| share.version.standing.novelty() == 0;
        let held: u64 = shares
            .iter()
            .filter(before)
            .map(|share| u64::from(share.count))
            .sum();
        if self.version.standing.novelty() > 0 && held > u64::from(self.most) {
            findings.push(Finding::new(self.version, self.pointer, self.code, message));
            return;
        }
        shares.sort_by_key(|share| share.version.standing.novelty());
        let mut sum = 0;
        for share in shares.iter().filter(|share| share.count > 0) {
            if sum + u64::from(share.count) <= u64::from(self.most) {
                sum += u64::from(share.count);
            } else {
                let message = message.clone();
                findings.push(Finding::new(
                    share.version,
                    share.pointer,
                    self.code,
                    message,
                ));
            }
        }
    }
}
