//! Kind Provider: how a datacenter makes agents.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A provider: exactly one of its fields is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderSpec {
    /// Agents are child processes of the worker, on the worker's machine.
    pub process: ProcessProvider,
}

/// Settings of the process provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProcessProvider {
    /// The worker starts no more agents than this, whatever it is asked, 1 to 1000.
    #[cfg_attr(feature = "documents", schemars(range(min = 1, max = 1000)))]
    pub max_agents: u32,
}

impl Default for ProcessProvider {
    fn default() -> Self {
        Self { max_agents: 64 }
    }
}
