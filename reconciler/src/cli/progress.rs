//! A line for each thing that happens while a fleet rolls out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use easyenclave_schemas::status::{
    AgentPhase, AgentStatus, Condition, ConditionStatus, ConditionType, DeploymentPhase,
    DeploymentStatus,
};
use tokio::sync::watch;

use super::hint::Hints;
use super::style::{BAD, BUSY, DIM, GOOD, HEAD, paint};
use super::{held, out};
use crate::report::Status;
use crate::words::ready;

/// Prints what changes from status to status.
pub(super) struct Progress {
    hints: Hints,
    started: Instant,
    shown: BTreeMap<String, String>,
    complete: bool,
}

impl Progress {
    /// Runs until the sender is gone.
    pub(super) async fn start(mut status: watch::Receiver<Option<Arc<Status>>>, hints: Hints) {
        let mut this = Self {
            hints,
            started: Instant::now(),
            shown: BTreeMap::new(),
            complete: false,
        };
        loop {
            let newest = status.borrow_and_update().clone();
            if let Some(newest) = newest {
                this.show(&newest);
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    }

    fn show(&mut self, status: &Status) {
        for condition in &status.fleet.conditions {
            use easyenclave_schemas::status::ConditionStatus::True;
            let style = if condition.status == True { GOOD } else { BAD };
            let line = format!("{} {}", paint(style, &condition.reason), condition.message);
            let news = condition.status != True;
            self.line(&format!("{:?}", condition.kind), line, news);
        }
        for problem in &status.problems {
            let place = format!("{}:{}:{}", problem.file, problem.line, problem.column);
            self.line(
                &place,
                format!("{} {}", paint(BAD, "problem"), problem.message),
                true,
            );
        }
        for held in &status.fleet.held {
            let line = format!("{} {}", paint(BAD, "held"), held.reason);
            if self.line(&format!("plan {}", held.digest.short(12)), line, true) {
                for more in held::below(held, &self.hints) {
                    out::tell(format_args!("{:>10}{more}", ""));
                }
            }
        }
        for order in status
            .orders
            .values()
            .filter(|order| order.phase != "fulfilled")
        {
            let error = order.error.as_deref().unwrap_or("");
            let line = format!("{} {error}", paint(BUSY, &order.phase));
            self.line(&format!("order {}", order.order), line, true);
        }
        for agent in status.agents.values() {
            self.line(&format!("agent {}", agent.agent), of_agent(agent), true);
        }
        for deployment in status.deployments.values() {
            self.line(
                &format!("deployment {}", deployment.deployment),
                of_deployment(deployment),
                true,
            );
        }
        self.summary(status);
    }

    /// Shows a thing's line when it differs from the last one shown. What is good from the start is
    /// no news. Tells whether it was shown.
    fn line(&mut self, thing: &str, line: String, news: bool) -> bool {
        let before = self.shown.insert(thing.to_owned(), line.clone());
        let changed = before.as_ref().is_some_and(|before| *before != line);
        let is_shown = changed || (before.is_none() && news);
        if is_shown {
            let at = format!("{:>7.1}s", self.started.elapsed().as_secs_f64());
            out::tell(format_args!("{}  {thing:<44} {line}", paint(DIM, at)));
        }
        is_shown
    }

    fn summary(&mut self, status: &Status) {
        let counts = &status.fleet.counts;
        let runs = counts.deployments > 0 && counts.deployments_running == counts.deployments;
        let complete = runs && status.deployments.values().all(is_published);
        if complete && !self.complete {
            let seconds = self.started.elapsed().as_secs_f64();
            let all = match counts.deployments {
                1 => "the deployment runs".into(),
                many => format!("all {many} deployments run"),
            };
            let head = format!("\n{all} ({seconds:.1} s)");
            out::tell(paint(HEAD, head));
            for deployment in status.deployments.values() {
                for url in deployment
                    .replicas
                    .iter()
                    .filter_map(|replica| replica.url.as_ref())
                {
                    out::tell(format_args!(
                        "  {:<30} {url}",
                        deployment.deployment.to_string()
                    ));
                }
            }
            out::tell("");
        }
        self.complete = complete;
    }
}

fn of_agent(agent: &AgentStatus) -> String {
    let (style, word) = match agent.phase {
        AgentPhase::Idle => (GOOD, "idle"),
        AgentPhase::Deploying => (BUSY, "deploying"),
        AgentPhase::Running => (GOOD, "running"),
        AgentPhase::Draining => (BUSY, "draining"),
        AgentPhase::Retired => (DIM, "retiring"),
        AgentPhase::Quarantined => (BAD, "quarantined"),
        AgentPhase::Lost => (BAD, "lost"),
    };
    let trust = match agent.trust.state.as_str() {
        "accepted" => "attested",
        _ => "not trusted",
    };
    let stamp = agent.trust.stamp();
    let runs = agent
        .assigned
        .as_ref()
        .map(|assigned| assigned.deployment.to_string());
    format!(
        "{} {trust}{stamp} {}",
        paint(style, word),
        runs.unwrap_or_default()
    )
}

/// Whether all addresses are known. What is ready is published a moment later.
fn is_published(deployment: &DeploymentStatus) -> bool {
    let waits =
        |one: &Condition| one.kind == ConditionType::Exposed && one.status != ConditionStatus::True;
    !deployment.conditions.iter().any(waits)
}

fn of_deployment(deployment: &DeploymentStatus) -> String {
    let (style, word) = match deployment.phase {
        DeploymentPhase::Pending => (BUSY, "pending"),
        DeploymentPhase::Progressing => (BUSY, "progressing"),
        DeploymentPhase::Running => (GOOD, "running"),
        DeploymentPhase::Stopped => (DIM, "stopped"),
        DeploymentPhase::Removing => (BUSY, "removing"),
        DeploymentPhase::Frozen => (BUSY, "frozen"),
    };
    format!("{} {}", paint(style, word), ready(deployment))
}
