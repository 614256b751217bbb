//! What the parts of one agent share: who it is, what it should run, what runs, how it is trusted. Every
//! value has one writer, named at its field.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use easyenclave_attestation::{collect, collect_for_ita};
use easyenclave_processes::Memory;
use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::evidence::{Evidence, Verdict};
use easyenclave_schemas::signature::{Keypair, ReplayGuard};
use easyenclave_schemas::wire::{
    AgentActivity, AgentConfig, AgentHealth, CallRefusal, CallRefusals, Challenge, ConnectorState,
    VerdictSummary, WorkloadReport, WorkloadState,
};
use easyenclave_schemas::{AgentId, Digest, Epoch, Generation, Timestamp};
use tokio::sync::watch;

use crate::client::{Client, WINDOW};
use crate::identity::{Floor, Identity, IdentityError, Whose};
use crate::instructions::{Instructions, Wanted};
use crate::mint::{self, Minter};
use crate::platform::Platform;
use crate::{Bound, clock, config};

/// So many signed calls are remembered within the time in which they could be replayed.
const CALLS: usize = 4096;

/// The agent's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One agent.
pub(crate) struct Node {
    pub(crate) config: AgentConfig,
    /// What its quotes have to name, if anything.
    bound: Option<Bound>,
    pub(crate) id: AgentId,
    /// Never on a disk, and in a file in memory only while containers run here; see [`Identity`].
    pub(crate) keypair: Arc<Keypair>,
    /// None where there is no memory file system: another process is another agent then.
    identity: Option<Identity>,
    pub(crate) client: Client,
    pub(crate) platform: Arc<Platform>,
    /// What it can run. Written by whoever looks for an engine.
    pub(crate) runtimes: watch::Sender<Vec<Runtime>>,
    /// None where the configuration gives it no key for Intel Trust Authority.
    minter: Option<Minter>,
    /// Where the agent's own API answers.
    pub(crate) address: String,
    inbox: Mutex<Inbox>,
    /// Written by the API.
    pub(crate) wanted: watch::Sender<Wanted>,
    /// Written by whoever runs the workload.
    pub(crate) workload: watch::Sender<Option<WorkloadReport>>,
    /// The tunnel that is wanted. Written with each answer of the reconciler.
    pub(crate) tunnel: watch::Sender<Option<Digest>>,
    /// Written by whoever runs the connector of that.
    pub(crate) connector: watch::Sender<Option<ConnectorState>>,
    /// Written with each answer of the reconciler.
    pub(crate) trust: watch::Sender<Trust>,
    /// Written by the API.
    refusals: Mutex<CallRefusals>,
}

/// What guards the way in. Written by the API; epochs also come with answers.
pub(crate) struct Inbox {
    pub(crate) instructions: Instructions,
    pub(crate) replays: ReplayGuard,
}

/// How the reconciler trusts this agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Trust {
    pub(crate) verdict: Option<Verdict>,
    pub(crate) until: Option<Timestamp>,
    /// When the verdict came, by our clock; none before the registration.
    pub(crate) since: Option<Timestamp>,
    /// How long trust lasts from then on, by the reconciler's clock alone; none when it was taken away.
    pub(crate) life: Option<Duration>,
    /// The boot that the verdict is of.
    pub(crate) boot_id: String,
    /// Whether there has been another boot since.
    pub(crate) rebooted: bool,
}

impl Node {
    /// An agent that knows nobody yet, with a new key, or with the one that it had before on this boot.
    pub(crate) fn new(
        config: AgentConfig,
        bound: Option<Bound>,
        address: String,
        (runtimes, memory): (Vec<Runtime>, Memory),
    ) -> anyhow::Result<Self> {
        let platform = Arc::new(Platform::of(&config)?);
        let identity = identity(&config, &platform, memory)?;
        let before = identity.as_ref().and_then(Identity::recall);
        let (keypair, floor) = match before {
            Some((keypair, floor)) => {
                tracing::info!("this agent was started before on this boot");
                (keypair, floor)
            }
            None => (Keypair::generate()?, Floor::default()),
        };
        let keypair = Arc::new(keypair);
        let client = Client::new(
            &config,
            Arc::clone(&keypair),
            config::reconciler_key(&config)?,
        )?;
        let id = config.order_id.agent();
        Ok(Self {
            platform,
            runtimes: watch::Sender::new(runtimes),
            identity,
            minter: Minter::of(&config)?,
            client,
            address,
            inbox: Mutex::new(Inbox {
                instructions: Instructions::new(id.clone(), floor),
                replays: ReplayGuard::new(WINDOW, CALLS),
            }),
            wanted: watch::Sender::default(),
            workload: watch::Sender::default(),
            tunnel: watch::Sender::default(),
            connector: watch::Sender::default(),
            trust: watch::Sender::default(),
            refusals: Mutex::default(),
            keypair,
            id,
            bound,
            config,
        })
    }

    /// From now on this agent can be started again: what is about to run outlives it. What cannot be kept is not kept: then
    /// there is no other start.
    pub(crate) fn keep(&self) {
        let inbox = self.inbox();
        let floor = inbox.instructions.floor();
        let identity = self.identity.as_ref();
        told(identity.map(|identity| identity.keep(&self.keypair, floor)));
    }

    /// Notes how far this agent has come, if it can be started again.
    pub(crate) fn note(&self, floor: Floor) {
        let identity = self.identity.as_ref();
        told(identity.map(|identity| identity.note(&self.keypair, floor)));
    }

    /// From now on there is no other start of this agent.
    ///
    /// # Errors
    /// When its key may still be in a file.
    pub(crate) fn forget(&self) -> io::Result<()> {
        self.identity.as_ref().map_or(Ok(()), Identity::forget)
    }

    /// Whether this start has taken an instruction in. Before that nobody knows what is wanted of what an agent of before
    /// has left.
    pub(crate) fn is_instructed(&self) -> bool {
        self.wanted.borrow().generation > Generation::default()
    }

    /// Evidence for a challenge. A quote can take a second, so it is made on a thread of its own.
    pub(crate) async fn evidence(&self, challenge: &Challenge) -> anyhow::Result<Evidence> {
        let mut nonce = [0; 32];
        hex::decode_to_slice(&challenge.nonce, &mut nonce)
            .map_err(|_| anyhow::anyhow!("the nonce of the challenge is not 64 hex digits"))?;
        let (platform, key) = (
            Arc::clone(&self.platform),
            *self.keypair.public().as_bytes(),
        );
        let ita = challenge.ita.clone();
        let collecting = tokio::task::spawn_blocking(move || {
            let collected = match ita {
                Some(ita) => collect_for_ita(platform.source(), &ita.nonce, &key),
                None => collect(platform.source(), &nonce, &key),
            };
            collected.map(|evidence| platform.with_log(evidence))
        });
        let mut evidence = collecting.await??;
        if let Some(bound) = self.bound {
            bound.check(evidence.quote.as_bytes())?;
        }
        if let Some(ita) = &challenge.ita {
            evidence.token = mint::token(self.minter.as_ref(), ita, &evidence, &key).await?;
        }
        Ok(evidence)
    }

    /// The boot of now. Notes when it is another one than the verdict's.
    pub(crate) fn boot_id(&self) -> String {
        let boot_id = self.platform.boot_id();
        self.trust.send_if_modified(|trust| {
            let rebooted = trust.since.is_some() && trust.boot_id != boot_id;
            std::mem::replace(&mut trust.rebooted, rebooted) != rebooted
        });
        boot_id
    }

    /// Measures what is about to run, where the platform can.
    pub(crate) async fn measure(&self, workload: Digest) {
        let platform = Arc::clone(&self.platform);
        let measuring = tokio::task::spawn_blocking(move || platform.measure(&workload));
        if let Err(error) = measuring.await {
            tracing::error!(error = %error, "a workload was not measured");
        }
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.inbox)
    }

    /// Notes an epoch of an answer. Tells whether the answer counts.
    pub(crate) fn see(&self, epoch: Epoch) -> bool {
        self.inbox().instructions.see(epoch)
    }

    /// Notes what verification said of evidence of this boot.
    pub(crate) fn accepted(&self, verdict: Verdict, boot_id: String) {
        self.trust.send_replace(Trust {
            since: Some(clock::now()),
            life: Some(verdict.trusted_until.since(verdict.accepted_at)),
            until: Some(verdict.trusted_until),
            verdict: Some(verdict),
            boot_id,
            rebooted: false,
        });
    }

    /// Notes until when the reconciler trusts this agent, if it does.
    pub(crate) fn trusted(&self, until: Option<Timestamp>) {
        self.trust.send_if_modified(|trust| {
            let accepted = trust.verdict.as_ref().map(|verdict| verdict.accepted_at);
            trust.life = until.zip(accepted).map(|(until, at)| until.since(at));
            std::mem::replace(&mut trust.until, until) != until
        });
    }

    /// Notes which tunnel the reconciler wants.
    pub(crate) fn wants_tunnel(&self, version: Option<Digest>) {
        let change = |now: &mut Option<Digest>| std::mem::replace(now, version) != version;
        self.tunnel.send_if_modified(change);
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
        let boot_id = self.boot_id();
        let trust = self.trust.borrow();
        let verdict = trust.verdict.as_ref().zip(trust.until);
        AgentHealth {
            agent_id: self.id.clone(),
            boot_id,
            version: VERSION.into(),
            phase: if trust.since.is_some() {
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

fn told(kept: Option<io::Result<()>>) {
    if let Some(Err(error)) = kept {
        tracing::warn!(error = %error, "nothing is kept for another start");
    }
}

/// Who this agent is over its starts. None where there is no place that is never on a disk.
///
/// # Errors
/// When another agent of this order lives, whose things are not to be touched.
fn identity(
    config: &AgentConfig,
    platform: &Platform,
    memory: Memory,
) -> Result<Option<Identity>, IdentityError> {
    let Some(boot) = platform.machine_boot() else {
        return Ok(None);
    };
    let whose = Whose {
        boot,
        order: config.order_id.clone(),
        reconciler: config.reconciler_key.clone(),
    };
    match Identity::open(memory, whose) {
        Err(error) if !matches!(error, IdentityError::Taken) => {
            tracing::info!(error = %error, "an agent that is killed cannot be started again");
            Ok(None)
        }
        identity => identity.map(Some),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
