//! `easyenclave check`: validates state documents on disk.

use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;

use super::{Ended, exit, out};
use crate::desired;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The state directory
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// How problems are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: file:line:col: message
    Text,
    /// For programs
    Json,
    /// As annotations of a GitHub workflow
    Github,
}

pub(super) fn run(args: &Args) -> Ended {
    let checked =
        desired::check_dir(&args.dir).with_context(|| format!("reading {}", args.dir.display()))?;
    let text = match args.output {
        Format::Text => checked.text(),
        Format::Json => checked.json(),
        Format::Github => checked.github(args.dir.strip_prefix(".").unwrap_or(&args.dir)),
    };
    out::answer(text)?;
    out::tell(checked.summary());
    Ok(if checked.problems.is_empty() {
        exit::OK
    } else {
        exit::FAILED
    })
}
