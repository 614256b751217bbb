//! Why an agent was not chosen for a deployment: for each, the one reason that comes first, with a code that never changes
//! its meaning. Runs the rules as a plan does, and decides nothing.

use std::collections::BTreeSet;
use std::fmt;

use easyenclave_schemas::{AgentId, Cloud, Datacenter, DeploymentId, Timestamp};

use crate::draft::{Draft, Fate, Unplaced};
use crate::plan::placed;
use crate::reserve::Reserved;
use crate::rules::place::is_free;
use crate::view::{
    AgentIx, AgentView, DeploymentIx, Instruction, Life, Standing, TargetIx, View, number,
};
use crate::{Deployment, Desired, Observed, Placement};

/// Why an agent was not chosen, in the order in which they are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Issue {
    /// Its evidence is not accepted now.
    NotVerified,
    /// It does not answer, or has not yet said what it runs.
    Unhealthy,
    /// It has another size.
    NodeSizeMismatch,
    /// It cannot, or by its provider's document is not to, run such a workload.
    RuntimeMissing,
    /// Its target is none of those that are named.
    TargetNotAllowed,
    /// Its target's datacenters are not among the allowed ones.
    DatacenterNotAllowed,
    /// One of its target's datacenters is denied.
    DatacenterDenied,
    /// Its target's clouds are not among the allowed ones.
    CloudNotAllowed,
    /// One of its target's clouds is denied.
    CloudDenied,
    /// The deployment names another.
    NotNamed,
    /// It runs something, is on its way out, or is to stay as it is.
    StatusNotDeployable,
    /// The owner's quota is used up.
    QuotaExceeded,
    /// It is kept for other owners.
    Reserved,
    /// All replicas have agents, or what is missing waits for something else.
    NotNeeded,
}

impl Issue {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotVerified => "AGENT_NOT_VERIFIED",
            Self::Unhealthy => "AGENT_UNHEALTHY",
            Self::NodeSizeMismatch => "AGENT_NODE_SIZE_MISMATCH",
            Self::RuntimeMissing => "AGENT_RUNTIME_MISSING",
            Self::TargetNotAllowed => "AGENT_TARGET_NOT_ALLOWED",
            Self::DatacenterNotAllowed => "AGENT_DATACENTER_NOT_ALLOWED",
            Self::DatacenterDenied => "AGENT_DATACENTER_DENIED",
            Self::CloudNotAllowed => "AGENT_CLOUD_NOT_ALLOWED",
            Self::CloudDenied => "AGENT_CLOUD_DENIED",
            Self::NotNamed => "AGENT_NOT_NAMED",
            Self::StatusNotDeployable => "AGENT_STATUS_NOT_DEPLOYABLE",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::Reserved => "RESERVED",
            Self::NotNeeded => "AGENT_NOT_NEEDED",
        }
    }
}

/// The same in plain words.
impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotVerified => "its evidence is not accepted now",
            Self::Unhealthy => "it does not answer, or has not yet said what it runs",
            Self::NodeSizeMismatch => "it has another size",
            Self::RuntimeMissing => {
                "it does not run such a workload: what it found, or its provider, says so"
            }
            Self::TargetNotAllowed => "its target is none of those that are named",
            Self::DatacenterNotAllowed => {
                "its target may be in a datacenter that is not among the allowed ones"
            },
            Self::DatacenterDenied => "its target may be in a datacenter that is denied",
            Self::CloudNotAllowed => "its target may be in a cloud that is not among the allowed ones",
            Self::CloudDenied => "its target may be in a cloud that is denied",
            Self::NotNamed => "the deployment names another agent",
            Self::StatusNotDeployable => "it runs something, or is on its way out",
            Self::QuotaExceeded => "the owner's quota is used up",
            Self::Reserved => "it is kept for other owners",
            Self::NotNeeded => {
                "no more agents are given to it now: all replicas have theirs, or wait for something else"
            },
        })
    }
}

/// For every agent that neither gets nor keeps a replica of a deployment, why not: one whose replica is to be elsewhere
/// is among them. Nothing for a deployment that is not wanted.
pub fn whynot(
    desired: &Desired,
    observed: &Observed,
    deployment: &DeploymentId,
    now: Timestamp,
) -> Vec<(AgentId, Issue)> {
    let view = View::new(desired, observed, now);
    let Some((at, spec)) = find(&view, deployment) else {
        return Vec::new();
    };
    let draft = placed(&view);
    let agents = view.all_agents();
    let left = agents.filter(|agent| !has(&view, &draft, at, *agent));
    let named = left.map(|agent| {
        let why = unfit(&view, (at, spec), view.agent(agent))
            .or_else(|| (!is_free(&view, &draft, agent)).then_some(Issue::StatusNotDeployable))
            .unwrap_or_else(|| passed_over(&view, &draft, at, view.agent(agent).target));
        (view.agent(agent).id.clone(), why)
    });
    named.collect()
}

/// Whether an agent is given a replica, or has one that may stay there. One that cannot follow stays until another takes its
/// place: it counts as long as none waits for an agent.
fn has(view: &View, draft: &Draft, deployment: DeploymentIx, agent: AgentIx) -> bool {
    let gets = matches!(draft.fate(agent), Fate::Gets(..));
    let follows = || view.is_paused(deployment) || view.can_follow(deployment, agent);
    let serves = || follows() || !is_missing(draft, deployment);
    let suits = || view.suits(deployment, agent) && serves();
    let stays = || view.agent(agent).frozen || suits();
    draft.carries(view, agent) == Some(deployment) && (gets || stays())
}

/// Whether replicas of a deployment, or what is to take their place, wait for agents.
fn is_missing(draft: &Draft, deployment: DeploymentIx) -> bool {
    let waits = |u: &Unplaced| u.deployment == deployment && u.waits;
    draft.unplaced.iter().any(waits)
}

/// Why a free agent of a target was not taken.
fn passed_over(view: &View, draft: &Draft, deployment: DeploymentIx, target: TargetIx) -> Issue {
    if !is_missing(draft, deployment) {
        return Issue::NotNeeded;
    }
    let owner = view.deployment(deployment).owner;
    let others = Reserved::new(view, draft).others(target, owner);
    let idle = view.agents_of(target);
    let idle = idle.filter(|agent| is_free(view, draft, *agent));
    match draft.quota_left(view, deployment) {
        0 => Issue::QuotaExceeded,
        _ if number(idle.count()) <= others => Issue::Reserved,
        _ => Issue::NotNeeded,
    }
}

/// Why an agent could not take a replica even if it were free.
fn unfit(
    view: &View,
    (deployment, spec): (DeploymentIx, &Deployment),
    agent: &AgentView,
) -> Option<Issue> {
    if agent.standing != Standing::Accepted {
        return Some(Issue::NotVerified);
    }
    if agent.life != Life::Heard || agent.instruction == Instruction::Unknown {
        return Some(Issue::Unhealthy);
    }
    if agent.fact.size != spec.size {
        return Some(Issue::NodeSizeMismatch);
    }
    let target = view.target(agent.target);
    let Some(home) = target.state.spec() else {
        return Some(Issue::StatusNotDeployable);
    };
    let of = view.deployment(deployment);
    let mut runtimes = of.versions().filter_map(|version| of.runtime(version));
    if !runtimes.any(|it| agent.can(it) && home.runtimes.contains(&it)) {
        return Some(Issue::RuntimeMissing);
    }
    let placement = &spec.placement;
    let places: BTreeSet<Datacenter> = home.places().into_iter().map(|(_, at)| at).collect();
    let (allowed, denied) = (
        &placement.allowed_datacenters,
        &placement.denied_datacenters,
    );
    if !placement.targets.is_empty() && !placement.targets.contains(target.name) {
        Some(Issue::TargetNotAllowed)
    } else if !allowed.is_empty() && !places.is_subset(allowed) {
        Some(Issue::DatacenterNotAllowed)
    } else if !places.is_disjoint(denied) {
        Some(Issue::DatacenterDenied)
    } else {
        of_clouds(placement, &places)
            .or_else(|| (!placement.names(agent.id)).then_some(Issue::NotNamed))
    }
}

fn of_clouds(placement: &Placement, places: &BTreeSet<Datacenter>) -> Option<Issue> {
    let clouds: BTreeSet<Cloud> = places.iter().map(Cloud::of).collect();
    let (allowed, denied) = (&placement.allowed_clouds, &placement.denied_clouds);
    if !allowed.is_empty() && !clouds.is_subset(allowed) {
        return Some(Issue::CloudNotAllowed);
    }
    (!clouds.is_disjoint(denied)).then_some(Issue::CloudDenied)
}

fn find<'a>(view: &View<'a>, id: &DeploymentId) -> Option<(DeploymentIx, &'a Deployment)> {
    let mut all = view.all_deployments();
    let at = all.find(|at| view.deployment(*at).id == id)?;
    view.deployment(at).state.spec().map(|spec| (at, spec))
}

#[cfg(test)]
mod tests {
    use crate::testing::{NOW, desired, name, observed};

    use super::*;

    /// The codes of agents that were not chosen.
    fn codes(state: &str, world: &str) -> String {
        let (desired, observed) = (desired(state), observed(world));
        let named = whynot(&desired, &observed, &name("acme/a"), NOW);
        let lines = named
            .iter()
            .map(|(agent, why)| format!("{agent} {}", why.code()));
        lines.collect::<Vec<_>>().join(", ")
    }

    const STATE: &str = "target tiny 0 9\ntarget big 0 9 size big\ntarget far 0 9 in far\n\
                         deploy acme/a x2 v1 not-in far\ndeploy acme/b x1 v1";

    #[test]
    fn each_agent_has_the_reason_that_comes_first() {
        let cases = [
            ("agent a tiny #0 runs acme/a v1", ""),
            ("agent a tiny #0 idle", ""),
            ("agent a tiny #0 unjudged", "a AGENT_NOT_VERIFIED"),
            ("agent a tiny #0 refused", "a AGENT_NOT_VERIFIED"),
            ("agent a tiny #0 lapsed 9 silent 9", "a AGENT_NOT_VERIFIED"),
            ("agent a tiny #0 silent 9", "a AGENT_UNHEALTHY"),
            ("agent a tiny #0 unheard", "a AGENT_UNHEALTHY"),
            ("agent a big #0 size big", "a AGENT_NODE_SIZE_MISMATCH"),
            ("agent a far #0 in far", "a AGENT_DATACENTER_DENIED"),
            (
                "agent a tiny #0 runs acme/b v1",
                "a AGENT_STATUS_NOT_DEPLOYABLE",
            ),
            ("agent a tiny #0 stopping", "a AGENT_STATUS_NOT_DEPLOYABLE"),
            ("agent a gone #0 idle", "a AGENT_STATUS_NOT_DEPLOYABLE"),
            (
                "agent a tiny #0\nagent b tiny #1\nagent c tiny #2\nagent d tiny #3",
                "d AGENT_NOT_NEEDED",
            ),
            (
                "agent a tiny #0\nagent b tiny #1\nagent c tiny #2\nagent d tiny #3 out-lapsed",
                "d AGENT_NOT_NEEDED",
            ),
        ];
        for (world, expected) in cases {
            let found = codes(STATE, world).replace("c AGENT_STATUS_NOT_DEPLOYABLE, ", "");
            assert_eq!(found, expected, "{world}");
        }
    }

    #[test]
    fn an_agent_whose_replica_is_to_be_elsewhere_has_a_reason_too() {
        let runs = "agent a tiny #0 runs acme/a v1";
        let with = |more: &str| {
            let state =
                format!("target tiny 0 9\ntarget big 0 0 size big\ndeploy acme/a x1 {more}");
            codes(&state, runs)
        };
        assert_eq!(with("v1"), "");
        assert_eq!(with("v2"), "", "another version comes in its place");
        assert_eq!(with("v1 size big"), "a AGENT_NODE_SIZE_MISMATCH");
        assert_eq!(with("v2 on big"), "a AGENT_TARGET_NOT_ALLOWED");
        assert_eq!(with("v2 named b"), "a AGENT_NOT_NAMED");
        let lacks = codes(
            "target tiny 0 9\ndeploy acme/a x1 v2 compose",
            "agent a tiny #0 can process runs acme/a v1",
        );
        assert_eq!(lacks, "a AGENT_RUNTIME_MISSING");
        let frozen = codes(
            "target tiny 0 9\nfreeze-target tiny\ndeploy acme/a x1 v2",
            "agent a tiny #0 runs acme/a v1",
        );
        assert_eq!(frozen, "", "nothing is known against it");
    }

    #[test]
    fn a_replica_that_serves_until_another_takes_its_place_has_a_reason_only_where_none_can() {
        let world = "agent a tiny #0 can process runs acme/a v1\nagent b tiny #1 can process runs acme/a v1\n\
                     agent c tiny #2 can process runs acme/a v1\nrollout acme/a healthy v1 needs process";
        let with = |more: &str| {
            let state = "target tiny 0 9\ndeploy acme/a x3 v2 compose";
            codes(state, &format!("{world}\n{more}"))
        };
        let busy = "a AGENT_STATUS_NOT_DEPLOYABLE, b AGENT_STATUS_NOT_DEPLOYABLE, c AGENT_STATUS_NOT_DEPLOYABLE";
        assert_eq!(with(""), busy);
        assert_eq!(with("agent d tiny #3"), "", "the first has its place");
        let two = "agent d tiny #3\nagent e tiny #4";
        assert_eq!(with(two), "e AGENT_NOT_NEEDED", "it is taken in its turn");
    }

    #[test]
    fn placement_quota_and_reservations_have_codes_of_their_own() {
        let world = "agent a tiny #0 idle\nagent b tiny #1 idle";
        let with = |more: &str| codes(&format!("target tiny 0 9\ntarget other 0 9\n{more}"), world);
        assert_eq!(
            with("deploy acme/a x1 v1 on other"),
            "a AGENT_TARGET_NOT_ALLOWED, b AGENT_TARGET_NOT_ALLOWED"
        );
        assert_eq!(
            with("deploy acme/a x1 v1 in far"),
            "a AGENT_DATACENTER_NOT_ALLOWED, b AGENT_DATACENTER_NOT_ALLOWED"
        );
        assert_eq!(
            with("deploy acme/a x1 v1 cloud google"),
            "a AGENT_CLOUD_NOT_ALLOWED, b AGENT_CLOUD_NOT_ALLOWED"
        );
        assert_eq!(
            with("deploy acme/a x1 v1 not-cloud local"),
            "a AGENT_CLOUD_DENIED, b AGENT_CLOUD_DENIED"
        );
        assert_eq!(with("deploy acme/a x1 v1 named b"), "a AGENT_NOT_NAMED");
        assert_eq!(
            codes(
                "target tiny 0 9\ntarget other 0 9 makes process\ndeploy acme/a x9 v1 compose",
                "agent a tiny #0\nagent b tiny #1 can process\nagent c other #0",
            ),
            "b AGENT_RUNTIME_MISSING, c AGENT_RUNTIME_MISSING"
        );
        assert_eq!(
            with("quota acme 1\ndeploy acme/a x2 v1"),
            "b QUOTA_EXCEEDED"
        );
        assert_eq!(
            with("reserve bolt/r tiny 1\ndeploy acme/a x2 v1"),
            "b RESERVED"
        );
        assert_eq!(
            with("reserve bolt/r tiny 1\ndeploy acme/a x1 v1"),
            "b AGENT_NOT_NEEDED",
            "nothing is missing"
        );
        assert_eq!(
            with("quota acme 1\ndeploy acme/a x1 v1"),
            "b AGENT_NOT_NEEDED",
            "it just fills the quota"
        );
        assert_eq!(
            codes(
                "target tiny 0 9\ntarget other 0 9\nreserve bolt/r tiny 1\nquota acme 1\ndeploy acme/a x2 v1",
                "agent a tiny #0\nagent b tiny #1\nagent c other #0"
            ),
            "a QUOTA_EXCEEDED, b QUOTA_EXCEEDED"
        );
        assert_eq!(
            with("deploy bolt/a x1 v1"),
            "",
            "nothing of what is not wanted"
        );
    }
}
