//! What a change of one deployment would come to: the plan with it beside the plan without it, from the world as it is
//! now. Nothing here can change anything.

use std::collections::BTreeSet;

use easyenclave_plan::{Action, Agent, Deployment, Desired, Frozen, Hold, Observed, Plan, plan};
use easyenclave_schemas::wire::{Issue, Preflight};
use easyenclave_schemas::{AgentId, Cloud, DeploymentId, Digest, OwnerName, TargetName, Timestamp};

use crate::hope::is_hopeless;
use crate::whynot::{WARM, WhyNot, not_found, summary};

/// The most lines of a plan that are shown.
const LINES: usize = 100;

/// The most agents of which it is said why not.
const AGENTS: usize = 100;

/// What would come of a change.
#[derive(Debug)]
pub(crate) struct Foreseen {
    /// The agent that would be told first.
    pub(crate) agent: Option<(AgentId, Agent)>,
    /// Why not all of it could run, or not at once.
    pub(crate) issues: Vec<Issue>,
    /// What is worth knowing of it, and nothing is wrong with.
    notes: Vec<Issue>,
    /// Whether nothing of it could run, and no waiting would help.
    pub(crate) hopeless: bool,
    /// The agent that it names and that is nowhere.
    pub(crate) not_found: Option<AgentId>,
    /// The version that would run; none when it is taken away.
    pub(crate) version: Option<Digest>,
    /// What would be held.
    pub(crate) held: Option<Digest>,
    /// Why what runs is left as it is, if it is.
    pub(crate) frozen: Option<String>,
    /// What is new in the plan, a line each.
    lines: Vec<String>,
}

impl Foreseen {
    /// What comes of a change that leads to this desired state.
    pub(crate) fn of(
        id: &DeploymentId,
        desired: &Desired,
        before: &Plan,
        observed: &Observed,
        now: Timestamp,
    ) -> Self {
        let after = plan(desired, observed, now);
        let change = Self {
            agent: None,
            issues: Vec::new(),
            notes: Vec::new(),
            hopeless: false,
            not_found: None,
            version: None,
            held: newly_held(id, before, &after),
            frozen: desired.frozen.get(&Frozen::Deployment(id.clone())).cloned(),
            lines: lines(&id.owner, before, &after),
        };
        let Some(wanted) = desired.deployments.get(id) else {
            return change;
        };
        let found = WhyNot::of(id, desired, observed, &after, now);
        let issues = issues(&found, wanted, observed, now);
        // One that it stays on is told in its turn.
        let agent = chosen(id, &after).or_else(|| found.has.first());
        let nowhere = found.placed() == 0 && !issues.is_empty();
        Self {
            agent: agent.and_then(|agent| known(agent, observed)),
            notes: found.warm.iter().map(|it| note(it, observed)).collect(),
            hopeless: nowhere && is_hopeless(id, desired, observed, &after),
            not_found: not_found(observed, wanted).filter(|_| nowhere).cloned(),
            issues,
            version: Some(wanted.workload),
            ..change
        }
    }

    /// The same as an answer.
    pub(crate) fn answer(self) -> Preflight {
        let agent = self.agent.as_ref();
        Preflight {
            dry_run: true,
            eligible: self.issues.is_empty(),
            selected_agent_id: agent.map(|(id, _)| id.clone()),
            selected_node_size: agent.map(|(_, agent)| agent.size.clone()),
            selected_datacenter: agent.map(|(_, agent)| agent.datacenter.clone()),
            selected_cloud: agent.map(|(_, agent)| Cloud::of(&agent.datacenter)),
            issues: self.issues,
            notes: self.notes,
            plan: self.lines,
        }
    }
}

/// The first agent that a plan tells to run it.
fn chosen<'p>(id: &DeploymentId, plan: &'p Plan) -> Option<&'p AgentId> {
    plan.actions.iter().find_map(|action| match action {
        Action::Assign {
            agent, deployment, ..
        } if deployment == id => Some(agent),
        _ => None,
    })
}

fn known(agent: &AgentId, observed: &Observed) -> Option<(AgentId, Agent)> {
    let known = observed.agents.get(agent)?;
    Some((agent.clone(), known.clone()))
}

/// Why there are not enough agents for it, in the codes that people know: for all together, then for each agent.
fn issues(found: &WhyNot, wanted: &Deployment, observed: &Observed, now: Timestamp) -> Vec<Issue> {
    if found.missing(wanted) == 0 {
        return Vec::new();
    }
    let words: Vec<_> = found.waits.iter().map(|it| it.reason.to_string()).collect();
    let message = match words.is_empty() {
        true => "no agent is free for it".into(),
        false => words.join("; "),
    };
    let all = Issue {
        code: summary(observed, wanted, now).into(),
        message,
        agent_id: None,
        node_size: Some(wanted.size.clone()),
        datacenter: None,
    };
    let each = found.not.iter().take(AGENTS);
    let each = each.map(|(agent, why)| of_agent(agent, why.code(), why.to_string(), observed));
    std::iter::once(all).chain(each).collect()
}

/// An agent that is kept free until the deployment is given it.
fn note((agent, target): &(AgentId, TargetName), observed: &Observed) -> Issue {
    let message = format!("it is kept free in target {target} until then");
    of_agent(agent, WARM, message, observed)
}

fn of_agent(agent: &AgentId, code: &str, message: String, observed: &Observed) -> Issue {
    let known = observed.agents.get(agent);
    Issue {
        code: code.into(),
        message,
        node_size: known.map(|known| known.size.clone()),
        datacenter: known.map(|known| known.datacenter.clone()),
        agent_id: Some(agent.clone()),
    }
}

/// What is held because of the change: a removal of this deployment is among it, and it was not held before.
fn newly_held(id: &DeploymentId, before: &Plan, after: &Plan) -> Option<Digest> {
    let known: BTreeSet<_> = before.held.iter().map(|held| held.digest).collect();
    let is_about = |hold: &&Hold| hold.actions.iter().any(|it| it.deployment() == Some(id));
    let mut held = after.held.iter().filter(is_about);
    let new = held.find(|held| !known.contains(&held.digest));
    new.map(|held| held.digest)
}

/// What is new in the plan, as far as it is this owner's business.
fn lines(owner: &OwnerName, before: &Plan, after: &Plan) -> Vec<String> {
    let is_own = |of: Option<&OwnerName>| of.is_none_or(|of| of == owner);
    let all = |plan: &Plan| -> Vec<String> {
        let actions = plan.actions.iter();
        let actions = actions.filter(|it| is_own(it.deployment().map(|id| &id.owner)));
        let waits = plan.waits.iter().filter(|it| is_own(it.subject.owner()));
        let actions = actions.map(ToString::to_string);
        actions.chain(waits.map(ToString::to_string)).collect()
    };
    let known: BTreeSet<_> = all(before).into_iter().collect();
    let new = all(after).into_iter().filter(|line| !known.contains(line));
    new.take(LINES).collect()
}

#[cfg(test)]
mod tests {
    use easyenclave_plan::{HoldReason, Replica, Reported, Subject, Wait, WaitReason};
    use easyenclave_schemas::documents::Runtime;
    use easyenclave_schemas::{DeploymentName, Generation};

    use super::*;
    use crate::hope::tests::{NOW, busy, desired, name};

    fn id(owner: &str) -> DeploymentId {
        DeploymentId {
            owner: OwnerName::new(owner).expect("a name"),
            name: DeploymentName::new("web").expect("a name"),
        }
    }

    fn stop(owner: &str) -> Action {
        Action::Unassign {
            agent: AgentId::new("tiny-000000000000").expect("a name"),
            generation: Generation(2),
            deployment: id(owner),
        }
    }

    fn wait(subject: Subject) -> Wait {
        Wait {
            subject,
            reason: WaitReason::NoTarget,
            until: None,
        }
    }

    fn holding(owners: &[&str]) -> Plan {
        let actions: Vec<_> = owners.iter().map(|owner| stop(owner)).collect();
        let reason = HoldReason::Orphans { removed: 1, of: 1 };
        let digest = Hold::digest_of(&actions);
        Plan {
            held: vec![Hold {
                digest,
                reason,
                actions,
            }],
            ..Plan::default()
        }
    }

    #[test]
    fn an_owner_is_shown_what_is_new_and_nothing_of_other_owners() {
        let target = Subject::Target(TargetName::new("tiny").expect("a name"));
        let after = Plan {
            actions: vec![stop("acme"), stop("zeta")],
            waits: vec![
                wait(Subject::Deployment(id("acme"))),
                wait(Subject::Deployment(id("zeta"))),
                wait(target),
            ],
            ..Plan::default()
        };
        let acme = id("acme").owner;
        let shown = lines(&acme, &Plan::default(), &after);
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert!(!shown.iter().any(|line| line.contains("zeta")), "{shown:?}");
        assert_eq!(lines(&acme, &after, &after), [""; 0]);
    }

    #[test]
    fn what_is_held_of_others_or_was_held_before_is_not_held_of_this_change() {
        let of = |before: &Plan, after: &Plan| newly_held(&id("acme"), before, after);
        let (none, acme, zeta) = (Plan::default(), holding(&["acme"]), holding(&["zeta"]));
        let both = holding(&["acme", "zeta"]);
        assert_eq!(of(&none, &acme), Some(acme.held[0].digest));
        assert_eq!(of(&none, &zeta), None);
        assert_eq!(of(&acme, &acme), None);
        assert_eq!(
            of(&zeta, &both),
            Some(both.held[0].digest),
            "it is among it"
        );
    }

    /// What comes of `acme/hello` as a change of its document leaves it, where it has one agent of a target that is full,
    /// and so many are free.
    fn redeployed(free: u32, change: fn(&mut Deployment)) -> (Preflight, bool) {
        redeployed_on(&[&Runtime::ALL], free, change)
    }

    /// The same where it has agents that run these.
    fn redeployed_on(
        busy_ones: &[&[Runtime]],
        free: u32,
        change: fn(&mut Deployment),
    ) -> (Preflight, bool) {
        let id: DeploymentId = name("acme/hello");
        let replicas = u32::try_from(busy_ones.len()).expect("a few");
        let mut desired = desired(replicas + free, 0);
        desired.deployments.retain(|other, _| *other == id);
        let mut big = desired.targets[&name::<TargetName>("tiny")].clone();
        (big.size, big.max) = (name("big"), 0);
        desired.targets.insert(name("big"), big);
        let agents = (0..replicas + free).map(|slot| {
            let mut agent = busy(&desired, slot);
            agent.reported = Reported::Running(Replica {
                generation: agent.generation,
                deployment: id.clone(),
                workload: desired.deployments[&id].workload,
                ready: true,
                ready_since: None,
                failing_since: None,
                cause: None,
                serving: None,
            });
            match busy_ones.get(slot as usize) {
                Some(runtimes) => agent.runtimes = runtimes.iter().copied().collect(),
                None => {
                    agent.assigned = None;
                    agent.reported = Reported::Idle(agent.generation);
                }
            }
            (name(&format!("a{slot}")), agent)
        });
        let observed = Observed {
            agents: agents.collect(),
            ..Observed::default()
        };
        let wanted = desired.deployments.get_mut(&id).expect("the example's own");
        wanted.replicas = replicas;
        change(wanted);
        let found = Foreseen::of(&id, &desired, &Plan::default(), &observed, NOW);
        let hopeless = found.hopeless;
        (found.answer(), hopeless)
    }

    fn codes(issues: &[Issue]) -> Vec<&str> {
        issues.iter().map(|issue| issue.code.as_str()).collect()
    }

    #[test]
    fn what_runs_is_eligible_where_it_runs_and_in_another_version() {
        let changes: [fn(&mut Deployment); 2] =
            [|_| {}, |wanted| wanted.workload = Digest::of(b"another")];
        for change in changes {
            let (answer, hopeless) = redeployed(0, change);
            assert!(answer.eligible && !hopeless, "{answer:?}");
            assert_eq!(answer.selected_agent_id, Some(name("a0")));
        }
    }

    #[test]
    fn what_moves_to_another_runtime_step_by_step_is_eligible_while_agents_are_free_for_it() {
        let composed = |free: u32| {
            let process: &[Runtime] = &[Runtime::Process];
            let (answer, _) = redeployed_on(&[process; 3], free, |wanted| {
                (wanted.workload, wanted.runtime) = (Digest::of(b"another"), Runtime::Compose);
            });
            answer
        };
        let answer = composed(3);
        assert!(answer.eligible, "{answer:?}");
        assert_eq!(answer.selected_agent_id, Some(name("a3")));
        let answer = composed(0);
        assert!(!answer.eligible, "{answer:?}");
        let lacks = "AGENT_RUNTIME_MISSING";
        let expected = ["NO_ELIGIBLE_AGENTS", lacks, lacks, lacks];
        assert_eq!(codes(&answer.issues), expected);
    }

    #[test]
    fn what_runs_is_not_eligible_where_nothing_can_run_it() {
        let (answer, hopeless) = redeployed(1, |wanted| wanted.size = name("big"));
        assert!(!answer.eligible && hopeless, "{answer:?}");
        assert_eq!(answer.selected_agent_id, None);
        let size = "AGENT_NODE_SIZE_MISMATCH";
        assert_eq!(codes(&answer.issues), ["NO_VERIFIED_CAPACITY", size, size]);
        let (answer, hopeless) = redeployed(1, |wanted| {
            wanted.placement.allowed_datacenters = [name("far")].into();
        });
        assert!(!answer.eligible && hopeless, "{answer:?}");
        let (answer, _) = redeployed(1, |wanted| wanted.placement.agent = Some(name("gone")));
        assert!(!answer.eligible, "{answer:?}");
        assert_eq!(answer.selected_agent_id, None);
    }

    #[test]
    fn replicas_that_stay_missing_are_told_and_the_others_run() {
        let (answer, hopeless) = redeployed(1, |wanted| wanted.replicas = 2);
        assert!(answer.eligible && !hopeless, "{answer:?}");
        let (answer, hopeless) = redeployed(1, |wanted| wanted.replicas = 5);
        assert!(!answer.eligible && !hopeless, "{answer:?}");
        assert_eq!(answer.selected_agent_id, Some(name("a1")));
        assert_eq!(codes(&answer.issues), ["NO_ELIGIBLE_AGENTS"]);
        assert_eq!(
            answer.issues[0].message,
            "agents missing: 3; the maximum is reached"
        );
    }
}
