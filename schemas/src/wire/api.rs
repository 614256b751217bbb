//! What owners say to the reconciler, and what it answers: the deploy API. Requests refuse fields that nobody knows, since
//! one that is misspelt would be a lost intention; answers may get new ones.

use std::collections::BTreeMap;

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::documents::{Expose, Health, ProcessWorkload, Rollout, SecretUse, Web};
use crate::{
    AgentId, Cloud, Datacenter, DeploymentId, DeploymentName, Digest, NodeSize, OwnerName, token,
};

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
pub struct Me {
    /// The owner that the caller acts for.
    pub owner: OwnerName,
    /// By what the caller is known, in words.
    pub identity: String,
}

/// What should run, or run in another version: `compose` or `process`, and not both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "documents",
    derive(JsonSchema),
    schemars(extend("oneOf" = [
        {
            "required": ["compose"],
            "properties": {"compose": {"type": "string"}, "process": {"type": "null"}}
        },
        {
            "required": ["process"],
            "properties": {
                "process": {"type": "object"},
                "compose": {"type": "null"},
                "web": {"type": "null"},
                "config": {"maxProperties": 0}
            }
        }
    ]))
)]
#[serde(deny_unknown_fields)]
pub struct DeployCall {
    /// The deployment's name, among those of the caller's owner.
    pub app_name: DeploymentName,
    /// The caller's own name for the version. It stands in the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 100)))]
    pub app_version: Option<String>,
    /// A Compose file as text, at most 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 65_536)))]
    pub compose: Option<String>,
    /// Variables for `${NAME}` in the Compose file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// The service of the Compose file that answers for the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<Web>,
    /// A process that the agent starts itself, in place of a Compose file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessWorkload>,
    /// How many agents run it.
    #[serde(default = "one")]
    #[cfg_attr(feature = "documents", schemars(range(max = 100_000)))]
    pub replicas: u32,
    /// The size of agent that it needs; left out where the fleet has only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_size: Option<NodeSize>,
    /// The one datacenter where it may run; anywhere when empty. A token of before, such as `gcp:us-central1-a`, is read
    /// as the name `gcp-us-central1-a`, here and in the lists.
    #[serde(
        default,
        deserialize_with = "token::any_datacenter",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "documents", schemars(with = "Option<String>"))]
    pub datacenter: Option<Datacenter>,
    /// The one agent that it may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_name: Option<AgentId>,
    /// Datacenters where it may run; any when empty.
    #[serde(
        default,
        deserialize_with = "token::datacenters",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[cfg_attr(
        feature = "documents",
        schemars(with = "Vec<String>", length(max = 100))
    )]
    pub allowed_datacenters: Vec<Datacenter>,
    /// Datacenters where it may not run; none of the allowed ones.
    #[serde(
        default,
        deserialize_with = "token::datacenters",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[cfg_attr(
        feature = "documents",
        schemars(with = "Vec<String>", length(max = 100))
    )]
    pub denied_datacenters: Vec<Datacenter>,
    /// Clouds where it may run; any when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 100)))]
    pub allowed_clouds: Vec<Cloud>,
    /// Clouds where it may not run; none of the allowed ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 100)))]
    pub denied_clouds: Vec<Cloud>,
    /// How to tell that it is ready, as in a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// How a change rolls out, as in a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// How it is reached, as in a document; not published when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
    /// Secrets of the owner that it is given, as in a document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 50)))]
    pub secrets: Vec<SecretUse>,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

fn one() -> u32 {
    1
}

/// A change of a deployment that is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
pub struct Deployed {
    /// The deployment: `owner/name`.
    #[cfg_attr(feature = "documents", schemars(with = "String"))]
    pub deployment_id: DeploymentId,
    /// An agent that has been told, if there is one by now.
    pub agent_id: Option<AgentId>,
    /// The commit that has the change, 40 hex digits.
    pub commit: String,
    /// How far it is.
    pub status: DeployState,
    /// Where removals are held until a person approves them: the digest that is approved, as the plan of the moment has it.
    #[cfg_attr(feature = "documents", schemars(with = "Option<String>"))]
    pub held: Option<Digest>,
    /// Where what runs is left as it is although the document is gone: why, with the file that holds it.
    pub frozen: Option<String>,
}

/// How far a change of a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeployState {
    /// An agent has taken the instruction in.
    Deploying,
    /// It is committed, and no agent has taken an instruction in yet.
    Pending,
    /// It is taken away.
    Removing,
    /// Its document is gone, and what runs is left as it is: another file may be that document.
    Frozen,
    /// A part of it waits for a person's approval.
    Held,
}

/// What would happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
pub struct Preflight {
    /// Always true: nothing was changed.
    pub dry_run: bool,
    /// Whether all of it could run at once, or runs already.
    pub eligible: bool,
    /// The agent that would be told first, if any could.
    pub selected_agent_id: Option<AgentId>,
    /// Its size.
    pub selected_node_size: Option<NodeSize>,
    /// Where it is.
    pub selected_datacenter: Option<Datacenter>,
    /// In which cloud that is.
    pub selected_cloud: Option<Cloud>,
    /// Why not all of it could, or not at once.
    pub issues: Vec<Issue>,
    /// What is worth knowing, and nothing is wrong with.
    pub notes: Vec<Issue>,
    /// What the plan would do and wait for beyond what it does anyway, a line each, at most 100.
    pub plan: Vec<String>,
}

/// Why something does not run, or not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
pub struct Issue {
    /// A stable code.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// The agent that it is about, if it is about one.
    pub agent_id: Option<AgentId>,
    /// The size that is asked for.
    pub node_size: Option<NodeSize>,
    /// The datacenter that it is about.
    pub datacenter: Option<Datacenter>,
}

/// A deployment as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
pub struct DeploymentView {
    /// The deployment: `owner/name`.
    #[cfg_attr(feature = "documents", schemars(with = "String"))]
    pub deployment_id: DeploymentId,
    /// `pending`, `progressing`, `running`, `stopped`, `removing`, or `frozen` when no
    /// document of it can be used, and what runs stays as it is.
    pub status: String,
    /// Replicas that are wanted.
    pub replicas: u32,
    /// Those of the wanted version that have an agent.
    pub updated: u32,
    /// Those that are ready.
    pub ready: u32,
    /// Its replicas, by agent.
    pub agents: Vec<ReplicaView>,
    /// What it waits for, each in words.
    pub waits: Vec<String>,
}

/// A replica as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
pub struct ReplicaView {
    /// Its agent.
    pub agent_id: AgentId,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is of the wanted version.
    pub updated: bool,
    /// Where it is published.
    pub url: Option<String>,
}

/// A refused request. Programs read `code`, people read `message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
pub struct DeployRefusal {
    /// A stable code.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// The request's id in the log, if it has one.
    pub request_id: Option<String>,
    /// What is wrong with the document that was to be committed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<DeployProblem>,
    /// Why nothing could run it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<Issue>,
}

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
pub struct DeployProblem {
    /// The document that was to be committed.
    pub file: String,
    /// The field of the call that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The line, from 1; 0 when it is about the whole of it. Where the field is `compose`, it is one of that text, or else of
    /// the document.
    pub line: u32,
    /// The column, from 1, of the same text.
    pub column: u32,
    /// A stable code.
    pub code: String,
    /// What is wrong, and what was expected.
    pub message: String,
}
