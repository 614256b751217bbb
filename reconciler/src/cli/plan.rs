//! `easyenclave plan`: what a change would do. A clone is enough: what is comes from the status branch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::ValueEnum;
use easyenclave_git::{CommitId, Source};
use easyenclave_plan::{Hold, Observed, Plan, plan};
use easyenclave_schemas::status::ProblemStatus;
use easyenclave_schemas::{Digest, TargetName, Timestamp};

use super::changes::{self, Change};
use super::cost::{self, Cost, Prices};
use super::outlook::{self, Against, Of, Outlook};
use super::{Ended, exit, foresight, leftout, out, preview};
use crate::desired::Loaded;
use crate::source::Astray;
use crate::words::plural;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    of: outlook::Of,
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
    let of = args.of.clone();
    let preview = tokio::task::spawn_blocking(move || look(&of)).await??;
    if let Some(note) = leftout::note(Path::new(&args.of.repo), preview.head) {
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

fn look(of: &Of) -> anyhow::Result<Preview> {
    let Outlook {
        head,
        against,
        source,
        status,
        unchanged,
        changes,
        model,
        problems,
        observed,
        foreseen,
        trust,
    } = Outlook::new(of)?;
    let (base, now) = (against.base, against.judged_at);
    let before = Before::of(&unchanged, &observed, now);
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
        problems,
    })
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
    let (mut astray, none) = (Astray::default(), BTreeMap::new());
    let before = astray.of(source, base, &none);
    let mut found = astray.of(source, head, &none);
    found.retain(|one| !before.contains(one));
    let first = found.first()?;
    let more = match found.len() {
        1 => String::new(),
        count => format!(" (and {} more)", plural(count - 1, "file")),
    };
    Some(format!("NOT READ: {}{more}: {}", first.file, first.message))
}
