//! `easyenclave rollout`: how roll-outs stand, and what became of those before. Reads the status branch and changes
//! nothing: a roll-out is paused, and tried again, in its document.

use clap::Subcommand;
use easyenclave_schemas::status::{DeploymentPhase, DeploymentStatus, RolloutStatus};
use easyenclave_schemas::{PastRollout, RolloutOutcome, RolloutStep};
use serde::Serialize;

use super::style::{BAD, BUSY, DIM, GOOD, HEAD, paint};
use super::{Ended, Output, exit, out, read};
use crate::clock::{Clock, System};
use crate::report::Status;
use crate::words;

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Show what deployments aim at, how far each is, and what it waits for
    Status(Args),
    /// Show the last roll-outs of deployments, with the commit that asked for each and what became of it
    History(Args),
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A deployment (owner/name or name) [default: all]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    from: read::From,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// One deployment in JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    deployment: String,
    phase: DeploymentPhase,
    rollout: Option<&'a RolloutStatus>,
    history: &'a [PastRollout],
}

pub(super) async fn run(what: What) -> Ended {
    let (args, lines): (Args, fn(&DeploymentStatus) -> Vec<String>) = match what {
        What::Status(args) => (args, standing),
        What::History(args) => (args, past),
    };
    let read::Shown { status, seen } = args.from.status().await?;
    let rows = named(&status, args.name.as_deref());
    if rows.is_empty() && args.name.is_some() {
        let all = args.from.hints().line("status");
        let name = args.name.as_deref().unwrap_or_default();
        anyhow::bail!("no deployment is named {name}\n  `{all}` shows all names");
    }
    match args.output {
        Output::Json => {
            let rows: Vec<_> = rows.into_iter().map(row).collect();
            out::data(&(serde_json::to_string_pretty(&rows)? + "\n"))?;
        }
        Output::Text => {
            let mut text = seen.lines(&status, System.now());
            text.extend(rows.into_iter().flat_map(lines));
            out::answer(text.join("\n") + "\n")?;
        }
    }
    Ok(exit::OK)
}

fn row(status: &DeploymentStatus) -> Row<'_> {
    Row {
        deployment: status.deployment.to_string(),
        phase: status.phase,
        rollout: status.rollout.as_ref(),
        history: &status.history,
    }
}

/// The deployments of a name, or all of them.
pub(super) fn named<'s>(status: &'s Status, name: Option<&str>) -> Vec<&'s DeploymentStatus> {
    let all = status.deployments.values();
    let is_it = |one: &&DeploymentStatus| {
        let id = &one.deployment;
        name.is_none_or(|name| id.to_string() == name || id.name.as_str() == name)
    };
    all.filter(is_it).collect()
}

fn standing(status: &DeploymentStatus) -> Vec<String> {
    let name = status.deployment.to_string();
    let Some(rollout) = &status.rollout else {
        return vec![format!("{name:<30} not wanted any more")];
    };
    let given_up = rollout.reverted.as_ref();
    let given_up = given_up.filter(|revert| revert.attempt == rollout.attempt);
    let step = match given_up {
        Some(_) => paint(BAD, "reverted"),
        None if rollout.step == RolloutStep::Settled => paint(GOOD, "settled"),
        None => paint(BUSY, step(rollout.step)),
    };
    let of = status.wanted;
    let head = format!(
        "{}  {step}  {} of {of} of the wanted version, {}",
        paint(HEAD, format_args!("{name:<30}")),
        status.updated,
        words::ready(status)
    );
    let began = format!("since {} with commit {:.12}", rollout.since, rollout.commit);
    let mut lines = vec![head, paint(DIM, format_args!("    {began}"))];
    if let Some(revert) = given_up {
        let (from, to) = (revert.from.short(12), revert.to.short(12));
        let why = format!("{}: {from} was given up for {to}", revert.cause);
        lines.push(format!("    {} at {}", why, revert.at));
    }
    if let Some(pause) = &rollout.paused {
        let (owner, reason, until) = (&pause.owner, &pause.reason, pause.until);
        lines.push(format!("    paused by {owner} until {until}: {reason}"));
    }
    let waits = status.waits.iter();
    lines.extend(waits.map(|wait| format!("    waits: {}", wait.message)));
    lines
}

fn step(step: RolloutStep) -> String {
    match step {
        RolloutStep::Canary => "canary".into(),
        RolloutStep::Wave { number, of } => format!("wave {number} of {of}"),
        RolloutStep::All => "all".into(),
        RolloutStep::Settled => "settled".into(),
    }
}

fn past(status: &DeploymentStatus) -> Vec<String> {
    let head = paint(HEAD, &status.deployment);
    let newest_first = status.history.iter().rev();
    let lines = newest_first.map(|past| {
        let (word, style) = match past.outcome {
            RolloutOutcome::Settled => ("settled", GOOD),
            RolloutOutcome::Reverted => ("reverted", BAD),
            RolloutOutcome::Superseded => ("superseded", BUSY),
        };
        let (version, commit) = (past.version.short(12), &past.commit);
        let why = past.cause.map(|cause| format!(": {cause}"));
        format!(
            "    {}  {version}  commit {commit:.12}  {} to {}{}",
            paint(style, format_args!("{word:<10}")),
            past.from,
            past.to,
            why.unwrap_or_default()
        )
    });
    std::iter::once(head).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use easyenclave_schemas::wire::WorkloadCause;
    use easyenclave_schemas::{Digest, Revert};
    use expect_test::expect;

    use super::super::samples;
    use super::*;

    fn plain(lines: Vec<String>) -> String {
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn a_revert_says_what_for_and_a_history_has_the_newest_first() {
        let mut status = samples::status();
        let id = "acme/hello".parse().expect("a name");
        let row = status.deployments.get_mut(&id).expect("the deployment");
        let rollout = row.rollout.as_mut().expect("a roll-out");
        let (from, to) = (Digest::of(b"two"), Digest::of(b"one"));
        let (attempt, cause, at) = (rollout.attempt, WorkloadCause::Exited, rollout.since);
        rollout.reverted = Some(Revert {
            attempt,
            from,
            to,
            cause,
            at,
        });
        let mut second = row.history[0].clone();
        second.outcome = RolloutOutcome::Reverted;
        second.cause = Some(cause);
        row.history.push(second);
        expect![[r#"
            acme/hello                      reverted  1 of 1 of the wanted version, 1 of 1 ready
                since 2027-01-15T08:00:00Z with commit cccccccccccc
                it exits: 3fc4ccfe7458 was given up for 7692c3ad3540 at 2027-01-15T08:00:00Z"#]]
        .assert_eq(&plain(standing(row)));
        expect![[r#"
            acme/hello
                reverted    60087e30abae  commit cccccccccccc  2027-01-15T08:00:00Z to 2027-01-15T08:00:00Z: it exits
                settled     60087e30abae  commit cccccccccccc  2027-01-15T08:00:00Z to 2027-01-15T08:00:00Z"#]].assert_eq(&plain(past(row)));
    }
}
