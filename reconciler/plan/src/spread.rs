//! Over which datacenters the replicas of a deployment are, for those that want to be spread. A preference and no more: no
//! replica waits or moves for it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use easyenclave_schemas::Datacenter;
use easyenclave_schemas::documents::Spread;

use crate::Deployment;
use crate::census::{Census, Replica};
use crate::draft::Draft;
use crate::view::{AgentIx, DeploymentIx, View};

/// How many replicas of a deployment each datacenter has.
type Counts<'a> = BTreeMap<&'a Datacenter, u32>;

/// The same of each deployment that is to be spread.
pub(crate) struct Spreads<'a>(BTreeMap<DeploymentIx, Counts<'a>>);

impl<'a> Spreads<'a> {
    /// As it is after what was decided so far. Replicas that are to move away do not count.
    pub(crate) fn new(view: &View<'a>, draft: &Draft) -> Self {
        let specs = view.all_deployments().filter_map(|deployment| {
            let spec = view.deployment(deployment).state.spec()?;
            is_spread(spec).then(|| (deployment, Counts::new()))
        });
        let mut spreads = Self(specs.collect());
        if spreads.0.is_empty() {
            return spreads;
        }
        for agent in view.all_agents() {
            if let Some(deployment) = draft.carries(view, agent)
                && draft.serves(view, agent)
                && view.suits(deployment, agent)
            {
                spreads.add(deployment, place(view, agent));
            }
        }
        spreads
    }

    /// Whether a deployment is to be spread.
    pub(crate) fn has(&self, deployment: DeploymentIx) -> bool {
        self.0.contains_key(&deployment)
    }

    /// How many of its replicas are at a place.
    pub(crate) fn count(&self, deployment: DeploymentIx, at: &Datacenter) -> u32 {
        let counts = self.0.get(&deployment);
        counts
            .and_then(|counts| counts.get(at).copied())
            .unwrap_or(0)
    }

    /// One more will be there.
    pub(crate) fn add(&mut self, deployment: DeploymentIx, at: &'a Datacenter) {
        if let Some(counts) = self.0.get_mut(&deployment) {
            *counts.entry(at).or_default() += 1;
        }
    }
}

/// Which of these replicas go first: class by class, and in each those of the datacenters that have most, one after the
/// other.
pub(crate) fn in_order<C: Ord + Copy, T: Ord>(
    (view, spec, census): (&View, &Deployment, &Census),
    mut replicas: Vec<Replica>,
    class: impl Fn(&Replica) -> C,
    tie: impl Fn(&Replica) -> T,
) -> Vec<Replica> {
    replicas.sort_by_key(|replica| (class(replica), tie(replica)));
    if !is_spread(spec) {
        return replicas;
    }
    let good = census.good.iter().map(|replica| replica.agent);
    let mut counts = Counts::new();
    for agent in good.chain(census.fixed.iter().copied()) {
        *counts.entry(place(view, agent)).or_default() += 1;
    }
    let mut queues: BTreeMap<&Datacenter, VecDeque<Replica>> = BTreeMap::new();
    for replica in replicas {
        let queue = queues.entry(place(view, replica.agent)).or_default();
        queue.push_back(replica);
    }
    let mut ordered = Vec::new();
    loop {
        let heads = queues
            .iter()
            .filter_map(|(at, queue)| Some((*at, queue.front()?)));
        let first =
            heads.min_by_key(|(at, head)| (class(head), Reverse(counts.get(at)), tie(head)));
        let Some((at, _)) = first else {
            return ordered;
        };
        ordered.extend(queues.get_mut(at).and_then(VecDeque::pop_front));
        let left = counts.entry(at).or_default();
        *left = left.saturating_sub(1);
    }
}

fn is_spread(spec: &Deployment) -> bool {
    spec.placement.spread == Spread::Datacenters
}

fn place<'a>(view: &View<'a>, agent: AgentIx) -> &'a Datacenter {
    &view.agent(agent).fact.datacenter
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    const TWO: &str = "target east 0 9 in east\ntarget west 0 9 in west";

    #[test]
    fn each_replica_goes_to_the_datacenter_with_the_fewest() {
        let world = "agent a east #0 in east\nagent b east #1 in east\nagent c east #2 in east runs acme/a v1\n\
                     agent d west #0 in west\nagent e west #1 in west\nagent f west #2 in west";
        check(
            &format!("{TWO}\ndeploy acme/a x4 v1 spread"),
            world,
            expect![[r#"
                retire b in east: not needed
                retire f in west: not needed
                assign acme/a to a generation 2 workload v1
                assign acme/a to d generation 2 workload v1
                assign acme/a to e generation 2 workload v1"#]],
        );
    }

    #[test]
    fn no_replica_waits_for_another_datacenter() {
        check(
            &format!("{TWO}\ndeploy acme/a x2 v1 spread"),
            "agent a east #0 in east\nagent b east #1 in east",
            expect![[r#"
                assign acme/a to a generation 2 workload v1
                assign acme/a to b generation 2 workload v1"#]],
        );
    }

    #[test]
    fn what_is_launched_goes_where_fewest_are() {
        check(
            &format!("{TWO}\ndeploy acme/a x4 v1 spread"),
            "agent a east #0 in east runs acme/a v1",
            expect![[r#"
                launch east-d0d46855bf66 for east slot 1 generation 1 failures 0 size tiny in east by process under sim
                launch west-5d06958a7f4f for west slot 0 generation 1 failures 0 size tiny in west by process under sim
                launch west-c683d6ac6afd for west slot 1 generation 1 failures 0 size tiny in west by process under sim
                wait: deployment acme/a: agents missing: 1; ordered
                wait: deployment acme/a: agents missing: 2; ordered"#]],
        );
        check(
            &format!("{TWO}\ndeploy acme/a x4 v1 spread"),
            "agent a east #0 in east runs acme/a v1\norder west #0 g1 open by process west",
            expect![[r#"
                launch east-d0d46855bf66 for east slot 1 generation 1 failures 0 size tiny in east by process under sim
                launch west-c683d6ac6afd for west slot 1 generation 1 failures 0 size tiny in west by process under sim
                wait: deployment acme/a: agents missing: 1; ordered
                wait: deployment acme/a: agents missing: 2; ordered
                wait: order west-5d06958a7f4f: its agent has not registered yet (until 2026-01-01T00:01:00Z)"#]],
        );
    }

    #[test]
    fn no_replica_waits_for_a_target_that_cannot_launch_now() {
        let state = format!("{TWO}\ndeploy acme/a x2 v1 spread");
        let unheard = "unheard process west";
        check(
            &state,
            unheard,
            expect![[r#"
            launch east-8292319121a6 for east slot 0 generation 1 failures 0 size tiny in east by process under sim
            launch east-d0d46855bf66 for east slot 1 generation 1 failures 0 size tiny in east by process under sim
            wait: deployment acme/a: agents missing: 2; ordered"#]],
        );
        check(
            &state,
            "order west #0 g1 failed 0 of NoCapacity",
            expect![[r#"
                launch east-8292319121a6 for east slot 0 generation 1 failures 0 size tiny in east by process under sim
                launch east-d0d46855bf66 for east slot 1 generation 1 failures 0 size tiny in east by process under sim
                wait: deployment acme/a: agents missing: 2; ordered"#]],
        );
        check(
            "target east 0 1 in east\ntarget west 0 9 in west\ndeploy acme/a x3 v1 spread",
            unheard,
            expect![[r#"
                launch east-8292319121a6 for east slot 0 generation 1 failures 0 size tiny in east by process under sim
                wait: deployment acme/a: agents missing: 1; ordered
                wait: deployment acme/a: no worker of process in west has listed its machines since the start; one is started by `easyenclave worker --provider process --datacenter west`, with `--machines` where its document is of another kind than `process`
                wait: target west: no worker of process in west has listed its machines since the start; one is started by `easyenclave worker --provider process --datacenter west`, with `--machines` where its document is of another kind than `process`"#]],
        );
    }

    #[test]
    fn the_places_of_one_target_are_spread_over_too_while_they_have_room() {
        let state = "target tiny 0 9 in near or process far\ndeploy acme/a x4 v1 spread";
        check(
            state,
            "agent a tiny #0 in near runs acme/a v1",
            expect![[r#"
                launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in far by process under sim
                launch tiny-32913ac7cea7 for tiny slot 2 generation 1 failures 0 size tiny in near by process under sim
                launch tiny-9e21383a4f14 for tiny slot 3 generation 1 failures 0 size tiny in far by process under sim
                wait: deployment acme/a: agents missing: 3; ordered"#]],
        );
        check(
            state,
            "agent a tiny #0 in near runs acme/a v1\nfull process far 20",
            expect![[r#"
                launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in near by process under sim
                launch tiny-32913ac7cea7 for tiny slot 2 generation 1 failures 0 size tiny in near by process under sim
                launch tiny-9e21383a4f14 for tiny slot 3 generation 1 failures 0 size tiny in near by process under sim
                wait: deployment acme/a: agents missing: 3; ordered"#]],
        );
    }

    #[test]
    fn what_is_too_many_goes_where_most_are() {
        let world = "agent a east #0 in east runs acme/a v1\nagent b east #1 in east runs acme/a v1\n\
                     agent c east #2 in east runs acme/a v1\nagent d west #0 in west runs acme/a v1\n\
                     agent e west #1 in west runs acme/a v1";
        check(
            &format!("breaker 9 100\n{TWO}\ndeploy acme/a x2 v1 spread"),
            world,
            expect![[r#"
                unassign acme/a from b generation 3
                unassign acme/a from c generation 3
                unassign acme/a from e generation 3"#]],
        );
    }

    #[test]
    fn a_roll_out_exchanges_where_most_are() {
        let world = "agent a west #0 in west runs acme/a v1\nagent b east #0 in east runs acme/a v1\n\
                     agent c east #1 in east runs acme/a v2";
        check(
            &format!("{TWO}\ndeploy acme/a x2 v2 unavailable 0 surge 1 spread"),
            world,
            expect![[r#"
                unassign acme/a from b generation 3
                wait: deployment acme/a: replicas not serving: 0, allowed: 0"#]],
        );
    }
}
