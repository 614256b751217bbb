//! What holds within one document beyond its schema: a table of small functions for each kind.
//! A rule sees one document and nothing else.

mod access;
mod address;
mod deployment;
mod policy;
mod provider;
mod rollout;
mod secrets;
#[cfg(test)]
mod tests;

use super::Located;
use crate::documents::{Document, FleetSpec, OwnerSpec, Span, TargetSpec};

/// Something that a rule found.
pub(super) struct Finding {
    /// The field, or the nearest thing above it that is there.
    pub(super) pointer: String,
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// What a rule looks at beside the places where it finds something, and the rule. It does not judge what it cannot see.
type Rule<S> = (&'static [&'static str], fn(&S, &mut Vec<Finding>));

const FLEET: &[Rule<FleetSpec>] = &[
    (&["/spec/timing/lostAfter"], timing),
    (&[], address::collateral),
    (&[], address::oidc),
    (&[], address::tunnel),
    (&["/spec/tunnel/cloudflare/zone"], access::protected),
];
const OWNER: &[Rule<OwnerSpec>] = &[(&["/spec/keys"], access::keys)];
const TARGET: &[Rule<TargetSpec>] = &[
    (&["/spec/min", "/spec/max"], min_max),
    (&[], windows),
    (&[], drain),
    (
        &["/spec/provider", "/spec/datacenter", "/spec/places"],
        places,
    ),
];

/// All that the rules of its kind find in a document, as far as it is known.
pub(super) fn judge(located: &Located) -> Vec<Finding> {
    match &located.document {
        Document::Fleet(object) => apply(FLEET, &object.spec, located),
        Document::AttestationPolicy(object) => apply(policy::RULES, &object.spec, located),
        Document::CapacityTarget(object) => apply(TARGET, &object.spec, located),
        Document::Deployment(object) => apply(deployment::RULES, &object.spec, located),
        Document::Owner(object) => apply(OWNER, &object.spec, located),
        Document::Provider(object) => apply(provider::RULES, &object.spec, located),
        Document::Secret(object) => apply(secrets::RULES, &object.spec, located),
        Document::CapacityReservation(_) | Document::Approval(_) => Vec::new(),
    }
}

fn apply<S>(rules: &[Rule<S>], spec: &S, located: &Located) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (looks_at, rule) in rules {
        if looks_at.iter().all(|pointer| located.knows(pointer)) {
            rule(spec, &mut findings);
        }
    }
    findings.retain(|finding| located.knows(&finding.pointer));
    findings
}

fn find(findings: &mut Vec<Finding>, pointer: &str, code: &'static str, message: String) {
    findings.push(Finding {
        pointer: pointer.into(),
        code,
        message,
    });
}

/// With no time at all, everything would be lost or late at once.
fn timing(spec: &FleetSpec, findings: &mut Vec<Finding>) {
    let timing = &spec.timing;
    let fields = [
        ("lostAfter", timing.lost_after),
        ("claimWithin", timing.claim_within),
        ("makeWithin", timing.make_within),
        ("bootWithin", timing.boot_within),
        ("registerWithin", timing.register_within),
        ("readyWithin", timing.ready_within),
        ("workerLostAfter", timing.worker_lost_after),
    ];
    for (name, span) in fields {
        let pointer = format!("/spec/timing/{name}");
        at_least(findings, &pointer, span, "100ms");
    }
    // A machine whose agent is about to register again, as after the store was lost, must not go before that.
    let pointer = "/spec/timing/orphanAfter";
    let orphan_after = timing.orphan_after();
    at_least(findings, pointer, orphan_after, "10s");
    if orphan_after < timing.lost_after {
        let lost_after = timing.lost_after;
        let message = format!(
            "`spec.timing.orphanAfter`: expected at least `spec.timing.lostAfter`, which is {lost_after}, found {orphan_after}"
        );
        find(findings, pointer, "too-short", message);
    }
}

fn min_max(spec: &TargetSpec, findings: &mut Vec<Finding>) {
    if spec.min > spec.max {
        let message = format!(
            "`spec.min` is {}, more than `spec.max`, {}",
            spec.min, spec.max
        );
        find(findings, "/spec/min", "min-over-max", message);
    }
}

/// The first place stands in `provider` and `datacenter`.
fn places(spec: &TargetSpec, findings: &mut Vec<Finding>) {
    let all = spec.all_places();
    for (index, place) in spec.places.iter().enumerate() {
        if all.iter().take(index + 1).any(|before| before == place) {
            let pointer = format!("/spec/places/{index}");
            let (provider, datacenter) = (&place.provider, &place.datacenter);
            let name = name(&pointer);
            let message =
                format!("`{name}`: {provider} in {datacenter} is a place of this target already");
            find(findings, &pointer, "doubled-place", message);
        }
    }
}

/// Workloads are given time to end.
fn drain(spec: &TargetSpec, findings: &mut Vec<Finding>) {
    if let Some(within) = spec.disruption.drain_within {
        at_least(findings, "/spec/disruption/drainWithin", within, "10s");
    }
}

/// A window of no time never holds, and one that lasts longer than a week always does.
fn windows(spec: &TargetSpec, findings: &mut Vec<Finding>) {
    for (budget, it) in spec.disruption.budgets.iter().enumerate() {
        for (window, it) in it.windows.iter().enumerate() {
            let pointer = format!("/spec/disruption/budgets/{budget}/windows/{window}/for");
            at_least(findings, &pointer, it.lasts, "1m");
            at_most(findings, &pointer, it.lasts, "7d");
        }
    }
}

fn at_most(findings: &mut Vec<Finding>, pointer: &str, span: Span, most: &str) {
    if span > most.parse().expect("bounds are durations") {
        let name = name(pointer);
        let message = format!("`{name}`: expected at most {most}, found {span}");
        find(findings, pointer, "too-long", message);
    }
}

fn at_least(findings: &mut Vec<Finding>, pointer: &str, span: Span, least: &str) {
    if span < least.parse().expect("bounds are durations") {
        let name = name(pointer);
        let message = format!("`{name}`: expected at least {least}, found {span}");
        find(findings, pointer, "too-short", message);
    }
}

/// A place as people write it: `spec.disruption.budgets[1].windows[0].for`.
fn name(pointer: &str) -> String {
    let steps = pointer.trim_start_matches('/').split('/');
    steps.fold(String::new(), |name, step| match name.as_str() {
        "" => step.into(),
        _ if step.bytes().all(|b| b.is_ascii_digit()) => format!("{name}[{step}]"),
        _ => format!("{name}.{step}"),
    })
}
