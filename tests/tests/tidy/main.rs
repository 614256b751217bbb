//! The house rules that a machine can hold: purity, crate edges, file and function length, who may touch what,
//! documents that stay true. Reads the repository's text and Cargo's metadata, and runs none of our code.

mod documents;
mod edges;
mod manifests;
mod mask;
mod purity;
mod reach;
mod sources;
mod tree;

/// Fails with one line for each problem.
fn expect_none(rule: &str, problems: &[String]) {
    assert!(problems.is_empty(), "{rule}:\n  {}", problems.join("\n  "));
}
