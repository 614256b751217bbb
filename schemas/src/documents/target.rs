//! Kind CapacityTarget: how many agents of a size a datacenter should have.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DisruptionSpec;
use crate::{Datacenter, NodeSize, PolicyName, ProviderName};

/// A capacity target. Wanted agents = assigned + reserved + `warm`, within `min` and `max`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetSpec {
    /// Where the agents run.
    pub datacenter: Datacenter,
    /// Their size.
    pub node_size: NodeSize,
    /// The provider that makes them.
    pub provider: ProviderName,
    /// Further places for them, the preferred first, at most 10. The next one is tried where one has no room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 10)))]
    pub places: Vec<PlaceSpec>,
    /// The policy they must satisfy.
    pub policy: PolicyName,
    /// Never fewer agents than this.
    #[serde(default)]
    pub min: u32,
    /// Never more agents and open orders than this, at most 100000.
    #[cfg_attr(feature = "documents", schemars(range(max = 100_000)))]
    pub max: u32,
    /// Idle agents kept ready beyond those in use.
    #[serde(default)]
    pub warm: u32,
    /// How its agents may be taken away on purpose.
    #[serde(default)]
    pub disruption: DisruptionSpec,
}

/// A place where agents can be made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaceSpec {
    /// The provider that makes them.
    pub provider: ProviderName,
    /// Where they run.
    pub datacenter: Datacenter,
}

impl TargetSpec {
    /// All places, the preferred first.
    pub fn all_places(&self) -> Vec<PlaceSpec> {
        let first = PlaceSpec {
            provider: self.provider.clone(),
            datacenter: self.datacenter.clone(),
        };
        std::iter::once(first)
            .chain(self.places.iter().cloned())
            .collect()
    }
}
