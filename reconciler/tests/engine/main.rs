//! Whole fleets whose agents run Compose files on a real container engine: Git repository, reconciler, worker, agents and
//! containers. Each ends with the engine as it was before.

#[path = "../fleet/harness.rs"]
#[expect(
    dead_code,
    reason = "fleets of processes use all of it, and these do not"
)]
mod harness;

#[path = "../secrets/search.rs"]
mod search;

#[path = "../owners/caller.rs"]
#[expect(dead_code, reason = "callers of owners' stories use all of it")]
mod caller;

mod api;
mod canary;
mod ground;
mod secrets;
mod story;
