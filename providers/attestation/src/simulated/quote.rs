//! Quotes of version 4 and, for guests of TDX 1.5, of version 5, signed the way hardware does it: the platform's key vouches for the quoting enclave,
//! the quoting enclave's report for the attestation key, the attestation key for the guest's body.

use dcap_qvl::INTEL_QE_VENDOR_ID;
use dcap_qvl::quote::{
    AuthData, AuthDataV4, CertificationData, Data, EnclaveReport, Header,
    QEReportCertificationData, Quote, Report, TDReport10, TDReport15,
};
use parity_scale_codec::Encode;
use ring::digest::{SHA256, digest};

use super::SimulatedError;
use super::body::TdBody;
use super::keys::Signer;
use super::sgx;
use super::store::{self, Files};

/// The security version and product number of the simulated quoting enclave.
pub(super) const QE_SVN: u16 = 1;
pub(super) const QE_PRODUCT: u16 = 2;
/// The attributes of an initialised 64-bit enclave without debugging.
pub(super) const QE_ATTRIBUTES: [u8; 16] = [0x11, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0, 0, 0, 0, 0, 0, 0];

const PCK_CHAIN_IN_QUOTE: u16 = 5;
const QE_REPORT_IN_QUOTE: u16 = 6;
/// x87, SSE, AVX and the rest that a usual guest may use.
const XFAM: [u8; 8] = [0xe7, 0, 6, 0, 0, 0, 0, 0];

/// Who built the simulated quoting enclave.
pub(super) fn qe_signer() -> [u8; 32] {
    sha256(b"easyenclave simulated quoting enclave signer")
}

/// The quoting side of a platform.
pub(super) struct Quoting {
    attestation: Signer,
    certification: QEReportCertificationData,
    qe_id: [u8; 20],
}

impl Quoting {
    pub(super) fn of(files: &Files) -> Result<Self, SimulatedError> {
        let attestation = Signer::read(files, store::ATTESTATION_KEY)?;
        let pck = Signer::read(files, store::PCK_KEY)?;
        let chain = files.text(store::PCK_CHAIN)?.as_bytes().to_vec();
        let mut qe_id = [0; 20];
        qe_id[..16].copy_from_slice(&sha256(&pck.public_key())[..16]);
        let certification = certification(&attestation.public_key(), &pck, chain)?;
        Ok(Self {
            attestation,
            certification,
            qe_id,
        })
    }

    pub(super) fn quote(
        &self,
        report_data: [u8; 64],
        body: &TdBody,
    ) -> Result<Vec<u8>, SimulatedError> {
        let quote = self.assemble(report(report_data, body), [0; 64]);
        let unsigned = quote.encode();
        let signature = self.attestation.sign(&unsigned[..quote.signed_length()])?;
        Ok(self.assemble(report(report_data, body), signature).encode())
    }

    fn assemble(&self, report: Report, ecdsa_signature: [u8; 64]) -> Quote {
        Quote {
            header: self.header(&report),
            report,
            auth_data: AuthData::V4(AuthDataV4 {
                ecdsa_signature,
                ecdsa_attestation_key: self.attestation.public_key(),
                certification_data: CertificationData {
                    cert_type: QE_REPORT_IN_QUOTE,
                    body: Data::new(Vec::new()),
                },
                qe_report_data: self.certification.clone(),
            }),
        }
    }

    fn header(&self, report: &Report) -> Header {
        Header {
            version: if matches!(report, Report::TD10(_)) {
                4
            } else {
                5
            },
            attestation_key_type: 2,
            tee_type: 0x81,
            qe_svn: 0,
            pce_svn: 0,
            qe_vendor_id: INTEL_QE_VENDOR_ID,
            user_data: self.qe_id,
        }
    }
}

fn certification(
    attestation_key: &[u8; 64],
    pck: &Signer,
    chain: Vec<u8>,
) -> Result<QEReportCertificationData, SimulatedError> {
    let auth_data = sha256(b"easyenclave simulated quoting enclave data").to_vec();
    let report = qe_report(attestation_key, &auth_data).encode();
    Ok(QEReportCertificationData {
        qe_report_signature: pck.sign(&report)?,
        qe_report: report.try_into().expect("an enclave report has 384 bytes"),
        qe_auth_data: Data::new(auth_data),
        certification_data: CertificationData {
            cert_type: PCK_CHAIN_IN_QUOTE,
            body: Data::new(chain),
        },
    })
}

fn qe_report(attestation_key: &[u8; 64], auth_data: &[u8]) -> EnclaveReport {
    let mut report_data = [0; 64];
    report_data[..32].copy_from_slice(&sha256(&[attestation_key, auth_data].concat()));
    EnclaveReport {
        cpu_svn: [sgx::COMPONENT_SVN; 16],
        misc_select: 0,
        reserved1: [0; 28],
        attributes: QE_ATTRIBUTES,
        mr_enclave: sha256(b"easyenclave simulated quoting enclave"),
        reserved2: [0; 32],
        mr_signer: qe_signer(),
        reserved3: [0; 96],
        isv_prod_id: QE_PRODUCT,
        isv_svn: QE_SVN,
        reserved4: [0; 60],
        report_data,
    }
}

fn report(report_data: [u8; 64], body: &TdBody) -> Report {
    let base = td_report(report_data, body);
    match &body.current {
        None => Report::TD10(base),
        Some(current) => Report::TD15(TDReport15 {
            base,
            tee_tcb_svn2: current.tee_tcb_svn,
            mr_service_td: *current.service_guest.as_bytes(),
        }),
    }
}

fn td_report(report_data: [u8; 64], body: &TdBody) -> TDReport10 {
    let [rt_mr0, rt_mr1, rt_mr2, rt_mr3] = body.rtmrs.map(|rtmr| *rtmr.as_bytes());
    TDReport10 {
        tee_tcb_svn: body.tee_tcb_svn,
        mr_seam: *body.mrseam.as_bytes(),
        mr_signer_seam: [0; 48],
        seam_attributes: [0; 8],
        td_attributes: body.attributes.0.to_le_bytes(),
        xfam: XFAM,
        mr_td: *body.mrtd.as_bytes(),
        mr_config_id: *body.mrconfigid.as_bytes(),
        mr_owner: [0; 48],
        mr_owner_config: [0; 48],
        rt_mr0,
        rt_mr1,
        rt_mr2,
        rt_mr3,
        report_data,
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes)
        .as_ref()
        .try_into()
        .expect("SHA-256 has 32 bytes")
}
