//! Judges agents again whose policy has changed, from the evidence that was kept, without asking them. A share of them
//! in each pass: until its turn an agent keeps what it has and gets nothing new, and nothing else waits for that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use easyenclave_attestation::Again;
use easyenclave_schemas::evidence::Outcome;
use easyenclave_schemas::records::{AgentRecord, TrustRecord};
use easyenclave_schemas::{AgentId, Digest};
use easyenclave_store::Space;

use super::sightings::look_again;
use super::{Exhibit, Filing, Judgement, agent_policy, refused};
use crate::journal::JournalError;
use crate::revision::{Policies, Revision};
use crate::world::World;

/// So many in one pass. At about a millisecond each it weighs how soon all are judged against what waits for a pass:
/// the newest revision, and the quarantine of others.
pub const SHARE: usize = 100;

/// Agents of which no evidence is kept that a policy could judge, by that policy.
#[derive(Debug, Default)]
pub struct Unjudged(Mutex<BTreeMap<AgentId, Digest>>);

impl Unjudged {
    /// Whether only fresh evidence of this agent can tell.
    pub fn holds(&self, agent: &AgentId) -> bool {
        self.lock(|known| known.contains_key(agent))
    }

    /// It has shown fresh evidence.
    pub fn forget(&self, agent: &AgentId) {
        self.lock(|known| known.remove(agent));
    }

    /// Forgets agents that are no more.
    pub fn retain(&self, keep: impl Fn(&AgentId) -> bool) {
        self.lock(|known| known.retain(|agent, _| keep(agent)));
    }

    fn note(&self, agent: AgentId, policy: Digest) {
        self.lock(|known| known.insert(agent, policy));
    }

    fn knows(&self, agent: &AgentId, policy: Digest) -> bool {
        self.lock(|known| known.get(agent) == Some(&policy))
    }

    fn lock<T>(&self, work: impl FnOnce(&mut BTreeMap<AgentId, Digest>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Judges the next share. Verdicts then say what the new policy says of that evidence as of when it was shown:
/// nothing is renewed. When there are more, the next pass comes at once.
///
/// # Errors
/// When the records cannot be read or written.
pub async fn rejudge(world: &World, revision: &Revision) -> Result<(), JournalError> {
    let outdated = outdated(world, revision);
    let mut judged = Vec::new();
    for (agent, policy) in outdated.iter().take(SHARE) {
        match again(world, revision, agent).await? {
            Some(judgement) => judged.push((Arc::clone(agent), judgement)),
            None => world.unjudged.note(agent.agent.clone(), *policy),
        }
    }
    if !judged.is_empty() {
        write(world, judged).await?;
    }
    if outdated.len() > SHARE {
        world.wake.notify_one();
    }
    Ok(())
}

/// What the policy of now says of the evidence that is kept; none when only fresh evidence can tell.
async fn again(
    world: &World,
    revision: &Revision,
    agent: &AgentRecord,
) -> Result<Option<Judged>, JournalError> {
    let kept = world.journal.get(Space::Evidence, agent.agent.to_string());
    let kept = kept.await?;
    let kept = kept.and_then(|bytes| serde_json::from_slice::<Exhibit>(&bytes).ok());
    let (Some(kept), Ok(applied)) = (kept, agent_policy(revision, agent)) else {
        return Ok(None);
    };
    let (policy, shown_at) = (applied.policy.digest, kept.at);
    let (exhibit, applied) = (Arc::new(kept.clone()), Arc::new(applied));
    let judged = world.judge.again(kept, Arc::clone(&applied), &agent.trust);
    let outcome = match judged.await {
        Again::Accepts(verdict) => Ok(verdict),
        Again::Refuses(rejection) => {
            // Whose evidence it is does not change with the policy.
            let rejection = rejection.under(agent.trust.trust_root());
            let (shown, applied) = (Arc::clone(&exhibit), Arc::clone(&applied));
            look_again(world, agent, shown, applied, &rejection).await;
            Err(rejection)
        }
        Again::Unknown => return Ok(None),
    };
    let judgement = Judgement {
        agent: agent.agent.clone(),
        exhibit,
        applied,
        outcome: outcome
            .clone()
            .map_or_else(Outcome::Refused, Outcome::Accepted),
    };
    let filing = world.judge.file(judgement, revision).await;
    let trust = match outcome {
        Ok(verdict) => TrustRecord::Accepted(verdict),
        Err(rejection) => refused(&rejection, policy, shown_at),
    };
    Ok(Some((trust, filing)))
}

/// What a policy says, and what the status branch keeps of it; what is said counts also when nothing can be filed.
type Judged = (TrustRecord, Option<Filing>);

/// In one transaction. An agent of which something else became known meanwhile keeps that.
async fn write(world: &World, judged: Vec<(Arc<AgentRecord>, Judged)>) -> Result<(), JournalError> {
    let written = world.journal.transact(move |records, change| {
        for (before, (trust, filing)) in judged {
            let known = records.agents.get(&before.agent);
            if let Some(record) = known.filter(|record| record.trust == before.trust) {
                let mut record = AgentRecord::clone(record);
                record.trust = trust;
                let before = record.evidence.take();
                if let Some(filing) = filing {
                    record.evidence = Some(filing.record);
                    filing.put(change, before);
                }
                change.put_agent(record);
            }
        }
        Ok::<_, ()>(())
    });
    written.await?.unwrap_or_default();
    Ok(())
}

/// The agents whose verdict is not of the policy of now, each with that, but for those whose kept evidence does not do.
fn outdated(world: &World, revision: &Revision) -> Vec<(Arc<AgentRecord>, Digest)> {
    let records = world.journal.read();
    let mut policies = Policies::new(revision);
    let changed = |agent: &Arc<AgentRecord>| {
        let target = revision.desired.targets.get(&agent.target)?;
        let current = policies.current(target, &agent.size)?;
        let judged = crate::observe::judged_under(&agent.trust) == Some(current);
        let known = judged || world.unjudged.knows(&agent.agent, current);
        (!known).then(|| (Arc::clone(agent), current))
    };
    records.agents.values().filter_map(changed).collect()
}
