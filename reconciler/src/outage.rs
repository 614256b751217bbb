//! What is wrong with a remote at the moment, shared between the task that meets it and the pass that
//! reports it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::report::Trouble;

/// The trouble with one remote, if there is any.
#[derive(Debug, Clone, Default)]
pub struct Outage(Arc<Mutex<Option<Trouble>>>);

impl Outage {
    /// The trouble.
    pub fn trouble(&self) -> Option<Trouble> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes it, or its end. Tells whether it is news.
    pub fn set(&self, trouble: Option<Trouble>) -> bool {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *current != trouble;
        *current = trouble;
        changed
    }
}
