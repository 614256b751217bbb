//! Verdicts made again: an agent's file names a record, the record its parts, and the verifier says what it says of them
//! as of the time that the record names. All three have to agree.

use std::sync::Arc;

use easyenclave_attestation::{Again, Collateral, Policy, TokenKeys, vouches};
use easyenclave_git::{BlobId, CommitId, Past};
use easyenclave_schemas::evidence::{EvidenceRecord, JudgedPolicy, Outcome, RootKeyId, Verdict};
use easyenclave_schemas::status::{AgentStatus, paths};
use easyenclave_schemas::{Digest, NodeSize, TargetName};
use serde::de::DeserializeOwned;

use super::agrees::{agrees, difference};
use super::memo::Memo;
use super::parts::{Closed, Parts};
use super::policies;
use crate::seal::Opener;
use crate::trust::{BoundTo, Exhibit};

/// The longest record of evidence, in bytes: it has some thousand. Hundreds are in memory together.
const LONGEST_RECORD: usize = 256 * 1024;

/// A file that is wrong.
#[derive(Debug, Clone)]
pub(super) struct Wrong {
    pub(super) path: String,
    pub(super) message: String,
}

/// What making a verdict again came to, where nothing is wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Made {
    Same,
    NotAccepted,
    Not(Closed),
}

/// What a file of an agent says of evidence.
pub(super) enum Claim {
    /// Nothing: no verdict either.
    None,
    /// A verdict without evidence.
    Bare,
    /// A verdict with its record.
    Record(Box<Claimed>),
}

/// A record that a file of an agent names, and agrees with.
pub(super) struct Claimed {
    pub(super) digest: Digest,
    pub(super) target: TargetName,
    pub(super) node_size: NodeSize,
    pub(super) record: EvidenceRecord,
}

/// What was found of a record.
pub(super) struct Judged {
    pub(super) made: Result<Made, Wrong>,
    /// The root that vouches for the platform, accepted or refused, where it is seen.
    pub(super) root: Option<RootKeyId>,
    /// The digest of the text of its policy, and the size of the agents that it is for; none when it cannot be read.
    pub(super) policy: Option<(Digest, NodeSize)>,
}

/// A policy as a record names it.
pub(super) struct Applied {
    pub(super) document: JudgedPolicy,
    pub(super) policy: Policy,
    /// The digest of its text.
    pub(super) text: Digest,
}

/// What many records share, read once.
#[derive(Default)]
pub(super) struct Shared {
    policies: Memo<Arc<Applied>>,
    collateral: Memo<Collateral>,
    token_keys: Memo<TokenKeys>,
}

/// The evidence in the tree of a commit.
pub(super) struct Tree<'a> {
    pub(super) past: &'a Past,
    pub(super) opener: Option<&'a Opener>,
    pub(super) commit: CommitId,
    pub(super) shared: &'a Shared,
}

impl Tree<'_> {
    /// What a file says of an agent, held against the record of evidence that it names.
    pub(super) fn claim(&self, path: &str, blob: BlobId) -> Result<Claim, Wrong> {
        let wrong = |message: String| Wrong {
            path: path.to_owned(),
            message,
        };
        let bytes = self.past.blob(blob);
        let bytes = bytes.map_err(|error| wrong(error.to_string()))?;
        let status: AgentStatus = serde_yaml::from_slice(&bytes)
            .map_err(|error| wrong(format!("is no file of an agent: {error}")))?;
        if paths::agent(&status.agent) != path {
            return Err(wrong("is the file of another agent".into()));
        }
        let Some(digest) = status.trust.evidence else {
            let has_verdict = status.trust.verdict.is_some() || status.trust.state == "accepted";
            return Ok(if has_verdict {
                Claim::Bare
            } else {
                Claim::None
            });
        };
        let record = self.record(digest)?;
        if record.agent != status.agent {
            return Err(wrong("names the evidence of another agent".into()));
        }
        agrees(&status.trust, &record)
            .map_err(|field| wrong(format!("{field} is not what its record of evidence says")))?;
        Ok(Claim::Record(Box::new(Claimed {
            digest,
            target: status.target,
            node_size: status.node_size,
            record,
        })))
    }

    fn record(&self, digest: Digest) -> Result<EvidenceRecord, Wrong> {
        let bytes = self.bytes(digest)?;
        match bytes.len() > LONGEST_RECORD {
            true => Err(wrong(
                digest,
                format!("has more than {LONGEST_RECORD} bytes, which no record has"),
            )),
            false => parsed(digest, &bytes),
        }
    }

    /// Makes the verdict of a record again.
    pub(super) fn judge(&self, claimed: &Claimed) -> Judged {
        let record = &claimed.record;
        let policy = self.policy(record.policy);
        let named = policy.as_ref().ok();
        let named = named.map(|applied| (applied.text, applied.document.node_size.clone()));
        let again = policy.and_then(|applied| {
            self.is_of_its_parts(claimed.digest, record)?;
            self.again(claimed.digest, record, &applied)
        });
        Judged {
            root: match &again {
                Ok((_, root)) => *root,
                Err(_) => record.outcome.trust_root(),
            },
            policy: named,
            made: again.map(|(made, _)| made),
        }
    }

    /// Holds the parts that a record names against those that its verdict is of, which needs none of them opened.
    fn is_of_its_parts(&self, digest: Digest, record: &EvidenceRecord) -> Result<(), Wrong> {
        let Outcome::Accepted(verdict) = &record.outcome else {
            return Ok(());
        };
        let public = record.collateral.map(|file| self.collateral(file));
        let public = public.transpose()?.map(|collateral| collateral.digest());
        match foreign_part(verdict, record, public) {
            None => Ok(()),
            Some(part) => Err(wrong(
                digest,
                format!("names another {part} than its verdict is of"),
            )),
        }
    }

    fn again(
        &self,
        digest: Digest,
        record: &EvidenceRecord,
        applied: &Applied,
    ) -> Result<(Made, Option<RootKeyId>), Wrong> {
        let (policy, outcome) = (&applied.policy, &record.outcome);
        let exhibit = match self.exhibit(record, &applied.document)? {
            Ok(exhibit) => exhibit,
            Err(closed) => return Ok((Made::Not(closed), outcome.trust_root())),
        };
        let made = again(&exhibit, policy, outcome);
        let seen = made.and_then(|made| Ok((made, root(&exhibit, policy, outcome)?)));
        seen.map_err(|message| wrong(digest, message))
    }

    /// What a record was made from, as far as it can be looked at.
    fn exhibit(
        &self,
        record: &EvidenceRecord,
        policy: &JudgedPolicy,
    ) -> Result<Result<Exhibit, Closed>, Wrong> {
        let parts = match Parts::of(record, self.opener, |file| self.bytes(file))? {
            Ok(parts) => parts,
            Err(closed) => return Ok(Err(closed)),
        };
        Ok(Ok(Exhibit {
            evidence: parts.shown(record)?,
            binding: BoundTo {
                nonce: record.nonce.clone(),
                ita: record.ita_nonce.clone(),
                public_key: record.public_key.clone(),
            },
            nonce_failure: record.nonce_failure,
            collateral: match record.collateral {
                Some(public) => Some(self.collateral(public)?),
                None => parts.collateral(record)?,
            },
            token_keys: record.token_keys.map(|it| self.keys(it)).transpose()?,
            policy: policy.clone(),
            at: record.at,
        }))
    }

    /// What a record was made from, with the policy that it names.
    pub(super) fn exhibit_of(&self, claimed: &Claimed) -> Result<Result<Exhibit, Closed>, Wrong> {
        let applied = self.policy(claimed.record.policy)?;
        self.exhibit(&claimed.record, &applied.document)
    }

    pub(super) fn policy(&self, digest: Digest) -> Result<Arc<Applied>, Wrong> {
        self.shared.policies.get(digest, || {
            let document: JudgedPolicy = self.parsed(digest)?;
            let policy = Policy::new(&document.spec, &document.node_size);
            let policy = policy.map_err(|error| {
                wrong(
                    digest,
                    format!("is a policy that cannot be applied: {error}"),
                )
            })?;
            Ok(Arc::new(Applied {
                text: policies::digest(&document.spec),
                document,
                policy,
            }))
        })
    }

    fn collateral(&self, digest: Digest) -> Result<Collateral, Wrong> {
        let parsed = || self.parsed(digest);
        self.shared.collateral.get(digest, parsed)
    }

    fn keys(&self, digest: Digest) -> Result<TokenKeys, Wrong> {
        let parsed = || {
            let keys = TokenKeys::parse(&self.bytes(digest)?);
            keys.map_err(|error| wrong(digest, format!("is no set of keys: {error}")))
        };
        self.shared.token_keys.get(digest, parsed)
    }

    fn parsed<T: DeserializeOwned>(&self, digest: Digest) -> Result<T, Wrong> {
        parsed(digest, &self.bytes(digest)?)
    }

    fn bytes(&self, digest: Digest) -> Result<Vec<u8>, Wrong> {
        let wrong = |message: String| wrong(digest, message);
        let blob = self.past.file(self.commit, &paths::evidence(&digest));
        let blob = blob.map_err(|error| wrong(error.to_string()))?;
        let blob = blob.ok_or_else(|| wrong("is named and is not there".into()))?;
        let bytes = self.past.blob(blob);
        let bytes = bytes.map_err(|error| wrong(error.to_string()))?;
        match Digest::of(&bytes) == digest {
            true => Ok(bytes),
            false => Err(wrong("has another digest than its name says".into())),
        }
    }
}

pub(super) fn parsed<T: DeserializeOwned>(digest: Digest, bytes: &[u8]) -> Result<T, Wrong> {
    serde_json::from_slice(bytes).map_err(|error| {
        wrong(
            digest,
            format!("is not what a record names it for: {error}"),
        )
    })
}

/// Makes a verdict again. A refusal may have followed from an earlier verdict as well, which is not looked for.
fn again(exhibit: &Exhibit, policy: &Policy, outcome: &Outcome) -> Result<Made, String> {
    let made = exhibit.judge(policy, exhibit.at);
    match (&made, outcome) {
        (Ok(made), Outcome::Accepted(said)) => match difference(made, said) {
            None => Ok(Made::Same),
            Some(field) => Err(format!(
                "its verdict has another {field} than its evidence gives"
            )),
        },
        (Err(made), Outcome::Refused(said)) if made.code == said.code => Ok(Made::Same),
        (Err(_), Outcome::Refused(_)) if exhibit.again(policy, None) == Again::Unknown => {
            Ok(Made::NotAccepted)
        }
        (Err(made), Outcome::Refused(said)) => Err(format!(
            "it is refused for {}, and its evidence is refused for {}",
            said.code.code(),
            made.code.code()
        )),
        (Err(made), Outcome::Accepted(_)) => Err(format!(
            "it is accepted, and its evidence is refused: {made}"
        )),
        (Ok(_), Outcome::Refused(said)) => Err(format!(
            "it is refused for {}, and its evidence is accepted",
            said.code.code()
        )),
    }
}

/// The root that vouches for the platform. One that a refusal names has to be seen again; those of before name none.
fn root(
    exhibit: &Exhibit,
    policy: &Policy,
    outcome: &Outcome,
) -> Result<Option<RootKeyId>, String> {
    let (shown, collateral) = (&exhibit.evidence, exhibit.collateral.as_ref());
    let is_seen = |root: &RootKeyId| vouches(*root, shown, collateral, exhibit.at);
    match outcome.trust_root() {
        None => Ok(Some(policy.trust_root.key_id()).filter(is_seen)),
        Some(root) if matches!(outcome, Outcome::Accepted(_)) || is_seen(&root) => Ok(Some(root)),
        Some(_) => Err("it names a root that does not vouch for its evidence".into()),
    }
}

/// The first part that is surely another than the verdict was made from; `public` is the digest of public collateral. A
/// verdict has the digest of that part of an event log which it used, and says nothing of a token that nobody looked at.
fn foreign_part(
    verdict: &Verdict,
    record: &EvidenceRecord,
    public: Option<Digest>,
) -> Option<&'static str> {
    let token = verdict.token.as_ref().map(|token| token.digest);
    let named = record.token.as_ref().map(|part| part.digest);
    let has_collateral = public.is_some() || record.private_collateral.is_some();
    let is_other = [
        ("quote", record.quote.digest != verdict.evidence_digest),
        ("token", token.is_some() && token != named),
        (
            "event log",
            verdict.event_log_digest.is_some() && record.event_log.is_none(),
        ),
        (
            "collateral",
            has_collateral != verdict.collateral_digest.is_some()
                || public.is_some() && public != verdict.collateral_digest,
        ),
    ];
    let other = is_other.into_iter().find(|(_, is_other)| *is_other);
    other.map(|(part, _)| part)
}

pub(super) fn wrong(digest: Digest, message: String) -> Wrong {
    Wrong {
        path: paths::evidence(&digest),
        message,
    }
}
