//! A plan for people, for a pull request's comment, and for programs.

use std::fmt::Write;

use serde_json::json;

use super::plan::Preview;
use super::style::{BAD, BUSY, DIM, GOOD, HEAD, paint};

/// The longest comment; GitHub takes 65,535 characters.
const COMMENT: usize = 65_000;

/// With colours, for a terminal.
pub(super) fn text(preview: &Preview) -> String {
    let mut text = String::new();
    let head = format!("plan for {:.12}", preview.head.to_string());
    let _ = writeln!(text, "{}  digest {}", paint(HEAD, head), preview.digest);
    for problem in &preview.problems {
        let place = format!("{}:{}:{}", problem.file, problem.line, problem.column);
        let _ = writeln!(
            text,
            "{} {place}: {}",
            paint(BAD, "problem"),
            problem.message
        );
    }
    for change in &preview.changes {
        let _ = writeln!(text, "  {change}");
    }
    for line in &preview.trust {
        let _ = writeln!(text, "{} {line}", paint(BAD, "trust"));
    }
    for line in &preview.weakened {
        let _ = writeln!(text, "{} {line}", paint(BAD, "weak"));
    }
    for action in &preview.plan.actions {
        let line = action.to_string();
        if preview.anyway.contains(&line) {
            let _ = writeln!(
                text,
                "  {}",
                paint(DIM, format!("{line} (without the change too)"))
            );
        } else {
            let _ = writeln!(text, "  {}", paint(GOOD, line));
        }
    }
    for held in &preview.plan.held {
        let _ = writeln!(
            text,
            "{} {} (digest {})",
            paint(BAD, "held"),
            held.reason,
            held.digest
        );
        for action in &held.actions {
            let _ = writeln!(text, "  {}", paint(BAD, action));
        }
    }
    for wait in &preview.plan.waits {
        let _ = writeln!(text, "  {} {wait}", paint(BUSY, "wait"));
    }
    if preview.plan.actions.is_empty() && preview.plan.held.is_empty() {
        let _ = writeln!(text, "  nothing to do");
    }
    text
}

/// For a comment: bounded, the digest always in it.
pub(super) fn markdown(preview: &Preview) -> String {
    let mut page = String::new();
    let actions = preview.plan.actions.len();
    let held: usize = preview
        .plan
        .held
        .iter()
        .map(|held| held.actions.len())
        .sum();
    let _ = writeln!(page, "### EasyEnclave plan\n");
    let _ = writeln!(
        page,
        "Revision `{:.12}`: {actions} actions, {held} held, {} waits, {} problems. \
         Digest `{}`.\n",
        preview.head.to_string(),
        preview.plan.waits.len(),
        preview.problems.len(),
        preview.digest
    );
    let problems = preview.problems.iter().map(|problem| {
        format!(
            "{}:{}:{}: {}",
            problem.file, problem.line, problem.column, problem.message
        )
    });
    section(&mut page, "Problems", problems);
    section(&mut page, "Changes", preview.changes.iter().cloned());
    section(
        &mut page,
        "Agents judged otherwise",
        preview.trust.iter().cloned(),
    );
    section(
        &mut page,
        "Weakened checks",
        preview.weakened.iter().cloned(),
    );
    let lines = preview.plan.actions.iter().map(ToString::to_string);
    let (anyway, new): (Vec<_>, Vec<_>) = lines.partition(|line| preview.anyway.contains(line));
    section(&mut page, "Actions", new.into_iter());
    for held in &preview.plan.held {
        let title = format!(
            "Held: {} (digest `{}`)",
            fence(&held.reason.to_string()),
            held.digest
        );
        section(
            &mut page,
            &title,
            held.actions.iter().map(ToString::to_string),
        );
    }
    section(&mut page, "Without the change too", anyway.into_iter());
    section(
        &mut page,
        "Waits",
        preview.plan.waits.iter().map(ToString::to_string),
    );
    page
}

/// For programs, under stable names.
pub(super) fn json(preview: &Preview) -> anyhow::Result<String> {
    let lines = |actions: &[easyenclave_plan::Action]| -> Vec<String> {
        actions.iter().map(ToString::to_string).collect()
    };
    let held: Vec<_> = preview
        .plan
        .held
        .iter()
        .map(|held| {
            json!({
                "digest": held.digest,
                "reason": held.reason.to_string(),
                "actions": lines(&held.actions),
            })
        })
        .collect();
    let waits: Vec<_> = preview
        .plan
        .waits
        .iter()
        .map(|wait| {
            json!({
                "subject": wait.subject.to_string(),
                "reason": wait.reason.code(),
                "message": wait.reason.to_string(),
                "until": wait.until,
            })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&json!({
        "revision": preview.head.to_string(),
        "digest": preview.digest,
        "changes": preview.changes,
        "trust": preview.trust,
        "weakened": preview.weakened,
        "actions": lines(&preview.plan.actions),
        "anyway": preview.anyway,
        "held": held,
        "waits": waits,
        "problems": preview.problems,
    }))?)
}

/// A block of lines, cut where the page would grow too long.
fn section(page: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() {
        return;
    }
    // What this block needs beside its lines: the title, the fences, and the note that it was cut.
    let frame = title.chars().count() + 80;
    let mut room = COMMENT.saturating_sub(page.chars().count() + frame);
    let _ = writeln!(page, "#### {title}\n\n```text");
    let mut shown = 0;
    for line in &lines {
        let line = fence(line);
        let length = line.chars().count() + 1;
        if length > room {
            break;
        }
        room -= length;
        shown += 1;
        let _ = writeln!(page, "{line}");
    }
    let _ = writeln!(page, "```\n");
    if shown < lines.len() {
        let _ = writeln!(page, "… and {} more.\n", lines.len() - shown);
    }
}

/// Text from outside cannot end the block that it stands in.
fn fence(line: &str) -> String {
    line.chars()
        .filter(|c| !c.is_control())
        .collect::<String>()
        .replace("```", "'''")
}
