//! `README.md` of the status branch: what a person reads first, in tables of bounded length.

use std::fmt::Write;

use easyenclave_schemas::status::{AgentPhase, DeploymentPhase, WaitStatus};

use super::Status;
use crate::words::{plural, ready};

/// So many rows of a table are shown; the files have them all.
const ROWS: usize = 200;

/// So many removals of a held plan are shown.
const HELD: usize = 20;

/// The page.
pub(super) fn readme(status: &Status) -> String {
    let mut page = String::new();
    head(&mut page, status);
    held(&mut page, status);
    problems(&mut page, status);
    deployments(&mut page, status);
    targets(&mut page, status);
    waits(&mut page, status);
    refusals(&mut page, status);
    page
}

fn head(page: &mut String, status: &Status) {
    let fleet = &status.fleet;
    let counts = &fleet.counts;
    let _ = writeln!(page, "# Fleet {}\n", fleet.fleet);
    let deployments = plural(counts.deployments as usize, "deployment");
    let replicas = plural(counts.replicas_ready as usize, "replica");
    let run = match counts.deployments {
        0 => "No deployments are wanted".into(),
        1 => format!(
            "{} of 1 deployment runs as wanted",
            counts.deployments_running
        ),
        _ => format!(
            "{} of {deployments} run as wanted",
            counts.deployments_running
        ),
    };
    let _ = writeln!(page, "{run}; {replicas} ready.");
    let _ = writeln!(
        page,
        "Agents: {} attested, {} simulated, {} untrusted. Orders under way: {}.\n",
        counts.agents_attested,
        counts.agents_simulated,
        counts.agents_untrusted,
        counts.orders_pending
    );
    let _ = writeln!(page, "- Desired commit: `{}`", fleet.desired_commit);
    if fleet.effective_commit != fleet.desired_commit {
        let _ = writeln!(page, "- In force: `{}`", fleet.effective_commit);
    }
    let _ = writeln!(page, "- Plan digest: `{}`\n", fleet.plan_digest);
    for condition in &fleet.conditions {
        if condition.status != easyenclave_schemas::status::ConditionStatus::True {
            let message = cell(&condition.message);
            let _ = writeln!(
                page,
                "**{:?}: {}.** {message}\n",
                condition.kind, condition.reason
            );
        }
    }
}

fn held(page: &mut String, status: &Status) {
    for hold in &status.fleet.held {
        let _ = writeln!(
            page,
            "## Held for approval\n\n{}\n\n```text",
            cell(&hold.reason)
        );
        for action in hold.actions.iter().take(HELD) {
            let _ = writeln!(page, "{action}");
        }
        let more = hold.actions.len().saturating_sub(HELD) + hold.more as usize;
        if more > 0 {
            let _ = writeln!(page, "… and {more} more");
        }
        let _ = writeln!(
            page,
            "```\n\nApprove with `easyenclave approve {}`.\n",
            hold.digest
        );
    }
}

fn problems(page: &mut String, status: &Status) {
    if status.problems.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "## Problems\n\n| where | what | meanwhile |\n|---|---|---|"
    );
    for problem in status.problems.iter().take(ROWS) {
        let place = format!("{}:{}:{}", problem.file, problem.line, problem.column);
        let row = (
            code(&place),
            cell(&problem.message),
            cell(&problem.consequence),
        );
        let _ = writeln!(page, "| `{}` | {} | {} |", row.0, row.1, row.2);
    }
    let _ = writeln!(page);
}

fn deployments(page: &mut String, status: &Status) {
    let _ = writeln!(page, "## Deployments\n");
    let _ = writeln!(page, "| deployment | phase | ready | updated | addresses |");
    let _ = writeln!(page, "|---|---|---|---|---|");
    let mut rows: Vec<_> = status.deployments.values().collect();
    rows.sort_by_key(|row| (row.phase == DeploymentPhase::Running, &row.deployment));
    for row in rows.iter().take(ROWS) {
        let urls = row
            .replicas
            .iter()
            .filter_map(|replica| replica.url.as_deref());
        let urls = row.url.as_deref().into_iter().chain(urls);
        let urls: Vec<_> = urls.take(3).map(cell).collect();
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            row.deployment,
            word(&row.phase),
            ready(row).trim_end_matches(" ready"),
            row.updated,
            urls.join(" ")
        );
    }
    more(page, rows.len());
}

fn targets(page: &mut String, status: &Status) {
    let _ = writeln!(page, "## Capacity\n");
    let _ = writeln!(
        page,
        "| target | phase | agents | in use | idle | ordered | retiring | max |"
    );
    let _ = writeln!(page, "|---|---|---|---|---|---|---|---|");
    for row in status.capacity.values().take(ROWS) {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            row.target,
            row.phase,
            row.agents,
            row.assigned,
            row.idle,
            row.pending,
            row.retiring,
            row.max
        );
    }
    more(page, status.capacity.len());
    let trouble = |phase: AgentPhase| matches!(phase, AgentPhase::Quarantined | AgentPhase::Lost);
    for agent in status
        .agents
        .values()
        .filter(|agent| trouble(agent.phase))
        .take(20)
    {
        let _ = writeln!(page, "- agent `{}` is {}", agent.agent, word(&agent.phase));
    }
}

fn waits(page: &mut String, status: &Status) {
    let mut rows: Vec<(String, &WaitStatus)> = Vec::new();
    for (id, thing) in &status.deployments {
        rows.extend(
            thing
                .waits
                .iter()
                .map(|wait| (format!("deployment {id}"), wait)),
        );
    }
    for (id, thing) in &status.capacity {
        rows.extend(
            thing
                .waits
                .iter()
                .map(|wait| (format!("target {id}"), wait)),
        );
    }
    for (id, thing) in &status.agents {
        rows.extend(thing.waits.iter().map(|wait| (format!("agent {id}"), wait)));
    }
    for (id, thing) in &status.orders {
        rows.extend(thing.waits.iter().map(|wait| (format!("order {id}"), wait)));
    }
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "## Waits\n\n| what | waits for | until |\n|---|---|---|"
    );
    for (name, wait) in rows.iter().take(ROWS) {
        let until = wait
            .until
            .map(|until| until.to_string())
            .unwrap_or_default();
        let _ = writeln!(
            page,
            "| {name} | {}: {} | {until} |",
            wait.reason,
            cell(&wait.message)
        );
    }
    more(page, rows.len());
}

fn refusals(page: &mut String, status: &Status) {
    if status.fleet.refusals.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "## Refused requests\n\n| code | about | why | first at |\n|---|---|---|---|"
    );
    for row in &status.fleet.refusals {
        let (subject, message) = (code(&row.subject), cell(&row.message));
        let _ = writeln!(
            page,
            "| {} | `{subject}` | {message} | {} |",
            row.code, row.first_at
        );
    }
    let _ = writeln!(page);
}

fn more(page: &mut String, rows: usize) {
    if rows > ROWS {
        let _ = writeln!(page, "\n… and {} more, see the files.", rows - ROWS);
    }
    let _ = writeln!(page);
}

/// Text from outside cannot break out of a table's cell, nor become markup or a link: what an agent says is
/// shown, and nothing to click on. What would become a link stands within backticks, where it reads as it is.
fn cell(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    let word = |word: &str| match is_link(word) {
        true => format!("`{}`", code(word)),
        false => escaped(word),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Whether a reader of Markdown may make a link of it, or a message to somebody.
fn is_link(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    word.contains("://") || word.contains("www.") || word.contains('@')
}

fn escaped(word: &str) -> String {
    let mut escaped = String::with_capacity(word.len());
    for c in word.chars() {
        if matches!(
            c,
            '\\' | '|' | '[' | ']' | '<' | '&' | '`' | '*' | '_' | '~'
        ) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The same within backticks, where nothing can be escaped.
fn code(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    text.replace('|', "¦").replace('`', "'")
}

fn word<T: serde::Serialize>(phase: &T) -> String {
    serde_json::to_value(phase)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_says_is_no_markup_and_no_link() {
        let said = [
            ("a|b", r"a\|b"),
            (r"a\|b", r"a\\\|b"),
            ("at http://10.0.0.1:80/ now", "at `http://10.0.0.1:80/` now"),
            ("[x](http://evil.example)", "`[x](http://evil.example)`"),
            (
                "[x y](HTTP://evil.example)",
                r"\[x `y](HTTP://evil.example)`",
            ),
            (
                "`a http://evil.example b`",
                r"\`a `http://evil.example` b\`",
            ),
            ("http://a`|b", "`http://a'¦b`"),
            (r"\ http://evil.example", r"\\ `http://evil.example`"),
            ("see www.evil.example", "see `www.evil.example`"),
            ("<b>&lt;", r"\<b>\&lt;"),
            ("`a` *b* _c_ ~~d~~", r"\`a\` \*b\* \_c\_ \~\~d\~\~"),
            ("eve@evil.example", "`eve@evil.example`"),
            ("ask @eve", "ask `@eve`"),
            ("a\nb\u{1b}[31m", r"ab\[31m"),
        ];
        for (text, shown) in said {
            assert_eq!(cell(text), shown);
        }
        assert_eq!(code("a`b|c\n"), "a'b¦c");
    }
}
