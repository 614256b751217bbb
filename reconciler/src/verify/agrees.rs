//! What is said twice, held against itself: two verdicts, and an agent's file and its record of evidence.

use easyenclave_schemas::evidence::{EvidenceRecord, Outcome, Verdict};
use easyenclave_schemas::status::TrustStatus;

/// The first field, by name, in which two verdicts differ.
pub(super) fn difference(one: &Verdict, other: &Verdict) -> Option<String> {
    if one == other {
        return None;
    }
    let fields = |verdict| serde_json::to_value(verdict).unwrap_or_default();
    let (one, other) = (fields(one), fields(other));
    let names = one.as_object().into_iter().chain(other.as_object());
    let mut names = names.flat_map(|fields| fields.keys());
    let differs = names.find(|name| one.get(name) != other.get(name));
    Some(differs.cloned().unwrap_or_else(|| "value".into()))
}

/// Whether what people read of an agent is what its record says; the field that is not.
pub(super) fn agrees(trust: &TrustStatus, record: &EvidenceRecord) -> Result<(), &'static str> {
    let is = |holds: bool, field| if holds { Ok(()) } else { Err(field) };
    let root = record.outcome.trust_root();
    let simulated = root.is_some_and(|root| root.is_simulated());
    is(trust.simulated == simulated, "simulated")?;
    let root = root.map_or_else(String::new, |root| root.to_string());
    is(trust.trust_root == root, "trustRoot")?;
    match &record.outcome {
        Outcome::Accepted(verdict) => {
            is(trust.verdict.as_ref() == Some(verdict), "verdict")?;
            let until = Some(verdict.trusted_until.trunc_secs());
            is(trust.trusted_until == until, "trustedUntil")?;
            is(
                trust.tcb_status == verdict.tcb_status.to_string(),
                "tcbStatus",
            )?;
            is(trust.mrtd == verdict.mrtd.to_string(), "mrtd")?;
            is(trust.measurement == verdict.measurement, "measurement")?;
            is(trust.verifiers == verdict.verifiers, "verifiers")?;
            is(trust.policy == Some(verdict.policy_digest), "policy")?;
            is(record.policy == verdict.policy_digest, "policy")
        }
        Outcome::Refused(rejection) => {
            is(trust.state != "accepted", "state")?;
            is(trust.verdict.is_none(), "verdict")?;
            is(trust.codes == [rejection.code.code()], "codes")?;
            is(trust.policy == Some(record.policy), "policy")
        }
    }
}
