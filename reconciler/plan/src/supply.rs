//! What each target has: agents in use, free, or of no use, and orders under way. Everything that a machine may
//! stand behind counts against the maximum; only what can or may still serve counts as supply.

use easyenclave_schemas::{AgentId, OrderId};

use crate::LaunchOrder;
use crate::draft::{Draft, Fate};
use crate::rules::retire::is_returning;
use crate::view::{AgentIx, Instruction, Life, Standing, TargetIx, View};

/// What one target has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Supply {
    /// Agents that carry something after what was decided so far.
    pub(crate) used: u32,
    /// Free agents that answer and are trusted, also those that are just stopping.
    pub(crate) free: u32,
    /// Free agents of which that is not known, those about to be free, and machines whose agents may register again.
    pub(crate) unsure: u32,
    /// Of those of which it is not known, the machines without a record.
    pub(crate) returning: u32,
    /// Of those in use, the ones in quarantine that count all the same because their pool fails as a whole.
    pub(crate) suspect: u32,
    /// Machines that only count against the maximum: on their way out, in quarantine, or nobody's.
    pub(crate) useless: u32,
    /// Launch orders under way.
    pub(crate) pending: u32,
    /// Retire orders under way.
    pub(crate) retiring: u32,
}

impl Supply {
    /// What surely serves or can serve. Suspects do not count: whatever replaces them must not be taken for
    /// too many.
    pub(crate) fn sure(&self) -> u32 {
        (self.used + self.free).saturating_sub(self.suspect)
    }

    /// What serves, may serve, or will.
    pub(crate) fn all(&self) -> u32 {
        self.used + self.free + self.unsure + self.pending
    }
}

/// What each target has, without its orders.
pub(crate) fn count(view: &View, draft: &Draft) -> Vec<Supply> {
    let mut supply = vec![Supply::default(); view.targets.len()];
    let given = given(view, draft);
    for agent in view.all_agents() {
        let facts = view.agent(agent);
        let of = &mut supply[facts.target.at()];
        of.retiring += u32::from(facts.retiring);
        of.suspect += u32::from(is_suspect(view, draft, agent));
        match leaves(view, draft, agent, &given) {
            true => of.unsure += 1,
            false => *kind(view, draft, agent, of) += 1,
        }
    }
    for orphan in view.observed.orphans.values() {
        let target = orphan.target.as_ref();
        if let Some(target) = target.and_then(|name| view.find_target(name)) {
            let of = &mut supply[target.at()];
            let returning = u32::from(is_returning(view, orphan));
            of.unsure += returning;
            of.returning += returning;
            of.useless += 1 - returning;
        }
    }
    for (_, launch) in unaccounted(view) {
        if let Some(target) = view.find_target(&launch.target) {
            supply[target.at()].useless += 1;
        }
    }
    for target in view
        .observed
        .retires
        .keys()
        .filter_map(|id| left_over(view, id))
    {
        supply[target.at()].useless += 1;
    }
    supply
}

/// Launches that are over and whose machines may still be there, although nobody lists them.
pub(crate) fn unaccounted<'v>(
    view: &'v View,
) -> impl Iterator<Item = (&'v OrderId, &'v LaunchOrder)> {
    let observed = view.observed;
    let is_counted = |id: &OrderId| {
        observed.agents.contains_key(id.as_str())
            || observed.orphans.contains_key(id)
            || observed.retires.contains_key(id.as_str())
    };
    let launches = observed.launches.iter();
    let over = launches.filter(|(_, launch)| launch.unaccounted && launch.state.is_over());
    over.filter(move |(id, _)| !is_counted(id))
}

fn is_suspect(view: &View, draft: &Draft, agent: AgentIx) -> bool {
    matches!(view.agent(agent).standing, Standing::Quarantined(_))
        && draft.serves(view, agent)
        && draft.carries(view, agent).is_some()
}

/// Whether an agent surely can serve and carries nothing, or is just stopping what it carried.
pub(crate) fn is_free(view: &View, draft: &Draft, agent: AgentIx) -> bool {
    let mut of = Supply::default();
    *kind(view, draft, agent, &mut of) += 1;
    of.free > 0
}

fn kind<'s>(view: &View, draft: &Draft, agent: AgentIx, of: &'s mut Supply) -> &'s mut u32 {
    let facts = view.agent(agent);
    let wanted = view.target(facts.target).state.spec().is_some() && !facts.drifted;
    let counts = wanted && draft.is_there(view, agent) && !draft.is_out_of_service(view, agent);
    let sure = facts.life == Life::Heard
        && facts.instruction != Instruction::Unknown
        && facts.standing == Standing::Accepted;
    match (counts, draft.carries(view, agent), sure) {
        (false, ..) => &mut of.useless,
        (true, Some(_), _) => &mut of.used,
        (true, None, true) => &mut of.free,
        (true, None, false) => &mut of.unsure,
    }
}

/// By deployment, whether this plan gives it an agent.
fn given(view: &View, draft: &Draft) -> Vec<bool> {
    let mut given = vec![false; view.deployments.len()];
    for agent in view.all_agents() {
        if let Fate::Gets(deployment, _) = draft.fate(agent) {
            given[deployment.at()] = true;
        }
    }
    given
}

/// Whether an agent is free in a moment: its replica is in the wrong place and not ready, and its replacement has one.
fn leaves(view: &View, draft: &Draft, agent: AgentIx, given: &[bool]) -> bool {
    let facts = view.agent(agent);
    let Some(deployment) = facts.deployment else {
        return false;
    };
    let is_wanted = view.deployment(deployment).state.spec().is_some();
    is_wanted
        && !view.suits(deployment, agent)
        && given[deployment.at()]
        && !facts.is_ready()
        && facts.is_touchable()
        && draft.fate(agent) == Fate::Stays
}

/// The target of a retire order whose agent's record is gone already.
fn left_over(view: &View, id: &AgentId) -> Option<TargetIx> {
    let counted =
        view.observed.agents.contains_key(id) || view.observed.orphans.contains_key(id.as_str());
    let launch = view
        .observed
        .launches
        .get(id.as_str())
        .filter(|_| !counted)?;
    view.find_target(&launch.target)
}
