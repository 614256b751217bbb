//! Intel Trust Authority from outside: the real client against one that speaks its protocol on loopback, and the real
//! verifier over what comes of it. Rows of the test matrix carry their id in their name.

mod again;
mod bench;
mod claims;
mod forged;
mod keys;
mod matrix;
mod service;
mod sets;
