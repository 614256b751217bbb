//! Rules of secrets: a text that is sealed at all, and uses of it that a runtime can keep off its disk.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::deployment::{VARIABLE, is_reserved, is_variable};
use super::{Finding, Rule, find};
use crate::documents::{DeploymentSpec, SecretSpec, Workload};

pub(super) const RULES: &[Rule<SecretSpec>] = &[(&[], sealed)];

/// What every file of `age` begins with. An armoured one, or a value in the clear, does not.
const AGE: &[u8] = b"age-encryption.org/v1\n";

/// Never quotes what was found: it may be the value itself.
fn sealed(spec: &SecretSpec, findings: &mut Vec<Finding>) {
    let file = STANDARD.decode(&spec.sealed);
    if !file.is_ok_and(|file| file.starts_with(AGE)) {
        let message = "`spec.sealed`: expected a file of `age` in base64, as `easyenclave secret set` writes it";
        find(findings, "/spec/sealed", "not-sealed", message.into());
    }
}

/// How a workload is given its secrets.
pub(super) fn uses(spec: &DeploymentSpec, findings: &mut Vec<Finding>) {
    let mut ways = BTreeSet::new();
    for (index, one) in spec.secrets.iter().enumerate() {
        let name = format!("spec.secrets[{index}]");
        let pointer = format!("/spec/secrets/{index}");
        match (&one.env, &one.file) {
            (Some(env), None) => variable(spec, env, &pointer, findings),
            (None, Some(_)) => {}
            _ => {
                let message = format!("`{name}`: expected exactly one of env, file");
                find(findings, &pointer, "exactly-one", message);
            }
        }
        if matches!(spec.workload, Workload::Process(_)) && !one.services.is_empty() {
            let message = format!("`{name}.services` is for services of a Compose file");
            find(
                findings,
                &format!("{pointer}/services"),
                "compose-only",
                message,
            );
        }
        let way = (&one.env, &one.file);
        if way != (&None, &None) && !ways.insert(way) {
            let message = format!("`{name}` is given where another secret is");
            find(findings, &pointer, "repeated", message);
        }
    }
}

fn variable(spec: &DeploymentSpec, env: &str, pointer: &str, findings: &mut Vec<Finding>) {
    let pointer = format!("{pointer}/env");
    match &spec.workload {
        _ if !is_variable(env) => find(findings, &pointer, "variable-name", VARIABLE.into()),
        Workload::Process(process) if is_reserved(env) || process.env.contains_key(env) => {
            let message = format!("environment variable {env} is set already");
            find(findings, &pointer, "variable-reserved", message);
        }
        Workload::Process(_) => {}
        Workload::Compose(_) => {
            let message =
                "a container engine writes variables to its disk; give the secret as a `file`";
            find(findings, &pointer, "process-only", message.into());
        }
    }
}
