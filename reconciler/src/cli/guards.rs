//! Which changes of documents weaken what protects a fleet: those stand first, wherever a change is shown.

use easyenclave_schemas::documents::{Kind, Span};
use serde_json::Value;

use super::diff::Difference;

/// Which change of a field weakens protection.
#[derive(Debug, Clone, Copy)]
enum Guard {
    /// None.
    Nothing,
    /// Any: it can do so either way.
    Change,
    /// Something comes, new or in the place of something else.
    Gain,
    /// Something goes, with or without something in its place.
    Loss,
    /// A number or duration grows.
    Rise,
    /// The list admits more. It names what is admitted, and everything when it is empty.
    Admits,
    /// A word further on in this list takes the place of one before it. The empty word stands for what is left out.
    Towards(&'static [&'static str]),
}

use Guard::{Admits, Change, Gain, Loss, Nothing, Rise, Towards};

/// Fields by kind and path, `*` for any entry or field. The longest path that fits decides. Under a fleet, an owner, a
/// policy, a target and an approval, whose fields are mostly there to protect, what is not named here counts as weakening:
/// a new field is loud until somebody decides otherwise.
const GUARDS: &[(Kind, &str, Guard)] = &[
    (Kind::Fleet, "", Change),
    (Kind::Fleet, "breaker", Rise),
    (Kind::Fleet, "collateral", Nothing),
    (Kind::Fleet, "metadata", Nothing),
    (Kind::Fleet, "status.pushesPerMinute", Nothing),
    (Kind::Fleet, "status.signers", Gain),
    (Kind::Fleet, "timing", Nothing),
    (
        Kind::Fleet,
        "workloads.hostNetwork",
        Towards(&["", "false", "true"]),
    ),
    (
        Kind::Fleet,
        "workloads.pinned",
        Towards(&["true", "false", ""]),
    ),
    (Kind::Owner, "", Gain),
    (Kind::Owner, "quota", Rise),
    (Kind::AttestationPolicy, "", Change),
    (Kind::AttestationPolicy, "allowedTcbStatuses", Gain),
    (Kind::AttestationPolicy, "maxAge", Rise),
    (Kind::AttestationPolicy, "measurements", Gain),
    (Kind::AttestationPolicy, "measurements.*.*", Loss),
    (
        Kind::AttestationPolicy,
        "measurements.*.provenance",
        Nothing,
    ),
    (
        Kind::AttestationPolicy,
        "modes",
        Towards(&["required", "strict", "optional", "warn", "disabled"]),
    ),
    (
        Kind::AttestationPolicy,
        "onLapse",
        Towards(&["stop", "keep"]),
    ),
    (
        Kind::AttestationPolicy,
        "platform",
        Towards(&["false", "", "true"]),
    ),
    (
        Kind::AttestationPolicy,
        "preset",
        Towards(&["", "simulated", "gcp", "bareMetal"]),
    ),
    (Kind::AttestationPolicy, "refusedAdvisories", Loss),
    (Kind::AttestationPolicy, "tcbGrace", Rise),
    (Kind::AttestationPolicy, "tdAttributes", Loss),
    (
        Kind::AttestationPolicy,
        "trustRoot.kind",
        Towards(&["intel", "simulated"]),
    ),
    (Kind::AttestationPolicy, "trustRoot.keyId", Gain),
    (Kind::AttestationPolicy, "verifiers", Loss),
    (
        Kind::AttestationPolicy,
        "verifiers.ita.trustEnds",
        Towards(&["", "token", "maxAge"]),
    ),
    (Kind::CapacityTarget, "", Change),
    (Kind::CapacityTarget, "disruption", Nothing),
    (Kind::CapacityTarget, "disruption.budgets", Change),
    (Kind::CapacityTarget, "max", Rise),
    (Kind::CapacityTarget, "min", Nothing),
    (Kind::CapacityTarget, "warm", Nothing),
    (Kind::Deployment, "placement.agent", Loss),
    (Kind::Deployment, "placement.allowedClouds", Admits),
    (Kind::Deployment, "placement.allowedDatacenters", Admits),
    (Kind::Deployment, "placement.deniedClouds", Loss),
    (Kind::Deployment, "placement.deniedDatacenters", Loss),
    (Kind::Deployment, "placement.targets", Admits),
    (Kind::Deployment, "secrets", Gain),
    (Kind::Approval, "", Change),
    (Kind::Approval, "reason", Nothing),
];

/// Whether a document of this kind gives somebody more to do by being there, or has more be trusted. A target does: it
/// chooses a policy, and deployments that name no target are placed there at once.
pub(super) fn empowers(kind: Kind) -> bool {
    match kind {
        Kind::Fleet
        | Kind::Owner
        | Kind::AttestationPolicy
        | Kind::CapacityTarget
        | Kind::Approval => true,
        Kind::Provider | Kind::CapacityReservation | Kind::Deployment | Kind::Secret => false,
    }
}

/// Whether a field is one whose change could weaken what protects the fleet, so that a new document shows it in front.
pub(super) fn is_guarded(kind: Kind, difference: &Difference) -> bool {
    !matches!(guard(kind, difference), Nothing)
}

/// Whether what differs in a document of this kind weakens what protects the fleet.
pub(super) fn weakens(kind: Kind, difference: &Difference) -> bool {
    let (old, new) = (difference.old.as_ref(), difference.new.as_ref());
    match guard(kind, difference) {
        Nothing => false,
        Change => true,
        Gain => new.is_some(),
        Loss => old.is_some(),
        Rise => number(old) < number(new),
        Admits if new.is_some() => !difference.was_empty,
        Admits => difference.is_empty,
        Towards(words) => place(words, old) < place(words, new),
    }
}

/// The guard of a field.
fn guard(kind: Kind, difference: &Difference) -> Guard {
    let path: Vec<_> = difference.pattern().collect();
    let fitting = GUARDS.iter().filter_map(|(of, pattern, guard)| {
        let length = (*of == kind).then(|| fits(pattern, &path))??;
        Some((length, *guard))
    });
    let longest = fitting.max_by_key(|(length, _)| *length);
    longest.map_or(Nothing, |(_, guard)| guard)
}

/// How many steps of a path a pattern fits, if it fits.
fn fits(pattern: &str, path: &[&str]) -> Option<usize> {
    let steps: Vec<_> = pattern.split('.').filter(|step| !step.is_empty()).collect();
    let mut pairs = steps.iter().zip(path);
    let fit = steps.len() <= path.len() && pairs.all(|(step, is)| step == is || *step == "*");
    fit.then_some(steps.len())
}

/// A number, or the milliseconds of a duration. What is neither is more than any.
fn number(value: Option<&Value>) -> u128 {
    let span = |text: &str| Some(text.parse::<Span>().ok()?.get().as_millis());
    let number = value.and_then(|value| match value {
        Value::String(text) => span(text),
        other => other.as_u64().map(u128::from),
    });
    number.unwrap_or(u128::MAX)
}

/// A word that is not in the list is further on than any.
fn place(words: &[&str], value: Option<&Value>) -> usize {
    let word = match value {
        None => String::new(),
        Some(Value::String(word)) => word.clone(),
        Some(other) => other.to_string(),
    };
    words
        .iter()
        .position(|known| *known == word)
        .unwrap_or(words.len())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::diff::between;

    /// Whether the change of one field, from the first value to the second, weakens; and back.
    fn ways(kind: Kind, path: &str, values: [Value; 2]) -> [bool; 2] {
        let put = |value: Value| {
            let steps = path.rsplit('.');
            steps.fold(value, |value, step| match value {
                Value::Null => json!({}),
                value => json!({ step: value }),
            })
        };
        let [low, high] = values.map(put);
        let loud = |old: &Value, new: &Value| {
            let differences = between(old, new);
            assert!(!differences.is_empty(), "{old} and {new} differ");
            differences
                .iter()
                .any(|difference| weakens(kind, difference))
        };
        [loud(&low, &high), loud(&high, &low)]
    }

    /// The first value becoming the second is loud, and the way back is not.
    fn opens(kind: Kind, path: &str, values: [Value; 2]) {
        assert_eq!(ways(kind, path, values), [true, false], "{kind} {path}");
    }

    #[test]
    fn what_admits_more_agents_or_places_is_loud() {
        let deployment = Kind::Deployment;
        for (kind, path, closed, open) in [
            (Kind::CapacityTarget, "max", json!(3), json!(100_000)),
            (deployment, "placement.targets", json!(["a"]), json!([])),
            (deployment, "placement.targets", json!(["a"]), json!(null)),
            (
                deployment,
                "placement.targets",
                json!(["a"]),
                json!(["a", "b"]),
            ),
            (
                deployment,
                "placement.allowedDatacenters",
                json!(["a", "b"]),
                json!(["c", "a", "b"]),
            ),
            (
                deployment,
                "placement.deniedDatacenters",
                json!(["a", "b"]),
                json!(["b"]),
            ),
        ] {
            opens(kind, path, [closed, open]);
        }
    }

    #[test]
    fn what_opens_a_guard_is_loud_and_what_closes_it_is_not() {
        let policy = Kind::AttestationPolicy;
        let image = |rtmr: Value| json!([{ "name": "a", "mrtd": "1", "rtmr1": rtmr }]);
        for (kind, path, closed, open) in [
            (Kind::Fleet, "breaker.maxRemovals", json!(1), json!(2)),
            (Kind::Fleet, "breaker.maxPercent", json!(25), json!(100)),
            (
                Kind::Fleet,
                "status.signers",
                json!(["a"]),
                json!(["a", "b"]),
            ),
            (Kind::Owner, "quota.agents", json!(9), json!(10)),
            (
                Kind::Owner,
                "github",
                json!([]),
                json!([{ "organization": "a" }]),
            ),
            (policy, "modes.tcb", json!("strict"), json!("warn")),
            (policy, "modes.nonce", json!("required"), json!("disabled")),
            (policy, "maxAge", json!("90m"), json!("2h")),
            (policy, "tcbGrace", json!("0ms"), json!("30d")),
            (policy, "onLapse", json!("stop"), json!("keep")),
            (policy, "preset", json!(null), json!("gcp")),
            (policy, "preset", json!("gcp"), json!("bareMetal")),
            (policy, "platform.smt", json!(false), json!(null)),
            (policy, "platform.smt", json!(null), json!(true)),
            (policy, "refusedAdvisories", json!(["a", "b"]), json!(["b"])),
            (
                policy,
                "tdAttributes.refused",
                json!(["perfmon"]),
                json!(null),
            ),
            (
                policy,
                "allowedTcbStatuses",
                json!(["UpToDate"]),
                json!(["UpToDate", "Revoked"]),
            ),
            (policy, "trustRoot.kind", json!("intel"), json!("simulated")),
            (policy, "verifiers.ita.issuer", json!("a"), json!(null)),
            (
                policy,
                "verifiers.ita.trustEnds",
                json!(null),
                json!("maxAge"),
            ),
            (policy, "measurements", json!([]), image(json!("1"))),
        ] {
            opens(kind, path, [closed, open]);
        }
        let [exact, any] = [image(json!("1")), json!([{ "name": "a", "mrtd": "1" }])];
        assert_eq!(ways(policy, "measurements", [exact, any]), [true, false]);
    }

    #[test]
    fn what_may_weaken_either_way_is_loud_either_way() {
        let (fleet, target, approval) = (Kind::Fleet, Kind::CapacityTarget, Kind::Approval);
        for (kind, path, values) in [
            (
                fleet,
                "evidence.auditors",
                [json!(["a"]), json!(["a", "b"])],
            ),
            (fleet, "evidence.keep", [json!("full"), json!("digest")]),
            (target, "policy", [json!("a"), json!("b")]),
            (target, "datacenter", [json!("a"), json!("b")]),
            (approval, "planDigest", [json!("a"), json!("b")]),
            (approval, "revision", [json!("a"), json!(null)]),
            (
                Kind::Deployment,
                "placement.targets",
                [json!(["a"]), json!(["b"])],
            ),
            (fleet, "whatComesLater", [json!(1), json!(2)]),
        ] {
            assert_eq!(ways(kind, path, values), [true, true], "{kind} {path}");
        }
    }

    #[test]
    fn what_protects_nothing_is_not_loud() {
        for (kind, path) in [
            (Kind::Fleet, "timing.lostAfter"),
            (Kind::Fleet, "collateral.urls"),
            (Kind::CapacityTarget, "min"),
            (Kind::CapacityTarget, "warm"),
            (Kind::Deployment, "replicas"),
            (Kind::Deployment, "nodeSize"),
            (Kind::Approval, "reason"),
        ] {
            assert_eq!(
                ways(kind, path, [json!("a"), json!("b")]),
                [false, false],
                "{kind} {path}"
            );
        }
    }

    /// The schema of a kind.
    fn schema(kind: Kind) -> Value {
        let folder = env!("CARGO_MANIFEST_DIR");
        let path = format!("{folder}/../schemas/json/{kind}.schema.json");
        let text = std::fs::read(path).expect("a schema");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// Whether a document has a field at this place: its name alone may stand anywhere.
    fn has(schema: &Value, pattern: &str) -> bool {
        let steps = pattern.split('.').filter(|step| !step.is_empty());
        let spec = (pattern != "metadata").then_some("spec");
        let path = spec.into_iter().chain(steps);
        let mut at = Some(schema);
        for step in path {
            at = at.and_then(|at| below(schema, at, step));
        }
        at.is_some()
    }

    /// What a schema says of a field, of the entries of a list, or of any field.
    fn below<'a>(schema: &'a Value, mut at: &'a Value, step: &str) -> Option<&'a Value> {
        if let Some(name) = at.get("$ref").and_then(Value::as_str) {
            at = schema.pointer(name.strip_prefix('#')?)?;
        }
        let fields = at.get("properties").and_then(Value::as_object);
        match step {
            "*" => at.get("items").or_else(|| fields?.values().next()),
            name => fields?.get(name),
        }
    }

    #[test]
    fn every_guard_is_a_field_of_its_kind_at_that_place() {
        for (kind, pattern, _) in GUARDS {
            assert!(has(&schema(*kind), pattern), "{kind} {pattern}");
        }
        let policy = schema(Kind::AttestationPolicy);
        for moved in [
            "root.keyId",
            "keyId",
            "trustRoot.issuer",
            "measurements.mrtd",
        ] {
            assert!(!has(&policy, moved), "{moved}");
        }
    }

    #[test]
    fn what_empowers_is_loud_until_somebody_decides_otherwise() {
        for kind in Kind::ALL.into_iter().filter(|kind| empowers(*kind)) {
            let loud = |(of, pattern, guard): &(Kind, &str, Guard)| {
                *of == kind && pattern.is_empty() && !matches!(guard, Nothing)
            };
            assert!(GUARDS.iter().any(loud), "{kind}");
        }
    }
}
