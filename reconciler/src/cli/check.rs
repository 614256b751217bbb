//! `easyenclave check`: validates state documents on disk.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::{Ended, absent, exit, out};
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
    let dir = folder(&args.dir)?;
    let checked = desired::check_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    match args.output {
        Format::Text => out::answer(checked.text())?,
        Format::Json => out::data(&checked.json())?,
        Format::Github => {
            out::answer(checked.github(args.dir.strip_prefix(".").unwrap_or(&args.dir)))?;
        }
    }
    let cautions = checked.cautions();
    if args.output != Format::Github && !cautions.is_empty() {
        out::tell(cautions.trim_end());
    }
    out::tell(checked.summary());
    Ok(if checked.problems.is_empty() {
        exit::OK
    } else {
        exit::FAILED
    })
}

/// The folder to check, when it is one of state documents.
fn folder(dir: &Path) -> anyhow::Result<&Path> {
    let found = dir
        .metadata()
        .map_err(|error| absent::because("the state directory", dir, error))?;
    let shown = dir.display();
    if !found.is_dir() {
        bail!(
            "{shown} is a file: `check` takes the state directory, the one with fleet.yaml; it checks all documents, \
             because they name one another"
        );
    }
    if dir.join("fleet.yaml").symlink_metadata().is_ok() {
        return Ok(dir);
    }
    let absolute = std::path::absolute(dir)?;
    let above = absolute.canonicalize().unwrap_or(absolute);
    let mut above = above.ancestors().skip(1);
    match above.find(|above| above.join("fleet.yaml").is_file()) {
        Some(root) => bail!(
            "{shown} has no fleet.yaml, so it is no state directory: the one above it is {}",
            root.display()
        ),
        None => bail!(
            "{shown} has no fleet.yaml, so it is no state directory: name the one that has it, or make one with \
             `init DIR`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_state_directory_is_told_with_what_to_give_instead() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().canonicalize().expect("there");
        let state = root.join("state/deployments");
        std::fs::create_dir_all(&state).expect("made");
        let file = root.join("state/fleet.yaml");
        std::fs::write(&file, "").expect("written");
        let said = |path: &Path| {
            let error = folder(path).expect_err("no state directory");
            format!("{error:#}")
        };
        assert!(said(&file).contains("is a file"));
        assert!(said(&root).contains("make one with `init DIR`"));
        let inside = said(&state);
        let outer = root.join("state").display().to_string();
        assert!(inside.ends_with(&format!("the one above it is {outer}")));
        let nowhere = said(&root.join("nowhere"));
        assert!(nowhere.ends_with("does not exist"), "{nowhere}");
        assert!(folder(&root.join("state")).is_ok());
    }
}
