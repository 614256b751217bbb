//! A simulated platform: an honest PKI of our own, generated per installation, whose quotes the real verifier checks.
//! It names itself as simulated in every certificate, keeps its root key out of a guest's reach, refuses to
//! run beside real hardware, and signs nothing but its own guests' quotes and its own collateral.

mod body;
mod collateral;
mod hardware;
mod keys;
mod pki;
mod quote;
mod sgx;
mod store;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{PlatformProperties, RootKeyId};

use crate::collateral::Collateral;
use crate::collect::{CollectError, QuoteSource};
use crate::tsm::TsmError;
pub use body::{Current, TdAttributes, TdBody};
use collateral::{Authority, PlatformLevel, Window};
pub use hardware::{refuse_beside, refuse_on_real_hardware};
use store::Files;

/// Why the simulated platform does not work.
#[derive(Debug, thiserror::Error)]
pub enum SimulatedError {
    /// This machine has real hardware, so nothing here may be simulated.
    #[error("{} exists: the simulated platform does not run beside real TEE hardware; give agents here the platform tdx", device.display())]
    RealHardware {
        /// The device that was found.
        device: PathBuf,
    },
    /// This machine's kernel makes real quotes, so nothing here may be simulated.
    #[error(
        "configfs-tsm has the provider {name}: the simulated platform does not run beside real TEE hardware; give agents here the platform tdx"
    )]
    RealProvider {
        /// What it calls itself.
        name: String,
    },
    /// Whether this machine's kernel makes real quotes cannot be told.
    #[error(
        "whether this machine has real TEE hardware cannot be told, and the simulated platform does not run beside it"
    )]
    Untold {
        /// What its report interface said.
        source: TsmError,
    },
    /// A file of the installation cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the installation cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the installation does not hold what it should.
    #[error("{file} of the simulated platform is damaged")]
    Damaged {
        /// The file's name.
        file: &'static str,
    },
    /// A certificate or revocation list could not be made.
    #[error("cannot make a simulated certificate")]
    Certificate(#[from] rcgen::Error),
    /// A signature or random number could not be made.
    #[error("the cryptographic library refused a signature or a random number")]
    Crypto,
}

impl From<ring::error::Unspecified> for SimulatedError {
    fn from(_: ring::error::Unspecified) -> Self {
        Self::Crypto
    }
}

/// The whole simulated platform: root, collateral and quoting. The reconciler's side.
pub struct Platform {
    authority: Authority,
    guest: Guest,
    minted: Mutex<Option<(Window, Collateral)>>,
}

impl Platform {
    /// Opens the installation in `dir`, or makes one whose certificates are valid from a day before `now`.
    /// Several processes may do so at once: one installation wins and all of them open it.
    ///
    /// # Errors
    /// When this machine has real TEE hardware, or files cannot be read or written.
    pub fn open_or_create(dir: &Path, now: Timestamp) -> Result<Self, SimulatedError> {
        refuse_on_real_hardware()?;
        Self::of(&store::open_or_create(dir, || {
            pki::generate(now, PlatformProperties::default())
        })?)
    }

    /// Where the installation in `dir` keeps what a guest needs, for [`Guest::open`]. A guest needs
    /// nothing else of `dir`, and should not be able to read the rest.
    pub fn guest_dir(dir: &Path) -> PathBuf {
        store::guest_dir(dir)
    }

    /// A new platform that is not kept anywhere.
    #[cfg(feature = "testing")]
    pub(crate) fn ephemeral(
        now: Timestamp,
        properties: PlatformProperties,
    ) -> Result<Self, SimulatedError> {
        Self::of(&pki::generate(now, properties)?)
    }

    fn of(files: &Files) -> Result<Self, SimulatedError> {
        Ok(Self {
            authority: Authority::of(files)?,
            guest: Guest::of(files)?,
            minted: Mutex::new(None),
        })
    }

    /// The key of this installation's root, which a policy names to accept its quotes.
    pub fn root_key_id(&self) -> RootKeyId {
        self.authority.root_key_id()
    }

    /// Collateral to be used at `now`, valid for at least half a month from then. The same one is given
    /// out for half a month, so that many verdicts share one.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn collateral(&self, now: Timestamp) -> Result<Collateral, SimulatedError> {
        let mut minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, collateral)) = minted.as_ref().filter(|(window, _)| window.is_fresh(now)) {
            return Ok(collateral.clone());
        }
        let window = Window::around(now);
        let collateral = self.authority.mint(window, &PlatformLevel::default())?;
        *minted = Some((window, collateral.clone()));
        Ok(collateral)
    }

    /// The part that a guest has.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// The part that a guest has, alone.
    #[cfg(feature = "testing")]
    pub fn into_guest(self) -> Guest {
        self.guest
    }

    #[cfg(feature = "testing")]
    pub(crate) fn mint(
        &self,
        window: Window,
        level: &PlatformLevel,
    ) -> Result<Collateral, SimulatedError> {
        self.authority.mint(window, level)
    }
}

#[cfg(feature = "testing")]
pub(crate) use collateral::{PlatformLevel as Level, Window as CollateralWindow};

#[cfg(feature = "verify")]
#[async_trait::async_trait]
impl crate::CollateralSource for Platform {
    /// The collateral of this installation, whatever the platform: if a quote is from elsewhere, the
    /// verifier says so better than a missing answer would.
    async fn collateral(
        &self,
        _platform: &crate::PlatformFacts,
        now: Timestamp,
    ) -> Result<Collateral, crate::CollateralError> {
        let minted = Platform::collateral(self, now);
        minted.map_err(|error| crate::CollateralError::Unavailable(Box::new(error)))
    }

    fn stock(&self, _now: Timestamp) -> Vec<crate::Stock> {
        Vec::new()
    }
}

/// The part of a simulated platform that a guest has: it makes quotes and nothing else.
pub struct Guest {
    quoting: quote::Quoting,
}

impl Guest {
    /// Opens the guest's part of an installation, at [`Platform::guest_dir`].
    ///
    /// # Errors
    /// When this machine has real TEE hardware, or the files are missing or damaged.
    pub fn open(dir: &Path) -> Result<Self, SimulatedError> {
        refuse_on_real_hardware()?;
        Self::of(&store::open_guest(dir)?)
    }

    fn of(files: &Files) -> Result<Self, SimulatedError> {
        Ok(Self {
            quoting: quote::Quoting::of(files)?,
        })
    }

    /// A quote over `report_data` for a guest that looks like `body`.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn quote(&self, report_data: [u8; 64], body: &TdBody) -> Result<Vec<u8>, SimulatedError> {
        self.quoting.quote(report_data, body)
    }
}

/// A source of simulated quotes for one guest.
pub struct SimulatedSource {
    guest: Guest,
    body: TdBody,
}

impl SimulatedSource {
    /// Quotes of `guest`, which always looks like `body`.
    pub fn new(guest: Guest, body: TdBody) -> Self {
        Self { guest, body }
    }
}

impl QuoteSource for SimulatedSource {
    fn quote(&self, report_data: [u8; 64]) -> Result<Vec<u8>, CollectError> {
        let quote = self.guest.quote(report_data, &self.body);
        quote.map_err(|error| CollectError::Platform(Box::new(error)))
    }
}
