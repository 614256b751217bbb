//! Rules of deployments: what an agent could not run, and what it would have to guess.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::super::walk::push_field;
use super::{Finding, Rule, at_least, find, rollout, secrets};
use crate::documents::{
    ComposeSource, ComposeWorkload, DeploymentSpec, Health, Probe, ProcessWorkload, Workload,
};

pub(super) const RULES: &[Rule<DeploymentSpec>] = &[
    (&[], process),
    (&[], compose),
    (&["/spec/placement"], placement),
    (&[WEB], web),
    (&["/spec/workload/process/env"], secrets::uses),
    (&[WEB], probe),
    (&[], health_interval),
    (&["/spec/rollout/waves"], rollout::waves),
    (&[], rollout::times),
];

const WEB: &str = "/spec/workload/compose/web";

fn process(spec: &DeploymentSpec, findings: &mut Vec<Finding>) {
    if let Workload::Process(ProcessWorkload { command, env, .. }) = &spec.workload {
        runnable(findings, "spec.workload.process.command", command);
        environment(findings, "/spec/workload/process/env", env, |name| {
            is_reserved(name).then_some("is set by the agent")
        });
    }
}

fn compose(spec: &DeploymentSpec, findings: &mut Vec<Finding>) {
    let Workload::Compose(ComposeWorkload { source, env, .. }) = &spec.workload else {
        return;
    };
    if let ComposeSource::Inline(text) = source
        && text.len() > ComposeSource::MAX
    {
        let pointer = "/spec/workload/compose/source/inline";
        let message = "`spec.workload.compose.source.inline` is larger than 64 KiB";
        find(findings, pointer, "too-large", message.into());
    }
    environment(findings, "/spec/workload/compose/env", env, |name| {
        is_the_engines(name).then_some("would steer the engine's own programs")
    });
}

fn web(spec: &DeploymentSpec, findings: &mut Vec<Finding>) {
    let Workload::Compose(workload) = &spec.workload else {
        return;
    };
    if workload.web.is_none() && spec.expose.is_some() {
        let message = "`spec.expose` needs `spec.workload.compose.web`, which names the service that is reached";
        find(findings, "/spec/expose", "no-web", message.into());
    }
}

/// What is allowed and denied at once was not meant so, whichever of both would win.
fn placement(spec: &DeploymentSpec, findings: &mut Vec<Finding>) {
    let of = &spec.placement;
    let datacenters = ("Datacenters", "datacenter-policy-conflict");
    disjoint(
        findings,
        datacenters,
        &of.allowed_datacenters,
        &of.denied_datacenters,
    );
    let clouds = ("Clouds", "cloud-policy-conflict");
    disjoint(findings, clouds, &of.allowed_clouds, &of.denied_clouds);
}

fn disjoint<T: PartialEq + Display>(
    findings: &mut Vec<Finding>,
    (what, code): (&str, &'static str),
    allowed: &[T],
    denied: &[T],
) {
    for (index, both) in denied.iter().enumerate() {
        if allowed.contains(both) {
            let message = format!(
                "`spec.placement.denied{what}[{index}]`: {both} is among `allowed{what}` too; take it out of one of them"
            );
            let pointer = format!("/spec/placement/denied{what}/{index}");
            find(findings, &pointer, code, message);
        }
    }
}

fn probe(spec: &DeploymentSpec, findings: &mut Vec<Finding>) {
    let Some(Health { probe, .. }) = &spec.health else {
        return;
    };
    if let Probe::Command(command) = probe {
        runnable(findings, "spec.health.probe.command", command);
    }
    let Workload::Compose(compose) = &spec.workload else {
        return;
    };
    match probe {
        Probe::Command(_) => {
            let message = "`spec.health.probe.command` is for processes; a service of a Compose file has a `healthcheck`";
            find(
                findings,
                "/spec/health/probe/command",
                "process-only",
                message.into(),
            );
        }
        Probe::Http(_) | Probe::Tcp {} if compose.web.is_none() => {
            let message = "`spec.health.probe` needs `spec.workload.compose.web`, which names the service that is asked";
            find(findings, "/spec/health/probe", "no-web", message.into());
        }
        Probe::Http(_) | Probe::Tcp {} => {}
    }
}

/// The operating system takes no empty program and no NUL.
fn runnable(findings: &mut Vec<Finding>, name: &str, command: &[String]) {
    let pointer = |index: usize| format!("/{}/{index}", name.replace('.', "/"));
    if command
        .first()
        .is_some_and(|program| program.trim().is_empty())
    {
        let message = format!("`{name}[0]`: expected a program, found an empty text");
        find(findings, &pointer(0), "empty-command", message);
    }
    for (index, argument) in command.iter().enumerate() {
        if argument.contains('\0') {
            let message = format!("`{name}[{index}]` contains a NUL character");
            find(findings, &pointer(index), "nul", message);
        }
    }
}

/// Variables that a document sets. `reserved` gives the reason why it may not set one of this name.
fn environment(
    findings: &mut Vec<Finding>,
    above: &str,
    env: &BTreeMap<String, String>,
    reserved: fn(&str) -> Option<&'static str>,
) {
    for (name, value) in env {
        let mut pointer = above.to_owned();
        push_field(&mut pointer, name);
        if !is_variable(name) {
            find(findings, &pointer, "variable-name", VARIABLE.into());
        } else if let Some(reason) = reserved(name) {
            let message = format!("environment variable {name} {reason}");
            find(findings, &pointer, "variable-reserved", message);
        }
        if value.contains('\0') {
            let message = "an environment variable's value contains a NUL character".into();
            find(findings, &pointer, "nul", message);
        }
    }
}

pub(super) const VARIABLE: &str =
    "environment variables are named with letters, digits and '_', not starting with a digit";

pub(super) fn is_variable(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(inner)
}

/// Names that the agent itself gives to processes.
pub(super) fn is_reserved(name: &str) -> bool {
    ["PORT", "PATH", "HOME"].contains(&name) || name.starts_with("EASYENCLAVE_")
}

/// Names that programs of an engine obey.
fn is_the_engines(name: &str) -> bool {
    let starts = [
        "COMPOSE_",
        "DOCKER_",
        "PODMAN_",
        "CONTAINERS_",
        "LD_",
        "EASYENCLAVE_",
    ];
    ["PATH", "HOME"].contains(&name) || starts.iter().any(|start| name.starts_with(start))
}

fn health_interval(spec: &DeploymentSpec, findings: &mut Vec<Finding>) {
    if let Some(health) = &spec.health {
        at_least(findings, "/spec/health/interval", health.interval, "100ms");
        at_least(findings, "/spec/health/timeout", health.timeout, "10ms");
    }
}
