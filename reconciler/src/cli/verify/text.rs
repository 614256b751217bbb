//! What `verify` found, for people.

use std::fmt::Write;

use easyenclave_schemas::evidence::stamp;

use super::Args;
use crate::cli::style::{BAD, BUSY, DIM, GOOD, paint};
use crate::verify::{AgentToday, Audit, Standing, Today};
use crate::words::plural;

/// So many agents are listed of which today says something else than before.
const AGENTS: usize = 200;

/// The whole answer.
pub(super) fn text(found: &Audit, args: &Args) -> String {
    let mut text = String::new();
    for finding in &found.findings {
        let path = finding.path.as_deref().map(|path| format!(" {path}"));
        let (path, kind) = (path.unwrap_or_default(), finding.kind);
        let kind = paint(BAD, kind);
        // A finding is one line, whatever others wrote.
        let line = format!("{path}: {kind}: {}", finding.message).replace(['\n', '\r'], " ");
        let _ = writeln!(text, "{}{line}", finding.commit);
    }
    if found.more > 0 {
        let _ = writeln!(text, "and {} more", plural(found.more, "finding"));
    }
    match found.builds_on {
        0 => {}
        1 => {
            text += "1 commit after these builds on one that was changed, so its signature does not hold either\n"
        }
        more => {
            let _ = writeln!(
                text,
                "{more} commits after these build on one that was changed, so their signatures do not hold either"
            );
        }
    }
    let word = match found.findings.is_empty() {
        true => paint(GOOD, "good"),
        false => paint(BAD, "not good"),
    };
    let commits = plural(found.commits, "commit");
    let _ = match found.commits == 0 && found.findings.is_empty() {
        true => writeln!(
            text,
            "nothing to check: no commit follows on {}",
            found.commit
        ),
        false => writeln!(text, "{word}: {commits} up to {}", found.commit),
    };
    counted(&mut text, found, args);
    if let Some(today) = &found.today {
        add_today(&mut text, today);
    }
    text
}

/// What the answer covers, and what it does not.
fn counted(text: &mut String, found: &Audit, args: &Args) {
    let by = match &args.signers {
        Some(file) => format!(
            "keys in {}; the desired state was not looked at",
            file.display()
        ),
        None => format!("keys that fleet.yaml on {} names", args.branch),
    };
    let _ = writeln!(text, "  signed by      {by}");
    let policies = match found.policies_looked_for {
        true => "each is one that the desired state had for its target",
        false => "not looked for in the desired state",
    };
    let tally = &found.verdicts;
    let _ = writeln!(
        text,
        "  verdicts       {} made again from their evidence, {}",
        tally.recomputed,
        whose(tally.simulated, tally.root_not_known)
    );
    let _ = writeln!(text, "  policies       {policies}");
    let not_accepted = format!(
        "refused, and seen again only not to be accepted, {}",
        whose(tally.not_accepted_simulated, 0)
    );
    let rest = [
        (tally.not_kept, "not made again: digests only"),
        (
            tally.sealed,
            "not made again: sealed; auditors open them with --identity FILE",
        ),
        (
            tally.not_opened,
            "not made again: sealed for others than the given identities",
        ),
        (tally.not_accepted, not_accepted.as_str()),
        (
            tally.without_evidence,
            "times in an agent's file without evidence",
        ),
        (found.without_sums, "commits do not say what they wrote"),
    ];
    for (count, what) in rest.into_iter().filter(|(count, _)| *count > 0) {
        let _ = writeln!(
            text,
            "  {}",
            paint(DIM, format_args!("               {count} {what}"))
        );
    }
}

fn add_today(text: &mut String, today: &Today) {
    let (at, commit) = (today.at.trunc_secs(), &today.desired_commit);
    let _ = writeln!(text, "  today          {at}, policies of {commit}");
    for (standing, style) in [
        (Standing::Accepted, GOOD),
        (Standing::Lapsed, BUSY),
        (Standing::Refused, BAD),
        (Standing::Unknown, DIM),
    ] {
        let agents = today.agents.iter().filter(|it| it.standing == standing);
        let agents: Vec<_> = agents.collect();
        let simulated = agents.iter().filter(|agent| agent.simulated).count();
        let unknown = agents.iter().filter(|agent| agent.trust_root.is_none());
        let whose = whose(simulated, unknown.count());
        if !agents.is_empty() {
            let (all, word) = (agents.len(), paint(style, word(standing)));
            let _ = writeln!(text, "                 {all} {word}, {whose}");
        }
    }
    let others = || {
        today
            .agents
            .iter()
            .filter(|it| it.standing != Standing::Accepted)
    };
    for agent in others().take(AGENTS) {
        let _ = writeln!(text, "{}", line(agent));
    }
    let more = others().count().saturating_sub(AGENTS);
    if more > 0 {
        let _ = writeln!(text, "and {} more", plural(more, "agent"));
    }
}

/// How many are simulated, and of how many nobody knows.
fn whose(simulated: usize, unknown: usize) -> String {
    match unknown {
        0 => format!("{simulated} of them simulated"),
        _ => format!("{simulated} of them simulated, the root of {unknown} not known"),
    }
}

fn line(agent: &AgentToday) -> String {
    let name = agent.path.rsplit('/').next().unwrap_or_default();
    let name = name.strip_suffix(".yaml").unwrap_or(name);
    let code = agent.code.map(|code| format!(" {code}"));
    let stamp = stamp(agent.trust_root);
    format!(
        "{name}: {}{}{stamp}: {}",
        word(agent.standing),
        code.unwrap_or_default(),
        agent.message
    )
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Accepted => "accepted",
        Standing::Lapsed => "lapsed",
        Standing::Refused => "refused",
        Standing::Unknown => "unknown",
    }
}
