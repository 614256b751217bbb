//! What an agent says of itself with each heartbeat and its record keeps. Written only where it is news.

use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::records::AgentRecord;
use easyenclave_schemas::wire::HeartbeatRequest;

use crate::join;
use crate::journal::JournalError;
use crate::world::World;

/// What an agent says of itself that its record keeps.
pub(super) struct Says {
    /// Where it answers.
    address: String,
    /// What it can run; nothing of it where an agent of before does not say.
    runtimes: Option<Vec<Runtime>>,
}

impl Says {
    pub(super) fn of(beat: &mut HeartbeatRequest) -> Self {
        Self {
            address: beat.address.clone(),
            runtimes: beat.runtimes.take().map(|said| join::runtimes(&said)),
        }
    }

    /// This, where it is not what the record says already.
    pub(super) fn news(self, record: &AgentRecord) -> Option<Self> {
        let is_new = self.address != record.address || self.can_other_than(record);
        is_new.then_some(self)
    }

    fn can_other_than(&self, record: &AgentRecord) -> bool {
        let said = self.runtimes.as_ref();
        said.is_some_and(|runtimes| *runtimes != record.runtimes)
    }

    /// Notes it. What an agent can run decides what it is given, so a pass looks.
    pub(super) async fn keep(
        self,
        world: &World,
        record: &AgentRecord,
    ) -> Result<(), JournalError> {
        let (agent, is_for_plan) = (record.agent.clone(), self.can_other_than(record));
        let kept = world.journal.transact(move |records, change| {
            let known = records.agents.get(&agent).ok_or(())?;
            let mut record = AgentRecord::clone(known);
            record.address = self.address;
            record.runtimes = self.runtimes.unwrap_or(record.runtimes);
            change.put_agent(record);
            Ok::<_, ()>(())
        });
        // An agent that is gone meanwhile says nothing.
        kept.await.map(|_| ())?;
        if is_for_plan {
            world.wake.notify_one();
        }
        Ok(())
    }
}
