//! The way along a branch, some hundred commits at a time: what can be looked at by itself is spread over the cores, and
//! what follows from the commits before is put together in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use easyenclave_git::{
    BlobId, CommitId, Deeds, Flaw, FlawKind, GitError, Past, SUMS_TRAILER, Saying, SignatureFlaw,
    Signers,
};
use easyenclave_schemas::status::paths;
use easyenclave_schemas::{Digest, NodeSize, TargetName};

use super::evidence::{Claim, Claimed, Judged, Shared, Tree, Wrong};
use super::policies::Policies;
use super::signing::Signing;
use super::spread::spread;
use super::{Audit, Finding, Scope};
use crate::seal::Opener;

/// So many findings are told; the rest is counted.
const FINDINGS: usize = 200;

/// The longest message of a finding, in characters.
const MESSAGE: usize = 1000;

/// So many commits at a time: what they say is in memory together.
const BLOCK: usize = 512;

pub(super) struct Walk<'a> {
    past: &'a Past,
    signing: Signing<'a>,
    opener: Option<&'a Opener>,
    shared: Shared,
    policies: Policies,
    audit: Audit,
    /// Whether the signature of the commit before does not hold.
    broken: bool,
    /// Whether a commit before said what it wrote.
    told: bool,
    /// What was found of records.
    known: BTreeMap<Digest, Known>,
    /// The records, targets and sizes of agents whose policies were looked for.
    looked_for: BTreeSet<(Digest, TargetName, NodeSize)>,
}

/// What was found of a record.
struct Known {
    made: Result<(), Wrong>,
    policy: Option<(Digest, NodeSize)>,
}

/// What can be said of a commit by itself.
struct Looked {
    signed: Result<(), Flawed>,
    deeds: Deeds,
}

enum Flawed {
    /// Nobody knows who may sign it.
    Unnamed(String),
    Signature(SignatureFlaw),
}

/// A file of an agent, by the number of its commit in the block.
struct File {
    commit: usize,
    path: String,
    blob: BlobId,
}

impl<'a> Walk<'a> {
    pub(super) fn new(past: &'a Past, signing: Signing<'a>, opener: Option<&'a Opener>) -> Self {
        let audit = Audit {
            policies_looked_for: signing.looks(),
            ..Audit::default()
        };
        Self {
            past,
            signing,
            opener,
            shared: Shared::default(),
            policies: Policies::default(),
            audit,
            broken: false,
            told: false,
            known: BTreeMap::new(),
            looked_for: BTreeSet::new(),
        }
    }

    pub(super) fn all(mut self, scope: Scope) -> Result<Audit, GitError> {
        let (after, to) = match scope {
            Scope::Upto(to) => (None, to),
            Scope::Range(after, to) => (Some(after), to),
            Scope::At(at) => (self.past.commit(at)?.parents.first().copied(), at),
        };
        self.audit.commit = to.to_string();
        let Some(chain) = self.past.chain(after, to)? else {
            let message =
                "does not follow on the first commit of the range: the branch was taken back";
            self.found(to, None, "history", message.into());
            return Ok(self.audit);
        };
        let mut before = after.map(|after| self.past.commit(after)).transpose()?;
        if let Some(before) = &before {
            self.signing.start(before);
            self.told = before.trailer(SUMS_TRAILER).is_some();
        }
        for block in chain.chunks(BLOCK) {
            before = self.block(block, before, matches!(scope, Scope::At(_)))?;
        }
        Ok(self.audit)
    }

    /// Looks at commits that follow on one another and on that one; answers the last.
    fn block(
        &mut self,
        block: &[CommitId],
        before: Option<Saying>,
        whole_tree: bool,
    ) -> Result<Option<Saying>, GitError> {
        let read = spread(self.past, block, |past, commit| past.commit(*commit))?;
        let sayings = read.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut looked = self.look(&sayings, before.as_ref())?;
        if whole_tree {
            for (saying, looked) in sayings.iter().zip(&mut looked) {
                if looked.deeds.flaws.is_empty() {
                    looked.deeds.written = self.past.files(saying.commit)?;
                }
            }
        }
        let files = agents(&looked);
        let (opener, shared) = (self.opener, &self.shared);
        let claims = spread(self.past, &files, |past, file| {
            let commit = sayings[file.commit].commit;
            let tree = Tree {
                past,
                opener,
                commit,
                shared,
            };
            tree.claim(&file.path, file.blob)
        })?;
        let mut judged = self.judge(&sayings, &files, &claims)?;
        let mut claims = files.iter().zip(claims).peekable();
        let mut before = before;
        for (number, (saying, looked)) in sayings.into_iter().zip(looked).enumerate() {
            self.commit(&saying, before.as_ref(), looked);
            while let Some((file, claim)) = claims.next_if(|(file, _)| file.commit == number) {
                self.claim(&saying, file, claim, &mut judged)?;
            }
            before = Some(saying);
        }
        Ok(before)
    }

    fn look(
        &mut self,
        sayings: &[Saying],
        before: Option<&Saying>,
    ) -> Result<Vec<Looked>, GitError> {
        let parents = std::iter::once(before).chain(sayings.iter().map(Some));
        let signers = sayings.iter().map(|saying| match saying.is_whole() {
            true => self.signing.signers(self.past, saying),
            false => Ok(Arc::default()),
        });
        let jobs: Vec<_> = sayings.iter().zip(parents).zip(signers).collect();
        type Job<'a> = (
            (&'a Saying, Option<&'a Saying>),
            Result<Arc<Signers>, String>,
        );
        spread(
            self.past,
            &jobs,
            |past, ((saying, parent), signers): &Job<'_>| Looked {
                signed: match signers {
                    Ok(signers) => saying.signed_by(signers).map_err(Flawed::Signature),
                    Err(message) => Err(Flawed::Unnamed(message.clone())),
                },
                deeds: past.deeds(saying, *parent),
            },
        )
    }

    /// Judges each record once, as it is in the first tree whose agents name it.
    fn judge(
        &self,
        sayings: &[Saying],
        files: &[File],
        claims: &[Result<Claim, Wrong>],
    ) -> Result<BTreeMap<Digest, Judged>, GitError> {
        let mut new: BTreeMap<Digest, (usize, &Claimed)> = BTreeMap::new();
        for (file, claim) in files.iter().zip(claims) {
            if let Ok(Claim::Record(claimed)) = claim
                && !self.known.contains_key(&claimed.digest)
            {
                let first = new.entry(claimed.digest);
                first.or_insert((file.commit, claimed));
            }
        }
        let jobs: Vec<_> = new.into_iter().collect();
        let (opener, shared) = (self.opener, &self.shared);
        let judged = spread(self.past, &jobs, |past, (_, (commit, claimed))| {
            let commit = sayings[*commit].commit;
            let tree = Tree {
                past,
                opener,
                commit,
                shared,
            };
            tree.judge(claimed)
        })?;
        let digests = jobs.into_iter().map(|(digest, _)| digest);
        Ok(digests.zip(judged).collect())
    }

    fn commit(&mut self, saying: &Saying, before: Option<&Saying>, looked: Looked) {
        self.audit.commits += 1;
        if let Err(flaw) = saying.follows(before) {
            self.flaw(saying.commit, flaw);
        }
        self.signature(saying, looked.signed);
        if looked.deeds.silent && self.told {
            let message = "does not say what it wrote, as those before it do";
            self.found(saying.commit, None, "files", message.into());
        }
        self.told |= saying.trailer(SUMS_TRAILER).is_some();
        self.audit.without_sums += usize::from(looked.deeds.silent);
        for flaw in looked.deeds.flaws {
            self.flaw(saying.commit, flaw);
        }
    }

    fn signature(&mut self, saying: &Saying, signed: Result<(), Flawed>) {
        match signed {
            Ok(()) => {
                self.broken = false;
                if let Err(message) = self.signing.went_on(saying) {
                    self.found(saying.commit, None, "history", message);
                }
            }
            Err(Flawed::Unnamed(message)) => self.found(saying.commit, None, "signature", message),
            Err(Flawed::Signature(SignatureFlaw::Altered)) if self.broken => {
                self.audit.builds_on += 1;
            }
            Err(Flawed::Signature(flaw)) => {
                self.broken = true;
                self.found(saying.commit, None, "signature", flaw.to_string());
            }
        }
    }

    fn claim(
        &mut self,
        saying: &Saying,
        file: &File,
        claim: Result<Claim, Wrong>,
        judged: &mut BTreeMap<Digest, Judged>,
    ) -> Result<(), GitError> {
        let claimed = match claim {
            Ok(Claim::None) => return Ok(()),
            Ok(Claim::Bare) => {
                self.audit.verdicts.without_evidence += 1;
                if self.told {
                    let message = "has a verdict and names no evidence";
                    self.found(
                        saying.commit,
                        Some(file.path.clone()),
                        "evidence",
                        message.into(),
                    );
                }
                return Ok(());
            }
            Ok(Claim::Record(claimed)) => claimed,
            Err(wrong) => {
                self.found(saying.commit, Some(wrong.path), "evidence", wrong.message);
                return Ok(());
            }
        };
        if let Some(judged) = judged.remove(&claimed.digest) {
            let made = judged.made.map(|made| {
                self.audit.verdicts.count(made, judged.root);
            });
            let policy = judged.policy;
            self.known.insert(claimed.digest, Known { made, policy });
        }
        let Some(Known { made, policy }) = self.known.get(&claimed.digest) else {
            return Ok(());
        };
        let (made, policy) = (made.clone(), policy.clone());
        if let Err(wrong) = made {
            self.found(saying.commit, Some(wrong.path), "evidence", wrong.message);
        }
        policy.map_or(Ok(()), |policy| self.policy(saying, file, &claimed, policy))
    }

    /// Whether the policy of a record is for agents of that size, and the desired state had it for its agent's target.
    fn policy(
        &mut self,
        saying: &Saying,
        file: &File,
        claimed: &Claimed,
        (policy, size): (Digest, NodeSize),
    ) -> Result<(), GitError> {
        let agent = (
            claimed.digest,
            claimed.target.clone(),
            claimed.node_size.clone(),
        );
        if !self.looked_for.insert(agent) {
            return Ok(());
        }
        let record = paths::evidence(&claimed.digest);
        if size != claimed.node_size {
            let message = format!("its policy is for agents of size {size}: {record}");
            self.found(saying.commit, Some(file.path.clone()), "policy", message);
        }
        let Some(desired) = self.signing.desired_of(saying) else {
            return Ok(());
        };
        self.policies.upto(self.past, desired)?;
        if let Err(message) = self.policies.know(policy, &claimed.target) {
            let message = format!("{message}: {record}");
            self.found(saying.commit, Some(file.path.clone()), "policy", message);
        }
        Ok(())
    }

    fn flaw(&mut self, commit: CommitId, flaw: Flaw) {
        let kind = match flaw.kind {
            FlawKind::Signature => "signature",
            FlawKind::History => "history",
            FlawKind::Files => "files",
        };
        self.found(commit, flaw.path, kind, flaw.message);
    }

    fn found(
        &mut self,
        commit: CommitId,
        path: Option<String>,
        kind: &'static str,
        message: String,
    ) {
        if self.audit.findings.len() == FINDINGS {
            self.audit.more += 1;
            return;
        }
        // What others wrote may be of any length.
        let message = message.chars().take(MESSAGE).collect();
        self.audit.findings.push(Finding {
            commit: commit.to_string(),
            path,
            kind,
            message,
        });
    }
}

/// The files of agents that commits wrote. Those whose bytes are not what was written are left out: what they say is
/// nobody's word.
fn agents(looked: &[Looked]) -> Vec<File> {
    let mut files = Vec::new();
    for (commit, looked) in looked.iter().enumerate() {
        let flaws = looked.deeds.flaws.iter();
        let flawed: Vec<_> = flaws.filter_map(|flaw| flaw.path.as_deref()).collect();
        for (path, blob) in &looked.deeds.written {
            if path.starts_with(paths::AGENTS) && !flawed.contains(&path.as_str()) {
                files.push(File {
                    commit,
                    path: path.clone(),
                    blob: *blob,
                });
            }
        }
    }
    files
}
