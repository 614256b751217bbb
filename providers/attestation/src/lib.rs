//! Attestation, in three parts that never mix: collect evidence (guest), fetch collateral (network), verify (pure).
//! Whether evidence is real or simulated is decided by the trust root that the policy names, and by nothing else:
//! there is one verifier, and neither a feature nor the evidence can choose another.

#[cfg(any(feature = "simulated", feature = "verify"))]
mod collateral;
mod collect;
mod event_log;
mod guest;
#[cfg(any(feature = "fetch", feature = "verify"))]
mod ita;
#[cfg(feature = "verify")]
pub mod jwt;
mod layout;
mod machine;
#[cfg(all(feature = "fetch", feature = "verify"))]
mod pcs;
#[cfg(all(test, feature = "testing"))]
mod real_samples;
#[cfg(feature = "fetch")]
mod remote;
#[cfg(feature = "simulated")]
pub mod simulated;
#[cfg(feature = "testing")]
pub mod testing;
mod tsm;
#[cfg(feature = "verify")]
mod verify;

#[cfg(any(feature = "simulated", feature = "verify"))]
pub use collateral::Collateral;
#[cfg(feature = "verify")]
pub use collateral::{
    CollateralError, CollateralSource, NoCollateral, PckCa, PlatformFacts, Stock,
};
pub use collect::{
    CollectError, NonceError, QuoteSource, collect, collect_for_ita, ita_report_data, report_data,
};
pub use event_log::{Event, EventLog, EventLogError};
pub use guest::{LogError, TdxGuest};
#[cfg(all(feature = "fetch", feature = "verify"))]
pub use ita::KeyRefresh;
#[cfg(feature = "fetch")]
pub use ita::{Account, Client as ItaClient, ClientError as ItaClientError};
#[cfg(any(feature = "fetch", feature = "verify"))]
pub use ita::{ItaError, Said as ItaSaid};
#[cfg(feature = "verify")]
pub use ita::{NoAuthority, TrustAuthority};
#[cfg(feature = "verify")]
pub use jwt::{KeySetError, TokenKeys, key_id as token_key_id};
pub use layout::{LayoutError, Measured, QuoteView};
pub use machine::Machine;
#[cfg(all(feature = "fetch", feature = "verify"))]
pub use pcs::{
    Builder as PcsBuilder, Client as PcsClient, Fetched as CollateralFetch, OpenError as PcsError,
};
pub use tsm::{Patience, Step, TsmError, TsmSource};
#[cfg(feature = "verify")]
pub use verify::{
    Again, Binding, Case, Foresight, IntelIsNotSimulated, PlatformFlags, Policy, Reference,
    SimulatedRoot, TrustRoot, foresee, judge_again, sight, token_settings, verify, vouches,
};
