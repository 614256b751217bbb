//! Reference values: which image, firmware and configuration are trusted.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::NodeSize;

/// One trusted measurement. Registers that are left out are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Measurement {
    /// What was measured, for people: an image's name or release.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 200)))]
    pub name: String,
    /// The size it holds for; every size when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_size: Option<NodeSize>,
    /// MRTD, the initial image: 96 hex digits.
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[0-9a-f]{96}$")))]
    pub mrtd: String,
    /// MRSEAM, the TDX module. Changes with the host's updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[0-9a-f]{96}$")))]
    pub mrseam: Option<String>,
    /// MRCONFIGID, what the launcher said the machine is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[0-9a-f]{96}$")))]
    pub mrconfigid: Option<String>,
    /// RTMR0, the firmware's configuration and the virtual hardware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[0-9a-f]{96}$")))]
    pub rtmr0: Option<String>,
    /// RTMR1, boot loader and kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[0-9a-f]{96}$")))]
    pub rtmr1: Option<String>,
    /// RTMR2, kernel command line and initial file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[0-9a-f]{96}$")))]
    pub rtmr2: Option<String>,
    /// RTMR3, which grows while the machine runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[0-9a-f]{96}$")))]
    pub rtmr3: Option<String>,
    /// Events that the machine's log must hold. The log counts only when its replay gives the registers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 100)))]
    pub event_log: Vec<EventPredicate>,
    /// Where the values come from: an agent, an image, a build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(length(max = 2000)))]
    pub provenance: Option<String>,
}

/// An event that the log must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventPredicate {
    /// The register that it extends, 0 to 3.
    #[cfg_attr(feature = "documents", schemars(range(max = 3)))]
    pub rtmr: u32,
    /// SHA-384 of what was measured, 96 hex digits: one event of the register must have this digest.
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[0-9a-f]{96}$")))]
    pub digest: String,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(length(max = 200)))]
    pub description: Option<String>,
}
