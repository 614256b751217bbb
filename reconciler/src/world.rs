//! Everything that a pass and the API share: the records, what was heard, the keys, the newest
//! revision, and who wakes whom. It only lists the parts; each part builds itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use easyenclave_plan::{Observed, Plan, Subject, Wait, WaitReason};
use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::wire::WorkloadReport;
use easyenclave_schemas::{AgentId, Digest, Epoch, Secret, TargetName, Timestamp};
use tokio::sync::Notify;

use crate::approvals::Spent;
use crate::auth::Door;
use crate::clock::{Clock, Entropy};
use crate::images::Images;
use crate::journal::{Journal, Records};
use crate::metrics::Metrics;
use crate::presence::Presence;
use crate::recall::Recall;
use crate::refusals::Refusals;
use crate::revision::Revision;
use crate::rollouts;
use crate::secrets::{Keyring, Releases};
use crate::sole::Sole;
use crate::tokens::Tokens;
use crate::trust::{Fetched, Judge, Sightings, Unjudged};
use crate::tunnels::Ways;

/// The world of one reconciler.
pub struct World {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Durable records.
    pub journal: Journal,
    /// What was heard.
    pub presence: Presence,
    /// Which images versions name.
    images: Images,
    /// Where machines belong that no record knows.
    pub recall: Recall,
    /// What was refused.
    pub refusals: Refusals,
    /// Unknown measurements on trusted platforms.
    pub sightings: Sightings,
    /// Nonces of Intel Trust Authority that are handed out.
    pub fetched: Fetched,
    /// Agents that only fresh evidence can judge.
    pub unjudged: Unjudged,
    /// Approvals that are over.
    pub spent: Spent,
    /// Ways to agents that are there.
    pub ways: Ways,
    /// Whether nobody else writes the status branch.
    pub sole: Sole,
    /// What is counted.
    pub metrics: Metrics,
    /// Nonces and bootstrap tokens.
    pub tokens: Tokens,
    /// Signs instructions and answers.
    pub keypair: Keypair,
    /// The digest of the key that workers must show.
    pub launcher_key: Digest,
    /// Opens secrets.
    pub keyring: Arc<Keyring>,
    /// Who asked for secrets lately.
    pub(crate) releases: Releases,
    /// Verifies evidence.
    pub judge: Judge,
    /// Lets callers of the deploy API in.
    pub door: Door,
    /// Which leader this is.
    pub epoch: Epoch,
    /// Where agents and workers find this reconciler.
    pub public_url: String,
    /// The revision in force.
    revision: RwLock<Option<Arc<Revision>>>,
    /// Targets whose agents would go if a person approved it, by the newest plan.
    held: RwLock<BTreeSet<TargetName>>,
    /// Agents that should attest again, since when they have been asked.
    pub challenges: Mutex<BTreeMap<AgentId, Timestamp>>,
    /// Wakes the next pass.
    pub wake: Notify,
    /// Wakes workers that wait for an order.
    pub orders: Notify,
    /// Wakes owners who wait for an agent to be told.
    pub delivered: Notify,
}

/// What a world is made of.
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Durable records.
    pub journal: Journal,
    /// What was heard: nothing yet.
    pub presence: Presence,
    /// The fleet's seed for nonces and tokens.
    pub seed: Secret<[u8; 32]>,
    /// Signs instructions and answers.
    pub keypair: Keypair,
    /// The key that workers must show.
    pub launcher_key: Secret<String>,
    /// Opens secrets.
    pub keyring: Arc<Keyring>,
    /// Verifies evidence.
    pub judge: Judge,
    /// Lets callers of the deploy API in.
    pub door: Door,
    /// What is counted.
    pub metrics: Metrics,
    /// Where agents and workers find this reconciler.
    pub public_url: String,
}

impl World {
    /// A world before its first pass.
    pub fn new(parts: Parts) -> Self {
        Self {
            presence: parts.presence,
            images: Images::default(),
            recall: Recall::default(),
            refusals: Refusals::default(),
            sightings: Sightings::default(),
            fetched: Fetched::default(),
            unjudged: Unjudged::default(),
            spent: Spent::default(),
            ways: Ways::default(),
            sole: Sole::default(),
            metrics: parts.metrics,
            tokens: Tokens::new(&parts.seed),
            launcher_key: Digest::of(parts.launcher_key.reveal().as_bytes()),
            epoch: Epoch(1),
            revision: RwLock::default(),
            held: RwLock::default(),
            challenges: Mutex::default(),
            wake: Notify::new(),
            orders: Notify::new(),
            delivered: Notify::new(),
            clock: parts.clock,
            entropy: parts.entropy,
            journal: parts.journal,
            keypair: parts.keypair,
            keyring: parts.keyring,
            releases: Releases::default(),
            judge: parts.judge,
            door: parts.door,
            public_url: parts.public_url,
        }
    }

    /// The revision in force; none before the first readable one.
    pub fn revision(&self) -> Option<Arc<Revision>> {
        self.revision
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts a revision in force.
    pub fn adopt(&self, revision: Arc<Revision>) {
        *self
            .revision
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(revision);
    }

    /// Notes of which targets a plan holds what it would remove.
    pub(crate) fn hold(&self, observed: &Observed, plan: &Plan) {
        let is_held = |wait: &&Wait| matches!(wait.reason, WaitReason::Held { .. });
        let held = plan.waits.iter().filter(is_held);
        let held = held.filter_map(|wait| match &wait.subject {
            Subject::Agent(agent) => Some(observed.agents.get(agent)?.target.clone()),
            _ => None,
        });
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held.collect();
    }

    /// Whether agents of a target would go if a person approved it.
    pub(crate) fn is_held(&self, target: &TargetName) -> bool {
        let held = self.held.read();
        held.unwrap_or_else(PoisonError::into_inner)
            .contains(target)
    }

    /// Takes what an agent says of its workload for what it comes to; see [`Images::judge`].
    pub(crate) fn judge_images(
        &self,
        records: &Records,
        revision: &Revision,
        report: &mut WorkloadReport,
    ) {
        self.images.judge(report, |deployment, workload| {
            rollouts::version(records, revision, (deployment, workload))
        });
    }

    /// Notes a refusal, and has it reported when it is a new one.
    pub fn refuse(&self, code: &str, subject: &str, message: &str) {
        tracing::warn!(code, subject, message, "request refused");
        self.report(code, subject, message);
    }

    /// The same of a refusal that the log has already, as each attempt to be trusted is in the audit log.
    pub fn report(&self, code: &str, subject: &str, message: &str) {
        if self.refusals.note(code, subject, message, self.clock.now()) {
            self.wake.notify_one();
        }
    }

    /// Since when an agent has been asked to attest again.
    pub fn challenged(&self, agent: &AgentId) -> Option<Timestamp> {
        self.challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(agent)
            .copied()
    }

    /// Asks an agent to attest again, in the answer to its next heartbeat.
    pub fn challenge(&self, agent: AgentId, at: Timestamp) {
        self.challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(agent, at);
    }

    /// The agent has attested, or is no more.
    pub fn unchallenge(&self, agent: &AgentId) {
        self.challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(agent);
    }

    /// Forgets challenges of agents that are no more.
    pub fn retain_challenges(&self, keep: impl Fn(&AgentId) -> bool) {
        let mut challenges = self
            .challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        challenges.retain(|agent, _| keep(agent));
    }
}
