//! What owners' documents say of who acts for them: keys that can be verified, each one owner's, and jobs that no two owners
//! name. Identities are older than the last of these, so those in force stay in force and a change is blamed.

use std::collections::BTreeMap;

use easyenclave_schemas::documents::{GithubIdentity, OwnerSpec};

use super::super::facts::{Facts, Held};
use super::Finding;
use crate::auth::keys;

/// A key's hash is one that can be verified with, within bounds.
pub(super) fn keys_are_readable(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for held in facts.owners.values() {
        for (index, key) in held.object.spec.keys.iter().enumerate() {
            if let Err(error) = keys::readable(&key.hash) {
                let pointer = format!("/spec/keys/{index}/hash");
                let message = format!("`spec.keys[{index}].hash`: {error}");
                findings.push(Finding::new(held.version, pointer, "key-hash", message));
            }
        }
    }
}

/// A key is one owner's. Whoever is new is at fault.
pub(super) fn keys_are_one_owners(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for held in by_standing(facts) {
        for (index, key) in held.object.spec.keys.iter().enumerate() {
            let first = *known.entry(&key.id).or_insert(held.name());
            if first != held.name() {
                let pointer = format!("/spec/keys/{index}/id");
                let message =
                    format!("`spec.keys[{index}].id` is the id of a key of owner {first}");
                findings.push(Finding::new(held.version, pointer, "key-id", message));
            }
        }
    }
}

/// A job acts for one owner.
pub(super) fn jobs_are_one_owners(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let mut known: BTreeMap<String, Vec<(&str, &GithubIdentity)>> = BTreeMap::new();
    for held in by_standing(facts) {
        for (index, identity) in held.object.spec.github.iter().enumerate() {
            let organization = identity.organization.to_ascii_lowercase();
            let before = known.entry(organization).or_default();
            let other = before
                .iter()
                .find(|(owner, other)| *owner != held.name() && overlap(identity, other));
            if let Some((owner, _)) = other
                && held.version.standing.novelty() > 0
            {
                let pointer = format!("/spec/github/{index}");
                let message = format!(
                    "`spec.github[{index}]` has jobs that owner {owner} names too: a job acts for one owner"
                );
                findings.push(Finding::new(
                    held.version,
                    pointer,
                    "shared-identity",
                    message,
                ));
            }
            before.push((held.name(), identity));
        }
    }
}

/// Whether some job is of both. They are of one organisation.
fn overlap(one: &GithubIdentity, other: &GithubIdentity) -> bool {
    let meet = |one: &Option<String>, other: &Option<String>, same: fn(&str, &str) -> bool| match (
        one, other,
    ) {
        (Some(one), Some(other)) => same(one, other),
        _ => true,
    };
    meet(
        &one.repository,
        &other.repository,
        str::eq_ignore_ascii_case,
    ) && meet(&one.git_ref, &other.git_ref, str::eq)
        && meet(&one.environment, &other.environment, str::eq)
}

/// Those that were in force first.
fn by_standing<'a, 'f>(facts: &'a Facts<'f>) -> Vec<&'a Held<'f, OwnerSpec>> {
    let mut owners: Vec<_> = facts.owners.values().collect();
    owners.sort_by_key(|held| (held.version.standing, held.version.file));
    owners
}
