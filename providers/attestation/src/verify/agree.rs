//! One verdict of one or two verifiers. Where two were asked they have to say the same; a disagreement is an
//! alarm, never a choice.

use easyenclave_schemas::evidence::{ReasonCode, Rejection};

use super::Findings;

/// The findings that count. Trust ends with whichever ends first.
pub(super) fn findings(
    dcap: Option<&Findings>,
    ita: Option<&Findings>,
) -> Result<Findings, Rejection> {
    match (dcap, ita) {
        (Some(dcap), Some(ita)) => both(dcap, ita),
        (Some(one), None) | (None, Some(one)) => Ok(one.clone()),
        (None, None) => Err(ReasonCode::PolicyInvalid.into()),
    }
}

fn both(dcap: &Findings, ita: &Findings) -> Result<Findings, Rejection> {
    if dcap.tcb_status != ita.tcb_status {
        let message = format!(
            "local verification says {}, Intel Trust Authority says {}",
            dcap.tcb_status, ita.tcb_status
        );
        return Err(Rejection::new(ReasonCode::VerdictsDisagree, message));
    }
    let mut advisory_ids = dcap.advisory_ids.clone();
    advisory_ids.extend(ita.advisory_ids.iter().cloned());
    advisory_ids.sort();
    advisory_ids.dedup();
    Ok(Findings {
        until: dcap.until.min(ita.until),
        advisory_ids,
        ..dcap.clone()
    })
}
