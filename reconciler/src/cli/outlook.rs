//! A change of a clone, beside the world that it would meet: what the status branch says, judged by the policies of the
//! change. No reconciler is asked, and nothing in the clone is changed.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Context, bail};
use easyenclave_attestation::Policy;
use easyenclave_git::{BlobId, CommitId, Past, Source};
use easyenclave_plan::Observed;
use easyenclave_schemas::status::ProblemStatus;
use easyenclave_schemas::{AgentId, Timestamp};

use super::changes::{self, Change};
use super::seen::{self, Seen};
use super::{foresight, read};
use crate::clock::{Clock, System};
use crate::desired::{Loaded, Loader, Model};
use crate::report::{self, Status};
use crate::source::{document, files, older};
use crate::verify::Kept;

/// Which change, and of what.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Of {
    /// The clone; nothing in it is changed
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(super) repo: String,
    /// The revision that the change starts from [default: what the status says is in force]
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// The revision with the change
    #[arg(long, default_value = "HEAD", value_name = "REV")]
    pub(super) head: String,
    /// The status branch, or a commit of it
    #[arg(long, default_value = "origin/status", value_name = "REF")]
    status: String,
}

/// A change, and the world that it would meet.
pub(super) struct Outlook {
    /// The revision with the change.
    pub(super) head: CommitId,
    /// What it is held against.
    pub(super) against: Against,
    pub(super) source: Source,
    pub(super) status: Status,
    /// The revision without the change.
    pub(super) unchanged: Loaded,
    /// Documents that are added, removed, or differ in effect, field by field.
    pub(super) changes: Vec<Change>,
    /// The model with the change.
    pub(super) model: Model,
    /// Rejected documents of the revision with the change.
    pub(super) problems: Vec<ProblemStatus>,
    /// The world as the status says.
    pub(super) observed: Observed,
    /// The same as the policies of the change would judge it.
    pub(super) foreseen: Observed,
    /// Agents that they would judge otherwise, a line each.
    pub(super) trust: BTreeSet<String>,
}

impl Outlook {
    pub(super) fn new(of: &Of) -> anyhow::Result<Self> {
        let repo = Path::new(&of.repo);
        let shown = easyenclave_git::redact(&of.repo);
        let source = clone(&of.repo, &shown)?;
        let resolve = |rev: &str, option: &str| {
            source.resolve(rev).with_context(|| {
                format!("{shown} has no revision {rev}: fetch it, or name another with {option}")
            })
        };
        let tip = resolve(&of.status, "--status")?;
        let status = read::from_commit(&source, tip)?;
        let seen = Seen::of(&seen::commit(repo, tip)?);
        let observed = report::observed(&status);
        let base = of.base.as_deref();
        let base = resolve(base.unwrap_or(&status.fleet.effective_commit), "--base")?;
        let head = resolve(&of.head, "--head")?;
        let against = Against::new(&seen, &status, base, System.now());
        let mut loader = Loader::default();
        let mut unchanged = load(&mut loader, &source, base)?;
        if of.base.is_none() {
            // What was left alone before is so still, as long as a file may be it.
            loader.was_kept(report::kept(&status));
            unchanged = load(&mut loader, &source, base)?;
        }
        let was = loader.in_force();
        let Loaded {
            model, problems, ..
        } = load(&mut loader, &source, head)?;
        let Some(model) = model else {
            let first = problems.first().map(|problem| problem.message.clone());
            bail!("{head} changes nothing: {}", first.unwrap_or_default());
        };
        let mut foreseen = observed.clone();
        let kept = Kept::new(Past::open(repo)?, tip);
        let kept = |agent: &AgentId, policy: &Policy| kept.again(agent, policy);
        let now = against.judged_at;
        Ok(Self {
            trust: foresight::apply(&mut foreseen, &status, &model, &kept, now),
            changes: changes::between(&was, &loader.in_force(), &model.kept),
            head,
            against,
            source,
            status,
            unchanged,
            model,
            problems,
            observed,
            foreseen,
        })
    }
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

fn clone(repo: &str, shown: &str) -> anyhow::Result<Source> {
    // Anything else would be taken for an address, and a mirror of it be made somewhere.
    if !Path::new(repo).exists() {
        bail!("{shown} is not a clone on this machine: clone it, and name the folder");
    }
    read::clone(Path::new(repo))?;
    Source::open(repo, Path::new(repo), "main").with_context(|| format!("opening {shown}"))
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
