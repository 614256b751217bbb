//! What must hold across documents: one table of small functions. Each finding blames one document, the
//! one that should change; a document that another one's failure touches is never blamed for it.

mod compose;
mod fleet;
mod hostnames;
mod limits;
mod owners;
mod providers;
mod secrets;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use easyenclave_schemas::decode::{Problem, did_you_mean};
use easyenclave_schemas::documents::{DeploymentSpec, Kind, Placement, TargetSpec};
use easyenclave_schemas::{Cloud, Datacenter, TargetName};

use super::blobs::Part;
use super::facts::{Considered, Facts, Held};
use super::paths::{FLEET, may_hold, shown};
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

const CHECKS: [Check; 25] = [
    places,
    identities_are_unique,
    owners_exist,
    owners::keys_are_readable,
    owners::keys_are_one_owners,
    owners::jobs_are_one_owners,
    target_names,
    reservation_targets,
    placement_targets,
    sizes_are_offered,
    providers::have_the_sizes,
    providers::make_what_can_be_trusted,
    providers::run_what_is_deployed,
    quotas,
    reservations_fit,
    compose::files_obey_the_fleet,
    hostnames::are_in_the_zone,
    hostnames::are_one_deployments,
    fleet::auditors_are_readable,
    fleet::sealing_has_auditors,
    fleet::real_roots_have_auditors,
    fleet::signers_are_readable,
    secrets::recipients_are_readable,
    secrets::open,
    secrets::are_there,
];

/// Everything that does not hold.
pub(super) fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for check in CHECKS {
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
            Some(owner) if kind == Kind::Deployment => (
                "/metadata/owner",
                format!("deployments of {owner} lie under deployments/{owner}/"),
            ),
            Some(owner) if kind == Kind::Secret => (
                "/metadata/owner",
                format!("secrets of {owner} lie under secrets/{owner}/"),
            ),
            Some(owner) if version.path.starts_with("reservations/") => (
                "/metadata/owner",
                format!("this folder does not belong to {owner}"),
            ),
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

/// Some target that a deployment may use has agents of the size that it needs.
fn sizes_are_offered(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let hidden = facts
        .unreadable
        .iter()
        .any(|identity| identity.kind == Kind::CapacityTarget);
    let sizes = facts
        .targets
        .values()
        .map(|target| target.object.spec.node_size.as_str());
    let sizes: BTreeSet<_> = sizes.collect();
    for held in &facts.deployments {
        let spec = &held.object.spec;
        let unknown = |name: &TargetName| !facts.targets.contains_key(name.as_str());
        if hidden
            || spec.placement.targets.iter().any(unknown)
            || facts.targets.values().any(|target| offers(spec, target))
        {
            continue;
        }
        let size = spec.node_size.as_str();
        let message = format!("no target that `spec.placement` admits has agents of size {size}");
        let others = sizes.iter().copied().filter(|other| *other != size);
        let near = did_you_mean(size, others.take(COMPARED));
        let finding = Finding::new(held.version, "/spec/nodeSize", "size-not-offered", message);
        findings.push(Finding {
            suggestion: near.map(str::to_owned),
            ..finding
        });
    }
}

fn offers(deployment: &DeploymentSpec, target: &Held<'_, TargetSpec>) -> bool {
    let placement = &deployment.placement;
    let spec = &target.object.spec;
    let named = |name: &TargetName| name.as_str() == target.name();
    spec.node_size == deployment.node_size
        && (placement.targets.is_empty() || placement.targets.iter().any(named))
        && spec.all_places().iter().all(|place| {
            let allowed = &placement.allowed_datacenters;
            (allowed.is_empty() || allowed.contains(&place.datacenter))
                && !placement.denied_datacenters.contains(&place.datacenter)
                && is_in_cloud(placement, &place.datacenter)
        })
}

fn is_in_cloud(placement: &Placement, datacenter: &Datacenter) -> bool {
    let (cloud, allowed) = (Cloud::of(datacenter), &placement.allowed_clouds);
    (allowed.is_empty() || allowed.contains(&cloud)) && !placement.denied_clouds.contains(&cloud)
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
