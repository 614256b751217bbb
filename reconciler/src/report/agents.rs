//! The status of agents.

use std::collections::BTreeMap;

use easyenclave_plan::{Agent, Exposure, Liveness, Remedy, Replica, Reported, Subject, Trust};
use easyenclave_schemas::evidence::{Verdict, VerifierKind, Warning, stamp};
use easyenclave_schemas::records::{AgentRecord, TrustRecord};
use easyenclave_schemas::status::{
    AgentPhase, AgentStatus, AssignmentStatus, Condition, ConditionStatus, ConditionType,
    LivenessStatus, ReplicaStatus, TrustStatus,
};
use easyenclave_schemas::wire::{RunningImage, WorkloadState};
use easyenclave_schemas::{AgentId, Timestamp};

use super::Sight;
use super::conditions::{Conditions, when};
use crate::presence::Heard;
use crate::rollouts;

/// Every agent.
pub(super) fn agents(sight: &Sight<'_>) -> BTreeMap<AgentId, AgentStatus> {
    let observed = &sight.report.observed.agents;
    observed
        .iter()
        .filter_map(|(id, agent)| {
            let record = sight.records.agents.get(id)?;
            Some((id.clone(), status(sight, id, agent, record)))
        })
        .collect()
}

fn status(sight: &Sight<'_>, id: &AgentId, agent: &Agent, record: &AgentRecord) -> AgentStatus {
    let heard = sight.presence.heard(id);
    let replica = heard.as_ref().and_then(|heard| replica(heard, agent));
    let retiring = sight
        .report
        .observed
        .retires
        .get(id)
        .map(|order| order.opened.trunc_secs());
    let phase = phase(sight, agent, replica.as_ref(), retiring.is_some());
    AgentStatus {
        agent: id.clone(),
        target: agent.target.clone(),
        slot: agent.slot,
        datacenter: agent.datacenter.clone(),
        node_size: agent.size.clone(),
        runtimes: agent.runtimes.iter().copied().collect(),
        phase,
        liveness: match agent.liveness {
            Liveness::Heard => LivenessStatus::Heard,
            Liveness::Silent(since) => LivenessStatus::Silent(since.trunc_secs()),
            Liveness::Gone => LivenessStatus::Gone,
        },
        unlisted: sight.report.observed.unlisted.contains(id),
        trust: trust(agent, record),
        quarantined: agent.quarantined.map(|reason| reason.to_string()),
        generation: agent.generation,
        assigned: agent.assigned.as_ref().map(|assigned| AssignmentStatus {
            deployment: assigned.deployment.clone(),
            workload: assigned.workload,
            since: assigned.since.trunc_secs(),
        }),
        idle_since: agent.idle_since.map(Timestamp::trunc_secs),
        acknowledged: heard.as_ref().map(|heard| heard.acknowledged),
        exposed: match &agent.exposed {
            Exposure::Hidden => None,
            Exposure::Exposed(deployment) => Some(deployment.clone()),
        },
        retiring,
        challenged: agent.challenged.map(Timestamp::trunc_secs),
        conditions: conditions(sight, id, agent, record, replica.as_ref()),
        replica,
        waits: sight.waits(&Subject::Agent(id.clone())),
    }
}

fn replica(heard: &Heard, agent: &Agent) -> Option<ReplicaStatus> {
    heard.workload.as_ref().map(|report| ReplicaStatus {
        generation: report.generation,
        deployment: report.deployment.clone(),
        workload: report.workload,
        state: report.state,
        restarts: rounded(report.restarts),
        message: report.message.chars().take(300).collect(),
        url: report.url.clone(),
        serving: report.serving,
        ready_since: observed(agent).and_then(|replica| replica.ready_since),
        failing_since: observed(agent).and_then(|replica| replica.failing_since),
        cause: report.cause,
        images: images(&report.images),
    })
}

/// What the planner knows of it.
fn observed(agent: &Agent) -> Option<&Replica> {
    match &agent.reported {
        Reported::Running(replica) => Some(replica),
        Reported::Idle(_) | Reported::Unknown => None,
    }
}

/// In one order, so that an engine that lists them in another is no commit.
fn images(said: &[RunningImage]) -> Vec<RunningImage> {
    let mut images = said.to_vec();
    images.sort();
    images
}

/// Rounded down to a power of two: a workload that crashes all the time is no commit at each crash.
fn rounded(count: u32) -> u32 {
    count.checked_ilog2().map_or(0, |log| 1 << log)
}

fn phase(
    sight: &Sight<'_>,
    agent: &Agent,
    replica: Option<&ReplicaStatus>,
    retiring: bool,
) -> AgentPhase {
    let ready = is_ready(agent, replica);
    let lost_after = sight.report.revision.desired.limits.lost_after;
    match agent.liveness {
        _ if retiring => AgentPhase::Retired,
        Liveness::Gone => AgentPhase::Lost,
        Liveness::Silent(since) if since.plus(lost_after) <= sight.report.at => AgentPhase::Lost,
        _ if agent.quarantined.is_some() => AgentPhase::Quarantined,
        _ if agent.assigned.is_some() && ready => AgentPhase::Running,
        _ if agent.assigned.is_some() => AgentPhase::Deploying,
        _ if replica.is_some() => AgentPhase::Draining,
        _ => AgentPhase::Idle,
    }
}

fn is_ready(agent: &Agent, replica: Option<&ReplicaStatus>) -> bool {
    replica.is_some_and(|replica| {
        let (ready, _) = rollouts::health(replica.state, replica.cause);
        replica.generation == agent.generation && ready
    })
}

fn trust(agent: &Agent, record: &AgentRecord) -> TrustStatus {
    let state = match agent.trust {
        Trust::Accepted(_) => "accepted",
        Trust::Refused => "refused",
        Trust::Unknown => "unknown",
    };
    let not_its_own = agent.remedy == Remedy::NotItsOwn;
    match &record.trust {
        TrustRecord::Accepted(verdict) => TrustStatus {
            state: state.into(),
            not_its_own,
            simulated: verdict.simulated,
            trust_root: verdict.trust_root.to_string(),
            trusted_until: Some(verdict.trusted_until.trunc_secs()),
            tcb_status: verdict.tcb_status.to_string(),
            mrtd: verdict.mrtd.to_string(),
            evidence: record.evidence,
            policy: Some(verdict.policy_digest),
            measurement: verdict.measurement.clone(),
            verifiers: verdict.verifiers.clone(),
            grace_until: verdict.grace_until.map(Timestamp::trunc_secs),
            collateral_until: verdict.collateral_until.map(Timestamp::trunc_secs),
            shown_at: None,
            codes: verdict
                .warnings
                .iter()
                .map(|warning| warning.code.code().to_owned())
                .collect(),
            verdict: Some(verdict.clone()),
            warnings: verdict.warnings.iter().map(warned).collect(),
        },
        TrustRecord::Refused {
            code,
            policy,
            shown_at,
            trust_root,
            ..
        } => TrustStatus {
            state: state.into(),
            not_its_own,
            simulated: trust_root.is_some_and(|root| root.is_simulated()),
            trust_root: trust_root.map_or_else(String::new, |root| root.to_string()),
            evidence: record.evidence,
            policy: Some(*policy),
            shown_at: Some(shown_at.trunc_secs()),
            codes: vec![code.clone()],
            ..TrustStatus::default()
        },
    }
}

fn warned(warning: &Warning) -> String {
    format!("{}: {}", warning.code, warning.message)
}

fn conditions(
    sight: &Sight<'_>,
    id: &AgentId,
    agent: &Agent,
    record: &AgentRecord,
    replica: Option<&ReplicaStatus>,
) -> Vec<Condition> {
    let previous = sight.previous.and_then(|previous| previous.agents.get(id));
    let conditions = Conditions::new(
        previous.map(|previous| previous.conditions.as_slice()),
        sight.now(),
    );
    let conditions = attested(conditions, sight, agent, record);
    let conditions = healthy(conditions, agent, replica);
    let conditions = up_to_date(conditions, sight, agent);
    exposed(conditions, sight, agent).done()
}

fn attested<'a>(
    conditions: Conditions<'a>,
    sight: &Sight<'_>,
    agent: &Agent,
    record: &AgentRecord,
) -> Conditions<'a> {
    let stamp = stamp(record.trust.trust_root());
    let (status, reason, message) = match (&agent.trust, &record.trust) {
        (Trust::Accepted(_), TrustRecord::Accepted(verdict)) => {
            let reason = match (verdict.simulated, verdict.warnings.is_empty()) {
                (true, true) => "Simulated",
                (true, false) => "SimulatedWithWarnings",
                (false, true) => "Accepted",
                (false, false) => "AcceptedWithWarnings",
            };
            (ConditionStatus::True, reason, accepted(verdict))
        }
        (Trust::Accepted(_), TrustRecord::Refused { .. }) => (
            ConditionStatus::Unknown,
            "NotJudged",
            "not judged under the policy of now".into(),
        ),
        (Trust::Refused, TrustRecord::Refused { code, message, .. }) => (
            ConditionStatus::False,
            "Refused",
            format!("{code}: {message}{stamp}"),
        ),
        (Trust::Refused, _) => (
            ConditionStatus::False,
            "Refused",
            format!("evidence refused{stamp}"),
        ),
        (Trust::Unknown, _) => (
            ConditionStatus::Unknown,
            "NotJudged",
            "not judged under the policy of now".into(),
        ),
    };
    let conditions = conditions.add(ConditionType::Attested, status, reason, message);
    fresh(conditions, sight, agent, record)
}

fn fresh<'a>(
    conditions: Conditions<'a>,
    sight: &Sight<'_>,
    agent: &Agent,
    record: &AgentRecord,
) -> Conditions<'a> {
    let stamp = stamp(record.trust.trust_root());
    match agent.trust {
        Trust::Accepted(until) if until > sight.report.at => conditions.add(
            ConditionType::Fresh,
            ConditionStatus::True,
            "WithinMaxAge",
            format!("trusted until {}{stamp}", until.trunc_secs()),
        ),
        Trust::Accepted(until) => conditions.add(
            ConditionType::Fresh,
            ConditionStatus::False,
            "Lapsed",
            format!("trust ran out at {}{stamp}", until.trunc_secs()),
        ),
        _ => conditions.add(
            ConditionType::Fresh,
            ConditionStatus::False,
            "NoVerdict",
            "",
        ),
    }
}

/// Under which root, by whom, and what was let pass.
fn accepted(verdict: &Verdict) -> String {
    let mut text = match verdict.simulated {
        true => format!(
            "accepted under the simulated root {:.12}",
            verdict.trust_root.to_string()
        ),
        false => "accepted under Intel's root".into(),
    };
    if verdict.verifiers.contains(&VerifierKind::Ita) {
        text += ", with a token of Intel Trust Authority";
    }
    if let Some(until) = verdict.grace_until {
        text += &format!(
            "; {}, let pass until {}",
            verdict.tcb_status,
            until.trunc_secs()
        );
    }
    for warning in &verdict.warnings {
        text += &format!("; {}", warned(warning));
    }
    text
}

fn healthy<'a>(
    conditions: Conditions<'a>,
    agent: &Agent,
    replica: Option<&ReplicaStatus>,
) -> Conditions<'a> {
    let said = |replica: &ReplicaStatus| replica.message.clone();
    let (status, reason, message) = match (agent.liveness, &agent.assigned, replica) {
        (Liveness::Gone, ..) => (
            ConditionStatus::False,
            "MachineGone",
            "its worker lists no such machine".into(),
        ),
        (Liveness::Silent(since), ..) => (
            ConditionStatus::Unknown,
            "Silent",
            format!("silent since {}", since.trunc_secs()),
        ),
        (Liveness::Heard, None, _) => (ConditionStatus::True, "Idle", String::new()),
        (Liveness::Heard, Some(_), Some(replica)) => {
            let ready = is_ready(agent, Some(replica));
            let reason = state_word(replica.state);
            let reason = if replica.generation == agent.generation {
                reason
            } else {
                "Updating"
            };
            (when(ready), reason, said(replica))
        }
        (Liveness::Heard, Some(_), None) => (
            ConditionStatus::False,
            "NotStarted",
            "the agent has not started it yet".into(),
        ),
    };
    conditions.add(ConditionType::Healthy, status, reason, message)
}

fn state_word(state: WorkloadState) -> &'static str {
    match state {
        WorkloadState::Starting => "Starting",
        WorkloadState::Ready => "Ready",
        WorkloadState::Unready => "Unready",
        WorkloadState::Restarting => "Restarting",
        WorkloadState::Completed => "Completed",
        WorkloadState::Failed => "Failed",
        WorkloadState::Stopping => "Stopping",
    }
}

fn up_to_date<'a>(conditions: Conditions<'a>, sight: &Sight<'_>, agent: &Agent) -> Conditions<'a> {
    let Some(assigned) = &agent.assigned else {
        return conditions.add(ConditionType::UpToDate, ConditionStatus::True, "Idle", "");
    };
    let wanted = sight
        .report
        .revision
        .desired
        .deployments
        .get(&assigned.deployment);
    let current = wanted.is_some_and(|wanted| wanted.workload == assigned.workload);
    let reason = if current { "Current" } else { "Outdated" };
    conditions.add(ConditionType::UpToDate, when(current), reason, "")
}

fn exposed<'a>(conditions: Conditions<'a>, sight: &Sight<'_>, agent: &Agent) -> Conditions<'a> {
    let wanted = agent.assigned.as_ref().is_some_and(|assigned| {
        let deployment = sight
            .report
            .revision
            .desired
            .deployments
            .get(&assigned.deployment);
        deployment.is_some_and(|deployment| deployment.exposed)
    });
    match (&agent.exposed, wanted) {
        (Exposure::Exposed(_), _) => conditions.add(
            ConditionType::Exposed,
            ConditionStatus::True,
            "Published",
            "",
        ),
        (Exposure::Hidden, true) => conditions.add(
            ConditionType::Exposed,
            ConditionStatus::False,
            "NotReady",
            "",
        ),
        (Exposure::Hidden, false) => conditions,
    }
}
