//! How roll-outs stand, and what became of those before. What began when and with which commit is told on from status to
//! status: nothing else remembers it.

use easyenclave_plan::{Deployment, Frozen, Subject, WaitReason};
use easyenclave_schemas::documents::Pause;
use easyenclave_schemas::status::{DeploymentPhase, DeploymentStatus, RolloutStatus};
use easyenclave_schemas::{
    DeploymentId, Digest, PastRollout, Revert, RolloutOutcome, RolloutStep, Timestamp,
};

use super::Sight;

/// How the roll-out of a wanted deployment stands.
pub(super) fn standing(
    sight: &Sight<'_>,
    id: &DeploymentId,
    spec: &Deployment,
    phase: DeploymentPhase,
) -> RolloutStatus {
    let fact = sight.report.observed.rollouts.get(id);
    let attempt = spec.attempt();
    let reverted = fact.and_then(|fact| fact.reverted.clone());
    let is_over = |to: &&Revert| to.attempt == attempt;
    let given_up = reverted.as_ref().filter(is_over);
    let before = before(sight, id).and_then(|before| before.rollout.as_ref());
    let begun = before.filter(|before| before.attempt == attempt);
    RolloutStatus {
        aim: given_up.map_or(spec.workload, |revert| revert.to),
        attempt,
        commit: begun.map_or_else(
            || sight.report.revision.effective.clone(),
            |begun| begun.commit.clone(),
        ),
        since: begun.map_or(sight.report.at, |begun| begun.since),
        step: step(sight, id, spec, phase),
        healthy: fact.and_then(|fact| fact.healthy),
        healthy_runtime: fact.and_then(|fact| fact.runtime),
        reverted,
        paused: spec.rollout.pause_at(sight.report.at).map(|pause| Pause {
            owner: pause.owner.clone(),
            reason: pause.reason.clone(),
            until: pause.until,
        }),
    }
}

fn before<'s>(sight: &Sight<'s>, id: &DeploymentId) -> Option<&'s DeploymentStatus> {
    sight.previous?.deployments.get(id)
}

/// As what it waits for says.
fn step(
    sight: &Sight<'_>,
    id: &DeploymentId,
    spec: &Deployment,
    phase: DeploymentPhase,
) -> RolloutStep {
    let subject = Subject::Deployment(id.clone());
    let waits = &sight.report.next.waits;
    let first = waits.partition_point(|wait| wait.subject < subject);
    let mut own = waits[first..].iter();
    let of = u32::try_from(spec.rollout.waves.len()).unwrap_or(u32::MAX);
    let found = own
        .by_ref()
        .take_while(|wait| wait.subject == subject)
        .filter_map(|wait| match wait.reason {
            WaitReason::Canary { .. } => Some(RolloutStep::Canary),
            WaitReason::Wave { wave: number, .. } => Some(RolloutStep::Wave { number, of }),
            WaitReason::MinHealthy { .. } => Some(RolloutStep::All),
            _ => None,
        })
        .next();
    found.unwrap_or(match phase {
        DeploymentPhase::Stopped => RolloutStep::Settled,
        DeploymentPhase::Running if is_proved(sight, id, spec) => RolloutStep::Settled,
        _ => RolloutStep::All,
    })
}

/// Whether it is recorded that the version proved good, where that is recorded at all.
fn is_proved(sight: &Sight<'_>, id: &DeploymentId, spec: &Deployment) -> bool {
    let fact = sight.report.observed.rollouts.get(id);
    let healthy = fact.and_then(|fact| fact.healthy);
    !spec.rollout.is_watched() || healthy == Some(spec.workload)
}

/// Whether no document of a deployment can be used, or it may have moved to one that cannot.
pub(super) fn is_frozen(sight: &Sight<'_>, id: &DeploymentId) -> bool {
    let frozen = &sight.report.revision.desired.frozen;
    frozen.contains_key(&Frozen::Deployment(id.clone()))
}

/// What a deployment whose document cannot be read has done before, and where it is reached. Nothing of it goes on meanwhile.
pub(super) fn frozen(sight: &Sight<'_>, status: &mut DeploymentStatus) {
    let id = status.deployment.clone();
    if let Some(before) = before(sight, &id).filter(|_| is_frozen(sight, &id)) {
        for replica in &mut status.replicas {
            let was = before.replicas.iter().find(|it| it.agent == replica.agent);
            let was = was.and_then(|was| was.url.as_ref());
            // The path that people should open is in the document.
            if let (Some(url), Some(was)) = (&replica.url, was)
                && was.starts_with(url)
            {
                replica.url = Some(was.clone());
            }
        }
        status.history = before.history.clone();
        status.rollout = before.rollout.clone();
    }
}

/// The roll-outs that are over.
pub(super) fn history(
    sight: &Sight<'_>,
    id: &DeploymentId,
    spec: &Deployment,
    now: &RolloutStatus,
) -> Vec<PastRollout> {
    let before = before(sight, id);
    let mut past = before.map_or_else(Vec::new, |before| before.history.clone());
    let at = sight.report.at;
    if let Some((wanted, was)) = before.and_then(|it| it.workload.zip(it.rollout.as_ref()))
        && was.attempt != now.attempt
    {
        end(&mut past, was, wanted, RolloutOutcome::Superseded, at);
    }
    let reverted = now.reverted.as_ref();
    if let Some(revert) = reverted.filter(|it| it.attempt == now.attempt) {
        let outcome = RolloutOutcome::Reverted;
        let ended = end(&mut past, now, spec.workload, outcome, revert.at);
        ended
            .into_iter()
            .for_each(|ended| ended.cause = Some(revert.cause));
    } else if now.step == RolloutStep::Settled {
        end(&mut past, now, spec.workload, RolloutOutcome::Settled, at);
    }
    let older = past.len().saturating_sub(PastRollout::MOST);
    past.drain(..older);
    past
}

/// An end comes once; what was settled or given up is not superseded after that. Answers the end if it is new.
fn end<'p>(
    past: &'p mut Vec<PastRollout>,
    which: &RolloutStatus,
    version: Digest,
    outcome: RolloutOutcome,
    to: Timestamp,
) -> Option<&'p mut PastRollout> {
    let is_it = |past: &PastRollout| past.attempt == which.attempt && past.from == which.since;
    if past.last().is_some_and(is_it) {
        return None;
    }
    past.push(PastRollout {
        version,
        attempt: which.attempt,
        commit: which.commit.clone(),
        from: which.since,
        to,
        outcome,
        cause: None,
    });
    past.last_mut()
}
