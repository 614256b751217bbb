//! What the tests of verification share: one simulated platform, one guest on it, one policy that accepts it.

use easyenclave_attestation::simulated::{Platform, TdBody};
use easyenclave_attestation::{Binding, Collateral, Policy, report_data, testing, verify};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{Evidence, QuoteBytes, ReasonCode, Rejection, Verdict};

pub(crate) const NOW: &str = "2026-05-01T12:00:00Z";

pub(crate) fn now() -> Timestamp {
    NOW.parse().expect("a time")
}

pub(crate) struct Bench {
    pub(crate) platform: Platform,
    pub(crate) body: TdBody,
    pub(crate) binding: Binding,
    pub(crate) quote: Vec<u8>,
    pub(crate) collateral: Collateral,
    pub(crate) policy: Policy,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let platform = testing::platform(now()).expect("a platform");
        let body = TdBody::of_image("small");
        let binding = Binding {
            nonce: [1; 32],
            public_key: [2; 32],
        };
        let data = report_data(&binding.nonce, &binding.public_key);
        Self {
            quote: platform.guest().quote(data, &body).expect("a quote"),
            collateral: platform.collateral(now()).expect("collateral"),
            policy: testing::policy(&platform, &body),
            platform,
            body,
            binding,
        }
    }

    pub(crate) fn evidence(&self) -> Evidence {
        bytes(&self.quote)
    }

    pub(crate) fn verify(&self, evidence: &Evidence) -> Result<Verdict, Rejection> {
        verify(
            evidence,
            &self.binding,
            &self.collateral,
            &self.policy,
            now(),
        )
    }
}

pub(crate) fn bytes(quote: &[u8]) -> Evidence {
    Evidence {
        quote: QuoteBytes::new(quote.to_vec()).expect("short enough"),
    }
}
