//! What the verifier is told to accept, made from a policy document. Nothing is allowed by being left out: an
//! empty list trusts nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use easyenclave_schemas::documents::{
    ItaSpec, Measurement, Modes, NonceMode, PlatformPreset, PolicySpec, TdAttribute, TrustRootKind,
};
use easyenclave_schemas::evidence::{
    JudgedPolicy, MeasurementDigest, PlatformProperties, ReasonCode, Rejection, RootKeyId,
    TcbStatus,
};
use easyenclave_schemas::{Digest, NodeSize};

/// The farthest that a Trust Authority's clock may be off.
const LONGEST_LEEWAY: Duration = Duration::from_secs(600);

/// A policy, as the verifier needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Whose platforms count.
    pub trust_root: TrustRoot,
    /// Whether local verification has to accept.
    pub dcap: bool,
    /// Whether Intel Trust Authority has to accept, and how it is asked.
    pub ita: Option<ItaSpec>,
    /// What a failed check does.
    pub modes: Modes,
    /// The TCB statuses that are acceptable.
    pub allowed_tcb: BTreeSet<TcbStatus>,
    /// How long after the date of its TCB level an out-of-date platform is let pass, if that status is
    /// allowed at all. The date is that of the old level itself, often a year ago.
    pub grace: Duration,
    /// Advisories that are never let pass.
    pub refused_advisories: BTreeSet<String>,
    /// The platform properties that are allowed.
    pub platform: PlatformFlags,
    /// Attribute bits that the guest must have.
    pub required_attributes: u64,
    /// Attribute bits that the guest must not have.
    pub refused_attributes: u64,
    /// The trusted measurements.
    pub references: Vec<Reference>,
    /// How long a verdict counts at most.
    pub max_age: Duration,
    /// The digest of the document and the size that this policy was made from.
    pub digest: Digest,
}

/// Platform properties that are refused unless allowed here.
pub type PlatformFlags = PlatformProperties;

/// One trusted measurement. Registers without a value are not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its name in the policy.
    pub name: String,
    /// The initial image.
    pub mrtd: MeasurementDigest,
    /// The TDX module.
    pub mrseam: Option<MeasurementDigest>,
    /// What the launcher said the machine is for.
    pub mrconfigid: Option<MeasurementDigest>,
    /// The runtime registers 0 to 3.
    pub rtmrs: [Option<MeasurementDigest>; 4],
    /// Digests that the event log must hold, by register.
    pub events: Vec<(usize, MeasurementDigest)>,
}

/// The root that vouches for a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustRoot {
    /// Intel's production root, which is compiled in.
    Intel,
    /// The root of a simulated platform.
    Simulated(SimulatedRoot),
}

/// The key of a simulated platform's root; never Intel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulatedRoot(RootKeyId);

/// Intel's root was given as a simulated one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the trust root's key id is Intel's, which is not a simulated root")]
pub struct IntelIsNotSimulated;

impl Policy {
    /// A policy document as the verifier takes it, for one size of agent.
    ///
    /// # Errors
    /// [`ReasonCode::PolicyInvalid`] when the document contradicts itself.
    pub fn new(spec: &PolicySpec, size: &NodeSize) -> Result<Self, Rejection> {
        let trust_root = trust_root(spec)?;
        weakened(spec, &trust_root)?;
        let judged = JudgedPolicy {
            spec: spec.clone(),
            node_size: size.clone(),
        };
        Ok(Self {
            trust_root,
            dcap: spec.verifiers.dcap.is_some(),
            ita: spec.verifiers.ita.clone(),
            modes: spec.modes,
            allowed_tcb: spec.allowed_tcb_statuses.iter().copied().collect(),
            grace: spec.tcb_grace.get(),
            refused_advisories: spec.refused_advisories.iter().cloned().collect(),
            platform: platform(spec),
            required_attributes: bits(&spec.td_attributes.required),
            refused_attributes: bits(&spec.td_attributes.refused),
            references: references(spec, size)?,
            max_age: spec.max_age.get(),
            digest: judged.digest(),
        })
    }
}

impl TrustRoot {
    /// A simulated platform's root.
    ///
    /// # Errors
    /// When the key is Intel's: real evidence must never count as simulated.
    pub fn simulated(key_id: RootKeyId) -> Result<Self, IntelIsNotSimulated> {
        if key_id.is_simulated() {
            Ok(Self::Simulated(SimulatedRoot(key_id)))
        } else {
            Err(IntelIsNotSimulated)
        }
    }

    /// The key that the root must have.
    pub fn key_id(&self) -> RootKeyId {
        match self {
            Self::Intel => RootKeyId::INTEL,
            Self::Simulated(SimulatedRoot(key_id)) => *key_id,
        }
    }
}

fn invalid(message: impl Into<String>) -> Rejection {
    Rejection::new(ReasonCode::PolicyInvalid, message)
}

fn trust_root(spec: &PolicySpec) -> Result<TrustRoot, Rejection> {
    match (&spec.trust_root.kind, &spec.trust_root.key_id) {
        (TrustRootKind::Intel, None) => Ok(TrustRoot::Intel),
        (TrustRootKind::Simulated, Some(key_id)) => {
            let key_id: RootKeyId = key_id
                .parse()
                .map_err(|_| invalid("the trust root's keyId is not 96 hex digits"))?;
            TrustRoot::simulated(key_id).map_err(|error| invalid(error.to_string()))
        }
        (TrustRootKind::Intel, Some(_)) => Err(invalid("Intel's trust root takes no keyId")),
        (TrustRootKind::Simulated, None) => Err(invalid("a simulated trust root needs its keyId")),
    }
}

/// What no document may weaken: without a bound nonce a key of anybody's would be trusted, so that is
/// for tests on a simulated root; and somebody has to verify.
fn weakened(spec: &PolicySpec, root: &TrustRoot) -> Result<(), Rejection> {
    if spec.modes.nonce != NonceMode::Required && *root == TrustRoot::Intel {
        return Err(invalid(
            "modes.nonce must be required under Intel's trust root",
        ));
    }
    if spec.verifiers.dcap.is_none() && spec.verifiers.ita.is_none() {
        return Err(invalid("verifiers names none: expected dcap, ita or both"));
    }
    match &spec.verifiers.ita {
        Some(ita) if ita.leeway.get() > LONGEST_LEEWAY => {
            Err(invalid("verifiers.ita.leeway is longer than ten minutes"))
        }
        _ => Ok(()),
    }
}

fn platform(spec: &PolicySpec) -> PlatformFlags {
    let preset = match spec.preset {
        None | Some(PlatformPreset::Simulated) => PlatformFlags::default(),
        Some(PlatformPreset::Gcp) => PlatformFlags {
            dynamic_platform: true,
            cached_keys: false,
            smt: true,
        },
        Some(PlatformPreset::BareMetal) => PlatformFlags {
            dynamic_platform: true,
            cached_keys: true,
            smt: true,
        },
    };
    let own = &spec.platform;
    PlatformFlags {
        dynamic_platform: own.dynamic_platform.unwrap_or(preset.dynamic_platform),
        cached_keys: own.cached_keys.unwrap_or(preset.cached_keys),
        smt: own.smt.unwrap_or(preset.smt),
    }
}

fn bits(attributes: &[TdAttribute]) -> u64 {
    attributes
        .iter()
        .fold(0, |bits, attribute| bits | 1 << attribute.bit())
}

fn references(spec: &PolicySpec, size: &NodeSize) -> Result<Vec<Reference>, Rejection> {
    spec.measurements
        .iter()
        .filter(|entry| entry.node_size.as_ref().is_none_or(|wanted| wanted == size))
        .map(reference)
        .collect()
}

fn reference(entry: &Measurement) -> Result<Reference, Rejection> {
    let parse = |field: &str, text: &str| {
        text.parse::<MeasurementDigest>()
            .map_err(|error| invalid(format!("measurement {}: {field}: {error}", entry.name)))
    };
    let optional =
        |field, text: &Option<String>| text.as_deref().map(|text| parse(field, text)).transpose();
    let event = |event: &easyenclave_schemas::documents::EventPredicate| {
        if event.rtmr > 3 {
            let message = format!("measurement {}: eventLog: rtmr is 0 to 3", entry.name);
            return Err(invalid(message));
        }
        Ok((event.rtmr as usize, parse("eventLog", &event.digest)?))
    };
    Ok(Reference {
        name: entry.name.clone(),
        mrtd: parse("mrtd", &entry.mrtd)?,
        mrseam: optional("mrseam", &entry.mrseam)?,
        mrconfigid: optional("mrconfigid", &entry.mrconfigid)?,
        rtmrs: [
            optional("rtmr0", &entry.rtmr0)?,
            optional("rtmr1", &entry.rtmr1)?,
            optional("rtmr2", &entry.rtmr2)?,
            optional("rtmr3", &entry.rtmr3)?,
        ],
        events: entry
            .event_log
            .iter()
            .map(event)
            .collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intels_root_cannot_be_named_as_simulated() {
        assert_eq!(
            TrustRoot::simulated(RootKeyId::INTEL),
            Err(IntelIsNotSimulated)
        );
        let other = RootKeyId::new([7; 48]);
        assert_eq!(
            TrustRoot::simulated(other).expect("not Intel's").key_id(),
            other
        );
    }

    fn refused(spec: serde_json::Value) -> String {
        let spec: PolicySpec = serde_json::from_value(spec).expect("a document");
        let size = NodeSize::new("tiny").expect("a name");
        let rejection = Policy::new(&spec, &size).expect_err("contradicts itself");
        assert_eq!(rejection.code, ReasonCode::PolicyInvalid);
        rejection.message
    }

    #[test]
    fn what_no_document_may_weaken() {
        let nonce = serde_json::json!({"measurements": [], "modes": {"nonce": "optional"}});
        assert!(refused(nonce).contains("must be required under Intel's"));
        let nobody = serde_json::json!({"measurements": [], "verifiers": {}});
        assert!(refused(nobody).contains("names none"));
        let leeway =
            serde_json::json!({"measurements": [], "verifiers": {"ita": {"leeway": "11m"}}});
        assert!(refused(leeway).contains("ten minutes"));
    }

    #[test]
    fn a_preset_is_where_flags_start() {
        let spec = serde_json::json!({
            "measurements": [], "preset": "bareMetal", "platform": {"smt": false},
        });
        let spec: PolicySpec = serde_json::from_value(spec).expect("a document");
        let size = NodeSize::new("tiny").expect("a name");
        let policy = Policy::new(&spec, &size).expect("a policy");
        let expected = PlatformFlags {
            dynamic_platform: true,
            cached_keys: true,
            smt: false,
        };
        assert_eq!(policy.platform, expected);
        assert_eq!(policy.trust_root, TrustRoot::Intel);
    }
}
