//! Identifiers. Each has a type of its own, so that one cannot be passed for another.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Digest;

/// A text that cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected 1 to {max} of a-z, 0-9 and '-', starting and ending with a letter or digit, found {found:?}"
)]
pub struct NameError {
    max: usize,
    found: String,
}

/// Names obey DNS labels, because they become host names, labels and file names.
fn check(text: &str, max: usize) -> Result<(), NameError> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = !text.is_empty() && text.len() <= max;
    if fits && edge(text.chars().next()) && edge(text.chars().last()) && text.chars().all(inner) {
        Ok(())
    } else {
        Err(NameError {
            max,
            found: text.chars().take(80).collect(),
        })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The longest accepted name, in bytes.
            pub const MAX: usize = $max;

            /// Reads a name.
            ///
            /// # Errors
            /// When the text is not a DNS label of at most [`Self::MAX`] bytes.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check(&text, $max)?;
                Ok(Self(text))
            }

            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "documents")]
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "maxLength": $max,
                    "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
                })
            }
        }
    };
}

name!(/// The id of a fleet: one state repository, one fleet.
    FleetId, 40);
name!(/// An owner: a GitHub login or organisation, in lower case.
    OwnerName, 39);
name!(/// The name of a capacity target.
    TargetName, 40);
name!(/// The name of a provider document.
    ProviderName, 40);
name!(/// The name of an attestation policy.
    PolicyName, 40);
name!(/// The name of a reservation, unique under its owner.
    ReservationName, 40);
name!(/// The name of a deployment, unique under its owner.
    DeploymentName, 40);
name!(/// A place where agents run, such as `local` or `gcp-us-central1-a`.
    Datacenter, 40);
name!(/// A size of agent, such as `tiny`, `standard` or `llm`.
    NodeSize, 40);
name!(/// A provider's zone, such as `us-central1-a`: a part of a datacenter that may run short of room by itself.
    Zone, 63);
name!(/// A provider's own name for a kind of machine, such as `c3-standard-4`.
    Shape, 63);
name!(/// The name of a secret, unique under its owner.
    SecretName, 40);
name!(/// The id of a worker process, stable over its restarts.
    WorkerId, 63);
name!(/// The id of an order; the join key of unit, agent and evidence.
    OrderId, 63);
name!(/// The id of an agent: its launch order's id, because an order makes one agent.
    AgentId, 63);

impl OrderId {
    /// The id of the launch order for a slot of a target: the same decision is the same order.
    pub fn launch(fleet: &FleetId, target: &TargetName, slot: u32, generation: u64) -> Self {
        let digest = Digest::of_list([
            fleet.0.as_bytes(),
            target.0.as_bytes(),
            &slot.to_le_bytes(),
            &generation.to_le_bytes(),
        ]);
        Self(format!("{target}-{}", digest.short(12)))
    }

    /// The id of the order that destroys an agent's machine.
    pub fn retire(agent: &AgentId) -> Self {
        Self(format!("{}-x", agent.0))
    }

    /// The agent that this launch order makes.
    pub fn agent(&self) -> AgentId {
        AgentId(self.0.clone())
    }
}

impl AgentId {
    /// The launch order that made this agent.
    pub fn order(&self) -> OrderId {
        OrderId(self.0.clone())
    }
}

/// A deployment's identity, written `owner/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId {
    /// Who owns it.
    pub owner: OwnerName,
    /// Its name under the owner.
    pub name: DeploymentName,
}

/// A reservation's identity, written `owner/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationId {
    /// Who owns it.
    pub owner: OwnerName,
    /// Its name under the owner.
    pub name: ReservationName,
}

macro_rules! owned {
    ($type:ident, $name:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.owner, self.name)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let (owner, name) = text.split_once('/').unwrap_or(("", text));
                Ok(Self {
                    owner: OwnerName::new(owner)?,
                    name: $name::new(name)?,
                })
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

owned!(DeploymentId, DeploymentName);
owned!(ReservationId, ReservationName);

macro_rules! counter {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $type(pub u64);

        impl $type {
            /// The one after this; the highest has none and stays itself.
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

counter!(/// Counts instructions to one agent; an agent refuses a lower one than it has seen.
    Generation);
counter!(/// Counts leaders of a fleet; workers and agents refuse a lower one. A single reconciler is 1.
    Epoch);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        assert!(TargetName::new("tiny-1").is_ok());
        for wrong in ["", "-a", "a-", "A", "a_b", "a.b", &"a".repeat(41)] {
            assert!(TargetName::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_same_decision_is_the_same_order() {
        let fleet = FleetId::new("demo").expect("a name");
        let target = TargetName::new("tiny").expect("a name");
        let order = OrderId::launch(&fleet, &target, 0, 1);
        assert_eq!(order, OrderId::launch(&fleet, &target, 0, 1));
        assert_ne!(order, OrderId::launch(&fleet, &target, 1, 1));
        assert_ne!(order, OrderId::launch(&fleet, &target, 0, 2));
        assert_eq!(order.agent().order(), order);
        assert!(OrderId::new(order.as_str()).is_ok());
    }

    #[test]
    fn an_owned_identity_needs_its_owner() {
        assert!("acme/web".parse::<DeploymentId>().is_ok());
        assert!("web".parse::<DeploymentId>().is_err());
    }
}
