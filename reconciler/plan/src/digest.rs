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
    /// What a person approves. An approval is good for one occasion ([`crate::spent`]): the same agents can be lost
    /// again, and the same replicas be deleted again after that was taken back.
    pub fn digest_of(actions: &[Action]) -> Digest {
        of_lines(actions.iter().map(Action::to_string))
    }
}

fn of_lines(lines: impl Iterator<Item = String>) -> Digest {
    let lines: Vec<String> = lines.collect();
    Digest::of_list(lines.iter().map(String::as_bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::testing::{NOW, desired, observed};
    use crate::{Plan, plan};

    #[test]
    fn waits_and_time_do_not_change_a_digest() {
        let desired = desired("target tiny 0 4\ndeploy acme/a x1 v1");
        let observed = observed("agent a tiny #0 starts acme/a v1");
        let early = plan(&desired, &observed, NOW);
        let late = plan(&desired, &observed, NOW.plus(Duration::from_secs(1000)));
        assert_ne!(early.waits, late.waits);
        assert_eq!(early.digest(), late.digest());
        assert_eq!(early.digest(), Plan::default().digest());
    }

    #[test]
    fn actions_and_holds_do() {
        let world = observed("agent a tiny #0 idle\nagent b tiny #1 idle");
        let acts = plan(
            &desired("target tiny 2 4\ndeploy acme/a x1 v1"),
            &world,
            NOW,
        );
        let holds = plan(&desired("target other 0 4"), &world, NOW);
        assert!(holds.is_empty() && holds.held.len() == 1);
        assert_ne!(acts.digest(), Plan::default().digest());
        assert_ne!(holds.digest(), Plan::default().digest());
    }
}
