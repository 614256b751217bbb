//! All parts of collateral from one address: at once, within one deadline, each within a bound, and from nowhere else.
//! An address that fails is left alone for a while.

use std::time::Duration;

use dcap_qvl::QuoteCollateralV3;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::join;

use super::answer;
use super::places::{Intel, Place, Places, trimmed};
use crate::collateral::{Collateral, PlatformFacts};
use crate::remote::{Failure, Pace, broken, client, read, retry_after, under};

/// The longest answer, in bytes: half of what verification looks at, and ten times Intel's longest.
const LONGEST: usize = Collateral::MAX / 2;

/// How asking one address went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// It gave collateral that counts.
    Taken,
    /// It does not know the platform.
    Unknown,
    /// It gave none.
    Failed,
    /// What it gave does not count.
    Refused,
}

impl Fetched {
    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "success",
            Self::Unknown => "unknown_platform",
            Self::Failed => "failure",
            Self::Refused => "unusable",
        }
    }
}

/// Why an address gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nothing {
    /// It does not know the platform.
    Unknown,
    /// In words, without clocks and counters.
    Failed(String),
    /// It is left alone for now; why it failed.
    LeftAlone(String),
}

/// Asks addresses.
pub(super) struct Fetcher {
    http: reqwest::Client,
    deadline: Duration,
    pace: Pace,
    random: SystemRandom,
    pub(super) intel: Intel,
}

/// How one call failed.
enum Failed {
    Unknown,
    Because(Failure),
}

impl Fetcher {
    pub(super) fn new(deadline: Duration) -> reqwest::Result<Self> {
        Ok(Self {
            http: client(deadline)?,
            deadline,
            pace: Pace::default(),
            random: SystemRandom::new(),
            intel: Intel::default(),
        })
    }

    /// Collateral for this platform from this address, as it comes.
    pub(super) async fn fetch(
        &self,
        base: &str,
        platform: &PlatformFacts,
    ) -> Result<Collateral, Nothing> {
        let address = trimmed(base);
        let entered = self.pace.enter(address, self.deadline);
        entered.map_err(|held| Nothing::LeftAlone(held.why))?;
        match self.parts(base, platform).await {
            Ok(parts) => {
                self.pace.answered(address);
                Ok(Collateral::new(parts))
            }
            Err(Failed::Unknown) => {
                self.pace.answered(address);
                Err(Nothing::Unknown)
            }
            Err(Failed::Because(failure)) => {
                let why = failure.why.clone();
                self.pace.failed(address, failure, self.chance());
                Err(Nothing::Failed(why))
            }
        }
    }

    /// What came does not count: the address is left alone as if it had failed.
    pub(super) fn refused(&self, base: &str, why: String) {
        self.pace
            .failed(trimmed(base), Failure::because(why), self.chance());
    }

    async fn parts(
        &self,
        base: &str,
        platform: &PlatformFacts,
    ) -> Result<QuoteCollateralV3, Failed> {
        let places = Places::at(base, platform, &self.intel);
        let (tcb, identity, pck_crl, root_crl) = join!(
            self.get(places.tcb_info, true),
            self.get(places.qe_identity, false),
            self.get(places.pck_crl, false),
            self.get(places.root_crl, false),
        );
        // That the platform is unknown says more than what else may be missing.
        let ((tcb, tcb_chain), (identity, identity_chain)) = (tcb?, identity?);
        let ((pck_crl, pck_chain), (root_crl, _)) = (pck_crl?, root_crl?);
        let tcb = answer::tcb_info(&tcb)?;
        let identity = answer::qe_identity(&identity)?;
        Ok(QuoteCollateralV3 {
            pck_crl_issuer_chain: pck_chain,
            root_ca_crl: answer::crl(&root_crl)?,
            pck_crl: answer::crl(&pck_crl)?,
            tcb_info_issuer_chain: tcb_chain,
            tcb_info: tcb.text,
            tcb_info_signature: tcb.signature,
            qe_identity_issuer_chain: identity_chain,
            qe_identity: identity.text,
            qe_identity_signature: identity.signature,
            pck_certificate_chain: None,
        })
    }

    /// One part and its issuers. `of_platform` says that a 404 is about the platform.
    async fn get(&self, place: Place, of_platform: bool) -> Result<(Vec<u8>, String), Failed> {
        let url = under(&place.base, &place.path)?;
        let request = self.http.get(url).header(ACCEPT, "*/*");
        let mut answer = request.send().await.map_err(|error| self.broken(&error))?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND && of_platform {
            return Err(Failed::Unknown);
        }
        if status != StatusCode::OK {
            return Err(Failed::Because(Failure {
                why: format!("it answered {}", status.as_u16()),
                too_often: status == StatusCode::TOO_MANY_REQUESTS,
                asks_for: retry_after(answer.headers()),
            }));
        }
        let chain = match place.issuers {
            None => String::new(),
            Some(name) => {
                let header = answer.headers().get(name);
                let header = header.and_then(|header| header.to_str().ok());
                answer::chain(header.ok_or("it leaves out a chain of issuers")?)?
            }
        };
        match read(&mut answer, LONGEST).await {
            Ok((body, true)) => Ok((body, chain)),
            Ok((_, false)) => Err(format!("an answer is longer than {LONGEST} bytes").into()),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn broken(&self, error: &reqwest::Error) -> Failed {
        broken(error, self.deadline).into()
    }

    /// A byte by chance; without randomness all come back at once.
    pub(super) fn chance(&self) -> u8 {
        let mut byte = [0];
        self.random.fill(&mut byte).unwrap_or_default();
        byte[0]
    }
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Because(Failure::because(why))
    }
}

impl From<&str> for Failed {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}
