//! How long a plan takes, beside the bars that it must hold: `cargo bench -p easyenclave-plan`. Prints medians and the
//! memory that the process used; it fails nothing, because a timed test fails on a slow day.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "a benchmark reads the clock and prints; only the planner itself may not"
)]

#[path = "../src/testing.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod testing;

use std::hint::black_box;
use std::time::{Duration, Instant};

use easyenclave_plan::*;
use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::{AgentId, DeploymentId, Generation};

use testing::{NOW, idle_agent, name, nothing, version};

/// Targets in a fleet of any size.
const TARGETS: u32 = 20;

/// How often each plan is made.
const RUNS: usize = 15;

fn main() {
    for (count, bar) in [(1_000, None), (10_000, Some(20)), (100_000, None)] {
        let (mut desired, observed) = fleet(count);
        let converged = plan(&desired, &observed, NOW);
        assert!(
            converged.is_empty() && converged.waits.is_empty(),
            "the fleet has converged"
        );
        report(
            &format!("{count} × {count}, converged"),
            &desired,
            &observed,
            bar,
        );
        change(&mut desired);
        report(
            &format!("{count} × {count}, 1 % changed"),
            &desired,
            &observed,
            bar,
        );
    }
    if let Some(peak) = peak_memory() {
        println!("peak memory of all of this: {peak}");
    }
}

fn report(what: &str, desired: &Desired, observed: &Observed, bar: Option<u64>) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            let plan = plan(black_box(desired), black_box(observed), NOW);
            let time = start.elapsed();
            black_box(plan);
            time
        })
        .collect();
    times.sort_unstable();
    let actions = plan(desired, observed, NOW).actions.len();
    let bar = bar.map_or_else(String::new, |bar| format!("  (bar: {bar} ms)"));
    println!(
        "{what:28} {:>9.2?}  {actions:>6} actions{bar}",
        times[RUNS / 2]
    );
}

/// Every deployment with one replica that runs, spread over targets and owners.
fn fleet(count: u32) -> (Desired, Observed) {
    let mut desired = nothing();
    let mut observed = Observed::default();
    for at in 0..TARGETS {
        let spec = format!("target pool-{at:02} 0 {}", count);
        desired.targets.extend(testing::desired(&spec).targets);
    }
    for at in 0..count {
        let id: DeploymentId = name(&format!("owner-{:03}/app-{at:06}", at % 500));
        desired.deployments.insert(id.clone(), deployment());
        let target = format!("pool-{:02}", at % TARGETS);
        let hash = version(&at.to_string()).short(12);
        let agent: AgentId = name(&format!("{target}-{hash}"));
        observed.agents.insert(agent, busy(&target, at, id));
    }
    (desired, observed)
}

fn deployment() -> Deployment {
    Deployment {
        workload: version("v1"),
        runtime: Runtime::Process,
        replicas: 1,
        size: name("tiny"),
        placement: Placement::default(),
        rollout: Rollout::default(),
        exposed: true,
    }
}

fn busy(target: &str, slot: u32, deployment: DeploymentId) -> Agent {
    let assigned = Assigned {
        deployment: deployment.clone(),
        workload: version("v1"),
        since: NOW,
    };
    Agent {
        assigned: Some(assigned),
        idle_since: None,
        reported: Reported::Running(Replica {
            generation: Generation(1),
            deployment: deployment.clone(),
            workload: version("v1"),
            ready: true,
            serving: None,
            ready_since: None,
            failing_since: None,
            cause: None,
        }),
        exposed: Exposure::Exposed(deployment),
        ..idle_agent(target, slot)
    }
}

/// One deployment in two hundred gets a new version, and as many are new: one in a hundred is not as wanted.
fn change(desired: &mut Desired) {
    let changed: Vec<DeploymentId> = desired.deployments.keys().step_by(200).cloned().collect();
    for id in changed {
        let fresh: DeploymentId = name(&format!("{id}-2"));
        desired.deployments.insert(fresh, deployment());
        let spec = desired.deployments.get_mut(&id).expect("it was listed");
        spec.workload = version("v2");
    }
}

/// The most memory that this process has had, where the system says so.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.trim_start_matches("VmHWM:").trim().to_owned())
}
