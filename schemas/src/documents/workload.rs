//! What a deployment runs, and the secrets that it is given.

use std::collections::BTreeMap;

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SecretName;

/// What runs: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Workload {
    /// A process that the agent starts itself.
    Process(ProcessWorkload),
    /// Services of a Compose file, which a container engine beside the agent runs.
    Compose(ComposeWorkload),
}

impl Workload {
    /// What an agent needs in order to run it.
    pub fn runtime(&self) -> Runtime {
        match self {
            Self::Process(_) => Runtime::Process,
            Self::Compose(_) => Runtime::Compose,
        }
    }
}

/// What an agent can run. Words of later versions cannot be read: whoever hears of them drops them first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Runtime {
    /// Processes, which the agent starts itself.
    Process,
    /// Compose files, through a container engine.
    Compose,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Process, Self::Compose];

    /// What every agent can run, and what one can run that says nothing of it.
    pub fn usual() -> Vec<Self> {
        vec![Self::Process]
    }

    /// Whether these are what every agent can run.
    pub fn is_usual(runtimes: &[Self]) -> bool {
        runtimes == [Self::Process]
    }

    /// The word for it in documents and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Compose => "compose",
        }
    }
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

/// Services of a Compose file. The project is the assignment's own, whatever name the file gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComposeWorkload {
    /// Where the Compose file is. Agents, and all that is stored, have its text.
    pub source: ComposeSource,
    /// Variables for `${NAME}` in the file, and for nothing else: containers do not get them by themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Profiles that are on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "documents",
        schemars(
            length(max = 20),
            inner(length(max = 100), regex(pattern = r"^[A-Za-z0-9_][-.A-Za-z0-9_]*$"))
        )
    )]
    pub profiles: Vec<String>,
    /// The service that answers for the deployment: its address is published, and probes by HTTP or TCP ask it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<Web>,
}

/// Where a Compose file is: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ComposeSource {
    /// A file in the folder of the deployment, by its name such as `compose.yaml` or `compose.web.yaml`.
    File(
        #[cfg_attr(
            feature = "documents",
            schemars(
                length(max = 100),
                regex(pattern = r"^(docker-)?compose(\.[-A-Za-z0-9_]+)*\.ya?ml$")
            )
        )]
        String,
    ),
    /// The text itself, at most 64 KiB.
    Inline(#[cfg_attr(feature = "documents", schemars(length(min = 1, max = 65_536)))] String),
}

impl ComposeSource {
    /// The longest text of a Compose file, in bytes.
    pub const MAX: usize = 64 * 1024;
}

/// The service of a Compose file that answers for the deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Web {
    /// The service.
    #[cfg_attr(
        feature = "documents",
        schemars(length(max = 100), regex(pattern = r"^[A-Za-z0-9_][-.A-Za-z0-9_]*$"))
    )]
    pub service: String,
    /// The port that it listens on in its container.
    #[cfg_attr(feature = "documents", schemars(range(min = 1, max = 65_535)))]
    pub port: u16,
}

/// A secret of the owner that a workload is given, as a variable or as a file in the agent's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretUse {
    /// The Secret document of the same owner.
    pub name: SecretName,
    /// The environment variable that has its value, for processes only: an engine would write it to its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 100)))]
    pub env: Option<String>,
    /// The name of the file that has its value: below `$EASYENCLAVE_SECRETS` for processes, below `/run/secrets` in
    /// containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "documents",
        schemars(length(max = 100), regex(pattern = r"^[A-Za-z0-9_][-.A-Za-z0-9_]*$"))
    )]
    pub file: Option<String>,
    /// The services that see the file; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "documents",
        schemars(
            length(max = 100),
            inner(length(max = 100), regex(pattern = r"^[A-Za-z0-9_][-.A-Za-z0-9_]*$"))
        )
    )]
    pub services: Vec<String>,
}

/// What the fleet asks of every Compose file, beyond what is always asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkloadRules {
    /// Every image is named by its digest.
    pub pinned: bool,
    /// Services may be in the network of their machine.
    pub host_network: bool,
}

impl WorkloadRules {
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions are digests over this, and the store has records of before.
    #[test]
    fn a_process_is_written_as_it_always_was() {
        let text = r#"{"process":{"command":["hello"],"env":{"A":"b"},"restart":"onFailure"}}"#;
        let workload: Workload = serde_json::from_str(text).expect("a workload of before");
        assert_eq!(serde_json::to_string(&workload).expect("data"), text);
        let short = r#"{"process":{"command":["hello"]}}"#;
        let workload: Workload = serde_json::from_str(short).expect("a workload of before");
        assert_eq!(
            serde_json::to_string(&workload).expect("data"),
            r#"{"process":{"command":["hello"],"restart":"always"}}"#
        );
        assert_eq!(workload.runtime().as_str(), "process");
    }
}
