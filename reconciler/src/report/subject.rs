//! The message of a status commit: its subject says what changed, its trailers what it belongs to.

use std::fmt::Write;

use serde::Serialize;

use super::Status;
use crate::words::{plural, ready};

/// The longest subject, as Git's users expect it.
const SUBJECT: usize = 72;

/// So many changes are listed in the body.
const LINES: usize = 40;

/// Subject, body and trailers.
pub fn message(status: &Status, previous: Option<&Status>) -> String {
    let changes = changes(status, previous);
    let mut message = subject(&changes);
    message.push_str("\n\n");
    if changes.len() > 1 {
        for change in changes.iter().take(LINES) {
            let _ = writeln!(message, "- {change}");
        }
        if changes.len() > LINES {
            let _ = writeln!(message, "- and {} more", changes.len() - LINES);
        }
        message.push('\n');
    }
    let fleet = &status.fleet;
    let _ = writeln!(message, "Desired-Commit: {}", fleet.desired_commit);
    let _ = writeln!(message, "Plan-Digest: {}", fleet.plan_digest);
    let _ = writeln!(message, "Seen-At: {}", status.at);
    let _ = writeln!(message, "Fleet: {}", fleet.fleet);
    message
}

fn subject(changes: &[String]) -> String {
    let text = match changes {
        [] => "status: details".into(),
        [only] => format!("status: {only}"),
        [first, rest @ ..] => format!("status: {first}, and {} more", rest.len()),
    };
    if text.chars().count() <= SUBJECT {
        return text;
    }
    let cut: String = text.chars().take(SUBJECT - 1).collect();
    format!("{cut}…")
}

/// What a person would want to know first, most telling first.
fn changes(status: &Status, previous: Option<&Status>) -> Vec<String> {
    let mut changes = Vec::new();
    let held = |status: &Status| status.fleet.held.len();
    if held(status) > previous.map_or(0, held) {
        changes.push(format!(
            "{} held for approval",
            plural(held(status), "plan")
        ));
    }
    if previous.map(|previous| &previous.problems) != Some(&status.problems) {
        match status.problems.as_slice() {
            [] if previous.is_some() => changes.push("no problems any more".into()),
            [] => {}
            [first, ..] => changes.push(format!(
                "{} in {}",
                plural(status.problems.len(), "problem"),
                first.file
            )),
        }
    }
    let known = previous.map_or(0, |previous| previous.fleet.refusals.len());
    if status.fleet.refusals.len() > known {
        changes.push(plural(status.fleet.refusals.len() - known, "request") + " refused");
    }
    for (id, now) in &status.deployments {
        let before = previous.and_then(|previous| previous.deployments.get(id));
        let changed = |before: &_| phase_of(before) != phase_of(&now.phase);
        if before.is_none_or(|before| changed(&before.phase) || before.ready != now.ready) {
            let phase = phase_of(&now.phase);
            changes.push(format!("{id} {phase}, {}", ready(now)));
        }
    }
    for (id, now) in &status.agents {
        let before = previous.and_then(|previous| previous.agents.get(id));
        if before.is_none_or(|before| before.phase != now.phase) {
            changes.push(format!("agent {id} {}", phase_of(&now.phase)));
        }
    }
    for (id, now) in &status.orders {
        let before = previous.and_then(|previous| previous.orders.get(id));
        if before.is_none_or(|before| before.phase != now.phase) {
            changes.push(format!("order {id} {}", now.phase));
        }
    }
    changes
}

fn phase_of<T: Serialize>(phase: &T) -> String {
    let value = serde_json::to_value(phase).ok();
    value
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
