//! The audit log of attestation: one terminal event for each attempt. Nothing in it is secret: no token, no
//! nonce beyond a few digits of its hash.

use easyenclave_attestation::Policy;
use easyenclave_schemas::documents::Modes;
use easyenclave_schemas::evidence::{Rejection, Verdict};
use easyenclave_schemas::{Digest, OrderId};

use crate::world::World;

/// The longest nonce that is looked at, as text; ours have 64 characters.
const NONCE: usize = 200;

/// Said of the root of a platform that did not come to be seen.
const UNKNOWN: &str = "unknown";

/// Who tries to be trusted, and by what it is judged.
pub(crate) struct Tried {
    order: OrderId,
    /// The beginning of the hash of the nonce's text; empty where none was sent.
    nonce_id: String,
    /// None while no readable policy was found.
    modes: Option<Modes>,
}

impl Tried {
    /// An attempt of this order's agent. The order is only what the agent says, until it is found.
    pub(crate) fn new(order: OrderId, nonce: &str) -> Self {
        let nonce_id = match nonce.len() {
            0 => String::new(),
            length => Digest::of(&nonce.as_bytes()[..length.min(NONCE)])
                .short(12)
                .to_string(),
        };
        Self {
            order,
            nonce_id,
            modes: None,
        }
    }

    /// The policy that is applied.
    pub(crate) fn under(&mut self, policy: &Policy) {
        self.modes = Some(policy.modes);
    }

    fn policy_snapshot(&self) -> String {
        let text = |modes| serde_json::to_string(&modes).expect("modes are plain data");
        self.modes.map_or_else(|| "none".into(), text)
    }
}

/// Tells the log and the metrics how an attempt ended. Once for each, when nothing can change its end any more.
pub(crate) fn tell(world: &World, tried: &Tried, result: Result<&Verdict, &Rejection>) {
    world.metrics.attempt(result);
    let request_id = hex::encode(world.entropy.bytes());
    let policy_snapshot = tried.policy_snapshot();
    match result {
        Ok(verdict) => tracing::info!(
            event_name = "registration_attestation_accepted",
            timestamp = %verdict.accepted_at,
            request_id,
            agent_vm_name = %tried.order,
            reason_code = reason(verdict),
            policy_snapshot,
            mrtd = %verdict.mrtd,
            tcb_status = %verdict.tcb_status,
            nonce_id = tried.nonce_id,
            simulated = verdict.simulated,
            trust_root = %verdict.trust_root,
            measurement = verdict.measurement,
            result = "accepted",
        ),
        Err(rejection) => tracing::warn!(
            event_name = "registration_attestation_rejected",
            timestamp = %world.clock.now(),
            request_id,
            agent_vm_name = %tried.order,
            reason_code = rejection.code.code(),
            policy_snapshot,
            // Nothing that was not verified is called a measurement or a status.
            mrtd = "unverified",
            tcb_status = "unverified",
            message = rejection.stamped(),
            nonce_id = tried.nonce_id,
            simulated = rejection.trust_root.map_or(UNKNOWN.into(), |root| root.is_simulated().to_string()),
            trust_root = rejection.trust_root.map_or(UNKNOWN.into(), |root| root.to_string()),
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
