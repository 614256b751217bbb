//! What makes a thing ours: `ee.<fleet>.<agent>`, as the name of a tunnel and as the comment of a record. Names of fleets and
//! agents have no dots, so it reads back in one way, and `prod-2` is never taken for `prod`.

use std::fmt;

use easyenclave_schemas::{AgentId, FleetId};

/// The mark of what belongs to one agent of one fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The fleet.
    pub fleet: FleetId,
    /// Its agent.
    pub agent: AgentId,
}

impl Mark {
    /// Reads a mark; none when the text is any other.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let parts = (parts.next()?, parts.next()?, parts.next()?, parts.next());
        let ("ee", fleet, agent, None) = parts else {
            return None;
        };
        Some(Self {
            fleet: FleetId::new(fleet).ok()?,
            agent: AgentId::new(agent).ok()?,
        })
    }

    /// What all marks of a fleet begin with.
    pub fn prefix(fleet: &FleetId) -> String {
        format!("ee.{fleet}.")
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::prefix(&self.fleet), self.agent)
    }
}

#[cfg(test)]
mod tests {
    use super::Mark;

    #[test]
    fn a_mark_reads_back_and_nothing_else_does() {
        let mark = Mark::read("ee.prod.tiny-0a1b").expect("a mark");
        assert_eq!(
            (mark.fleet.as_str(), mark.agent.as_str()),
            ("prod", "tiny-0a1b")
        );
        assert_eq!(mark.to_string(), "ee.prod.tiny-0a1b");
        assert!(mark.to_string().starts_with(&Mark::prefix(&mark.fleet)));
        for other in [
            "",
            "ee",
            "ee.prod",
            "ee.prod.",
            "ee..a",
            "ee.prod.a.b",
            "ee.prod.A",
            "EE.prod.a",
            "ee.prod.a ",
            "ee-prod-a",
            "easyenclave.prod.a",
            "ee.prod .a",
        ] {
            assert_eq!(Mark::read(other), None, "{other:?}");
        }
    }
}
