//! What a worker's provider is to make for a launch order. The order carries all of it, so that workers need no state
//! repository.

use serde::{Deserialize, Serialize};

use crate::documents::{Accelerator, ProviderSpec, TdxUse};
use crate::{Digest, NodeSize, Shape, Zone};

/// A machine, in its provider's terms. The process provider needs none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Machine {
    /// A virtual machine of QEMU.
    Qemu(QemuMachine),
    /// A virtual machine of Google Cloud.
    Gcp(Box<GcpMachine>),
}

/// A virtual machine of QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QemuMachine {
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// A disk for data in GiB; none when 0.
    pub data_gib: u32,
    /// What carries out its instructions.
    pub accelerator: Accelerator,
    /// Whether it is a trust domain.
    pub tdx: TdxUse,
    /// The digest of the image that it must start from; any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
}

/// What a simulated platform measures of a machine of this size that starts from this image.
pub fn image_label(image: &Digest, size: &NodeSize) -> String {
    format!("image-{image}-{size}")
}

/// A virtual machine of Google Cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcpMachine {
    /// The project.
    pub project: String,
    /// The one zone in which it is tried.
    pub zone: Zone,
    /// The one machine type that is tried.
    pub machine_type: Shape,
    /// The image, `projects/p/global/images/name`.
    pub image: String,
    /// The boot disk in GiB.
    pub disk_gib: u32,
    /// The project's network.
    pub network: String,
    /// Its subnetwork in the zone's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnetwork: Option<String>,
    /// Whether it has an address that the internet can reach.
    #[serde(default)]
    pub external_address: bool,
    /// The account that it acts as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Whether it may be taken away at any time.
    #[serde(default)]
    pub preemptible: bool,
}

impl Machine {
    /// The machine of a size by a provider's document, at the spot that the order names, or else at the preferred one.
    /// None for a provider that makes no machines, and for a size or a spot that it does not have any more.
    pub fn of(
        provider: &ProviderSpec,
        size: &NodeSize,
        zone: Option<&Zone>,
        shape: Option<&Shape>,
    ) -> Option<Self> {
        match provider {
            ProviderSpec::Process(_) => None,
            ProviderSpec::Qemu(qemu) => {
                let size = qemu.size(size)?;
                Some(Self::Qemu(QemuMachine {
                    vcpus: size.vcpus,
                    memory_mib: size.memory_mib,
                    data_gib: size.data_gib,
                    accelerator: qemu.accelerator,
                    tdx: qemu.tdx,
                    image: qemu.image,
                }))
            }
            ProviderSpec::Gcp(gcp) => {
                let size = gcp.sizes.get(size.as_str())?;
                Some(Self::Gcp(Box::new(GcpMachine {
                    project: gcp.project.clone(),
                    zone: still(zone, &gcp.zones)?,
                    machine_type: still(shape, &size.machine_types)?,
                    image: gcp.image.clone(),
                    disk_gib: size.disk_gib,
                    network: gcp.network.clone(),
                    subnetwork: gcp.subnetwork.clone(),
                    external_address: gcp.external_address,
                    service_account: gcp.service_account.clone(),
                    preemptible: gcp.preemptible,
                })))
            }
        }
    }
}

/// What an order names, if the document still has it; the preferred one where it names none.
fn still<T: Clone + PartialEq>(named: Option<&T>, all: &[T]) -> Option<T> {
    match named {
        Some(named) => all.iter().find(|one| *one == named).cloned(),
        None => all.first().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn size(name: &str) -> NodeSize {
        name.parse().expect("a name")
    }

    #[test]
    fn sizes_of_the_document_replace_the_usual_ones() {
        let provider = json!({"qemu": {"sizes": {"tiny": {"vcpus": 1, "memoryMib": 384}}}});
        let provider: ProviderSpec = serde_json::from_value(provider).expect("a provider");
        let of = |name| match Machine::of(&provider, &size(name), None, None) {
            Some(Machine::Qemu(machine)) => {
                Some((machine.vcpus, machine.memory_mib, machine.data_gib))
            }
            _ => None,
        };
        assert_eq!(of("tiny"), Some((1, 384, 0)));
        assert_eq!(of("standard"), Some((16, 16_384, 0)));
        assert_eq!(of("llm"), Some((8, 16_384, 80)));
        assert_eq!(of("huge"), None);
        assert_eq!(provider.sizes(), Some(vec!["llm", "standard", "tiny"]));
    }

    #[test]
    fn a_machine_of_a_cloud_is_for_one_zone_and_one_type() {
        let provider = json!({"gcp": {
            "project": "p", "image": "projects/p/global/images/i", "zones": ["z-a", "z-b"],
            "sizes": {"tiny": {"machineTypes": ["c3-4", "n4-4"], "pricePerHour": "0.25"}},
        }});
        let provider: ProviderSpec = serde_json::from_value(provider).expect("a provider");
        let at = |zone: Option<&Zone>, shape: Option<&Shape>| match Machine::of(
            &provider,
            &size("tiny"),
            zone,
            shape,
        ) {
            Some(Machine::Gcp(machine)) => {
                format!(
                    "{} {} {}",
                    machine.zone, machine.machine_type, machine.disk_gib
                )
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(at(None, None), "z-a c3-4 80");
        let spots = provider.spots(&size("tiny"));
        let shown: Vec<_> = spots
            .iter()
            .map(|(zone, shape)| at(Some(zone), Some(shape)))
            .collect();
        assert_eq!(
            shown,
            ["z-a c3-4 80", "z-a n4-4 80", "z-b c3-4 80", "z-b n4-4 80"]
        );
        let price = provider.price_per_hour(&size("tiny")).expect("a price");
        assert_eq!(price.to_string(), "0.25");
    }
}
