//! Reading a quote: its layout, what it says of guest and platform. None of it is to be believed before a
//! signature over it was checked.

use dcap_qvl::intel;
use dcap_qvl::quote::{Quote, Report};
use easyenclave_schemas::evidence::{Evidence, Fmspc, MeasurementDigest, ReasonCode, Rejection};

use super::policy::TrustRoot;
use super::root;
use crate::collateral::{PckCa, PlatformFacts};
use crate::layout::QuoteView;

/// What a quote says of its guest and its platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) mrtd: MeasurementDigest,
    pub(super) rtmrs: [MeasurementDigest; 4],
    pub(super) mrseam: MeasurementDigest,
    pub(super) mrconfigid: MeasurementDigest,
    pub(super) attributes: u64,
    /// Whether a service guest has a say in it (MRSERVICETD).
    pub(super) serves_guest: bool,
    pub(super) fmspc: Fmspc,
    pub(super) report_data: [u8; 64],
}

impl Body {
    pub(super) fn read(view: &QuoteView<'_>) -> Result<Self, Rejection> {
        let quote = parse(view)?;
        let fmspc = intel::quote_fmspc(&quote).map_err(|_| no_certificate())?;
        Self::of(&quote.report, fmspc)
    }

    /// Of a report on a platform of this type.
    pub(super) fn of(report: &Report, fmspc: [u8; 6]) -> Result<Self, Rejection> {
        let service = report.as_td15().map(|report| report.mr_service_td);
        let report = report.as_td10().ok_or(ReasonCode::QuoteUnreadable)?;
        Ok(Self {
            mrtd: MeasurementDigest::new(report.mr_td),
            rtmrs: [report.rt_mr0, report.rt_mr1, report.rt_mr2, report.rt_mr3]
                .map(MeasurementDigest::new),
            mrseam: MeasurementDigest::new(report.mr_seam),
            mrconfigid: MeasurementDigest::new(report.mr_config_id),
            attributes: u64::from_le_bytes(report.td_attributes),
            serves_guest: service.is_some_and(|service| service != [0; 48]),
            fmspc: Fmspc::new(fmspc),
            report_data: report.report_data,
        })
    }
}

impl PlatformFacts {
    /// What a quote says about its platform when its certificates end in this root. Platforms of another root are
    /// refused before anybody is asked about them.
    ///
    /// # Errors
    /// As [`Self::of`], and when the quote's certificates end in another root.
    pub fn under(root: &TrustRoot, evidence: &Evidence) -> Result<Self, Rejection> {
        root::another(root, &read(evidence)?)?;
        Self::of(evidence)
    }

    /// What the quote says about its platform. Untrusted, and good only for asking for collateral.
    ///
    /// # Errors
    /// When the quote cannot be read, or carries no certificate of its platform.
    pub fn of(evidence: &Evidence) -> Result<Self, Rejection> {
        let quote = parse(&read(evidence)?)?;
        let fmspc = intel::quote_fmspc(&quote).map_err(|_| no_certificate())?;
        // The vendor's own clients take the processor authority when the issuer names neither.
        let ca = match intel::quote_ca(&quote).map_err(|_| no_certificate())? {
            dcap_qvl::config::PckCa::Platform => PckCa::Platform,
            dcap_qvl::config::PckCa::Processor => PckCa::Processor,
        };
        Ok(Self {
            fmspc: Fmspc::new(fmspc),
            ca,
        })
    }
}

pub(super) fn read(evidence: &Evidence) -> Result<QuoteView<'_>, Rejection> {
    QuoteView::parse(evidence.quote.as_bytes())
        .map_err(|error| Rejection::new(ReasonCode::QuoteUnreadable, error.to_string()))
}

pub(super) fn parse(view: &QuoteView<'_>) -> Result<Quote, Rejection> {
    Quote::parse(view.bytes()).map_err(|_| ReasonCode::QuoteUnreadable.into())
}

fn no_certificate() -> Rejection {
    Rejection::new(
        ReasonCode::QuoteSignatureInvalid,
        "the quote carries no readable certificate of its platform",
    )
}
