//! The client against a Cloudflare on this machine; that one against the tests of Cloudflare's own SDK; and what every kind of
//! tunnels promises.

mod chaos;
mod conformance;
mod faults;
mod listing;
mod ownership;
mod python;
mod sdk;
mod stand;
mod story;
