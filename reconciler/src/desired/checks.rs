//! What must hold across documents: one table of small functions. Each finding blames one document, the
//! one that should change; a document that another one's failure touches is never blamed for it.

mod compose;
mod fleet;
mod hostnames;
mod limits;
mod owners;
mod providers;
mod secrets;
mod sizes;

use std::borrow::Cow;
use std::collections::BTreeMap;

use easyenclave_schemas::decode::{Problem, did_you_mean};
use easyenclave_schemas::documents::Kind;

use super::blobs::Part;
use super::facts::{Considered, Facts, Held};
use super::paths::{FLEET, may_hold, owner_folder, shown};
use limits::{Limit, Share, group};

/// Where in a version something was found.
#[derive(Debug)]
pub(super) enum Spot {
    /// In a field of the document.
    Field(Cow<'static, str>),
    /// In its Compose file, with all that is said of it.
    Compose(Part, Problem),
}

/// Something that a check found.
#[derive(Debug)]
pub(super) struct Finding {
    /// The file of the document to blame.
    pub(super) file: usize,
    pub(super) spot: Spot,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

impl Finding {
    fn new(
        version: Considered<'_>,
        pointer: impl Into<Cow<'static, str>>,
        code: &'static str,
        message: String,
    ) -> Self {
        Self {
            file: version.file,
            spot: Spot::Field(pointer.into()),
            code,
            message,
            suggestion: None,
        }
    }
}

type Check = fn(&Facts<'_>, &mut Vec<Finding>);

/// What a document says, each thing by itself beside what others are named.
const OF_PARTS: [Check; 14] = [
    places,
    identities_are_unique,
    owners_exist,
    owners::keys_are_readable,
    target_names,
    reservation_targets,
    placement_targets,
    sizes::are_offered,
    compose::files_obey_the_fleet,
    hostnames::are_in_the_zone,
    fleet::auditors_are_readable,
    fleet::signers_are_readable,
    secrets::recipients_are_readable,
    secrets::are_there,
];

/// What whole documents come to together.
const OF_WHOLES: [Check; 11] = [
    owners::keys_are_one_owners,
    owners::jobs_are_one_owners,
    providers::have_the_sizes,
    providers::make_what_can_be_trusted,
    providers::run_what_is_deployed,
    quotas,
    reservations_fit,
    hostnames::are_one_deployments,
    fleet::sealing_has_auditors,
    fleet::real_roots_have_auditors,
    secrets::open,
];

/// Everything that does not hold.
pub(super) fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = of_parts(facts);
    for check in OF_WHOLES {
        check(facts, &mut findings);
    }
    findings
}

/// What does not hold of documents of which some are known in part.
pub(super) fn of_parts(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for check in OF_PARTS {
        check(facts, &mut findings);
    }
    findings
}

fn identities_are_unique(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for (version, kept) in &facts.doubles {
        let (line, column) = kept.read.located.position("/metadata/name");
        let identity = &version.read.located.identity;
        let message = format!("{identity} is also in {}:{line}:{column}", shown(kept.path));
        findings.push(Finding::new(
            *version,
            "/metadata/name",
            "duplicate-identity",
            message,
        ));
    }
}

/// Who may write to a folder is told by its path, so what an owner's folder holds is the owner's.
fn places(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for version in &facts.all {
        let identity = &version.read.located.identity;
        if may_hold(version.path, identity) {
            continue;
        }
        let kind = identity.kind;
        let (pointer, message) = match &identity.owner {
            _ if version.path == FLEET => (
                "/kind",
                format!("{FLEET} holds the kind Fleet, found {kind}"),
            ),
            Some(owner)
                if matches!(kind, Kind::Deployment | Kind::Secret)
                    || version.path.starts_with("reservations/") =>
            {
                findings.push(misplaced(facts, *version, owner));
                continue;
            }
            _ if kind == Kind::Fleet => (
                "/kind",
                format!("the fleet is described in {FLEET} and nowhere else"),
            ),
            _ if version.path.starts_with("secrets/") => (
                "/kind",
                format!("secrets/ holds the kind Secret, found {kind}"),
            ),
            _ => (
                "/kind",
                format!("deployments/ holds the kind Deployment, found {kind}"),
            ),
        };
        findings.push(Finding::new(*version, pointer, "wrong-place", message));
    }
}

/// A document in no folder of its owner's: the folder tells whom it may be of, and the owner where it may lie.
fn misplaced(facts: &Facts<'_>, version: Considered<'_>, owner: &str) -> Finding {
    let kind = version.read.located.identity.kind;
    let folder = match kind {
        Kind::Secret => "secrets",
        Kind::CapacityReservation => "reservations",
        _ => "deployments",
    };
    let of_folder = owner_folder(version.path, folder);
    let is_known = facts.owners.contains_key(owner) || facts.is_unreadable(Kind::Owner, owner);
    let mut message = format!("{folder} of {owner} lie under {folder}/{owner}/");
    if !is_known {
        message = format!("there is no Owner named {owner}; {message}");
    }
    let file = version.path.rsplit('/').next().unwrap_or_default();
    let suggestion = match of_folder {
        Some(name) if !is_known => facts.owners.contains_key(name).then(|| name.to_owned()),
        Some(_) => None,
        None => is_known.then(|| format!("{folder}/{owner}/{file}")),
    };
    let pointer = "/metadata/owner";
    Finding {
        suggestion,
        ..Finding::new(version, pointer, "wrong-place", message)
    }
}

fn owners_exist(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let deployments = facts
        .deployments
        .iter()
        .map(|held| (held.version, held.owner()));
    let reservations = facts
        .reservations
        .iter()
        .map(|held| (held.version, held.owner()));
    let secrets = facts
        .secrets
        .iter()
        .map(|held| (held.version, held.owner()));
    for (version, owner) in deployments.chain(reservations).chain(secrets) {
        let name = Name {
            kind: Kind::Owner,
            name: owner,
            pointer: "/metadata/owner".into(),
        };
        resolve(facts, &facts.owners, version, name, findings);
    }
}

fn target_names(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for target in facts.targets.values() {
        let policy = &target.object.spec.policy;
        for (pointer, place) in providers::places(&target.object.spec) {
            let name = Name {
                kind: Kind::Provider,
                name: place.provider.as_str(),
                pointer: pointer.into(),
            };
            resolve(facts, &facts.providers, target.version, name, findings);
        }
        let name = Name {
            kind: Kind::AttestationPolicy,
            name: policy.as_str(),
            pointer: "/spec/policy".into(),
        };
        resolve(facts, &facts.policies, target.version, name, findings);
    }
}

fn reservation_targets(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for held in &facts.reservations {
        let name = held.object.spec.target.as_str();
        let name = Name {
            kind: Kind::CapacityTarget,
            name,
            pointer: "/spec/target".into(),
        };
        resolve(facts, &facts.targets, held.version, name, findings);
    }
}

fn placement_targets(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for held in &facts.deployments {
        for (index, target) in held.object.spec.placement.targets.iter().enumerate() {
            let pointer = format!("/spec/placement/targets/{index}").into();
            let name = Name {
                kind: Kind::CapacityTarget,
                name: target.as_str(),
                pointer,
            };
            resolve(facts, &facts.targets, held.version, name, findings);
        }
    }
}

/// Names that a wrong one is compared with. Ten thousand wrong names must not take minutes.
const COMPARED: usize = 500;

/// A name that a document refers to.
struct Name<'n> {
    kind: Kind,
    name: &'n str,
    pointer: Cow<'static, str>,
}

fn resolve<S>(
    facts: &Facts<'_>,
    known: &BTreeMap<&str, Held<'_, S>>,
    version: Considered<'_>,
    wanted: Name<'_>,
    findings: &mut Vec<Finding>,
) {
    let Name {
        kind,
        name,
        pointer,
    } = wanted;
    if known.contains_key(name) || facts.is_unreadable(kind, name) {
        return;
    }
    let near = did_you_mean(name, known.keys().copied().take(COMPARED)).map(str::to_owned);
    let mut message = format!("there is no {kind} named {name}");
    if near.is_none() && !known.is_empty() && known.len() <= 8 {
        let names: Vec<_> = known.keys().copied().collect();
        message.push_str(&format!("; known are {}", names.join(", ")));
    }
    let finding = Finding::new(version, pointer, "unknown-name", message);
    findings.push(Finding {
        suggestion: near,
        ..finding
    });
}

/// An owner's replicas, and an owner's reserved agents, stay within the quota.
fn quotas(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let deployments = facts.deployments.iter().map(|held| {
        let (version, count) = (held.version, held.object.spec.replicas);
        (
            held.owner(),
            Share {
                version,
                count,
                pointer: "/spec/replicas",
            },
        )
    });
    let reservations = facts.reservations.iter().map(|held| {
        let (version, count) = (held.version, held.object.spec.count);
        (
            held.owner(),
            Share {
                version,
                count,
                pointer: "/spec/count",
            },
        )
    });
    for (what, shares) in [
        ("replicas of all deployments", group(deployments)),
        ("reserved agents", group(reservations)),
    ] {
        for (name, shares) in shares {
            let Some(owner) = facts.owners.get(name) else {
                continue;
            };
            let limit = Limit {
                version: owner.version,
                most: owner.object.spec.quota.agents,
                pointer: "/spec/quota/agents",
                code: "over-quota",
                sum: format!("{what} of {name}"),
                name: "the quota".into(),
            };
            limit.hold(shares, findings);
        }
    }
}

/// No more agents of a target are reserved than it may have.
fn reservations_fit(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let reservations = facts.reservations.iter().map(|held| {
        let (version, count) = (held.version, held.object.spec.count);
        (
            held.object.spec.target.as_str(),
            Share {
                version,
                count,
                pointer: "/spec/count",
            },
        )
    });
    for (name, shares) in group(reservations) {
        let Some(target) = facts.targets.get(name) else {
            continue;
        };
        let limit = Limit {
            version: target.version,
            most: target.object.spec.max,
            pointer: "/spec/max",
            code: "over-reserved",
            sum: format!("reserved agents of target {name}"),
            name: "its `spec.max`".into(),
        };
        limit.hold(shares, findings);
    }
}
