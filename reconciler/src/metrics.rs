//! Counters since the start, for whoever scrapes them. They decide nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use easyenclave_attestation::CollateralFetch;
use easyenclave_schemas::evidence::{ReasonCode, Rejection, RootKeyId, Verdict};

/// What is counted; every copy counts together.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Counters>>);

/// By name and labels.
type Counters = BTreeMap<(&'static str, Labels), u64>;

type Labels = Vec<(&'static str, &'static str)>;

/// What is asked of a Trust Authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// A nonce.
    Nonce,
    /// A token.
    Token,
    /// Its keys.
    Keys,
}

const ATTEMPTS: &str = "attestation_registration_attempt_total";
const REJECTS: &str = "attestation_registration_reject_total";
const ACCEPTS: &str = "attestation_registration_accept_total";
const WARNINGS: &str = "attestation_warning_total";
const ISSUED: &str = "attestation_nonce_issued_total";
const CONSUMED: &str = "attestation_nonce_consumed_total";
const EXPIRED: &str = "attestation_nonce_expired_total";
const REFRESHES: &str = "attestation_jwks_refresh_total";
const AUTHORITY: &str = "attestation_ita_call_total";
const COLLATERAL: &str = "attestation_collateral_fetch_total";
const ALL: [&str; 10] = [
    ATTEMPTS, REJECTS, ACCEPTS, WARNINGS, ISSUED, CONSUMED, EXPIRED, REFRESHES, AUTHORITY,
    COLLATERAL,
];

impl Metrics {
    /// An attempt to be trusted ended. Simulated and real platforms are never one number, and what was let pass
    /// is counted too.
    pub fn attempt(&self, result: Result<&Verdict, &Rejection>) {
        match result {
            Ok(verdict) => {
                self.count(ATTEMPTS, "result", "accepted");
                self.count(ACCEPTS, "trust_root", kind(Some(verdict.trust_root)));
                for warning in &verdict.warnings {
                    self.count(WARNINGS, "reason_code", warning.code.code());
                }
            }
            Err(rejection) => {
                self.count(ATTEMPTS, "result", "rejected");
                let (code, root) = (rejection.code.code(), kind(rejection.trust_root));
                self.add(REJECTS, vec![("reason_code", code), ("trust_root", root)]);
            }
        }
    }

    /// The Trust Authority's keys were fetched, or could not be.
    pub fn keys_refreshed(&self, fetched: bool) {
        let result = if fetched { "success" } else { "failure" };
        self.count(REFRESHES, "result", result);
    }

    /// A Trust Authority was asked: `success`, `refused` (the evidence), or `failure`.
    pub fn authority_asked(&self, call: Authority, result: &'static str) {
        let call = match call {
            Authority::Nonce => "nonce",
            Authority::Token => "token",
            Authority::Keys => "keys",
        };
        self.add(AUTHORITY, vec![("call", call), ("result", result)]);
    }

    /// An address was asked for collateral.
    pub fn collateral_fetched(&self, fetch: CollateralFetch) {
        self.count(COLLATERAL, "result", fetch.as_str());
    }

    /// A nonce was handed out.
    pub fn nonce_issued(&self) {
        self.add(ISSUED, Vec::new());
    }

    /// A nonce was used up.
    pub fn nonce_consumed(&self) {
        self.add(CONSUMED, Vec::new());
    }

    /// A nonce was refused.
    pub fn nonce_refused(&self, code: ReasonCode) {
        if code == ReasonCode::NonceExpired {
            self.add(EXPIRED, Vec::new());
        }
    }

    /// The counters in the text format of Prometheus.
    pub fn text(&self) -> String {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for name in ALL {
            let _ = writeln!(text, "# TYPE {name} counter");
            for ((counted, labels), number) in counters.iter() {
                if *counted == name {
                    let _ = writeln!(text, "{name}{} {number}", braced(labels));
                }
            }
        }
        text
    }

    fn count(&self, name: &'static str, label: &'static str, value: &'static str) {
        self.add(name, vec![(label, value)]);
    }

    fn add(&self, name: &'static str, labels: Labels) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counters.entry((name, labels)).or_default() += 1;
    }
}

/// Under which kind of root a platform was seen to be, if that was seen.
fn kind(root: Option<RootKeyId>) -> &'static str {
    match root {
        Some(root) if root.is_simulated() => "simulated",
        Some(_) => "intel",
        None => "unknown",
    }
}

fn braced(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<_> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{value}\""))
        .collect();
    format!("{{{}}}", pairs.join(","))
}
