//! The provider against a Compute Engine on this machine; that one against Google's own documents and Google's own client.

mod chaos;
mod conformance;
mod contract;
mod faults;
mod lives;
mod oracle;
mod ownership;
mod python;
mod stand;
