//! `easyenclave status`: what is.

use serde::Serialize;

use easyenclave_schemas::status::{
    AgentPhase, AgentStatus, CapacityStatus, ConditionStatus, DeploymentPhase, DeploymentStatus,
    FleetStatus, OrderStatus, ProblemStatus, WaitStatus,
};

use super::hint::Hints;
use super::seen::Seen;
use super::style::{BAD, BUSY, DIM, GOOD, HEAD, paint};
use super::{Ended, Output, exit, held, launch, out, read, why};
use crate::clock::{Clock, System};
use crate::report::Status;
use crate::words::{self, plural};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    from: read::From,
    /// How the status is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The stable shape of `--output json`; `docs/status.md` describes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<&'a Seen>,
    fleet: &'a FleetStatus,
    deployments: Vec<&'a DeploymentStatus>,
    agents: Vec<&'a AgentStatus>,
    orders: Vec<&'a OrderStatus>,
    targets: Vec<&'a CapacityStatus>,
    problems: &'a [ProblemStatus],
}

impl<'a> Document<'a> {
    /// All of a status.
    pub(super) fn of(status: &'a Status, seen: Option<&'a Seen>) -> Self {
        Self {
            seen,
            fleet: &status.fleet,
            deployments: status.deployments.values().collect(),
            agents: status.agents.values().collect(),
            orders: status.orders.values().collect(),
            targets: status.capacity.values().collect(),
            problems: &status.problems,
        }
    }
}

pub(super) async fn run(args: Args) -> Ended {
    let read::Shown { status, seen } = args.from.status().await?;
    match args.output {
        Output::Json => {
            let document = Document::of(&status, Some(&seen));
            out::data(&(serde_json::to_string_pretty(&document)? + "\n"))?;
        }
        Output::Text => {
            let origin = seen.lines(&status, System.now());
            out::answer(text(&status, &origin, &args.from.hints()))?;
        }
    }
    Ok(exit::OK)
}

/// The whole, with why each thing that is not as it should be is not, in a line or two; `why` has all of it.
fn text(status: &Status, origin: &[String], hints: &Hints) -> String {
    let mut lines = vec![head(&status.fleet)];
    lines.extend_from_slice(origin);
    lines.extend(wrong(status, hints));
    let deployments = status.deployments.values();
    let targets = status.capacity.values();
    lines.extend(section(
        "deployments",
        deployments.map(|row| deployment(status, row)),
    ));
    lines.extend(section("targets", targets.map(|row| target(status, row))));
    let reservations: Vec<_> = status.capacity.values().flat_map(reservations).collect();
    if !reservations.is_empty() {
        lines.extend(section("reservations", reservations.into_iter()));
    }
    lines.extend(section("agents", status.agents.values().map(agent)));
    let under_way = |order: &&OrderStatus| order.phase != "fulfilled";
    let orders: Vec<_> = status
        .orders
        .values()
        .filter(under_way)
        .map(order)
        .collect();
    if !orders.is_empty() {
        lines.extend(section("orders", orders.into_iter()));
    }
    lines.join("\n") + "\n"
}

fn section(title: &str, rows: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let title = paint(HEAD, format_args!("\n{title}"));
    std::iter::once(title).chain(rows.flatten()).collect()
}

fn head(fleet: &FleetStatus) -> String {
    format!(
        "{}  desired {:.12}  plan {}",
        paint(HEAD, format_args!("fleet {}", fleet.fleet)),
        fleet.desired_commit,
        fleet.plan_digest.short(12)
    )
}

/// What is wrong with the fleet as a whole.
fn wrong(status: &Status, hints: &Hints) -> Vec<String> {
    let fleet = &status.fleet;
    let mut lines = Vec::new();
    for condition in &fleet.conditions {
        if condition.status != ConditionStatus::True {
            let word = format!("{:?}: {}", condition.kind, condition.reason);
            lines.push(format!("{} {}", paint(BAD, word), condition.message));
        }
    }
    for held in &fleet.held {
        lines.push(format!("{} {}", paint(BAD, "held"), held.reason));
        let below = held::below(held, hints);
        lines.extend(below.iter().map(|line| format!("     {line}")));
    }
    for problem in &status.problems {
        let place = format!("{}:{}:{}", problem.file, problem.line, problem.column);
        let word = paint(BAD, "problem");
        lines.push(format!("{word} {place}: {}", problem.message));
    }
    for short in &fleet.shortages {
        let word = paint(BAD, "short");
        let (spot, cause, until) = (&short.spot, short.cause, short.until);
        lines.push(format!("{word} {spot}: {cause} (until {until})"));
    }
    for refusal in &fleet.refusals {
        let word = paint(BAD, "refused");
        let (code, subject) = (&refusal.code, &refusal.subject);
        let (message, at) = (short(&refusal.message), refusal.first_at);
        lines.push(format!(
            "{word} {subject}: {code}: {message} (first at {at})"
        ));
    }
    if !fleet.sightings.is_empty() {
        let images = plural(fleet.sightings.len(), "unknown image");
        let measure = hints.line("measure");
        lines.push(format!("{} {images} seen: {measure}", paint(BAD, "image")));
    }
    lines
}

fn deployment(status: &Status, row: &DeploymentStatus) -> Vec<String> {
    let style = match row.phase {
        DeploymentPhase::Running | DeploymentPhase::Stopped => GOOD,
        _ => BUSY,
    };
    let name = row.deployment.to_string();
    let phase = paint(style, format_args!("{:<11}", word(&row.phase)));
    let addresses = addresses(row).map(|urls| paint(DIM, format_args!("  {urls}")));
    let (ready, urls) = (words::ready(row), addresses.unwrap_or_default());
    let mut lines = vec![format!("  {name:<30} {phase}  {ready}{urls}")];
    lines.extend(row.waits.iter().map(wait));
    let complaints = why::complaints(status, row);
    lines.extend(complaints.iter().map(|said| reason(said)));
    lines
}

fn addresses(row: &DeploymentStatus) -> Option<String> {
    let urls = row.replicas.iter().filter_map(|one| one.url.as_deref());
    let urls = row.url.as_deref().into_iter().chain(urls);
    let urls: Vec<_> = urls.collect();
    match urls.as_slice() {
        [] => None,
        [only] => Some((*only).into()),
        [first, rest @ ..] => Some(format!("{first} and {} more", rest.len())),
    }
}

fn target(status: &Status, row: &CapacityStatus) -> Vec<String> {
    let head = format!(
        "  {:<30} {:<11}  {}, {} in use, {} idle, {} ordered, at most {}",
        row.target.to_string(),
        row.phase,
        plural(row.agents as usize, "agent"),
        row.assigned,
        row.idle,
        row.pending,
        row.max
    );
    let mut lines = vec![head];
    lines.extend(row.waits.iter().map(wait));
    let rests = row.waits.iter().any(|wait| wait.reason == "LaunchBackoff");
    let failed = launch::last_failed(status, &row.target).filter(|_| rests);
    let why = failed.and_then(launch::failure);
    lines.extend(why.map(|why| reason(&format!("the last launch failed: {why}"))));
    lines
}

fn reservations(row: &CapacityStatus) -> impl Iterator<Item = Vec<String>> {
    row.reservations.iter().map(move |one| {
        let name = one.reservation.to_string();
        let head = format!("  {name:<30} {}", why::reserved(row, one));
        let waits = one.waits.iter().map(wait);
        std::iter::once(head).chain(waits).collect()
    })
}

fn agent(row: &AgentStatus) -> Vec<String> {
    let style = match row.phase {
        AgentPhase::Running | AgentPhase::Idle => GOOD,
        AgentPhase::Quarantined | AgentPhase::Lost => BAD,
        _ => BUSY,
    };
    let phase = paint(style, format_args!("{:<11}", word(&row.phase)));
    let trust = format!("{}{}", row.trust.state, row.trust.stamp());
    let runs = row.assigned.as_ref().map(|a| a.deployment.to_string());
    let (name, runs) = (row.agent.to_string(), runs.unwrap_or_default());
    let head = format!("  {name:<30} {phase}  {trust}  {runs}");
    let mut lines = vec![head.trim_end().to_owned()];
    let conditions = row.conditions.iter();
    let failed = conditions.filter(|one| one.status != ConditionStatus::True);
    let said = failed.filter(|one| !one.message.is_empty());
    lines.extend(said.map(|one| reason(&one.message)));
    // Why it is in quarantine may stand above.
    let said = lines.len() > 1;
    let twice = |wait: &&WaitStatus| said && wait.reason == "InQuarantine" && wait.until.is_none();
    let waits = row.waits.iter().filter(|wait| !twice(wait));
    lines.extend(waits.map(wait));
    lines
}

fn order(row: &OrderStatus) -> Vec<String> {
    let head = format!("  {:<30} {}", row.order.to_string(), row.phase);
    let mut lines = vec![head];
    lines.extend(launch::failure(row).map(|failure| reason(&failure)));
    lines.extend(row.waits.iter().map(wait));
    lines
}

fn wait(wait: &WaitStatus) -> String {
    let until = wait.until.map(|until| format!(" (until {until})"));
    reason(&format!(
        "waits: {}{}",
        wait.message,
        until.unwrap_or_default()
    ))
}

/// Below the thing that it is about.
fn reason(text: &str) -> String {
    format!("      {}", short(text))
}

/// One line of bounded length. Of digests it shows the first digits; `why` shows them whole.
fn short(text: &str) -> String {
    const LONGEST: usize = 200;
    let digest = |word: &str| word.len() >= 40 && word.chars().all(|c| c.is_ascii_hexdigit());
    let cut = |word: &str| match digest(word) {
        true => format!("{word:.12}…"),
        false => word.to_owned(),
    };
    let line: String = text.chars().filter(|c| !c.is_control()).collect();
    let line = line.split(' ').map(cut).collect::<Vec<_>>().join(" ");
    match line.chars().count() > LONGEST {
        true => line.chars().take(LONGEST).chain(['…']).collect(),
        false => line,
    }
}

fn word(phase: &impl std::fmt::Debug) -> String {
    format!("{phase:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use easyenclave_schemas::status::{Condition, ConditionType};
    use expect_test::expect;

    use super::*;
    use crate::cli::samples;
    use crate::cli::seen::{Reconciler, Signature};

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_status_says_its_age_and_why_each_thing_is_not_as_it_should_be() {
        let status = samples::status();
        let seen = samples::seen(Signature::Good, Reconciler::Answers);
        let now = samples::noon().plus(Duration::from_secs(12));
        let origin = seen.lines(&status, now);
        let text = plain(&text(&status, &origin, &Hints::default()));
        expect![[r#"
            fleet demo  desired cccccccccccc  plan 33c71b83a681
            as of 2027-01-15T08:00:00Z, 12 s ago  commit 012345678901  signature good
            short cloud in far zone far-a shape c3-4: the place has no room (until 2027-01-15T08:01:00Z)

            deployments
              acme/hello                     running      1 of 1 ready  http://127.0.0.1:40000/
              acme/hello-again               pending      0 of 2 ready
                  waits: launches failed in a row: 1; the place has no room (until 2027-01-15T08:00:02Z)

            targets
              tiny                           scaling      2 agents, 1 in use, 0 idle, 1 ordered, at most 32
                  waits: agents missing: 1; machines are there whose agents may register again
                  waits: launches failed in a row: 1; the place has no room (until 2027-01-15T08:00:02Z)
                  the last launch failed: the place has no room: no room

            agents
              tiny-5e62aa4020c4              running      accepted (simulated)  acme/hello
              tiny-9059dc068de8              retired      accepted (simulated)
                  waits: the machine is being destroyed

            orders
              tiny-06801d414c42              open
                  waits: its agent has not registered yet (until 2027-01-15T08:01:00Z)
              tiny-9059dc068de8-x            open
              tiny-9c08a45e4bcf              failed
                  the place has no room: no room
        "#]].assert_eq(&text);
    }

    #[test]
    fn a_reservation_is_shown_with_its_end() {
        let status = samples::with_reservation();
        let text = plain(&text(&status, &[], &Hints::default()));
        let part = text
            .split("\n\n")
            .find(|part| part.starts_with("reservations"));
        expect![[r#"
            reservations
              acme/gold                      kept: 2 on tiny
                  waits: ends; agents of target tiny reserved until then: 2 (until 2027-01-15T08:00:00Z)"#]]
        .assert_eq(part.expect("a section"));
    }

    #[test]
    fn refused_evidence_shows_its_code_in_the_status() {
        let status = samples::status();
        let mut row = status.agents.values().next().expect("an agent").clone();
        row.conditions = vec![Condition {
            kind: ConditionType::Attested,
            status: ConditionStatus::False,
            reason: "Refused".into(),
            message: format!("EE-ATT-014: the MRTD {} is not trusted", "ab".repeat(48)),
            last_transition: samples::noon(),
        }];
        let lines = agent(&row);
        assert_eq!(
            lines[1],
            "      EE-ATT-014: the MRTD abababababab… is not trusted"
        );
    }
}
