//! Reports: what a pass saw and decided becomes the files of the status branch. The status is the
//! observation: it can be read back, and planning from it gives the same plan.

mod agents;
mod capacity;
mod conditions;
mod deployments;
mod files;
mod fleet;
mod observed;
mod orders;
mod readme;
mod rollouts;
mod subject;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

use easyenclave_plan::{Plan, Subject, Wait, WaitReason, plan};
use easyenclave_schemas::evidence::stamp;
use easyenclave_schemas::status::{
    AgentStatus, CapacityStatus, DeploymentStatus, FleetStatus, OrderStatus, ProblemStatus,
    Refusal, Sighting, WaitStatus,
};
use easyenclave_schemas::{AgentId, DeploymentId, Digest, OrderId, TargetName, Timestamp};

pub use files::{Changes, ReadStatusError, is_status, read};
pub use observed::{in_whole_seconds, kept, observed};
pub use subject::message;

use crate::journal::Records;
use crate::pass::Report;
use crate::presence::Presence;

/// Everything that the status branch says.
#[derive(Debug, Clone)]
pub struct Status {
    /// When it was seen, in whole seconds. The commit says it, and no file: the same status at another time is
    /// the same.
    pub at: Timestamp,
    /// The fleet.
    pub fleet: FleetStatus,
    /// Agents.
    pub agents: BTreeMap<AgentId, AgentStatus>,
    /// Deployments.
    pub deployments: BTreeMap<DeploymentId, DeploymentStatus>,
    /// Targets.
    pub capacity: BTreeMap<TargetName, CapacityStatus>,
    /// Orders.
    pub orders: BTreeMap<OrderId, OrderStatus>,
    /// Rejected documents.
    pub problems: Vec<ProblemStatus>,
}

impl PartialEq for Status {
    fn eq(&self, other: &Self) -> bool {
        self.fleet == other.fleet
            && self.agents == other.agents
            && self.deployments == other.deployments
            && self.capacity == other.capacity
            && self.orders == other.orders
            && self.problems == other.problems
    }
}

impl Status {
    /// The records of evidence that agents' files name.
    pub fn evidence(&self) -> impl Iterator<Item = Digest> {
        self.agents
            .values()
            .filter_map(|agent| agent.trust.evidence)
    }
}

/// What the daemon knows beside the pass itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Why the newest commit of the state repository is not in force, if it is not.
    pub source: Option<Trouble>,
    /// Why the status branch does not reach its remote, if it does not.
    pub publish: Option<Trouble>,
    /// What verification lacks, or soon will, if anything.
    pub verifying: Option<Trouble>,
    /// Refused requests.
    pub refusals: Vec<Refusal>,
    /// Unknown measurements.
    pub sightings: Vec<Sighting>,
    /// Where agents are reached through tunnels; none where they are reached as they are.
    pub urls: Option<BTreeMap<AgentId, String>>,
}

/// Something that is wrong outside the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// One word from a fixed list.
    pub reason: &'static str,
    /// One bounded sentence, without clocks or counters.
    pub message: String,
}

/// What a status is made from.
struct Sight<'a> {
    report: &'a Report,
    records: &'a Records,
    presence: &'a Presence,
    urls: Option<&'a BTreeMap<AgentId, String>>,
    previous: Option<&'a Status>,
    waits: BTreeMap<Subject, Vec<WaitStatus>>,
}

impl Sight<'_> {
    fn waits(&self, subject: &Subject) -> Vec<WaitStatus> {
        self.waits.get(subject).cloned().unwrap_or_default()
    }

    fn now(&self) -> Timestamp {
        self.report.at.trunc_secs()
    }
}

/// The status after a pass. Conditions that did not change keep their time from `previous`.
pub fn status(
    report: &Report,
    records: &Records,
    presence: &Presence,
    notes: &Notes,
    previous: Option<&Status>,
) -> Status {
    let sight = Sight {
        report,
        records,
        presence,
        urls: notes.urls.as_ref(),
        previous,
        waits: waits(&report.next, records),
    };
    let agents = agents::agents(&sight);
    let deployments = deployments::deployments(&sight, &agents);
    let capacity = capacity::targets(&sight, &agents);
    let orders = orders::orders(&sight);
    let fleet = fleet::fleet(&sight, &agents, &deployments, notes);
    let problems = report.revision.problems.clone();
    let mut status = Status {
        at: report.at,
        fleet,
        agents,
        deployments,
        capacity,
        orders,
        problems,
    };
    status.fleet.plan_digest = planned(&status, report);
    status
}

/// What is planned from what the status shows. Agents are heard of and register while a pass is under way: then
/// it shows more than the pass saw.
fn planned(status: &Status, report: &Report) -> Digest {
    let shown = observed(status);
    if shown == report.observed {
        return report.next.digest();
    }
    plan(&report.revision.desired, &shown, report.at).digest()
}

fn waits(plan: &Plan, records: &Records) -> BTreeMap<Subject, Vec<WaitStatus>> {
    let mut waits: BTreeMap<Subject, Vec<WaitStatus>> = BTreeMap::new();
    for wait in &plan.waits {
        waits
            .entry(wait.subject.clone())
            .or_default()
            .push(WaitStatus {
                reason: wait.reason.code().into(),
                message: said(wait, records),
                until: wait.until.map(Timestamp::trunc_secs),
            });
    }
    for list in waits.values_mut() {
        list.sort();
        list.dedup();
    }
    waits
}

/// In words. The plan knows that an agent is not trusted, and not whose evidence it showed.
fn said(wait: &Wait, records: &Records) -> String {
    let stamp = match (&wait.subject, &wait.reason) {
        (Subject::Agent(id), WaitReason::InQuarantine { .. }) => {
            let record = records.agents.get(id);
            record.map_or("", |record| stamp(record.trust.trust_root()))
        }
        _ => "",
    };
    format!("{}{stamp}", wait.reason)
}
