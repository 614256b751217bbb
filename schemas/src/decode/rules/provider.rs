//! Rules of providers: their sizes have names that a target can use.

use super::super::walk::push_field;
use super::{Finding, Rule, find};
use crate::NodeSize;
use crate::documents::ProviderSpec;

pub(super) const RULES: &[Rule<ProviderSpec>] = &[(&[], size_names)];

fn size_names(spec: &ProviderSpec, findings: &mut Vec<Finding>) {
    let (above, names): (_, Vec<&String>) = match spec {
        ProviderSpec::Process(_) => return,
        ProviderSpec::Qemu(qemu) => ("/spec/qemu/sizes", qemu.sizes.keys().collect()),
        ProviderSpec::Gcp(gcp) => ("/spec/gcp/sizes", gcp.sizes.keys().collect()),
    };
    for name in names {
        if let Err(error) = NodeSize::new(name.as_str()) {
            let mut pointer = above.to_owned();
            push_field(&mut pointer, name);
            let message = format!("a size's name: {error}");
            find(findings, &pointer, "size-name", message);
        }
    }
}
