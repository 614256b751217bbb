//! One revision of the state repository, ready to use: the planner's model, and beside it what the
//! planner need not know but an executed plan needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use easyenclave_attestation::{PlatformFlags, Policy, TrustRoot};
use easyenclave_plan::{Desired, Target};
use easyenclave_schemas::documents::{
    Health, PolicySpec, ProviderSpec, StatusSpec, TrustRootKind, Workload,
};
use easyenclave_schemas::evidence::{
    MeasurementDigest, ReasonCode, Rejection, RootKeyId, TcbStatus,
};
use easyenclave_schemas::status::ProblemStatus;
use easyenclave_schemas::{DeploymentId, Digest, NodeSize, PolicyName, ProviderName};

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
    /// Policies.
    pub policies: BTreeMap<PolicyName, PolicySpec>,
    /// Providers.
    pub providers: BTreeMap<ProviderName, ProviderSpec>,
    /// The path that people should open, for deployments that are exposed.
    pub paths: BTreeMap<DeploymentId, String>,
    /// How status is written.
    pub status: StatusSpec,
    /// Documents that were rejected.
    pub problems: Vec<ProblemStatus>,
}

/// What a deployment runs: all that an agent is told.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkloadVersion {
    /// The process.
    pub workload: Workload,
    /// How to tell that it is ready.
    pub health: Option<Health>,
}

impl WorkloadVersion {
    /// The version's digest: what an agent is told, and nothing else. Changing `replicas` is no new
    /// version.
    pub fn digest(&self) -> Digest {
        let workload = serde_json::to_vec(&self.workload).expect("a document is plain data");
        let health = serde_json::to_vec(&self.health).expect("a document is plain data");
        Digest::of_list([workload.as_slice(), health.as_slice()])
    }
}

impl Revision {
    /// The policy of this name for agents of this size, as the verifier takes it.
    ///
    /// # Errors
    /// When there is no such policy, or it contradicts itself.
    pub fn policy(&self, name: &PolicyName, size: &NodeSize) -> Result<Policy, Rejection> {
        let missing = || {
            Rejection::new(
                ReasonCode::PolicyInvalid,
                format!("there is no policy named {name}"),
            )
        };
        let spec = self.policies.get(name).ok_or_else(missing)?;
        policy(spec, size)
    }
}

/// The digests of the policies in force, each made once: a pass looks them up for every agent.
pub struct Policies<'a> {
    revision: &'a Revision,
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
                .map(|policy| policy.digest)
        };
        *self.known.entry(key).or_insert_with(make)
    }
}

/// A policy document as the verifier takes it, for one size of agent.
///
/// # Errors
/// When the document contradicts itself.
pub fn policy(spec: &PolicySpec, size: &NodeSize) -> Result<Policy, Rejection> {
    let document = serde_json::to_vec(spec).expect("a document is plain data");
    Ok(Policy {
        trust_root: trust_root(spec)?,
        allowed_tcb: spec.allowed_tcb_statuses.iter().map(tcb).collect(),
        platform: PlatformFlags {
            dynamic_platform: spec.platform.dynamic_platform,
            cached_keys: spec.platform.cached_keys,
            smt: spec.platform.smt,
        },
        grace: std::time::Duration::ZERO,
        measurements: measurements(spec, size)?,
        max_age: spec.max_age.get(),
        digest: Digest::of_list([document.as_slice(), size.as_str().as_bytes()]),
    })
}

fn trust_root(spec: &PolicySpec) -> Result<TrustRoot, Rejection> {
    let invalid = |message: &str| Rejection::new(ReasonCode::PolicyInvalid, message);
    match (&spec.trust_root.kind, &spec.trust_root.key_id) {
        (TrustRootKind::Intel, None) => Ok(TrustRoot::Intel),
        (TrustRootKind::Simulated, Some(key_id)) => {
            let key_id: RootKeyId = key_id
                .parse()
                .map_err(|_| invalid("the trust root's keyId is not 96 hex digits"))?;
            TrustRoot::simulated(key_id).map_err(|error| invalid(&error.to_string()))
        }
        (TrustRootKind::Intel, Some(_)) => Err(invalid("Intel's trust root takes no keyId")),
        (TrustRootKind::Simulated, None) => Err(invalid("a simulated trust root needs its keyId")),
    }
}

fn measurements(
    spec: &PolicySpec,
    size: &NodeSize,
) -> Result<std::collections::BTreeSet<MeasurementDigest>, Rejection> {
    spec.measurements
        .iter()
        .filter(|entry| entry.node_size.as_ref().is_none_or(|wanted| wanted == size))
        .map(|entry| {
            entry.mrtd.parse().map_err(|_| {
                let message = format!("measurement {} is not 96 hex digits", entry.name);
                Rejection::new(ReasonCode::PolicyInvalid, message)
            })
        })
        .collect()
}

fn tcb(status: &easyenclave_schemas::documents::TcbStatus) -> TcbStatus {
    use easyenclave_schemas::documents::TcbStatus as Written;
    match status {
        Written::UpToDate => TcbStatus::UpToDate,
        Written::SWHardeningNeeded => TcbStatus::SWHardeningNeeded,
        Written::ConfigurationNeeded => TcbStatus::ConfigurationNeeded,
        Written::ConfigurationAndSWHardeningNeeded => TcbStatus::ConfigurationAndSWHardeningNeeded,
    }
}
