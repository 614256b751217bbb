//! Collateral: what a platform's vendor publishes about it (certificates, revocation lists, TCB levels), and where it
//! comes from. It is public and untrusted until verified; nothing here decides whether it is good.

use std::fmt;
use std::sync::{Arc, OnceLock};

use dcap_qvl::QuoteCollateralV3;
use easyenclave_schemas::Digest;
#[cfg(feature = "verify")]
use easyenclave_schemas::evidence::RootKeyId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[cfg(feature = "verify")]
pub use source::{CollateralError, CollateralSource, NoCollateral, PckCa, PlatformFacts, Stock};

/// The collateral of one type of platform. A copy is the same one: it costs nothing, and shares what was found out.
#[derive(Clone)]
pub struct Collateral(Arc<Published>);

struct Published {
    parts: QuoteCollateralV3,
    /// Made once: many verdicts share one collateral, and each names it.
    digest: OnceLock<Digest>,
    /// The roots that come with it, found once: checking a root's signature costs a tenth of a verification.
    #[cfg(feature = "verify")]
    roots: OnceLock<Option<Roots>>,
}

/// Roots by key id, with their certificates.
#[cfg(feature = "verify")]
type Roots = Vec<(RootKeyId, Vec<u8>)>;

impl PartialEq for Collateral {
    fn eq(&self, other: &Self) -> bool {
        self.0.parts == other.0.parts
    }
}

impl Eq for Collateral {}

impl Collateral {
    /// The largest collateral that verification looks at, in bytes: ten times what Intel publishes today.
    pub const MAX: usize = 1024 * 1024;

    /// Wraps collateral in the verifier's form.
    pub fn new(collateral: QuoteCollateralV3) -> Self {
        Self(Arc::new(Published {
            parts: collateral,
            digest: OnceLock::new(),
            #[cfg(feature = "verify")]
            roots: OnceLock::new(),
        }))
    }

    /// What `find` says of it, remembered. It must say the same each time.
    #[cfg(feature = "verify")]
    pub(crate) fn roots(&self, find: impl FnOnce() -> Option<Roots>) -> Option<&Roots> {
        self.0.roots.get_or_init(find).as_ref()
    }

    /// The verifier's form.
    pub fn as_dcap(&self) -> &QuoteCollateralV3 {
        &self.0.parts
    }

    /// The digest over every part of it.
    pub fn digest(&self) -> Digest {
        *self.0.digest.get_or_init(|| Digest::of_list(self.parts()))
    }

    /// The size of all parts, in bytes.
    pub fn size(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    fn parts(&self) -> [&[u8]; 10] {
        let parts = self.as_dcap();
        let chain = parts.pck_certificate_chain.as_deref().unwrap_or_default();
        [
            parts.pck_crl_issuer_chain.as_bytes(),
            &parts.root_ca_crl,
            &parts.pck_crl,
            parts.tcb_info_issuer_chain.as_bytes(),
            parts.tcb_info.as_bytes(),
            &parts.tcb_info_signature,
            parts.qe_identity_issuer_chain.as_bytes(),
            parts.qe_identity.as_bytes(),
            &parts.qe_identity_signature,
            chain.as_bytes(),
        ]
    }
}

impl Serialize for Collateral {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_dcap().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Collateral {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        QuoteCollateralV3::deserialize(deserializer).map(Self::new)
    }
}

impl fmt::Debug for Collateral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Collateral({}, {} bytes)",
            self.digest().short(12),
            self.size()
        )
    }
}

#[cfg(feature = "verify")]
mod source {
    //! The reading side: which collateral to ask for, and of whom.

    use std::fmt;

    use async_trait::async_trait;
    use easyenclave_schemas::Timestamp;
    use easyenclave_schemas::evidence::{Fmspc, ReasonCode, Rejection};

    use super::Collateral;

    /// What a quote says about its platform, enough to ask for its collateral. Untrusted: it comes from
    /// the quote before that is verified.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct PlatformFacts {
        /// The type of the platform.
        pub fmspc: Fmspc,
        /// The authority that certified its quoting key.
        pub ca: PckCa,
    }

    /// The authorities that certify quoting keys.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum PckCa {
        /// For platforms with several packages.
        Platform,
        /// For platforms with one package.
        Processor,
    }

    impl fmt::Display for PckCa {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self {
                Self::Platform => "platform",
                Self::Processor => "processor",
            })
        }
    }

    /// Where collateral comes from.
    ///
    /// Guarantees: at most [`Collateral::MAX`] bytes; the same answer for a while, so that many verdicts share one;
    /// an answer that counts at `now`. Assumptions: `now` is the verifier's clock. Caveats: the answer is not a
    /// verdict, and may be close to its expiry; whoever asks says how long to wait.
    #[async_trait]
    pub trait CollateralSource: Send + Sync {
        /// The collateral of a platform, to be used at `now`.
        ///
        /// # Errors
        /// When there is none for this platform, or it cannot be had at present.
        async fn collateral(
            &self,
            platform: &PlatformFacts,
            now: Timestamp,
        ) -> Result<Collateral, CollateralError>;

        /// What is kept and can run out, for those who warn of it: nothing where collateral is made on demand.
        fn stock(&self, now: Timestamp) -> Vec<Stock>;
    }

    /// No collateral, and why: what a reconciler has where platforms of a kind are not to be verified.
    #[derive(Debug, Clone, Copy)]
    pub struct NoCollateral(pub &'static str);

    #[async_trait]
    impl CollateralSource for NoCollateral {
        async fn collateral(
            &self,
            _: &PlatformFacts,
            _: Timestamp,
        ) -> Result<Collateral, CollateralError> {
            Err(CollateralError::Unavailable(self.0.into()))
        }

        fn stock(&self, _: Timestamp) -> Vec<Stock> {
            Vec::new()
        }
    }

    /// The collateral that is kept of one type of platform, or should be.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Stock {
        /// The platform.
        pub platform: PlatformFacts,
        /// The first moment at which it no longer counts; none when there is none.
        pub until: Option<Timestamp>,
        /// Why the last try to fetch it brought nothing, without clocks and counters; none when it did.
        pub trouble: Option<String>,
    }

    /// Why there is no collateral. Never a verdict on the evidence.
    #[derive(Debug, thiserror::Error)]
    pub enum CollateralError {
        /// The source cannot answer at present; try again later.
        #[error("collateral cannot be fetched at present")]
        Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
        /// The source does not know this type of platform.
        #[error("there is no collateral for platform {0}")]
        UnknownPlatform(Fmspc),
    }

    impl From<CollateralError> for Rejection {
        fn from(error: CollateralError) -> Self {
            Self::new(ReasonCode::DependencyUnavailable, error.to_string())
        }
    }
}
