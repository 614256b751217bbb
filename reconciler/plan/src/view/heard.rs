//! What an agent says of what runs on it, and what that is worth. What is not heard is said by nobody.

use easyenclave_schemas::{DeploymentId, Digest, Timestamp};

use super::agent::{AgentView, Instruction, Life, Standing};
use crate::{Assigned, Replica, Reported};

impl AgentView<'_> {
    /// The version that it says it runs.
    pub(crate) fn runs(&self) -> Option<Digest> {
        self.replica().map(|replica| replica.workload)
    }

    /// Whether it says that what it runs is ready.
    pub(crate) fn runs_well(&self) -> bool {
        self.replica().is_some_and(|replica| replica.ready)
    }

    /// Whether a deployment that it is told to run goes on being served by it, in whatever version: it says so itself, and takes
    /// that back before it changes anything.
    pub(crate) fn keeps_serving(&self, deployment: &DeploymentId) -> bool {
        let is_told = |assigned: &Assigned| assigned.deployment == *deployment;
        let serves =
            |replica: &Replica| replica.deployment == *deployment && replica.serving.is_some();
        self.instruction != Instruction::Astray
            && self.fact.assigned.as_ref().is_some_and(is_told)
            && self.replica().is_some_and(serves)
    }

    /// Whether it goes on serving while it prepares what it is told, and is trusted.
    pub(crate) fn is_of_use(&self) -> bool {
        let told = self.fact.assigned.as_ref();
        self.life == Life::Heard
            && self.standing == Standing::Accepted
            && !self.retiring
            && told.is_some_and(|told| self.keeps_serving(&told.deployment))
    }

    /// Since when it has been ready without a break, if that is known.
    pub(crate) fn ready_since(&self) -> Option<Timestamp> {
        self.replica().and_then(|replica| replica.ready_since)
    }

    pub(super) fn replica(&self) -> Option<&Replica> {
        match &self.fact.reported {
            Reported::Running(replica) => Some(replica),
            Reported::Idle(_) | Reported::Unknown => None,
        }
    }

    pub(super) fn failing_since(&self) -> Option<Timestamp> {
        self.replica().and_then(|replica| replica.failing_since)
    }
}
