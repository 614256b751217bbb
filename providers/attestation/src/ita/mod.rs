//! Intel Trust Authority as a service: nonces, tokens, keys. It only fetches; whether a token counts is for the
//! verifier to say.

#[cfg(feature = "verify")]
mod authority;
#[cfg(feature = "fetch")]
mod call;
#[cfg(feature = "fetch")]
mod client;
mod error;
#[cfg(all(feature = "fetch", feature = "verify"))]
mod keys;

#[cfg(feature = "verify")]
pub use authority::{NoAuthority, TrustAuthority};
#[cfg(feature = "fetch")]
pub use client::{Account, Client, ClientError};
pub use error::{ItaError, Said};
#[cfg(all(feature = "fetch", feature = "verify"))]
pub use keys::KeyRefresh;
