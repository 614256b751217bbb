//! Gives replicas that are missing to free agents. Never to one that is not trusted, does not fit, or is kept for
//! another owner, and never more than an owner's quota.

use crate::Deployment;
use crate::draft::{Draft, Fate, Need, Surge, Unplaced};
use crate::reserve::Reserved;
use crate::view::{AgentIx, DeploymentIx, Instruction, TargetIx, View};

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    if draft.needs.is_empty() {
        return;
    }
    let mut free = Free::new(view, draft);
    let needs = needs(view, draft);
    for need in &needs {
        free.place(draft, need.deployment, need.missing);
    }
    for need in &needs {
        match need.surge {
            Surge::No => {}
            Surge::Now => free.place(draft, need.deployment, 1),
            Surge::Later => draft.unplaced.push(Unplaced {
                deployment: need.deployment,
                count: 1,
                reserved: false,
                waits: false,
            }),
        }
    }
}

/// What is missing, those with the fewest places to go first, so that they find them free.
fn needs(view: &View, draft: &mut Draft) -> Vec<Need> {
    let mut needs = std::mem::take(&mut draft.needs);
    needs.sort_by_cached_key(|need| {
        let spec = view.deployment(need.deployment).state.spec();
        let admits = |target: &TargetIx| spec.is_some_and(|spec| view.admits(spec, *target));
        view.all_targets().filter(admits).count()
    });
    needs
}

/// Agents that can take work now.
struct Free<'v, 'a> {
    view: &'v View<'a>,
    /// By target, the last to be taken first.
    idle: Vec<Vec<AgentIx>>,
    reserved: Reserved,
}

impl<'v, 'a> Free<'v, 'a> {
    fn new(view: &'v View<'a>, draft: &Draft) -> Self {
        let mut idle = vec![Vec::new(); view.targets.len()];
        for agent in view.all_agents().rev() {
            if is_free(view, draft, agent) {
                idle[view.agent(agent).target.at()].push(agent);
            }
        }
        Self {
            view,
            idle,
            reserved: Reserved::new(view, draft),
        }
    }

    fn place(&mut self, draft: &mut Draft, deployment: DeploymentIx, missing: u32) {
        let Some(spec) = self.view.deployment(deployment).state.spec() else {
            return;
        };
        let mut count = missing;
        let targets = self.admitted(deployment, spec);
        for target in &targets {
            let most = count.min(draft.quota_left(self.view, deployment));
            count -= self.take(draft, deployment, *target, most);
        }
        if count > 0 {
            let owner = self.view.deployment(deployment).owner;
            let kept =
                |t: &TargetIx| self.reserved.others(*t, owner) > 0 && !self.idle[t.at()].is_empty();
            draft.unplaced.push(Unplaced {
                deployment,
                count,
                reserved: targets.iter().any(kept),
                waits: true,
            });
        }
    }

    /// The targets that a deployment may use: first where agents are kept for its owner, because those are
    /// idle for nobody else.
    fn admitted(&self, deployment: DeploymentIx, spec: &Deployment) -> Vec<TargetIx> {
        let owner = self.view.deployment(deployment).owner;
        let admits = |target: &TargetIx| self.view.admits(spec, *target);
        let mut targets: Vec<TargetIx> = self.view.all_targets().filter(admits).collect();
        targets.sort_by_key(|target| self.reserved.own(*target, owner) == 0);
        targets
    }

    /// Gives up to `most` replicas to agents of a target. Returns how many.
    fn take(
        &mut self,
        draft: &mut Draft,
        deployment: DeploymentIx,
        target: TargetIx,
        most: u32,
    ) -> u32 {
        let owner = self.view.deployment(deployment).owner;
        let mut taken = 0;
        while taken < most
            && self.idle[target.at()].len() > self.reserved.others(target, owner) as usize
        {
            let Some(agent) = self.idle[target.at()].pop() else {
                break;
            };
            draft.assign(self.view, agent, deployment);
            draft.uses_more(owner, 1);
            self.reserved.take(target, owner);
            taken += 1;
        }
        taken
    }
}

/// Whether an agent can take work now.
pub(crate) fn is_free(view: &View, draft: &Draft, agent: AgentIx) -> bool {
    let facts = view.agent(agent);
    facts.instruction == Instruction::Idle
        && facts.is_eligible()
        && draft.fate(agent) == Fate::Stays
        && view.target(facts.target).state.spec().is_some()
}
