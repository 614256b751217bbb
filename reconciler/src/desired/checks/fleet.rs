//! What the fleet's document says of people's keys: for whom evidence is sealed, and who signs. The fields are older than
//! these checks, so what is in force stays in force: a change is blamed, and the fleet's status tells of the rest.

use easyenclave_git::Signers;
use easyenclave_schemas::documents::{FleetSpec, TrustRootKind};

use super::super::facts::{Considered, Facts, Held, Standing};
use super::Finding;
use crate::seal;
use crate::trust::REMEDY;

/// Something can be sealed for each auditor.
pub(super) fn auditors_are_readable(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let Some(fleet) = changed(facts) else { return };
    for (index, text) in fleet.object.spec.evidence.auditors.iter().enumerate() {
        if let Err(error) = seal::recipient(text) {
            let pointer = format!("/spec/evidence/auditors/{index}");
            let message = format!("`spec.evidence.auditors[{index}]`: {error}");
            findings.push(Finding::new(fleet.version, pointer, "auditor", message));
        }
    }
}

/// What is asked to be sealed has somebody who can open it.
pub(super) fn sealing_has_auditors(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let Some(fleet) = changed(facts) else { return };
    if fleet.object.spec.evidence.lacks_auditors(true) {
        lacking(fleet.version, "/spec/evidence/keep", findings);
    }
}

/// So has what is sealed because Intel's root vouches for it. Whoever is new is at fault: the fleet's document, or else
/// a policy beside one that was in force. An older version of the fleet's document stands for one that was blamed.
pub(super) fn real_roots_have_auditors(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let Some(fleet) = &facts.fleet else { return };
    let evidence = &fleet.object.spec.evidence;
    if evidence.lacks_auditors(true) || !evidence.lacks_auditors(false) {
        return;
    }
    let policies = facts.policies.values();
    let mut real = policies.filter(|held| held.object.spec.trust_root.kind == TrustRootKind::Intel);
    match fleet.version.standing {
        Standing::New | Standing::Changed if real.next().is_some() => {
            lacking(fleet.version, "/spec/evidence", findings);
        }
        Standing::Unchanged => real
            .filter(|held| held.version.standing == Standing::New)
            .for_each(|held| lacking(held.version, "/spec/trustRoot/kind", findings)),
        Standing::New | Standing::Changed | Standing::Older => {}
    }
}

fn lacking(version: Considered<'_>, pointer: &'static str, findings: &mut Vec<Finding>) {
    let what = match pointer {
        "/spec/evidence/keep" => "evidence",
        _ => "evidence under Intel's root",
    };
    let message = format!("{what} is sealed, and no auditor is named who could open it: {REMEDY}");
    findings.push(Finding::new(version, pointer, "no-auditor", message));
}

/// `verify` can tell whether a key that may sign did.
pub(super) fn signers_are_readable(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let Some(fleet) = changed(facts) else { return };
    for (index, line) in fleet.object.spec.status.signers.iter().enumerate() {
        let read = Signers::parse([line.as_str()]);
        if read.is_ok_and(|signers| !signers.is_empty()) {
            continue;
        }
        let pointer = format!("/spec/status/signers/{index}");
        let found = match line.contains("PRIVATE KEY") {
            true => "a private key: take it out of Git, and make a new one".into(),
            false => format!("{:?}", line.chars().take(60).collect::<String>()),
        };
        let message = format!(
            "`spec.status.signers[{index}]`: expected a public key such as `ssh-ed25519 AAAA…`, found {found}"
        );
        findings.push(Finding::new(fleet.version, pointer, "signer", message));
    }
}

/// The fleet's document, when another version was in force before.
fn changed<'a>(facts: &'a Facts<'_>) -> Option<&'a Held<'a, FleetSpec>> {
    let fleet = facts.fleet.as_ref()?;
    (fleet.version.standing.novelty() > 0).then_some(fleet)
}
