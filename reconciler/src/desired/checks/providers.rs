//! What a target asks of its provider: a size that it has, and machines that the target's policy can trust.

use easyenclave_schemas::decode::did_you_mean;
use easyenclave_schemas::documents::{
    Kind, PlaceSpec, ProviderSpec, Runtime, TargetSpec, TdxUse, TrustRootKind,
};

use super::super::facts::{Facts, Held};
use super::Finding;
use super::sizes::offers;

/// The places of a target, and where each names its provider.
pub(super) fn places(spec: &TargetSpec) -> Vec<(String, PlaceSpec)> {
    let further = (0..).map(|index| format!("/spec/places/{index}/provider"));
    let pointers = std::iter::once("/spec/provider".to_owned()).chain(further);
    pointers.zip(spec.all_places()).collect()
}

/// The provider has a machine of the target's size.
pub(super) fn have_the_sizes(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for held in facts.targets.values() {
        let spec = &held.object.spec;
        let size = spec.node_size.as_str();
        let lacks = |(_, place): &(String, PlaceSpec)| {
            let provider = facts.providers.get(place.provider.as_str())?;
            let sizes = provider.object.spec.sizes()?;
            (!sizes.contains(&size)).then_some((place.provider.clone(), sizes))
        };
        let Some((name, sizes)) = places(spec).iter().find_map(lacks) else {
            continue;
        };
        let known = sizes.join(", ");
        let message = format!("provider {name} has no machine of size {size}; it has {known}");
        let finding = Finding::new(held.version, "/spec/nodeSize", "size-not-made", message);
        findings.push(Finding {
            suggestion: did_you_mean(size, sizes).map(str::to_owned),
            ..finding
        });
    }
}

/// Some target that a deployment may use has agents that may run it.
pub(super) fn run_what_is_deployed(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let is_hidden = |kind| {
        facts
            .unreadable
            .keys()
            .any(|identity| identity.kind == kind)
    };
    if is_hidden(Kind::CapacityTarget) || is_hidden(Kind::Provider) {
        return;
    }
    for held in &facts.deployments {
        let spec = &held.object.spec;
        let runtime = spec.workload.runtime();
        let targets = facts.targets.values();
        let mut targets = targets.filter(|target| offers(spec, target)).peekable();
        if targets.peek().is_none() || targets.any(|target| may_run(facts, target, runtime)) {
            continue;
        }
        let word = runtime.as_str();
        let message = format!(
            "no target that it may use has agents that run {word}: `runtimes` of their providers do not have it"
        );
        let code = "runtime-not-offered";
        findings.push(Finding::new(held.version, "/spec/workload", code, message));
    }
}

fn may_run(facts: &Facts<'_>, target: &Held<'_, TargetSpec>, runtime: Runtime) -> bool {
    target.object.spec.all_places().iter().all(|place| {
        let provider = facts.providers.get(place.provider.as_str());
        provider.is_none_or(|held| held.object.spec.may_run(runtime))
    })
}

/// No agent on a plain machine can ever satisfy Intel's root, nor one in a trust domain a simulated root.
pub(super) fn make_what_can_be_trusted(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for held in facts.targets.values() {
        let spec = &held.object.spec;
        let Some(policy) = facts.policies.get(spec.policy.as_str()) else {
            continue;
        };
        let root = policy.object.spec.trust_root.kind;
        let at_place = |(pointer, place): (String, PlaceSpec)| {
            let provider = facts.providers.get(place.provider.as_str())?;
            let (made, code) = untrusted(&provider.object.spec, root)?;
            Some((pointer, place.provider, made, code))
        };
        let found = places(spec).into_iter().find_map(at_place);
        let Some((pointer, provider, made, code)) = found else {
            continue;
        };
        let root = match root {
            TrustRootKind::Intel => "Intel's root",
            TrustRootKind::Simulated => "a simulated root",
        };
        let policy = &spec.policy;
        let message = format!(
            "provider {provider} makes {made}, and policy {policy} asks for {root}, which vouches for none of them"
        );
        findings.push(Finding::new(held.version, pointer, code, message));
    }
}

/// What a provider makes and nothing else, where this root vouches for none of it.
fn untrusted(provider: &ProviderSpec, root: TrustRootKind) -> Option<(&'static str, &'static str)> {
    let tdx = match provider {
        ProviderSpec::Process(_) => return None,
        ProviderSpec::Qemu(qemu) => qemu.tdx,
        ProviderSpec::Gcp(_) => TdxUse::Required,
    };
    match (tdx, root, provider) {
        (TdxUse::Never, TrustRootKind::Intel, _) => {
            Some(("plain machines (`tdx: never`)", "plain-machine"))
        }
        (TdxUse::Required, TrustRootKind::Simulated, ProviderSpec::Gcp(_)) => {
            Some(("confidential machines of Google Cloud", "trust-domain"))
        }
        (TdxUse::Required, TrustRootKind::Simulated, _) => {
            Some(("trust domains (`tdx: required`)", "trust-domain"))
        }
        _ => None,
    }
}
