//! Finds processes by the labels in their environment, and ends them. Children inherit their parent's
//! environment, so whoever was started under a label is found by it, in whatever group or session it is now; one
//! that hides its environment is known by its group alone.
//! Never signals a process that merely got the number of one that has ended.

mod end;
mod find;
mod lock;
mod memory;

use std::time::Duration;

pub use end::{AFTER_KILL, EndError, Ended, end};
pub use find::{Process, list};
pub use lock::take_lock;
pub use memory::{Memory, MemoryError, forbid_core_dumps};

/// How long an agent takes at most to end its workload and then itself. Whoever ends an agent gives it longer than
/// this before it kills: it would take the agent away from its workload.
pub const LEAVE: Duration = Duration::from_secs(12);

/// Names of labels, which are environment variables.
pub mod labels {
    /// The fleet, and whose machines these are.
    pub const FLEET: &str = "EASYENCLAVE_FLEET";
    /// The launch order.
    pub const ORDER: &str = "EASYENCLAVE_ORDER";
    /// What a process is within its unit, on the agent itself and on its tunnel's connector.
    pub const ROLE: &str = "EASYENCLAVE_ROLE";
    /// The value of [`ROLE`] on an agent.
    pub const AGENT: &str = "agent";
    /// The value of [`ROLE`] on the connector of an agent's tunnel.
    pub const CONNECTOR: &str = "connector";
    /// The deployment, on workloads.
    pub const DEPLOYMENT: &str = "EASYENCLAVE_DEPLOYMENT";
    /// The instruction's number, on workloads.
    pub const GENERATION: &str = "EASYENCLAVE_GENERATION";
}
