//! The independent checker: reads a plan as a stranger would and says what must never be in one. It shares no code
//! with the rules, prefers the obvious to the fast, and changes nothing.

mod budgets;
mod facts;
mod fits;
mod limits;
mod mention;
mod names;
mod rollouts;
mod safety;

use std::fmt;

use easyenclave_schemas::Timestamp;

use crate::{Desired, Observed, Plan};
use facts::Facts;

/// Something that must not be in a plan, or is missing from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The property of a plan that does not hold, as the design numbers them; zero for its form.
    pub property: u8,
    /// What is wrong, naming the thing.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "property {}: {}", self.property, self.message)
    }
}

/// Everything that is wrong with a plan for these inputs. A plan of [`crate::plan`] has nothing wrong.
pub fn audit(
    desired: &Desired,
    observed: &Observed,
    plan: &Plan,
    now: Timestamp,
) -> Vec<Violation> {
    let mut findings = Findings(Vec::new());
    let facts = Facts::new(desired, observed, plan, now);
    safety::check(&facts, &mut findings);
    limits::check(&facts, &mut findings);
    rollouts::check(&facts, &mut findings);
    mention::check(&facts, &mut findings);
    findings.0.sort_unstable();
    findings.0.dedup();
    findings.0
}

/// What was found so far.
struct Findings(Vec<Violation>);

impl Findings {
    /// Notes a violation unless `holds`.
    fn must(&mut self, property: u8, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            let message = message();
            self.0.push(Violation { property, message });
        }
    }
}
