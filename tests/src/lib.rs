//! What the test suites of several crates need: ports, programs, and parts that are not ours, found or fetched when they are asked
//! for. What is not here is not asked, and never passed.

use std::path::PathBuf;

mod port;
mod program;
mod python;
mod run;

pub use port::port;
pub use program::put_program;
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

/// A program that a suite runs, if it is in the search path; otherwise as [`given`].
///
/// # Panics
/// When it is not here and `EASYENCLAVE_REQUIRE` is `all`.
pub fn program_given(name: &str, how: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut paths = std::env::split_paths(&folders).map(|folder| folder.join(name));
    let found = paths.find(|path| path.is_file());
    given(name, how, found.ok_or("it is not in the search path"))
}

/// What is made of packages of Debian, as [`given`]; other systems have other packages, and are not required to have these.
///
/// # Panics
/// When it cannot be made on Debian, and `EASYENCLAVE_REQUIRE` is `all`.
pub fn packages_given<T>(made: Result<T, impl std::fmt::Display>) -> Option<T> {
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    match made {
        Err(error) if !system.lines().any(|line| line == "ID=debian") => {
            println!("SKIPPED: needs packages of Debian: {error}");
            None
        }
        made => given("packages of Debian", "from its archive", made),
    }
}
