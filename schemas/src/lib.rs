//! Every format that EasyEnclave stores or sends: state documents, messages on the wire, status files.
//! Holds formats and their checks only: it never reads a clock, a file, the environment or the network.

mod cloud;
#[cfg(feature = "documents")]
pub mod compose;
#[cfg(feature = "documents")]
pub mod decode;
mod digest;
mod disruption;
pub mod documents;
pub mod evidence;
#[cfg(test)]
mod former;
mod launch;
mod money;
mod names;
pub mod records;
mod rollout;
#[cfg(feature = "signature")]
pub mod sealed;
mod secret;
#[cfg(feature = "signature")]
pub mod signature;
pub mod status;
mod time;
mod token;
pub mod wire;

pub use cloud::{Cloud, CloudError, Hostname, HostnameError};
pub use digest::Digest;
pub use disruption::{DisruptionReason, Share, ShareError, TimeOfDay, TimeOfDayError, Weekday};
pub use launch::{FailureCause, Spot, Stage, StageTimes};
pub use money::{MicroUsd, MicroUsdError};
pub use names::*;
pub use rollout::{PastRollout, Revert, RolloutOutcome, RolloutStep};
pub use secret::Secret;
pub use time::{Timestamp, TimestampError};
