//! `easyenclave why NAME`: why something is not moving, in the words of the plan.

use std::collections::BTreeSet;

use easyenclave_schemas::status::{
    Condition, ConditionStatus, ConditionType, DeploymentStatus, WaitStatus,
};
use easyenclave_schemas::wire::WorkloadState;
use serde::Serialize;

use super::style::{BAD, GOOD, HEAD, paint};
use super::{Ended, Output, exit, out, read};
use crate::report::Status;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A deployment or reservation (owner/name or name), agent, order, target or document's file
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    from: read::From,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// One thing by that name, and all that is known of why it does not move.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    kind: &'static str,
    name: String,
    phase: String,
    conditions: Vec<Condition>,
    waits: Vec<WaitStatus>,
    /// Held plans and problems that name it, and what agents say of its replicas.
    notes: Vec<String>,
}

pub(super) async fn run(args: Args) -> Ended {
    let status = args.from.status().await?;
    let answers = answers(&status, &args.name);
    match args.output {
        Output::Json => out::answer(serde_json::to_string_pretty(&answers)? + "\n")?,
        Output::Text => out::answer(answers.iter().map(text).collect::<String>())?,
    }
    if answers.is_empty() {
        anyhow::bail!("nothing is named {}: see `easyenclave status`", args.name);
    }
    Ok(exit::OK)
}

fn answers(status: &Status, name: &str) -> Vec<Answer> {
    let mut answers = deployments(status, name);
    let agents = status.agents.iter().filter(|(id, _)| id.as_str() == name);
    answers.extend(agents.map(|(id, thing)| {
        let phase = format!("{:?}", thing.phase).to_lowercase();
        answer(
            status,
            "agent",
            id.to_string(),
            phase,
            &thing.conditions,
            &thing.waits,
        )
    }));
    answers.extend(reservations(status, name));
    let targets = status.capacity.iter().filter(|(id, _)| id.as_str() == name);
    answers.extend(targets.map(|(id, thing)| {
        let phase = thing.phase.clone();
        answer(
            status,
            "target",
            id.to_string(),
            phase,
            &thing.conditions,
            &thing.waits,
        )
    }));
    let orders = status.orders.iter().filter(|(id, _)| id.as_str() == name);
    answers.extend(orders.map(|(id, thing)| {
        let phase = thing.phase.clone();
        answer(
            status,
            "order",
            id.to_string(),
            phase,
            &thing.conditions,
            &thing.waits,
        )
    }));
    if answers.is_empty() && !notes(status, name).is_empty() {
        answers.push(answer(
            status,
            "document",
            name.into(),
            "rejected".into(),
            &[],
            &[],
        ));
    }
    answers
}

/// A deployment waits for what its replicas' agents wait for, too.
fn deployments(status: &Status, name: &str) -> Vec<Answer> {
    let named = status
        .deployments
        .iter()
        .filter(|(id, _)| id.to_string() == name || id.name.as_str() == name);
    named
        .map(|(id, thing)| {
            let agents = thing
                .replicas
                .iter()
                .filter_map(|one| status.agents.get(&one.agent));
            let mut waits = thing.waits.clone();
            waits.extend(agents.flat_map(|agent| agent.waits.iter().cloned()));
            let mut alike = BTreeSet::new();
            waits.retain(|wait| alike.insert((wait.reason.clone(), wait.message.clone())));
            let phase = format!("{:?}", thing.phase).to_lowercase();
            let mut answer = answer(
                status,
                "deployment",
                id.to_string(),
                phase,
                &thing.conditions,
                &waits,
            );
            answer.notes.extend(complaints(status, thing));
            answer
        })
        .collect()
}

fn reservations(status: &Status, name: &str) -> Vec<Answer> {
    let all = status.capacity.values().flat_map(|target| {
        let on_target = move |one| (target, one);
        target.reservations.iter().map(on_target)
    });
    let named = all.filter(|(_, one)| {
        let id = &one.reservation;
        id.to_string() == name || id.name.as_str() == name
    });
    named
        .map(|(target, one)| {
            let phase = match one.waits.is_empty() {
                true => format!("kept: {} on {}", one.count, target.target),
                false => format!("short of {} on {}", one.count, target.target),
            };
            let id = one.reservation.to_string();
            answer(status, "reservation", id, phase, &[], &one.waits)
        })
        .collect()
}

/// What agents say of replicas that are not ready: why a program does not start, or its probe fails.
fn complaints(status: &Status, thing: &DeploymentStatus) -> Vec<String> {
    let replicas = thing
        .replicas
        .iter()
        .filter_map(|one| Some((&one.agent, status.agents.get(&one.agent)?.replica.as_ref()?)));
    replicas
        .filter(|(_, replica)| replica.state != WorkloadState::Ready && !replica.message.is_empty())
        .map(|(agent, replica)| format!("on {agent}: {}", replica.message))
        .collect()
}

fn answer(
    status: &Status,
    kind: &'static str,
    name: String,
    phase: String,
    conditions: &[Condition],
    waits: &[WaitStatus],
) -> Answer {
    let notes = notes(status, &name);
    Answer {
        kind,
        name,
        phase,
        conditions: conditions.to_vec(),
        waits: waits.to_vec(),
        notes,
    }
}

fn notes(status: &Status, name: &str) -> Vec<String> {
    let held = status.fleet.held.iter().filter(|held| {
        held.actions
            .iter()
            .any(|action| action.split_whitespace().any(|word| word == name))
    });
    let held = held.map(|held| {
        format!(
            "held: {}; approve with `easyenclave approve {}`",
            held.reason, held.digest
        )
    });
    let problems = status
        .problems
        .iter()
        .filter(|problem| is_of(&problem.file, name));
    let problems = problems.map(|problem| {
        let place = format!("{}:{}:{}", problem.file, problem.line, problem.column);
        format!(
            "problem: {place}: {}; {}",
            problem.message, problem.consequence
        )
    });
    held.chain(problems).chain(lacking(status)).collect()
}

/// What verification lacks is nobody's own fault, and may be why anybody is not trusted.
fn lacking(status: &Status) -> Option<String> {
    let conditions = status.fleet.conditions.iter();
    let mut verifiable = conditions.filter(|condition| condition.kind == ConditionType::Verifiable);
    let lacking = verifiable.find(|condition| condition.status != ConditionStatus::True)?;
    Some(format!(
        "verification: {}: {}",
        lacking.reason, lacking.message
    ))
}

/// Whether a file is the one that is named: by its path, or by the last parts of it without the ending.
fn is_of(file: &str, name: &str) -> bool {
    let stem = file
        .strip_suffix(".yaml")
        .or_else(|| file.strip_suffix(".yml"));
    let is_end = |stem: &str| {
        let rest = stem.strip_suffix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    file == name || stem.is_some_and(is_end)
}

fn text(answer: &Answer) -> String {
    let head = format!("{} {} is {}", answer.kind, answer.name, answer.phase);
    let mut lines = vec![paint(HEAD, head)];
    for condition in &answer.conditions {
        let style = if condition.status == ConditionStatus::True {
            GOOD
        } else {
            BAD
        };
        let kind = paint(style, format!("{:<10}", format!("{:?}", condition.kind)));
        let since = condition.last_transition;
        let line = format!("  {kind} {} since {since}", condition.reason);
        lines.push(match condition.message.as_str() {
            "" => line,
            message => format!("{line}: {message}"),
        });
    }
    for wait in &answer.waits {
        let until = wait
            .until
            .map(|until| format!(" (until {until})"))
            .unwrap_or_default();
        lines.push(format!(
            "  waits for {}: {}{until}",
            wait.reason, wait.message
        ));
    }
    lines.extend(answer.notes.iter().map(|note| format!("  {note}")));
    if answer.waits.is_empty() && answer.notes.is_empty() {
        lines.push("  it waits for nothing".into());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_belongs_to_the_thing_of_its_whole_name() {
        assert!(is_of("capacity/tiny.yaml", "tiny"));
        assert!(is_of("capacity/tiny.yml", "tiny"));
        assert!(is_of("deployments/acme/web.yaml", "acme/web"));
        assert!(is_of(
            "deployments/acme/web.yaml",
            "deployments/acme/web.yaml"
        ));
        assert!(!is_of("capacity/not-tiny.yaml", "tiny"));
        assert!(!is_of("deployments/acme/web.yaml", "cme/web"));
        assert!(!is_of("tiny.md", "tiny"));
    }
}
