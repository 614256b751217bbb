//! Kind Provider: how a datacenter makes agents, and which sizes of machine it has for that.

use std::collections::BTreeMap;

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Runtime;
use crate::{Digest, MicroUsd, NodeSize, Shape, Zone};

/// A provider: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ProviderSpec {
    /// Agents are child processes of the worker, on the worker's machine.
    Process(ProcessProvider),
    /// Agents are virtual machines of QEMU, on the worker's machine.
    Qemu(QemuProvider),
    /// Agents are confidential virtual machines of Google Cloud.
    Gcp(GcpProvider),
}

/// Settings of the process provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProcessProvider {
    /// The worker starts no more agents than this, whatever it is asked, 1 to 1000.
    #[cfg_attr(feature = "documents", schemars(range(min = 1, max = 1000)))]
    pub max_agents: u32,
    /// What its agents may run. When it is left out, each may run what it finds: processes, and Compose files where the
    /// worker's machine has a container engine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 2)))]
    pub runtimes: Vec<Runtime>,
}

impl Default for ProcessProvider {
    fn default() -> Self {
        Self {
            max_agents: 64,
            runtimes: Vec::new(),
        }
    }
}

/// Settings of the QEMU provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct QemuProvider {
    /// The worker starts no more machines than this, whatever it is asked, 1 to 1000.
    #[cfg_attr(feature = "documents", schemars(range(min = 1, max = 1000)))]
    pub max_agents: u32,
    /// What carries out the machines' instructions.
    pub accelerator: Accelerator,
    /// Whether the machines are trust domains of Intel TDX. Others can only be trusted under a simulated root.
    pub tdx: TdxUse,
    /// The digest of the image that the worker must have, 64 hex digits; any when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "documents",
        schemars(with = "Option<String>", regex(pattern = r"^[0-9a-f]{64}$"))
    )]
    pub image: Option<Digest>,
    /// Machines by node size. What is given here replaces the size of the same name among `tiny` (4 CPUs, 4 GiB),
    /// `standard` (16 CPUs, 16 GiB) and `llm` (8 CPUs, 16 GiB, 80 GiB of data), or adds one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "documents", schemars(with = "BTreeMap<String, QemuSize>"))]
    pub sizes: BTreeMap<String, QemuSize>,
    /// What its agents may run, by what the image holds.
    #[serde(skip_serializing_if = "Runtime::is_usual")]
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 2)))]
    pub runtimes: Vec<Runtime>,
}

impl Default for QemuProvider {
    fn default() -> Self {
        Self {
            max_agents: 16,
            accelerator: Accelerator::Auto,
            tdx: TdxUse::Auto,
            image: None,
            sizes: BTreeMap::new(),
            runtimes: Runtime::usual(),
        }
    }
}

/// What carries out a machine's instructions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Accelerator {
    /// KVM where the host surely has it, or else QEMU itself.
    #[default]
    Auto,
    /// The host's processor, through KVM.
    Kvm,
    /// QEMU itself: slow, and everywhere.
    Tcg,
}

/// Whether machines are trust domains of Intel TDX.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum TdxUse {
    /// They are under policies that name Intel's root, on hosts that can do that; under a simulated root they are plain.
    #[default]
    Auto,
    /// They are, or are not made.
    Required,
    /// They are plain machines, whose agents can only be trusted under a simulated root.
    Never,
}

/// A size of machine of the QEMU provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QemuSize {
    /// Virtual CPUs, 1 to 512.
    #[cfg_attr(feature = "documents", schemars(range(min = 1, max = 512)))]
    pub vcpus: u32,
    /// Memory in MiB, 128 to 16777216.
    #[cfg_attr(feature = "documents", schemars(range(min = 128, max = 16_777_216)))]
    pub memory_mib: u32,
    /// A disk for data in GiB, at most 65536; none when 0.
    #[serde(default)]
    #[cfg_attr(feature = "documents", schemars(range(max = 65_536)))]
    pub data_gib: u32,
    /// What one costs an hour, for people who read plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_per_hour: Option<MicroUsd>,
}

/// Settings of the Google Cloud provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GcpProvider {
    /// The project that the machines are in and that pays for them.
    #[cfg_attr(
        feature = "documents",
        schemars(length(max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub project: String,
    /// The worker makes no more machines than this, whatever it is asked, 1 to 10000.
    #[serde(default = "sixty_four")]
    #[cfg_attr(feature = "documents", schemars(range(min = 1, max = 10_000)))]
    pub max_agents: u32,
    /// The image that they start from, never a family: `projects/p/global/images/name`.
    #[cfg_attr(
        feature = "documents",
        schemars(
            length(max = 150),
            regex(pattern = r"^projects/[-a-z0-9]+/global/images/[-a-z0-9]+$")
        )
    )]
    pub image: String,
    /// Zones, the preferred one first, 1 to 20. The next one is tried where one has no room.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 20)))]
    pub zones: Vec<Zone>,
    /// Machines by node size.
    #[cfg_attr(feature = "documents", schemars(with = "BTreeMap<String, GcpSize>"))]
    pub sizes: BTreeMap<String, GcpSize>,
    /// The project's network that they are in.
    #[serde(default = "default_network")]
    #[cfg_attr(
        feature = "documents",
        schemars(length(max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub network: String,
    /// Its subnetwork in the zones' region, which networks in custom mode need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "documents",
        schemars(length(max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub subnetwork: Option<String>,
    /// Whether they have an address that the internet can reach.
    #[serde(default)]
    pub external_address: bool,
    /// The account that the machines act as; none when left out, so that what runs on them has no access at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "documents",
        schemars(length(max = 200), regex(pattern = r"^[-a-z0-9]+@[-.a-z0-9]+$"))
    )]
    pub service_account: Option<String>,
    /// Whether they may be taken away at any time, at a lower price.
    #[serde(default)]
    pub preemptible: bool,
    /// What its agents may run, by what the image holds.
    #[serde(default = "Runtime::usual", skip_serializing_if = "Runtime::is_usual")]
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 2)))]
    pub runtimes: Vec<Runtime>,
}

fn sixty_four() -> u32 {
    64
}

fn default_network() -> String {
    "default".into()
}

/// A size of machine of the Google Cloud provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GcpSize {
    /// Machine types, the preferred one first, 1 to 10. The next one is tried where one is not to be had.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 10)))]
    pub machine_types: Vec<Shape>,
    /// The boot disk in GiB, 10 to 65536.
    #[serde(default = "eighty")]
    #[cfg_attr(feature = "documents", schemars(range(min = 10, max = 65_536)))]
    pub disk_gib: u32,
    /// What one costs an hour, for people who read plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_per_hour: Option<MicroUsd>,
}

fn eighty() -> u32 {
    80
}

/// Sizes of the QEMU provider that need not be given: virtual CPUs, MiB of memory, GiB of data.
const QEMU_SIZES: [(&str, u32, u32, u32); 3] = [
    ("llm", 8, 16_384, 80),
    ("standard", 16, 16_384, 0),
    ("tiny", 4, 4096, 0),
];

impl QemuProvider {
    /// The machine of a size, if it has that size.
    pub fn size(&self, name: &NodeSize) -> Option<QemuSize> {
        let given = self.sizes.get(name.as_str()).cloned();
        let usual = || {
            let (_, vcpus, memory_mib, data_gib) =
                *QEMU_SIZES.iter().find(|size| size.0 == name.as_str())?;
            Some(QemuSize {
                vcpus,
                memory_mib,
                data_gib,
                price_per_hour: None,
            })
        };
        given.or_else(usual)
    }
}

impl ProviderSpec {
    /// The most machines that one worker makes.
    pub fn max_agents(&self) -> u32 {
        match self {
            Self::Process(process) => process.max_agents,
            Self::Qemu(qemu) => qemu.max_agents,
            Self::Gcp(gcp) => gcp.max_agents,
        }
    }

    /// Whether its agents may run such workloads. What is left out for processes is found out by each agent.
    pub fn may_run(&self, runtime: Runtime) -> bool {
        match self {
            Self::Process(process) if process.runtimes.is_empty() => true,
            Self::Process(process) => process.runtimes.contains(&runtime),
            Self::Qemu(qemu) => qemu.runtimes.contains(&runtime),
            Self::Gcp(gcp) => gcp.runtimes.contains(&runtime),
        }
    }

    /// The names of its sizes, sorted; none when it takes any.
    pub fn sizes(&self) -> Option<Vec<&str>> {
        let mut names: Vec<&str> = match self {
            Self::Process(_) => return None,
            Self::Qemu(qemu) => {
                let given = qemu.sizes.keys().map(String::as_str);
                given.chain(QEMU_SIZES.map(|size| size.0)).collect()
            }
            Self::Gcp(gcp) => gcp.sizes.keys().map(String::as_str).collect(),
        };
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    /// What a machine of this size costs an hour, where the document says so.
    pub fn price_per_hour(&self, size: &NodeSize) -> Option<MicroUsd> {
        match self {
            Self::Process(_) => None,
            Self::Qemu(qemu) => qemu.size(size)?.price_per_hour,
            Self::Gcp(gcp) => gcp.sizes.get(size.as_str())?.price_per_hour,
        }
    }

    /// Zones and kinds of machine for a size, the preferred first; none where the provider knows no such thing.
    pub fn spots(&self, size: &NodeSize) -> Vec<(Zone, Shape)> {
        let Self::Gcp(gcp) = self else {
            return Vec::new();
        };
        let shapes = gcp.sizes.get(size.as_str());
        let shapes = shapes.map_or(&[][..], |size| size.machine_types.as_slice());
        let in_zone = |zone: &Zone| {
            let pairs = shapes.iter().map(|shape| (zone.clone(), shape.clone()));
            pairs.collect::<Vec<_>>()
        };
        gcp.zones.iter().flat_map(in_zone).collect()
    }
}
