//! Whether evidence is kept as desired state asks. `check` refuses what this finds; desired state that was in force
//! before there was such a check is not taken out of force for it, and says so in status instead.

use easyenclave_schemas::documents::{EvidenceSpec, Keep, PolicySpec, TrustRootKind};

use crate::report::Trouble;
use crate::revision::Revision;
use crate::seal;

/// What to add where nobody is named for whom evidence could be sealed.
pub(crate) const REMEDY: &str =
    "add `spec.evidence.auditors: [age1…]` to fleet.yaml, or `spec.evidence.keep: digest`";

/// Why less is kept of evidence than this revision asks for, if so.
pub fn unauditable(revision: &Revision) -> Option<Trouble> {
    shortfall(&revision.evidence, revision.policies.values())
}

/// What to know of evidence that is kept as asked: what was filed before somebody asked is not filed again.
pub fn kept_from_now(revision: &Revision) -> String {
    match revision.evidence == EvidenceSpec::default() {
        true => String::new(),
        false => "what is judged from now on; an agent's newest judgement stays as it was filed until the agent \
                  attests again or its policy changes"
            .into(),
    }
}

/// Says so in the log, once for a revision; status says it as long as it is so.
pub(crate) fn tell_of_keeping(revision: &Revision) {
    if let Some(Trouble { reason, message }) = unauditable(revision) {
        tracing::warn!(reason, message, "evidence is not kept as it should be");
    }
}

fn shortfall<'a>(
    evidence: &EvidenceSpec,
    policies: impl IntoIterator<Item = &'a PolicySpec>,
) -> Option<Trouble> {
    let mut policies = policies.into_iter();
    let seals = |policy: &PolicySpec| {
        let simulated = policy.trust_root.kind == TrustRootKind::Simulated;
        evidence.keeps(simulated) == Keep::Sealed
    };
    if !policies.any(seals) {
        return None;
    }
    if evidence.auditors.is_empty() {
        let message = format!(
            "evidence should be sealed and no auditor is named, so its digests alone are kept: {REMEDY}"
        );
        let reason = "NoAuditors";
        return Some(Trouble { reason, message });
    }
    let read = evidence.auditors.iter().map(|text| seal::recipient(text));
    let mut read = read.enumerate();
    let (at, error) = read.find_map(|(at, read)| Some((at, read.err()?)))?;
    Some(Trouble {
        reason: "AuditorUnreadable",
        message: format!("nothing is sealed for `spec.evidence.auditors[{at}]`: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is said of a fleet with one policy under this root.
    fn said(evidence: &serde_json::Value, root: &str) -> Option<(&'static str, String)> {
        let evidence = serde_json::from_value(evidence.clone()).expect("what is kept");
        let policy = json!({"trustRoot": {"kind": root}, "measurements": []});
        let policy: PolicySpec = serde_json::from_value(policy).expect("a policy");
        shortfall(&evidence, [&policy]).map(|trouble| (trouble.reason, trouble.message))
    }

    #[test]
    fn evidence_that_is_sealed_for_nobody_is_told_with_what_to_add() {
        let sealed = json!({"keep": "sealed"});
        for (evidence, root) in [
            (json!({}), "intel"),
            (sealed.clone(), "intel"),
            (sealed, "simulated"),
        ] {
            let (reason, message) = said(&evidence, root).expect("told");
            assert_eq!(reason, "NoAuditors");
            assert!(message.ends_with(REMEDY), "{message}");
        }
        for (evidence, root) in [
            (json!({}), "simulated"),
            (json!({"keep": "digest"}), "intel"),
            (json!({"keep": "full"}), "intel"),
        ] {
            assert_eq!(said(&evidence, root), None, "{evidence} {root}");
        }
    }

    #[test]
    fn an_auditor_who_cannot_be_read_is_told_and_no_secret_is_repeated() {
        let auditor = "age1ktdlrw32qze3hmsavtatt0p866jq786eg5hmn2mq8glrqqyw2vzqwkt5u4";
        assert_eq!(said(&json!({"auditors": [auditor]}), "intel"), None);
        let evidence = json!({"auditors": [auditor, "AGE-SECRET-KEY-1QQQ"]});
        let (reason, message) = said(&evidence, "intel").expect("told");
        assert_eq!(reason, "AuditorUnreadable");
        assert!(message.contains("auditors[1]"), "{message}");
        assert!(!message.contains("1QQQ"), "{message}");
    }
}
