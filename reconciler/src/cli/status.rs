//! `easyenclave status`: what is.

use serde::Serialize;

use easyenclave_schemas::status::{
    AgentPhase, AgentStatus, CapacityStatus, ConditionStatus, DeploymentPhase, DeploymentStatus,
    FleetStatus, OrderStatus, ProblemStatus,
};

use super::style::{BAD, BUSY, DIM, GOOD, HEAD, paint};
use super::{Ended, Output, exit, out, read};
use crate::report::Status;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    from: read::From,
    /// How the status is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The stable shape of `--output json`; `docs/status.md` describes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    fleet: &'a FleetStatus,
    deployments: Vec<&'a DeploymentStatus>,
    agents: Vec<&'a AgentStatus>,
    orders: Vec<&'a OrderStatus>,
    targets: Vec<&'a CapacityStatus>,
    problems: &'a [ProblemStatus],
}

impl<'a> Document<'a> {
    /// All of a status.
    pub(super) fn of(status: &'a Status) -> Self {
        Self {
            fleet: &status.fleet,
            deployments: status.deployments.values().collect(),
            agents: status.agents.values().collect(),
            orders: status.orders.values().collect(),
            targets: status.capacity.values().collect(),
            problems: &status.problems,
        }
    }
}

pub(super) async fn run(args: Args) -> Ended {
    let status = args.from.status().await?;
    match args.output {
        Output::Json => {
            out::answer(serde_json::to_string_pretty(&Document::of(&status))? + "\n")?;
        }
        Output::Text => out::answer(text(&status))?,
    }
    Ok(exit::OK)
}

fn text(status: &Status) -> String {
    let mut lines = vec![head(&status.fleet)];
    for condition in &status.fleet.conditions {
        if condition.status != ConditionStatus::True {
            let word = format!("{:?}: {}", condition.kind, condition.reason);
            lines.push(format!("{} {}", paint(BAD, word), condition.message));
        }
    }
    for held in &status.fleet.held {
        lines.push(format!("{} {}", paint(BAD, "held"), held.reason));
        lines.push(format!(
            "     approve with: easyenclave approve {}",
            held.digest
        ));
    }
    for problem in &status.problems {
        let place = format!("{}:{}:{}", problem.file, problem.line, problem.column);
        lines.push(format!(
            "{} {place}: {}",
            paint(BAD, "problem"),
            problem.message
        ));
    }
    lines.push(paint(HEAD, "\ndeployments"));
    lines.extend(status.deployments.values().map(deployment));
    lines.push(paint(HEAD, "\ntargets"));
    lines.extend(status.capacity.values().map(target));
    lines.push(paint(HEAD, "\nagents"));
    lines.extend(status.agents.values().map(agent));
    let orders = status
        .orders
        .values()
        .filter(|order| order.phase != "fulfilled");
    let orders: Vec<_> = orders.map(order).collect();
    if !orders.is_empty() {
        lines.push(paint(HEAD, "\norders"));
        lines.extend(orders);
    }
    lines.join("\n") + "\n"
}

fn head(fleet: &FleetStatus) -> String {
    format!(
        "{}  desired {:.12}  plan {}",
        paint(HEAD, format!("fleet {}", fleet.fleet)),
        fleet.desired_commit,
        fleet.plan_digest.short(12)
    )
}

fn deployment(row: &DeploymentStatus) -> String {
    let style = match row.phase {
        DeploymentPhase::Running | DeploymentPhase::Stopped => GOOD,
        _ => BUSY,
    };
    let phase = format!("{:?}", row.phase).to_lowercase();
    let url = row
        .replicas
        .iter()
        .find_map(|replica| replica.url.as_deref())
        .unwrap_or("");
    let waits = row
        .waits
        .iter()
        .map(|wait| format!("\n      waits: {}", wait.message));
    let waits: String = waits.collect();
    format!(
        "  {:<30} {}  {} of {} ready  {}{}",
        row.deployment.to_string(),
        paint(style, format!("{phase:<11}")),
        row.ready,
        row.wanted,
        paint(DIM, url),
        waits
    )
}

fn target(row: &CapacityStatus) -> String {
    format!(
        "  {:<30} {:<11}  {} agents, {} in use, {} idle, {} ordered, at most {}",
        row.target.to_string(),
        row.phase,
        row.agents,
        row.assigned,
        row.idle,
        row.pending,
        row.max
    )
}

fn agent(row: &AgentStatus) -> String {
    let style = match row.phase {
        AgentPhase::Running | AgentPhase::Idle => GOOD,
        AgentPhase::Quarantined | AgentPhase::Lost => BAD,
        _ => BUSY,
    };
    let phase = format!("{:?}", row.phase).to_lowercase();
    let trust = match row.trust.simulated {
        true => format!("{} (simulated)", row.trust.state),
        false => row.trust.state.clone(),
    };
    let runs = row
        .assigned
        .as_ref()
        .map(|a| a.deployment.to_string())
        .unwrap_or_default();
    format!(
        "  {:<30} {}  {trust}  {runs}",
        row.agent.to_string(),
        paint(style, format!("{phase:<11}"))
    )
}

fn order(row: &OrderStatus) -> String {
    let error = row.error.as_deref().unwrap_or("");
    format!("  {:<30} {:<11}  {error}", row.order.to_string(), row.phase)
}
