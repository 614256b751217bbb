//! Refused requests that an operator should know of: a bounded list, once per code and subject.

use std::sync::{Mutex, PoisonError};

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::status::Refusal;

/// So many refusals are kept, the newest.
const MOST: usize = 32;

/// The refusals since the reconciler started.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Vec<Refusal>>);

impl Refusals {
    /// Notes a refusal. Tells whether it is a new one; a repeated one changes nothing. The subject is an id that the
    /// reconciler knows or that was proved, or fixed words, so that a stranger cannot make the status branch grow.
    pub fn note(&self, code: &str, subject: &str, message: &str, now: Timestamp) -> bool {
        let subject: String = subject.chars().take(63).collect();
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list
            .iter()
            .any(|known| known.code == code && known.subject == subject)
        {
            return false;
        }
        list.push(Refusal {
            code: code.into(),
            subject,
            message: message.chars().take(300).collect(),
            first_at: now.trunc_secs(),
        });
        if list.len() > MOST {
            list.remove(0);
        }
        true
    }

    /// The list, oldest first.
    pub fn list(&self) -> Vec<Refusal> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_stays_bounded() {
        let refusals = Refusals::default();
        for n in 0..100 {
            assert!(refusals.note(
                "EE-ATT-005",
                &format!("agent-{n}"),
                "no",
                Timestamp::default()
            ));
            assert!(!refusals.note(
                "EE-ATT-005",
                &format!("agent-{n}"),
                "no",
                Timestamp::default()
            ));
        }
        assert_eq!(refusals.list().len(), MOST);
        assert_eq!(refusals.list()[0].subject, "agent-68");
    }
}
