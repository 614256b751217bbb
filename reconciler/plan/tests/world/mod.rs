//! A small simulated world: it records what a plan says, and its agents, workers and verifier answer in their own
//! time. Every plan is audited before it is carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use easyenclave_plan::{
    Action, Agent, Approval, Assigned, CancelReason, Desired, Exposure, LaunchOrder, Liveness,
    Observed, OrderState, Plan, Quarantine, Remedy, Replica, Reported, RetireOrder, RolloutFact,
    Shortage, Trust, WaitReason, audit, plan, spent,
};
use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::wire::WorkloadCause;
use easyenclave_schemas::{
    AgentId, DeploymentId, Digest, FailureCause, Generation, OrderId, Revert, Spot, StageTimes,
    TargetName, Timestamp,
};

use crate::testing::{NOW, desired, observed, text, version};

/// How long evidence is good for here.
pub(crate) const TRUST: Duration = Duration::from_secs(3600);

/// The world and what is wanted of it.
pub(crate) struct World {
    pub(crate) desired: Desired,
    pub(crate) observed: Observed,
    pub(crate) now: Timestamp,
    /// Agents that are cut off.
    pub(crate) silent: BTreeSet<AgentId>,
    /// Versions that never become ready.
    pub(crate) broken: BTreeSet<Digest>,
    /// Why those that are not ready say that they are not.
    pub(crate) causes: BTreeMap<Digest, WorkloadCause>,
    /// Targets whose launches fail.
    pub(crate) full: BTreeSet<TargetName>,
    /// Targets whose agents find no container engine, whatever their documents promise.
    pub(crate) bare: BTreeSet<TargetName>,
    /// Agents that never answer a challenge.
    pub(crate) mute: BTreeSet<AgentId>,
    /// The names that texts show, by id.
    names: Vec<(String, String)>,
}

impl World {
    pub(crate) fn new(state: &str, world: &str) -> Self {
        Self::of(desired(state), observed(world))
    }

    pub(crate) fn of(desired: Desired, observed: Observed) -> Self {
        Self {
            desired,
            observed,
            now: NOW,
            silent: BTreeSet::new(),
            broken: BTreeSet::new(),
            causes: BTreeMap::new(),
            full: BTreeSet::new(),
            bare: BTreeSet::new(),
            mute: BTreeSet::new(),
            names: Vec::new(),
        }
    }

    /// Plans, audits and records. Nothing answers yet.
    pub(crate) fn pass(&mut self) -> Plan {
        let plan = self.plan();
        self.execute(&plan);
        self.observed.spent = spent(&self.desired, &self.observed, &plan);
        plan
    }

    /// A person approves what is held under a digest.
    pub(crate) fn approve(&mut self, held: Digest, revision: &str) {
        let revision = Some(revision.to_owned());
        self.desired.approvals.insert(Approval { held, revision });
    }

    /// Plans and audits.
    pub(crate) fn plan(&self) -> Plan {
        let plan = plan(&self.desired, &self.observed, self.now);
        let violations = audit(&self.desired, &self.observed, &plan, self.now);
        assert!(violations.is_empty(), "{violations:#?}\n{}", text(&plan));
        plan
    }

    /// A pass, and then everything moves on by one step and time by one second.
    pub(crate) fn turn(&mut self) -> Plan {
        let plan = self.pass();
        self.answer_all();
        self.lead();
        self.advance(1);
        plan
    }

    /// Ways open, and names move, one step after they are decided.
    fn lead(&mut self) {
        let fronts = &mut self.observed.fronts;
        fronts.listed = true;
        let agents = &self.observed.agents;
        let is_shown = |agent: &AgentId| {
            let agent = agents.get(agent);
            agent.is_some_and(|agent| agent.exposed != Exposure::Hidden)
        };
        fronts.leads.retain(|_, agent| is_shown(agent));
        let open = agents.keys().filter(|agent| is_shown(agent));
        fronts.open = open.map(|agent| (agent.clone(), true)).collect();
        let decided = fronts.decided.clone();
        fronts.leads.extend(decided);
    }

    pub(crate) fn advance(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    /// Turns until nothing is done and nothing moves. Returns the story: what was done in each turn.
    pub(crate) fn settle(&mut self) -> String {
        let start = self.now;
        let mut story = String::new();
        for _ in 0..200 {
            let before = self.observed.clone();
            let at = self.now.since(start).as_secs();
            let plan = self.turn();
            for action in &plan.actions {
                story.push_str(&format!("+{at}s {}\n", self.named(&action.to_string())));
            }
            let ripens = plan.waits.iter().any(|wait| {
                let is_roll_out = matches!(
                    wait.reason,
                    WaitReason::MinHealthy { .. } | WaitReason::RollOutPaused { .. }
                );
                is_roll_out && wait.until.is_some()
            });
            if plan.actions.is_empty() && self.observed == before && !ripens {
                return story;
            }
        }
        panic!("it does not settle:\n{story}");
    }

    /// The plan of now as text.
    pub(crate) fn text(&self) -> String {
        self.named(&text(&self.plan()))
    }

    fn named(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, name) in &self.names {
            text = text.replace(id, name);
        }
        for v in ["v1", "v2", "v3"] {
            text = text.replace(&version(v).to_string(), v);
        }
        text
    }

    /// Records what a plan says, as the executor does before anything answers.
    pub(crate) fn execute(&mut self, plan: &Plan) {
        for action in &plan.actions {
            self.record(action);
        }
    }

    fn record(&mut self, action: &Action) {
        let now = self.now;
        match action {
            Action::Unexpose { agent, .. } => {
                self.agent(agent).exposed = Exposure::Hidden;
                self.observed.fronts.open.remove(agent);
            }
            Action::Unpoint { agent, hostname } => {
                let decided = self.observed.fronts.decided.get(hostname);
                if decided == Some(agent) {
                    self.observed.fronts.decided.remove(hostname);
                }
            }
            Action::Point {
                agent, hostname, ..
            } => {
                let decided = &mut self.observed.fronts.decided;
                decided.insert(hostname.clone(), agent.clone());
            }
            Action::Quarantine { agent, reason } => self.agent(agent).quarantined = Some(*reason),
            Action::Release { agent } => self.agent(agent).quarantined = None,
            Action::Settle {
                deployment,
                workload,
            } => {
                let spec = self.desired.deployments.get(deployment);
                let fact = RolloutFact {
                    healthy: Some(*workload),
                    runtime: spec.map(|spec| spec.runtime),
                    reverted: None,
                };
                self.observed.rollouts.insert(deployment.clone(), fact);
            }
            Action::Revert {
                deployment,
                attempt,
                from,
                to,
                cause,
            } => {
                let fact = self.observed.rollouts.get_mut(deployment);
                fact.expect("the healthy version").reverted = Some(Revert {
                    attempt: *attempt,
                    from: *from,
                    to: *to,
                    cause: *cause,
                    at: now,
                });
            }
            Action::Challenge { agent } => self.agent(agent).challenged = Some(now),
            Action::Unassign {
                agent, generation, ..
            } => self.instruct(agent, *generation, None),
            Action::Assign {
                agent,
                generation,
                deployment,
                workload,
            } => {
                let assigned = Assigned {
                    deployment: deployment.clone(),
                    workload: *workload,
                    since: now,
                };
                self.instruct(agent, *generation, Some(assigned));
            }
            Action::Retire { agent, .. } => {
                let order = RetireOrder { opened: now };
                let before = self.observed.retires.insert(agent.clone(), order);
                assert!(before.is_none(), "{agent} is retired twice");
            }
            Action::Cancel { order, reason } => {
                let order = self.observed.launches.get_mut(order).expect("the order");
                match reason {
                    CancelReason::Expired(cause) => {
                        order.state = OrderState::Failed(now);
                        order.cause = Some(*cause);
                        if *cause == FailureCause::NotClaimed {
                            let spot = Spot {
                                provider: order.provider.clone(),
                                datacenter: order.datacenter.clone(),
                                zone: None,
                                shape: None,
                            };
                            let shortage = Shortage {
                                cause: *cause,
                                failures: 1,
                                until: now.plus(Duration::from_secs(30)),
                            };
                            self.observed.shortages.insert(spot, shortage);
                        }
                    }
                    CancelReason::Surplus
                    | CancelReason::TargetRemoved
                    | CancelReason::PlaceRemoved => {
                        order.state = OrderState::Cancelled;
                    }
                }
            }
            Action::Launch { .. } => self.open(action),
            Action::Expose { agent, deployment } => {
                self.agent(agent).exposed = Exposure::Exposed(deployment.clone());
            }
        }
    }

    pub(crate) fn agent(&mut self, id: &AgentId) -> &mut Agent {
        self.observed.agents.get_mut(id).expect("the agent")
    }

    /// An agent by its slot.
    pub(crate) fn at(&self, target: &str, slot: u32) -> AgentId {
        let at =
            |(_, agent): &(&AgentId, &Agent)| agent.target.as_str() == target && agent.slot == slot;
        let found = self.observed.agents.iter().find(at);
        found.expect("an agent in this slot").0.clone()
    }

    fn instruct(&mut self, id: &AgentId, generation: Generation, assigned: Option<Assigned>) {
        let now = self.now;
        let agent = self.agent(id);
        assert!(generation > agent.generation, "{id} would refuse");
        agent.generation = generation;
        agent.idle_since = assigned.is_none().then_some(now);
        agent.assigned = assigned;
    }

    fn open(&mut self, action: &Action) {
        let Action::Launch {
            order,
            target,
            slot,
            generation,
            failures,
            provider,
            datacenter,
            ..
        } = action
        else {
            return;
        };
        let name = match generation {
            1 => format!("{target}#{slot}"),
            _ => format!("{target}#{slot}.{generation}"),
        };
        self.names.push((order.to_string(), name));
        let launch = LaunchOrder {
            target: target.clone(),
            slot: *slot,
            provider: provider.clone(),
            datacenter: datacenter.clone(),
            generation: *generation,
            failures: *failures,
            state: OrderState::Open,
            opened: self.now,
            times: StageTimes::default(),
            cause: None,
            unaccounted: false,
        };
        let same = |o: &LaunchOrder| o.target == *target && o.slot == *slot;
        self.observed.launches.retain(|_, other| !same(other));
        let before = self.observed.launches.insert(order.clone(), launch);
        assert!(before.is_none(), "{order} is opened twice");
    }

    /// Everything moves on by one step.
    pub(crate) fn answer_all(&mut self) {
        for id in self.observed.retires.keys().cloned().collect::<Vec<_>>() {
            self.confirm_retire(&id);
        }
        for id in self.observed.agents.keys().cloned().collect::<Vec<_>>() {
            self.hear(&id);
        }
        for id in self.observed.launches.keys().cloned().collect::<Vec<_>>() {
            self.work_on(&id);
        }
    }

    /// A worker confirms that a machine is destroyed.
    pub(crate) fn confirm_retire(&mut self, id: &AgentId) {
        if self.observed.retires.remove(id).is_some() {
            self.observed.agents.remove(id);
            self.observed.orphans.remove(id.as_str());
            self.silent.remove(id);
        }
    }

    /// The deployments that are services of a Compose file.
    fn services(&self) -> BTreeSet<DeploymentId> {
        let all = self.desired.deployments.iter();
        let services = all.filter(|(_, spec)| spec.runtime == Runtime::Compose);
        services.map(|(id, _)| id.clone()).collect()
    }

    /// An agent's heartbeat: it reports, takes in its instruction and answers a challenge.
    pub(crate) fn hear(&mut self, id: &AgentId) {
        let (now, broken, mute) = (self.now, self.broken.clone(), self.mute.contains(id));
        let (causes, services) = (self.causes.clone(), self.services());
        if self.silent.contains(id) || !self.observed.agents.contains_key(id) {
            return;
        }
        let agent = self.agent(id);
        if agent.liveness == Liveness::Gone {
            return;
        }
        agent.liveness = Liveness::Heard;
        if agent.challenged.is_some() && !mute {
            agent.challenged = None;
            agent.trust = Trust::Accepted(now.plus(TRUST));
        }
        let reported = match (&agent.reported, &agent.assigned) {
            (Reported::Running(replica), Some(assigned))
                if replica.generation == agent.generation =>
            {
                let is_broken = broken.contains(&assigned.workload);
                Reported::Running(gone_on(replica, is_broken, &services))
            }
            // It goes on with what nobody here remembers, until it is told something newer.
            (Reported::Running(replica), _) if replica.generation > agent.generation => {
                Reported::Running(replica.clone())
            }
            (_, None) => Reported::Idle(agent.generation),
            (before, Some(assigned)) => Reported::Running(Replica {
                generation: agent.generation,
                deployment: assigned.deployment.clone(),
                workload: assigned.workload,
                // What a version needs is fetched while the one before serves.
                serving: match before {
                    Reported::Running(it) if it.deployment == assigned.deployment => it.serving,
                    _ => None,
                },
                // One that nobody has heard since the start has been running all the time.
                ready: *before == Reported::Unknown && !broken.contains(&assigned.workload),
                ready_since: None,
                failing_since: None,
                cause: None,
            }),
        };
        let before = std::mem::replace(&mut agent.reported, reported);
        if let Reported::Running(replica) = &mut agent.reported {
            let since = match &before {
                Reported::Running(before) if before.generation == replica.generation => {
                    before.ready_since
                }
                _ => None,
            };
            replica.ready_since = replica.ready.then_some(since.unwrap_or(now));
            let cause = causes.get(&replica.workload).copied();
            replica.cause = cause.filter(|_| !replica.ready);
            let since = match &before {
                Reported::Running(before) if before.generation == replica.generation => {
                    before.failing_since
                }
                _ => None,
            };
            let own = replica.cause.filter(|cause| cause.is_versions_fault());
            replica.failing_since = own.map(|_| since.unwrap_or(now));
        }
    }

    /// A worker goes on with an order.
    pub(crate) fn work_on(&mut self, id: &OrderId) {
        let now = self.now;
        let Some(order) = self.observed.launches.get_mut(id) else {
            return;
        };
        order.state = match order.state {
            OrderState::Open => {
                order.times.claimed_at = Some(now);
                OrderState::Claimed
            }
            OrderState::Claimed if self.full.contains(&order.target) => {
                order.cause = Some(FailureCause::NoCapacity);
                OrderState::Failed(now)
            }
            OrderState::Claimed => {
                order.times.made_at = Some(now);
                OrderState::Provisioning
            }
            OrderState::Provisioning => {
                order.times.registered_at = Some(now);
                OrderState::Fulfilled
            }
            OrderState::Fulfilled | OrderState::Failed(_) | OrderState::Cancelled => return,
        };
        let order = order.clone();
        if order.state == OrderState::Fulfilled {
            self.register(id, &order);
        }
    }

    fn register(&mut self, id: &OrderId, order: &LaunchOrder) {
        let spec = self.desired.targets.get(&order.target);
        let known = self.observed.agents.contains_key(id.as_str());
        if let (Some(spec), false) = (spec, known) {
            let agent = Agent {
                target: order.target.clone(),
                slot: order.slot,
                datacenter: order.datacenter.clone(),
                size: spec.size.clone(),
                runtimes: match self.bare.contains(&order.target) {
                    true => [Runtime::Process].into(),
                    false => spec.runtimes.clone(),
                },
                liveness: Liveness::Heard,
                trust: Trust::Accepted(self.now.plus(TRUST)),
                attested: None,
                remedy: Remedy::FreshEvidence,
                challenged: None,
                quarantined: None,
                generation: Generation(0),
                assigned: None,
                idle_since: Some(self.now),
                reported: Reported::Idle(Generation(0)),
                exposed: Exposure::Hidden,
            };
            self.observed.agents.insert(id.agent(), agent);
        }
    }

    /// The store is lost: agents are heard of again and go on with what they run, and nobody knows what was decided.
    pub(crate) fn lose_store(&mut self) {
        self.observed.rollouts.clear();
        self.observed.fronts.decided.clear();
        for agent in self.observed.agents.values_mut() {
            agent.assigned = None;
            agent.idle_since = None;
            agent.generation = Generation(0);
            agent.exposed = Exposure::Hidden;
        }
    }

    /// Cuts an agent off.
    pub(crate) fn cut(&mut self, id: &AgentId) {
        let now = self.now;
        self.silent.insert(id.clone());
        self.agent(id).liveness = Liveness::Silent(now);
    }

    /// The evidence of an agent is refused from now on.
    pub(crate) fn refuse(&mut self, id: &AgentId) {
        self.mute.insert(id.clone());
        let agent = self.agent(id);
        (agent.trust, agent.remedy) = (Trust::Refused, Remedy::NotItsOwn);
    }

    /// How many replicas of a deployment are ready.
    pub(crate) fn ready(&self, deployment: &str) -> usize {
        let now = self.now;
        let ready = |agent: &&Agent| {
            let assigned = agent.assigned.as_ref().map(|a| a.deployment.to_string());
            matches!(&agent.reported, Reported::Running(r)
                if r.ready && r.generation == agent.generation)
                && assigned.as_deref() == Some(deployment)
                && agent.liveness == Liveness::Heard
                && matches!(agent.trust, Trust::Accepted(until) if until > now)
        };
        self.observed.agents.values().filter(ready).count()
    }

    /// Why an agent is out of service.
    pub(crate) fn quarantined(&self, id: &AgentId) -> Option<Quarantine> {
        self.observed
            .agents
            .get(id)
            .and_then(|agent| agent.quarantined)
    }
}

/// How a replica goes on. Services fetch what they need while the version before serves, take that back, and are ready then.
fn gone_on(replica: &Replica, is_broken: bool, services: &BTreeSet<DeploymentId>) -> Replica {
    let mut replica = replica.clone();
    let is_changing = !is_broken && replica.serving.is_some_and(|it| it != replica.workload);
    replica.ready = !is_broken && !is_changing;
    let says = services.contains(&replica.deployment);
    let own = (replica.ready && says).then_some(replica.workload);
    replica.serving = match is_broken {
        true => replica.serving.filter(|it| *it != replica.workload),
        false => own,
    };
    replica
}
