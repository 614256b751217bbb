//! Reading a quote before it is trusted: its layout, and which platform's collateral it needs.

use dcap_qvl::intel;
use dcap_qvl::quote::Quote;
use easyenclave_schemas::evidence::{Evidence, Fmspc, ReasonCode, Rejection};

use crate::collateral::{PckCa, PlatformFacts};
use crate::layout::QuoteView;

impl PlatformFacts {
    /// What the quote says about its platform. Untrusted, and good only for asking for collateral.
    ///
    /// # Errors
    /// When the quote cannot be read, or carries no certificate of its platform.
    pub fn of(evidence: &Evidence) -> Result<Self, Rejection> {
        let quote = Quote::parse(read(evidence)?.bytes())
            .map_err(|_| Rejection::from(ReasonCode::QuoteUnreadable))?;
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

fn no_certificate() -> Rejection {
    Rejection::new(
        ReasonCode::QuoteSignatureInvalid,
        "the quote carries no readable certificate of its platform",
    )
}
