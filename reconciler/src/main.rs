//! The `easyenclave` program: parses the command line, runs one command, exits with its code.

use std::process::ExitCode;

use clap::Parser;
use easyenclave::cli::{Cli, run};

fn main() -> ExitCode {
    run(Cli::parse())
}
