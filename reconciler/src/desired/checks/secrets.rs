//! Secrets: that something can be sealed for the fleet, that what is sealed opens, and that what a deployment names is there.
//! What opens is told where somebody has the keys; nothing of a value is ever said.

use easyenclave_schemas::decode::did_you_mean;
use easyenclave_schemas::documents::{Identity, Kind};

use super::super::facts::{Facts, Held};
use super::{COMPARED, Finding};
use crate::seal;

/// Something can be sealed for each recipient.
pub(super) fn recipients_are_readable(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let Some(fleet) = &facts.fleet else { return };
    for (index, text) in fleet.object.spec.secrets.recipients.iter().enumerate() {
        if let Err(error) = seal::recipient(text) {
            let pointer = format!("/spec/secrets/recipients/{index}");
            let message = format!("`spec.secrets.recipients[{index}]`: {error}");
            findings.push(Finding::new(fleet.version, pointer, "recipient", message));
        }
    }
}

/// What is sealed is a value of this owner and name, and the fleet has the key to it.
pub(super) fn open(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let Some(keyring) = facts.keyring else { return };
    for held in &facts.secrets {
        if let Err(error) = keyring.check(held.object) {
            let message = format!("`spec.sealed`: {error}");
            findings.push(Finding::new(
                held.version,
                "/spec/sealed",
                error.code(),
                message,
            ));
        }
    }
}

/// A deployment is given secrets of its own owner and no others'.
pub(super) fn are_there(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for held in &facts.deployments {
        for (index, one) in held.object.spec.secrets.iter().enumerate() {
            let (owner, name) = (held.owner(), one.name.as_str());
            let place = |secret: &Held<'_, _>| (secret.owner(), secret.name()).cmp(&(owner, name));
            let found = facts.secrets.binary_search_by(place);
            if found.is_ok() || is_unreadable(facts, owner, name) {
                continue;
            }
            let pointer = format!("/spec/secrets/{index}/name");
            let message = format!("{owner} has no Secret named {name}");
            let own = facts
                .secrets
                .iter()
                .filter(|secret| secret.owner() == owner);
            let near = did_you_mean(name, own.map(Held::name).take(COMPARED));
            let finding = Finding::new(held.version, pointer, "unknown-name", message);
            findings.push(Finding {
                suggestion: near.map(str::to_owned),
                ..finding
            });
        }
    }
}

fn is_unreadable(facts: &Facts<'_>, owner: &str, name: &str) -> bool {
    let identity = Identity {
        kind: Kind::Secret,
        owner: Some(owner.to_owned()),
        name: name.to_owned(),
    };
    facts.unreadable.contains_key(&identity)
}
