//! What one agent's facts come to: whether it is there, how far it is with its instruction, what its trust is
//! worth. Derives only; what is unknown stays unknown.

use std::time::Duration;

use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::wire::WorkloadCause;
use easyenclave_schemas::{AgentId, DeploymentId, Digest, Generation, Timestamp};

use super::{DeploymentIx, DeploymentView, TargetIx, Wanted};
use crate::{
    Agent, Desired, Exposure, Liveness, Quarantine, Replica, Reported, Target, Trust, WaitReason,
};

/// How long an agent whose trust ran out is given to renew it before its replica is replaced. After an outage of the
/// reconciler many agents need a moment, and to replace them all would be worse than to wait.
const RENEWAL: Duration = Duration::from_secs(60);

/// An agent.
pub(crate) struct AgentView<'a> {
    pub(crate) id: &'a AgentId,
    pub(crate) fact: &'a Agent,
    pub(crate) target: TargetIx,
    /// What was decided to run on it; for a stray, what runs on it undecided.
    pub(crate) deployment: Option<DeploymentIx>,
    pub(crate) life: Life,
    pub(crate) instruction: Instruction,
    pub(crate) standing: Standing,
    /// A retire order for it is under way.
    pub(crate) retiring: bool,
    /// Its target or its deployment is frozen.
    pub(crate) frozen: bool,
    /// Its target has another size or another place by now.
    pub(crate) drifted: bool,
    /// Its evidence is refused, or ran out and was not renewed when asked for: there is no more to wait for.
    pub(crate) distrusted: bool,
    /// Something of it is published.
    pub(crate) exposed: bool,
    /// It is told to run the version that its deployment aims at. One that follows an instruction unknown here
    /// is not: it must be told again.
    pub(crate) current: bool,
    /// It is told to run, or says that it runs, the version that its deployment aims at.
    pub(crate) is_up_to_date: bool,
    /// If it is ready, it has been so for as long as its deployment's roll-out asks for.
    pub(crate) steady: bool,
}

/// Whether an agent is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Heard,
    /// Unknown until then.
    Silent(Timestamp),
    /// Silent past the deadline.
    Lost,
    /// Proved absent.
    Gone,
}

/// How far an agent is with its last instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// It has not said.
    Unknown,
    /// It has not confirmed it.
    UnderWay,
    /// Nothing is to run and nothing runs.
    Idle,
    /// What is to run is there or starting, and is not ready.
    NotReady,
    /// What is to run is there and ready.
    Ready,
    /// It runs something that was not decided, or follows an instruction that is not known here.
    Astray,
}

/// What an agent's trust comes to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Accepted,
    Quarantined(Quarantine),
    /// It cannot be judged: it keeps what it has and gets nothing new.
    Unjudged,
}

/// Where an agent belongs, as the view numbered it.
pub(super) struct Place<'v, 'a> {
    pub(super) target: (TargetIx, Wanted<&'a Target>),
    pub(super) deployment: Option<(DeploymentIx, &'v DeploymentView<'a>)>,
}

impl<'a> AgentView<'a> {
    pub(super) fn new(
        desired: &Desired,
        now: Timestamp,
        (id, fact): (&'a AgentId, &'a Agent),
        place: &Place,
        retiring: bool,
    ) -> Self {
        let (target, home) = place.target;
        let frozen = place
            .deployment
            .is_some_and(|(_, view)| matches!(view.state, Wanted::Frozen));
        Self {
            id,
            fact,
            target,
            deployment: place.deployment.map(|(deployment, _)| deployment),
            life: life(fact, desired, now),
            instruction: instruction(fact),
            standing: standing(fact, now),
            retiring,
            frozen: frozen || matches!(home, Wanted::Frozen),
            drifted: drifted(fact, home),
            distrusted: distrusted(fact, now),
            exposed: fact.exposed != Exposure::Hidden,
            current: place
                .deployment
                .is_some_and(|(_, view)| current(fact, view)),
            is_up_to_date: place
                .deployment
                .is_some_and(|(_, view)| is_up_to_date(fact, view)),
            steady: place
                .deployment
                .is_some_and(|(_, view)| is_steady(fact, view, now)),
        }
    }
}

impl AgentView<'_> {
    /// Whether it answers and nothing forbids to instruct it.
    pub(crate) fn is_touchable(&self) -> bool {
        self.life == Life::Heard
            && self.instruction != Instruction::Unknown
            && !self.retiring
            && !self.frozen
    }

    /// Whether it can run such workloads.
    pub(crate) fn can(&self, runtime: Runtime) -> bool {
        self.fact.runtimes.contains(&runtime)
    }

    /// Whether it may get new work, as far as it is concerned.
    pub(crate) fn is_eligible(&self) -> bool {
        self.is_touchable() && self.standing == Standing::Accepted && !self.drifted
    }

    /// Whether it runs what it should, is content, and is trusted.
    pub(crate) fn is_ready(&self) -> bool {
        self.life == Life::Heard
            && self.instruction == Instruction::Ready
            && self.standing == Standing::Accepted
            && !self.retiring
    }

    /// Whether what it carries was never decided here.
    pub(crate) fn is_stray(&self) -> bool {
        self.fact.assigned.is_none() && self.deployment.is_some()
    }

    /// Whether it is told to run a version, and follows no instruction that is unknown here.
    pub(crate) fn is_told(&self, workload: Digest) -> bool {
        let assigned = self.fact.assigned.as_ref();
        assigned.is_some_and(|assigned| assigned.workload == workload)
            && self.instruction != Instruction::Astray
    }

    /// The generation of an instruction to run a version. What the agent runs already, as after the store was lost,
    /// is taken over under the number that it has, so that nothing is started anew.
    pub(crate) fn generation_to_run(
        &self,
        deployment: &DeploymentId,
        workload: Digest,
    ) -> Generation {
        match self.running_already(deployment, workload) {
            Some(replica) => replica.generation,
            None => self.next_generation(),
        }
    }

    /// A version that it runs under an instruction that is not known here.
    pub(crate) fn running_already(
        &self,
        deployment: &DeploymentId,
        workload: Digest,
    ) -> Option<&Replica> {
        match &self.fact.reported {
            Reported::Running(replica)
                if replica.generation > self.fact.generation
                    && replica.deployment == *deployment
                    && replica.workload == workload =>
            {
                Some(replica)
            }
            _ => None,
        }
    }

    /// The generation of the next instruction: above all that either side has seen.
    pub(crate) fn next_generation(&self) -> Generation {
        let reported = reported_generation(&self.fact.reported);
        self.fact
            .generation
            .max(reported.unwrap_or_default())
            .next()
    }

    /// Why its replica is not ready, and until when that is no failure. What keeps an agent that is silent or
    /// not trusted is the agent's own matter.
    pub(crate) fn unready(
        &self,
        within: Duration,
        now: Timestamp,
    ) -> (WaitReason, Option<Timestamp>) {
        let agent = self.id.clone();
        if self.life != Life::Heard || self.standing != Standing::Accepted {
            return (WaitReason::ReplicaNotReady { agent }, None);
        }
        match (self.cause(), self.deadline(within)) {
            (Some(cause), _) if !cause.is_versions_fault() => {
                (WaitReason::DependencyDown { agent, cause }, None)
            }
            (cause, Some(deadline)) if deadline <= now => {
                (WaitReason::ReplicaFailing { agent, cause }, None)
            }
            (_, deadline) => (WaitReason::ReplicaNotReady { agent }, deadline),
        }
    }

    /// Why the version that it is told to run fails on it, if that is the version's own fault and has been for all of the
    /// time that it has. What kept it from being ready before, such as an outage, uses up nothing of that.
    /// One that fails and is ready ends time and again: it has to have ended once more when that time was over.
    pub(crate) fn fault(&self, within: Duration, now: Timestamp) -> Option<WorkloadCause> {
        let is_judged = self.is_touchable() && self.standing == Standing::Accepted && self.current;
        let (cause, last) = match self.instruction {
            Instruction::Ready => (Some(WorkloadCause::Exited), self.ready_since()?),
            _ => (self.cause(), now),
        };
        let is_over = self.failing_since().is_some() && self.is_over(within, last);
        let cause = cause.filter(|cause| cause.is_versions_fault());
        cause.filter(|_| is_judged && is_over)
    }

    /// Whether what it is told to run had to be ready by now.
    pub(crate) fn is_over(&self, within: Duration, now: Timestamp) -> bool {
        self.deadline(within).is_some_and(|over| over <= now)
    }

    /// When what it is told to run has to be ready.
    fn deadline(&self, within: Duration) -> Option<Timestamp> {
        let assigned = self.fact.assigned.as_ref()?;
        let since = self.failing_since().unwrap_or_default();
        Some(assigned.since.max(since).plus(within))
    }

    /// Why what it is told to run is not ready, as it says itself.
    fn cause(&self) -> Option<WorkloadCause> {
        let waits = self.instruction == Instruction::NotReady;
        let replica = self.replica().filter(|_| waits);
        replica.and_then(|replica| replica.cause)
    }
}

/// The deployment that an agent carries, decided or stray.
pub(super) fn carries(agent: &Agent) -> Option<&DeploymentId> {
    match (&agent.assigned, &agent.reported) {
        (Some(assigned), _) => Some(&assigned.deployment),
        (None, Reported::Running(replica)) if replica.generation >= agent.generation => {
            Some(&replica.deployment)
        }
        (None, _) => None,
    }
}

fn life(agent: &Agent, desired: &Desired, now: Timestamp) -> Life {
    match agent.liveness {
        Liveness::Heard => Life::Heard,
        Liveness::Gone => Life::Gone,
        Liveness::Silent(since) => match since.plus(desired.limits.lost_after) {
            deadline if deadline <= now => Life::Lost,
            deadline => Life::Silent(deadline),
        },
    }
}

fn reported_generation(reported: &Reported) -> Option<Generation> {
    match reported {
        Reported::Unknown => None,
        Reported::Idle(generation) => Some(*generation),
        Reported::Running(replica) => Some(replica.generation),
    }
}

fn instruction(agent: &Agent) -> Instruction {
    let Some(reported) = reported_generation(&agent.reported) else {
        return Instruction::Unknown;
    };
    if reported < agent.generation {
        return Instruction::UnderWay;
    }
    let idle = agent.assigned.is_none() && matches!(agent.reported, Reported::Idle(_));
    if reported > agent.generation && !idle {
        return Instruction::Astray;
    }
    match (&agent.assigned, &agent.reported) {
        (None, Reported::Running(_)) => Instruction::Astray,
        (None, _) => Instruction::Idle,
        (Some(assigned), Reported::Running(replica)) => {
            let same =
                replica.deployment == assigned.deployment && replica.workload == assigned.workload;
            match (same, replica.ready) {
                (true, true) => Instruction::Ready,
                (true, false) => Instruction::NotReady,
                (false, _) => Instruction::Astray,
            }
        }
        (Some(_), _) => Instruction::NotReady,
    }
}

fn current(agent: &Agent, deployment: &DeploymentView) -> bool {
    let assigned = agent.assigned.as_ref().zip(deployment.aim);
    assigned.is_some_and(|(assigned, aim)| assigned.workload == aim)
        && instruction(agent) != Instruction::Astray
}

/// Whoever has the aim already keeps it, whatever it says that it can run: an agent that was started again may have found
/// its engine later.
fn is_up_to_date(agent: &Agent, deployment: &DeploymentView) -> bool {
    let told = agent.assigned.as_ref().map(|assigned| assigned.workload);
    let runs = match &agent.reported {
        Reported::Running(replica) => Some(replica.workload),
        Reported::Idle(_) | Reported::Unknown => None,
    };
    deployment.aim.is_some() && (told == deployment.aim || runs == deployment.aim)
}

/// Whether a replica of the aim has been ready long enough; with one that proved good before, that is at once.
fn is_steady(agent: &Agent, deployment: &DeploymentView, now: Timestamp) -> bool {
    let least = deployment.state.spec().map(|spec| spec.rollout.min_healthy);
    let least = least.filter(|least| !least.is_zero() && !deployment.is_proved());
    let since = match &agent.reported {
        Reported::Running(replica) => replica.ready_since,
        Reported::Idle(_) | Reported::Unknown => None,
    };
    least.is_none_or(|least| since.is_some_and(|since| since.plus(least) <= now))
}

fn standing(agent: &Agent, now: Timestamp) -> Standing {
    match (agent.trust, agent.quarantined) {
        (Trust::Accepted(until), _) if until > now => Standing::Accepted,
        (Trust::Accepted(_), _) => Standing::Quarantined(Quarantine::TrustLapsed),
        (Trust::Refused, _) => Standing::Quarantined(Quarantine::Refused),
        (Trust::Unknown, Some(reason)) => Standing::Quarantined(reason),
        (Trust::Unknown, None) => Standing::Unjudged,
    }
}

fn distrusted(agent: &Agent, now: Timestamp) -> bool {
    match agent.trust {
        Trust::Accepted(until) => until.plus(RENEWAL) <= now,
        Trust::Refused => true,
        Trust::Unknown => false,
    }
}

fn drifted(agent: &Agent, target: Wanted<&Target>) -> bool {
    let same = |spec: &Target| spec.size == agent.size && spec.is_in(&agent.datacenter);
    target.spec().is_some_and(|spec| !same(spec))
}
