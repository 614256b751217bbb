//! A plan for people, for a pull request's comment, and for programs.

use std::fmt::Write;

use easyenclave_plan::{Action, Hold};
use easyenclave_schemas::status::ProblemStatus;
use serde_json::json;

use super::changes::{self, Change};
use super::cost;
use super::out::is_harmful;
use super::plan::Preview;
use super::style::{BAD, BUSY, DIM, GOOD, HEAD, paint};
use crate::words::plural;

/// The longest comment; GitHub takes 65,535 characters.
const COMMENT: usize = 65_000;

/// Said of what the change has no part in.
const ANYWAY: &str = " (without the change too)";

/// With colours, for a terminal.
pub(super) fn text(preview: &Preview) -> String {
    let mut text = String::new();
    for alarm in loud(preview) {
        let _ = writeln!(text, "{}", paint(BAD, alarm));
    }
    let head = format!("plan for {:.12}", preview.head.to_string());
    let _ = writeln!(text, "{}  digest {}", paint(HEAD, head), preview.digest);
    let _ = writeln!(text, "{}", paint(DIM, &preview.against));
    for problem in &preview.problems {
        let line = of_problem(preview, problem);
        let _ = writeln!(text, "{} {line}", paint(BAD, "problem"));
    }
    for change in &preview.changes {
        let _ = writeln!(text, "  {change}");
    }
    for line in &preview.trust {
        let _ = writeln!(text, "{} {line}", paint(BAD, "trust"));
    }
    for line in &preview.simulated {
        let _ = writeln!(text, "{} {line}", paint(BUSY, "simulated"));
    }
    for line in &preview.weakened {
        let _ = writeln!(text, "{} {line}", paint(BAD, "weak"));
    }
    planned(preview, &mut text);
    text
}

/// What the plan does, holds and waits for.
fn planned(preview: &Preview, text: &mut String) {
    for action in &preview.plan.actions {
        let line = action.to_string();
        if preview.before.actions.contains(&line) {
            let _ = writeln!(text, "  {}", paint(DIM, line + ANYWAY));
        } else {
            let _ = writeln!(text, "  {}", paint(GOOD, line));
        }
    }
    for held in &preview.plan.held {
        let line = format!(
            "{} (digest {}){}",
            held.reason,
            held.digest,
            anyway(preview, held)
        );
        let _ = writeln!(text, "{} {line}", paint(BAD, "held"));
        for action in &held.actions {
            let _ = writeln!(text, "  {}", paint(BAD, action));
        }
    }
    for line in costs(preview) {
        let _ = writeln!(text, "{} {line}", paint(HEAD, "cost"));
    }
    for wait in &preview.plan.waits {
        let _ = writeln!(text, "  {} {wait}", paint(BUSY, "wait"));
    }
    if preview.plan.actions.is_empty() && preview.plan.held.is_empty() {
        let none = match preview.changes.is_empty() {
            true => "nothing to do",
            false => "no action follows",
        };
        let _ = writeln!(text, "  {none}");
    }
}

/// What machines cost more or less an hour.
fn costs(preview: &Preview) -> Vec<String> {
    let mut lines = cost::lines(&preview.cost);
    for line in &mut lines {
        if preview.before.cost.contains(line) {
            line.push_str(ANYWAY);
        }
    }
    lines
}

/// What stands first: what nobody may overlook, and what weakens the fleet's protection.
fn loud(preview: &Preview) -> Vec<String> {
    let weaker = changes::weaker(&preview.changes).into_iter();
    let weaker = weaker.map(|line| format!("WEAKER PROTECTION: {line}"));
    preview.alarms.iter().cloned().chain(weaker).collect()
}

/// For a comment: bounded, the digest always in it, what a person must look at first.
pub(super) fn markdown(preview: &Preview) -> String {
    let (actions, held) = (&preview.plan.actions, &preview.plan.held);
    let held: usize = held.iter().map(|held| held.actions.len()).sum();
    let alarms = preview.alarms.iter();
    let mut alarms: String = alarms.map(|alarm| format!("**{alarm}**\n\n")).collect();
    let weaker = preview.changes.iter().filter(|change| change.weakens());
    let weaker = weaker.count();
    if weaker > 0 {
        let weaker = plural(weaker, "change");
        alarms += &format!("**WEAKER PROTECTION: {weaker}, listed first**\n\n");
    }
    let head = format!(
        "### EasyEnclave plan\n\n{alarms}Revision `{:.12}`: {}, {held} held, {}, {}. \
         Digest `{}`.\n\n{}\n\n",
        preview.head.to_string(),
        plural(actions.len(), "action"),
        plural(preview.plan.waits.len(), "wait"),
        plural(preview.problems.len(), "problem"),
        preview.digest,
        preview.against
    );
    page(head, &sections(preview))
}

/// Titles with their lines, the most important first: a page that is too long is cut at its end.
fn sections(preview: &Preview) -> Vec<(String, Vec<String>)> {
    let lines = |actions: &[Action]| actions.iter().map(ToString::to_string).collect::<Vec<_>>();
    let of_problem = |problem| of_problem(preview, problem);
    let problems = preview.problems.iter().map(of_problem).collect();
    let text = |change: &Change| change.to_string();
    let weaker = changes::weaker(&preview.changes);
    let mut sections = vec![
        ("Weaker protection".to_owned(), weaker),
        ("Problems".to_owned(), problems),
    ];
    sections.extend(preview.plan.held.iter().map(|held| {
        let (reason, anyway) = (fence(&held.reason.to_string()), anyway(preview, held));
        let title = format!("Held: {reason} (digest `{}`){anyway}", held.digest);
        (title, lines(&held.actions))
    }));
    let trust = preview.trust.iter().cloned().collect();
    sections.push(("Agents judged otherwise".into(), trust));
    sections.push(("Simulated".into(), preview.simulated.clone()));
    sections.push(("Weakened checks".into(), preview.weakened.clone()));
    let changes = preview.changes.iter().map(text).collect();
    sections.push(("Changes".into(), changes));
    sections.push(("Cost".into(), costs(preview)));
    let (before, new) = lines(&preview.plan.actions)
        .into_iter()
        .partition(|line| preview.before.actions.contains(line));
    sections.push(("Actions".into(), new));
    sections.push(("Without the change too".into(), before));
    let waits = preview.plan.waits.iter().map(ToString::to_string).collect();
    sections.push(("Waits".into(), waits));
    sections
}

fn of_problem(preview: &Preview, problem: &ProblemStatus) -> String {
    let known = preview.before.problems.contains(problem);
    format!(
        "{}:{}:{}: {}{}",
        problem.file,
        problem.line,
        problem.column,
        problem.message,
        if known { ANYWAY } else { "" }
    )
}

fn anyway(preview: &Preview, held: &Hold) -> &'static str {
    match preview.before.held.contains(&held.digest) {
        true => ANYWAY,
        false => "",
    }
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
                "anyway": preview.before.held.contains(&held.digest),
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
        "base": preview.against.base.to_string(),
        "status": { "commit": preview.against.status, "seenAt": preview.against.seen_at },
        "judgedAt": preview.against.judged_at,
        "alarms": loud(preview),
        "digest": preview.digest,
        "changes": preview.changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "differences": preview.changes.iter().map(Change::json).collect::<Vec<_>>(),
        "trust": preview.trust,
        "simulated": preview.simulated,
        "weakened": preview.weakened,
        "actions": lines(&preview.plan.actions),
        "cost": cost::json(&preview.cost),
        "anyway": preview.before.actions,
        "held": held,
        "waits": waits,
        "problems": preview.problems,
    }))?)
}

/// The page with as many blocks, and as many of their lines, as it has room for. What is left out is counted.
fn page(head: String, sections: &[(String, Vec<String>)]) -> String {
    // What a block needs beside its title and lines, the note on the block's cut among it.
    const FRAME: usize = 80;
    let mut page = Page {
        // Room for the last note of all.
        room: COMMENT.saturating_sub(head.chars().count() + FRAME),
        text: head,
    };
    let mut cut = 0;
    for (title, lines) in sections.iter().filter(|(_, lines)| !lines.is_empty()) {
        match page.room.checked_sub(title.chars().count() + FRAME) {
            Some(room) => {
                page.room = room;
                page.block(title, lines);
            }
            None => cut += lines.len(),
        }
    }
    if cut > 0 {
        let _ = writeln!(
            page.text,
            "… and {} in sections that found no room.",
            plural(cut, "line")
        );
    }
    page.text
}

struct Page {
    text: String,
    /// Characters that may still be written.
    room: usize,
}

impl Page {
    /// Writes a block. Its frame has been paid for.
    fn block(&mut self, title: &str, lines: &[String]) {
        let _ = writeln!(self.text, "#### {title}\n\n```text");
        let mut shown = 0;
        for line in lines {
            let line = fence(line);
            let Some(room) = self.room.checked_sub(line.chars().count() + 1) else {
                break;
            };
            self.room = room;
            shown += 1;
            let _ = writeln!(self.text, "{line}");
        }
        let _ = writeln!(self.text, "```\n");
        if shown < lines.len() {
            let _ = writeln!(self.text, "… and {} more.\n", lines.len() - shown);
        }
    }
}

/// Text from outside cannot end the block that it stands in.
fn fence(line: &str) -> String {
    line.chars()
        .filter(|c| !c.is_control() && !is_harmful(*c))
        .collect::<String>()
        .replace("```", "'''")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(lines: usize) -> Vec<String> {
        let line = |n| format!("assign tiny-{n:012x} acme/some-deployment generation {n}");
        (0..lines).map(line).collect()
    }

    #[test]
    fn a_comment_is_bounded_whatever_there_is_to_say() {
        for holds in [0, 1, 4, 10, 500] {
            let mut sections = vec![("Problems".to_owned(), many(3))];
            let title = |n| format!("Held: {n} of many would go (digest `{}`)", "0".repeat(64));
            sections.extend((0..holds).map(|n| (title(n), many(20))));
            sections.push(("Actions".into(), many(2000)));
            sections.push(("Waits".into(), many(2000)));
            let page = page("### EasyEnclave plan\n\n".into(), &sections);
            let length = page.chars().count();
            assert!(length <= COMMENT, "{length} characters with {holds} holds");
            assert_eq!(page.matches("```").count() % 2, 0, "every block is closed");
            assert!(page.contains("… and "), "what was cut is counted");
            assert!(holds == 0 || page.contains("Held: 0"), "holds come first");
        }
    }

    #[test]
    fn a_page_with_room_is_not_cut() {
        let page = page(
            "head\n".into(),
            &[("Actions".into(), many(2)), ("Waits".into(), vec![])],
        );
        assert_eq!(
            page.lines()
                .filter(|line| line.starts_with("assign"))
                .count(),
            2
        );
        assert!(!page.contains('…') && !page.contains("Waits"), "{page}");
    }
}
