//! Counts in words, the same on the status branch, in its commits and on the command line.

use easyenclave_schemas::status::{DeploymentPhase, DeploymentStatus};

/// So many of a thing, whose plural ends in an s.
pub(crate) fn plural(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

/// How much of a deployment is ready; of one that is going, how much is left.
pub(crate) fn ready(deployment: &DeploymentStatus) -> String {
    match deployment.phase {
        DeploymentPhase::Removing => plural(deployment.assigned as usize, "replica") + " left",
        DeploymentPhase::Stopped => "no replicas wanted".into(),
        _ => of(deployment.ready, deployment.wanted, "ready"),
    }
}

/// How much of what is wanted is so; there may be more than that.
pub(crate) fn of(count: u32, wanted: u32, what: &str) -> String {
    match count <= wanted {
        true => format!("{count} of {wanted} {what}"),
        false => format!("{count} {what}, {wanted} wanted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_that_goes_says_what_is_left_and_one_that_is_stopped_that_nothing_is_wanted() {
        let mut deployment = DeploymentStatus {
            deployment: "acme/web".parse().expect("a name"),
            phase: DeploymentPhase::Removing,
            workload: None,
            wanted: 0,
            assigned: 3,
            updated: 0,
            ready: 3,
            replicas: Vec::new(),
            conditions: Vec::new(),
            waits: Vec::new(),
        };
        assert_eq!(ready(&deployment), "3 replicas left");
        deployment.assigned = 1;
        assert_eq!(ready(&deployment), "1 replica left");
        deployment.phase = DeploymentPhase::Stopped;
        assert_eq!(ready(&deployment), "no replicas wanted");
        deployment.phase = DeploymentPhase::Running;
        (deployment.wanted, deployment.ready) = (1, 1);
        assert_eq!(ready(&deployment), "1 of 1 ready");
        deployment.ready = 3;
        assert_eq!(ready(&deployment), "3 ready, 1 wanted");
    }
}
