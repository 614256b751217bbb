//! One agent's evidence as a person would want to read it: what it says, under which policy it was judged, and what came
//! of that. Read from a status commit alone; the verdict is made again where that can be done.

use std::collections::BTreeSet;

use easyenclave_attestation::{EventLog, Measured, Policy, QuoteView, report_data};
use easyenclave_git::{CommitId, GitError, Past};
use easyenclave_schemas::evidence::{MeasurementDigest, Outcome, Rejection, RootKeyId, Verdict};
use easyenclave_schemas::status::paths;
use easyenclave_schemas::{AgentId, Digest, NodeSize, PolicyName, TargetName, Timestamp};
use serde::Serialize;

use super::evidence::{Claim, Claimed, Made, Shared, Tree};
use super::lines::difference;
use super::nearest::nearest;
use super::policies::Policies;
use super::signing::desired;
use crate::seal::Opener;
use crate::trust::Exhibit;

/// So many commits back an accepted event log of the same agent is looked for.
const BACK: usize = 5000;

/// An agent's newest evidence.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Whose it is.
    pub agent: AgentId,
    /// The status commit that was read.
    pub commit: String,
    /// Its target.
    pub target: TargetName,
    /// Its size.
    pub node_size: NodeSize,
    /// The record on the status branch.
    pub record: Digest,
    /// When it was shown, by the reconciler's clock.
    pub shown_at: Timestamp,
    /// Whether it is of a simulated platform, accepted or refused, which proves nothing about hardware.
    pub simulated: bool,
    /// The root that vouches for the platform; none where that is not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_root: Option<RootKeyId>,
    /// What it was judged by.
    pub policy: PolicyShown,
    /// What verification said.
    pub outcome: Outcome,
    /// What a refusal means and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
    /// Whether the same comes out of the evidence again, in words.
    pub made_again: String,
    /// The key that had to be bound, 64 hex digits.
    pub public_key: String,
    /// What the agent showed; none when it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest: Option<Guest>,
    /// Why what the agent showed cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
}

/// The policy that evidence was judged by.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyShown {
    /// Its digest, with the size of the agents.
    pub digest: Digest,
    /// The names that the desired state has for it; none when that was not looked at, or has no such policy.
    pub names: BTreeSet<PolicyName>,
    /// The commit of the desired state that the status commit is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_commit: Option<String>,
    /// Why the desired state could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// What a refusal means.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Advice {
    /// The cause, in words.
    pub cause: &'static str,
    /// What to do.
    pub next_step: &'static str,
}

/// What the quote and the event log say.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Guest {
    /// The version of the quote.
    pub quote_version: u16,
    /// The kind of guest, in words.
    pub tee: &'static str,
    /// The length of the quote, in bytes.
    pub quote_bytes: usize,
    /// What the quote is bound to: `nonceAndKey`, `trustAuthorityNonceAndKey` or `other`.
    pub bound_to: &'static str,
    /// The image.
    pub mrtd: MeasurementDigest,
    /// The runtime registers.
    pub rtmrs: [MeasurementDigest; 4],
    /// The TDX module.
    pub mrseam: MeasurementDigest,
    /// What the launcher said the machine is for.
    pub mrconfigid: MeasurementDigest,
    /// TDATTRIBUTES.
    pub attributes: u64,
    /// The policy's measurement that is nearest, and the registers that it has other values for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Nearest>,
    /// The event log, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_log: Option<LogShown>,
}

/// A measurement of the policy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Nearest {
    /// Its name.
    pub name: String,
    /// Registers with another value there: the name, the value there, and the value here.
    pub differs: Vec<(String, MeasurementDigest, MeasurementDigest)>,
}

/// An event log.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogShown {
    /// How many events it has.
    pub events: usize,
    /// Registers 0 to 2 that its replay has another value for than the quote.
    pub differs_from_quote: Vec<usize>,
    /// For refused evidence, the evidence that it is held against: a record, accepted before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<Digest>,
    /// What the logs do not have in common: `-` there, `+` here.
    pub difference: Vec<String>,
}

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The repository cannot be read.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The status commit has no such agent.
    #[error("there is no agent {0} in that commit")]
    Unknown(AgentId),
    /// Its file names no evidence.
    #[error("the status branch keeps no evidence of {0}")]
    None(AgentId),
    /// A file is wrong.
    #[error("{0} {1}: see `easyenclave verify`")]
    Wrong(String, String),
}

/// Reads the newest evidence of an agent from a status commit.
///
/// # Errors
/// When there is none, or files are missing or wrong.
pub fn shown(
    past: &Past,
    status: CommitId,
    agent: &AgentId,
    opener: Option<&Opener>,
) -> Result<Shown, ShowError> {
    let shared = Shared::default();
    let tree = Tree {
        past,
        opener,
        commit: status,
        shared: &shared,
    };
    let claimed = claimed(&tree, agent)?.ok_or_else(|| ShowError::None(agent.clone()))?;
    let record = &claimed.record;
    let wrong = |wrong: super::evidence::Wrong| ShowError::Wrong(wrong.path, wrong.message);
    let applied = tree.policy(record.policy).map_err(wrong)?;
    let judged = tree.judge(&claimed);
    let exhibit = tree.exhibit_of(&claimed).map_err(wrong)?;
    let (guest, closed) = match &exhibit {
        Ok(exhibit) => (guest(&tree, &claimed, exhibit, &applied.policy)?, None),
        Err(closed) => (None, Some(closed.to_string())),
    };
    Ok(Shown {
        agent: agent.clone(),
        commit: status.to_string(),
        target: claimed.target.clone(),
        node_size: claimed.node_size.clone(),
        record: claimed.digest,
        shown_at: record.at,
        simulated: judged.root.is_some_and(|root| root.is_simulated()),
        trust_root: judged.root,
        policy: policy(past, status, record.policy, applied.text)?,
        advice: advice(&record.outcome),
        outcome: record.outcome.clone(),
        made_again: match judged.made {
            Ok(Made::Same) => "the same comes out again".into(),
            Ok(Made::NotAccepted) => "it is refused again, for a reason of its own".into(),
            Ok(Made::Not(closed)) => format!("not made again: the evidence {closed}"),
            Err(wrong) => format!("not the same: {} {}", wrong.path, wrong.message),
        },
        public_key: record.public_key.clone(),
        guest,
        closed,
    })
}

fn advice(outcome: &Outcome) -> Option<Advice> {
    match outcome {
        Outcome::Accepted(_) => None,
        Outcome::Refused(Rejection { code, .. }) => Some(Advice {
            cause: code.cause(),
            next_step: code.next_step(),
        }),
    }
}

/// The record that an agent's file names in a tree.
fn claimed(tree: &Tree<'_>, agent: &AgentId) -> Result<Option<Box<Claimed>>, ShowError> {
    let path = paths::agent(agent);
    let blob = tree.past.file(tree.commit, &path)?;
    let blob = blob.ok_or_else(|| ShowError::Unknown(agent.clone()))?;
    match tree.claim(&path, blob) {
        Ok(Claim::Record(claimed)) => Ok(Some(claimed)),
        Ok(_) => Ok(None),
        Err(wrong) => Err(ShowError::Wrong(wrong.path, wrong.message)),
    }
}

fn policy(
    past: &Past,
    status: CommitId,
    digest: Digest,
    text: Digest,
) -> Result<PolicyShown, GitError> {
    let commit = desired(&past.commit(status)?).ok();
    let mut policies = Policies::default();
    let read = commit.map_or(Ok(()), |commit| policies.upto(past, commit));
    let is_known = commit.is_some() && read.is_ok();
    Ok(PolicyShown {
        digest,
        names: match is_known {
            true => policies.names(text),
            false => BTreeSet::new(),
        },
        desired_commit: commit.filter(|_| is_known).map(|it| it.to_string()),
        unread: read.err().map(|error| error.to_string()),
    })
}

fn guest(
    tree: &Tree<'_>,
    claimed: &Claimed,
    exhibit: &Exhibit,
    policy: &Policy,
) -> Result<Option<Guest>, GitError> {
    let bytes = exhibit.evidence.quote.as_bytes();
    let Ok(quote) = QuoteView::parse(bytes) else {
        return Ok(None);
    };
    let measured = quote.measured();
    let log = exhibit.evidence.event_log.as_ref();
    let log = log.and_then(|log| EventLog::parse(log.as_bytes()).ok());
    let log = log.map(|log| log_shown(tree, claimed, &log, &measured));
    Ok(Some(Guest {
        quote_version: quote.version(),
        tee: quote.kind(),
        quote_bytes: quote.bytes().len(),
        bound_to: bound_to(exhibit, quote.report_data()),
        mrtd: measured.mrtd,
        rtmrs: measured.rtmrs,
        mrseam: measured.mrseam,
        mrconfigid: measured.mrconfigid,
        attributes: measured.attributes,
        nearest: nearest(&measured, &policy.references),
        event_log: log.transpose()?,
    }))
}

fn bound_to(exhibit: &Exhibit, data: &[u8]) -> &'static str {
    let Ok(binding) = exhibit.binding.parse() else {
        return "other";
    };
    let ita = binding.ita.as_ref();
    let ita = ita.and_then(|nonce| {
        easyenclave_attestation::ita_report_data(nonce, &binding.public_key).ok()
    });
    match () {
        () if data == report_data(&binding.nonce, &binding.public_key) => "nonceAndKey",
        () if ita.is_some_and(|ita| data == ita) => "trustAuthorityNonceAndKey",
        () => "other",
    }
}

fn log_shown(
    tree: &Tree<'_>,
    claimed: &Claimed,
    log: &EventLog,
    measured: &Measured,
) -> Result<LogShown, GitError> {
    let replay = log.replay();
    let differs = (0..3).filter(|&index| replay[index] != measured.rtmrs[index]);
    let is_refused = matches!(claimed.record.outcome, Outcome::Refused(_));
    let beside = match is_refused {
        true => accepted_log(tree, claimed)?,
        false => None,
    };
    Ok(LogShown {
        events: log.events().count(),
        differs_from_quote: differs.collect(),
        difference: match &beside {
            Some((_, accepted)) => difference(accepted, log),
            None => Vec::new(),
        },
        beside: beside.map(|(record, _)| record),
    })
}

/// The newest accepted event log before this commit: of the same agent, or else of another one of its target.
fn accepted_log(
    tree: &Tree<'_>,
    claimed: &Claimed,
) -> Result<Option<(Digest, EventLog)>, GitError> {
    let path = paths::agent(&claimed.record.agent);
    let (mut at, mut last) = (Some(tree.commit), None);
    for _ in 0..BACK {
        let Some(commit) = at else { break };
        let blob = tree.past.file(commit, &path)?;
        let tree = Tree { commit, ..*tree };
        if let Some(blob) = blob.filter(|_| blob != last)
            && let Some(found) = log_of(&tree, &path, blob, claimed)
        {
            return Ok(Some(found));
        }
        last = blob;
        at = tree.past.commit(commit)?.parents.first().copied();
    }
    let files = tree.past.files(tree.commit)?;
    let mut agents = files
        .into_iter()
        .filter(|(path, _)| path.starts_with(paths::AGENTS));
    Ok(agents.find_map(|(path, blob)| log_of(tree, &path, blob, claimed)))
}

/// The event log of an agent's file, when it was accepted for the same target.
fn log_of(
    tree: &Tree<'_>,
    path: &str,
    blob: easyenclave_git::BlobId,
    like: &Claimed,
) -> Option<(Digest, EventLog)> {
    let Ok(Claim::Record(found)) = tree.claim(path, blob) else {
        return None;
    };
    let is_like = found.target == like.target && found.node_size == like.node_size;
    let Outcome::Accepted(_) = found.record.outcome else {
        return None;
    };
    let exhibit = is_like.then(|| tree.exhibit_of(&found).ok()?.ok())??;
    let log = EventLog::parse(exhibit.evidence.event_log?.as_bytes()).ok()?;
    Some((found.digest, log))
}

impl Shown {
    /// What was accepted, if it was.
    pub fn verdict(&self) -> Option<&Verdict> {
        match &self.outcome {
            Outcome::Accepted(verdict) => Some(verdict),
            Outcome::Refused(_) => None,
        }
    }
}
