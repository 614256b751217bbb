//! Files of the state repository → the model. Documents are decoded, held against each other, and put in
//! force as far as they are good. Nothing here knows Git: files come by path and blob id.

mod astray;
mod blobs;
mod cautions;
mod checks;
mod compose;
mod dir;
mod facts;
mod loader;
mod model;
mod moves;
mod past;
mod paths;
mod report;
mod rest;
mod slot;
mod strays;
#[cfg(test)]
mod tests;
mod web;

pub use astray::{BEGINNING, astray, may_be_astray};
pub use blobs::NOT_A_FILE;
pub use dir::{check_dir, check_files};
pub use loader::Loader;
pub use model::Model;
pub use past::{Besides, InForce};
pub use paths::{is_document, is_read, places};
pub use report::{Checked, FileProblem, Loaded};
