//! What differs between two revisions, each field of each document in force: for whoever reviews a change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use easyenclave_schemas::Digest;
use easyenclave_schemas::documents::{
    ComposeSource, DeploymentSpec, Document, Enforcement, Identity, Kind, NonceMode, TrustRootKind,
    Workload,
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
    /// A field of a new document that gives somebody more to do, or has more be trusted.
    Given(Difference),
    /// It is removed.
    Removed,
    /// It cannot be used any more and is not removed, for this reason.
    Kept(String),
    /// One of its fields differs.
    Field(Difference),
}

impl Change {
    /// Whether it weakens what protects the fleet.
    pub(super) fn weakens(&self) -> bool {
        let kind = self.document.kind;
        match &self.what {
            What::New => guards::empowers(kind),
            What::Removed | What::Kept(_) => false,
            What::Given(difference) => guards::is_guarded(kind, difference),
            What::Field(difference) => guards::weakens(kind, difference),
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let Identity { kind, owner, name } = &self.document;
        let document = json!({ "kind": kind, "owner": owner, "name": name });
        let (change, difference) = match &self.what {
            What::New => ("added", None),
            What::Removed => ("removed", None),
            What::Kept(_) => ("kept", None),
            What::Given(it) => ("added", Some(it)),
            What::Field(it) => ("changed", Some(it)),
        };
        let mut json = json!({
            "document": document,
            "change": change,
            "field": difference.map(Difference::field),
            "old": difference.and_then(|it| it.old.as_ref()),
            "new": difference.and_then(|it| it.new.as_ref()),
            "weakens": self.weakens(),
        });
        if let What::Kept(why) = &self.what {
            json["why"] = why.as_str().into();
        }
        json
    }

    /// The document and the field of its `spec` that it is under, as lines have them.
    fn part(&self) -> String {
        let (document, what) = (name(&self.document), &self.what);
        match what {
            What::New | What::Removed | What::Kept(_) => document,
            What::Given(it) | What::Field(it) => {
                let field = it.pattern().next().unwrap_or_default();
                format!("{document}: {field}")
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = name(&self.document);
        match &self.what {
            What::New => write!(f, "{name}: new"),
            What::Removed => write!(f, "{name}: removed"),
            What::Kept(why) => write!(f, "{name}: kept as it is: {why}"),
            What::Given(difference) | What::Field(difference) => write!(f, "{name}: {difference}"),
        }
    }
}

/// A document as lines have it.
fn name(Identity { kind, owner, name }: &Identity) -> String {
    let word = word(*kind);
    match owner {
        Some(owner) => format!("{word} {owner}/{name}"),
        None => format!("{word} {name}"),
    }
}

/// So many changes of one field of a document that weaken are shown in front: many harmless ones hide none of another
/// field or document.
const FOREMOST: usize = 10;

/// What weakens what protects the fleet, a line each, within bounds. What is left out is counted.
pub(super) fn weaker(changes: &[Change]) -> Vec<String> {
    let weaker: Vec<_> = changes.iter().filter(|change| change.weakens()).collect();
    let mut lines = Vec::new();
    for part in weaker.chunk_by(|one, next| one.part() == next.part()) {
        let shown = part.iter().take(FOREMOST);
        lines.extend(shown.map(ToString::to_string));
        if let (Some(first), Some(more)) = (part.first(), part.len().checked_sub(FOREMOST + 1)) {
            lines.push(format!("{}: … and {} more", first.part(), more + 1));
        }
    }
    lines
}

/// What is new, gone or changed among the documents in force. What cannot be used and is `kept` is not gone.
pub(super) fn between(
    old: &InForce,
    new: &InForce,
    kept: &BTreeMap<Identity, String>,
) -> Vec<Change> {
    let (old, new) = (by_key(old), by_key(new));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for key in keys {
        let mut note = |(document, what): (&Identity, What)| {
            let document = document.clone();
            changes.push(Change { document, what });
        };
        match (old.get(key), new.get(key)) {
            (None, Some(new)) => {
                note((new.0, What::New));
                let given = given(new).into_iter().map(What::Given);
                given.for_each(|what| note((new.0, what)));
            }
            (Some((was, _)), None) => {
                let why = kept.get(was).cloned();
                note((was, why.map_or(What::Removed, What::Kept)));
            }
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

/// The fields of a new document, as far as they are for a reviewer to see.
fn given(new: &Entry<'_>) -> Vec<Difference> {
    match guards::empowers(new.0.kind) {
        true => diff::between(&json!({}), &fields(new)),
        false => Vec::new(),
    }
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
        Document::Deployment(it) => deployment(&it.spec),
        // That it changes is shown; a ciphertext tells nobody anything.
        Document::Secret(it) => {
            json!({ "sealed": Digest::of(it.spec.sealed.as_bytes()).short(12) })
        }
        Document::Approval(it) => value(&it.spec),
    }
}

/// A deployment, with the fields of its Compose file in the place of its text.
fn deployment(spec: &DeploymentSpec) -> Value {
    let mut fields = value(spec);
    if let Workload::Compose(compose) = &spec.workload
        && let ComposeSource::Inline(text) = &compose.source
        && let Ok(Value::Object(file)) = serde_json::from_str(text)
        && let Some(fields) = fields["workload"]["compose"].as_object_mut()
    {
        fields.remove("source");
        fields.extend(file);
    }
    fields
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
        Kind::Secret => "secret",
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
        between(old, new, &BTreeMap::new())
            .iter()
            .map(line)
            .collect()
    }

    #[test]
    fn a_compose_file_shows_what_differs_in_it_and_no_password() {
        let old = json!({ "services": {
            "db": { "image": "db:1", "environment": { "PASSWORD": "hunter1" } },
            "web": { "image": "web:1", "networks": ["front"] },
        }});
        let new = json!({ "services": {
            "db": { "image": "db:1", "environment": { "PASSWORD": "hunter2" } },
            "queue": { "image": "queue:1", "environment": ["PASSWORD=hunter2"] },
            "web": { "image": "web:2", "networks": ["front"] },
        }, "networks": { "front": null } });
        let deployment = |file: Value| {
            let frame = "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata: { name: web, owner: acme }\n";
            let source = json!({ "inline": file.to_string() });
            let spec = json!({ "workload": { "compose": { "source": source } }, "replicas": 1, "nodeSize": "tiny" });
            let located = decode(format!("{frame}spec: {spec}\n").as_bytes()).expect("a document");
            InForce::from([(located.identity, located.document)])
        };
        let lines = lines(&deployment(old), &deployment(new));
        expect_test::expect![[r#"
            deployment acme/web: workload.compose.networks.front: not given -> null
            deployment acme/web: workload.compose.services.db.environment.PASSWORD: <not shown> -> <not shown>
            deployment acme/web: workload.compose.services.queue.environment: added <not shown>
            deployment acme/web: workload.compose.services.queue.image: not given -> "queue:1"
            deployment acme/web: workload.compose.services.web.image: "web:1" -> "web:2"
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
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
        let none = lines(&old, &same);
        assert!(none.is_empty(), "written out, and the same: {none:?}");
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
                "! owner more: quota.agents: not given -> 100",
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

    const LOOSE: &str = "{ measurements: [], modes: { rtmr: disabled }, tcbGrace: 900d }";

    const TARGET: &str =
        "{ datacenter: here, nodeSize: tiny, provider: local, policy: loose, max: 9 }";

    #[test]
    fn a_new_document_that_empowers_is_loud_and_shown_field_by_field() {
        let new = documents(&[
            ("AttestationPolicy", "loose", LOOSE),
            ("CapacityTarget", "loose", TARGET),
            ("Provider", "local", "{ process: {} }"),
            (
                "Approval",
                "all",
                &format!("{{ planDigest: \"{}\", reason: meant }}", "ab".repeat(32)),
            ),
        ]);
        let lines = lines(&InForce::new(), &new);
        for line in [
            "! policy loose: new",
            "! policy loose: allowedTcbStatuses: added \"UpToDate\"",
            "! policy loose: modes.rtmr: not given -> \"disabled\"",
            "! policy loose: tcbGrace: not given -> \"900d\"",
            "! target loose: new",
            "! target loose: policy: not given -> \"loose\"",
            "! target loose: max: not given -> 9",
            "target loose: warm: not given -> 0",
            "provider local: new",
            "! approval all: new",
            "approval all: reason: not given -> \"meant\"",
        ] {
            assert!(lines.iter().any(|one| one == line), "{line}: {lines:#?}");
        }
        let provider = lines.iter().filter(|line| line.contains("provider local"));
        assert_eq!(provider.count(), 1, "it empowers nobody: {lines:#?}");
    }

    #[test]
    fn what_cannot_be_used_any_more_and_is_left_alone_is_not_told_as_removed() {
        let old = documents(&[("CapacityTarget", "tiny", TARGET)]);
        let identity = old.keys().next().expect("one").clone();
        let why = "capacity/tiny.yaml:3:1: not valid YAML".to_owned();
        let kept = BTreeMap::from([(identity, why)]);
        let changes = between(&old, &InForce::new(), &kept);
        let lines: Vec<_> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["target tiny: kept as it is: capacity/tiny.yaml:3:1: not valid YAML"]
        );
        let json = changes[0].json();
        assert_eq!(
            (&json["change"], &json["why"]),
            (
                &json!("kept"),
                &json!("capacity/tiny.yaml:3:1: not valid YAML")
            )
        );
    }

    #[test]
    fn a_target_under_another_name_is_as_loud_as_one_with_another_policy() {
        let target = |name, policy: &str| {
            documents(&[("CapacityTarget", name, &TARGET.replace("loose", policy))])
        };
        let lines = lines(&target("tiny", "strict"), &target("tiny2", "loose"));
        assert_eq!(lines[0], "target tiny: removed");
        assert_eq!(lines[1], "! target tiny2: new");
        let policy = "! target tiny2: policy: not given -> \"loose\"".to_owned();
        assert!(lines.contains(&policy), "{lines:#?}");
    }

    #[test]
    fn many_changes_of_one_field_hide_none_of_another() {
        let policy = |images: usize, mode: &str| {
            let image = |n| format!("{{ name: image-{n}, mrtd: \"{n:096x}\" }}");
            let images: Vec<_> = (0..images).map(image).collect();
            let images = images.join(", ");
            let spec = format!("{{ measurements: [{images}], modes: {{ tcb: {mode} }} }}");
            documents(&[("AttestationPolicy", "a", &spec)])
        };
        let changes = between(&policy(0, "strict"), &policy(200, "warn"), &BTreeMap::new());
        assert_eq!(changes.len(), 201, "programs have all");
        let lines = weaker(&changes);
        assert_eq!(lines.len(), FOREMOST + 2, "{lines:#?}");
        assert_eq!(
            lines[FOREMOST..],
            [
                "policy a: measurements: … and 190 more",
                "policy a: modes.tcb: \"strict\" -> \"warn\""
            ]
        );
        let lines = weaker(&between(
            &policy(0, "warn"),
            &policy(FOREMOST, "warn"),
            &BTreeMap::new(),
        ));
        assert_eq!(
            lines.len(),
            FOREMOST,
            "what fits is shown whole: {lines:#?}"
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
        let changes = between(&fleet(1), &fleet(100), &BTreeMap::new());
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
