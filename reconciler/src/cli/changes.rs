//! What differs between two revisions, a line for each thing: for whoever reviews a change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use easyenclave_schemas::documents::{
    Enforcement, Measurement, NonceMode, PolicySpec, TrustRootKind,
};

use crate::desired::Model;

/// What is new, gone or changed.
pub(super) fn between(old: Option<&Model>, new: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    let was = old.map(|old| &old.desired);
    let deployments = was.map(|was| &was.deployments);
    note(
        &mut lines,
        "deployment",
        deployments,
        &new.desired.deployments,
    );
    let targets = was.map(|was| &was.targets);
    note(&mut lines, "target", targets, &new.desired.targets);
    let policies = old.map(|old| &old.policies);
    note(&mut lines, "policy", policies, &new.policies);
    for (name, policy) in &new.policies {
        if let Some(before) = old.and_then(|old| old.policies.get(name)) {
            measurements(&mut lines, name, before, policy);
        }
    }
    lines
}

/// Policies whose agents are simulated, if there are such agents.
pub(super) fn simulated(model: &Model) -> Vec<String> {
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
        .collect()
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

fn note<K: Ord + Display, V: PartialEq>(
    lines: &mut Vec<String>,
    kind: &str,
    was: Option<&BTreeMap<K, V>>,
    is: &BTreeMap<K, V>,
) {
    let before = was.into_iter().flat_map(BTreeMap::keys);
    let names: BTreeSet<&K> = is.keys().chain(before).collect();
    for name in names {
        match (was.and_then(|was| was.get(name)), is.get(name)) {
            (None, Some(_)) => lines.push(format!("{kind} {name}: new")),
            (Some(_), None) => lines.push(format!("{kind} {name}: removed")),
            (Some(was), Some(is)) if was != is => lines.push(format!("{kind} {name}: changed")),
            _ => {}
        }
    }
}

/// A reference value is what a reviewer has to look at most closely, so each is a line of its own.
fn measurements(lines: &mut Vec<String>, name: &impl Display, was: &PolicySpec, is: &PolicySpec) {
    let describe = |entry: &Measurement| match &entry.node_size {
        Some(size) => format!("{} for {size}, MRTD {:.12}", entry.name, entry.mrtd),
        None => format!("{}, MRTD {:.12}", entry.name, entry.mrtd),
    };
    for entry in &is.measurements {
        if !was.measurements.contains(entry) {
            lines.push(format!("policy {name}: trusts {}", describe(entry)));
        }
    }
    for entry in &was.measurements {
        if !is.measurements.contains(entry) {
            lines.push(format!(
                "policy {name}: no longer trusts {}",
                describe(entry)
            ));
        }
    }
}
