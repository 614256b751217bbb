//! Collateral of a simulated platform: revocation lists, TCB levels and the quoting enclave's identity, signed anew
//! for each window of time. Old quotes verify under any of them, because the root stays the same.

use std::time::Duration;

use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::tcb_info::{TdxModule, TdxModuleIdentity, TdxModuleTcb, TdxModuleTcbLevel};
use dcap_qvl::{QeIdentity, QeTcb, QeTcbLevel, Tcb, TcbComponents, TcbInfo, TcbLevel, TcbStatus};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::RootKeyId;
use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, PublicKeyData};
use ring::digest::{SHA384, digest};
use serde::Serialize;

use super::SimulatedError;
use super::body::{MODULE_SVN, OLD_MODULE_SVN};
use super::keys::{self, Signer};
use super::pki::{self, Names, date};
use super::store::{self, Files};
use super::{quote, sgx};
use crate::collateral::Collateral;

const HOUR: Duration = Duration::from_secs(3600);
/// As long as Intel's.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
const CURRENT_SINCE: &str = "2025-01-01T00:00:00Z";
const OLD_SINCE: &str = "2024-01-01T00:00:00Z";

/// From when until when collateral is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

impl Window {
    /// Valid now and for thirty days, with an hour of leeway for clocks.
    pub(super) fn around(now: Timestamp) -> Self {
        Self {
            from: now.minus(HOUR),
            until: now.plus(LIFETIME),
        }
    }

    /// Whether at least half of it is ahead of `now`.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.from <= now && self.until.since(now) >= LIFETIME / 2
    }
}

/// What the collateral says of the platform itself.
#[derive(Debug, Clone)]
pub(crate) struct PlatformLevel {
    /// How current it is.
    pub(crate) status: TcbStatus,
    /// Since when that is so, in RFC 3339.
    pub(crate) since: &'static str,
    /// What it is open to.
    pub(crate) advisories: Vec<String>,
    /// Since when its quoting enclave is out of date, if it is.
    pub(crate) old_enclave: Option<&'static str>,
}

impl Default for PlatformLevel {
    fn default() -> Self {
        Self {
            status: TcbStatus::UpToDate,
            since: CURRENT_SINCE,
            advisories: Vec::new(),
            old_enclave: None,
        }
    }
}

/// The signing side of a platform: what a vendor keeps to itself.
pub(super) struct Authority {
    root: Issuer<'static, KeyPair>,
    ca: Issuer<'static, KeyPair>,
    tcb: Signer,
    ca_chain: String,
    tcb_chain: String,
}

impl Authority {
    pub(super) fn of(files: &Files) -> Result<Self, SimulatedError> {
        let root = keys::pair(files, store::ROOT_KEY)?;
        let names = Names::of(&root);
        Ok(Self {
            root: pki::issuer(names.root(), root),
            ca: pki::issuer(names.platform_ca(), keys::pair(files, store::CA_KEY)?),
            tcb: Signer::read(files, store::TCB_KEY)?,
            ca_chain: files.text(store::CA_CHAIN)?.to_owned(),
            tcb_chain: files.text(store::TCB_CHAIN)?.to_owned(),
        })
    }

    /// SHA-384 of the root's raw public key, as the verifier computes it.
    pub(super) fn root_key_id(&self) -> RootKeyId {
        let hash = digest(&SHA384, self.root.key().der_bytes());
        RootKeyId::new(hash.as_ref().try_into().expect("SHA-384 has 48 bytes"))
    }

    pub(super) fn mint(
        &self,
        window: Window,
        level: &PlatformLevel,
    ) -> Result<Collateral, SimulatedError> {
        let tcb_info = json(&tcb_info(window, level));
        let qe_identity = json(&qe_identity(window, level));
        Ok(Collateral::new(QuoteCollateralV3 {
            pck_crl_issuer_chain: self.ca_chain.clone(),
            root_ca_crl: revocation_list(&self.root, window)?,
            pck_crl: revocation_list(&self.ca, window)?,
            tcb_info_issuer_chain: self.tcb_chain.clone(),
            tcb_info_signature: self.tcb.sign(tcb_info.as_bytes())?.to_vec(),
            tcb_info,
            qe_identity_issuer_chain: self.tcb_chain.clone(),
            qe_identity_signature: self.tcb.sign(qe_identity.as_bytes())?.to_vec(),
            qe_identity,
            pck_certificate_chain: None,
        }))
    }
}

/// A list that revokes nothing, which the verifier demands all the same.
fn revocation_list(
    issuer: &Issuer<'_, KeyPair>,
    window: Window,
) -> Result<Vec<u8>, SimulatedError> {
    let params = CertificateRevocationListParams {
        this_update: date!(window.from),
        next_update: date!(window.until),
        crl_number: (pki::bounded_secs(window.from) / 3600).into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(params.signed_by(issuer)?.der().to_vec())
}

fn tcb_info(window: Window, level: &PlatformLevel) -> TcbInfo {
    TcbInfo {
        id: "TDX".into(),
        version: 3,
        issue_date: window.from.trunc_secs().to_string(),
        next_update: window.until.trunc_secs().to_string(),
        fmspc: hex::encode_upper(sgx::FMSPC),
        pce_id: "0000".into(),
        tcb_type: 0,
        tcb_evaluation_data_number: 1,
        tcb_levels: vec![TcbLevel {
            tcb: Tcb {
                sgx_components: vec![
                    TcbComponents {
                        svn: sgx::COMPONENT_SVN
                    };
                    16
                ],
                tdx_components: vec![TcbComponents { svn: 0 }; 16],
                pce_svn: u16::from(sgx::PCE_SVN),
            },
            tcb_date: level.since.into(),
            tcb_status: level.status,
            advisory_ids: level.advisories.clone(),
        }],
        tdx_module: Some(TdxModule {
            mrsigner: "00".repeat(48),
            attributes: "00".repeat(8),
            attributes_mask: "FF".repeat(8),
        }),
        tdx_module_identities: vec![module_identity()],
    }
}

fn module_identity() -> TdxModuleIdentity {
    let level = |isvsvn, since: &str, tcb_status, advisory: &[&str]| TdxModuleTcbLevel {
        tcb: TdxModuleTcb { isvsvn },
        tcb_date: since.into(),
        tcb_status,
        advisory_ids: advisory.iter().map(ToString::to_string).collect(),
    };
    TdxModuleIdentity {
        id: "TDX_01".into(),
        mrsigner: "00".repeat(48),
        attributes: "00".repeat(8),
        attributes_mask: "FF".repeat(8),
        tcb_levels: vec![
            level(MODULE_SVN, CURRENT_SINCE, TcbStatus::UpToDate, &[]),
            level(
                OLD_MODULE_SVN,
                OLD_SINCE,
                TcbStatus::OutOfDate,
                &["SIMULATED-SA-00001"],
            ),
        ],
    }
}

fn qe_identity(window: Window, level: &PlatformLevel) -> QeIdentity {
    let (tcb_status, since) = match level.old_enclave {
        None => (TcbStatus::UpToDate, CURRENT_SINCE),
        Some(since) => (TcbStatus::OutOfDate, since),
    };
    QeIdentity {
        id: "TD_QE".into(),
        version: 2,
        issue_date: window.from.trunc_secs().to_string(),
        next_update: window.until.trunc_secs().to_string(),
        tcb_evaluation_data_number: 1,
        miscselect: [0; 4],
        miscselect_mask: [0xff; 4],
        attributes: quote::QE_ATTRIBUTES,
        attributes_mask: [0xff; 16],
        mrsigner: quote::qe_signer(),
        isvprodid: quote::QE_PRODUCT,
        tcb_levels: vec![QeTcbLevel {
            tcb: QeTcb {
                isvsvn: quote::QE_SVN,
            },
            tcb_date: since.into(),
            tcb_status,
            advisory_ids: Vec::new(),
        }],
    }
}

fn json(document: &impl Serialize) -> String {
    serde_json::to_string(document)
        .expect("these structures have only text keys and no failing parts")
}
