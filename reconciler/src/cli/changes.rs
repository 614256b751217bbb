//! What differs between two revisions, each field of each document in force: for whoever reviews a change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use easyenclave_schemas::documents::{
    Document, Enforcement, Identity, Kind, NonceMode, TrustRootKind,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::diff::{self, Difference};
use super::guards;
use crate::desired::{InForce, Model};
use crate::report::Status;
use crate::words::plural;

/// One thing that differs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    /// The document.
    document: Identity,
    what: What,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    /// The document is new.
    New,
    /// It is removed.
    Removed,
    /// One of its fields differs.
    Field(Difference),
}

impl Change {
    /// Whether it weakens what protects the fleet.
    pub(super) fn weakens(&self) -> bool {
        let kind = self.document.kind;
        match &self.what {
            What::New => guards::empowers(kind),
            What::Removed => false,
            What::Field(difference) => guards::weakens(kind, difference),
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let Identity { kind, owner, name } = &self.document;
        let document = json!({ "kind": kind, "owner": owner, "name": name });
        let (change, field, old, new) = match &self.what {
            What::New => ("added", None, None, None),
            What::Removed => ("removed", None, None, None),
            What::Field(it) => (
                "changed",
                Some(it.field()),
                it.old.as_ref(),
                it.new.as_ref(),
            ),
        };
        json!({
            "document": document,
            "change": change,
            "field": field,
            "old": old,
            "new": new,
            "weakens": self.weakens(),
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { kind, owner, name } = &self.document;
        write!(f, "{} ", word(*kind))?;
        if let Some(owner) = owner {
            write!(f, "{owner}/")?;
        }
        match &self.what {
            What::New => write!(f, "{name}: new"),
            What::Removed => write!(f, "{name}: removed"),
            What::Field(difference) => write!(f, "{name}: {difference}"),
        }
    }
}

/// What is new, gone or changed among the documents in force.
pub(super) fn between(old: &InForce, new: &InForce) -> Vec<Change> {
    let (old, new) = (by_key(old), by_key(new));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for key in keys {
        let mut note = |(document, what): (&Identity, What)| {
            let document = document.clone();
            changes.push(Change { document, what });
        };
        match (old.get(key), new.get(key)) {
            (None, Some((is, _))) => note((is, What::New)),
            (Some((was, _)), None) => note((was, What::Removed)),
            (Some(old), Some(new)) if old != new => {
                let differences = diff::between(&fields(old), &fields(new));
                let whats = differences.into_iter().map(What::Field);
                whats.for_each(|what| note((new.0, what)));
            }
            _ => {}
        }
    }
    changes
}

type Entry<'a> = (&'a Identity, &'a Document);

/// There is one fleet, whatever its name: another name hides nothing that differs.
fn by_key(documents: &InForce) -> BTreeMap<(Kind, Option<&str>, &str), Entry<'_>> {
    let mut entries = BTreeMap::new();
    for (identity, document) in documents {
        let name = match identity.kind {
            Kind::Fleet => "",
            _ => identity.name.as_str(),
        };
        let key = (identity.kind, identity.owner.as_deref(), name);
        entries.insert(key, (identity, document));
    }
    entries
}

/// What stands under `spec`, as people write it, with what is left out as it counts. A fleet's name has effect too.
fn fields((identity, document): &Entry<'_>) -> Value {
    match document {
        Document::Fleet(fleet) => {
            let mut fields = value(&fleet.spec);
            fields["metadata"] = json!({ "name": identity.name });
            fields
        }
        Document::Owner(it) => value(&it.spec),
        Document::AttestationPolicy(it) => value(&it.spec),
        Document::Provider(it) => value(&it.spec),
        Document::CapacityTarget(it) => value(&it.spec),
        Document::CapacityReservation(it) => value(&it.spec),
        Document::Deployment(it) => value(&it.spec),
        Document::Approval(it) => value(&it.spec),
    }
}

fn value(spec: &impl Serialize) -> Value {
    serde_json::to_value(spec).expect("documents consist of what JSON has")
}

/// A kind as lines have it.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Fleet => "fleet",
        Kind::Owner => "owner",
        Kind::AttestationPolicy => "policy",
        Kind::Provider => "provider",
        Kind::CapacityTarget => "target",
        Kind::CapacityReservation => "reservation",
        Kind::Deployment => "deployment",
        Kind::Approval => "approval",
    }
}

/// Policies whose agents are simulated, if there are such agents, and how many agents are that no policy trusts: what
/// the plan says of those names no platform.
pub(super) fn simulated(model: &Model, status: &Status) -> Vec<String> {
    let used: BTreeSet<_> = model
        .desired
        .targets
        .values()
        .map(|target| &target.policy)
        .collect();
    let policies = model.policies.iter();
    policies
        .filter(|(name, policy)| {
            used.contains(name) && policy.trust_root.kind == TrustRootKind::Simulated
        })
        .map(|(name, _)| {
            format!(
                "policy {name}: trusts a simulated platform, which proves nothing about hardware"
            )
        })
        .chain(refused(status))
        .collect()
}

fn refused(status: &Status) -> Option<String> {
    let trust = status.agents.values().map(|agent| &agent.trust);
    let refused = trust.filter(|trust| trust.simulated && trust.state == "refused");
    let count = refused.count();
    let agents = plural(count, "refused agent");
    (count > 0).then(|| format!("{agents} showed a simulated platform"))
}

/// Policies that let a failed check pass.
pub(super) fn weakened(model: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, policy) in &model.policies {
        let modes = policy.modes;
        for (what, mode) in [
            ("TCB status", modes.tcb),
            ("runtime measurements", modes.rtmr),
        ] {
            match mode {
                Enforcement::Strict => {}
                Enforcement::Warn => lines.push(format!(
                    "policy {name}: a failed check of {what} only warns"
                )),
                Enforcement::Disabled => {
                    lines.push(format!("policy {name}: {what} are not checked"))
                }
            }
        }
        match modes.nonce {
            NonceMode::Required => {}
            NonceMode::Optional => lines.push(format!(
                "policy {name}: a failed check of the nonce only warns"
            )),
            NonceMode::Disabled => {
                lines.push(format!("policy {name}: nonce and binding are not checked"))
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use easyenclave_schemas::decode::decode;

    use super::*;

    fn documents(specs: &[(&str, &str, &str)]) -> InForce {
        let document = |(kind, name, spec): &(&str, &str, &str)| {
            let frame = format!(
                "apiVersion: easyenclave.dev/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\n"
            );
            let located = decode(format!("{frame}spec: {spec}\n").as_bytes()).expect("a document");
            (located.identity, located.document)
        };
        specs.iter().map(document).collect()
    }

    fn lines(old: &InForce, new: &InForce) -> Vec<String> {
        let line = |change: &Change| match change.weakens() {
            true => format!("! {change}"),
            false => change.to_string(),
        };
        between(old, new).iter().map(line).collect()
    }

    #[test]
    fn every_kind_of_document_shows_what_differs_in_effect() {
        let old = documents(&[
            ("Fleet", "demo", "{}"),
            ("Owner", "acme", "{ quota: { agents: 5 } }"),
            ("AttestationPolicy", "strict", "{ measurements: [] }"),
            ("Provider", "local", "{ process: {} }"),
        ]);
        let same = documents(&[
            (
                "Fleet",
                "demo",
                "{ breaker: { maxRemovals: 1 }, timing: { lostAfter: 30s } }",
            ),
            ("Owner", "acme", "{ github: [], quota: { agents: 5 } }"),
            (
                "AttestationPolicy",
                "strict",
                "{ measurements: [], maxAge: 1d }",
            ),
            ("Provider", "local", "{ process: { maxAgents: 64 } }"),
        ]);
        assert_eq!(
            lines(&old, &same),
            Vec::<String>::new(),
            "written out, and the same"
        );
        let new = documents(&[
            ("Fleet", "other", "{ breaker: { maxPercent: 100 } }"),
            (
                "Owner",
                "acme",
                "{ github: [{ organization: evil }], quota: { agents: 5 } }",
            ),
            ("Owner", "more", "{}"),
            (
                "AttestationPolicy",
                "strict",
                "{ measurements: [], modes: { tcb: warn } }",
            ),
            ("Provider", "local", "{ process: { maxAgents: 65 } }"),
        ]);
        assert_eq!(
            lines(&old, &new),
            [
                "! fleet other: breaker.maxPercent: 25 -> 100",
                "fleet other: metadata.name: \"demo\" -> \"other\"",
                "! owner acme: github: added {\"organization\":\"evil\"}",
                "! owner more: new",
                "! policy strict: modes.tcb: \"strict\" -> \"warn\"",
                "provider local: process.maxAgents: 64 -> 65",
            ]
        );
        assert_eq!(
            lines(&new, &old)[2..4],
            [
                "owner acme: github: removed {\"organization\":\"evil\"}",
                "owner more: removed"
            ]
        );
    }

    #[test]
    fn a_change_says_the_same_to_programs() {
        let fleet = |breaker: u32| {
            documents(&[(
                "Fleet",
                "demo",
                &format!("{{ breaker: {{ maxRemovals: {breaker} }} }}"),
            )])
        };
        let changes = between(&fleet(1), &fleet(100));
        let document = json!({ "kind": "Fleet", "owner": null, "name": "demo" });
        let expected = json!({
            "document": document, "change": "changed", "field": "breaker.maxRemovals",
            "old": 1, "new": 100, "weakens": true,
        });
        assert_eq!(
            changes.iter().map(Change::json).collect::<Vec<_>>(),
            [expected]
        );
    }
}
