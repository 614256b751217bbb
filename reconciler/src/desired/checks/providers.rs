//! What a target asks of its provider: a size that it has, and machines that the target's policy can trust.

use easyenclave_schemas::decode::did_you_mean;
use easyenclave_schemas::documents::{ProviderSpec, TdxUse, TrustRootKind};

use super::super::facts::Facts;
use super::Finding;

/// The provider has a machine of the target's size.
pub(super) fn have_the_sizes(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for held in facts.targets.values() {
        let spec = &held.object.spec;
        let provider = facts.providers.get(spec.provider.as_str());
        let Some(sizes) = provider.and_then(|provider| provider.object.spec.sizes()) else {
            continue;
        };
        let size = spec.node_size.as_str();
        if sizes.contains(&size) {
            continue;
        }
        let (name, known) = (&spec.provider, sizes.join(", "));
        let message = format!("provider {name} has no machine of size {size}; it has {known}");
        let finding = Finding::new(held.version, "/spec/nodeSize", "size-not-made", message);
        findings.push(Finding {
            suggestion: did_you_mean(size, sizes).map(str::to_owned),
            ..finding
        });
    }
}

/// No agent on a plain machine can ever satisfy Intel's root.
pub(super) fn make_what_can_be_trusted(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for held in facts.targets.values() {
        let spec = &held.object.spec;
        let provider = facts.providers.get(spec.provider.as_str());
        let plain = provider.is_some_and(|provider| is_plain(&provider.object.spec));
        let policy = facts.policies.get(spec.policy.as_str());
        let real =
            policy.is_some_and(|policy| policy.object.spec.trust_root.kind == TrustRootKind::Intel);
        if plain && real {
            let (provider, policy) = (&spec.provider, &spec.policy);
            let message = format!(
                "provider {provider} makes plain machines (`tdx: never`), and policy {policy} asks for Intel's root, \
                 which vouches for none of them"
            );
            let finding = Finding::new(held.version, "/spec/provider", "plain-machine", message);
            findings.push(finding);
        }
    }
}

fn is_plain(provider: &ProviderSpec) -> bool {
    matches!(provider, ProviderSpec::Qemu(qemu) if qemu.tdx == TdxUse::Never)
}
