//! The status of the fleet as a whole.

use std::collections::BTreeMap;

use easyenclave_plan::{Fronts, Hold, Orphan, Shortage};
use easyenclave_schemas::status::{
    AgentStatus, Condition, ConditionType, Counts, DeploymentPhase, DeploymentStatus, FleetStatus,
    FrontsStatus, HeldStatus, ShortageStatus, UnheardStatus, UnownedStatus,
};
use easyenclave_schemas::{AgentId, Datacenter, DeploymentId, OrderId, ProviderName, Spot};

use super::conditions::{Conditions, when};
use super::{Notes, Sight};
use crate::approvals::reported;
use crate::trust;
use crate::words::plural;

/// So many lines of a held plan are shown.
const LINES: usize = 200;

/// The fleet.
pub(super) fn fleet(
    sight: &Sight<'_>,
    agents: &BTreeMap<AgentId, AgentStatus>,
    deployments: &BTreeMap<DeploymentId, DeploymentStatus>,
    notes: &Notes,
) -> FleetStatus {
    let report = sight.report;
    FleetStatus {
        fleet: report.revision.desired.fleet.clone(),
        desired_commit: report.revision.commit.clone(),
        effective_commit: report.revision.effective.clone(),
        plan_digest: report.next.digest(),
        counts: counts(sight, agents, deployments),
        held: report.next.held.iter().map(held).collect(),
        spent_approvals: report.observed.spent.iter().map(reported).collect(),
        refusals: notes.refusals.clone(),
        sightings: notes.sightings.clone(),
        orphans: report
            .observed
            .orphans
            .keys()
            .map(ToString::to_string)
            .collect(),
        unowned: report.observed.orphans.iter().map(unowned).collect(),
        unheard: report.observed.unheard.iter().map(unheard).collect(),
        shortages: report.observed.shortages.iter().map(shortage).collect(),
        fronts: fronts(&report.observed.fronts),
        conditions: conditions(sight, notes),
    }
}

fn fronts(fronts: &Fronts) -> Option<FrontsStatus> {
    (*fronts != Fronts::default()).then(|| FrontsStatus {
        listed: fronts.listed,
        leads: fronts.leads.clone(),
        decided: fronts.decided.clone(),
        open: fronts.open.clone(),
    })
}

fn unowned((id, orphan): (&OrderId, &Orphan)) -> (OrderId, UnownedStatus) {
    let status = UnownedStatus {
        target: orphan.target.clone(),
        datacenter: orphan.datacenter.clone(),
        provider: orphan.provider.clone(),
        policy: orphan.policy.clone(),
        slot: orphan.slot,
        since: orphan.since.trunc_secs(),
        unjudged: orphan.unjudged,
    };
    (id.clone(), status)
}

fn shortage((spot, shortage): (&Spot, &Shortage)) -> ShortageStatus {
    ShortageStatus {
        spot: spot.clone(),
        cause: shortage.cause,
        failures: shortage.failures,
        until: shortage.until.trunc_secs(),
    }
}

fn unheard((provider, datacenter): &(ProviderName, Datacenter)) -> UnheardStatus {
    UnheardStatus {
        provider: provider.clone(),
        datacenter: datacenter.clone(),
    }
}

fn held(hold: &Hold) -> HeldStatus {
    HeldStatus {
        digest: hold.digest,
        reason: hold.reason.to_string(),
        actions: hold
            .actions
            .iter()
            .take(LINES)
            .map(ToString::to_string)
            .collect(),
        more: number(hold.actions.len().saturating_sub(LINES)),
    }
}

fn counts(
    sight: &Sight<'_>,
    agents: &BTreeMap<AgentId, AgentStatus>,
    deployments: &BTreeMap<DeploymentId, DeploymentStatus>,
) -> Counts {
    let mut counts = Counts {
        deployments: number(sight.report.revision.desired.deployments.len()),
        problems: number(sight.report.revision.problems.len()),
        ..Counts::default()
    };
    for agent in agents.values() {
        let fresh = agent
            .trust
            .trusted_until
            .is_some_and(|until| until > sight.report.at);
        match (
            agent.trust.state == "accepted" && fresh,
            agent.trust.simulated,
        ) {
            (true, true) => counts.agents_simulated += 1,
            (true, false) => counts.agents_attested += 1,
            (false, _) => counts.agents_untrusted += 1,
        }
    }
    for deployment in deployments.values() {
        counts.replicas_ready += deployment.ready;
        let running = matches!(
            deployment.phase,
            DeploymentPhase::Running | DeploymentPhase::Stopped
        );
        counts.deployments_running += u32::from(running);
    }
    let pending = sight
        .records
        .orders
        .values()
        .filter(|order| order.state.is_pending());
    counts.orders_pending = number(pending.count());
    counts
}

fn conditions(sight: &Sight<'_>, notes: &Notes) -> Vec<Condition> {
    let previous = sight
        .previous
        .map(|previous| previous.fleet.conditions.as_slice());
    let problems = sight.report.revision.problems.len();
    let held = sight.report.next.held.len();
    let (readable, reason, message) = match (&notes.source, problems) {
        (Some(trouble), _) => (false, trouble.reason, trouble.message.clone()),
        (None, 0) => (true, "Read", String::new()),
        (None, problems) => (
            false,
            "DocumentsRejected",
            format!("{}, see problems.yaml", plural(problems, "problem")),
        ),
    };
    let (published, why, words) = match &notes.publish {
        Some(trouble) => (false, trouble.reason, trouble.message.clone()),
        None => (true, "Pushed", String::new()),
    };
    let (verifiable, lacking, lack) = match &notes.verifying {
        Some(trouble) => (false, trouble.reason, trouble.message.clone()),
        None => (true, "AtHand", String::new()),
    };
    let wait = if held == 1 { "waits" } else { "wait" };
    let plans = plural(held, "held plan");
    let waiting = format!("{plans} {wait} for a person's approval");
    let (auditable, short, missing) = match trust::unauditable(&sight.report.revision) {
        Some(trouble) => (false, trouble.reason, trouble.message),
        None => (
            true,
            "KeptAsAsked",
            trust::kept_from_now(&sight.report.revision),
        ),
    };
    Conditions::new(previous, sight.now())
        .add(ConditionType::Readable, when(readable), reason, message)
        .add(ConditionType::Published, when(published), why, words)
        .add(ConditionType::Verifiable, when(verifiable), lacking, lack)
        .add(ConditionType::Auditable, when(auditable), short, missing)
        .add(
            ConditionType::Unheld,
            when(held == 0),
            if held == 0 {
                "NothingHeld"
            } else {
                "ApprovalNeeded"
            },
            if held == 0 { String::new() } else { waiting },
        )
        .done()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
