//! Kind Deployment: a workload and how many replicas of it should run.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Rollout, SecretUse, Span, Workload};
use crate::{AgentId, Cloud, Datacenter, Hostname, NodeSize, TargetName};

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
    /// Secrets of its owner that it is given. A change of one is a new version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 50)))]
    pub secrets: Vec<SecretUse>,
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
    /// None of these datacenters, and none that is allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 100)))]
    pub denied_datacenters: Vec<Datacenter>,
    /// Only these clouds, by the beginnings of datacenters' names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 100)))]
    pub allowed_clouds: Vec<Cloud>,
    /// None of these clouds, and none that is allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 100)))]
    pub denied_clouds: Vec<Cloud>,
    /// Only this agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Over what the replicas are spread.
    #[serde(skip_serializing_if = "Spread::is_any")]
    pub spread: Spread,
}

/// Over what replicas are spread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Spread {
    /// Nothing in particular.
    #[default]
    Any,
    /// Datacenters: the one with the fewest replicas of the deployment is next.
    Datacenters,
}

impl Spread {
    fn is_any(&self) -> bool {
        *self == Self::Any
    }
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
    /// The host's name under which it is reached through the fleet's tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
}

impl Default for Expose {
    fn default() -> Self {
        Self {
            path: "/".into(),
            hostname: None,
        }
    }
}
