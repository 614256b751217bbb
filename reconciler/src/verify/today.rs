//! Each agent's newest evidence under the policies of today, at today's time: whom the fleet would trust if it asked
//! nobody anew. Judged as the reconciler does it after a change of policy: what was shown, as of when it was shown, and
//! then whether the trust that follows has ended.

use std::collections::BTreeMap;

use easyenclave_attestation::{Again, Policy};
use easyenclave_git::{BlobId, CommitId, GitError, Past};
use easyenclave_schemas::evidence::{Outcome, ReasonCode, RootKeyId, Verdict};
use easyenclave_schemas::status::paths;
use easyenclave_schemas::{Digest, NodeSize, TargetName, Timestamp};
use serde::Serialize;

use super::evidence::{Claim, Claimed, Shared, Tree, Wrong};
use super::spread::spread;
use crate::desired::{Loader, Model, is_read};
use crate::seal::Opener;

/// What today says.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Today {
    /// The time that is meant.
    pub at: Timestamp,
    /// The commit of the desired state whose policies are meant.
    pub desired_commit: String,
    /// The status commit whose agents are meant.
    pub commit: String,
    /// Every agent, by its file.
    pub agents: Vec<AgentToday>,
}

/// What today says of an agent.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentToday {
    /// Its file.
    pub path: String,
    /// The record of its newest evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Digest>,
    /// What would become of it.
    pub standing: Standing,
    /// Whether a simulated platform vouches for it, accepted or refused.
    pub simulated: bool,
    /// The root that vouches for the platform; none where that is not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_root: Option<RootKeyId>,
    /// Until when it would be trusted, or was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_until: Option<Timestamp>,
    /// The code of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<ReasonCode>,
    /// Why, in words; empty when it is accepted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What would become of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// Accepted, and its trust has not ended.
    Accepted,
    /// Accepted, and its trust has ended.
    Lapsed,
    /// Refused.
    Refused,
    /// Only fresh evidence could tell, or what is kept cannot be read.
    Unknown,
}

/// Judges the agents of a status commit by the desired state of another one.
///
/// # Errors
/// When an object is missing, or the desired state cannot be read.
pub fn today(
    past: &Past,
    status: CommitId,
    desired: CommitId,
    at: Timestamp,
    opener: Option<&Opener>,
) -> Result<Today, GitError> {
    let model = model(past, desired)?;
    let files: Vec<(String, BlobId)> = past.files(status)?.into_iter().collect();
    let is_agent = |(path, _): &(String, _)| path.starts_with(paths::AGENTS);
    let files: Vec<_> = files.into_iter().filter(is_agent).collect();
    let shared = Shared::default();
    let agents = spread(past, &files, |past, (path, blob)| {
        let tree = Tree {
            past,
            opener,
            commit: status,
            shared: &shared,
        };
        let (evidence, judged) = match tree.claim(path, *blob) {
            Ok(Claim::Record(claimed)) => (
                Some(claimed.digest),
                judge(&tree, &claimed, &model, at)
                    .unwrap_or_else(unread)
                    .under(claimed.record.outcome.trust_root()),
            ),
            Ok(_) => (None, unknown("the branch holds no evidence of it")),
            Err(wrong) => (None, unread(wrong)),
        };
        AgentToday {
            path: path.clone(),
            evidence,
            ..judged
        }
    })?;
    Ok(Today {
        at,
        desired_commit: desired.to_string(),
        commit: status.to_string(),
        agents,
    })
}

/// What the documents of a commit come to. One that cannot be read is left out.
fn model(past: &Past, commit: CommitId) -> Result<Model, GitError> {
    let mut bytes = BTreeMap::new();
    let mut keys = BTreeMap::new();
    for (path, blob) in past.documents(commit, &is_read)? {
        bytes.insert(*blob.as_bytes(), past.blob(blob)?);
        keys.insert(path, *blob.as_bytes());
    }
    let blob = |key: [u8; 20]| bytes.get(&key).cloned().ok_or_else(|| "is missing".into());
    let loaded = Loader::default().load(&keys, &blob, &|_| Ok(Vec::new()));
    let nothing = || GitError::Objects(format!("{commit} holds no readable desired state"));
    loaded.model.ok_or_else(nothing)
}

fn judge(
    tree: &Tree<'_>,
    claimed: &Claimed,
    model: &Model,
    at: Timestamp,
) -> Result<AgentToday, Wrong> {
    let policy = match policy(model, &claimed.target, &claimed.node_size) {
        Ok(policy) => policy,
        Err(message) => return Ok(unknown(message)),
    };
    let exhibit = match tree.exhibit_of(claimed)? {
        Ok(exhibit) => exhibit,
        Err(closed) => return Ok(unknown(format!("its evidence {closed}"))),
    };
    let before = match &claimed.record.outcome {
        Outcome::Accepted(verdict) => Some(verdict.as_ref()),
        Outcome::Refused(_) => None,
    };
    Ok(match exhibit.again(&policy, before) {
        Again::Accepts(verdict) => accepted(&verdict, at),
        Again::Refuses(rejection) => AgentToday {
            standing: Standing::Refused,
            code: Some(rejection.code),
            trust_root: rejection.trust_root,
            ..unknown(rejection.message)
        },
        Again::Unknown => unknown("the policy asks for what its evidence does not hold"),
    })
}

/// The policy of a target for agents of a size.
fn policy(model: &Model, target: &TargetName, size: &NodeSize) -> Result<Policy, String> {
    let found = model.desired.targets.get(target);
    let found = found.ok_or_else(|| format!("the desired state has no target {target}"))?;
    let spec = model.policies.get(&found.policy);
    let spec = spec.ok_or_else(|| format!("the desired state has no policy {}", found.policy))?;
    Policy::new(spec, size).map_err(|error| error.to_string())
}

fn accepted(verdict: &Verdict, at: Timestamp) -> AgentToday {
    let has_ended = verdict.trusted_until <= at;
    let (standing, message) = match has_ended {
        false => (Standing::Accepted, String::new()),
        true => (Standing::Lapsed, ended(verdict)),
    };
    AgentToday {
        standing,
        trust_root: Some(verdict.trust_root),
        trusted_until: Some(verdict.trusted_until),
        ..unknown(message)
    }
}

/// Why trust has ended.
fn ended(verdict: &Verdict) -> String {
    let until = verdict.trusted_until.trunc_secs();
    let is_it = |time: Option<Timestamp>| time == Some(verdict.trusted_until);
    let expires = verdict.token.as_ref().map(|token| token.expires);
    let why = match () {
        () if is_it(verdict.collateral_until) => "its collateral expired",
        () if is_it(verdict.grace_until) => "the grace of its platform ended",
        () if is_it(expires) => "its token expired",
        () => "it was shown longer ago than the policy's maxAge",
    };
    format!("trust ended at {until}: {why}")
}

impl AgentToday {
    /// Evidence that is known to be of a platform under this root, whatever today's policies see of it.
    fn under(self, root: Option<RootKeyId>) -> Self {
        let root = self.trust_root.or(root);
        Self {
            simulated: root.is_some_and(|root| root.is_simulated()),
            trust_root: root,
            ..self
        }
    }
}

fn unknown(message: impl Into<String>) -> AgentToday {
    AgentToday {
        path: String::new(),
        evidence: None,
        standing: Standing::Unknown,
        simulated: false,
        trust_root: None,
        trusted_until: None,
        code: None,
        message: message.into(),
    }
}

fn unread(wrong: Wrong) -> AgentToday {
    unknown(format!("{} {}", wrong.path, wrong.message))
}
