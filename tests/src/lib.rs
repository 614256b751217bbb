//! What the test suites of several crates need: parts that are not ours, found or fetched when they are asked for. What is not here
//! is not asked, and never passed.

mod python;
mod run;

pub use python::{environment, pip};
pub use run::run;

/// A part that a suite needs, if it can be had; otherwise says so, and how to get it.
///
/// # Panics
/// When it is not here and `EASYENCLAVE_REQUIRE` is `all`.
pub fn given<T>(part: &str, how: &str, found: Result<T, impl std::fmt::Display>) -> Option<T> {
    let is_required = std::env::var("EASYENCLAVE_REQUIRE").is_ok_and(|what| what == "all");
    match found {
        Ok(found) => Some(found),
        Err(error) => {
            assert!(
                !is_required,
                "EASYENCLAVE_REQUIRE=all, and {part} is not here: {error}"
            );
            println!("SKIPPED: needs {part} ({how}): {error}");
            None
        }
    }
}
