//! Which instruction counts: a decision over numbers, without effects. Lower epochs and generations are
//! refused, a repeated instruction is taken again, and two instructions never share a number.

use std::sync::Arc;

use easyenclave_schemas::documents::{Health, SecretUse, Workload};
use easyenclave_schemas::wire::{CallRefusal, DeployRequest, UndeployRequest};
use easyenclave_schemas::{AgentId, DeploymentId, Digest, Epoch, Generation};

use crate::identity::Floor;

/// What should run, without its number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignment {
    /// The deployment.
    pub(crate) deployment: DeploymentId,
    /// The version.
    pub(crate) digest: Digest,
    /// What runs.
    pub(crate) workload: Workload,
    /// How to tell that it is ready.
    pub(crate) health: Option<Health>,
    /// The secrets that it is given.
    pub(crate) secrets: Vec<SecretUse>,
    /// Their version.
    pub(crate) secrets_digest: Option<Digest>,
}

/// What the newest instruction says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wanted {
    /// Its number; zero before the first.
    pub(crate) generation: Generation,
    /// What should run, if anything.
    pub(crate) assignment: Option<Arc<Assignment>>,
}

/// One instruction as it came.
#[derive(Debug)]
pub(crate) struct Instruction {
    agent: AgentId,
    epoch: Epoch,
    wanted: Wanted,
}

impl From<DeployRequest> for Instruction {
    fn from(request: DeployRequest) -> Self {
        let assignment = Assignment {
            deployment: request.deployment,
            digest: request.workload_digest,
            workload: request.workload,
            health: request.health,
            secrets: request.secrets,
            secrets_digest: request.secrets_digest,
        };
        let wanted = Wanted {
            generation: request.generation,
            assignment: Some(Arc::new(assignment)),
        };
        Self {
            agent: request.agent_id,
            epoch: request.epoch,
            wanted,
        }
    }
}

impl From<UndeployRequest> for Instruction {
    fn from(request: UndeployRequest) -> Self {
        let wanted = Wanted {
            generation: request.generation,
            assignment: None,
        };
        Self {
            agent: request.agent_id,
            epoch: request.epoch,
            wanted,
        }
    }
}

/// Why an instruction does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is for another agent.
    #[error("this agent is {own}, and the instruction is for {named}")]
    WrongAgent { own: AgentId, named: AgentId },
    /// It comes from a reconciler that is not the leader any more.
    #[error("epoch {seen} was seen, and the instruction has {found}")]
    StaleEpoch { seen: Epoch, found: Epoch },
    /// A newer one was taken in.
    #[error("generation {seen} was taken in, and the instruction has {found}")]
    StaleGeneration { seen: Generation, found: Generation },
    /// Another one has the same number.
    #[error("another instruction has generation {0}")]
    Conflict(Generation),
}

impl Refusal {
    /// The reason with its stable code.
    pub(crate) fn reason(&self) -> CallRefusal {
        match self {
            Self::WrongAgent { .. } => CallRefusal::WrongAgent,
            Self::StaleEpoch { .. } => CallRefusal::StaleEpoch,
            Self::StaleGeneration { .. } => CallRefusal::StaleGeneration,
            Self::Conflict(_) => CallRefusal::GenerationConflict,
        }
    }
}

/// What was taken in so far.
#[derive(Debug)]
pub(crate) struct Instructions {
    own: AgentId,
    epoch: Epoch,
    /// The highest instruction taken in, by this start of the agent or one before.
    floor: Generation,
    wanted: Wanted,
}

impl Instructions {
    /// Nothing was taken in yet by this start, and so much by the one before. The newest instruction may come again.
    pub(crate) fn new(own: AgentId, before: Floor) -> Self {
        Self {
            own,
            epoch: before.epoch,
            floor: before.generation,
            wanted: Wanted::default(),
        }
    }

    /// How far this agent has come.
    pub(crate) fn floor(&self) -> Floor {
        Floor {
            epoch: self.epoch,
            generation: self.floor,
        }
    }

    /// Notes an epoch. Tells whether it counts, which a lower one than was seen does not.
    pub(crate) fn see(&mut self, epoch: Epoch) -> bool {
        let counts = epoch >= self.epoch;
        self.epoch = self.epoch.max(epoch);
        counts
    }

    /// Takes an instruction in. Answers what is wanted now.
    pub(crate) fn take(&mut self, instruction: Instruction) -> Result<Wanted, Refusal> {
        let Instruction {
            agent: named,
            epoch: found,
            wanted,
        } = instruction;
        if named != self.own {
            return Err(Refusal::WrongAgent {
                own: self.own.clone(),
                named,
            });
        }
        if !self.see(found) {
            return Err(Refusal::StaleEpoch {
                seen: self.epoch,
                found,
            });
        }
        let seen = self.floor;
        if wanted.generation < seen || wanted.generation == Generation::default() {
            return Err(Refusal::StaleGeneration {
                seen,
                found: wanted.generation,
            });
        }
        if wanted.generation == self.wanted.generation && wanted != self.wanted {
            return Err(Refusal::Conflict(seen));
        }
        self.floor = wanted.generation;
        self.wanted = wanted.clone();
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> AgentId {
        AgentId::new(name).expect("a name")
    }

    fn deploy(epoch: u64, generation: u64, program: &str) -> Instruction {
        let workload = serde_json::json!({ "process": { "command": [program] } });
        let request = DeployRequest {
            agent_id: agent("a"),
            epoch: Epoch(epoch),
            generation: Generation(generation),
            deployment: "acme/web".parse().expect("a deployment"),
            workload_digest: Digest::of(program.as_bytes()),
            workload: serde_json::from_value(workload).expect("a workload"),
            health: None,
            secrets: Vec::new(),
            secrets_digest: None,
        };
        request.into()
    }

    fn undeploy(epoch: u64, generation: u64) -> Instruction {
        let (epoch, generation) = (Epoch(epoch), Generation(generation));
        UndeployRequest {
            agent_id: agent("a"),
            epoch,
            generation,
        }
        .into()
    }

    fn code(result: Result<Wanted, Refusal>) -> &'static str {
        result.expect_err("refused").reason().code()
    }

    #[test]
    fn the_newest_instruction_counts_and_a_repeated_one_changes_nothing() {
        let mut instructions = Instructions::new(agent("a"), Floor::default());
        let first = instructions.take(deploy(1, 3, "x")).expect("the first");
        assert_eq!(instructions.take(deploy(1, 3, "x")), Ok(first));
        assert_eq!(
            code(instructions.take(deploy(1, 3, "y"))),
            "generation_conflict"
        );
        assert_eq!(
            code(instructions.take(undeploy(1, 3))),
            "generation_conflict"
        );
        assert_eq!(code(instructions.take(undeploy(1, 2))), "stale_generation");
        let stopped = instructions.take(undeploy(1, 4)).expect("newer");
        assert_eq!(
            (stopped.generation, stopped.assignment),
            (Generation(4), None)
        );
        assert_eq!(
            code(instructions.take(deploy(1, 3, "x"))),
            "stale_generation"
        );
    }

    #[test]
    fn zero_is_no_number_of_an_instruction() {
        let mut instructions = Instructions::new(agent("a"), Floor::default());
        assert_eq!(code(instructions.take(undeploy(1, 0))), "stale_generation");
    }

    #[test]
    fn an_older_leader_and_a_call_for_another_change_nothing() {
        let mut instructions = Instructions::new(agent("a"), Floor::default());
        assert!(instructions.see(Epoch(5)));
        assert!(!instructions.see(Epoch(4)));
        assert_eq!(code(instructions.take(deploy(4, 9, "x"))), "stale_epoch");
        let mut other = deploy(9, 9, "x");
        other.agent = agent("b");
        assert_eq!(code(instructions.take(other)), "wrong_agent");
        assert!(
            instructions.take(deploy(5, 1, "x")).is_ok(),
            "nothing of the refused ones counted"
        );
    }

    #[test]
    fn after_another_start_the_newest_instruction_may_come_again_and_no_older_one() {
        let before = Floor {
            epoch: Epoch(2),
            generation: Generation(5),
        };
        let mut instructions = Instructions::new(agent("a"), before);
        assert_eq!(
            code(instructions.take(deploy(2, 4, "x"))),
            "stale_generation"
        );
        assert_eq!(code(instructions.take(deploy(1, 6, "x"))), "stale_epoch");
        assert!(instructions.take(deploy(2, 5, "x")).is_ok());
        assert_eq!(
            code(instructions.take(deploy(2, 5, "y"))),
            "generation_conflict"
        );
        assert_eq!(instructions.floor(), before);
    }
}
