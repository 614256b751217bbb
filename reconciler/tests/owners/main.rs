//! Owners at the deploy API: real reconcilers, and keys and identity tokens that they are let in with, or not. Each test
//! keeps everything in a folder of its own and leaves no process behind.

#[path = "../fleet/harness.rs"]
#[expect(
    dead_code,
    reason = "fleets of processes use all of it, and these do not"
)]
mod harness;

mod caller;
mod deploys;
mod document;
mod elsewhere;
mod followed;
mod fuzz;
mod proofs;
mod removals;
