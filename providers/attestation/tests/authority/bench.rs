//! What the tests share: a Trust Authority, a client of it, a guest, and a policy that wants a token.

use easyenclave_attestation::simulated::{Platform, TdBody};
use easyenclave_attestation::testing::authority::{API_KEY, Authority};
use easyenclave_attestation::testing::{self};
use easyenclave_attestation::{
    Binding, Case, Collateral, ItaClient, ItaError, Policy, TokenKeys, TrustAuthority,
    token_key_id, verify,
};
use easyenclave_schemas::documents::{ItaSpec, ItaVersion, SigningAlgorithm};
use easyenclave_schemas::evidence::{Evidence, QuoteBytes, ReasonCode, Rejection, Verdict};
use easyenclave_schemas::{Secret, Timestamp};

pub(crate) fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().expect("a time")
}

pub(crate) struct Bench {
    pub(crate) authority: Authority,
    pub(crate) client: ItaClient,
    pub(crate) platform: Platform,
    pub(crate) body: TdBody,
    pub(crate) collateral: Collateral,
    pub(crate) policy: Policy,
}

/// Evidence, and what it has to be bound to.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) evidence: Evidence,
    pub(crate) binding: Binding,
}

pub(crate) fn client(key: &str) -> ItaClient {
    let _ = rustls::crypto::ring::default_provider().install_default();
    ItaClient::new(Some(&Secret::new(key.into()))).expect("a client")
}

impl Bench {
    /// A policy that wants a version 2 token, signed as by default, and nothing else.
    pub(crate) async fn new() -> Self {
        Self::of(ItaVersion::V2, SigningAlgorithm::PS384).await
    }

    pub(crate) async fn of(version: ItaVersion, algorithm: SigningAlgorithm) -> Self {
        let authority = Authority::start(now()).await;
        let platform = testing::platform(now()).expect("a platform");
        let body = TdBody::of_image("small");
        let mut policy = testing::policy(&platform, &body);
        policy.dcap = false;
        policy.ita = Some(authority.settings(version, algorithm));
        Self {
            client: client(API_KEY),
            collateral: platform.collateral(now()).expect("collateral"),
            authority,
            platform,
            body,
            policy,
        }
    }

    pub(crate) fn settings(&self) -> &ItaSpec {
        self.policy.ita.as_ref().expect("the policy wants a token")
    }

    pub(crate) fn settings_mut(&mut self) -> &mut ItaSpec {
        self.policy.ita.as_mut().expect("the policy wants a token")
    }

    /// A quote over a fresh nonce, without a token.
    pub(crate) async fn show(&self) -> Result<Shown, ItaError> {
        let nonce = self.client.nonce(self.settings()).await?;
        let binding = Binding {
            nonce: [1; 32],
            ita: Some(nonce),
            public_key: [2; 32],
        };
        let data = binding.report_data().expect("a nonce");
        let quote = self
            .platform
            .guest()
            .quote(data, &self.body)
            .expect("a quote");
        Ok(Shown {
            evidence: Evidence::of_quote(QuoteBytes::new(quote).expect("short")),
            binding,
        })
    }

    /// A quote with its token.
    pub(crate) async fn mint(&self) -> Result<Shown, ItaError> {
        let mut shown = self.show().await?;
        let nonce = shown.binding.ita.as_ref().expect("a nonce");
        let key = &shown.binding.public_key;
        let token = self
            .client
            .token(self.settings(), &shown.evidence, nonce, key);
        shown.evidence.token = Some(token.await?);
        Ok(shown)
    }

    /// The keys for what is shown.
    pub(crate) async fn keys(&self, shown: &Shown, now: Timestamp) -> Result<TokenKeys, ItaError> {
        let token = shown.evidence.token.as_ref();
        let key_id = token.and_then(|token| token_key_id(token.as_bytes()));
        self.client
            .keys(self.settings(), key_id.as_deref(), now)
            .await
    }

    /// All that a reconciler does with an agent that has done nothing wrong.
    pub(crate) async fn attempt(&self) -> Result<Verdict, Rejection> {
        self.attempt_at(now()).await
    }

    pub(crate) async fn attempt_at(&self, now: Timestamp) -> Result<Verdict, Rejection> {
        let shown = self.mint().await?;
        let keys = self.keys(&shown, now).await?;
        self.judge(&shown, Some(&keys), now)
    }

    pub(crate) fn judge(
        &self,
        shown: &Shown,
        keys: Option<&TokenKeys>,
        now: Timestamp,
    ) -> Result<Verdict, Rejection> {
        verify(&Case {
            evidence: &shown.evidence,
            binding: &shown.binding,
            nonce: Ok(()),
            collateral: Some(&self.collateral),
            token_keys: keys,
            policy: &self.policy,
            now,
        })
    }

    /// The code that the next attempt is refused with.
    pub(crate) async fn refusal(&self) -> ReasonCode {
        self.attempt().await.expect_err("refused").code
    }
}
