//! Digests of plans and of held removals, over their canonical lines. Nothing that changes with time alone goes in.

use easyenclave_schemas::Digest;

use crate::{Action, Hold, Plan};

impl Plan {
    /// The digest of what is to be done and of what is held. Waits do not count, nor do the numbers in
    /// a hold's reason: what a plan does is the same whatever else is waiting.
    pub fn digest(&self) -> Digest {
        let held = self.held.iter().map(|hold| format!("hold {}", hold.digest));
        of_lines(self.actions.iter().map(Action::to_string).chain(held))
    }

    /// Whether there is nothing to do. Holds and waits may be left.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

impl Hold {
    /// What a person approves. The actions name agents and generations that never come again, so an
    /// approval never fits anything later.
    pub fn digest_of(actions: &[Action]) -> Digest {
        of_lines(actions.iter().map(Action::to_string))
    }
}

fn of_lines(lines: impl Iterator<Item = String>) -> Digest {
    let lines: Vec<String> = lines.collect();
    Digest::of_list(lines.iter().map(String::as_bytes))
}
