//! A Trust Authority for tests: real HTTP on loopback, the documented protocol in both versions, and faults on demand.
//! It checks what the real one checks of binding and policies, but no quote's signature. Its keys are in the
//! repository, so nothing that it signs is worth anything.

mod faults;
mod http;
mod token;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::{ItaSpec, ItaVersion, SigningAlgorithm};
use easyenclave_schemas::evidence::ItaNonce;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub use faults::{Claim, Fault, Kind};
pub use token::Signer;

/// The key that it takes.
pub const API_KEY: &str = "a-key-for-tests-0123456789";

/// How long its tokens live.
pub const TOKEN_LIFE: Duration = Duration::from_secs(300);

/// A Trust Authority that runs until it is dropped.
pub struct Authority {
    address: SocketAddr,
    state: Arc<State>,
    server: AbortHandle,
}

/// One request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// What was asked.
    pub kind: Kind,
    /// The path.
    pub path: String,
    /// The key that came with it.
    pub api_key: Option<String>,
    /// The media type that was asked for.
    pub accept: Option<String>,
    /// The number that it carries.
    pub request_id: Option<String>,
}

/// What it knows and is told to do.
struct State {
    now: Mutex<Timestamp>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    faults: VecDeque<(Kind, Fault)>,
    always: Vec<(Kind, Fault)>,
    arrived: Vec<Arrived>,
    nonces: Vec<ItaNonce>,
    policies: BTreeSet<String>,
    /// Names of keys that its key set has.
    published: Vec<Signer>,
    signs_with: Option<Signer>,
    claims: Vec<Claim>,
}

impl Authority {
    /// Starts one whose clock stands at `now`.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub async fn start(now: Timestamp) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback is there");
        let address = listener.local_addr().expect("it listens");
        let inner = Inner {
            published: vec![Signer::First],
            ..Inner::default()
        };
        let state = Arc::new(State {
            now: Mutex::new(now),
            inner: Mutex::new(inner),
        });
        let app = http::routes(Arc::clone(&state), issuer(address));
        let serve = async move { axum::serve(listener, app).await };
        let server = tokio::spawn(serve).abort_handle();
        Self {
            address,
            state,
            server,
        }
    }

    /// The settings that name it.
    pub fn settings(&self, version: ItaVersion, algorithm: SigningAlgorithm) -> ItaSpec {
        ItaSpec {
            api_url: issuer(self.address),
            jwks_url: format!("{}/certs", issuer(self.address)),
            issuer: issuer(self.address),
            version,
            algorithm,
            ..ItaSpec::default()
        }
    }

    /// Sets its clock.
    pub fn set_now(&self, now: Timestamp) {
        *self
            .state
            .now
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// The next request of this kind meets a fault.
    pub fn next(&self, kind: Kind, fault: Fault) {
        self.state.inner().faults.push_back((kind, fault));
    }

    /// Every request of this kind meets a fault from now on; `None` ends that.
    pub fn always(&self, kind: Kind, fault: Option<Fault>) {
        let always = &mut self.state.inner().always;
        always.retain(|(of, _)| *of != kind);
        always.extend(fault.map(|fault| (kind, fault)));
    }

    /// Tokens say this from now on, beside or instead of the truth.
    pub fn says(&self, claim: Claim) {
        self.state.inner().claims.push(claim);
    }

    /// Tokens are honest again.
    pub fn is_honest(&self) {
        self.state.inner().claims.clear();
    }

    /// A policy that matches whatever is shown.
    pub fn knows_policy(&self, id: &str) {
        self.state.inner().policies.insert(id.into());
    }

    /// Tokens are signed with this key from now on, whether or not the key set has it.
    pub fn signs_with(&self, signer: Signer) {
        self.state.inner().signs_with = Some(signer);
    }

    /// What its key set has from now on.
    pub fn publishes(&self, signers: &[Signer]) {
        self.state.inner().published = signers.to_vec();
    }

    /// How many requests of this kind have arrived.
    pub fn count(&self, kind: Kind) -> usize {
        let inner = self.state.inner();
        inner
            .arrived
            .iter()
            .filter(|arrived| arrived.kind == kind)
            .count()
    }

    /// All that have arrived, in order.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.state.inner().arrived.clone()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The fault that a request of this kind meets.
    fn fault(&mut self, kind: Kind) -> Option<Fault> {
        let next = self.faults.iter().position(|(of, _)| *of == kind);
        if let Some((_, fault)) = next.and_then(|at| self.faults.remove(at)) {
            return Some(fault);
        }
        let always = self.always.iter().find(|(of, _)| *of == kind);
        always.map(|(_, fault)| fault.clone())
    }
}

fn issuer(address: SocketAddr) -> String {
    format!("http://{address}")
}
