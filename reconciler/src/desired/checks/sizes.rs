//! What a deployment asks of targets: one that it may use has agents of its size. Of what it asks, the field is blamed that
//! no such target meets.

use std::collections::BTreeSet;

use easyenclave_schemas::Cloud;
use easyenclave_schemas::decode::did_you_mean;
use easyenclave_schemas::documents::{DeploymentSpec, Kind, Placement, TargetSpec};

use super::super::facts::{Facts, Held};
use super::{COMPARED, Finding};

/// A field of `spec.placement`, by whether it admits a target, and by what it knows targets.
struct Field {
    name: &'static str,
    admits: fn(&Placement, &Held<'_, TargetSpec>) -> bool,
    /// What the field names, such as datacenters.
    what: &'static str,
    of: fn(&Held<'_, TargetSpec>) -> Vec<String>,
    /// What the document has there.
    found: fn(&Placement) -> Vec<String>,
}

static FIELDS: [Field; 5] = [
    Field {
        name: "targets",
        admits: |placement, target| {
            let mut names = placement.targets.iter();
            placement.targets.is_empty() || names.any(|name| name.as_str() == target.name())
        },
        what: "targets",
        of: |target| vec![target.name().to_owned()],
        found: |_| Vec::new(),
    },
    Field {
        name: "allowedDatacenters",
        admits: |placement, target| {
            let allowed = &placement.allowed_datacenters;
            let mut places = target.object.spec.all_places().into_iter();
            allowed.is_empty() || places.all(|place| allowed.contains(&place.datacenter))
        },
        what: "datacenters",
        of: datacenters,
        found: |placement| texts(&placement.allowed_datacenters),
    },
    Field {
        name: "deniedDatacenters",
        admits: |placement, target| {
            let mut places = target.object.spec.all_places().into_iter();
            places.all(|place| !placement.denied_datacenters.contains(&place.datacenter))
        },
        what: "datacenters",
        of: datacenters,
        found: |_| Vec::new(),
    },
    Field {
        name: "allowedClouds",
        admits: |placement, target| {
            let allowed = &placement.allowed_clouds;
            let mut places = target.object.spec.all_places().into_iter();
            allowed.is_empty()
                || places.all(|place| allowed.contains(&Cloud::of(&place.datacenter)))
        },
        what: "clouds",
        of: clouds,
        found: |placement| texts(&placement.allowed_clouds),
    },
    Field {
        name: "deniedClouds",
        admits: |placement, target| {
            let mut places = target.object.spec.all_places().into_iter();
            places.all(|place| {
                !placement
                    .denied_clouds
                    .contains(&Cloud::of(&place.datacenter))
            })
        },
        what: "clouds",
        of: clouds,
        found: |_| Vec::new(),
    },
];

/// Some target that a deployment may use has agents of the size that it needs.
pub(super) fn are_offered(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let mut unreadable = facts.unreadable.keys();
    if unreadable.any(|identity| identity.kind == Kind::CapacityTarget) {
        return;
    }
    for held in &facts.deployments {
        let (spec, located) = (&held.object.spec, &held.version.read.located);
        let mut named = spec.placement.targets.iter();
        let is_known =
            ["/spec/nodeSize", "/spec/placement"].map(|it| located.knows(it)) == [true; 2];
        if is_known && named.all(|name| facts.targets.contains_key(name.as_str())) {
            findings.extend(lacking(facts, held));
        }
    }
}

/// Whether a deployment may use a target.
pub(super) fn offers(deployment: &DeploymentSpec, target: &Held<'_, TargetSpec>) -> bool {
    is_of_size(deployment, target) && FIELDS.iter().all(|field| admits(deployment, field, target))
}

fn is_of_size(deployment: &DeploymentSpec, target: &Held<'_, TargetSpec>) -> bool {
    target.object.spec.node_size == deployment.node_size
}

fn admits(deployment: &DeploymentSpec, field: &Field, target: &Held<'_, TargetSpec>) -> bool {
    (field.admits)(&deployment.placement, target)
}

fn lacking(facts: &Facts<'_>, held: &Held<'_, DeploymentSpec>) -> Option<Finding> {
    let spec = &held.object.spec;
    if facts.targets.values().any(|target| offers(spec, target)) {
        return None;
    }
    let targets = facts.targets.values();
    let able: Vec<_> = targets.filter(|target| is_of_size(spec, target)).collect();
    if able.is_empty() {
        return Some(unknown_size(facts, held));
    }
    let meets = |field: &Field| able.iter().any(|target| admits(spec, field, target));
    let blamed = FIELDS.iter().find(|field| !meets(field));
    Some(admitting_none(held, &able, blamed))
}

fn unknown_size(facts: &Facts<'_>, held: &Held<'_, DeploymentSpec>) -> Finding {
    let size = held.object.spec.node_size.as_str();
    let targets = facts.targets.values();
    let sizes = targets.map(|target| target.object.spec.node_size.as_str());
    let sizes: BTreeSet<_> = sizes.take(COMPARED).collect();
    let near = did_you_mean(size, sizes.iter().copied());
    let mut message = format!("no target has agents of size {size}");
    if near.is_none() && !sizes.is_empty() {
        let sizes: Vec<_> = sizes.into_iter().collect();
        message.push_str(&format!("; there are {}", few(&sizes)));
    }
    Finding {
        suggestion: near.map(str::to_owned),
        ..Finding::new(held.version, "/spec/nodeSize", "size-not-offered", message)
    }
}

/// Without a field to blame, no target meets all of them.
fn admitting_none(
    held: &Held<'_, DeploymentSpec>,
    able: &[&Held<'_, TargetSpec>],
    blamed: Option<&Field>,
) -> Finding {
    let size = held.object.spec.node_size.as_str();
    let (code, above) = ("size-not-offered", "/spec/placement");
    let Some(field) = blamed else {
        let message = format!("no target with agents of size {size} meets all of `spec.placement`");
        return Finding::new(held.version, above, code, message);
    };
    let there: BTreeSet<_> = able.iter().flat_map(|target| (field.of)(target)).collect();
    let there: Vec<_> = there.iter().map(String::as_str).collect();
    let near = match (field.found)(&held.object.spec.placement).as_slice() {
        [only] => did_you_mean(only, there.iter().copied().take(COMPARED)).map(str::to_owned),
        _ => None,
    };
    let (name, what) = (field.name, field.what);
    let message = format!(
        "`spec.placement.{name}` admits no target with agents of size {size}; the {what} of these are: {}",
        few(&there)
    );
    let finding = Finding::new(held.version, format!("{above}/{name}"), code, message);
    Finding {
        suggestion: near,
        ..finding
    }
}

fn datacenters(target: &Held<'_, TargetSpec>) -> Vec<String> {
    let places = target.object.spec.all_places();
    places
        .iter()
        .map(|place| place.datacenter.to_string())
        .collect()
}

fn clouds(target: &Held<'_, TargetSpec>) -> Vec<String> {
    let places = target.object.spec.all_places();
    let clouds = places.iter().map(|place| Cloud::of(&place.datacenter));
    clouds.map(|cloud| cloud.to_string()).collect()
}

fn texts<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// The first eight names.
fn few(names: &[&str]) -> String {
    let more = if names.len() > 8 { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(8)].join(", "))
}
