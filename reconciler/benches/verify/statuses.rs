//! What the status branch says of the fleet beside trust: agents that each run a replica, ten to a deployment.

use std::collections::BTreeMap;

use easyenclave::report::Status;
use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::status::{
    AgentPhase, AgentStatus, AssignmentStatus, CapacityStatus, Condition, ConditionStatus,
    ConditionType, Counts, DeploymentPhase, DeploymentStatus, FleetStatus, LivenessStatus,
    OrderKind, OrderStatus, PlacedReplica, ReplicaStatus, TrustStatus,
};
use easyenclave_schemas::wire::WorkloadState;
use easyenclave_schemas::{
    AgentId, DeploymentId, Digest, FleetId, Generation, OrderId, StageTimes, Timestamp,
};

use crate::maker::SIZE;

/// Replicas of a deployment.
const REPLICAS: u32 = 10;

/// A fleet in which all runs, and nothing was attested yet.
pub(crate) fn fleet(agents: u32, now: Timestamp) -> Status {
    let fleet = FleetId::new("demo").expect("a name");
    let order = |slot| OrderId::launch(&fleet, &name(SIZE), slot, 1);
    let all: Vec<(u32, OrderId)> = (0..agents).map(|slot| (slot, order(slot))).collect();
    let agents: BTreeMap<_, _> = all
        .iter()
        .map(|(slot, order)| (order.agent(), agent(order.agent(), *slot, now)))
        .collect();
    let orders = all
        .into_iter()
        .map(|(slot, it)| (it.clone(), launch(it, slot, now)));
    let mut deployments = BTreeMap::new();
    for agent in agents.values() {
        let id = deployment(agent.slot);
        let found = deployments
            .entry(id.clone())
            .or_insert_with(|| empty(id, now));
        found.replicas.push(PlacedReplica {
            agent: agent.agent.clone(),
            ready: true,
            updated: true,
            url: Some(url(agent.slot)),
        });
    }
    for deployment in deployments.values_mut() {
        count(deployment);
    }
    let mut status = Status {
        at: now,
        fleet: whole(fleet, now),
        orders: orders.collect(),
        capacity: BTreeMap::from([(name(SIZE), capacity(&agents, now))]),
        agents,
        deployments,
        problems: Vec::new(),
    };
    status.fleet.counts = counts(&status);
    status
}

/// Says of an agent, its deployment and the fleet what follows from its trust and its replica.
pub(crate) fn settle(status: &mut Status, id: &AgentId, now: Timestamp) {
    let agent = status.agents.get_mut(id).expect("one of them");
    let replica = agent.replica.as_ref().expect("something runs");
    let ready = replica.state == WorkloadState::Ready;
    let accepted = agent.trust.state == "accepted";
    agent.phase = match ready {
        true => AgentPhase::Running,
        false => AgentPhase::Deploying,
    };
    let until = agent.trust.trusted_until.unwrap_or_default();
    let fresh = format!("trusted until {until} (simulated)");
    for (kind, holds, message) in [
        (ConditionType::Attested, accepted, String::new()),
        (ConditionType::Fresh, accepted, fresh),
        (ConditionType::Healthy, ready, String::new()),
    ] {
        let mut new = condition(kind, holds, now);
        new.message = message;
        let old = agent.conditions.iter_mut().find(|old| old.kind == kind);
        match old {
            Some(old) if old.status == new.status => old.message = new.message,
            Some(old) => *old = new,
            None => agent.conditions.push(new),
        }
    }
    let deployment = deployment(agent.slot);
    let deployment = status.deployments.get_mut(&deployment).expect("its own");
    let placed = deployment.replicas.iter_mut().find(|it| it.agent == *id);
    placed.expect("its own").ready = ready;
    count(deployment);
    status.fleet.counts = counts(status);
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

fn deployment(slot: u32) -> DeploymentId {
    name(&format!("acme/d{}", slot / REPLICAS))
}

fn url(slot: u32) -> String {
    format!("http://127.0.0.1:{}", 20_000 + slot)
}

fn condition(kind: ConditionType, holds: bool, now: Timestamp) -> Condition {
    Condition {
        kind,
        status: match holds {
            true => ConditionStatus::True,
            false => ConditionStatus::False,
        },
        reason: "Made".into(),
        message: String::new(),
        last_transition: now,
    }
}

fn agent(agent: AgentId, slot: u32, now: Timestamp) -> AgentStatus {
    let workload = Digest::of(b"a workload");
    AgentStatus {
        agent,
        target: name(SIZE),
        slot,
        datacenter: name("local"),
        node_size: name(SIZE),
        runtimes: Runtime::usual(),
        phase: AgentPhase::Running,
        liveness: LivenessStatus::Heard,
        unlisted: false,
        trust: TrustStatus::default(),
        quarantined: None,
        generation: Generation(1),
        assigned: Some(AssignmentStatus {
            deployment: deployment(slot),
            workload,
            since: now,
        }),
        idle_since: None,
        acknowledged: Some(Generation(1)),
        replica: Some(ReplicaStatus {
            generation: Generation(1),
            deployment: deployment(slot),
            workload,
            state: WorkloadState::Ready,
            restarts: 0,
            message: String::new(),
            url: Some(url(slot)),
            serving: None,
            ready_since: None,
            failing_since: None,
            cause: None,
            images: Vec::new(),
        }),
        exposed: None,
        retiring: None,
        challenged: None,
        conditions: vec![condition(ConditionType::UpToDate, true, now)],
        waits: Vec::new(),
    }
}

fn launch(order: OrderId, slot: u32, now: Timestamp) -> OrderStatus {
    OrderStatus {
        order,
        work: OrderKind::Launch {
            target: name(SIZE),
            slot,
            generation: 1,
            failures: 0,
            zone: None,
            shape: None,
        },
        datacenter: name("local"),
        provider: name("local"),
        phase: "fulfilled".into(),
        opened_at: now,
        failed_at: None,
        worker: None,
        error: None,
        cause: None,
        console: None,
        times: StageTimes::default(),
        unaccounted: false,
        conditions: vec![condition(ConditionType::Fulfilled, true, now)],
        waits: Vec::new(),
    }
}

fn empty(deployment: DeploymentId, now: Timestamp) -> DeploymentStatus {
    DeploymentStatus {
        deployment,
        phase: DeploymentPhase::Running,
        workload: Some(Digest::of(b"a workload")),
        wanted: REPLICAS,
        assigned: REPLICAS,
        updated: REPLICAS,
        ready: 0,
        rollout: None,
        history: Vec::new(),
        hostname: None,
        url: None,
        replicas: Vec::new(),
        conditions: vec![condition(ConditionType::Available, true, now)],
        waits: Vec::new(),
    }
}

fn count(deployment: &mut DeploymentStatus) {
    let ready = deployment.replicas.iter().filter(|it| it.ready).count();
    deployment.ready = u32::try_from(ready).expect("few");
    deployment.phase = match ready == deployment.replicas.len() {
        true => DeploymentPhase::Running,
        false => DeploymentPhase::Progressing,
    };
}

fn capacity(agents: &BTreeMap<AgentId, AgentStatus>, now: Timestamp) -> CapacityStatus {
    let agents = u32::try_from(agents.len()).expect("few");
    CapacityStatus {
        target: name(SIZE),
        datacenter: name("local"),
        node_size: name(SIZE),
        phase: "Steady".into(),
        min: 0,
        max: agents,
        warm: 0,
        agents,
        assigned: agents,
        idle: 0,
        pending: 0,
        retiring: 0,
        reservations: Vec::new(),
        conditions: vec![condition(ConditionType::Available, true, now)],
        waits: Vec::new(),
    }
}

fn whole(fleet: FleetId, now: Timestamp) -> FleetStatus {
    FleetStatus {
        fleet,
        desired_commit: String::new(),
        effective_commit: String::new(),
        plan_digest: Digest::of(b"a plan"),
        counts: Counts::default(),
        held: Vec::new(),
        spent_approvals: Vec::new(),
        refusals: Vec::new(),
        sightings: Vec::new(),
        orphans: Vec::new(),
        unowned: BTreeMap::new(),
        unheard: Vec::new(),
        shortages: Vec::new(),
        fronts: None,
        conditions: vec![condition(ConditionType::Readable, true, now)],
    }
}

fn counts(status: &Status) -> Counts {
    let number = |count: usize| u32::try_from(count).expect("few");
    let accepted = status.agents.values();
    let accepted = accepted.filter(|agent| agent.trust.state == "accepted");
    let accepted = number(accepted.count());
    let deployments = status.deployments.values();
    let running = deployments.filter(|it| it.phase == DeploymentPhase::Running);
    Counts {
        deployments: number(status.deployments.len()),
        deployments_running: number(running.count()),
        replicas_ready: status.deployments.values().map(|it| it.ready).sum(),
        agents_simulated: accepted,
        agents_untrusted: number(status.agents.len()) - accepted,
        ..Counts::default()
    }
}
