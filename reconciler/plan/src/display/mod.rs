//! How plans read: one line each, the same in the command line, status and comments. Every field of an action is
//! in its line, because digests are taken over these lines.

mod waits;

use std::fmt::{Display, Formatter, Result};

use crate::{Action, CancelReason, Hold, HoldReason, Quarantine, RetireReason, Subject, Wait};

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Unexpose { agent, deployment } => write!(f, "unexpose {deployment} on {agent}"),
            Self::Unpoint { agent, hostname } => write!(f, "unpoint {hostname} from {agent}"),
            Self::Quarantine { agent, reason } => write!(f, "quarantine {agent}: {reason}"),
            Self::Release { agent } => write!(f, "release {agent}"),
            Self::Settle {
                deployment,
                workload,
            } => write!(f, "settle {deployment} at workload {workload}"),
            Self::Revert {
                deployment,
                attempt,
                from,
                to,
                cause,
            } => write!(
                f,
                "revert {deployment} attempt {attempt} from workload {from} to workload {to}: {cause}"
            ),
            Self::Unassign {
                agent,
                generation,
                deployment,
            } => write!(
                f,
                "unassign {deployment} from {agent} generation {generation}"
            ),
            Self::Cancel { order, reason } => write!(f, "cancel {order}: {reason}"),
            Self::Retire {
                agent,
                datacenter,
                reason,
            } => write!(f, "retire {agent} in {datacenter}: {reason}"),
            Self::Challenge { agent } => write!(f, "challenge {agent}"),
            Self::Assign {
                agent,
                generation,
                deployment,
                workload,
            } => write!(
                f,
                "assign {deployment} to {agent} generation {generation} workload {workload}"
            ),
            Self::Launch { .. } => launch(self, f),
            Self::Expose { agent, deployment } => write!(f, "expose {deployment} on {agent}"),
            Self::Point {
                agent,
                deployment,
                hostname,
            } => write!(f, "point {hostname} of {deployment} at {agent}"),
        }
    }
}

fn launch(action: &Action, f: &mut Formatter<'_>) -> Result {
    let Action::Launch {
        order,
        target,
        slot,
        generation,
        failures,
        datacenter,
        provider,
        zone,
        shape,
        size,
        policy,
    } = action
    else {
        return Ok(());
    };
    write!(
        f,
        "launch {order} for {target} slot {slot} generation {generation} failures {failures} \
         size {size} in {datacenter}"
    )?;
    // Only what there is, so that the lines of other providers, and their digests, are as they were.
    if let Some(zone) = zone {
        write!(f, " zone {zone}")?;
    }
    write!(f, " by {provider}")?;
    if let Some(shape) = shape {
        write!(f, " shape {shape}")?;
    }
    write!(f, " under {policy}")
}

impl Display for CancelReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Surplus => f.write_str("not needed"),
            Self::Expired(cause) => Display::fmt(cause, f),
            Self::TargetRemoved => f.write_str("its target is gone"),
            Self::PlaceRemoved => f.write_str("its target has no such place any more"),
        }
    }
}

impl Display for RetireReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Gone => "its machine is gone",
            Self::Lost => "silent past the deadline",
            Self::Surplus => "not needed",
            Self::TargetRemoved => "its target is gone",
            Self::Refused => "its evidence is refused",
            Self::NotStopped => "it has not stopped in time",
            Self::Orphan => "it belongs to nothing",
        })
    }
}

impl Display for Quarantine {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::TrustLapsed => "its trust ran out",
            Self::Refused => "its evidence is refused",
        })
    }
}

impl Display for Hold {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "hold {}: {}", self.digest, self.reason)
    }
}

impl Display for HoldReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Pool {
                target,
                removed,
                of,
            } => {
                let agents = plural(*of, "agent");
                write!(f, "{removed} of {agents} of target {target} would go")
            }
            Self::Owner { owner, removed } => {
                let replicas = plural(*removed, "replica");
                write!(
                    f,
                    "{replicas} of owner {owner} would go and none would be ready"
                )
            }
            Self::Orphans { removed, of } => {
                let (machines, belong) = (plural(*of, "machine"), belongs(*removed));
                write!(f, "{removed} of {machines} {belong} to nothing")
            }
        }
    }
}

fn plural(count: u32, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

fn belongs(count: u32) -> &'static str {
    if count == 1 { "belongs" } else { "belong" }
}

impl Display for Subject {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Deployment(id) => write!(f, "deployment {id}"),
            Self::Reservation(id) => write!(f, "reservation {id}"),
            Self::Target(name) => write!(f, "target {name}"),
            Self::Agent(id) => write!(f, "agent {id}"),
            Self::Order(id) => write!(f, "order {id}"),
        }
    }
}

impl Display for Wait {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}: {}", self.subject, self.reason)?;
        match self.until {
            Some(until) => write!(f, " (until {})", until.trunc_secs()),
            None => Ok(()),
        }
    }
}
