//! Roll-outs of real processes: many replicas while agents are killed, versions that are given up, and what pipelines
//! hear of it. Each fleet keeps everything in a folder of its own and leaves no process behind.

#[path = "../fleet/harness.rs"]
#[expect(
    dead_code,
    reason = "fleets of other suites use all of it, and these do not"
)]
mod harness;

mod killed;
mod reverts;
