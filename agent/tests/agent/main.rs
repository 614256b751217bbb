//! A whole agent against a reconciler that says what a test wants.

mod connections;
mod doors;
mod evidence;
mod fleet;
mod instructions;
mod joining;
mod program;
mod reporting;
