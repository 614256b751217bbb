//! One revision of the state repository, ready to use: the planner's model, and beside it what the
//! planner need not know but an executed plan needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use easyenclave_attestation::Policy;
use easyenclave_plan::{Desired, Target};
use easyenclave_schemas::documents::{
    CollateralSpec, EvidenceSpec, Health, PolicySpec, ProviderSpec, SecretUse, StatusSpec,
    TunnelSpec, Workload,
};
use easyenclave_schemas::evidence::{JudgedPolicy, ReasonCode, Rejection};
use easyenclave_schemas::status::ProblemStatus;
use easyenclave_schemas::{DeploymentId, Digest, NodeSize, PolicyName, ProviderName};

use crate::auth::Callers;
use crate::seal::Sealer;
use crate::secrets::Secrets;

/// A revision.
#[derive(Debug, Clone)]
pub struct Revision {
    /// The newest commit that was considered, 40 hex digits.
    pub commit: String,
    /// The commit whose documents are in force. Another one when the newest cannot be read at all.
    pub effective: String,
    /// The planner's model.
    pub desired: Desired,
    /// What runs, by its digest.
    pub workloads: BTreeMap<Digest, Arc<WorkloadVersion>>,
    /// What workloads are given in secret, closed.
    pub secrets: Secrets,
    /// Policies.
    pub policies: BTreeMap<PolicyName, PolicySpec>,
    /// Providers.
    pub providers: BTreeMap<ProviderName, ProviderSpec>,
    /// The path that people should open, for deployments that are exposed.
    pub paths: BTreeMap<DeploymentId, String>,
    /// How status is written.
    pub status: StatusSpec,
    /// Where the collateral of real platforms comes from.
    pub collateral: CollateralSpec,
    /// How much evidence is kept.
    pub evidence: EvidenceSpec,
    /// How what runs is reached.
    pub tunnel: TunnelSpec,
    /// Seals it for the auditors who are named there; none where nobody is who can be read. Made once: reading an
    /// auditor is a key agreement.
    pub sealer: Option<Sealer>,
    /// Who may call the deploy API.
    pub callers: Callers,
    /// Documents that were rejected.
    pub problems: Vec<ProblemStatus>,
}

/// What a deployment runs: all that an agent is told.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkloadVersion {
    /// What runs, whole: what stands beside the document is in it as text.
    pub workload: Workload,
    /// How to tell that it is ready.
    pub health: Option<Health>,
    /// The secrets that it is given, by name.
    pub secrets: Vec<SecretUse>,
    /// The version of those secrets.
    pub secrets_digest: Option<Digest>,
}

impl WorkloadVersion {
    /// The version's digest: what an agent is told, and nothing else. Changing `replicas` is no new
    /// version.
    pub fn digest(&self) -> Digest {
        let workload = serde_json::to_vec(&self.workload).expect("a document is plain data");
        let health = serde_json::to_vec(&self.health).expect("a document is plain data");
        let mut parts = vec![workload, health];
        if !self.secrets.is_empty() {
            let uses = serde_json::to_vec(&self.secrets).expect("a document is plain data");
            let values = self.secrets_digest.map(|digest| digest.as_bytes().to_vec());
            parts.extend([uses, values.unwrap_or_default()]);
        }
        Digest::of_list(parts.iter().map(Vec::as_slice))
    }
}

/// A policy, as it is applied to agents of one size.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Its name.
    pub name: PolicyName,
    /// As the verifier takes it.
    pub policy: Policy,
    /// As it was written.
    pub document: JudgedPolicy,
}

impl Revision {
    /// The policy of this name for agents of this size, as the verifier takes it and as it was written.
    ///
    /// # Errors
    /// When there is no such policy, or it contradicts itself.
    pub fn policy(&self, name: &PolicyName, size: &NodeSize) -> Result<Applied, Rejection> {
        let missing = || {
            Rejection::new(
                ReasonCode::PolicyInvalid,
                format!("there is no policy named {name}"),
            )
        };
        let spec = self.policies.get(name).ok_or_else(missing)?;
        Ok(Applied {
            name: name.clone(),
            policy: Policy::new(spec, size)?,
            document: JudgedPolicy {
                spec: spec.clone(),
                node_size: size.clone(),
            },
        })
    }
}

/// The digests of the policies in force, each made once: a pass looks them up for every agent.
pub struct Policies<'a> {
    pub(crate) revision: &'a Revision,
    known: BTreeMap<(PolicyName, NodeSize), Option<Digest>>,
}

impl<'a> Policies<'a> {
    /// Of a revision.
    pub fn new(revision: &'a Revision) -> Self {
        Self {
            revision,
            known: BTreeMap::new(),
        }
    }

    /// The policy that a target's agents of a size must satisfy now; none when it is not readable.
    pub fn current(&mut self, target: &Target, size: &NodeSize) -> Option<Digest> {
        let revision = self.revision;
        let key = (target.policy.clone(), size.clone());
        let make = || {
            revision
                .policy(&target.policy, size)
                .ok()
                .map(|applied| applied.policy.digest)
        };
        *self.known.entry(key).or_insert_with(make)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another digest would start every workload of every fleet anew.
    #[test]
    fn the_version_of_a_process_is_the_digest_that_it_always_was() {
        let text = r#"{"process":{"command":["hello"]}}"#;
        let version = WorkloadVersion {
            workload: serde_json::from_str(text).expect("a workload"),
            health: None,
            secrets: Vec::new(),
            secrets_digest: None,
        };
        assert_eq!(
            version.digest().to_string(),
            "35ed8b845cfe3e48c13613ad95641e1fa256e052e5cf6d76116ed56aeb354d4a"
        );
    }
}
