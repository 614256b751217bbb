//! Rows of the test matrix that need the reconciler itself, each named by its id: registration, audit, concurrency,
//! the API. The reconciler runs in this process, with its own store, clock and simulated platform.

mod again;
mod api;
mod audit;
mod boots;
mod ceiling;
mod chaos;
mod claims;
mod codes;
mod concurrency;
mod deliveries;
mod document;
mod example;
mod holds;
mod hour;
mod images;
mod kept;
mod launchers;
mod leaps;
mod listings;
mod log;
mod losses;
mod lost;
mod nonces;
mod operators;
mod place;
mod protocol;
mod pushes;
mod registration;
mod secrets;
mod services;
mod sessions;
mod shortages;
mod stages;
mod stalled;
mod worker;
