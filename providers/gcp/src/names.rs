//! Names, labels and request ids: all are derived from what the machine is for, so that nothing has to be kept, and
//! what is ours is known by two marks that must agree. Never takes a machine for ours by its labels alone.

use std::collections::HashMap;

use easyenclave_schemas::{Datacenter, Digest, FleetId, OrderId, ProviderName, WorkerId};

/// Label of the fleet.
pub const FLEET: &str = "easyenclave-fleet";
/// Label of the provider document.
pub const PROVIDER: &str = "easyenclave-provider";
/// Label of the datacenter.
pub const DATACENTER: &str = "easyenclave-datacenter";
/// Label of the launch order.
pub const ORDER: &str = "easyenclave-order";
/// Label of the number of its claim.
pub const FENCE: &str = "easyenclave-fence";

/// So much of an order's id is in the name of its machine, for people. The digest behind it makes the name.
const READABLE: usize = 40;

/// Whose machines these are. Two workers with the same owner would remove each other's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The fleet.
    pub fleet: FleetId,
    /// The provider document.
    pub provider: ProviderName,
    /// The datacenter.
    pub datacenter: Datacenter,
}

impl Owner {
    /// The name of the worker that makes these machines. It follows from whose they are, so that another host can take
    /// them over when one is lost.
    pub fn worker_id(&self) -> WorkerId {
        let parts = [self.provider.as_str(), self.datacenter.as_str()];
        // Names have hyphens in them too, so that two pairs may read the same.
        let digest = Digest::of_list(parts.map(str::as_bytes)).short(8);
        let readable = format!("gcp-{}-{}", self.provider, self.datacenter);
        let readable: String = readable.chars().take(WorkerId::MAX - 9).collect();
        WorkerId::new(format!("{readable}-{digest}")).expect("made of names and digits")
    }

    /// The machine of an order. There is one such name in a zone, so an order has at most one machine there.
    pub fn machine(&self, order: &OrderId) -> String {
        let readable: String = order.as_str().chars().take(READABLE).collect();
        let whose = [self.fleet.as_str(), self.provider.as_str(), order.as_str()];
        let digest = Digest::of_list(whose.map(str::as_bytes)).short(16);
        format!("ee-{readable}-{digest}")
    }

    /// The labels of an order's machine, made under this claim.
    pub fn labels(&self, order: &OrderId, fence: u64) -> [(&'static str, String); 5] {
        [
            (FLEET, self.fleet.to_string()),
            (PROVIDER, self.provider.to_string()),
            (DATACENTER, self.datacenter.to_string()),
            (ORDER, order.to_string()),
            (FENCE, fence.to_string()),
        ]
    }

    /// What finds them among all machines of a project.
    pub fn filter(&self) -> String {
        let (fleet, provider, datacenter) = (&self.fleet, &self.provider, &self.datacenter);
        format!(
            "(labels.{FLEET}={fleet}) (labels.{PROVIDER}={provider}) (labels.{DATACENTER}={datacenter})"
        )
    }

    /// The order of a machine with this name and these labels, if it is ours: the labels must say so, and the name must
    /// be the one that we give. Labels are copied with a machine, names are not.
    pub fn order(&self, name: &str, labels: &HashMap<String, String>) -> Option<OrderId> {
        let is = |key: &str, value: &str| labels.get(key).is_some_and(|label| label == value);
        let ours = is(FLEET, self.fleet.as_str())
            && is(PROVIDER, self.provider.as_str())
            && is(DATACENTER, self.datacenter.as_str());
        let order = OrderId::new(labels.get(ORDER)?).ok()?;
        (ours && name == self.machine(&order)).then_some(order)
    }

    /// The id of a request, as a UUID: the same for the same purpose, whoever sends it and how often. An answer that is
    /// an old one's goes into the id of the next.
    pub(crate) fn request_id(&self, order: &OrderId, what: &str, after: &str) -> String {
        let parts = [self.fleet.as_str(), order.as_str(), what, after];
        let digest = Digest::of_list(parts.map(str::as_bytes));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_bytes()[..16]);
        // Of the fourth version and the usual variant, as all UUIDs are that nobody asks about.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        uuid(&bytes)
    }
}

fn uuid(bytes: &[u8; 16]) -> String {
    let hex = |range: std::ops::Range<usize>| -> String {
        bytes[range]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    };
    let groups = [hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16)];
    groups.join("-")
}

/// The number of a claim in a machine's labels.
pub(crate) fn fence(labels: &HashMap<String, String>) -> Option<u64> {
    labels.get(FENCE)?.parse().ok()
}

/// The region of a zone: the zone's name without its last part.
pub(crate) fn region(zone: &str) -> &str {
    zone.rsplit_once('-').map_or(zone, |(region, _)| region)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(fleet: &str) -> Owner {
        Owner {
            fleet: fleet.parse().expect("a name"),
            provider: "cloud".parse().expect("a name"),
            datacenter: "gcp-us".parse().expect("a name"),
        }
    }

    fn order(name: &str) -> OrderId {
        name.parse().expect("a name")
    }

    fn labels(owner: &Owner, name: &str) -> HashMap<String, String> {
        let labels = owner.labels(&order(name), 7);
        labels.map(|(key, value)| (key.to_owned(), value)).into()
    }

    #[test]
    fn names_are_short_enough_and_differ_with_fleet_and_order() {
        let longest = "a".repeat(63);
        let names = [
            owner("one").machine(&order(&longest)),
            owner("two").machine(&order(&longest)),
            owner("one").machine(&order(&format!("{}b", &longest[1..]))),
            owner("one").machine(&order("a")),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names.iter().all(|name| name.len() <= 63), "{names:?}");
        assert!(names[3].starts_with("ee-a-"), "{}", names[3]);
    }

    #[test]
    fn a_machine_is_ours_by_labels_and_name_together() {
        let ours = owner("one");
        let name = ours.machine(&order("a"));
        assert_eq!(ours.order(&name, &labels(&ours, "a")), Some(order("a")));
        assert_eq!(ours.order("a-copy", &labels(&ours, "a")), None);
        assert_eq!(ours.order(&name, &labels(&owner("two"), "a")), None);
        assert_eq!(ours.order(&name, &HashMap::new()), None);
        for label in [FLEET, PROVIDER, DATACENTER, ORDER] {
            let mut without = labels(&ours, "a");
            without.remove(label);
            assert_eq!(ours.order(&name, &without), None, "{label}");
        }
    }

    #[test]
    fn request_ids_are_uuids_that_differ_with_their_purpose() {
        let id = |what, after| owner("one").request_id(&order("a"), what, after);
        assert_eq!(id("make 1", ""), id("make 1", ""));
        assert_ne!(id("make 1", ""), id("make 2", ""));
        assert_ne!(id("make 1", ""), id("make 1", "operation-1"));
        let text = id("remove", "");
        let groups: Vec<_> = text.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert!(
            text.as_bytes()[14] == b'4' && b"89ab".contains(&text.as_bytes()[19]),
            "{text}"
        );
    }

    #[test]
    fn a_workers_name_follows_from_its_machines_and_has_room() {
        assert_eq!(
            owner("one").worker_id().as_str(),
            "gcp-cloud-gcp-us-5979fe92"
        );
        let mut pairs = [owner("one"), owner("one")];
        for (pair, (provider, place)) in pairs
            .iter_mut()
            .zip([("gcp-eu", "west"), ("gcp", "eu-west")])
        {
            pair.provider = provider.parse().expect("a name");
            pair.datacenter = place.parse().expect("a name");
        }
        assert_ne!(pairs[0].worker_id(), pairs[1].worker_id());
        let mut long = owner("one");
        long.provider = "p".repeat(40).parse().expect("a name");
        long.datacenter = "d".repeat(40).parse().expect("a name");
        let name = long.worker_id();
        long.datacenter = "d".repeat(39).parse().expect("a name");
        assert_ne!(name, long.worker_id());
    }

    #[test]
    fn a_zone_is_in_its_region() {
        assert_eq!(region("us-central1-a"), "us-central1");
        assert_eq!(region("zone"), "zone");
    }
}
