//! How old a status is, who signed it, and whether anybody still reports. A status branch has no heartbeat, so its age
//! alone proves nothing: a quiet fleet's status is old too. What it promised by now, and a reconciler that does not
//! answer, tell more.

use std::path::Path;
use std::time::Duration;

use easyenclave_git::{CommitId, Past, Saying, Signers};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::status::{ConditionStatus, ConditionType, WaitStatus};
use serde::Serialize;

use super::style::{BAD, DIM, paint};
use crate::config::DataDir;
use crate::report::Status;
use crate::settings::Settings;
use crate::words::span;

/// A status that is older is said to be unchanged since, in case nobody reports any more.
const OLD: Duration = Duration::from_secs(3600);

/// What should have happened is missed so much later: a pass, a commit within the budget, and a push.
const LATE: Duration = Duration::from_secs(120);

/// A reconciler on this machine answers within milliseconds.
const ANSWER: Duration = Duration::from_secs(1);

/// The longest file of keys, and the longest answer, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Where a status comes from.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    /// The status commit.
    pub(super) commit: String,
    /// When the fleet was so, in whole seconds.
    pub(super) seen_at: Timestamp,
    pub(super) signature: Signature,
    pub(super) reconciler: Reconciler,
}

/// Whether the status commit's own signature was checked. `verify` checks the whole branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Signature {
    /// By a key in `allowed_signers` of the data folder.
    Good,
    /// Missing, of another key, or over something else.
    Bad,
    /// There is nothing on this machine to check it with.
    Unchecked,
}

/// Whether a reconciler keeps this status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reconciler {
    /// It answers.
    Answers,
    /// Nobody answers where it was.
    Silent,
    /// It is not known where it is.
    Unknown,
}

impl Seen {
    /// As the commit itself says. Its time is that of its trailer, or else its own.
    pub(super) fn of(saying: &Saying) -> Self {
        let stated = saying.trailer("Seen-At");
        let stated = stated.and_then(|text| text.parse().ok());
        let own = Timestamp::from_millis(saying.when.saturating_mul(1000));
        Self {
            commit: saying.commit.to_string(),
            seen_at: stated.unwrap_or(own),
            signature: Signature::Unchecked,
            reconciler: Reconciler::Unknown,
        }
    }

    /// In words: a line on the commit, and what speaks against taking it for how things are.
    pub(super) fn lines(&self, status: &Status, now: Timestamp) -> Vec<String> {
        let (commit, at, age) = (&self.commit, self.seen_at, self.age(now));
        let signed = match self.signature {
            Signature::Good => "signature good".to_owned(),
            Signature::Bad => paint(BAD, "signature not that of an allowed signer, see `verify`"),
            Signature::Unchecked => "signature not checked, see `verify`".into(),
        };
        let head = format!("as of {at}, {age}  commit {commit:.12}  ");
        let mut lines = vec![format!("{}{signed}", paint(DIM, head))];
        let doubt = self.doubt(status, now);
        lines.extend(doubt.map(|doubt| paint(BAD, doubt)));
        lines
    }

    /// Why this may not be how things are.
    pub(super) fn doubt(&self, status: &Status, now: Timestamp) -> Option<String> {
        let over = overdue(status, now);
        match (&self.reconciler, over) {
            (Reconciler::Silent, _) => Some(
                "no reconciler answers: this is how the fleet was last seen, and nobody tends it"
                    .into(),
            ),
            (Reconciler::Answers, Some(over)) => Some(format!(
                "nothing was reported since, though {over}: see the reconciler's log"
            )),
            (Reconciler::Unknown, Some(over)) => Some(format!(
                "nothing was reported since, though {over}: no reconciler seems to run"
            )),
            (Reconciler::Unknown, None) if now.since(self.seen_at) > OLD => {
                Some("nothing has changed since then, or no reconciler runs".into())
            }
            _ => None,
        }
    }

    /// How long ago that was.
    pub(super) fn age(&self, now: Timestamp) -> String {
        ago(now.since(self.seen_at))
    }
}

/// What a status says will have happened by now, and would have been reported: then nobody reports any more.
pub(super) fn overdue(status: &Status, now: Timestamp) -> Option<String> {
    let before = now.minus(LATE);
    let lapsed = status.agents.values().find_map(|agent| {
        let mut conditions = agent.conditions.iter();
        let fresh = conditions
            .any(|one| one.kind == ConditionType::Fresh && one.status == ConditionStatus::True);
        let until = agent.trust.trusted_until.filter(|until| *until < before)?;
        fresh.then(|| format!("the trust of {} ran out at {until}", agent.agent))
    });
    lapsed.or_else(|| {
        let ends = waits(status).filter_map(|wait| wait.until);
        let end = ends.filter(|until| *until < before).min()?;
        Some(format!("a wait ended at {end}"))
    })
}

fn waits(status: &Status) -> impl Iterator<Item = &WaitStatus> {
    let agents = status.agents.values().flat_map(|thing| &thing.waits);
    let orders = status.orders.values().flat_map(|thing| &thing.waits);
    let targets = status.capacity.values().flat_map(|thing| &thing.waits);
    let deployments = status.deployments.values().flat_map(|thing| &thing.waits);
    agents.chain(orders).chain(targets).chain(deployments)
}

/// How long ago something was.
pub(super) fn ago(passed: Duration) -> String {
    format!("{} ago", span(passed))
}

/// A commit of a repository on this machine.
pub(super) fn commit(repository: &Path, commit: CommitId) -> anyhow::Result<Saying> {
    Ok(Past::open(repository)?.commit(commit)?)
}

/// Whether a key that the data folder allows has signed this.
pub(super) fn signature(data: &DataDir, saying: &Saying) -> Signature {
    let path = data.allowed_signers();
    let is_short = std::fs::metadata(&path).is_ok_and(|found| found.len() <= LONGEST);
    let text = is_short.then(|| std::fs::read_to_string(&path).ok());
    let signers = text.flatten().map(|text| Signers::parse(text.lines()));
    match signers {
        Some(Ok(signers)) if saying.signed_by(&signers).is_ok() => Signature::Good,
        Some(Ok(signers)) if !signers.is_empty() => Signature::Bad,
        _ => Signature::Unchecked,
    }
}

/// Whether the reconciler of an installation answers.
pub(super) async fn reconciler(settings: &Settings) -> Reconciler {
    let client = reqwest::Client::builder()
        .timeout(ANSWER)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let Ok(client) = client else {
        return Reconciler::Unknown;
    };
    let health = format!("{}/healthz", settings.url.trim_end_matches('/'));
    match client.get(health).send().await {
        Ok(answer) if answer.status().is_success() => Reconciler::Answers,
        _ => Reconciler::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn what_a_status_promised_and_nobody_reported_is_told() {
        let mut status = samples::status();
        for agent in status.agents.values_mut() {
            agent.waits.clear();
        }
        let said = |status: &Status, reconciler, seconds| {
            let seen = samples::seen(Signature::Unchecked, reconciler);
            seen.doubt(status, samples::noon().plus(Duration::from_secs(seconds)))
        };
        let silent = said(&status, Reconciler::Silent, 1).expect("a doubt");
        assert!(silent.starts_with("no reconciler answers"), "{silent}");
        assert_eq!(said(&status, Reconciler::Answers, 1), None);
        // A wait of the sample ends two seconds later.
        assert_eq!(said(&status, Reconciler::Unknown, 120), None);
        let over = said(&status, Reconciler::Unknown, 123).expect("a doubt");
        assert!(
            over.contains("a wait ended at 2027-01-15T08:00:02Z"),
            "{over}"
        );
        status.orders.clear();
        status.capacity.clear();
        status.deployments.clear();
        assert_eq!(said(&status, Reconciler::Unknown, 3600), None);
        let old = said(&status, Reconciler::Unknown, 3601).expect("a doubt");
        assert!(old.starts_with("nothing has changed since then"), "{old}");
        assert_eq!(
            said(&status, Reconciler::Answers, 3601),
            None,
            "a quiet fleet"
        );
        let lapsed = said(&status, Reconciler::Unknown, 3721).expect("a doubt");
        assert!(
            lapsed.contains("ran out at 2027-01-15T09:00:00Z"),
            "{lapsed}"
        );
        assert!(lapsed.contains("no reconciler seems to run"), "{lapsed}");
    }

    #[test]
    fn a_signature_is_only_called_good_when_it_was_checked() {
        let line = |signature| {
            let seen = samples::seen(signature, Reconciler::Answers);
            let now = samples::noon();
            anstream::adapter::strip_str(&seen.lines(&samples::status(), now)[0]).to_string()
        };
        let good = "as of 2027-01-15T08:00:00Z, 0 s ago  commit 012345678901  signature good";
        assert_eq!(line(Signature::Good), good);
        assert!(line(Signature::Unchecked).ends_with("not checked, see `verify`"));
        assert!(line(Signature::Bad).contains("not that of an allowed signer"));
    }
}
