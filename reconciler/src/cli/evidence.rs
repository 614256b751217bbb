//! `easyenclave evidence AGENT`: one agent's evidence as a person would want to read it, from a clone.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use easyenclave_git::{CommitId, Past};
use easyenclave_schemas::decode::did_you_mean;
use easyenclave_schemas::evidence::{Outcome, Verdict, stamp};
use easyenclave_schemas::status::paths;
use easyenclave_schemas::{AgentId, Timestamp};

use super::style::{BAD, BUSY, DIM, GOOD, HEAD, paint};
use super::{Ended, Output, exit, out, read, verify};
use crate::clock::{Clock, System};
use crate::verify::{Guest, LogShown, ShowError, Shown, shown};
use crate::words::span;

/// So many lines of a difference are printed; JSON has them all.
const LINES: usize = 100;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The agent
    #[arg(value_name = "AGENT")]
    agent: String,
    /// A clone of the state repository on this machine
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// The status branch
    #[arg(long, value_name = "REF", default_value = "status")]
    status: String,
    /// The evidence of then: this status commit, instead of the newest
    #[arg(long, value_name = "COMMIT")]
    at: Option<String>,
    /// An auditor's identities, as age-keygen writes them, to open what is sealed; may be given again
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// So many agents are named to whoever names none.
const NAMED: usize = 5;

pub(super) fn run(args: &Args) -> Ended {
    let past = read::clone(&args.repo)?;
    let status = match &args.at {
        Some(at) => verify::status_commit(&past, at, &args.status)?,
        None => past.resolve(&args.status)?,
    };
    let opener = verify::opener(&args.identity)?;
    let agent = AgentId::new(args.agent.as_str());
    let agent = agent.map_err(|_| unknown(&past, status, &args.agent))?;
    let found = match shown(&past, status, &agent, opener.as_ref()) {
        Ok(found) => found,
        Err(ShowError::Unknown(_)) => return Err(unknown(&past, status, &args.agent)),
        Err(error) => return Err(error).context("reading the evidence"),
    };
    match args.output {
        Output::Text => out::answer(text(&found, System.now()))?,
        Output::Json => out::data(&(serde_json::to_string_pretty(&found)? + "\n"))?,
    }
    Ok(exit::OK)
}

fn unknown(past: &Past, status: CommitId, name: &str) -> anyhow::Error {
    let files = past.files(status).unwrap_or_default();
    let agents = files.keys().filter(|path| path.starts_with(paths::AGENTS));
    let agents = agents.filter_map(|path| path.rsplit('/').next()?.strip_suffix(".yaml"));
    let agents: Vec<_> = agents.collect();
    let near = match did_you_mean(name, agents.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; {}", some(&agents)),
    };
    anyhow::anyhow!("there is no agent {name} in {status}{near}")
}

/// Agents that there are, the first few by name.
fn some(agents: &[&str]) -> String {
    match agents {
        [] => "it has no agents".into(),
        few if few.len() <= NAMED => format!("its agents are {}", few.join(", ")),
        [..] => format!(
            "its agents are {} and {} more",
            agents[..NAMED].join(", "),
            agents.len() - NAMED
        ),
    }
}

fn text(found: &Shown, now: Timestamp) -> String {
    let mut text = String::new();
    let stamp = stamp(found.trust_root);
    let _ = writeln!(
        text,
        "{}",
        paint(HEAD, format_args!("agent {}{stamp}", found.agent))
    );
    let mut row = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "  {name:<14} {value}");
    };
    row(
        "target",
        &format_args!("{}, size {}", found.target, found.node_size),
    );
    row("status commit", &found.commit);
    row("record", &paths::evidence(&found.record));
    let age = span(now.since(found.shown_at));
    row(
        "shown",
        &format_args!("{}, {age} ago", found.shown_at.trunc_secs()),
    );
    row("policy", &policy(found));
    row("verdict", &verdict(found, now));
    if let (Some(advice), Outcome::Refused(_)) = (&found.advice, &found.outcome) {
        row("cause", &advice.cause);
        row("what to do", &advice.next_step);
    }
    row("made again", &found.made_again);
    row("agent's key", &found.public_key);
    if let Some(closed) = &found.closed {
        row(
            "guest",
            &paint(BUSY, format_args!("not readable: the evidence {closed}")),
        );
    }
    if let Some(verdict) = found.verdict() {
        platform(&mut text, verdict, now);
    }
    if let Some(guest) = &found.guest {
        guest_text(&mut text, guest, found);
    }
    text
}

fn policy(found: &Shown) -> String {
    let names: Vec<_> = found
        .policy
        .names
        .iter()
        .map(|name| name.as_str())
        .collect();
    let name = match (names.as_slice(), &found.policy.desired_commit) {
        ([], Some(commit)) => format!("in no version of the desired state up to {commit:.12}"),
        ([], None) => match &found.policy.unread {
            Some(error) => format!("the desired state cannot be read: {error}"),
            None => "the status commit names no desired state".into(),
        },
        (names, _) => names.join(" or "),
    };
    format!("{name} ({})", found.policy.digest)
}

fn verdict(found: &Shown, now: Timestamp) -> String {
    let root = match found.simulated {
        true => "under a simulated root",
        false => "under Intel's root",
    };
    match &found.outcome {
        Outcome::Refused(rejection) => {
            let stamp = stamp(found.trust_root);
            paint(BAD, format_args!("refused{stamp}: {rejection}"))
        }
        Outcome::Accepted(verdict) => {
            let until = verdict.trusted_until.trunc_secs();
            match verdict.trusted_until > now {
                true => paint(
                    GOOD,
                    format_args!(
                        "accepted {root}, trusted until {until}, in {}",
                        span(verdict.trusted_until.since(now))
                    ),
                ),
                false => paint(
                    BUSY,
                    format_args!("accepted {root}; its trust ended at {until}"),
                ),
            }
        }
    }
}

/// What is known of the platform, which an accepted verdict says.
fn platform(text: &mut String, verdict: &Verdict, now: Timestamp) {
    let mut row = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "  {name:<14} {value}");
    };
    for warning in &verdict.warnings {
        let warned = format_args!("{}: {}", warning.code, warning.message);
        row("let pass", &paint(BUSY, warned));
    }
    let advisories = match verdict.advisory_ids.as_slice() {
        [] => "no advisories".into(),
        some => some.join(", "),
    };
    row(
        "TCB",
        &format_args!(
            "{} of {}, {advisories}",
            verdict.tcb_status,
            verdict.tcb_date.trunc_secs()
        ),
    );
    if let Some(until) = verdict.grace_until {
        row("grace", &format_args!("until {}", until.trunc_secs()));
    }
    row("platform", &kind_of_platform(verdict));
    if let (Some(digest), Some(until)) = (verdict.collateral_digest, verdict.collateral_until) {
        let when = match until > now {
            true => format!("expires in {}", span(until.since(now))),
            false => format!("expired {} ago", span(now.since(until))),
        };
        row("collateral", &format_args!("{when}, {}", digest.short(12)));
    }
    if let Some(token) = &verdict.token {
        let audience = token.audience.as_deref().unwrap_or("nobody in particular");
        row(
            "token",
            &format_args!(
                "of {}, key {}, for {audience}, expires {}",
                token.issuer,
                token.key_id,
                token.expires.trunc_secs()
            ),
        );
    }
}

fn kind_of_platform(verdict: &Verdict) -> String {
    let properties = &verdict.properties;
    let flags = [
        (properties.dynamic_platform, "dynamic platform"),
        (properties.cached_keys, "cached keys"),
        (properties.smt, "SMT"),
    ];
    let flags: Vec<_> = flags
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, name)| *name)
        .collect();
    let flags = match flags.as_slice() {
        [] => "none of dynamic platform, cached keys, SMT".into(),
        some => some.join(", "),
    };
    format!("type {}, {flags}", verdict.fmspc)
}

fn guest_text(text: &mut String, guest: &Guest, found: &Shown) {
    let mut row = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "  {name:<14} {value}");
    };
    row(
        "quote",
        &format_args!(
            "version {}, {}, {} bytes",
            guest.quote_version, guest.tee, guest.quote_bytes
        ),
    );
    let bound = match guest.bound_to {
        "nonceAndKey" => "the nonce of this record and the agent's key",
        "trustAuthorityNonceAndKey" => "a nonce of Intel Trust Authority and the agent's key",
        _ => "something else than the nonce of this record and the agent's key",
    };
    row("bound to", &bound);
    row("attributes", &format_args!("{:#018x}", guest.attributes));
    let matched = found.verdict().map(|verdict| verdict.measurement.as_str());
    let matched = matched.filter(|name| !name.is_empty());
    match (matched, &guest.nearest) {
        (Some(name), _) => row("measurement", &paint(GOOD, format_args!("{name}"))),
        (None, None) => row("measurement", &"the policy has none for this size"),
        (None, Some(nearest)) => row(
            "measurement",
            &paint(BAD, format_args!("none; the nearest is {}", nearest.name)),
        ),
    }
    let registers = [
        ("MRTD".to_owned(), guest.mrtd),
        ("MRSEAM".to_owned(), guest.mrseam),
        ("MRCONFIGID".to_owned(), guest.mrconfigid),
    ];
    let runtime = guest.rtmrs.iter().enumerate();
    let runtime = runtime.map(|(index, value)| (format!("RTMR{index}"), *value));
    for (name, value) in registers.into_iter().chain(runtime) {
        row(&name, &value);
        let nearest = guest.nearest.iter().filter(|_| matched.is_none());
        let differs = nearest.flat_map(|nearest| &nearest.differs);
        for (_, there, _) in differs.filter(|(register, ..)| *register == name) {
            row("", &paint(BAD, format_args!("{there} in the policy")));
        }
    }
    match &guest.event_log {
        Some(log) => log_text(text, log),
        None => row("event log", &paint(DIM, "none")),
    }
}

fn log_text(text: &mut String, log: &LogShown) {
    let replay = match log.differs_from_quote.as_slice() {
        [] => "its replay gives the quote's registers 0 to 2".to_owned(),
        some => {
            let names: Vec<_> = some.iter().map(|index| format!("RTMR{index}")).collect();
            format!(
                "its replay gives another {} than the quote",
                names.join(", ")
            )
        }
    };
    let _ = writeln!(
        text,
        "  {:<14} {} events; {replay}",
        "event log", log.events
    );
    let Some(beside) = &log.beside else { return };
    let _ = writeln!(
        text,
        "  {:<14} - {} (accepted), + this one",
        "difference",
        paths::evidence(beside)
    );
    for line in log.difference.iter().take(LINES) {
        let style = if line.starts_with('-') { BAD } else { GOOD };
        let _ = writeln!(text, "    {}", paint(style, line));
    }
    match log.difference.len() {
        0 => drop(writeln!(text, "    both logs measure the same")),
        all if all > LINES => drop(writeln!(text, "    and {} more lines", all - LINES)),
        _ => {}
    }
}
