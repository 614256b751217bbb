//! What the verifier is told to accept. Nothing is allowed by being left out: an empty set trusts nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use easyenclave_schemas::Digest;
use easyenclave_schemas::evidence::{MeasurementDigest, RootKeyId, TcbStatus};

/// A policy, as the verifier needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whose platforms count.
    pub trust_root: TrustRoot,
    /// The TCB statuses that are acceptable.
    pub allowed_tcb: BTreeSet<TcbStatus>,
    /// The platform properties that are allowed.
    pub platform: PlatformFlags,
    /// How long after the date of its TCB level an out-of-date platform is let pass, if that status is
    /// allowed at all. The date is that of the old level itself, often a year ago.
    pub grace: Duration,
    /// The trusted MRTDs.
    pub measurements: BTreeSet<MeasurementDigest>,
    /// How long a verdict counts at most.
    pub max_age: Duration,
    /// The digest of the document this policy was made from.
    pub digest: Digest,
}

/// Platform properties that are refused unless allowed here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlatformFlags {
    /// The platform may be extended with more packages after its registration.
    pub dynamic_platform: bool,
    /// The platform's keys are cached by its vendor's registration service.
    pub cached_keys: bool,
    /// Hyper-threading is on.
    pub smt: bool,
}

/// The root that vouches for a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustRoot {
    /// Intel's production root, which is compiled in.
    Intel,
    /// The root of a simulated platform.
    Simulated(SimulatedRoot),
}

/// The key of a simulated platform's root; never Intel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulatedRoot(RootKeyId);

/// Intel's root was given as a simulated one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the trust root's key id is Intel's, which is not a simulated root")]
pub struct IntelIsNotSimulated;

impl TrustRoot {
    /// A simulated platform's root.
    ///
    /// # Errors
    /// When the key is Intel's: real evidence must never count as simulated.
    pub fn simulated(key_id: RootKeyId) -> Result<Self, IntelIsNotSimulated> {
        if key_id.is_simulated() {
            Ok(Self::Simulated(SimulatedRoot(key_id)))
        } else {
            Err(IntelIsNotSimulated)
        }
    }

    /// The key that the root must have.
    pub fn key_id(&self) -> RootKeyId {
        match self {
            Self::Intel => RootKeyId::INTEL,
            Self::Simulated(SimulatedRoot(key_id)) => *key_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intels_root_cannot_be_named_as_simulated() {
        assert_eq!(
            TrustRoot::simulated(RootKeyId::INTEL),
            Err(IntelIsNotSimulated)
        );
        let other = RootKeyId::new([7; 48]);
        assert_eq!(
            TrustRoot::simulated(other).expect("not Intel's").key_id(),
            other
        );
    }
}
