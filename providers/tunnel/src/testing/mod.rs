//! For tests: tunnels in memory, a Cloudflare on this machine, and what every implementation has to do.

pub mod conformance;
mod memory;
pub mod server;

pub use memory::{Memory, World};
