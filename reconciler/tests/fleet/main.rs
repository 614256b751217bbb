//! Whole fleets of real processes: Git repository, reconciler, worker, agents and workloads, on loopback.
//! Each test keeps everything in a folder of its own and leaves no process behind.

mod harness;

mod approvals;
mod audits;
mod authority;
mod callers;
mod changes;
mod commands;
mod costs;
mod crashes;
mod full_disk;
mod ledger;
mod losses;
mod measures;
mod mistakes;
mod names;
mod outlawed;
mod remotes;
mod replay;
mod rogues;
mod sealed;
mod stamps;
mod tunnels;
mod up;
