//! `easyenclave plan`: what a change would do. A clone is enough: what is comes from the status branch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::{Context, bail};
use clap::ValueEnum;
use easyenclave_attestation::Policy;
use easyenclave_git::{BlobId, CommitId, Past, Source};
use easyenclave_plan::{Hold, Observed, Plan, plan};
use easyenclave_schemas::status::ProblemStatus;
use easyenclave_schemas::{AgentId, Digest, TargetName, Timestamp};

use super::changes::{self, Change};
use super::cost::{self, Cost, Prices};
use super::seen::{self, Seen};
use super::{Ended, exit, foresight, leftout, out, preview, read};
use crate::clock::{Clock, System};
use crate::desired::{Loaded, Loader};
use crate::report::{self, Status};
use crate::source::{Astray, document, files, older};
use crate::verify::Kept;
use crate::words::plural;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The clone; nothing in it is changed
    #[arg(long, default_value = ".", value_name = "DIR")]
    repo: String,
    /// The revision that the change starts from [default: what the status says is in force]
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// The revision with the change
    #[arg(long, default_value = "HEAD", value_name = "REV")]
    head: String,
    /// The status branch, or a commit of it
    #[arg(long, default_value = "origin/status", value_name = "REF")]
    status: String,
    /// How the plan is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// End with 5 when documents differ in effect or something is done, and nothing of it is wrong or held
    #[arg(long)]
    exit_code: bool,
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For a pull request's comment, at most 65,000 characters
    Markdown,
    /// For programs
    Json,
}

/// What a change would do, beside what would happen anyway.
pub(super) struct Preview {
    /// The revision with the change.
    pub(super) head: CommitId,
    /// What it was planned against.
    pub(super) against: Against,
    /// What nobody may overlook, a line each.
    pub(super) alarms: Vec<String>,
    /// The plan with the change.
    pub(super) plan: Plan,
    /// Its digest.
    pub(super) digest: Digest,
    /// What there is without the change.
    pub(super) before: Before,
    /// Rejected documents of the revision with the change.
    pub(super) problems: Vec<ProblemStatus>,
    /// Documents that are added, removed, or differ in effect, field by field.
    pub(super) changes: Vec<Change>,
    /// Policies of this revision under which agents are simulated, a line each, and how many refused agents are.
    pub(super) simulated: Vec<String>,
    /// Checks that policies of this revision let pass, a line each.
    pub(super) weakened: Vec<String>,
    /// Agents that the change would judge otherwise, a line each.
    pub(super) trust: BTreeSet<String>,
    /// What the plan changes in what machines cost, by target.
    pub(super) cost: BTreeMap<TargetName, Cost>,
}

/// What a change was planned against: commits, and a time.
pub(super) struct Against {
    /// The revision without the change.
    pub(super) base: CommitId,
    /// The status commit.
    pub(super) status: String,
    /// When that was seen.
    pub(super) seen_at: Timestamp,
    /// The time of the plan: now, or when the status was seen if nobody has reported since.
    pub(super) judged_at: Timestamp,
    now: Timestamp,
    /// Why nobody seems to have reported since.
    overdue: Option<String>,
}

impl Against {
    /// A status that nobody keeps any more says nothing of now: judged by the clock of now, all trust in it has run
    /// out, and what the change does would be lost among that.
    fn new(seen: &Seen, status: &Status, base: CommitId, now: Timestamp) -> Self {
        let overdue = seen::overdue(status, now);
        Self {
            base,
            status: seen.commit.clone(),
            seen_at: seen.seen_at,
            judged_at: match overdue {
                Some(_) => seen.seen_at,
                None => now,
            },
            now,
            overdue,
        }
    }
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, status) = (self.base.to_string(), &self.status);
        let (at, age) = (self.seen_at, seen::ago(self.now.since(self.seen_at)));
        write!(
            f,
            "against {base:.12} and status commit {status:.12} of {at}, {age}; "
        )?;
        match &self.overdue {
            None => f.write_str("judged as of now"),
            Some(over) => write!(
                f,
                "judged as of then, because nothing was reported since, though {over}"
            ),
        }
    }
}

/// What happens, is held and is wrong without the change, and so is not its doing.
#[derive(Default)]
pub(super) struct Before {
    /// Actions, a line each.
    pub(super) actions: BTreeSet<String>,
    /// Holds, by their digests.
    pub(super) held: BTreeSet<Digest>,
    /// Rejected documents.
    pub(super) problems: Vec<ProblemStatus>,
    /// What costs more or less, a line each.
    pub(super) cost: BTreeSet<String>,
}

impl Before {
    fn of(loaded: &Loaded, observed: &Observed, now: Timestamp) -> Self {
        let model = loaded.model.as_ref();
        let plan = model.map(|model| plan(&model.desired, observed, now));
        let plan = plan.unwrap_or_default();
        let cost = cost::of(&plan, observed, &Prices::of(model));
        Self {
            cost: cost::lines(&cost).into_iter().collect(),
            actions: plan.actions.iter().map(ToString::to_string).collect(),
            held: plan.held.iter().map(|held| held.digest).collect(),
            problems: loaded.problems.clone(),
        }
    }
}

pub(super) async fn run(args: Args) -> Ended {
    let preview = tokio::task::spawn_blocking({
        let (repo, base, head, status) = (
            args.repo.clone(),
            args.base.clone(),
            args.head.clone(),
            args.status.clone(),
        );
        move || look(&repo, base.as_deref(), &head, &status)
    })
    .await??;
    if let Some(note) = leftout::note(Path::new(&args.repo), preview.head) {
        out::tell(note);
    }
    match args.output {
        Format::Text => out::answer(preview::text(&preview))?,
        Format::Markdown => out::answer(preview::markdown(&preview))?,
        Format::Json => out::data(&(preview::json(&preview)? + "\n"))?,
    }
    Ok(code(&preview, args.exit_code))
}

/// What is wrong or held without the change too is not the change's doing.
fn code(preview: &Preview, tells_changes: bool) -> u8 {
    let wrong = |problem| !preview.before.problems.contains(problem);
    let holds = |held: &Hold| !preview.before.held.contains(&held.digest);
    if preview.problems.iter().any(wrong) {
        exit::FAILED
    } else if preview.plan.held.iter().any(holds) {
        exit::HELD
    } else if tells_changes && does_something(preview) {
        exit::CHANGES
    } else {
        exit::OK
    }
}

/// Whether documents differ in effect, or other things happen with the change than without it.
fn does_something(preview: &Preview) -> bool {
    let actions = preview.plan.actions.iter().map(ToString::to_string);
    let actions: BTreeSet<_> = actions.collect();
    actions != preview.before.actions || !preview.trust.is_empty() || !preview.changes.is_empty()
}

fn look(repo: &str, base: Option<&str>, head: &str, status: &str) -> anyhow::Result<Preview> {
    let shown = easyenclave_git::redact(repo);
    let source = clone(repo, &shown)?;
    let resolve = |rev: &str, option: &str| {
        source.resolve(rev).with_context(|| {
            format!("{shown} has no revision {rev}: fetch it, or name another with {option}")
        })
    };
    let tip = resolve(status, "--status")?;
    let status = read::from_commit(&source, tip)?;
    let seen = Seen::of(&seen::commit(Path::new(repo), tip)?);
    let observed = report::observed(&status);
    let base = resolve(base.unwrap_or(&status.fleet.effective_commit), "--base")?;
    let head = resolve(head, "--head")?;
    let against = Against::new(&seen, &status, base, System.now());
    let now = against.judged_at;
    let mut loader = Loader::default();
    let unchanged = load(&mut loader, &source, base)?;
    let was = loader.in_force();
    let after = load(&mut loader, &source, head)?;
    let Some(model) = after.model else {
        let first = after
            .problems
            .first()
            .map(|problem| problem.message.clone());
        bail!("{head} changes nothing: {}", first.unwrap_or_default());
    };
    let changes = changes::between(&was, &loader.in_force());
    let before = Before::of(&unchanged, &observed, now);
    let mut foreseen = observed.clone();
    let kept = Kept::new(Past::open(Path::new(repo))?, tip);
    let kept = |agent: &AgentId, policy: &Policy| kept.again(agent, policy);
    let trust = foresight::apply(&mut foreseen, &status, &model, &kept, now);
    let planned = plan(&model.desired, &foreseen, now);
    let prices = Prices::of([&model].into_iter().chain(&unchanged.model));
    let mut alarms = foresight::outages(&observed, &foreseen, now);
    alarms.extend(taken_back(&source, base, head)?);
    alarms.extend(not_read(&source, base, head));
    Ok(Preview {
        head,
        against,
        alarms,
        digest: planned.digest(),
        changes,
        simulated: changes::simulated(&model, &status),
        weakened: changes::weakened(&model),
        trust,
        cost: cost::of(&planned, &foreseen, &prices),
        plan: planned,
        before,
        problems: after.problems,
    })
}

fn clone(repo: &str, shown: &str) -> anyhow::Result<Source> {
    // Anything else would be taken for an address, and a mirror of it be made somewhere.
    if !Path::new(repo).exists() {
        bail!("{shown} is not a clone on this machine: clone it, and name the folder");
    }
    read::clone(Path::new(repo))?;
    Source::open(repo, Path::new(repo), "main").with_context(|| format!("opening {shown}"))
}

/// What nobody may overlook of a change that was made beside others.
fn taken_back(source: &Source, base: CommitId, head: CommitId) -> anyhow::Result<Option<String>> {
    let beside = !source.is_ancestor(base, head)?;
    Ok(beside.then(|| format!(
        "{:.12} does not descend from {:.12}: what came in between shows as taken back; merge or rebase it first",
        head.to_string(),
        base.to_string()
    )))
}

/// Documents that the change puts where none is read. What was there before is on the status branch.
fn not_read(source: &Source, base: CommitId, head: CommitId) -> Option<String> {
    let mut astray = Astray::default();
    let before = astray.of(source, base);
    let mut found = astray.of(source, head);
    found.retain(|one| !before.contains(one));
    let first = found.first()?;
    let more = match found.len() {
        1 => String::new(),
        count => format!(" (and {} more)", plural(count - 1, "file")),
    };
    Some(format!("NOT READ: {}{more}: {}", first.file, first.message))
}

pub(super) fn load(
    loader: &mut Loader,
    source: &Source,
    commit: CommitId,
) -> anyhow::Result<Loaded> {
    let files = files(source, commit)?;
    let blob = |id: [u8; 20]| document(source, BlobId::from_bytes(id));
    let history = |path: &str| older(source, path, commit);
    Ok(loader.load(&files, &blob, &history))
}
