//! The certificates of an installation: root, platform authority, quoting key, collateral signer. Every
//! one of them says in its name that it is simulated and not Intel's.

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::PlatformProperties;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DistinguishedName, DnType,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use std::time::Duration;

use super::SimulatedError;
use super::sgx;
use super::store::{self, Files};

const STAMP: &str = "SIMULATED - NOT INTEL";
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Longer than any installation lives: certificates are never renewed, only collateral is.
const LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// The year 9000: later dates do not fit into a certificate once a lifetime is added.
const LAST_SECOND: u64 = 221_845_392_000;

/// A point in time as certificates write it; rcgen names its type nowhere we could import it from.
macro_rules! date {
    ($time:expr) => {
        rcgen::date_time_ymd(1970, 1, 1)
            + std::time::Duration::from_secs($crate::simulated::pki::bounded_secs($time))
    };
}
pub(super) use date;

pub(super) fn bounded_secs(time: Timestamp) -> u64 {
    time.as_secs().min(LAST_SECOND)
}

/// Everything that an installation keeps, freshly made.
pub(super) fn generate(
    now: Timestamp,
    properties: PlatformProperties,
) -> Result<Files, SimulatedError> {
    let [root, ca, tcb, pck, attestation] = keys()?;
    let names = Names::of(&root);
    let root_params = authority(names.root(), now);
    let ca_params = authority(names.platform_ca(), now);
    let root_certificate = root_params.self_signed(&root)?;
    let root_issuer = Issuer::from_params(&root_params, &root);
    let ca_certificate = ca_params.signed_by(&ca, &root_issuer)?;
    let tcb_certificate = leaf(names.tcb_signing(), now).signed_by(&tcb, &root_issuer)?;
    let quoting = quoting_params(&names, properties, now)?;
    let pck_certificate = quoting.signed_by(&pck, &Issuer::from_params(&ca_params, &ca))?;
    let chain =
        |certificates: &[&Certificate]| certificates.iter().map(|c| c.pem()).collect::<String>();
    let mut files = Files::default();
    files.put(store::ROOT_KEY, root.serialize_pem());
    files.put(store::CA_KEY, ca.serialize_pem());
    files.put(store::TCB_KEY, tcb.serialize_pem());
    files.put(
        store::CA_CHAIN,
        chain(&[&ca_certificate, &root_certificate]),
    );
    files.put(
        store::TCB_CHAIN,
        chain(&[&tcb_certificate, &root_certificate]),
    );
    files.put(store::PCK_KEY, pck.serialize_pem());
    files.put(store::ATTESTATION_KEY, attestation.serialize_pem());
    files.put(
        store::PCK_CHAIN,
        chain(&[&pck_certificate, &ca_certificate, &root_certificate]),
    );
    Ok(files)
}

fn keys() -> Result<[KeyPair; 5], SimulatedError> {
    let key = KeyPair::generate;
    Ok([key()?, key()?, key()?, key()?, key()?])
}

/// The issuer that signs with the root's or the authority's key: its name is all that signing needs.
pub(super) fn issuer(name: DistinguishedName, key: KeyPair) -> Issuer<'static, KeyPair> {
    Issuer::new(authority(name, Timestamp::default()), key)
}

/// The names of an installation's certificates. Each carries the beginning of the root key's digest, so
/// that two installations never share a name.
pub(super) struct Names {
    id: String,
}

impl Names {
    pub(super) fn of(root: &KeyPair) -> Self {
        Self {
            id: hex::encode(&digest(&SHA256, root.der_bytes()).as_ref()[..4]),
        }
    }

    pub(super) fn root(&self) -> DistinguishedName {
        self.name("Root CA")
    }

    /// The verifier tells the two kinds of authority apart by the word "Platform".
    pub(super) fn platform_ca(&self) -> DistinguishedName {
        self.name("PCK Platform CA")
    }

    fn tcb_signing(&self) -> DistinguishedName {
        self.name("TCB Signing")
    }

    fn pck(&self) -> DistinguishedName {
        self.name("PCK Certificate")
    }

    fn name(&self, role: &str) -> DistinguishedName {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, format!("{STAMP} {role} {}", self.id));
        name.push(DnType::OrganizationName, format!("EasyEnclave ({STAMP})"));
        name
    }
}

fn quoting_params(
    names: &Names,
    properties: PlatformProperties,
    now: Timestamp,
) -> Result<CertificateParams, SimulatedError> {
    let mut identity = [0; 16];
    SystemRandom::new().fill(&mut identity)?;
    let mut params = leaf(names.pck(), now);
    let content = sgx::extension(identity, properties);
    params
        .custom_extensions
        .push(CustomExtension::from_oid_content(&sgx::NAME, content));
    Ok(params)
}

fn authority(name: DistinguishedName, now: Timestamp) -> CertificateParams {
    let mut params = certificate(name, now);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(name: DistinguishedName, now: Timestamp) -> CertificateParams {
    let mut params = certificate(name, now);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn certificate(name: DistinguishedName, now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    // A day of leeway, because the clock of whoever makes an installation may run ahead of another's.
    params.not_before = date!(now.minus(DAY));
    params.not_after = date!(now.plus(LIFETIME));
    params.use_authority_key_identifier_extension = true;
    params
}
