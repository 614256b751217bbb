//! Kind Deployment: a workload and how many replicas of it should run.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::Span;
use crate::{Datacenter, NodeSize, TargetName};

/// A deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeploymentSpec {
    /// What runs.
    pub workload: Workload,
    /// How many agents run it, at most 100000.
    #[cfg_attr(feature = "documents", schemars(range(max = 100_000)))]
    pub replicas: u32,
    /// The size of agent it needs.
    pub node_size: NodeSize,
    /// Where it may run.
    #[serde(default)]
    pub placement: Placement,
    /// How to tell that it is ready; running counts as ready when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// How a change rolls out.
    #[serde(default)]
    pub rollout: Rollout,
    /// Published when given: each ready replica's address is listed in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// A process that the agent starts itself.
    pub process: ProcessWorkload,
}

/// A process. The agent sets `PORT` to the port that the workload should listen on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProcessWorkload {
    /// The program and its arguments; no shell reads them.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 100)))]
    pub command: Vec<String>,
    /// Environment variables, beside `PATH` and those that the agent sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What happens when it ends.
    #[serde(default)]
    pub restart: RestartPolicy,
}

/// What happens when a workload ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum RestartPolicy {
    /// It is started again, with a growing pause.
    #[default]
    Always,
    /// It is started again unless it exited with 0.
    OnFailure,
    /// It stays ended.
    Never,
}

/// Where replicas may run. Empty lists allow everything; none has more than 100 entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Placement {
    /// Only these targets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 100)))]
    pub targets: Vec<TargetName>,
    /// Only these datacenters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 100)))]
    pub allowed_datacenters: Vec<Datacenter>,
    /// None of these datacenters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 100)))]
    pub denied_datacenters: Vec<Datacenter>,
}

/// How to tell that a replica is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// What is tried.
    pub probe: Probe,
    /// How often, at least 100ms.
    #[serde(default = "two_seconds")]
    pub interval: Span,
    /// How long one try may take.
    #[serde(default = "two_seconds")]
    pub timeout: Span,
    /// So many failures in a row make a ready replica unready, 1 to 100.
    #[serde(default = "three")]
    #[cfg_attr(feature = "documents", schemars(range(min = 1, max = 100)))]
    pub failures: u32,
}

fn two_seconds() -> Span {
    Span::from_secs(2)
}

fn three() -> u32 {
    3
}

/// What is tried: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Probe {
    /// A GET of a path on the workload's port; 200 to 399 is good.
    Http(HttpProbe),
    /// A connection to the workload's port.
    Tcp {},
    /// A command; exit code 0 is good.
    Command(#[cfg_attr(feature = "documents", schemars(length(min = 1, max = 100)))] Vec<String>),
}

/// A GET of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    /// The path, starting with `/`.
    #[cfg_attr(
        feature = "documents",
        schemars(regex(pattern = r"^/[!-~]*$"), length(max = 1000))
    )]
    pub path: String,
}

/// How a change rolls out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rollout {
    /// So many replicas may be unready at a time because of a roll-out. With 0, a replacement is
    /// made ready on another agent before an old replica stops.
    pub max_unavailable: u32,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { max_unavailable: 1 }
    }
}

/// How a deployment is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Expose {
    /// The path that people should open, starting with `/`.
    #[cfg_attr(
        feature = "documents",
        schemars(regex(pattern = r"^/[!-~]*$"), length(max = 1000))
    )]
    pub path: String,
}

impl Default for Expose {
    fn default() -> Self {
        Self { path: "/".into() }
    }
}
