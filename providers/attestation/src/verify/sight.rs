//! What an unknown image looks like. Evidence that fails for its measurements alone comes from a platform that
//! the policy trusts: its values may become reference values, if a person says so. Nothing is accepted here.

use easyenclave_schemas::documents::Enforcement;
use easyenclave_schemas::evidence::Verdict;

use super::policy::{Policy, Reference};
use super::{Case, facts, verify};

/// What the verdict would be if a policy knew these measurements. None when anything else is wrong, too.
pub fn sight(case: &Case<'_>) -> Option<Verdict> {
    let body = facts::Body::read(&facts::read(case.evidence).ok()?).ok()?;
    let mut policy: Policy = case.policy.clone();
    policy.modes.rtmr = Enforcement::Disabled;
    policy.references = vec![Reference {
        name: "not in the policy".into(),
        mrtd: body.mrtd,
        mrseam: None,
        mrconfigid: None,
        rtmrs: [None; 4],
        events: Vec::new(),
    }];
    let case = Case {
        policy: &policy,
        ..*case
    };
    verify(&case).ok()
}
