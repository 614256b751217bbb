//! Measurements that no policy knows, seen on a platform that one trusts.

use serde::{Deserialize, Serialize};

use crate::evidence::MeasurementDigest;
use crate::{NodeSize, PolicyName, Timestamp};

/// An unknown image. `easyenclave measure` makes a policy change of it, which a person has to merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sighting {
    /// The launch order of the agent that showed it.
    pub agent: String,
    /// The policy that does not know it.
    pub policy: PolicyName,
    /// The size of the agent.
    pub node_size: NodeSize,
    /// Whether the platform is a simulated one.
    pub simulated: bool,
    /// Why it was refused: a code and words.
    pub refused: String,
    /// The initial image.
    pub mrtd: MeasurementDigest,
    /// The TDX module.
    pub mrseam: MeasurementDigest,
    /// What the launcher said the machine is for.
    pub mrconfigid: MeasurementDigest,
    /// The runtime registers 0 to 3.
    pub rtmrs: [MeasurementDigest; 4],
    /// What the event log says was measured, a line each, at most 40; empty when there was none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// When it was first seen, in whole seconds.
    pub first_at: Timestamp,
}
