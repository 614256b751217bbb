//! From evidence to a verdict: fetches what verification needs, then verifies, on threads of its own. What cannot
//! be fetched, and an attempt too many, is never the evidence's fault, and says so with a code of its own. Nobody
//! waits without end, and nothing piles up without a bound.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use easyenclave_attestation::{
    Again, Binding, Case, Collateral, CollateralSource, PlatformFacts, Policy, Stock, TokenKeys,
    TrustAuthority, TrustRoot, judge_again, token_key_id, token_settings, verify, vouches,
};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::{ItaSpec, Mint};
use easyenclave_schemas::evidence::{
    Evidence, ItaNonce, JudgedPolicy, ReasonCode, Rejection, RootKeyId, Verdict,
};
use easyenclave_schemas::records::TrustRecord;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::filing::{Filing, Judgement};
use super::heard::Heard;
use crate::metrics::Metrics;
use crate::revision::{Applied, Revision};

/// What verification needs is not waited for longer. An agent waits 15 seconds for its answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The most attempts in hand. Each holds its evidence in memory; one too many is told to come again.
pub const IN_HAND: usize = 1024;

/// Judges evidence.
#[derive(Clone)]
pub struct Judge {
    sources: Sources,
    authority: Arc<Heard>,
    in_hand: Arc<Semaphore>,
    /// One verification is a millisecond of arithmetic: as many at a time as there are cores.
    cores: Arc<Semaphore>,
}

/// Where collateral comes from. The root that a policy names decides which is asked, and nothing else does.
#[derive(Clone)]
pub struct Sources {
    /// For platforms under a simulated root.
    pub simulated: Arc<dyn CollateralSource>,
    /// For platforms under Intel's root.
    pub intel: Arc<dyn CollateralSource>,
}

impl Sources {
    fn under(&self, root: &TrustRoot) -> &dyn CollateralSource {
        match root {
            TrustRoot::Simulated(_) => self.simulated.as_ref(),
            TrustRoot::Intel => self.intel.as_ref(),
        }
    }
}

/// Evidence with all that it was judged by, so that it can be judged again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exhibit {
    /// What the agent showed, with the token that was asked for.
    pub evidence: Evidence,
    /// What it had to be bound to.
    pub binding: BoundTo,
    /// What was wrong with the nonce before anything else was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce_failure: Option<ReasonCode>,
    /// What the platform's vendor said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collateral: Option<Collateral>,
    /// The Trust Authority's keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_keys: Option<TokenKeys>,
    /// The policy that was applied.
    pub policy: JudgedPolicy,
    /// When.
    pub at: Timestamp,
}

/// What evidence has to be bound to, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundTo {
    /// The nonce, 64 hex digits.
    pub nonce: String,
    /// The Trust Authority's nonce, which the quote binds instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ita: Option<ItaNonce>,
    /// The agent's key, 64 hex digits.
    pub public_key: String,
}

impl Judge {
    /// A judge that asks these, and counts how that went.
    pub fn new(sources: Sources, authority: Arc<dyn TrustAuthority>, metrics: Metrics) -> Self {
        Self {
            sources,
            authority: Arc::new(Heard::new(authority, metrics)),
            in_hand: Arc::new(Semaphore::new(IN_HAND)),
            cores: Arc::new(Semaphore::new(
                available_parallelism().map_or(1, Into::into),
            )),
        }
    }

    /// A place among the attempts in hand, to be kept until the attempt is over.
    ///
    /// # Errors
    /// When all are taken.
    pub(crate) fn enter(&self) -> Result<SemaphorePermit<'_>, Rejection> {
        self.in_hand.try_acquire().map_err(|_| {
            Rejection::new(
                ReasonCode::DependencyUnavailable,
                "the reconciler is busy with other attempts; try again in a moment",
            )
        })
    }

    /// The Trust Authority that is asked for nonces.
    pub(crate) fn authority(&self) -> &dyn TrustAuthority {
        self.authority.as_ref()
    }

    /// What is kept of collateral and can run out.
    pub(crate) fn stock(&self, now: Timestamp) -> Vec<Stock> {
        let Sources { simulated, intel } = &self.sources;
        let mut stock = intel.stock(now);
        stock.extend(simulated.stock(now));
        stock
    }

    /// What is wrong with Trust Authorities, by address.
    pub(crate) fn outages(&self) -> BTreeMap<String, String> {
        self.authority.outages()
    }

    /// Adds to an exhibit what its policy's verifiers need.
    ///
    /// # Errors
    /// When something cannot be fetched in time, or the evidence says too little to know what to fetch.
    pub(crate) async fn complete(
        &self,
        exhibit: &mut Exhibit,
        policy: &Policy,
    ) -> Result<(), Rejection> {
        let fetched = timeout(PATIENCE, self.fetch(exhibit, policy)).await;
        let fetched = fetched.unwrap_or_else(|_| {
            Err(Rejection::new(
                ReasonCode::DependencyUnavailable,
                "what verification needs did not come in time",
            ))
        });
        match fetched {
            Err(rejection) if rejection.code.is_of_evidence() => {
                Err(rejection.under(self.seen(exhibit, policy).await))
            }
            fetched => fetched,
        }
    }

    /// The root of a policy, where it vouches for evidence that was refused before it was verified.
    async fn seen(&self, exhibit: &Exhibit, policy: &Policy) -> Option<RootKeyId> {
        let (evidence, at) = (exhibit.evidence.clone(), exhibit.at);
        let collateral = exhibit.collateral.clone();
        let root = policy.trust_root.key_id();
        let vouched = self.compute(move || vouches(root, &evidence, collateral.as_ref(), at));
        vouched.await.unwrap_or(false).then_some(root)
    }

    /// Verifies, off the threads that answer requests.
    ///
    /// # Errors
    /// A rejection with the first reason that was found; [`ReasonCode::Internal`] when verification broke off.
    pub(crate) async fn verify(
        &self,
        exhibit: &Arc<Exhibit>,
        applied: &Arc<Applied>,
        now: Timestamp,
    ) -> Result<Verdict, Rejection> {
        let (exhibit, applied) = (Arc::clone(exhibit), Arc::clone(applied));
        let verified = self.compute(move || exhibit.judge(&applied.policy, now));
        let broke_off = Err(ReasonCode::Internal.into());
        verified.await.unwrap_or(broke_off)
    }

    /// What another policy says of evidence that was shown before, which then was found to be `before`.
    pub(crate) async fn again(
        &self,
        exhibit: Exhibit,
        applied: Arc<Applied>,
        before: &TrustRecord,
    ) -> Again {
        let before = match before {
            TrustRecord::Accepted(verdict) => Some(verdict.clone()),
            TrustRecord::Refused { .. } => None,
        };
        let judged = self.compute(move || exhibit.again(&applied.policy, before.as_deref()));
        judged.await.unwrap_or(Again::Unknown)
    }

    /// What is to be kept of a judgement, sealed where judging is done. None when that broke off.
    pub(crate) async fn file(&self, judgement: Judgement, revision: &Revision) -> Option<Filing> {
        let (spec, sealer) = (revision.evidence.clone(), revision.sealer.clone());
        let file = move || Filing::of(judgement, &spec, sealer);
        self.compute(file).await
    }

    /// Verification has cores to wait for, and threads of its own. None when it broke off.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let _core = self.cores.acquire().await.expect("never closed");
        let done = spawn_blocking(work).await;
        let broke_off = |error: &_| {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "verification broke off"
            )
        };
        done.inspect_err(broke_off).ok()
    }

    async fn fetch(&self, exhibit: &mut Exhibit, policy: &Policy) -> Result<(), Rejection> {
        if policy.dcap {
            let facts = PlatformFacts::under(&policy.trust_root, &exhibit.evidence)?;
            let source = self.sources.under(&policy.trust_root);
            exhibit.collateral = Some(source.collateral(&facts, exhibit.at).await?);
        }
        if let Some(settings) = &policy.ita {
            self.mint(exhibit, settings).await?;
            let token = exhibit.evidence.token.as_ref();
            let key_id = token.and_then(|token| token_key_id(token.as_bytes()));
            let keys = self.authority.keys(settings, key_id.as_deref(), exhibit.at);
            exhibit.token_keys = Some(keys.await?);
        }
        Ok(())
    }

    async fn mint(&self, exhibit: &mut Exhibit, settings: &ItaSpec) -> Result<(), Rejection> {
        if settings.mint == Mint::Agent {
            return Ok(());
        }
        let binding = exhibit.binding.parse()?;
        let nonce = binding.ita.as_ref().ok_or(ReasonCode::NonceMissing)?;
        let asked = self
            .authority
            .token(settings, &exhibit.evidence, nonce, &binding.public_key);
        exhibit.evidence.token = Some(asked.await?);
        Ok(())
    }
}

impl Exhibit {
    /// Judges it at `now` under `policy`. The same exhibit gives the same answer at any real time.
    ///
    /// # Errors
    /// A rejection with the first reason that was found.
    pub fn judge(&self, policy: &Policy, now: Timestamp) -> Result<Verdict, Rejection> {
        verify(&self.case(&self.bound()?, policy, now))
    }

    /// What another policy says of it as of when it was shown; `before` is the verdict of then, if it was accepted.
    /// A token that was asked for under other settings is not there for this policy.
    pub fn again(&self, policy: &Policy, before: Option<&Verdict>) -> Again {
        let binding = match self.bound() {
            Ok(binding) => binding,
            Err(rejection) => return Again::Refuses(rejection),
        };
        let case = self.case(&binding, policy, self.at);
        let asked = self.policy.spec.verifiers.ita.as_ref().map(token_settings);
        let same = asked == policy.ita.as_ref().map(token_settings);
        let token_keys = case.token_keys.filter(|_| same);
        judge_again(&Case { token_keys, ..case }, before)
    }

    fn bound(&self) -> Result<Binding, Rejection> {
        match (self.binding.parse(), self.nonce_failure) {
            (Err(_), Some(_)) => self.binding.unbound(),
            (binding, _) => binding,
        }
    }

    fn case<'a>(&'a self, binding: &'a Binding, policy: &'a Policy, now: Timestamp) -> Case<'a> {
        Case {
            evidence: &self.evidence,
            binding,
            nonce: self.nonce_failure.map_or(Ok(()), Err),
            collateral: self.collateral.as_ref(),
            token_keys: self.token_keys.as_ref(),
            policy,
            now,
        }
    }
}

impl BoundTo {
    /// The bytes of it.
    ///
    /// # Errors
    /// When nonce or key are not 64 hex digits.
    pub fn parse(&self) -> Result<Binding, Rejection> {
        Ok(Binding {
            nonce: bytes(&self.nonce, ReasonCode::NonceUnknown)?,
            ita: self.ita.clone(),
            public_key: bytes(&self.public_key, ReasonCode::SignatureInvalid)?,
        })
    }

    /// For a nonce that failed before and may be no nonce at all. Nothing is compared with it: its failure comes
    /// first, and is refused or let pass as the policy says.
    fn unbound(&self) -> Result<Binding, Rejection> {
        Ok(Binding {
            nonce: [0; 32],
            ita: self.ita.clone(),
            public_key: bytes(&self.public_key, ReasonCode::SignatureInvalid)?,
        })
    }
}

fn bytes(text: &str, code: ReasonCode) -> Result<[u8; 32], Rejection> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| Rejection::from(code))?;
    Ok(bytes)
}
