//! What the tests share: one simulated platform, one guest on it, one policy that accepts it.

use easyenclave_attestation::simulated::{Platform, TdBody};
use easyenclave_attestation::testing::{self, Fault, judge};
use easyenclave_attestation::{Binding, Collateral, Policy, report_data};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{Evidence, QuoteBytes, Rejection, Verdict};

pub(crate) fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().expect("a time")
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
            ita: None,
            nonce: [1; 32],
            public_key: [2; 32],
        };
        Self {
            quote: platform
                .guest()
                .quote(data(&binding), &body)
                .expect("a quote"),
            collateral: platform.collateral(now()).expect("collateral"),
            policy: testing::policy(&platform, &body),
            platform,
            body,
            binding,
        }
    }

    pub(crate) fn evidence(&self) -> Evidence {
        evidence(&self.quote)
    }

    pub(crate) fn faulty(&self, fault: Fault) -> Evidence {
        let quote = testing::faulty_quote(
            self.platform.guest(),
            data(&self.binding),
            &self.body,
            fault,
        );
        evidence(&quote.expect("a quote"))
    }

    pub(crate) fn verify(&self, evidence: &Evidence) -> Result<Verdict, Rejection> {
        judge(
            evidence,
            &self.binding,
            &self.collateral,
            &self.policy,
            now(),
        )
    }

    pub(crate) fn refusal(&self, evidence: &Evidence) -> Rejection {
        self.verify(evidence).expect_err("refused")
    }
}

pub(crate) fn data(binding: &Binding) -> [u8; 64] {
    report_data(&binding.nonce, &binding.public_key)
}

pub(crate) fn evidence(quote: &[u8]) -> Evidence {
    Evidence::of_quote(QuoteBytes::new(quote.to_vec()).expect("short enough"))
}
