//! Providers against the conformance suite, and the worker against a reconciler that says what a test wants.

mod provider;
mod reconciler;
mod worker;
