//! Counters since the start, for whoever scrapes them. They decide nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use easyenclave_schemas::evidence::{ReasonCode, Rejection, Verdict};

/// What is counted; every copy counts together.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Counters>>);

/// By name, label and its value.
type Counters = BTreeMap<(&'static str, &'static str, &'static str), u64>;

const ATTEMPTS: &str = "attestation_registration_attempt_total";
const REJECTS: &str = "attestation_registration_reject_total";
const ACCEPTS: &str = "attestation_registration_accept_total";
const WARNINGS: &str = "attestation_warning_total";
const ISSUED: &str = "attestation_nonce_issued_total";
const CONSUMED: &str = "attestation_nonce_consumed_total";
const EXPIRED: &str = "attestation_nonce_expired_total";
const REFRESHES: &str = "attestation_jwks_refresh_total";
const ALL: [&str; 8] = [
    ATTEMPTS, REJECTS, ACCEPTS, WARNINGS, ISSUED, CONSUMED, EXPIRED, REFRESHES,
];

impl Metrics {
    /// An attempt to be trusted ended. Simulated and real platforms are never one number, and what was let pass
    /// is counted too.
    pub fn attempt(&self, result: Result<&Verdict, &Rejection>) {
        match result {
            Ok(verdict) => {
                let root = if verdict.simulated {
                    "simulated"
                } else {
                    "intel"
                };
                self.count(ATTEMPTS, "result", "accepted");
                self.count(ACCEPTS, "trust_root", root);
                for warning in &verdict.warnings {
                    self.count(WARNINGS, "reason_code", warning.code.code());
                }
            }
            Err(rejection) => {
                self.count(ATTEMPTS, "result", "rejected");
                self.count(REJECTS, "reason_code", rejection.code.code());
            }
        }
    }

    /// The Trust Authority's keys were fetched, or could not be.
    pub fn keys_refreshed(&self, fetched: bool) {
        let result = if fetched { "success" } else { "failure" };
        self.count(REFRESHES, "result", result);
    }

    /// A nonce was handed out.
    pub fn nonce_issued(&self) {
        self.count(ISSUED, "", "");
    }

    /// A nonce was used up.
    pub fn nonce_consumed(&self) {
        self.count(CONSUMED, "", "");
    }

    /// A nonce was refused.
    pub fn nonce_refused(&self, code: ReasonCode) {
        if code == ReasonCode::NonceExpired {
            self.count(EXPIRED, "", "");
        }
    }

    /// The counters in the text format of Prometheus.
    pub fn text(&self) -> String {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for name in ALL {
            let _ = writeln!(text, "# TYPE {name} counter");
            for ((counted, label, value), number) in counters.iter() {
                if *counted != name {
                    continue;
                }
                let _ = match *label {
                    "" => writeln!(text, "{name} {number}"),
                    label => writeln!(text, "{name}{{{label}=\"{value}\"}} {number}"),
                };
            }
        }
        text
    }

    fn count(&self, name: &'static str, label: &'static str, value: &'static str) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counters.entry((name, label, value)).or_default() += 1;
    }
}
