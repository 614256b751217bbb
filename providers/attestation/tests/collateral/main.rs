//! Collateral from outside: the real client against a service that speaks its protocol on loopback, and every source
//! against the same guarantees.

mod bench;
mod conformance;
mod faults;
mod golden;
mod keeping;
