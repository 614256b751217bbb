//! The planner: `plan(&Desired, &Observed, now) -> Plan`, a pure function and the values around it.
//! No async, clock, randomness, files, network or shared state; the same inputs give the same bytes.
#![forbid(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros
)]

mod action;
mod approvals;
mod breaker;
mod census;
mod check;
mod desired;
mod digest;
mod display;
mod disrupt;
mod draft;
mod explain;
mod failures;
mod names;
mod observed;
mod plan;
mod pools;
mod reserve;
mod rules;
mod shed;
mod shrink;
mod slots;
mod spots;
mod spread;
mod stages;
mod supply;
#[cfg(test)]
mod testing;
mod underway;
mod view;
mod whynot;

pub use action::{
    Action, CancelReason, Hold, HoldReason, Plan, RetireReason, Subject, Wait, WaitReason,
};
pub use approvals::spent;
pub use check::{Violation, audit};
pub use desired::{
    Approval, Breaker, Budget, Deployment, Desired, Disruption, Frozen, Limits, OnLapse, Pause,
    Placement, Reservation, Rollout, Target, Window,
};
pub use observed::{
    Agent, Assigned, Exposure, Fronts, LaunchOrder, Liveness, Observed, OrderState, Orphan,
    Quarantine, Remedy, Replica, Reported, RetireOrder, RolloutFact, Shortage, Trust,
};
pub use plan::plan;
pub use whynot::{Issue, whynot};
