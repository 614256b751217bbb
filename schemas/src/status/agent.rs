//! `agents/<2 hex>/<agent>.yaml`: one agent.

use serde::{Deserialize, Serialize};

use super::{Condition, WaitStatus};
use crate::documents::Runtime;
use crate::evidence::{Verdict, VerifierKind, stamp};
use crate::wire::{RunningImage, WorkloadCause, WorkloadState, known};
use crate::{
    AgentId, Datacenter, DeploymentId, Digest, Generation, NodeSize, TargetName, Timestamp,
};

/// One agent, as last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Its id, which is its launch order's id.
    pub agent: AgentId,
    /// Its target.
    pub target: TargetName,
    /// Its slot in the target.
    pub slot: u32,
    /// Where it runs.
    pub datacenter: Datacenter,
    /// Its size.
    pub node_size: NodeSize,
    /// What it can run.
    #[serde(
        default = "Runtime::usual",
        deserialize_with = "known::list",
        skip_serializing_if = "Runtime::is_usual"
    )]
    pub runtimes: Vec<Runtime>,
    /// Where it is in its life.
    pub phase: AgentPhase,
    /// Whether it is there.
    pub liveness: LivenessStatus,
    /// It is heard, and its worker does not list its machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlisted: bool,
    /// What verification says.
    pub trust: TrustStatus,
    /// Why it is out of placement, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
    /// The number of the last instruction.
    pub generation: Generation,
    /// What should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned: Option<AssignmentStatus>,
    /// Since when nothing should run, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Timestamp>,
    /// The instruction that it has taken in, when it was heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Generation>,
    /// What runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<ReplicaStatus>,
    /// The deployment that is published on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed: Option<DeploymentId>,
    /// When a retire order was opened for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retiring: Option<Timestamp>,
    /// Since when it has been asked to attest again, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenged: Option<Timestamp>,
    /// Its conditions, by type.
    pub conditions: Vec<Condition>,
    /// What it waits for.
    pub waits: Vec<WaitStatus>,
}

/// Where an agent is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AgentPhase {
    /// Accepted, and nothing runs or should run.
    Idle,
    /// Told to run something that is not ready yet.
    Deploying,
    /// What should run is ready.
    Running,
    /// Told to stop, and not stopped yet.
    Draining,
    /// Its machine is being destroyed.
    Retired,
    /// Out of placement.
    Quarantined,
    /// Gone, or silent past the deadline.
    Lost,
}

/// Whether an agent is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LivenessStatus {
    /// Heard of.
    Heard,
    /// Silent since then.
    Silent(Timestamp),
    /// Proved gone.
    Gone,
}

/// What verification says of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustStatus {
    /// `accepted`, `refused` or `unknown`.
    pub state: String,
    /// Whether a simulated platform vouches for it, accepted or refused. Derived from the trust root.
    pub simulated: bool,
    /// SHA-384 of the public key of the root that vouches for it. Missing where that is not known: then it is neither
    /// simulated nor real.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trust_root: String,
    /// The verdict runs out then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_until: Option<Timestamp>,
    /// Intel's word for the platform's state.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tcb_status: String,
    /// The measured image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mrtd: String,
    /// The newest judgement with all that it was made from: a file below `evidence/`, by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Digest>,
    /// The digest of the policy that judged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// The policy's entry that the measurements matched.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub measurement: String,
    /// Who accepted the evidence: `dcap`, `ita`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verifiers: Vec<VerifierKind>,
    /// An out-of-date platform is let pass until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_until: Option<Timestamp>,
    /// The collateral that was used expires then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collateral_until: Option<Timestamp>,
    /// Nothing that the agent could show would change that its evidence is refused or not judged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_its_own: bool,
    /// When refused evidence was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_at: Option<Timestamp>,
    /// The reason code of a refusal, or those of what was let pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// The verdict with all that was judged, so that another policy can be held against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Box<Verdict>>,
    /// What was let pass, in words, with its code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl TrustStatus {
    /// What is said beside its state wherever that is shown.
    pub fn stamp(&self) -> &'static str {
        stamp(self.trust_root.parse().ok())
    }
}

/// What should run on an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentStatus {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The version.
    pub workload: Digest,
    /// When it was decided, in whole seconds.
    pub since: Timestamp,
}

/// What runs on an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// The generation that it follows.
    pub generation: Generation,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The version.
    pub workload: Digest,
    /// How it is.
    pub state: WorkloadState,
    /// How often it was started again.
    pub restarts: u32,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Where it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The version that answers now, as its agent says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Digest>,
    /// Since when it has been ready without a break, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Timestamp>,
    /// Since when it has failed by its own fault without a break, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Why it is not ready, as far as the agent can tell.
    #[serde(
        default,
        deserialize_with = "known::one",
        skip_serializing_if = "Option::is_none"
    )]
    pub cause: Option<WorkloadCause>,
    /// The images that run, by service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<RunningImage>,
}
