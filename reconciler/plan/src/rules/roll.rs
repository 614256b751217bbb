//! How far a version may go, and when it is given up. Says so from what is observed and recorded alone, so that a newer
//! revision, a restart or a lost message never meets a roll-out that remembers something else.

use easyenclave_schemas::wire::WorkloadCause;
use easyenclave_schemas::{Digest, Revert, Timestamp};

use crate::census::Census;
use crate::draft::{Draft, Pace};
use crate::view::{DeploymentIx, View, Wanted};
use crate::{Action, Deployment, Rollout, WaitReason};

/// Notes what has proved good, and gives up what fails.
///
/// A deployment *aims* at the wanted version, or at the one that was healthy last when this attempt at the wanted one
/// was given up. What its replicas say is where its roll-out stands:
///
/// | where it stands | how that is seen | what may happen | what ends it |
/// |---|---|---|---|
/// | first | no version was healthy, and nothing of another version is there | every replica gets the aim | all are good: *settled* |
/// | canary | as many have the aim as the canary counts, or fewer | so many get it | all of them are good |
/// | wave n | as many as the wave's share, or fewer | so many get it | all of them are good |
/// | all | the last wave is good, there are no steps, or the aim was healthy before | all get it | all are good, or all that are there and have had their time: *settled* |
/// | paused | the document says so, and its end has not come | none gets it any more | the pause's end |
/// | failing | past its deadline, a replica of the aim is not ready by the version's own fault | none gets it any more | *reverted*, or a newer revision |
/// | reverted | the record names this version and this attempt | all get the one that was healthy | another version or attempt in the document |
/// | at a loss | the same, and none is known that was healthy | replicas stay, and what is missing is not replaced | another version or attempt in the document |
/// | settled | the record names the aim as healthy | lost replicas get the aim | another version in the document |
///
/// *Good* is: ready, trusted, heard, and ready without a break for `minHealthy`. A replica of which that is not known
/// opens no step. `maxUnavailable` and `maxSurge` hold in every row, and a replica that serves nobody is brought to the
/// aim, or beyond the step to the version that was healthy: so no row delays another. Where none is known that was
/// healthy, one beyond the step keeps the version that it has, and one that is missing gets the aim.
pub(crate) fn rule(view: &View, draft: &mut Draft) {
    let mut census = Census::default();
    for deployment in view.all_deployments() {
        let facts = view.deployment(deployment);
        let Wanted::Yes(spec) = facts.state else {
            continue;
        };
        if spec.replicas == 0 || !(spec.rollout.is_watched() || facts.is_recorded) {
            continue;
        }
        if let Some(reverted) = facts.reverted {
            stay(view, draft, deployment, spec, reverted);
            continue;
        }
        if let Some(cause) = fault(view, deployment, spec) {
            give_up(view, draft, deployment, spec, cause);
            continue;
        }
        census.count(view, draft, deployment, spec);
        prove(view, draft, deployment, spec, &census);
    }
}

/// Says that the wanted version was given up. Where the one to go back to is lost, it goes no further at least.
fn stay(
    view: &View,
    draft: &mut Draft,
    deployment: DeploymentIx,
    spec: &Deployment,
    reverted: &Revert,
) {
    let (workload, cause) = (reverted.from, reverted.cause);
    let attempt = spec.rollout.attempt;
    let reason = if view.deployment(deployment).is_at_a_loss() {
        draft.failing.insert(deployment);
        WaitReason::NothingToRevertTo { cause }
    } else {
        WaitReason::Reverted {
            workload,
            attempt,
            cause,
        }
    };
    draft.wait_deployment(view, deployment, reason, None);
}

/// Notes that the wanted version is healthy, or says when its replicas will have been so for long enough.
fn prove(
    view: &View,
    draft: &mut Draft,
    deployment: DeploymentIx,
    spec: &Deployment,
    census: &Census,
) {
    if is_news(view, deployment, spec) && census.is_steady(view, spec) {
        draft.act(Action::Settle {
            deployment: view.deployment(deployment).id.clone(),
            workload: spec.workload,
        });
    }
    let least = spec.rollout.min_healthy;
    let (replicas, of) = (census.young(), spec.replicas);
    if replicas > 0 {
        let until = census.ripens(view, least);
        let reason = WaitReason::MinHealthy { replicas, of };
        draft.wait_deployment(view, deployment, reason, until);
    }
}

/// Whether the record does not say yet that the wanted version is the healthy one, and that nothing is given up.
fn is_news(view: &View, deployment: DeploymentIx, spec: &Deployment) -> bool {
    let id = view.deployment(deployment).id;
    let fact = view.observed.rollouts.get(id);
    fact.is_none_or(|fact| fact.healthy != Some(spec.workload) || fact.reverted.is_some())
}

/// Why the version that rolls out fails. One that has proved good is not given up any more, whatever happens to it; a
/// person who pauses decides.
fn fault(view: &View, deployment: DeploymentIx, spec: &Deployment) -> Option<WorkloadCause> {
    let is_over = view.deployment(deployment).is_proved();
    if !spec.rollout.reverts || is_over || spec.rollout.pause_at(view.now).is_some() {
        return None;
    }
    let within = view.ready_within(spec);
    let mut replicas = view.replicas(deployment);
    replicas.find_map(|agent| view.agent(agent).fault(within, view.now))
}

fn give_up(
    view: &View,
    draft: &mut Draft,
    deployment: DeploymentIx,
    spec: &Deployment,
    cause: WorkloadCause,
) {
    let facts = view.deployment(deployment);
    draft.failing.insert(deployment);
    let Some(to) = facts.healthy else {
        let reason = WaitReason::NothingToRevertTo { cause };
        draft.wait_deployment(view, deployment, reason, None);
        return;
    };
    draft.act(Action::Revert {
        deployment: facts.id.clone(),
        attempt: spec.attempt(),
        from: spec.workload,
        to,
        cause,
    });
}

/// How far a roll-out may go now, and what it waits for when that is not far enough.
pub(crate) struct Gate {
    pub(crate) pace: Pace,
    pub(crate) wait: Option<(WaitReason, Option<Timestamp>)>,
}

/// The gate of a deployment that aims at a version.
pub(crate) fn gate(
    view: &View,
    draft: &Draft,
    deployment: DeploymentIx,
    spec: &Deployment,
    census: &Census,
) -> Gate {
    let facts = view.deployment(deployment);
    let aim = facts.aim.unwrap_or(spec.workload);
    let (room, wait) = if draft.failing.contains(&deployment) {
        (0, None)
    } else if let Some(pause) = spec.rollout.pause_at(view.now) {
        let (owner, reason) = (pause.owner.clone(), pause.reason.clone());
        let paused = WaitReason::RollOutPaused { owner, reason };
        (0, Some((paused, Some(pause.until))))
    } else if facts.is_proved() || is_first(view, deployment, aim, census) {
        (u32::MAX, None)
    } else {
        step(view, aim, spec, census)
    };
    let base = facts.healthy;
    let pace = Pace { aim, room, base };
    Gate { pace, wait }
}

/// Whether nothing is there that a step could spare, told or found running.
fn is_first(view: &View, deployment: DeploymentIx, aim: Digest, census: &Census) -> bool {
    view.deployment(deployment).healthy.is_none() && !census.is_mixed(view, aim)
}

/// How many more may get the version in the step that the replicas are in, and what the next step waits for.
fn step(
    view: &View,
    aim: Digest,
    spec: &Deployment,
    census: &Census,
) -> (u32, Option<(WaitReason, Option<Timestamp>)>) {
    let steps = steps(&spec.rollout, spec.replicas);
    let updated = census.updated(view, aim);
    let at = steps.iter().position(|step| updated <= step.replicas);
    let at = at.unwrap_or(steps.len());
    let is_full = steps.get(at).is_some_and(|step| step.replicas == updated);
    let next = at + usize::from(is_full && census.is_good_so_far(view, aim));
    match steps.get(next) {
        None => (u32::MAX, None),
        Some(step) => (step.replicas - updated, Some((step.wait(spec), None))),
    }
}

/// So many replicas get a version before the others do.
#[derive(Debug, Clone, Copy)]
struct Step {
    replicas: u32,
    /// The number of the wave; 0 is the canary.
    wave: u32,
}

impl Step {
    fn wait(self, spec: &Deployment) -> WaitReason {
        let (replicas, of) = (self.replicas, spec.replicas);
        match self.wave {
            0 => WaitReason::Canary { replicas, of },
            wave => WaitReason::Wave { wave, replicas, of },
        }
    }
}

/// The steps but the last: the canary, then the waves, each with more replicas than the one before.
fn steps(rollout: &Rollout, replicas: u32) -> Vec<Step> {
    let share = |percent: &u32| {
        let count = (u64::from(replicas) * u64::from(*percent)).div_ceil(100);
        u32::try_from(count).unwrap_or(replicas)
    };
    let sizes = std::iter::once(rollout.canary).chain(rollout.waves.iter().map(share));
    let mut steps: Vec<Step> = Vec::new();
    for (wave, size) in (0..).zip(sizes) {
        let before = steps.last().map_or(0, |step| step.replicas);
        if before < size && size < replicas {
            let replicas = size;
            steps.push(Step { replicas, wave });
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    /// Four agents, of which the first ones are as the texts say and the others run `v1`.
    fn world(first: &[&str]) -> String {
        let agent = |(slot, name): (usize, &str)| {
            let how = first.get(slot).copied().unwrap_or("runs acme/a v1");
            format!("agent {name} tiny #{slot} {how}\n")
        };
        let agents: String = ["a", "b", "c", "d"]
            .into_iter()
            .enumerate()
            .map(agent)
            .collect();
        format!("{agents}rollout acme/a healthy v1")
    }

    fn state(rollout: &str) -> String {
        format!("target tiny 0 4\ndeploy acme/a x4 v2 unavailable 2 {rollout}")
    }

    #[test]
    fn the_canary_comes_first_and_has_to_be_ready() {
        check(
            &state("canary 1"),
            &world(&[]),
            expect![[r#"
            assign acme/a to a generation 3 workload v2
            wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version"#]],
        );
        check(
            &state("canary 1"),
            &world(&["starts acme/a v2"]),
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)
                wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version"#]],
        );
        check(
            &state("canary 1"),
            &world(&["runs acme/a v2"]),
            expect![[r#"
                assign acme/a to b generation 3 workload v2
                assign acme/a to c generation 3 workload v2
                wait: deployment acme/a: replicas not serving: 0, allowed: 2"#]],
        );
    }

    #[test]
    fn each_wave_has_to_be_ready_before_the_next() {
        let state = state("canary 1 wave 30 wave 75");
        check(
            &state,
            &world(&["runs acme/a v2"]),
            expect![[r#"
            assign acme/a to b generation 3 workload v2
            wait: deployment acme/a: wave 1, 2 of 4, has to prove good before others get the version"#]],
        );
        check(
            &state,
            &world(&["runs acme/a v2", "starts acme/a v2"]),
            expect![[r#"
                wait: deployment acme/a: the replica on b is not ready (until 2026-01-01T00:04:00Z)
                wait: deployment acme/a: wave 1, 2 of 4, has to prove good before others get the version"#]],
        );
        check(
            &state,
            &world(&["runs acme/a v2", "runs acme/a v2"]),
            expect![[r#"
                assign acme/a to c generation 3 workload v2
                wait: deployment acme/a: wave 2, 3 of 4, has to prove good before others get the version"#]],
        );
    }

    #[test]
    fn what_is_not_known_of_a_canary_opens_no_step() {
        let silent = "runs acme/a v2 silent 5";
        check(
            &state("canary 1"),
            &world(&[silent]),
            expect![[r#"
            wait: deployment acme/a: the replica on a is not ready
            wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version
            wait: agent a: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:25Z)"#]],
        );
        check(
            &state("canary 1"),
            &world(&["runs acme/a v2 unheard"]),
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)
                wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version
                wait: agent a: not heard of since the start"#]],
        );
        check(
            &state("canary 1"),
            &world(&["runs acme/a v2 unjudged"]),
            expect![[r#"
                challenge a
                wait: deployment acme/a: the replica on a is not ready
                wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version
                wait: agent a: its evidence cannot be judged now"#]],
        );
    }

    #[test]
    fn a_canary_has_to_stay_ready_for_a_while() {
        let state = state("canary 1 steady 60");
        check(
            &state,
            &world(&["runs acme/a v2 ready 20"]),
            expect![[r#"
            wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version
            wait: deployment acme/a: ready with the version, and not for long enough yet: 1 of 4 (until 2026-01-01T00:00:40Z)"#]],
        );
        check(
            &state,
            &world(&["runs acme/a v2 ready 60"]),
            expect![[r#"
            assign acme/a to b generation 3 workload v2
            assign acme/a to c generation 3 workload v2
            wait: deployment acme/a: replicas not serving: 0, allowed: 2"#]],
        );
        check(
            &state,
            &world(&["runs acme/a v2"]),
            expect![[r#"
            wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version
            wait: deployment acme/a: ready with the version, and not for long enough yet: 1 of 4"#]],
        );
    }

    #[test]
    fn without_steps_each_replica_has_to_stay_ready_before_the_next_is_taken() {
        let state = "target tiny 0 4\ndeploy acme/a x4 v2 steady 60";
        check(
            state,
            &world(&["runs acme/a v2 ready 20"]),
            expect![[r#"
            wait: deployment acme/a: replicas not serving: 1, allowed: 1
            wait: deployment acme/a: ready with the version, and not for long enough yet: 1 of 4 (until 2026-01-01T00:00:40Z)"#]],
        );
        check(
            state,
            &world(&["runs acme/a v2 ready 60"]),
            expect![[r#"
            assign acme/a to b generation 3 workload v2
            wait: deployment acme/a: replicas not serving: 0, allowed: 1"#]],
        );
    }

    #[test]
    fn a_pause_stops_what_serves_and_replaces_what_is_lost() {
        let world = "agent a tiny #0 runs acme/a v2\nagent b tiny #1 runs acme/a v1\n\
                     agent c tiny #2 idle\nagent d tiny #3 starts acme/a v3\n\
                     rollout acme/a healthy v1";
        check(
            &state("canary 1 paused 60"),
            world,
            expect![[r#"
            assign acme/a to c generation 2 workload v1
            assign acme/a to d generation 3 workload v1
            wait: deployment acme/a: the replica on d is not ready (until 2026-01-01T00:04:00Z)
            wait: deployment acme/a: the roll-out is paused by ann: freeze (until 2026-01-01T00:01:00Z)"#]],
        );
        check(
            &state("canary 1 paused 0"),
            world,
            expect![[r#"
            assign acme/a to c generation 2 workload v2
            assign acme/a to d generation 3 workload v2
            wait: deployment acme/a: the replica on d is not ready (until 2026-01-01T00:04:00Z)
            wait: deployment acme/a: replicas not serving: 2, allowed: 2"#]],
        );
    }

    #[test]
    fn a_pause_takes_nothing_away_that_others_could_replace() {
        let state = "target tiny 0 9\ndeploy acme/a x4 v2 unavailable 0 paused 60";
        check(
            state,
            &(world(&[]) + "\nagent e tiny #4 runs acme/a v2"),
            expect![
                "wait: deployment acme/a: the roll-out is paused by ann: freeze (until 2026-01-01T00:01:00Z)"
            ],
        );
    }

    #[test]
    fn beyond_the_step_a_lost_replica_is_replaced_by_what_was_healthy() {
        let world = "agent a tiny #0 starts acme/a v2\nagent b tiny #1 runs acme/a v1\n\
                     agent c tiny #2 runs acme/a v1\nagent d tiny #3 idle\n\
                     rollout acme/a healthy v1";
        check(
            &state("canary 1"),
            world,
            expect![[r#"
            assign acme/a to d generation 2 workload v1
            wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)
            wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version"#]],
        );
    }

    #[test]
    fn a_version_that_fails_by_its_own_fault_is_given_up_at_its_deadline() {
        let failing = |cause| world(&[&format!("starts acme/a v2 fails {cause}")]);
        check(
            &state("reverts deadline 61"),
            &failing("Exited"),
            expect![[r#"
                assign acme/a to b generation 3 workload v2
                wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:00:01Z)
                wait: deployment acme/a: replicas not serving: 1, allowed: 2"#]],
        );
        check(
            &state("reverts deadline 60"),
            &failing("Exited"),
            expect![[r#"
                revert acme/a attempt a61f135e6e19e1c2376156ffd636c701986e6ff436f4cd64e9e6a2da5a2ef38c from workload v2 to workload v1: it exits
                wait: deployment acme/a: the replica on a is not ready and its time is over; it exits
                wait: deployment acme/a: replicas not serving: 1, allowed: 2"#]],
        );
        check(
            &state("deadline 60"),
            &failing("Exited"),
            expect![[r#"
            assign acme/a to b generation 3 workload v2
            wait: deployment acme/a: the replica on a is not ready and its time is over; it exits
            wait: deployment acme/a: replicas not serving: 1, allowed: 2"#]],
        );
        check(
            &state("reverts deadline 60 paused 9"),
            &failing("Exited"),
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready and its time is over; it exits
                wait: deployment acme/a: the roll-out is paused by ann: freeze (until 2026-01-01T00:00:09Z)"#]],
        );
    }

    #[test]
    fn what_no_other_version_would_change_is_waited_for() {
        for cause in ["RegistryDown", "EngineDown", "SecretsUnavailable"] {
            let agent = format!("starts acme/a v2 fails {cause}");
            let plan = crate::testing::planned(&state("reverts deadline 60"), &world(&[&agent]));
            let text = crate::testing::text(&plan);
            assert!(!text.contains("revert"), "{text}");
            assert!(text.contains("the replica on a is not ready; "), "{text}");
        }
        for how in ["silent 5", "unheard", "lapsed 5", "refused", "unjudged"] {
            let agent = format!("starts acme/a v2 fails Exited {how}");
            let plan = crate::testing::planned(&state("reverts deadline 60"), &world(&[&agent]));
            let text = crate::testing::text(&plan);
            assert!(!text.contains("revert"), "{how}: {text}");
        }
    }

    #[test]
    fn an_outage_uses_up_nothing_of_a_deadline() {
        let state = state("reverts deadline 60 paused 0");
        for (since, is_given_up) in [
            ("failing 5", false),
            ("failing 59", false),
            ("failing 60", true),
        ] {
            let agent = format!("starts acme/a v2 fails ProbeFailing {since}");
            let plan = crate::testing::planned(&state, &world(&[&agent]));
            let text = crate::testing::text(&plan);
            assert_eq!(text.contains("revert"), is_given_up, "{since}: {text}");
        }
    }

    /// It is ready at the moment, and was started again after its time was over, or before that.
    #[test]
    fn what_ends_time_and_again_is_given_up_although_it_is_ready_in_between() {
        let looping = |ready| world(&[&format!("runs acme/a v2 ready {ready} failing 59")]);
        let state = state("canary 1 reverts deadline 30 steady 10");
        check(
            &state,
            &looping(5),
            expect![[r#"
            revert acme/a attempt a61f135e6e19e1c2376156ffd636c701986e6ff436f4cd64e9e6a2da5a2ef38c from workload v2 to workload v1: it exits
            wait: deployment acme/a: replicas not serving: 1, allowed: 2"#]],
        );
        check(
            &state,
            &looping(31),
            expect![[r#"
            assign acme/a to b generation 3 workload v2
            assign acme/a to c generation 3 workload v2
            wait: deployment acme/a: replicas not serving: 0, allowed: 2"#]],
        );
    }

    #[test]
    fn without_a_healthy_version_nothing_is_given_up() {
        let world = "agent a tiny #0 starts acme/a v2 fails ImageMissing";
        let state = "target tiny 0 4\ndeploy acme/a x1 v2 reverts deadline 60";
        check(
            state,
            world,
            expect![[r#"
            wait: deployment acme/a: the replica on a is not ready and its time is over; its image is missing
            wait: deployment acme/a: the version fails, its image is missing, and none is known that was healthy"#]],
        );
    }

    #[test]
    fn an_attempt_that_was_given_up_stays_so_until_the_document_says_otherwise() {
        let given_up = |first: &[&str]| world(first) + " reverted v2 0";
        let failing = given_up(&["starts acme/a v2 fails Exited", "runs acme/a v2"]);
        check(
            &state("reverts canary 1"),
            &failing,
            expect![[r#"
            assign acme/a to a generation 3 workload v1
            assign acme/a to b generation 3 workload v1
            wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)
            wait: deployment acme/a: workload v2 attempt 0 was given up: it exits; the one before it stays until the document changes"#]],
        );
        check(
            &state("reverts canary 1"),
            &given_up(&[]),
            expect![
                "wait: deployment acme/a: workload v2 attempt 0 was given up: it exits; the one before it stays until the document changes"
            ],
        );
        check(
            &state("reverts canary 1 attempt 1"),
            &given_up(&[]),
            expect![[r#"
                assign acme/a to a generation 3 workload v2
                wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version"#]],
        );
        let other = "target tiny 0 4\ndeploy acme/a x4 v3 reverts canary 1";
        check(
            other,
            &given_up(&[]),
            expect![[r#"
            assign acme/a to a generation 3 workload v3
            wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version"#]],
        );
    }

    /// As after the store was lost: that it was given up is known from status, and what ran before is in no commit any more.
    #[test]
    fn what_was_given_up_goes_nowhere_when_the_healthy_version_is_lost() {
        let lost = world(&["strays acme/a v1", "idle"]).replace("healthy v1", "reverted v2 0");
        check(
            &state("reverts canary 1"),
            &lost,
            expect![[r#"
            retire b in local: not needed
            wait: deployment acme/a: the replica on a is not ready
            wait: deployment acme/a: replicas not serving: 1, allowed: 2
            wait: deployment acme/a: the version fails, it exits, and none is known that was healthy
            wait: agent a: the replica on a cannot be changed now"#]],
        );
        check(
            &state("reverts canary 1 attempt 1"),
            &lost.replace("strays", "runs"),
            expect![[r#"
                assign acme/a to a generation 3 workload v2
                assign acme/a to b generation 2 workload v2
                wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version"#]],
        );
    }

    #[test]
    fn what_has_proved_good_on_all_replicas_is_noted_once() {
        let state = "target tiny 0 4\ndeploy acme/a x4 v1 reverts";
        let unknown = world(&[]).replace("rollout acme/a healthy v1", "");
        check(state, &unknown, expect!["settle acme/a at workload v1"]);
        check(state, &world(&[]), expect![[""]]);
        check(
            state,
            &(world(&[]) + " reverted v2 0"),
            expect!["settle acme/a at workload v1"],
        );
        check(
            state,
            &unknown.replace("agent d tiny #3 runs acme/a v1", ""),
            expect![[r#"
                launch tiny-9e21383a4f14 for tiny slot 3 generation 1 failures 0 size tiny in local by process under sim
                wait: deployment acme/a: agents missing: 1; ordered"#]],
        );
        check(
            "target tiny 0 4\ndeploy acme/a x4 v1",
            &unknown,
            expect![[""]],
        );
    }

    #[test]
    fn a_version_that_proved_good_is_not_given_up_later() {
        let state = "target tiny 0 4\ndeploy acme/a x4 v1 reverts deadline 60";
        check(
            state,
            &world(&["starts acme/a v1 fails Exited"]),
            expect![
                "wait: deployment acme/a: the replica on a is not ready and its time is over; it exits"
            ],
        );
    }

    #[test]
    fn several_more_may_be_there_so_that_nothing_is_taken_away() {
        let state = "target tiny 0 9\ndeploy acme/a x4 v2 unavailable 0 surge 2";
        let more = "\nagent e tiny #4 idle\nagent f tiny #5 idle\nagent g tiny #6 idle";
        check(
            state,
            &(world(&[]) + more),
            expect![[r#"
            retire g in local: not needed
            assign acme/a to e generation 2 workload v2
            assign acme/a to f generation 2 workload v2
            wait: deployment acme/a: replicas not serving: 0, allowed: 0"#]],
        );
        let started = "\nagent e tiny #4 starts acme/a v2\nagent f tiny #5 runs acme/a v2";
        check(
            state,
            &(world(&[]) + started),
            expect![[r#"
            unassign acme/a from a generation 3
            wait: deployment acme/a: the replica on e is not ready (until 2026-01-01T00:04:00Z)
            wait: deployment acme/a: replicas not serving: 0, allowed: 0"#]],
        );
        let both = "target tiny 0 9\ndeploy acme/a x4 v2 unavailable 1 surge 1";
        check(
            both,
            &(world(&[]) + more),
            expect![[r#"
            retire g in local: not needed
            assign acme/a to a generation 3 workload v2
            assign acme/a to e generation 2 workload v2
            wait: deployment acme/a: replicas not serving: 0, allowed: 1
            wait: agent f: goes when those before it have gone"#]],
        );
    }

    /// Four agents that run something undecided, as after the store was lost.
    fn strays(first: &[&str]) -> String {
        let text = world(first).replace("runs acme/a v1", "strays acme/a v1");
        text.replace("rollout acme/a healthy v1", "")
    }

    #[test]
    fn a_lost_store_skips_no_step() {
        check(
            &state("canary 1"),
            &strays(&[]),
            expect![[r#"
            assign acme/a to a generation 3 workload v2
            wait: deployment acme/a: the replica on a is not ready
            wait: deployment acme/a: the replica on b is not ready
            wait: deployment acme/a: the replica on c is not ready
            wait: deployment acme/a: the replica on d is not ready
            wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version
            wait: agent b: the replica on b cannot be changed now
            wait: agent c: the replica on c cannot be changed now
            wait: agent d: the replica on d cannot be changed now"#]],
        );
        check(
            &state("canary 1"),
            &strays(&["strays acme/a v2"]),
            expect![[r#"
                assign acme/a to a generation 3 workload v2
                wait: deployment acme/a: the replica on a is not ready
                wait: deployment acme/a: the replica on b is not ready
                wait: deployment acme/a: the replica on c is not ready
                wait: deployment acme/a: the replica on d is not ready
                wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version
                wait: agent b: the replica on b cannot be changed now
                wait: agent c: the replica on c cannot be changed now
                wait: agent d: the replica on d cannot be changed now"#]],
        );
        check(
            &state("canary 1"),
            &strays(&["starts acme/a v2"]),
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)
                wait: deployment acme/a: the replica on b is not ready
                wait: deployment acme/a: the replica on c is not ready
                wait: deployment acme/a: the replica on d is not ready
                wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version
                wait: agent b: the replica on b cannot be changed now
                wait: agent c: the replica on c cannot be changed now
                wait: agent d: the replica on d cannot be changed now"#]],
        );
        let paused = "target tiny 0 4\ndeploy acme/a x4 v2 unavailable 0 paused 60";
        check(
            paused,
            &strays(&[]),
            expect![[r#"
            wait: deployment acme/a: the replica on a is not ready
            wait: deployment acme/a: the replica on b is not ready
            wait: deployment acme/a: the replica on c is not ready
            wait: deployment acme/a: the replica on d is not ready
            wait: deployment acme/a: the roll-out is paused by ann: freeze (until 2026-01-01T00:01:00Z)
            wait: agent a: the replica on a cannot be changed now
            wait: agent b: the replica on b cannot be changed now
            wait: agent c: the replica on c cannot be changed now
            wait: agent d: the replica on d cannot be changed now"#]],
        );
    }

    #[test]
    fn a_lost_store_takes_none_away_where_none_may_be_away() {
        let state = "target tiny 0 9\ndeploy acme/a x4 v2 unavailable 0";
        check(
            state,
            &(strays(&[]) + "agent e tiny #4 idle"),
            expect![[r#"
                assign acme/a to e generation 2 workload v2
                wait: deployment acme/a: the replica on a is not ready
                wait: deployment acme/a: the replica on b is not ready
                wait: deployment acme/a: the replica on c is not ready
                wait: deployment acme/a: the replica on d is not ready
                wait: deployment acme/a: replicas not serving: 0, allowed: 0
                wait: agent a: the replica on a cannot be changed now
                wait: agent b: the replica on b cannot be changed now
                wait: agent c: the replica on c cannot be changed now
                wait: agent d: the replica on d cannot be changed now"#]],
        );
        check(
            state,
            &(strays(&[]) + "agent e tiny #4 starts acme/a v2"),
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready
                wait: deployment acme/a: the replica on b is not ready
                wait: deployment acme/a: the replica on c is not ready
                wait: deployment acme/a: the replica on d is not ready
                wait: deployment acme/a: the replica on e is not ready (until 2026-01-01T00:04:00Z)
                wait: deployment acme/a: replicas not serving: 0, allowed: 0
                wait: agent a: the replica on a cannot be changed now
                wait: agent b: the replica on b cannot be changed now
                wait: agent c: the replica on c cannot be changed now
                wait: agent d: the replica on d cannot be changed now"#]],
        );
        check(
            state,
            &(strays(&[]) + "agent e tiny #4 runs acme/a v2"),
            expect![[r#"
                unassign acme/a from a generation 3
                wait: deployment acme/a: the replica on a is not ready
                wait: deployment acme/a: the replica on b is not ready
                wait: deployment acme/a: the replica on c is not ready
                wait: deployment acme/a: the replica on d is not ready
                wait: deployment acme/a: replicas not serving: 0, allowed: 0
                wait: agent b: the replica on b cannot be changed now
                wait: agent c: the replica on c cannot be changed now
                wait: agent d: the replica on d cannot be changed now"#]],
        );
    }

    #[test]
    fn what_pauses_for_a_moment_keeps_its_version_where_none_is_known_to_be_healthy() {
        let unknown = |first: &[&str]| world(first).replace("rollout acme/a healthy v1", "");
        check(
            &state("canary 1"),
            &unknown(&["starts acme/a v2", "starts acme/a v1"]),
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)
                wait: deployment acme/a: the replica on b is not ready (until 2026-01-01T00:04:00Z)
                wait: deployment acme/a: the canary, 1 of 4, has to prove good before others get the version"#]],
        );
        check(
            &state("paused 60"),
            &unknown(&["starts acme/a v1"]),
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready (until 2026-01-01T00:04:00Z)
                wait: deployment acme/a: the roll-out is paused by ann: freeze (until 2026-01-01T00:01:00Z)"#]],
        );
        check(
            &state("reverts deadline 60"),
            &unknown(&["starts acme/a v2 fails Exited", "starts acme/a v1"]),
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready and its time is over; it exits
                wait: deployment acme/a: the replica on b is not ready and its time is over
                wait: deployment acme/a: replicas not serving: 2, allowed: 2
                wait: deployment acme/a: the version fails, it exits, and none is known that was healthy"#]],
        );
    }

    #[test]
    fn a_replica_that_cannot_be_placed_takes_nothing_of_a_step() {
        let state = "target tiny 0 4\ndeploy acme/a x5 v2 unavailable 2 canary 1 wave 60";
        check(
            state,
            &world(&[]),
            expect![[r#"
            assign acme/a to a generation 3 workload v2
            wait: deployment acme/a: the canary, 1 of 5, has to prove good before others get the version
            wait: deployment acme/a: agents missing: 1; the maximum is reached"#]],
        );
        check(
            state,
            &world(&["runs acme/a v2", "runs acme/a v2"]),
            expect![[r#"
                assign acme/a to c generation 3 workload v2
                wait: deployment acme/a: wave 1, 3 of 5, has to prove good before others get the version
                wait: deployment acme/a: agents missing: 1; the maximum is reached"#]],
        );
    }

    #[test]
    fn a_version_proves_good_where_it_is_although_one_replica_cannot_be_placed() {
        let state =
            |deadline| format!("target tiny 0 4\ndeploy acme/a x5 v2 reverts deadline {deadline}");
        let good = ["runs acme/a v2"; 4];
        check(
            &state(60),
            &world(&good),
            expect![[r#"
            settle acme/a at workload v2
            wait: deployment acme/a: agents missing: 1; the maximum is reached"#]],
        );
        check(
            &state(61),
            &world(&good),
            expect!["wait: deployment acme/a: agents missing: 1; the maximum is reached"],
        );
        check(
            &state(60),
            &world(&good[1..]),
            expect![[r#"
            wait: deployment acme/a: replicas not serving: 1, allowed: 1
            wait: deployment acme/a: agents missing: 1; the maximum is reached"#]],
        );
    }
}
