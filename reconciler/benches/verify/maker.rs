//! A state repository with a status branch as a long-lived fleet leaves it: real simulated evidence, judged by the
//! production verifier, and commits by the production writer. From one seed, but for keys and signatures.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use easyenclave::examples;
use easyenclave::report::{Status, message};
use easyenclave_attestation::simulated::{Platform, TdBody};
use easyenclave_attestation::testing::{self, Fault, judge};
use easyenclave_attestation::{Binding, Collateral, EventLog, Policy, report_data};
use easyenclave_git::{Ledger, Signer, commit_files, init_repository};
use easyenclave_schemas::decode::decode;
use easyenclave_schemas::documents::Document;
use easyenclave_schemas::evidence::{
    EventLogBytes, Evidence, EvidenceRecord, JudgedPolicy, Kept, Outcome, Part, QuoteBytes,
    Rejection, Verdict,
};
use easyenclave_schemas::status::{AgentStatus, paths};
use easyenclave_schemas::wire::WorkloadState;
use easyenclave_schemas::{AgentId, Digest, Timestamp};

use crate::statuses;

const AUTHOR: (&str, &str) = ("Ada", "ada@example.invalid");
const POLICY: &str = "policies/simulated.yaml";
/// The size of all agents.
pub(crate) const SIZE: &str = "tiny";

/// Between two status commits.
const STEP: Duration = Duration::from_secs(600);
/// Status commits between two commits of desired state, and between two of the policy among them.
const DESIRED: u32 = 50;
const POLICIES: u32 = 1000;
/// Status commits between two pushes; a push keeps the writer's clone in few packs.
const PUSH: u32 = 50;

/// Where a part of the evidence is kept, and the file that has it.
pub(crate) type Keep = Box<dyn Fn(Vec<u8>) -> (Kept, Option<Vec<u8>>)>;

/// How much of it.
pub(crate) struct Shape {
    pub(crate) agents: u32,
    /// Status commits.
    pub(crate) commits: u32,
    pub(crate) seed: u64,
}

/// What was made.
pub(crate) struct Made {
    /// A bare repository with the branches `main` and `status`.
    pub(crate) state: PathBuf,
    /// Records of evidence that were ever on the branch.
    pub(crate) records: usize,
    /// Those of them that are refusals.
    pub(crate) refusals: usize,
    /// Commits of desired state.
    pub(crate) desired: usize,
}

/// Numbers from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below a bound that is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound).expect("fits");
        usize::try_from((word ^ (word >> 31)) % bound).expect("below a usize")
    }
}

/// Makes it below a folder.
pub(crate) fn make(dir: &Path, shape: &Shape) -> Made {
    let mut maker = Maker::new(dir, shape);
    for round in 0..shape.commits {
        maker.round(round);
    }
    maker.push();
    maker.made
}

/// Makes it, commit by commit.
pub(crate) struct Maker {
    pub(crate) made: Made,
    runtime: tokio::runtime::Runtime,
    ledger: Ledger,
    platform: Platform,
    /// What evidence is judged by.
    pub(crate) policy: JudgedPolicy,
    /// What agents measure as they boot, by register.
    pub(crate) boot: Vec<(usize, &'static str)>,
    /// What is kept of it.
    pub(crate) keep: Keep,
    /// Whether quotes are altered after they were signed.
    pub(crate) tampers: bool,
    /// Whether quotes are sent without the certificate of their root, which the verifier has anyway.
    pub(crate) rootless: bool,
    /// Whether what is refused was accepted before: a refusal then names the root of that verdict.
    pub(crate) was_accepted: bool,
    /// Whether it writes as it did before refusals named the root of their platform.
    pub(crate) of_before: bool,
    random: Random,
    now: Timestamp,
    pub(crate) status: Status,
    published: Option<Status>,
    /// Records that agents' files name, with all their files.
    shelf: BTreeMap<AgentId, BTreeSet<Digest>>,
}

impl Maker {
    pub(crate) fn new(dir: &Path, shape: &Shape) -> Self {
        let now: Timestamp = "2026-01-05T12:00:00Z".parse().expect("a time");
        let platform = testing::platform(now).expect("a platform");
        let signer = Signer::open_or_create(&dir.join("key")).expect("a key");
        let root = platform.root_key_id().to_string();
        let mut files = examples::files(Some(&root));
        examples::name_signer(&mut files, &signer.public_openssh());
        let state = dir.join("state.git");
        init_repository(&state, "main", &files, "start", AUTHOR, seconds(now)).expect("made");
        let place = state.display().to_string();
        let clone = dir.join("ledger.git");
        let ledger = Ledger::open(&place, &clone, "status", signer).expect("opened");
        let policy = judged(&files[POLICY]);
        let mut maker = Self {
            made: Made {
                state,
                records: 0,
                refusals: 0,
                desired: 1,
            },
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
            ledger,
            platform,
            policy,
            boot: vec![(0, "settings"), (1, "kernel 1"), (2, "quiet")],
            keep: Box::new(|bytes| (Kept::Full, Some(bytes))),
            tampers: false,
            rootless: false,
            was_accepted: false,
            of_before: false,
            random: Random::new(shape.seed),
            now,
            status: statuses::fleet(shape.agents, now),
            published: None,
            shelf: BTreeMap::new(),
        };
        maker.status.fleet.desired_commit = head(&maker.made.state);
        maker
    }

    /// A status commit, and what leads to it.
    pub(crate) fn round(&mut self, round: u32) {
        self.desire(round);
        self.change(round);
        self.report();
        if round % PUSH == PUSH - 1 {
            self.push();
        }
    }

    pub(crate) fn push(&mut self) {
        let pushed = self.ledger.push(Duration::from_secs(300));
        self.runtime.block_on(pushed).expect("pushed");
    }

    /// A new desired state, now and then with another policy.
    fn desire(&mut self, round: u32) {
        if round % DESIRED != DESIRED - 1 {
            return;
        }
        let replicas = 1 + round / DESIRED % 9;
        let deployment = format!(
            "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata:\n  name: more\n  owner: acme\n\
             spec:\n  workload:\n    process:\n      command: [\"web\"]\n  replicas: {replicas}\n  nodeSize: {SIZE}\n"
        );
        let mut files = BTreeMap::from([(
            "deployments/acme/more.yaml".to_owned(),
            Some(deployment.into_bytes()),
        )]);
        if round % POLICIES == POLICIES - 1 {
            self.policy.spec.max_age = format!("{}h", 24 + round / POLICIES)
                .parse()
                .expect("a duration");
            files.insert(POLICY.into(), Some(document(&self.policy)));
        }
        let place = self.made.state.display().to_string();
        let when = seconds(self.now);
        let commit = commit_files(&place, "main", &files, "change", AUTHOR, when);
        self.status.fleet.desired_commit = commit.expect("committed").to_string();
        self.made.desired += 1;
    }

    /// What happens until the next commit: at first every agent comes, and then few things change.
    fn change(&mut self, round: u32) {
        self.now = self.now.plus(STEP);
        let agents: Vec<AgentId> = self.status.agents.keys().cloned().collect();
        if round == 0 {
            agents.iter().for_each(|agent| self.attest(agent));
            return;
        }
        for _ in 0..=self.random.below(3) {
            let agent = &agents[self.random.below(agents.len())];
            self.restart(agent);
        }
        if self.random.below(10) < 6 {
            let agent = agents[self.random.below(agents.len())].clone();
            self.attest(&agent);
        }
    }

    /// The workload of an agent restarts, or is ready again.
    fn restart(&mut self, agent: &AgentId) {
        let status = self.status.agents.get_mut(agent).expect("one of them");
        let replica = status.replica.as_mut().expect("something runs");
        let ready = replica.state == WorkloadState::Ready;
        replica.state = match ready {
            true => WorkloadState::Restarting,
            false => WorkloadState::Ready,
        };
        replica.restarts += u32::from(ready);
        statuses::settle(&mut self.status, agent, self.now);
    }

    /// An agent shows fresh evidence; one in fifty runs an image that the policy does not list.
    pub(crate) fn attest(&mut self, agent: &AgentId) {
        let image = if self.random.below(50) == 0 {
            "other"
        } else {
            SIZE
        };
        let mut byte = || u8::try_from(self.random.below(256)).expect("a byte");
        let binding = Binding {
            ita: None,
            nonce: std::array::from_fn(|_| byte()),
            public_key: *Digest::of(agent.as_str().as_bytes()).as_bytes(),
        };
        let data = report_data(&binding.nonce, &binding.public_key);
        let mut body = TdBody::of_image(image);
        let log = testing::event_log(&self.boot);
        body.rtmrs = EventLog::parse(&log).expect("a log").replay();
        let guest = self.platform.guest();
        let quote = match self.tampers {
            true => testing::faulty_quote(guest, data, &body, Fault::Tampered),
            false => guest.quote(data, &body),
        };
        let mut quote = quote.expect("a quote");
        if self.rootless {
            quote = testing::without_root(&quote);
        }
        let mut evidence = Evidence::of_quote(QuoteBytes::new(quote).expect("short enough"));
        evidence.event_log = Some(EventLogBytes::new(log).expect("short enough"));
        let collateral = self.platform.collateral(self.now).expect("collateral");
        let size = &self.policy.node_size;
        let policy = Policy::new(&self.policy.spec, size).expect("a policy");
        let mut judged = judge(&evidence, &binding, &collateral, &policy, self.now);
        if let (Err(rejection), true) = (&mut judged, self.of_before) {
            rejection.trust_root = None;
        }
        let known = self.was_accepted.then_some(policy.trust_root.key_id());
        judged = judged.map_err(|rejection| rejection.under(known));
        self.made.refusals += usize::from(judged.is_err());
        let files = self.files(agent, &binding, &evidence, &collateral, judged.clone());
        let record = self.shelve(agent, files);
        let status = self.status.agents.get_mut(agent).expect("one of them");
        let policy = self.policy.digest();
        trust(status, record, policy, judged, self.now);
        statuses::settle(&mut self.status, agent, self.now);
    }

    /// The record, which comes first, and its parts.
    fn files(
        &self,
        agent: &AgentId,
        binding: &Binding,
        evidence: &Evidence,
        collateral: &Collateral,
        judged: Result<Verdict, Rejection>,
    ) -> Vec<Vec<u8>> {
        let (quote, quote_file) = self.part(evidence.quote.as_bytes().to_vec());
        let log = evidence.event_log.as_ref().map(|log| log.as_bytes());
        let (log, log_file) = self.part(log.expect("a log").to_vec());
        let collateral = serde_json::to_vec(collateral).expect("plain data");
        let policy = self.policy.to_json();
        let record = EvidenceRecord {
            agent: agent.clone(),
            public_key: hex::encode(binding.public_key),
            nonce: hex::encode(binding.nonce),
            ita_nonce: None,
            nonce_failure: None,
            quote,
            event_log: Some(log),
            token: None,
            token_keys: None,
            collateral: Some(Digest::of(&collateral)),
            private_collateral: None,
            policy: Digest::of(&policy),
            at: self.now,
            outcome: match judged {
                Ok(verdict) => Outcome::Accepted(Box::new(verdict)),
                Err(rejection) => Outcome::Refused(rejection),
            },
        };
        let public = [record.to_json(), collateral, policy];
        let kept = [quote_file, log_file].into_iter().flatten();
        public.into_iter().chain(kept).collect()
    }

    fn part(&self, bytes: Vec<u8>) -> (Part, Option<Vec<u8>>) {
        let digest = Digest::of(&bytes);
        let (kept, file) = (self.keep)(bytes);
        (Part { digest, kept }, file)
    }

    /// Puts evidence on the branch in place of the agent's older one, and answers its record.
    pub(crate) fn shelve(&mut self, agent: &AgentId, files: Vec<Vec<u8>>) -> Digest {
        let record = Digest::of(&files[0]);
        let digests = files.iter().map(|bytes| Digest::of(bytes)).collect();
        let old = self.shelf.insert(agent.clone(), digests);
        let used: BTreeSet<&Digest> = self.shelf.values().flatten().collect();
        for file in old.iter().flatten().filter(|file| !used.contains(file)) {
            self.ledger.remove(&paths::evidence(file)).expect("a path");
        }
        for bytes in files {
            let path = paths::evidence(&Digest::of(&bytes));
            self.ledger.set(&path, bytes).expect("a path");
        }
        self.made.records += 1;
        record
    }

    /// A status commit.
    pub(crate) fn report(&mut self) {
        self.status.at = self.now;
        for (path, bytes) in self.status.changes(self.published.as_ref()) {
            match bytes {
                Some(bytes) => self.ledger.set(&path, bytes),
                None => self.ledger.remove(&path),
            }
            .expect("a path");
        }
        let message = message(&self.status, self.published.as_ref());
        let recorded = self.ledger.record(&message, seconds(self.now));
        recorded.expect("recorded").expect("a commit");
        self.published = Some(self.status.clone());
    }
}

/// As the reconciler's report says it.
fn trust(
    status: &mut AgentStatus,
    record: Digest,
    policy: Digest,
    judged: Result<Verdict, Rejection>,
    now: Timestamp,
) {
    let trust = &mut status.trust;
    *trust = Default::default();
    trust.evidence = Some(record);
    trust.policy = Some(policy);
    match judged {
        Ok(verdict) => {
            trust.state = "accepted".into();
            trust.simulated = verdict.simulated;
            trust.trust_root = verdict.trust_root.to_string();
            trust.trusted_until = Some(verdict.trusted_until.trunc_secs());
            trust.tcb_status = verdict.tcb_status.to_string();
            trust.mrtd = verdict.mrtd.to_string();
            trust.measurement = verdict.measurement.clone();
            trust.verifiers = verdict.verifiers.clone();
            trust.collateral_until = verdict.collateral_until.map(Timestamp::trunc_secs);
            trust.verdict = Some(Box::new(verdict));
        }
        Err(rejection) => {
            trust.state = "refused".into();
            let root = rejection.trust_root;
            trust.simulated = root.is_some_and(|root| root.is_simulated());
            trust.trust_root = root.map_or_else(String::new, |root| root.to_string());
            trust.shown_at = Some(now.trunc_secs());
            trust.codes = vec![rejection.code.code().into()];
        }
    }
}

fn judged(document: &[u8]) -> JudgedPolicy {
    let Ok(Document::AttestationPolicy(policy)) = decode(document).map(|it| it.document) else {
        panic!("the example's policy is one");
    };
    JudgedPolicy {
        spec: policy.spec,
        node_size: SIZE.parse().expect("a name"),
    }
}

/// The policy as a document of the state repository.
fn document(policy: &JudgedPolicy) -> Vec<u8> {
    let value = serde_json::json!({
        "apiVersion": "easyenclave.dev/v1",
        "kind": "AttestationPolicy",
        "metadata": { "name": "simulated" },
        "spec": policy.spec,
    });
    serde_yaml::to_string(&value)
        .expect("plain data")
        .into_bytes()
}

fn head(state: &Path) -> String {
    let past = easyenclave_git::Past::open(state).expect("opened");
    past.resolve("main").expect("a commit").to_string()
}

fn seconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_secs()).expect("not so far off")
}
