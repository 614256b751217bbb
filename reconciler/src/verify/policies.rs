//! The policies that the desired state has had: a verdict under another one is the reconciler's own invention.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_git::{CommitId, GitError, Met, Past};
use easyenclave_schemas::decode::decode;
use easyenclave_schemas::documents::{Document, PolicySpec};
use easyenclave_schemas::{Digest, PolicyName, TargetName};

use crate::desired::is_document;

/// Documents of all versions up to some commits. A document that failed kept its last good version in force, so any
/// version counts that came no later.
#[derive(Debug, Default)]
pub(super) struct Policies {
    met: Met,
    /// The names that a policy has had, by the digest of its text.
    names: BTreeMap<Digest, BTreeSet<PolicyName>>,
    /// The policies that a target has named.
    targets: BTreeMap<TargetName, BTreeSet<PolicyName>>,
}

impl Policies {
    /// Adds what a commit of the desired state says, and those that it follows on. A file that is too long was never in
    /// force.
    ///
    /// # Errors
    /// When an object is missing.
    pub(super) fn upto(&mut self, past: &Past, commit: CommitId) -> Result<(), GitError> {
        for (_, blob) in past.versions(commit, &mut self.met, &is_document)? {
            let bytes = match past.blob(blob) {
                Ok(bytes) => bytes,
                Err(GitError::TooLarge(_)) => continue,
                Err(error) => return Err(error),
            };
            // What cannot be read was never in force. Only these two kinds are worth reading.
            let is = |kind: &str| bytes.windows(kind.len()).any(|it| it == kind.as_bytes());
            if !is("AttestationPolicy") && !is("CapacityTarget") {
                continue;
            }
            match decode(&bytes).map(|located| located.document) {
                Ok(Document::AttestationPolicy(policy)) => {
                    let names = self.names.entry(digest(&policy.spec)).or_default();
                    names.extend(policy.metadata.name.parse::<PolicyName>());
                }
                Ok(Document::CapacityTarget(target)) => {
                    if let Ok(name) = target.metadata.name.parse() {
                        let named = self.targets.entry(name).or_default();
                        named.insert(target.spec.policy);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The names that a policy has had.
    pub(super) fn names(&self, policy: Digest) -> BTreeSet<PolicyName> {
        self.names.get(&policy).cloned().unwrap_or_default()
    }

    /// Whether a policy was the desired state's for agents of this target.
    ///
    /// # Errors
    /// In words, when it was not.
    pub(super) fn know(&self, policy: Digest, target: &TargetName) -> Result<(), String> {
        let names = self.names.get(&policy);
        let names = names.ok_or("its policy is in no version of the desired state up to then")?;
        let named = self.targets.get(target);
        let named = named.ok_or_else(|| {
            format!("target {target} is in no version of the desired state up to then")
        })?;
        match names.is_disjoint(named) {
            false => Ok(()),
            true => {
                let names: Vec<_> = names.iter().map(PolicyName::as_str).collect();
                Err(format!(
                    "its policy is {}, which target {target} has never named",
                    names.join(" or ")
                ))
            }
        }
    }
}

/// The digest of a policy's text, whatever size of agents it is applied to.
pub(super) fn digest(spec: &PolicySpec) -> Digest {
    Digest::of(&serde_json::to_vec(spec).expect("a policy is plain data"))
}
