//! Secrets in a real fleet: they reach workloads and come to nothing else. Each test keeps everything in a folder of its own
//! and leaves no process and no file in memory behind.

#[path = "../fleet/harness.rs"]
#[expect(
    dead_code,
    reason = "fleets of processes use all of it, and these do not"
)]
mod harness;

mod commands;
mod desk;
mod search;
mod story;
