//! Providers against the conformance suite, and the worker against a reconciler that says what a test wants.

mod bridge;
mod engine;
mod kernel;
mod provider;
mod qemu;
mod reconciler;
mod worker;
