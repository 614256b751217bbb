//! Intel's service of collateral (PCS), or a cache of it (PCCS), for tests: real HTTP on loopback, the documented
//! protocol, and faults on demand. It serves whatever collateral it is given, simulated or recorded.

mod http;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::{Collateral, PlatformFacts};

/// A service that runs until it is dropped.
pub struct Pcs {
    address: SocketAddr,
    state: Arc<State>,
    server: AbortHandle,
}

/// What was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// TCB levels.
    TcbInfo,
    /// The quoting enclave's identity.
    QeIdentity,
    /// The revocation list of those who certify platforms.
    PckCrl,
    /// The root's revocation list, as a cache has it.
    RootCrl,
    /// The same, as Intel publishes it.
    PublishedRootCrl,
    /// Anything else.
    Other,
}

/// What is wrong with an answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status, and nothing else.
    Status(u16),
    /// This status, and a wish to be left alone for so many seconds.
    RetryAfter(u16, u64),
    /// The wish that it be asked for elsewhere.
    Moved(String),
    /// The answer comes after so long.
    Slow(Duration),
    /// No answer, ever.
    Silent,
    /// A good status with this body, and with the issuers that belong there.
    Body(Vec<u8>),
    /// A good status and more bytes than anybody should read.
    Huge(usize),
    /// The fields of the signed document come in another order.
    Reordered,
    /// The issuers are left out.
    WithoutIssuers,
    /// A line feed after the list in hexadecimal.
    LineFeed,
    /// A list as DER where hexadecimal is usual.
    Der,
}

#[derive(Default)]
struct State(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    serves: Vec<(PlatformFacts, Collateral)>,
    faults: VecDeque<(Part, Fault)>,
    always: Vec<(Part, Fault)>,
    arrived: Vec<(Part, String)>,
}

impl Pcs {
    /// Starts one that knows no platform.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback is there");
        let address = listener.local_addr().expect("it listens");
        let state = Arc::<State>::default();
        let app = http::routes(Arc::clone(&state));
        let serve = async move { axum::serve(listener, app).await };
        let server = tokio::spawn(serve).abort_handle();
        Self {
            address,
            state,
            server,
        }
    }

    /// Its base.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it publishes the root's revocation list as Intel does.
    pub fn root_crl(&self) -> String {
        format!("{}/IntelSGXRootCA.der", self.base())
    }

    /// Serves this collateral for this platform from now on.
    pub fn serves(&self, platform: PlatformFacts, collateral: &Collateral) {
        let serves = &mut self.state.inner().serves;
        serves.retain(|(known, _)| *known != platform);
        serves.push((platform, collateral.clone()));
    }

    /// The next request for this part meets a fault.
    pub fn next(&self, part: Part, fault: Fault) {
        self.state.inner().faults.push_back((part, fault));
    }

    /// Every request for this part meets a fault from now on; `None` ends that.
    pub fn always(&self, part: Part, fault: Option<Fault>) {
        let always = &mut self.state.inner().always;
        always.retain(|(of, _)| *of != part);
        always.extend(fault.map(|fault| (part, fault)));
    }

    /// How many requests for this part have arrived.
    pub fn count(&self, part: Part) -> usize {
        let inner = self.state.inner();
        inner.arrived.iter().filter(|(of, _)| *of == part).count()
    }

    /// Paths and queries of all that have arrived, in order.
    pub fn arrived(&self) -> Vec<String> {
        let inner = self.state.inner();
        inner.arrived.iter().map(|(_, path)| path.clone()).collect()
    }
}

impl Drop for Pcs {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The fault that a request for this part meets.
    fn fault(&mut self, part: Part) -> Option<Fault> {
        let next = self.faults.iter().position(|(of, _)| *of == part);
        if let Some((_, fault)) = next.and_then(|at| self.faults.remove(at)) {
            return Some(fault);
        }
        let always = self.always.iter().find(|(of, _)| *of == part);
        always.map(|(_, fault)| fault.clone())
    }
}
