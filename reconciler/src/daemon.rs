//! The daemon: runs passes for months. It reads the clock, decides when to turn the line again, and
//! keeps going whatever a remote, an agent or a document does.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use easyenclave_attestation::PcsClient;
use easyenclave_git::Ledger;
use easyenclave_schemas::records::InForceRecord;
use easyenclave_schemas::{AgentId, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::commits::Desk;
use crate::config::DataDir;
use crate::journal::JournalError;
use crate::leap::Leaps;
use crate::metrics::Metrics;
use crate::outage::Outage;
use crate::parts::{Parts as Running, ended};
use crate::pass::{Report, pass};
use crate::report::{self, Notes, Status};
use crate::source::{self, Source, keep, kept};
use crate::status::{Publisher, recorded};
use crate::trust;
use crate::world::World;
use crate::{api, approvals, deliver, history, keys, opening, rollouts, tunnels, verifiers};

/// Without any news, the world is looked at this often.
const IDLE: Duration = Duration::from_secs(5);

/// Used nonces and agents that are no more are forgotten this often.
const TIDY: Duration = Duration::from_secs(60);

/// After a restart, agents have so long to be heard of before the status is written.
const SETTLE: Duration = Duration::from_secs(7);

/// What a daemon is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The state repository: a local path or any URL that `git` can fetch.
    pub repository: String,
    /// The branch of desired state.
    pub branch: String,
    /// The branch of status.
    pub status_branch: String,
    /// Where the daemon keeps what is its own.
    pub data: DataDir,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where agents and workers find it, when that differs from `listen`.
    pub public_url: Option<String>,
    /// The simulated platform whose collateral is served to the verifier.
    pub platform: PathBuf,
}

/// A running daemon.
pub struct Daemon {
    world: Arc<World>,
    collateral: PcsClient,
    source: Source,
    listener: TcpListener,
    config: Config,
    ledger: Ledger,
    recorded: Option<Arc<Status>>,
    /// Whether the store knows of nothing that was in force: it is new, or was lost.
    knows_nothing: bool,
    status: watch::Sender<Option<Arc<Status>>>,
}

impl Daemon {
    /// Opens everything; nothing runs yet.
    ///
    /// # Errors
    /// When a file, the store or the address cannot be used.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let data = &config.data;
        std::fs::create_dir_all(data.path())
            .with_context(|| format!("data directory {}", data.path().display()))?;
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("listening on {}", config.listen))?;
        let address = listener.local_addr()?;
        let public_url = config
            .public_url
            .clone()
            .unwrap_or_else(|| format!("http://{address}"));
        let metrics = Metrics::default();
        let collateral = verifiers::collateral(data, &metrics)?;
        let parts = opening::parts(&config, public_url, metrics, &collateral)?;
        let world = Arc::new(World::new(parts));
        let ledger = opening::ledger(&config)?;
        let recorded = recorded(&ledger);
        let last = kept(&world.journal).await?;
        let spent = recorded
            .as_deref()
            .map(|it| it.fleet.spent_approvals.as_slice());
        let spent = spent.unwrap_or_default();
        world.spent.recall(&world.journal, spent).await?;
        if let Some(recorded) = &recorded {
            world.sightings.recall(&recorded.fleet.sightings);
        }
        let source = Source::open(
            &config.repository,
            &data.mirror(),
            &config.branch,
            last.as_ref(),
        )?;
        source.open_with(Arc::clone(&world.keyring));
        if let Some(recorded) = &recorded {
            let kept = report::kept(recorded).collect();
            source.go_on_from(&recorded.fleet.effective_commit, kept);
        }
        keys::allow_signer(&data.allowed_signers(), &ledger.allowed_signers_line())?;
        let (status, _) = watch::channel(None);
        Ok(Self {
            world,
            collateral,
            source,
            listener,
            config,
            ledger,
            recorded,
            knows_nothing: last.is_none(),
            status,
        })
    }

    /// The API's address.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The newest status, after each pass.
    pub fn status(&self) -> watch::Receiver<Option<Arc<Status>>> {
        self.status.subscribe()
    }

    /// Runs until `shutdown` is done.
    ///
    /// # Errors
    /// When a part that should run for ever has ended or panicked, or the store can keep nothing any more.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let Self {
            world,
            collateral,
            source,
            listener,
            config,
            ledger,
            recorded,
            knows_nothing,
            status,
        } = self;
        let mut turns = Turns {
            world,
            collateral,
            source,
            fetching: Outage::default(),
            publishing: Outage::default(),
            changed: Arc::new(Notify::new()),
            published: Arc::new(Notify::new()),
            status,
            lost: recorded
                .as_deref()
                .filter(|_| knows_nothing)
                .map(rollouts::Pending::of),
            previous: recorded,
            in_force: None,
            tidied: Timestamp::default(),
            leaps: Leaps::default(),
        };
        let mut parts = turns.parts(listener, config);
        let publisher = Publisher::new(
            Arc::clone(&turns.world),
            ledger,
            turns.previous.clone(),
            turns.publishing.clone(),
        );
        let mut publisher = tokio::spawn(publisher.run(turns.status.subscribe()));
        let journal = turns.world.journal.clone();
        tokio::select! {
            never = turns.run() => match never {},
            over = parts.over() => return Err(over),
            // Only a new start tells what of it is on the disk.
            why = journal.failed() => return Err(anyhow!("the store cannot be written any more: {why}")),
            over = &mut publisher => return Err(ended("the publisher of status", over)),
            () = shutdown => {}
        }
        drop((turns, parts));
        let _ = timeout(Duration::from_secs(10), publisher).await;
        Ok(())
    }
}

/// The loop of passes and all that it remembers between them.
struct Turns {
    world: Arc<World>,
    collateral: PcsClient,
    source: Source,
    fetching: Outage,
    publishing: Outage,
    changed: Arc<Notify>,
    /// The same for those who care for tunnels: one notice wakes one of those who wait.
    published: Arc<Notify>,
    status: watch::Sender<Option<Arc<Status>>>,
    previous: Option<Arc<Status>>,
    /// What status said of roll-outs that the store has lost, until they are recalled.
    lost: Option<rollouts::Pending>,
    in_force: Option<InForceRecord>,
    tidied: Timestamp,
    leaps: Leaps,
}

impl Turns {
    /// What runs beside the passes, for as long as they do.
    fn parts(&self, listener: TcpListener, config: Config) -> Running {
        let world = || Arc::clone(&self.world);
        let mut parts = Running::default();
        let counter = api::Counter {
            desk: self.desk(&config),
            status: self.status.subscribe(),
        };
        parts.start("the API", api::serve(listener, world(), Some(counter)));
        let watch = source::watch(
            world(),
            self.source.clone(),
            config.repository,
            self.fetching.clone(),
        );
        parts.start("the watch on the state repository", watch);
        let delivery = deliver::run(world(), Arc::clone(&self.changed));
        parts.start("delivery to agents", delivery);
        let ways = tunnels::run(world(), Arc::clone(&self.published));
        parts.start("the care for tunnels", ways);
        let tending = verifiers::tend(world(), self.collateral.clone());
        parts.start("the care for collateral", tending);
        parts
    }

    fn desk(&self, config: &Config) -> Arc<Desk> {
        let (repository, branch) = (config.repository.clone(), config.branch.clone());
        let scratch = config.data.desk();
        Arc::new(Desk::new(self.source.clone(), repository, branch, scratch))
    }

    async fn run(&mut self) -> Infallible {
        loop {
            let next = self.turn().await;
            tokio::select! {
                () = self.world.wake.notified() => {}
                () = sleep(next) => {}
            }
        }
    }

    /// Right after a restart nothing was heard yet. That is no news for the status branch: agents get
    /// the time of a few heartbeats to be heard of first.
    fn is_settled(&self, report: &Report, now: Timestamp) -> bool {
        let presence = &self.world.presence;
        let records = self.world.journal.read();
        let heard = |agent| presence.heard(agent).is_some();
        now.since(presence.listening()) > SETTLE
            || (report.observed.unheard.is_empty() && records.agents.keys().all(heard))
    }

    /// Recalls what was lost with the store before anything is decided, and before what is in force is kept: a start that knows
    /// that has lost nothing. What is left, such as of deployments that are frozen, has its turn at a later pass.
    async fn recall(&mut self) -> Result<(), JournalError> {
        if let (Some(lost), Some(revision)) = (&mut self.lost, self.world.revision()) {
            rollouts::recall(&self.world, &self.source, &revision, lost).await?;
        }
        self.lost.take_if(|lost| lost.is_over());
        Ok(())
    }

    /// Keeps what is in force for the next start.
    async fn keep(&mut self) {
        let Some(in_force) = self.source.in_force() else {
            return;
        };
        if self.in_force.as_ref() == Some(&in_force) {
            return;
        }
        match keep(&self.world.journal, &in_force).await {
            Ok(()) => self.in_force = Some(in_force),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "commit not kept");
            }
        }
    }

    /// Forgets what is over, once a minute.
    async fn tidy(&mut self, now: Timestamp) {
        if self.tidied <= now && now.since(self.tidied) < TIDY {
            return;
        }
        self.tidied = now;
        let (nonces, accounts, orders) = (
            self.world.journal.forget_nonces(now).await,
            history::account(&self.world).await,
            history::forget_ended(&self.world).await,
        );
        for error in [nonces, accounts, orders]
            .into_iter()
            .filter_map(Result::err)
        {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "nonces or orders not forgotten or settled");
        }
        if let Some(revision) = self.world.revision() {
            crate::trust::forget_trusted(&self.world, &revision);
        }
        let records = self.world.journal.read();
        let known = |agent: &AgentId| records.agents.contains_key(agent);
        self.world.presence.retain(known);
        self.world.retain_challenges(known);
        self.world.releases.retain(known);
        self.world.unjudged.retain(known);
    }

    /// One pass, and how long until the next if nothing happens before.
    async fn turn(&mut self) -> Duration {
        let now = self.world.clock.now();
        let trouble = self.source.refresh(&self.world).await;
        if let Err(error) = self.recall().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "roll-outs not recalled"
            );
            return IDLE;
        }
        self.keep().await;
        self.leaps.look(&self.world, now).await;
        self.tidy(now).await;
        let Some(revision) = self.world.revision() else {
            if let Some(trouble) = trouble {
                tracing::error!(
                    reason = trouble.reason,
                    message = trouble.message,
                    "nothing to do"
                );
            }
            return IDLE;
        };
        self.collateral.asks(&revision.collateral.urls);
        let report = match pass(&self.world, revision, now).await {
            Ok(report) => report,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "pass failed");
                return IDLE;
            }
        };
        if !report.outcomes.is_empty() {
            self.changed.notify_one();
            self.published.notify_one();
        }
        let notes = Notes {
            source: trouble.or_else(|| self.fetching.trouble()),
            publish: self.publishing.trouble(),
            verifying: trust::trouble(&self.world.judge, &report.revision, now),
            refusals: self.world.refusals.list(),
            sightings: self.world.sightings.list(),
            urls: tunnels::urls(&self.world, &report.revision),
        };
        let next = {
            let records = self.world.journal.read();
            let previous = self.previous.as_deref();
            let presence = &self.world.presence;
            Arc::new(report::status(
                &report, &records, presence, &notes, previous,
            ))
        };
        let wait = report.rest(now, IDLE);
        if self.is_settled(&report, now) {
            approvals::settle(&self.world, &report).await;
            self.previous = Some(Arc::clone(&next));
            self.status.send_replace(Some(next));
        }
        wait
    }
}
