//! The names under which deployments are reached: one label below the fleet's zone, each one deployment's, and none that is
//! another's already. Whoever is new is at fault.

use std::collections::BTreeMap;

use easyenclave_schemas::Hostname;
use easyenclave_schemas::documents::{DeploymentSpec, FleetSpec, TunnelSpec};

use super::super::facts::{Facts, Held};
use super::super::paths::shown;
use super::Finding;

/// Where a deployment says its name.
const FIELD: &str = "/spec/expose/hostname";

/// So many hex digits end the id of an agent, and so its own name.
const HEX: usize = 12;

/// A name can be made where the fleet makes names.
pub(super) fn are_in_the_zone(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let Some(fleet) = &facts.fleet else { return };
    if !fleet.version.read.located.knows("/spec/tunnel") {
        return;
    }
    for (held, hostname) in named(facts) {
        let Some((code, why)) = trouble(&fleet.object.spec, hostname) else {
            continue;
        };
        let is_fleets = fleet.version.standing.novelty() > held.version.standing.novelty();
        findings.push(match is_fleets {
            true => {
                let of = format!("deployment {}/{}", held.owner(), held.name());
                let message = format!("{of} has the hostname {hostname}, and {why}");
                Finding::new(fleet.version, "/spec/tunnel", code, message)
            }
            false => {
                let message = format!("`spec.expose.hostname`: {why}");
                Finding::new(held.version, FIELD, code, message)
            }
        });
    }
}

/// A name is one deployment's.
pub(super) fn are_one_deployments(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let mut all: Vec<_> = named(facts).collect();
    all.sort_by_key(|(held, _)| (held.version.standing.novelty(), held.version.path));
    let mut known: BTreeMap<&Hostname, &Held<'_, DeploymentSpec>> = BTreeMap::new();
    for (held, hostname) in all {
        let Some(other) = known.get(hostname) else {
            known.insert(hostname, held);
            continue;
        };
        let (line, column) = other.version.read.located.position(FIELD);
        let message = format!(
            "`spec.expose.hostname`: {hostname} is the name of deployment {}/{} in {}:{line}:{column}",
            other.owner(),
            other.name(),
            shown(other.version.path),
        );
        findings.push(Finding::new(held.version, FIELD, "hostname-taken", message));
    }
}

fn named<'f, 'a>(
    facts: &'f Facts<'a>,
) -> impl Iterator<Item = (&'f Held<'a, DeploymentSpec>, &'a Hostname)> {
    facts.deployments.iter().filter_map(|held| {
        let expose = held.object.spec.expose.as_ref()?;
        Some((held, expose.hostname.as_ref()?))
    })
}

/// Why a name cannot be made in this fleet.
fn trouble(fleet: &FleetSpec, hostname: &Hostname) -> Option<(&'static str, String)> {
    let TunnelSpec::Cloudflare(tunnel) = &fleet.tunnel else {
        let why = "the fleet has no tunnel that makes names: set `spec.tunnel.cloudflare` in fleet.yaml, or take the name out";
        return Some(("no-tunnel", why.into()));
    };
    let zone = &tunnel.zone;
    let label = hostname.as_str().strip_suffix(zone.as_str());
    let label = label.and_then(|label| label.strip_suffix('.'));
    let Some(label) = label else {
        let why = format!("{hostname} is not in the zone {zone}");
        return Some(("not-in-zone", why));
    };
    if label.contains('.') {
        let why = format!(
            "{hostname} is more than one label below {zone}, further than the certificate of Cloudflare's edge reaches"
        );
        return Some(("too-deep", why));
    }
    if tunnel.protected.contains(hostname) {
        let why = format!("{hostname} is protected by `spec.tunnel.cloudflare.protected`");
        return Some(("protected", why));
    }
    is_agents(label).then(|| {
        let why = format!(
            "{hostname} may be the own name of an agent: those end in `-` and {HEX} hex digits"
        );
        ("agents-name", why)
    })
}

/// Whether an agent may be called so.
fn is_agents(label: &str) -> bool {
    let end = label.rsplit_once('-').map(|(_, end)| end);
    end.is_some_and(|end| end.len() == HEX && end.bytes().all(|b| b.is_ascii_hexdigit()))
}
