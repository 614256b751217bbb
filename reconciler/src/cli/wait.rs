//! `easyenclave wait`: for pipelines. Ends when the fleet has done what a commit asks for, or cannot. Reads the status
//! branch and the history of the desired state, and changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use easyenclave_git::CommitId;
use easyenclave_schemas::RolloutStep;
use easyenclave_schemas::documents::Span;
use easyenclave_schemas::status::{DeploymentPhase, DeploymentStatus, ProblemStatus};
use tokio::time::{sleep, timeout};

use super::rollout::named;
use super::{Ended, exit, out, read};
use crate::report::Status;

/// How often the status is read: a reconciler writes six times a minute.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this deployment (owner/name or name) and what concerns its owner's documents [default: the whole fleet]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The commit of the desired state; the fleet may have gone on to a later one
    #[arg(long, value_name = "SHA")]
    commit: String,
    /// How long to wait at most
    #[arg(long, value_name = "SPAN", default_value = "10m")]
    timeout: Span,
    #[command(flatten)]
    fleet: read::Fleet,
}

/// Where a commit stands with the fleet.
#[derive(Debug, PartialEq, Eq)]
enum Stand {
    /// Done: replicas are as it asks for.
    Done,
    /// It cannot be done, or was taken back.
    Failed(String),
    /// A person has to approve removals.
    Held(String),
    /// There is no such commit to wait for.
    Missing(String),
    /// Not yet, and why.
    Waits(String),
}

pub(super) async fn run(args: Args) -> Ended {
    let mut last = "nothing was reported yet".to_owned();
    let ended = timeout(args.timeout.get(), until_over(&args, &mut last)).await;
    let Ok(ended) = ended else {
        out::tell(format_args!("not done within {}: {last}", args.timeout));
        return Ok(exit::TIMED_OUT);
    };
    let (code, line) = match ended? {
        Stand::Failed(why) => (exit::REVERTED, why),
        Stand::Held(why) => (exit::HELD, why),
        Stand::Missing(why) => anyhow::bail!(why),
        Stand::Done | Stand::Waits(_) => (exit::OK, format!("{:.12} is done", args.commit)),
    };
    out::tell(line);
    Ok(code)
}

/// Looks until nothing more is to come of it. What cannot be read now may be in a moment.
async fn until_over(args: &Args, last: &mut String) -> anyhow::Result<Stand> {
    let place = args.fleet.desired()?;
    let mut history = History::new(place, &args.commit);
    loop {
        let stand = match look(args, &mut history).await {
            Ok(stand) => stand,
            Err(error) => Stand::Waits(format!("{error:#}")),
        };
        let Stand::Waits(why) = stand else {
            return Ok(stand);
        };
        if why != *last {
            out::tell(&why);
            *last = why;
        }
        sleep(PAUSE).await;
    }
}

async fn look(args: &Args, history: &mut History) -> anyhow::Result<Stand> {
    if let Some(why) = history.find().await? {
        return Ok(Stand::Missing(why));
    }
    let read::Shown { status, .. } = args.fleet.from.status().await?;
    if !history.holds(&status.fleet.desired_commit).await? {
        let seen = &status.fleet.desired_commit;
        let why = format!("the reconciler has seen {seen:.12}, which does not hold it");
        return Ok(Stand::Waits(why));
    }
    if !history.holds(&status.fleet.effective_commit).await? {
        let why = "it cannot be read, so an older commit stays in force".to_owned();
        let problems = status.problems.iter().map(place);
        let all: Vec<String> = std::iter::once(why).chain(problems).collect();
        return Ok(Stand::Failed(all.join("\n  ")));
    }
    let name = args.name.as_deref();
    if name.is_some() && history.has_seen(!named(&status, name).is_empty()) {
        return Ok(Stand::Done);
    }
    Ok(judge(&status, name))
}

/// The desired state's own history, as far as it was asked about.
struct History {
    place: read::Place,
    name: String,
    /// The commit of that name, once it could be looked for.
    commit: Option<CommitId>,
    known: BTreeMap<String, bool>,
    /// Whether the deployment that is waited for was there.
    seen: bool,
}

impl History {
    fn new(place: read::Place, name: &str) -> Self {
        Self {
            place,
            name: name.to_owned(),
            commit: None,
            known: BTreeMap::new(),
            seen: false,
        }
    }

    /// Looks for the commit. Answers why it cannot be waited for, which is something else than not to be able to look.
    async fn find(&mut self) -> anyhow::Result<Option<String>> {
        if self.commit.is_some() {
            return Ok(None);
        }
        let name = self.name.clone();
        let found = read::at_tip(&self.place, |source, tip| {
            let Ok(commit) = source.resolve(&name) else {
                return Ok(Err(format!("there is no commit {name}")));
            };
            Ok(match source.is_ancestor(commit, tip)? {
                true => Ok(commit),
                false => Err(format!("{name} is not in the history of the branch")),
            })
        });
        let found = found.await?;
        self.commit = found.as_ref().ok().copied();
        Ok(found.err())
    }

    /// Whether a deployment that was there is there no more, as a commit that removes it asks for.
    fn has_seen(&mut self, there: bool) -> bool {
        self.seen |= there;
        self.seen && !there
    }

    /// Whether a later commit, or this one, goes on from the commit that is waited for.
    async fn holds(&mut self, later: &str) -> anyhow::Result<bool> {
        if let Some(known) = self.known.get(later) {
            return Ok(*known);
        }
        let Some(commit) = self.commit else {
            return Ok(false);
        };
        let holds = read::at_tip(&self.place, |source, _| {
            let later = source.resolve(later)?;
            Ok(source.is_ancestor(commit, later)?)
        });
        let holds = holds.await?;
        self.known.insert(later.to_owned(), holds);
        Ok(holds)
    }
}

/// Where the state stands that a status shows.
fn judge(status: &Status, name: Option<&str>) -> Stand {
    let rows = named(status, name);
    if rows.is_empty() && name.is_some() {
        return Stand::Failed("the commit has no such deployment".into());
    }
    let is_about = |problem: &&ProblemStatus| name.is_none() || concerns(problem, &rows);
    let problems = status.problems.iter().filter(is_about);
    let problems: Vec<String> = problems.map(place).collect();
    if !problems.is_empty() {
        let all = problems.join("\n  ");
        return Stand::Failed(format!("documents are rejected\n  {all}"));
    }
    let failed = rows
        .iter()
        .filter_map(|row| reverted(row).or_else(|| failed(row)));
    let failed: Vec<String> = failed.collect();
    if !failed.is_empty() {
        return Stand::Failed(failed.join("\n"));
    }
    if let Some(held) = held(status, name, &rows) {
        return Stand::Held(held);
    }
    let waits: Vec<String> = rows.iter().filter_map(|row| unfinished(row)).collect();
    match waits.is_empty() {
        true => Stand::Done,
        false => Stand::Waits(waits.join("\n")),
    }
}

/// What a person has to approve: of a deployment its own removals, which are not all of the fleet's.
fn held(status: &Status, name: Option<&str>, rows: &[&DeploymentStatus]) -> Option<String> {
    if name.is_some() {
        let mut waits = rows.iter().flat_map(|row| &row.waits);
        let own = waits.find(|wait| wait.reason == "Held")?;
        return Some(own.message.clone());
    }
    let held = status.fleet.held.first()?;
    let (digest, reason) = (held.digest, &held.reason);
    Some(format!("held until a person approves {digest}: {reason}"))
}

fn place(problem: &ProblemStatus) -> String {
    let ProblemStatus {
        file,
        line,
        column,
        message,
        ..
    } = problem;
    format!("{file}:{line}:{column}: {message}")
}

/// Whether a problem may be about these deployments: all are, but those in folders of other owners.
fn concerns(problem: &ProblemStatus, rows: &[&DeploymentStatus]) -> bool {
    let mut steps = problem.file.split('/');
    let (folder, owner, file) = (steps.next(), steps.next(), steps.next());
    let is_owned = matches!(folder, Some("deployments" | "secrets")) && file.is_some();
    let is_theirs = |row: &&DeploymentStatus| Some(row.deployment.owner.as_str()) == owner;
    !is_owned || rows.iter().any(is_theirs)
}

fn reverted(row: &DeploymentStatus) -> Option<String> {
    let rollout = row.rollout.as_ref()?;
    let revert = rollout.reverted.as_ref()?;
    let is_over = revert.attempt == rollout.attempt;
    is_over.then(|| {
        let (id, at, cause) = (&row.deployment, revert.at, revert.cause);
        format!("{id} was reverted at {at}: {cause}")
    })
}

/// A version that failed as one that is reverted does, with none to go back to.
fn failed(row: &DeploymentStatus) -> Option<String> {
    let mut waits = row.waits.iter();
    let wait = waits.find(|wait| wait.reason == "NothingToRevertTo")?;
    Some(format!("{}: {}", row.deployment, wait.message))
}

/// What is still to come of a deployment.
fn unfinished(row: &DeploymentStatus) -> Option<String> {
    let settled = row.rollout.as_ref();
    let settled = settled.is_none_or(|rollout| rollout.step == RolloutStep::Settled);
    let there = matches!(
        row.phase,
        DeploymentPhase::Running | DeploymentPhase::Stopped
    );
    if there && settled {
        return None;
    }
    let id = &row.deployment;
    let (updated, wanted, ready) = (row.updated, row.wanted, row.ready);
    let stands = format!("{id}: {updated} of {wanted} updated, {ready} ready");
    let mut waits: Vec<_> = row.waits.iter().collect();
    waits.sort_by_key(|wait| STEPS.contains(&wait.reason.as_str()));
    let waits = waits.into_iter().map(|wait| wait.message.clone());
    let all: Vec<String> = std::iter::once(stands).chain(waits).collect();
    Some(all.join("; "))
}

/// Waits that only tell how far a roll-out is. What keeps it there is told first.
const STEPS: [&str; 4] = ["MaxUnavailable", "Canary", "Wave", "MinHealthy"];

#[cfg(test)]
mod tests {
    use easyenclave_schemas::status::{HeldStatus, WaitStatus};
    use easyenclave_schemas::wire::WorkloadCause;
    use easyenclave_schemas::{DeploymentId, Digest, Revert};

    use super::super::samples;
    use super::*;

    /// The sample with one deployment, which is as it should be.
    fn status() -> Status {
        let mut status = samples::status();
        status.problems.clear();
        status.fleet.held.clear();
        status
            .deployments
            .retain(|id, _| *id == id_of("acme/hello"));
        status
    }

    fn id_of(text: &str) -> DeploymentId {
        text.parse().expect("a name")
    }

    fn row(status: &mut Status) -> &mut DeploymentStatus {
        let row = status.deployments.get_mut(&id_of("acme/hello"));
        row.expect("the deployment")
    }

    fn problem(file: &str) -> ProblemStatus {
        ProblemStatus {
            file: file.into(),
            line: 1,
            column: 2,
            code: "unknown-field".into(),
            message: "no".into(),
            consequence: String::new(),
        }
    }

    fn wait((reason, message): (&str, &str)) -> WaitStatus {
        WaitStatus {
            reason: reason.into(),
            message: message.into(),
            until: None,
        }
    }

    #[test]
    fn a_commit_is_done_when_all_replicas_are_as_it_asks() {
        let mut status = status();
        assert_eq!(judge(&status, None), Stand::Done);
        assert_eq!(judge(&status, Some("hello")), Stand::Done);
        assert!(matches!(judge(&status, Some("other")), Stand::Failed(_)));
        row(&mut status).rollout.as_mut().expect("one").step = RolloutStep::All;
        let waits = [
            ("Canary", "the canary has to prove good"),
            ("DependencyDown", "the registry is down"),
        ];
        row(&mut status).waits = waits.map(wait).to_vec();
        let all = "acme/hello: 1 of 1 updated, 1 ready; the registry is down; the canary has to prove good";
        assert_eq!(judge(&status, None), Stand::Waits(all.into()));
        let other = row(&mut status);
        other.rollout = None;
        other.phase = DeploymentPhase::Removing;
        assert!(matches!(judge(&status, None), Stand::Waits(_)));
    }

    #[test]
    fn what_was_reverted_or_rejected_has_failed() {
        let mut reverted = status();
        let rollout = row(&mut reverted).rollout.as_mut().expect("one");
        rollout.reverted = Some(Revert {
            attempt: rollout.attempt,
            from: Digest::of(b"two"),
            to: Digest::of(b"one"),
            cause: WorkloadCause::Exited,
            at: rollout.since,
        });
        assert!(matches!(judge(&reverted, None), Stand::Failed(_)));
        rollout_of(&mut reverted).attempt = Digest::of(b"another");
        assert_eq!(judge(&reverted, None), Stand::Done);

        let mut rejected = status();
        rejected.problems = vec![problem("deployments/bolt/a.yaml")];
        assert!(matches!(judge(&rejected, None), Stand::Failed(_)));
        assert_eq!(judge(&rejected, Some("hello")), Stand::Done);
        for own in [
            "deployments/acme/x.yaml",
            "fleet.yaml",
            "deployments/x.yaml",
        ] {
            rejected.problems = vec![problem(own)];
            assert!(
                matches!(judge(&rejected, Some("hello")), Stand::Failed(_)),
                "{own}"
            );
        }
    }

    #[test]
    fn what_failed_with_nothing_to_go_back_to_has_failed() {
        let mut status = status();
        row(&mut status).phase = DeploymentPhase::Pending;
        let mut nothing = wait((
            "ReplicaFailing",
            "it fails, and no version is known that was healthy",
        ));
        row(&mut status).waits = vec![nothing.clone()];
        assert!(matches!(judge(&status, None), Stand::Waits(_)));
        nothing.reason = "NothingToRevertTo".into();
        row(&mut status).waits = vec![nothing];
        let Stand::Failed(why) = judge(&status, None) else {
            panic!("nothing comes of it");
        };
        assert!(
            why.ends_with("no version is known that was healthy"),
            "{why}"
        );
    }

    fn rollout_of(status: &mut Status) -> &mut easyenclave_schemas::status::RolloutStatus {
        row(status).rollout.as_mut().expect("one")
    }

    #[test]
    fn what_is_held_needs_a_person() {
        let mut status = status();
        status.fleet.held = vec![HeldStatus {
            digest: Digest::of(b"held"),
            reason: "2 of 3 agents of target tiny would go".into(),
            actions: Vec::new(),
            more: 0,
        }];
        assert!(matches!(judge(&status, None), Stand::Held(_)));
        assert_eq!(
            judge(&status, Some("hello")),
            Stand::Done,
            "not of this one"
        );
        row(&mut status).waits = vec![WaitStatus {
            reason: "Held".into(),
            message: "held until a person approves its own".into(),
            until: None,
        }];
        let own = Stand::Held("held until a person approves its own".into());
        assert_eq!(judge(&status, Some("hello")), own, "and not the first one");
    }
}
