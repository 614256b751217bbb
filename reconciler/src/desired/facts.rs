//! All documents of a revision side by side, indexed by name, as the checks and the model see them.

use std::collections::{BTreeMap, HashMap};

use easyenclave_schemas::documents::{
    ApprovalSpec, DeploymentSpec, Document, FleetSpec, Identity, Kind, Object, OwnerSpec,
    PolicySpec, ProviderSpec, ReservationSpec, SecretSpec, TargetSpec,
};

use super::blobs::Read;
use super::paths::may_hold;
use super::slot::Kept;
use crate::secrets::Keyring;

/// A version of a document that is considered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Considered<'a> {
    /// The place of its file among all files.
    pub(super) file: usize,
    pub(super) path: &'a str,
    pub(super) read: &'a Read,
    pub(super) standing: Standing,
}

/// How much a version speaks for itself when two documents cannot both be right: the one that was in
/// force before is not at fault for what another one changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// In the tree as it was in force before.
    Unchanged,
    /// In the tree, another version than was in force before.
    Changed,
    /// In the tree, and no version of it was in force before.
    New,
    /// Not in the tree: an older version, in place of one that failed.
    Older,
}

impl Standing {
    /// How new a version is beside what was in force. An older one stands for one that was.
    pub(super) fn novelty(self) -> u8 {
        match self {
            Self::Unchanged | Self::Older => 0,
            Self::Changed => 1,
            Self::New => 2,
        }
    }
}

/// A document with its version.
#[derive(Debug)]
pub(super) struct Held<'a, S> {
    pub(super) version: Considered<'a>,
    pub(super) object: &'a Object<S>,
}

impl<'a, S> Held<'a, S> {
    pub(super) fn name(&self) -> &'a str {
        &self.object.metadata.name
    }

    /// The owner; documents without one are of no owned kind.
    pub(super) fn owner(&self) -> &'a str {
        self.object
            .metadata
            .owner
            .as_ref()
            .map_or("", |owner| owner.as_str())
    }
}

/// All documents of a revision.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    pub(super) fleet: Option<Held<'a, FleetSpec>>,
    pub(super) owners: BTreeMap<&'a str, Held<'a, OwnerSpec>>,
    pub(super) policies: BTreeMap<&'a str, Held<'a, PolicySpec>>,
    pub(super) providers: BTreeMap<&'a str, Held<'a, ProviderSpec>>,
    pub(super) targets: BTreeMap<&'a str, Held<'a, TargetSpec>>,
    pub(super) reservations: Vec<Held<'a, ReservationSpec>>,
    pub(super) deployments: Vec<Held<'a, DeploymentSpec>>,
    pub(super) secrets: Vec<Held<'a, SecretSpec>>,
    pub(super) approvals: Vec<Held<'a, ApprovalSpec>>,
    /// Opens the secrets; none where nobody has the keys.
    pub(super) keyring: Option<&'a Keyring>,
    /// Every version that is considered, in the order of the files.
    pub(super) all: Vec<Considered<'a>>,
    /// Versions whose identity another one has, with that one. They are in no list above, as are those
    /// that lie where they must not.
    pub(super) doubles: Vec<(Considered<'a>, Considered<'a>)>,
    /// Documents that are in the tree, or may be, but cannot be read and have no good version.
    pub(super) unreadable: Kept,
}

impl<'a> Facts<'a> {
    pub(super) fn new(all: Vec<Considered<'a>>, unreadable: Kept) -> Self {
        let mut facts = Self {
            unreadable,
            ..Self::default()
        };
        let placed =
            |version: &&Considered<'_>| may_hold(version.path, &version.read.located.identity);
        let mut order: Vec<_> = all.iter().filter(placed).copied().collect();
        order.sort_by_key(|version| (version.standing, version.file));
        let mut first: HashMap<&Identity, Considered<'_>> = HashMap::with_capacity(all.len());
        for version in order {
            let identity = &version.read.located.identity;
            match first.get(identity) {
                Some(kept) => facts.doubles.push((version, *kept)),
                None => {
                    first.insert(identity, version);
                    facts.unreadable.remove(identity);
                    facts.file(version);
                }
            }
        }
        facts
            .deployments
            .sort_by_key(|held| (held.owner(), held.name()));
        facts
            .reservations
            .sort_by_key(|held| (held.owner(), held.name()));
        facts
            .secrets
            .sort_by_key(|held| (held.owner(), held.name()));
        facts.all = all;
        facts
    }

    fn file(&mut self, version: Considered<'a>) {
        match &version.read.located.document {
            Document::Fleet(object) => self.fleet = Some(Held { version, object }),
            Document::Owner(object) => index(&mut self.owners, version, object),
            Document::AttestationPolicy(object) => index(&mut self.policies, version, object),
            Document::Provider(object) => index(&mut self.providers, version, object),
            Document::CapacityTarget(object) => index(&mut self.targets, version, object),
            Document::CapacityReservation(object) => {
                self.reservations.push(Held { version, object });
            }
            Document::Deployment(object) => self.deployments.push(Held { version, object }),
            Document::Secret(object) => self.secrets.push(Held { version, object }),
            Document::Approval(object) => self.approvals.push(Held { version, object }),
        }
    }

    /// Whether a document without an owner is in the tree but cannot be read.
    pub(super) fn is_unreadable(&self, kind: Kind, name: &str) -> bool {
        self.why_unreadable(kind, None, name).is_some()
    }

    /// Why a document that is in the tree, or may be, cannot be read.
    pub(super) fn why_unreadable(
        &self,
        kind: Kind,
        owner: Option<&str>,
        name: &str,
    ) -> Option<&String> {
        let (owner, name) = (owner.map(str::to_owned), name.to_owned());
        self.unreadable.get(&Identity { kind, owner, name })
    }

    /// Why one of these secrets is not there.
    pub(super) fn why_no_secret<'n>(
        &self,
        owner: &str,
        mut names: impl Iterator<Item = &'n str>,
    ) -> String {
        let why = names.find_map(|name| self.why_unreadable(Kind::Secret, Some(owner), name));
        why.cloned()
            .unwrap_or_else(|| format!("a secret of {owner} is not there"))
    }
}

fn index<'a, S>(
    map: &mut BTreeMap<&'a str, Held<'a, S>>,
    version: Considered<'a>,
    object: &'a Object<S>,
) {
    map.insert(&object.metadata.name, Held { version, object });
}
