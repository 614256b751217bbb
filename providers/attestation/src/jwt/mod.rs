//! Signed tokens (RFC 7519) of any issuer: whether a key of a key set has signed one, and what it claims. Everything
//! but the key sets is pure, and nothing here believes what a token says of itself.

#[cfg(feature = "fetch")]
mod cache;
mod keys;
#[cfg(feature = "fetch")]
mod sets;
mod signed;
mod unique;

#[cfg(feature = "fetch")]
pub(crate) use cache::{Ages, KeyCache, Step};
pub use keys::{KeySetError, TokenKeys};
#[cfg(feature = "fetch")]
pub use sets::{KeySets, KeySetsError};
pub use signed::{JwtError, Signed, key_id, key_of, verify};
pub use unique::Unique;
