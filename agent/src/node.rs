//! What the parts of one agent share: who it is, what it should run, what runs, how it is trusted. Every
//! value has one writer, named at its field.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use easyenclave_attestation::simulated::{Guest, SimulatedSource, TdBody};
use easyenclave_attestation::{QuoteSource, collect, collect_for_ita};
use easyenclave_schemas::evidence::{Evidence, Verdict};
use easyenclave_schemas::signature::{Keypair, ReplayGuard};
use easyenclave_schemas::wire::{
    AgentActivity, AgentConfig, AgentHealth, CallRefusal, CallRefusals, Challenge, PlatformConfig,
    VerdictSummary, WorkloadReport, WorkloadState,
};
use easyenclave_schemas::{AgentId, Epoch, Timestamp};
use tokio::sync::watch;

use crate::client::{Client, WINDOW};
use crate::instructions::{Instructions, Wanted};
use crate::{clock, config};

/// So many signed calls are remembered within the time in which they could be replayed.
const CALLS: usize = 4096;

/// The agent's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One agent.
pub(crate) struct Node {
    pub(crate) config: AgentConfig,
    pub(crate) id: AgentId,
    /// Made at the start and never written: another process is another agent.
    pub(crate) keypair: Arc<Keypair>,
    pub(crate) client: Client,
    pub(crate) boot_id: String,
    /// Where the agent's own API answers.
    pub(crate) address: String,
    source: Arc<dyn QuoteSource>,
    inbox: Mutex<Inbox>,
    /// Written by the API.
    pub(crate) wanted: watch::Sender<Wanted>,
    /// Written by whoever runs the workload.
    pub(crate) workload: watch::Sender<Option<WorkloadReport>>,
    trust: Mutex<Trust>,
    /// Written by the API.
    refusals: Mutex<CallRefusals>,
}

/// What guards the way in. Written by the API; epochs also come with answers.
pub(crate) struct Inbox {
    pub(crate) instructions: Instructions,
    pub(crate) replays: ReplayGuard,
}

#[derive(Default)]
struct Trust {
    registered: bool,
    verdict: Option<Verdict>,
    until: Option<Timestamp>,
}

impl Node {
    /// An agent that knows nobody yet, with a new key.
    pub(crate) fn new(config: AgentConfig, address: String) -> anyhow::Result<Self> {
        let keypair = Arc::new(Keypair::generate()?);
        let client = Client::new(
            &config,
            Arc::clone(&keypair),
            config::reconciler_key(&config)?,
        )?;
        let id = config.order_id.agent();
        Ok(Self {
            source: source(&config)?,
            client,
            boot_id: clock::unique(),
            address,
            inbox: Mutex::new(Inbox {
                instructions: Instructions::new(id.clone()),
                replays: ReplayGuard::new(WINDOW, CALLS),
            }),
            wanted: watch::Sender::default(),
            workload: watch::Sender::default(),
            trust: Mutex::default(),
            refusals: Mutex::default(),
            keypair,
            id,
            config,
        })
    }

    /// Evidence for a challenge. A quote can take a second, so it is made on a thread of its own.
    pub(crate) async fn evidence(&self, challenge: &Challenge) -> anyhow::Result<Evidence> {
        let mut nonce = [0; 32];
        hex::decode_to_slice(&challenge.nonce, &mut nonce)
            .map_err(|_| anyhow::anyhow!("the nonce of the challenge is not 64 hex digits"))?;
        let (source, key) = (Arc::clone(&self.source), *self.keypair.public().as_bytes());
        let ita = challenge.ita.clone();
        if ita.as_ref().is_some_and(|ita| ita.mint.is_some()) {
            anyhow::bail!(
                "the policy wants agents to ask Intel Trust Authority, and this one has no key for it"
            );
        }
        let made = tokio::task::spawn_blocking(move || match ita {
            Some(ita) => collect_for_ita(source.as_ref(), &ita.nonce, &key),
            None => collect(source.as_ref(), &nonce, &key),
        });
        Ok(made.await??)
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.inbox)
    }

    /// Notes an epoch of an answer. Tells whether the answer counts.
    pub(crate) fn see(&self, epoch: Epoch) -> bool {
        self.inbox().instructions.see(epoch)
    }

    /// Notes what verification said.
    pub(crate) fn accepted(&self, verdict: Verdict) {
        let mut trust = lock(&self.trust);
        trust.registered = true;
        trust.until = Some(verdict.trusted_until);
        trust.verdict = Some(verdict);
    }

    /// Notes until when the reconciler trusts this agent, if it does.
    pub(crate) fn trusted(&self, until: Option<Timestamp>) {
        lock(&self.trust).until = until;
    }

    /// Notes that a call was refused. A flood of them gives few lines in the log, and nothing that the
    /// caller wrote.
    pub(crate) fn refused(&self, reason: CallRefusal) {
        let count = lock(&self.refusals).add(reason);
        if count.is_power_of_two() {
            tracing::warn!(code = reason.code(), count, "calls refused");
        }
    }

    /// What was refused since the start.
    pub(crate) fn refusals(&self) -> CallRefusals {
        lock(&self.refusals).clone()
    }

    /// What anybody may know.
    pub(crate) fn health(&self) -> AgentHealth {
        let trust = lock(&self.trust);
        let verdict = trust.verdict.as_ref().zip(trust.until);
        AgentHealth {
            agent_id: self.id.clone(),
            boot_id: self.boot_id.clone(),
            version: VERSION.into(),
            phase: if trust.registered {
                self.activity()
            } else {
                AgentActivity::Registering
            },
            verdict: verdict.map(|(verdict, trusted_until)| VerdictSummary {
                simulated: verdict.simulated,
                trust_root: verdict.trust_root,
                tcb_status: verdict.tcb_status,
                trusted_until,
            }),
        }
    }

    fn activity(&self) -> AgentActivity {
        let state = self
            .workload
            .borrow()
            .as_ref()
            .map(|workload| workload.state);
        let wanted = self.wanted.borrow().assignment.is_some();
        match (state, wanted) {
            (None, false) => AgentActivity::Idle,
            (Some(_), false) | (Some(WorkloadState::Stopping), true) => AgentActivity::Draining,
            (Some(WorkloadState::Ready | WorkloadState::Completed), true) => AgentActivity::Running,
            (_, true) => AgentActivity::Deploying,
        }
    }
}

fn source(config: &AgentConfig) -> anyhow::Result<Arc<dyn QuoteSource>> {
    match &config.platform {
        PlatformConfig::Simulated { dir } => {
            let body = TdBody::of_image(config.node_size.as_str());
            Ok(Arc::new(SimulatedSource::new(Guest::open(dir)?, body)))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
