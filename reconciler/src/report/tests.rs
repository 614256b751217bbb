//! The status is the observation: written, read back and planned from, it says the same. And its JSON
//! keeps its names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use easyenclave_plan::{
    Agent, Assigned, Deployment, Exposure, Frozen, LaunchOrder, Liveness, Observed, OrderState,
    Orphan, Plan, Quarantine, Remedy, Replica, Reported, RetireOrder, RolloutFact, Shortage, Trust,
    plan, whynot,
};
use easyenclave_schemas::documents::{Modes, Runtime};
use easyenclave_schemas::evidence::{
    Fmspc, MeasurementDigest, PlatformProperties, RootKeyId, TcbStatus, Verdict, VerifierKind,
};
use easyenclave_schemas::records::{
    AgentRecord, AssignmentRecord, ClaimRecord, OrderPhase, OrderRecord, QuarantineRecord,
    RolloutRecord, TrustRecord, WorkRecord,
};
use easyenclave_schemas::status::{ConditionStatus, DeploymentPhase};
use easyenclave_schemas::wire::{
    CallRefusals, HeartbeatRequest, WorkloadCause, WorkloadReport, WorkloadState,
};
use easyenclave_schemas::{
    DeploymentId, Digest, FailureCause, Generation, OrderId, PastRollout, Revert, RolloutStep,
    Spot, StageTimes, Timestamp,
};
use expect_test::expect_file;

use super::{Notes, Status, observed, read, status};
use crate::desired::{Loader, is_read};
use crate::examples;
use crate::journal::{Change, Records};
use crate::pass::Report;
use crate::presence::Presence;
use crate::revision::{Revision, WorkloadVersion};
use crate::rollouts;
use crate::seal::Sealer;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

pub(crate) fn revision() -> Revision {
    let root = "ab".repeat(48);
    let files: Vec<_> = examples::files(Some(&root))
        .into_iter()
        .filter(|(path, _)| is_read(path))
        .collect();
    let key = |bytes: &[u8]| -> [u8; 20] {
        let mut key = [0; 20];
        key.copy_from_slice(&Digest::of(bytes).as_bytes()[..20]);
        key
    };
    let keys: BTreeMap<_, _> = files
        .iter()
        .map(|(path, text)| (path.clone(), key(text)))
        .collect();
    let blob = |wanted: [u8; 20]| {
        let found = files.iter().find(|(_, text)| key(text) == wanted);
        found
            .map(|(_, text)| text.clone())
            .ok_or_else(|| "no such blob".to_owned())
    };
    let loaded = Loader::default().load(&keys, &blob, &|_| Ok(Vec::new()));
    assert_eq!(loaded.problems, vec![]);
    let model = loaded.model.expect("a model");
    Revision {
        commit: "c".repeat(40),
        effective: "c".repeat(40),
        desired: model.desired,
        workloads: model.workloads,
        secrets: model.secrets,
        policies: model.policies,
        providers: model.providers,
        paths: model.paths,
        status: model.status,
        collateral: model.collateral,
        sealer: Sealer::of(&model.evidence.auditors),
        evidence: model.evidence,
        tunnel: model.tunnel,
        callers: model.callers,
        problems: Vec::new(),
    }
}

fn verdict(until: Timestamp) -> Verdict {
    let zero = MeasurementDigest::new([0; 48]);
    Verdict {
        accepted_at: NOW,
        trusted_until: until,
        trust_root: RootKeyId::new([0xab; 48]),
        simulated: true,
        tcb_status: TcbStatus::UpToDate,
        advisory_ids: Vec::new(),
        mrtd: zero,
        rtmrs: [zero; 4],
        mrseam: zero,
        mrconfigid: zero,
        fmspc: Fmspc::new([0; 6]),
        attributes: 0,
        properties: PlatformProperties::default(),
        tcb_date: NOW,
        policy_digest: Digest::of(b"policy"),
        evidence_digest: Digest::of(b"evidence"),
        collateral_digest: Some(Digest::of(b"collateral")),
        measurement: "an image".into(),
        verifiers: vec![VerifierKind::Dcap],
        modes: Modes::default(),
        grace_until: None,
        collateral_until: None,
        token: None,
        event_log_digest: None,
        warnings: Vec::new(),
    }
}

/// A world with something of everything: records and presence as the reconciler keeps them, and the
/// observation that they amount to.
struct Scene {
    revision: Revision,
    records: Records,
    presence: Presence,
    observed: Observed,
}

impl Scene {
    fn new() -> Self {
        let presence = Presence::new(NOW);
        let mut scene = Self {
            revision: revision(),
            records: Records::default(),
            presence,
            observed: Observed::default(),
        };
        scene.launch(0, OrderPhase::Fulfilled);
        scene.launch(1, OrderPhase::Fulfilled);
        scene.launch(2, OrderPhase::Failed(NOW));
        scene.launch(3, OrderPhase::Open);
        scene.agent(0, Some("acme/hello"), None);
        scene.agent(1, None, Some(QuarantineRecord::TrustLapsed));
        scene.retire(1);
        scene.orphan();
        scene.shortage();
        scene
    }

    fn order(&self, slot: u32) -> OrderId {
        OrderId::launch(&self.revision.desired.fleet, &name("tiny"), slot, 1)
    }

    fn launch(&mut self, slot: u32, state: OrderPhase) {
        let order = self.order(slot);
        let work = WorkRecord::Launch {
            target: name("tiny"),
            slot,
            generation: 1,
            failures: 0,
            size: name("tiny"),
            policy: name("simulated"),
            zone: None,
            shape: None,
        };
        let launch = LaunchOrder {
            target: name("tiny"),
            slot,
            provider: name("local"),
            datacenter: name("local"),
            generation: 1,
            failures: 0,
            state: match state {
                OrderPhase::Fulfilled => OrderState::Fulfilled,
                OrderPhase::Failed(at) => OrderState::Failed(at),
                _ => OrderState::Open,
            },
            opened: NOW,
            times: times(state),
            unaccounted: false,
            cause: cause(state),
        };
        self.observed.launches.insert(order.clone(), launch);
        self.record(order, work, state);
    }

    fn record(&mut self, order: OrderId, work: WorkRecord, state: OrderPhase) {
        let error = matches!(state, OrderPhase::Failed(_)).then(|| "no room".to_owned());
        let claim = ClaimRecord {
            worker: name("w-1"),
            fence: 1,
            expires_at: NOW,
        };
        let record = OrderRecord {
            order: order.clone(),
            datacenter: name("local"),
            provider: name("local"),
            worker: None,
            work,
            state,
            opened_at: NOW,
            claim: Some(claim),
            error,
            cause: cause(state),
            console: cause(state).map(|_| "# kernel: up\n  no room: 'full'\n".into()),
            times: times(state),
            unaccounted: false,
        };
        self.records.orders.insert(order, Arc::new(record));
    }

    fn shortage(&mut self) {
        let spot = Spot {
            provider: name("cloud"),
            datacenter: name("far"),
            zone: Some(name("far-a")),
            shape: Some(name("c3-4")),
        };
        let shortage = Shortage {
            cause: FailureCause::NoCapacity,
            failures: 2,
            until: NOW.plus(std::time::Duration::from_secs(60)),
        };
        self.observed.shortages.insert(spot, shortage);
    }

    fn orphan(&mut self) {
        let orphan = Orphan {
            target: Some(name("tiny")),
            datacenter: name("local"),
            provider: name("local"),
            policy: Some(name("simulated")),
            slot: Some(9),
            since: NOW,
            unjudged: true,
        };
        self.observed.orphans.insert(self.order(9), orphan);
        let elsewhere = (name("local"), name("elsewhere"));
        self.observed.unheard.insert(elsewhere);
    }

    fn retire(&mut self, slot: u32) {
        let agent = self.order(slot).agent();
        let work = WorkRecord::Retire {
            agent: agent.clone(),
            reason: "lost".into(),
        };
        self.record(OrderId::retire(&agent), work, OrderPhase::Open);
        self.observed
            .retires
            .insert(agent, RetireOrder { opened: NOW });
    }

    fn agent(&mut self, slot: u32, runs: Option<&str>, quarantined: Option<QuarantineRecord>) {
        let id = self.order(slot).agent();
        let wanted = runs.map(|runs| &self.revision.desired.deployments[&name(runs)]);
        let digest = wanted.map(|wanted| wanted.workload);
        let version = digest.map(|digest| Arc::clone(&self.revision.workloads[&digest]));
        let until = NOW.plus(std::time::Duration::from_secs(3600));
        let assigned = runs
            .zip(digest)
            .zip(version)
            .map(|((runs, digest), version)| {
                let WorkloadVersion {
                    workload,
                    health,
                    secrets,
                    secrets_digest,
                } = version.as_ref().clone();
                AssignmentRecord {
                    deployment: name(runs),
                    digest,
                    workload,
                    health,
                    secrets,
                    secrets_digest,
                    since: NOW,
                }
            });
        let report = assigned.as_ref().map(|assigned| WorkloadReport {
            generation: Generation(1),
            deployment: assigned.deployment.clone(),
            workload: assigned.digest,
            state: WorkloadState::Ready,
            restarts: 0,
            message: String::new(),
            url: Some("http://127.0.0.1:40000".into()),
            serving: Some(assigned.digest),
            cause: None,
            images: Vec::new(),
            services: Vec::new(),
        });
        let beat = HeartbeatRequest {
            sequence: 1,
            boot_id: "boot".into(),
            address: "http://127.0.0.1:40001".into(),
            generation: Generation(1),
            workload: report.clone(),
            refusals: CallRefusals::default(),
            session: None,
            connector: None,
            runtimes: None,
        };
        self.presence.heartbeat(&id, beat, NOW);
        let exposed = assigned
            .as_ref()
            .map(|assigned| assigned.deployment.clone());
        let agent = Agent {
            target: name("tiny"),
            slot,
            datacenter: name("local"),
            size: name("tiny"),
            runtimes: Runtime::usual().into_iter().collect(),
            liveness: Liveness::Heard,
            trust: Trust::Accepted(until),
            attested: Some(verdict(until).accepted_at.trunc_secs()),
            remedy: match runs {
                Some(_) => Remedy::FreshEvidence,
                None => Remedy::NotItsOwn,
            },
            challenged: runs.is_none().then_some(NOW),
            quarantined: quarantined.map(|_| Quarantine::TrustLapsed),
            generation: Generation(1),
            assigned: assigned.as_ref().map(|assigned| Assigned {
                deployment: assigned.deployment.clone(),
                workload: assigned.digest,
                since: NOW,
            }),
            idle_since: assigned.is_none().then_some(NOW),
            reported: match report {
                None => Reported::Idle(Generation(1)),
                Some(report) => Reported::Running(Replica {
                    generation: report.generation,
                    deployment: report.deployment,
                    workload: report.workload,
                    ready: true,
                    serving: report.serving,
                    ready_since: None,
                    failing_since: None,
                    cause: None,
                }),
            },
            exposed: exposed.clone().map_or(Exposure::Hidden, Exposure::Exposed),
        };
        self.observed.agents.insert(id.clone(), agent);
        let record = AgentRecord {
            agent: id.clone(),
            target: name("tiny"),
            slot,
            datacenter: name("local"),
            size: name("tiny"),
            provider: name("local"),
            worker: name("w-1"),
            public_key: String::new(),
            address: String::new(),
            boot_id: "boot".into(),
            version: "0".into(),
            runtimes: Runtime::usual(),
            registered_at: NOW,
            trust: TrustRecord::Accepted(Box::new(verdict(until))),
            evidence: Some(Digest::of(b"record")),
            generation: Generation(1),
            assigned,
            idle_since: None,
            quarantined,
            exposed,
            hostname: None,
        };
        self.records.agents.insert(id, Arc::new(record));
    }

    fn plan(&self) -> Plan {
        plan(&self.revision.desired, &self.observed, NOW)
    }

    fn status(&self, previous: Option<&Status>) -> Status {
        let report = Report {
            revision: Arc::new(self.revision.clone()),
            observed: self.observed.clone(),
            plan: self.plan(),
            next: self.plan(),
            outcomes: Vec::new(),
            at: NOW,
        };
        status(
            &report,
            &self.records,
            &self.presence,
            &Notes::default(),
            previous,
        )
    }
}

fn cause(state: OrderPhase) -> Option<FailureCause> {
    matches!(state, OrderPhase::Failed(_)).then_some(FailureCause::NoCapacity)
}

fn times(state: OrderPhase) -> StageTimes {
    StageTimes {
        claimed_at: matches!(state, OrderPhase::Failed(_)).then_some(NOW),
        ..StageTimes::default()
    }
}

fn files(status: &Status) -> BTreeMap<String, Vec<u8>> {
    let changes = status.changes(None);
    changes
        .into_iter()
        .filter_map(|(path, bytes)| Some((path, bytes?)))
        .collect()
}

#[test]
fn a_status_reads_back_as_it_was_written() {
    let status = Scene::new().status(None);
    assert_eq!(read(&files(&status)).expect("readable"), status);
}

#[test]
fn why_an_agent_is_not_chosen_is_the_same_from_the_status() {
    let mut scene = Scene::new();
    let status = read(&files(&scene.status(None))).expect("readable");
    let back = observed(&status);
    let id: DeploymentId = name("acme/hello");
    let wanted = scene.revision.desired.deployments[&id].clone();
    let changes: [fn(&mut Deployment); 4] = [
        |deployment| deployment.replicas = 9,
        |deployment| deployment.size = name("big"),
        |deployment| deployment.placement.denied_datacenters = [name("local")].into(),
        |deployment| deployment.placement.agent = Some(name("other")),
    ];
    let mut codes = BTreeSet::new();
    for (change, later) in changes
        .into_iter()
        .flat_map(|change| [(change, 0), (change, 9999)])
    {
        let mut deployment = wanted.clone();
        change(&mut deployment);
        let desired = &mut scene.revision.desired;
        desired.deployments.insert(id.clone(), deployment);
        let now = NOW.plus(Duration::from_secs(later));
        let live = whynot(desired, &scene.observed, &id, now);
        assert_eq!(whynot(desired, &back, &id, now), live);
        codes.extend(live.into_iter().map(|(_, why)| why.code()));
    }
    assert!(codes.len() > 3, "{codes:?}");
}

#[test]
fn planning_from_the_status_gives_the_same_plan() {
    let mut scene = Scene::new();
    let unlisted = scene.observed.agents.keys().next().cloned();
    scene.observed.unlisted.extend(unlisted);
    let status = read(&files(&scene.status(None))).expect("readable");
    let back = observed(&status);
    assert_eq!(back, scene.observed);
    let again = plan(&scene.revision.desired, &back, NOW);
    assert_eq!(again, scene.plan());
    assert_eq!(again.digest(), status.fleet.plan_digest);
}

/// The scene, with a roll-out in it that was given up, and another that has to prove good.
fn rolling() -> Scene {
    let mut scene = Scene::new();
    let id = name("acme/hello");
    let spec = scene.revision.desired.deployments.get_mut(&id);
    let spec = spec.expect("the deployment");
    spec.rollout.min_healthy = Duration::from_secs(60);
    spec.rollout.reverts = true;
    let reverted = Revert {
        attempt: spec.attempt(),
        from: spec.workload,
        to: Digest::of(b"healthy"),
        cause: WorkloadCause::ImageMissing,
        at: NOW,
    };
    let fact = RolloutFact {
        healthy: Some(reverted.to),
        runtime: Some(Runtime::Process),
        reverted: Some(reverted),
    };
    scene.observed.rollouts.insert(id, fact);
    for agent in scene.observed.agents.values_mut() {
        if let Reported::Running(replica) = &mut agent.reported {
            replica.ready_since = Some(NOW);
        }
    }
    scene
}

#[test]
fn planning_from_the_status_of_a_roll_out_gives_the_same_plan() {
    let scene = rolling();
    let status = read(&files(&scene.status(None))).expect("readable");
    let back = observed(&status);
    assert_eq!(back, scene.observed);
    assert!(!scene.plan().is_empty(), "it goes back to the healthy one");
    assert_eq!(scene.plan().digest(), status.fleet.plan_digest);
}

#[test]
fn what_became_of_roll_outs_is_told_on_from_status_to_status() {
    let mut scene = Scene::new();
    let id: DeploymentId = name("acme/hello");
    let mut last: Option<Status> = None;
    let mut tell = |scene: &Scene, commit: &str| {
        let mut revision = scene.revision.clone();
        revision.effective = commit.into();
        let scene = Scene {
            revision,
            records: Records::default(),
            presence: Presence::new(NOW),
            observed: scene.observed.clone(),
        };
        let status = scene.status(last.as_ref());
        let deployment = status.deployments[&id].clone();
        last = Some(status);
        let past = deployment.history.iter();
        let past = past.map(|past| format!("{} {:?}", past.commit, past.outcome));
        (past.collect::<Vec<_>>().join(", "), deployment)
    };
    let set = |scene: &mut Scene, v: &[u8]| {
        let spec = scene
            .revision
            .desired
            .deployments
            .get_mut(&name("acme/hello"));
        spec.expect("the deployment").workload = Digest::of(v);
    };
    set(&mut scene, b"v2");
    assert_eq!(tell(&scene, "one").0, "");
    assert_eq!(tell(&scene, "two").1.rollout.expect("one").commit, "one");
    set(&mut scene, b"v3");
    assert_eq!(tell(&scene, "three").0, "one Superseded");
    let spec = scene.revision.desired.deployments[&name("acme/hello")].clone();
    let reverted = Revert {
        attempt: spec.attempt(),
        from: spec.workload,
        to: Digest::of(b"v1"),
        cause: WorkloadCause::Exited,
        at: NOW,
    };
    let fact = RolloutFact {
        healthy: Some(reverted.to),
        runtime: Some(Runtime::Process),
        reverted: Some(reverted),
    };
    scene.observed.rollouts.insert(name("acme/hello"), fact);
    assert_eq!(tell(&scene, "three").0, "one Superseded, three Reverted");
    let (past, status) = tell(&scene, "four");
    assert_eq!(past, "one Superseded, three Reverted", "an end comes once");
    let rollout = status.rollout.expect("one");
    assert_eq!(
        (rollout.aim, rollout.commit.as_str()),
        (Digest::of(b"v1"), "three")
    );
    let condition = status.conditions.iter().find(|it| it.reason == "Reverted");
    assert!(condition.is_some(), "{:?}", status.conditions);
    for number in 0..30_u8 {
        set(&mut scene, &[number]);
        tell(&scene, "many");
    }
    assert_eq!(tell(&scene, "many").1.history.len(), PastRollout::MOST);
}

#[test]
fn a_roll_out_is_settled_when_that_is_recorded_and_a_frozen_one_keeps_its_history() {
    let mut scene = Scene::new();
    let id: DeploymentId = name("acme/hello");
    let spec = scene.revision.desired.deployments.get_mut(&id);
    let spec = spec.expect("the deployment");
    (spec.replicas, spec.rollout.reverts) = (1, true);
    let healthy = Some(spec.workload);
    let step = |status: &Status| {
        let shown = &status.deployments[&id];
        let step = shown.rollout.as_ref().map(|rollout| rollout.step);
        (step, shown.history.len())
    };
    scene.revision.paths.insert(id.clone(), "/shop".into());
    let url = |status: &Status| status.deployments[&id].replicas[0].url.clone();
    let before = scene.status(None);
    assert_eq!(before.deployments[&id].phase, DeploymentPhase::Running);
    assert_eq!(step(&before), (Some(RolloutStep::All), 0));
    assert!(url(&before).is_some_and(|url| url.ends_with("/shop")));
    let reverted = None;
    let fact = RolloutFact {
        healthy,
        runtime: None,
        reverted,
    };
    scene.observed.rollouts.insert(id.clone(), fact);
    let settled = scene.status(Some(&before));
    assert_eq!(step(&settled), (Some(RolloutStep::Settled), 1));
    let desired = &mut scene.revision.desired;
    desired.deployments.remove(&id);
    let why = || "its.yaml cannot be used".to_owned();
    let frozen = Frozen::Deployment(id.clone());
    desired.frozen.insert(frozen, why());
    scene.revision.paths.clear();
    let frozen = scene.status(Some(&settled));
    assert_eq!(url(&frozen), url(&before), "the path is in the document");
    assert_eq!(step(&frozen), (Some(RolloutStep::Settled), 1));
    let frozen = &frozen.deployments[&id];
    assert_eq!(frozen.phase, DeploymentPhase::Frozen);
    let told = frozen
        .conditions
        .iter()
        .map(|it| (it.status, it.reason.as_str()));
    let unknown = (ConditionStatus::Unknown, "Frozen");
    assert_eq!(told.collect::<Vec<_>>(), [unknown, unknown]);
}

#[test]
fn what_is_recorded_of_a_deployment_goes_with_its_last_replica() {
    let mut scene = Scene::new();
    let id: DeploymentId = name("acme/hello");
    let record = RolloutRecord {
        deployment: id.clone(),
        healthy: None,
        reverted: None,
    };
    scene.records.rollouts.insert(id.clone(), Arc::new(record));
    let gone = |scene: &Scene| rollouts::gone(&scene.records, &Change::default(), &scene.revision);
    assert_eq!(gone(&scene), vec![], "it is wanted");
    scene.revision.desired.deployments.remove(&id);
    assert_eq!(gone(&scene), vec![], "an agent has it");
    scene.records.agents.clear();
    assert_eq!(gone(&scene), vec![id.clone()]);
    let frozen = Frozen::Deployment(id);
    scene.revision.desired.frozen.insert(frozen, String::new());
    assert_eq!(gone(&scene), vec![], "it may be wanted");
}

#[test]
fn an_unchanged_world_changes_no_file() {
    let scene = Scene::new();
    let first = scene.status(None);
    let second = scene.status(Some(&first));
    assert!(second.changes(Some(&first)).is_empty());
}

#[test]
fn agents_that_are_leaving_make_no_target_available() {
    let mut scene = Scene::new();
    let available = |scene: &Scene| {
        let status = scene.status(None);
        let condition = status.capacity["tiny"].conditions[0].clone();
        (condition.reason, condition.message)
    };
    let target = |scene: &mut Scene, min| {
        let targets = &mut scene.revision.desired.targets;
        let target = targets.get_mut("tiny").expect("the target");
        (target.min, target.warm) = (min, 0);
    };
    target(&mut scene, 1);
    assert_eq!(available(&scene).0, "WarmEnough");
    target(&mut scene, 2);
    let (reason, message) = available(&scene);
    assert_eq!(reason, "TooFewAgents");
    assert_eq!(message, "1 there, 2 wanted at the least");
}

#[test]
fn the_names_in_json_are_stable() {
    let status = Scene::new().status(None);
    let document = crate::cli::status_document(&status);
    let text = serde_json::to_string_pretty(&sorted(&document)).expect("JSON") + "\n";
    expect_file!["../../tests/status.json"].assert_eq(&text);
}

/// Another crate in a build may make JSON maps keep their insertion order.
fn sorted(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let entries: BTreeMap<_, _> = map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            entries.into_iter().collect()
        }
        serde_json::Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
