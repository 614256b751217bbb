//! Verdicts made again: an agent's file names a record, the record its parts, and the verifier says what it says of them
//! as of the time that the record names. All three have to agree.

use std::collections::BTreeMap;

use easyenclave_attestation::{Again, Policy, TokenKeys};
use easyenclave_git::{BlobId, CommitId, Past};
use easyenclave_schemas::Digest;
use easyenclave_schemas::evidence::{EvidenceRecord, JudgedPolicy, Outcome, Verdict};
use easyenclave_schemas::status::{AgentStatus, TrustStatus, paths};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::parts::{Closed, Parts};
use crate::seal::Opener;
use crate::trust::{BoundTo, Exhibit};

/// How many verdicts were made again. Each record counts once, however many commits name it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Made again, with the same result.
    pub recomputed: usize,
    /// Those of them that a simulated platform vouches for.
    pub simulated: usize,
    /// Not made again: digests only are kept.
    pub not_kept: usize,
    /// Not made again: sealed, and nobody brought an identity.
    pub sealed: usize,
    /// Not made again: sealed for others than whose identities were brought.
    pub not_opened: usize,
    /// Refusals that followed from an earlier verdict too, or from what nobody asked the agent for: only that this
    /// evidence is not accepted was seen again.
    pub not_accepted: usize,
    /// Times that a file of an agent has a verdict and names no evidence.
    pub without_evidence: usize,
}

/// A file that is wrong.
#[derive(Debug, Clone)]
pub(super) struct Wrong {
    pub(super) path: String,
    pub(super) message: String,
}

/// What making a verdict again came to, where nothing is wrong.
enum Made {
    Same,
    NotAccepted,
    Not(Closed),
}

pub(super) struct Evidence<'a> {
    past: &'a Past,
    opener: Option<&'a Opener>,
    pub(super) tally: Tally,
    known: BTreeMap<Digest, Result<(), Wrong>>,
}

impl<'a> Evidence<'a> {
    pub(super) fn new(past: &'a Past, opener: Option<&'a Opener>) -> Self {
        Self {
            past,
            opener,
            tally: Tally::default(),
            known: BTreeMap::new(),
        }
    }

    /// What a commit says of an agent, held against the evidence that it names.
    pub(super) fn agent(
        &mut self,
        commit: CommitId,
        path: &str,
        blob: BlobId,
    ) -> Result<(), Wrong> {
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
            self.tally.without_evidence += usize::from(has_verdict);
            return Ok(());
        };
        let tree = Tree {
            past: self.past,
            opener: self.opener,
            commit,
        };
        let record: EvidenceRecord = tree.parsed(digest)?;
        if record.agent != status.agent {
            return Err(wrong("names the evidence of another agent".into()));
        }
        agrees(&status.trust, &record)
            .map_err(|field| wrong(format!("{field} is not what its record of evidence says")))?;
        if let Some(known) = self.known.get(&digest) {
            return known.clone();
        }
        let made = self.count(tree.judge(digest, &record), &record);
        self.known.insert(digest, made.clone());
        made
    }

    fn count(&mut self, made: Result<Made, Wrong>, record: &EvidenceRecord) -> Result<(), Wrong> {
        match made? {
            Made::Same => {
                self.tally.recomputed += 1;
                let simulated = matches!(&record.outcome, Outcome::Accepted(it) if it.simulated);
                self.tally.simulated += usize::from(simulated);
            }
            Made::NotAccepted => self.tally.not_accepted += 1,
            Made::Not(Closed::NotKept) => self.tally.not_kept += 1,
            Made::Not(Closed::Sealed) => self.tally.sealed += 1,
            Made::Not(Closed::NotOpened) => self.tally.not_opened += 1,
        }
        Ok(())
    }
}

/// The evidence in the tree of a commit.
struct Tree<'a> {
    past: &'a Past,
    opener: Option<&'a Opener>,
    commit: CommitId,
}

impl Tree<'_> {
    fn judge(&self, digest: Digest, record: &EvidenceRecord) -> Result<Made, Wrong> {
        let parts = match Parts::of(record, self.opener, |file| self.bytes(file))? {
            Ok(parts) => parts,
            Err(closed) => return Ok(Made::Not(closed)),
        };
        let policy: JudgedPolicy = self.parsed(record.policy)?;
        let exhibit = Exhibit {
            evidence: parts.shown(record)?,
            binding: BoundTo {
                nonce: record.nonce.clone(),
                ita: record.ita_nonce.clone(),
                public_key: record.public_key.clone(),
            },
            nonce_failure: record.nonce_failure,
            collateral: match record.collateral {
                Some(public) => Some(self.parsed(public)?),
                None => parts.collateral(record)?,
            },
            token_keys: record.token_keys.map(|it| self.keys(it)).transpose()?,
            policy,
            at: record.at,
        };
        again(&exhibit, &record.outcome).map_err(|message| wrong(digest, message))
    }

    fn keys(&self, digest: Digest) -> Result<TokenKeys, Wrong> {
        let keys = TokenKeys::parse(&self.bytes(digest)?);
        keys.map_err(|error| wrong(digest, format!("is no set of keys: {error}")))
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
fn again(exhibit: &Exhibit, outcome: &Outcome) -> Result<Made, String> {
    let policy = Policy::new(&exhibit.policy.spec, &exhibit.policy.node_size);
    let policy = policy.map_err(|error| format!("its policy cannot be applied: {error}"))?;
    let made = exhibit.judge(&policy, exhibit.at);
    match (&made, outcome) {
        (Ok(made), Outcome::Accepted(said)) => match difference(made, said) {
            None => Ok(Made::Same),
            Some(field) => Err(format!(
                "its verdict has another {field} than its evidence gives"
            )),
        },
        (Err(made), Outcome::Refused(said)) if made.code == said.code => Ok(Made::Same),
        (Err(_), Outcome::Refused(_)) if exhibit.again(&policy, None) == Again::Unknown => {
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

/// The first field, by name, in which two verdicts differ.
fn difference(one: &Verdict, other: &Verdict) -> Option<String> {
    if one == other {
        return None;
    }
    let fields = |verdict| serde_json::to_value(verdict).unwrap_or_default();
    let (one, other) = (fields(one), fields(other));
    let names = one.as_object().into_iter().chain(other.as_object());
    let mut names = names.flat_map(|fields| fields.keys());
    let differs = names.find(|name| one.get(name) != other.get(name));
    Some(differs.cloned().unwrap_or_else(|| "value".into()))
}

/// Whether what people read of an agent is what its record says; the field that is not.
fn agrees(trust: &TrustStatus, record: &EvidenceRecord) -> Result<(), &'static str> {
    let is = |holds: bool, field| if holds { Ok(()) } else { Err(field) };
    match &record.outcome {
        Outcome::Accepted(verdict) => {
            is(trust.verdict.as_ref() == Some(verdict), "verdict")?;
            is(trust.simulated == verdict.simulated, "simulated")?;
            is(
                trust.trust_root == verdict.trust_root.to_string(),
                "trustRoot",
            )?;
            let until = Some(verdict.trusted_until.trunc_secs());
            is(trust.trusted_until == until, "trustedUntil")?;
            is(
                trust.tcb_status == verdict.tcb_status.to_string(),
                "tcbStatus",
            )?;
            is(trust.mrtd == verdict.mrtd.to_string(), "mrtd")?;
            is(trust.measurement == verdict.measurement, "measurement")?;
            is(trust.verifiers == verdict.verifiers, "verifiers")?;
            is(trust.policy == Some(verdict.policy_digest), "policy")?;
            is(record.policy == verdict.policy_digest, "policy")
        }
        Outcome::Refused(rejection) => {
            is(trust.state != "accepted", "state")?;
            is(trust.verdict.is_none(), "verdict")?;
            is(trust.codes == [rejection.code.code()], "codes")?;
            is(trust.policy == Some(record.policy), "policy")
        }
    }
}

pub(super) fn wrong(digest: Digest, message: String) -> Wrong {
    Wrong {
        path: paths::evidence(&digest),
        message,
    }
}
