//! The reconciler: reads the state repository, observes the fleet, plans, executes, reports back to
//! Git. One file per stage; `daemon` runs them, `cli` is what a person types.

pub mod api;
mod approvals;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod deliver;
pub mod desired;
pub mod examples;
pub mod execute;
mod http;
pub mod join;
pub mod journal;
pub mod keys;
pub mod leap;
pub mod metrics;
pub mod observe;
pub mod orders;
mod origin;
pub mod outage;
mod parts;
pub mod pass;
pub mod presence;
pub mod recall;
pub mod reference;
pub mod refusals;
pub mod report;
pub mod revision;
pub mod settings;
mod shelf;
pub mod source;
pub mod status;
pub mod tokens;
pub mod trust;
mod verifiers;
pub mod world;
