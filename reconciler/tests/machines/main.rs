//! Whole fleets of virtual machines, from an image that is built here: Git repository, reconciler, worker, QEMU, agents
//! inside the machines. Slow, so one fleet runs at a time; each keeps everything in a folder of its own and leaves no
//! process behind.

#[path = "../fleet/harness.rs"]
#[expect(
    dead_code,
    reason = "fleets of processes use all of it, and these do not"
)]
mod harness;

mod crashes;
mod ground;
mod up;
