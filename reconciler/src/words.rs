//! Counts in words, the same on the status branch, in its commits and on the command line.

use std::time::Duration;

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
        DeploymentPhase::Frozen => {
            plural(deployment.assigned as usize, "replica") + " kept as before"
        }
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

/// A span of time in one unit, or two where the second tells something.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours % 24, minutes % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (1, 0, _) => "1 day".into(),
        (1, hours, _) => format!("1 day {hours} h"),
        _ => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_time_reads_well() {
        let said = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(said(0), "0 s");
        assert_eq!(said(59), "59 s");
        assert_eq!(said(61), "1 min");
        assert_eq!(said(3600), "1 h");
        assert_eq!(said(3 * 3600 + 120), "3 h 2 min");
        assert_eq!(said(86_400), "1 day");
        assert_eq!(said(86_400 + 7200), "1 day 2 h");
        assert_eq!(said(3 * 86_400 + 7200), "3 days");
    }

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
            rollout: None,
            history: Vec::new(),
            hostname: None,
            url: None,
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
