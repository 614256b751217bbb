//! Evidence that was shown before, under another policy. It is judged as of the time when it was shown, so judging it
//! again renews nothing; and what the new policy asks for and nobody asked the agent for is no reason to refuse it.

use easyenclave_schemas::evidence::{ReasonCode, Rejection, Verdict};

use super::foresee::{Foresight, foresee};
use super::{Case, verify};

/// What another policy says of evidence that was shown before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// It accepts. Whether the trust that follows has ended is a matter of the time.
    Accepts(Box<Verdict>),
    /// It refuses.
    Refuses(Rejection),
    /// It asks for what this evidence does not hold: only fresh evidence can tell.
    Unknown,
}

/// Judges a case again, whose time is that at which its evidence was shown; `before` is what was said of it then,
/// where it was accepted. Agrees with [`foresee`], as far as that can know.
pub fn judge_again(case: &Case<'_>, before: Option<&Verdict>) -> Again {
    let foresight = before.map(|verdict| foresee(verdict, case.policy));
    match (verify(case), foresight) {
        (Ok(verdict), _) => Again::Accepts(Box::new(verdict)),
        // Whose evidence it is was seen when it was accepted.
        (Err(rejection), _) if !is_undecided(rejection.code) => {
            Again::Refuses(rejection.under(before.map(|verdict| verdict.trust_root)))
        }
        // What is missing does not hide what is wrong.
        (Err(_), Some(Foresight::Refuses(rejection))) => Again::Refuses(rejection),
        (Err(_), _) => Again::Unknown,
    }
}

/// Whether a check failed for want of something that only fresh evidence brings: a token for these settings, or
/// collateral. None of these says that the evidence is bad.
fn is_undecided(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::ItaTokenMissing
            | ReasonCode::ItaSignatureInvalid
            | ReasonCode::ItaTokenExpired
            | ReasonCode::ItaTokenNotYetValid
            | ReasonCode::ItaIssuerInvalid
            | ReasonCode::ItaAudienceInvalid
            | ReasonCode::AttesterRefused
            | ReasonCode::ItaPolicyUnmatched
            | ReasonCode::DependencyUnavailable
            | ReasonCode::Internal
            | ReasonCode::CollateralOutdated
            | ReasonCode::CollateralUnusable
    )
}
