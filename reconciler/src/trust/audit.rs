//! The audit log of attestation: one terminal event for each attempt. Nothing in it is secret: no token, no
//! nonce beyond a few digits of its hash.

use easyenclave_attestation::Policy;
use easyenclave_schemas::evidence::{Rejection, Verdict};
use easyenclave_schemas::{Digest, OrderId};

use crate::world::World;

/// Tells the log and the metrics how an attempt ended.
pub(super) fn tell(
    world: &World,
    order: &OrderId,
    nonce: &str,
    policy: &Policy,
    result: Result<&Verdict, &Rejection>,
) {
    world
        .metrics
        .attempt(result.err().map(|rejection| rejection.code));
    let nonce_id = Digest::of(nonce.as_bytes()).short(12);
    let request_id = hex::encode(world.entropy.bytes());
    let policy_snapshot = serde_json::to_string(&policy.modes).expect("modes are plain data");
    match result {
        Ok(verdict) => tracing::info!(
            event_name = "registration_attestation_accepted",
            timestamp = %verdict.accepted_at,
            request_id,
            agent_vm_name = %order,
            reason_code = reason(verdict),
            policy_snapshot,
            mrtd = %verdict.mrtd,
            tcb_status = %verdict.tcb_status,
            nonce_id,
            simulated = verdict.simulated,
            trust_root = %verdict.trust_root,
            result = "accepted",
        ),
        Err(rejection) => tracing::warn!(
            event_name = "registration_attestation_rejected",
            timestamp = %world.clock.now(),
            request_id,
            agent_vm_name = %order,
            reason_code = rejection.code.code(),
            policy_snapshot,
            message = rejection.message,
            nonce_id,
            result = "rejected",
        ),
    }
}

/// `OK`, or the codes of what was let pass.
fn reason(verdict: &Verdict) -> String {
    let codes: Vec<_> = verdict
        .warnings
        .iter()
        .map(|warning| warning.code.code())
        .collect();
    if codes.is_empty() {
        "OK".into()
    } else {
        codes.join(",")
    }
}
