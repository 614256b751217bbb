//! Joining the fleet: challenge, quote, registration. Each attempt takes a new nonce. What may pass is
//! tried again for as long as it takes; what is final ends the agent, after a few tries, because a refusal
//! is not signed and could be somebody else's.

use std::time::Duration;

use easyenclave_schemas::evidence::ReasonCode;
use easyenclave_schemas::wire::{RegisterRequest, RegisterResponse, routes};
use tokio::time::sleep;

use crate::client::CallError;
use crate::clock;
use crate::config::Unbound;
use crate::node::{Node, VERSION};

/// A final refusal has to come this often in a row.
const FINAL: u32 = 3;

/// The pauses between attempts grow from this …
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// … to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The reconciler will not take this agent in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the reconciler refuses this agent with {code}: {message}")]
pub struct Refused {
    /// The stable code, such as `EE-ATT-014`.
    pub code: String,
    /// One sentence.
    pub message: String,
}

/// Registers. Answers how often a heartbeat is wanted.
pub(crate) async fn join(node: &Node) -> anyhow::Result<Duration> {
    let (mut failures, mut refusals) = (0_u32, 0_u32);
    loop {
        let error = match attempt(node).await {
            Ok(interval) => return Ok(interval),
            Err(error) if error.is::<Unbound>() => return Err(error),
            Err(error) => error,
        };
        failures += 1;
        match refusal(&error) {
            Some(refused) if refusals + 1 >= FINAL => return Err(refused.into()),
            Some(_) => refusals += 1,
            None => refusals = 0,
        }
        if failures.is_power_of_two() {
            tracing::warn!(
                failures,
                error = format!("{error:#}"),
                "registration failed"
            );
        }
        sleep(clock::pause(failures, FIRST_PAUSE, LONGEST_PAUSE)).await;
    }
}

/// Registers with a new nonce, once. Answers how often a heartbeat is wanted.
pub(crate) async fn attempt(node: &Node) -> anyhow::Result<Duration> {
    let challenge = node.client.challenge(&node.config.order_id).await?;
    let boot_id = node.boot_id();
    let request = RegisterRequest {
        order_id: node.config.order_id.clone(),
        bootstrap_token: node.config.bootstrap_token.clone(),
        public_key: node.keypair.public().to_string(),
        evidence: node.evidence(&challenge).await?,
        nonce: challenge.nonce,
        ita_nonce: challenge.ita.map(|ita| ita.nonce),
        address: node.address.clone(),
        boot_id: boot_id.clone(),
        version: VERSION.into(),
        generation: node.wanted.borrow().generation,
        runtimes: node.runtimes.borrow().clone(),
        workload: node.workload.borrow().clone(),
    };
    let answer: RegisterResponse = node.client.post(routes::REGISTER, &request).await?;
    if answer.agent_id != node.id {
        anyhow::bail!(
            "the reconciler calls this agent {}, not {}",
            answer.agent_id,
            node.id
        );
    }
    if !node.see(answer.epoch) {
        anyhow::bail!(
            "the answer has epoch {}, and a higher one was seen",
            answer.epoch
        );
    }
    tracing::info!(
        agent = %node.id,
        simulated = answer.verdict.simulated,
        trusted_until = %answer.verdict.trusted_until,
        "registered"
    );
    node.accepted(answer.verdict, boot_id);
    Ok(Duration::from_millis(answer.heartbeat_millis))
}

/// The refusal behind an error, if no later attempt can change it.
fn refusal(error: &anyhow::Error) -> Option<Refused> {
    match error.downcast_ref() {
        Some(CallError::Refused {
            later: false,
            code,
            message,
        }) if is_final(code) => Some(Refused {
            code: code.clone(),
            message: message.clone(),
        }),
        _ => None,
    }
}

/// A new nonce, other collateral, a corrected policy or clock can help against these, and so can a
/// reconciler in the place of whatever answered without a code.
fn is_final(code: &str) -> bool {
    use ReasonCode::{
        CollateralOutdated, CollateralUnusable, DependencyUnavailable, Internal,
        ItaAudienceInvalid, ItaIssuerInvalid, ItaSignatureInvalid, ItaTokenExpired,
        ItaTokenNotYetValid, MessageReplayed, NonceExpired, NonceMissing, NonceReplayed,
        NonceUnknown, PolicyInvalid,
    };
    let Some(reason) = ReasonCode::from_code(code) else {
        return false;
    };
    let passes = [
        CollateralOutdated,
        CollateralUnusable,
        DependencyUnavailable,
        Internal,
        ItaAudienceInvalid,
        ItaIssuerInvalid,
        ItaSignatureInvalid,
        ItaTokenExpired,
        ItaTokenNotYetValid,
        MessageReplayed,
        NonceExpired,
        NonceMissing,
        NonceReplayed,
        NonceUnknown,
        PolicyInvalid,
    ];
    !passes.contains(&reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_attempt_can_change_is_final() {
        for code in [
            "EE-ATT-014",
            "EE-ATT-022",
            "EE-ATT-030",
            "EE-ATT-031",
            "EE-ATT-032",
        ] {
            assert!(is_final(code), "{code}");
        }
        for code in [
            "EE-ATT-004",
            "EE-ATT-007",
            "EE-ATT-011",
            "EE-ATT-018",
            "EE-ATT-034",
            "store_unavailable",
            "404",
        ] {
            assert!(!is_final(code), "{code}");
        }
        let refused = |later| CallError::Refused {
            later,
            code: "EE-ATT-014".into(),
            message: "no".into(),
        };
        assert!(refusal(&refused(false).into()).is_some());
        assert!(refusal(&refused(true).into()).is_none());
        assert!(refusal(&anyhow::anyhow!("no quote")).is_none());
    }
}
