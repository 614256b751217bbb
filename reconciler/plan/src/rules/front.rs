//! Chooses for each name of a deployment the one agent that it leads to: its front. A front is published, trusted, ready and
//! connected, and stays the front while it may. Nothing is chosen before it is known where names lead.

use std::collections::BTreeMap;

use easyenclave_schemas::{AgentId, Hostname};

use super::expose;
use crate::draft::Draft;
use crate::view::{AgentIx, DeploymentIx, Instruction, View, Wanted};
use crate::{Action, Deployment, Exposure, WaitReason};

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    let mut fronts = BTreeMap::new();
    if !view.desired.hostnames.is_empty() {
        for deployment in view.all_deployments() {
            if let (Wanted::Yes(spec), Some(hostname)) =
                (view.deployment(deployment).state, view.hostname(deployment))
                && spec.replicas > 0
                && !fronts.contains_key(hostname)
            {
                let seat = Seat {
                    view,
                    deployment,
                    spec,
                    hostname,
                };
                fronts.insert(hostname, seat.fill(draft));
            }
        }
    }
    release(view, draft, &fronts);
}

/// Whether a name moves from what is old to what is wanted: not while the roll-out is paused, or fails.
pub(crate) fn goes_on(
    view: &View,
    draft: &Draft,
    deployment: DeploymentIx,
    spec: &Deployment,
) -> bool {
    spec.rollout.pause_at(view.now).is_none() && !draft.failing.contains(&deployment)
}

/// A name is taken from agents that are not to have it any more.
fn release(view: &View, draft: &mut Draft, fronts: &BTreeMap<&Hostname, Option<AgentIx>>) {
    for (hostname, id) in &view.observed.fronts.decided {
        let agent = view.find_agent(id);
        let front = fronts.get(hostname).copied().flatten();
        let keeps = agent.is_some_and(|agent| match front {
            Some(front) => front == agent,
            None => is_kept(view, draft, agent),
        });
        if !keeps {
            draft.act(Action::Unpoint {
                agent: id.clone(),
                hostname: hostname.clone(),
            });
        }
    }
}

/// Whether an agent keeps its name where no front was chosen: as long as what is published on it stays, and nothing else is
/// known to be wanted of its deployment.
fn is_kept(view: &View, draft: &Draft, agent: AgentIx) -> bool {
    let facts = view.agent(agent);
    let wanted = facts.deployment.map(|of| view.deployment(of).state);
    match &facts.fact.exposed {
        Exposure::Exposed(of) => {
            !matches!(wanted, Some(Wanted::Yes(_))) && expose::stays(view, draft, agent, of)
        }
        Exposure::Hidden => false,
    }
}

/// The place of a front.
struct Seat<'v, 'a> {
    view: &'v View<'a>,
    deployment: DeploymentIx,
    spec: &'a Deployment,
    hostname: &'a Hostname,
}

impl Seat<'_, '_> {
    /// Decides who is the front, and says what it waits for.
    fn fill(&self, draft: &mut Draft) -> Option<AgentIx> {
        let published: Vec<AgentIx> = self.published(draft);
        let before = self.before(&published);
        let front = match self.view.observed.fronts.listed {
            true => self.choose(draft, before, &published),
            false => before,
        };
        if let Some(front) = front.filter(|front| self.is_news(*front)) {
            draft.act(Action::Point {
                agent: self.id(front).clone(),
                deployment: self.view.deployment(self.deployment).id.clone(),
                hostname: self.hostname.clone(),
            });
        }
        self.report(draft, front, &published);
        front
    }

    /// The agents on which the deployment is published and stays so.
    fn published(&self, draft: &Draft) -> Vec<AgentIx> {
        let id = self.view.deployment(self.deployment).id;
        let is_published = |agent: &AgentIx| {
            let exposed = &self.view.agent(*agent).fact.exposed;
            matches!(exposed, Exposure::Exposed(of) if of == id)
                && expose::stays(self.view, draft, *agent, id)
        };
        self.view
            .replicas(self.deployment)
            .filter(is_published)
            .collect()
    }

    /// Who it is so far: by decision, or else where the name leads, as after a lost store.
    fn before(&self, published: &[AgentIx]) -> Option<AgentIx> {
        let fronts = &self.view.observed.fronts;
        let named = [&fronts.decided, &fronts.leads].map(|names| names.get(self.hostname));
        let mut named = named
            .into_iter()
            .flatten()
            .filter_map(|id| self.view.find_agent(id));
        named.find(|agent| published.contains(agent))
    }

    fn choose(
        &self,
        draft: &Draft,
        before: Option<AgentIx>,
        published: &[AgentIx],
    ) -> Option<AgentIx> {
        let can = published.iter().copied().filter(|agent| self.can(*agent));
        let best = can.min_by_key(|agent| self.rank(*agent));
        match (before, best) {
            (None, best) => best,
            (Some(before), None) => Some(before),
            (Some(before), Some(best)) => {
                let stays = match self.can(before) {
                    true => !self.gives_way(draft, before, best, published),
                    // What is not known moves no name.
                    false => self.is_unknown(before),
                };
                Some(if stays { before } else { best })
            }
        }
    }

    /// Whether a name may be led to an agent.
    fn can(&self, agent: AgentIx) -> bool {
        let open = self.view.observed.fronts.open.get(self.id(agent));
        self.view.agent(agent).is_ready() && open == Some(&true)
    }

    fn is_unknown(&self, agent: AgentIx) -> bool {
        let is_open_known = self.view.observed.fronts.open.contains_key(self.id(agent));
        self.view.agent(agent).instruction == Instruction::Unknown || !is_open_known
    }

    /// The best first: where the deployment belongs, with a version that has proved good.
    fn rank(&self, agent: AgentIx) -> (bool, bool, bool, AgentIx) {
        let facts = self.view.agent(agent);
        let is_proved = facts.current && facts.steady;
        (
            !self.view.suits(self.deployment, agent),
            !is_proved,
            !facts.current,
            agent,
        )
    }

    /// Whether a front that serves leaves its name to another. It does so last of all replicas, and once: to one that has
    /// what is wanted, where that is wanted, when nothing else waits to be changed.
    fn gives_way(
        &self,
        draft: &Draft,
        before: AgentIx,
        best: AgentIx,
        published: &[AgentIx],
    ) -> bool {
        let (from, to) = (self.view.agent(before), self.view.agent(best));
        if before == best || !self.view.suits(self.deployment, best) {
            return false;
        }
        if !self.view.suits(self.deployment, before) {
            return to.current || !from.current;
        }
        let goes_on = goes_on(self.view, draft, self.deployment, self.spec);
        let mut others = published.iter().filter(|agent| **agent != before);
        !from.current
            && to.current
            && to.steady
            && goes_on
            && others.all(|agent| self.view.agent(*agent).current)
    }

    fn id(&self, agent: AgentIx) -> &AgentId {
        self.view.agent(agent).id
    }

    /// Whether it is to be decided: what is not known to be open is decided later.
    fn is_news(&self, front: AgentIx) -> bool {
        let decided = self.view.observed.fronts.decided.get(self.hostname);
        self.view.observed.fronts.listed && self.can(front) && decided != Some(self.id(front))
    }

    fn report(&self, draft: &mut Draft, front: Option<AgentIx>, published: &[AgentIx]) {
        let hostname = self.hostname.clone();
        let fronts = &self.view.observed.fronts;
        let agent = front.map(|front| self.id(front).clone());
        let reason = match agent {
            _ if !fronts.listed => Some(WaitReason::NamesUnlisted { hostname }),
            None => Some(WaitReason::NoFront { hostname }),
            Some(agent) if fronts.leads.get(&hostname) != Some(&agent) => {
                Some(WaitReason::NameNotThere { hostname, agent })
            }
            Some(agent) => match fronts.open.get(&agent) {
                Some(true) => None,
                Some(false) => Some(WaitReason::FrontClosed { hostname, agent }),
                None => Some(WaitReason::FrontUnknown { hostname, agent }),
            },
        };
        if let Some(reason) = reason {
            draft.wait_deployment(self.view, self.deployment, reason, None);
        }
        self.report_stays(draft, published);
    }

    /// Says which replica is not changed because the name leads to it.
    fn report_stays(&self, draft: &mut Draft, published: &[AgentIx]) {
        for &agent in published.iter().filter(|_| published.len() > 1) {
            let is_as_wanted =
                self.view.agent(agent).current && self.view.suits(self.deployment, agent);
            if !is_as_wanted && self.view.is_front(agent) {
                let (hostname, agent) = (self.hostname.clone(), self.id(agent).clone());
                let stays = WaitReason::FrontStays { hostname, agent };
                draft.wait_deployment(self.view, self.deployment, stays, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    const TWO: &str = "target tiny 0 4\ndeploy acme/a x2 v1 exposed\nhost acme/a app.example.com";
    const BOTH: &str = "agent a tiny #0 runs acme/a v1 exposed acme/a\n\
                        agent b tiny #1 runs acme/a v1 exposed acme/a\n";

    fn told(world: &str, plan: expect_test::Expect) {
        check(TWO, &format!("{BOTH}{world}"), plan);
    }

    #[test]
    fn a_name_leads_to_the_first_that_is_connected() {
        told(
            "listed\nclosed a\nopen b",
            expect![[r#"
                point app.example.com of acme/a at b
                wait: deployment acme/a: app.example.com is to lead to b, and does not yet"#]],
        );
        told(
            "listed\nclosed a",
            expect![
                "wait: deployment acme/a: no replica is published and connected for app.example.com to lead to"
            ],
        );
        told(
            "open a\nopen b",
            expect![
                "wait: deployment acme/a: where app.example.com leads was not listed since the start"
            ],
        );
    }

    #[test]
    fn a_front_stays_while_it_may() {
        told(
            "listed\nopen a\nopen b\nleads app.example.com b\ndecided app.example.com b",
            expect![""],
        );
        told(
            "listed\nopen a\nleads app.example.com b\ndecided app.example.com b",
            expect![
                "wait: deployment acme/a: app.example.com leads to b, and whether that is connected is not known yet"
            ],
        );
        told(
            "listed\nclosed a\nclosed b\nleads app.example.com b\ndecided app.example.com b",
            expect!["wait: deployment acme/a: app.example.com leads to b, which is not connected"],
        );
        told(
            "listed\nclosed a\nclosed b\ndecided app.example.com b",
            expect!["wait: deployment acme/a: app.example.com is to lead to b, and does not yet"],
        );
        told(
            "listed\nopen a\nclosed b\nleads app.example.com b\ndecided app.example.com b",
            expect![[r#"
                unpoint app.example.com from b
                point app.example.com of acme/a at a
                wait: deployment acme/a: app.example.com is to lead to a, and does not yet"#]],
        );
    }

    #[test]
    fn where_a_name_leads_is_taken_over_when_nothing_was_decided() {
        told(
            "listed\nopen a\nopen b\nleads app.example.com b",
            expect!["point app.example.com of acme/a at b"],
        );
    }

    #[test]
    fn a_front_without_trust_loses_its_name_at_once() {
        let world = "agent a tiny #0 runs acme/a v1 exposed acme/a lapsed 1\n\
                     agent b tiny #1 runs acme/a v1 exposed acme/a\n\
                     listed\nopen a\nopen b\nleads app.example.com a\ndecided app.example.com a";
        check(
            TWO,
            world,
            expect![[r#"
                unexpose acme/a on a
                unpoint app.example.com from a
                quarantine a: its trust ran out
                challenge a
                point app.example.com of acme/a at b
                wait: deployment acme/a: the replica on a is not ready
                wait: deployment acme/a: app.example.com is to lead to b, and does not yet
                wait: agent a: in quarantine: its trust ran out"#]],
        );
    }

    #[test]
    fn a_front_is_changed_last_and_after_its_name_has_moved() {
        let state = "target tiny 0 4\ndeploy acme/a x2 v2 exposed\nhost acme/a app.example.com";
        let names = "listed\nopen a\nopen b\nleads app.example.com a\ndecided app.example.com";
        check(
            state,
            &format!("{BOTH}{names} a"),
            expect![[r#"
            unexpose acme/a on b
            assign acme/a to b generation 3 workload v2
            wait: deployment acme/a: replicas not serving: 0, allowed: 1"#]],
        );
        let world = "agent a tiny #0 runs acme/a v1 exposed acme/a\n\
                     agent b tiny #1 runs acme/a v2 exposed acme/a\n";
        check(
            state,
            &format!("{world}{names} a"),
            expect![[r#"
            unpoint app.example.com from a
            point app.example.com of acme/a at b
            wait: deployment acme/a: replicas not serving: 0, allowed: 1
            wait: deployment acme/a: app.example.com is to lead to b, and does not yet
            wait: deployment acme/a: the replica on a stays as long as app.example.com leads to it"#]],
        );
        check(
            state,
            &format!("{world}{names} b"),
            expect![[r#"
            wait: deployment acme/a: replicas not serving: 0, allowed: 1
            wait: deployment acme/a: app.example.com is to lead to b, and does not yet
            wait: deployment acme/a: the replica on a stays as long as app.example.com leads to it"#]],
        );
        let moved = names.replace("leads app.example.com a", "leads app.example.com b");
        check(
            state,
            &format!("{world}{moved} b"),
            expect![[r#"
            unexpose acme/a on a
            assign acme/a to a generation 3 workload v2"#]],
        );
    }

    #[test]
    fn where_no_name_moves_another_than_the_front_is_one_too_many() {
        let state = "target tiny 0 4\ndeploy acme/a x1 v2 exposed\nhost acme/a app.example.com";
        let world = "agent a tiny #0 runs acme/a v1 exposed acme/a\n\
                     agent b tiny #1 runs acme/a v2 exposed acme/a\n\
                     listed\nopen a\nopen b\nleads app.example.com a\ndecided app.example.com a";
        let paused = state.replace("exposed", "exposed paused 60");
        check(
            &paused,
            world,
            expect![[r#"
            unexpose acme/a on b
            unassign acme/a from b generation 3
            wait: deployment acme/a: the roll-out is paused by ann: freeze (until 2026-01-01T00:01:00Z)"#]],
        );
        check(
            state,
            world,
            expect![[r#"
            unpoint app.example.com from a
            point app.example.com of acme/a at b
            wait: deployment acme/a: replicas not serving: 0, allowed: 1
            wait: deployment acme/a: app.example.com is to lead to b, and does not yet
            wait: deployment acme/a: the replica on a stays as long as app.example.com leads to it"#]],
        );
    }

    #[test]
    fn a_name_that_is_not_wanted_any_more_is_taken_away() {
        let world = format!(
            "{BOTH}listed\nopen a\nopen b\nleads app.example.com a\ndecided app.example.com a"
        );
        let state = "target tiny 0 4\ndeploy acme/a x2 v1 exposed";
        check(state, &world, expect!["unpoint app.example.com from a"]);
        check(
            &format!("{state}\nhost acme/a www.example.com"),
            &world,
            expect![[r#"
                unpoint app.example.com from a
                point www.example.com of acme/a at a
                wait: deployment acme/a: www.example.com is to lead to a, and does not yet"#]],
        );
        check(
            "target tiny 0 4\nfreeze-deploy acme/a",
            &world,
            expect!["wait: deployment acme/a: kept as it is: its.yaml cannot be used"],
        );
    }
}
