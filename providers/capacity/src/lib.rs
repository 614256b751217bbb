//! Capacity: the worker that claims orders, and the ways of making machines behind one trait. A provider does
//! what it is told and says what is there; it decides nothing and retries nothing.

mod config;
#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "testing")]
pub mod fake;
mod log;
pub mod process;
pub mod qemu;
mod units;
pub mod worker;

use std::io;

use async_trait::async_trait;
pub use config::AgentProgram;
use easyenclave_schemas::wire::{LaunchSpec, Unit};
use easyenclave_schemas::{Datacenter, FailureCause, FleetId, OrderId, Secret, WorkerId};

/// Makes, removes and lists units: machines with one agent each. A unit is named by the launch order that
/// made it.
///
/// # Guarantees
/// - Every verb is idempotent, and may be dropped at any point and called again.
/// - `ensure` never leaves two live agents for one order, however often it is called at a time, and the live
///   one is of the claim that it was called with.
/// - `remove_older` never touches a unit of the claim that it is called with, or of one that is not known.
/// - When `remove` has returned, nothing of the unit is left: no agent, no workload, no file.
/// - `list` has every unit that carries this provider's label, also those of an earlier process, those that
///   are half made and those whose agent is dead; or it is an error.
/// - Nothing without this provider's label is ever touched.
///
/// # Assumptions
/// - One provider object at a time uses its label.
///
/// # Caveats
/// - `ensure` has done its work when the agent has been started, not when it has joined.
/// - A unit can die at any time, also just after it was listed as alive.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Makes the unit of an order, unless a live one is there. One of another claim is ended first: its token
    /// is worth nothing any more.
    ///
    /// # Errors
    /// When it cannot be made; what is left of the attempt is listed, and can be ensured again or removed.
    async fn ensure(&self, request: &LaunchRequest) -> Result<(), ProvideError>;

    /// Destroys the unit of an order and all that is left of it. No unit is no error.
    ///
    /// # Errors
    /// When something is left.
    async fn remove(&self, order: &OrderId) -> Result<(), ProvideError>;

    /// Destroys the unit of an order as [`Provider::remove`] does, if it was made under a lower claim than this.
    ///
    /// # Errors
    /// When something is left.
    async fn remove_older(&self, order: &OrderId, fence: u64) -> Result<(), ProvideError>;

    /// Every unit, in the order of their names.
    ///
    /// # Errors
    /// When the listing would not be complete.
    async fn list(&self) -> Result<Vec<Unit>, ProvideError>;

    /// What a unit's agent said last, in one line of at most 300 characters; empty when it said nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn last_words(&self, order: &OrderId) -> Result<String, ProvideError>;

    /// The end of all that a unit has put out, at most [`CONSOLE`](easyenclave_schemas::wire::CONSOLE) bytes of UTF-8,
    /// with no control characters but line feeds; empty when it put out nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn console(&self, order: &OrderId) -> Result<String, ProvideError>;
}

/// All that is needed to make a unit.
#[derive(Debug, Clone)]
pub struct LaunchRequest {
    /// The launch order.
    pub order: OrderId,
    /// The number of its claim.
    pub fence: u64,
    /// Its fleet.
    pub fleet: FleetId,
    /// Where.
    pub datacenter: Datacenter,
    /// The worker that makes it.
    pub worker: WorkerId,
    /// What the order asks for.
    pub spec: LaunchSpec,
    /// Proves the order once.
    pub bootstrap_token: Secret<String>,
}

/// Why a provider did not do what it was told, sorted by what happens next.
#[derive(Debug, thiserror::Error)]
pub enum ProvideError {
    /// The same call may work later.
    #[error("{what}")]
    Retry {
        /// What was tried, in words.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// There are as many units as are allowed.
    #[error("{limit} agents are running, and no more are allowed here")]
    NoCapacity {
        /// The most that are allowed.
        limit: u32,
    },
    /// There is no room for such a machine in this zone at the moment.
    #[error("{what}")]
    Stockout {
        /// The zone.
        zone: String,
        /// The kind of machine.
        shape: String,
        /// What was tried, and what was answered, in words.
        what: String,
    },
    /// What this account or project may have is used up.
    #[error("{what}")]
    Quota {
        /// What was tried, and what was answered, in words.
        what: String,
    },
    /// It will not work before somebody changes something.
    #[error("{what}")]
    NeedsPerson {
        /// What was tried, in words.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl ProvideError {
    /// What an order that ends with this has failed of.
    pub fn cause(&self) -> FailureCause {
        match self {
            Self::Retry { .. } => FailureCause::ProviderDown,
            Self::NoCapacity { .. } | Self::Stockout { .. } => FailureCause::NoCapacity,
            Self::Quota { .. } => FailureCause::Quota,
            Self::NeedsPerson { .. } => FailureCause::Refused,
        }
    }

    /// Sorts an error of the system: what is missing or forbidden does not come right by itself.
    pub(crate) fn of(what: impl Into<String>, source: io::Error) -> Self {
        let what = what.into();
        match source.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory => Self::NeedsPerson { what, source },
            _ => Self::Retry { what, source },
        }
    }
}
