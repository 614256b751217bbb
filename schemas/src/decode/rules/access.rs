//! Rules of who may call and what is reached: keys that can be told apart, and protected names that are in the zone.

use std::collections::BTreeSet;

use super::{Finding, find};
use crate::documents::{FleetSpec, OwnerSpec, TunnelSpec};

pub(super) fn keys(spec: &OwnerSpec, findings: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for (index, key) in spec.keys.iter().enumerate() {
        if !seen.insert(&key.id) {
            let message = format!("`spec.keys[{index}].id` is the id of another key too");
            find(
                findings,
                &format!("/spec/keys/{index}/id"),
                "repeated",
                message,
            );
        }
    }
}

pub(super) fn protected(spec: &FleetSpec, findings: &mut Vec<Finding>) {
    let TunnelSpec::Cloudflare(cloudflare) = &spec.tunnel else {
        return;
    };
    for (index, name) in cloudflare.protected.iter().enumerate() {
        if !name.is_within(&cloudflare.zone) {
            let zone = &cloudflare.zone;
            let message = format!(
                "`spec.tunnel.cloudflare.protected[{index}]`: {name} is not in the zone {zone}"
            );
            let pointer = format!("/spec/tunnel/cloudflare/protected/{index}");
            find(findings, &pointer, "not-in-zone", message);
        }
    }
}
