//! Rules of roll-outs: their waves go one way, and their times have bounds.

use super::{Finding, at_least, at_most, find};
use crate::documents::DeploymentSpec;

pub(super) fn waves(spec: &DeploymentSpec, findings: &mut Vec<Finding>) {
    for (index, pair) in spec.rollout.waves.windows(2).enumerate() {
        if let [before, wave] = pair
            && wave <= before
        {
            let index = index + 1;
            let message = format!(
                "`spec.rollout.waves[{index}]`: expected more than {before}, the wave before it, found {wave}"
            );
            find(
                findings,
                &format!("/spec/rollout/waves/{index}"),
                "not-rising",
                message,
            );
        }
    }
}

pub(super) fn times(spec: &DeploymentSpec, findings: &mut Vec<Finding>) {
    let rollout = &spec.rollout;
    if let Some(least) = rollout.min_healthy {
        at_most(findings, "/spec/rollout/minHealthy", least, "7d");
    }
    if let Some(deadline) = rollout.deadline {
        at_least(findings, "/spec/rollout/deadline", deadline, "1s");
        at_most(findings, "/spec/rollout/deadline", deadline, "7d");
    }
}
