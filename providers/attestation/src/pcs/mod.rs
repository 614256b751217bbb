//! Intel's collateral: asked of a list of addresses, taken only when it is whole and signed under the trusted root,
//! kept on disk until it runs out, and fetched again long before. Whether a quote counts is for the verifier to say.

mod answer;
mod client;
mod fetch;
mod places;
mod shelf;
mod slot;

pub use client::{Builder, Client, OpenError};
pub use fetch::Fetched;
