//! `easyenclave verify`: checks a status branch in a plain clone. No network, no running system, no secret.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use easyenclave_git::{Past, Signers};

use super::style::{BAD, DIM, GOOD, paint};
use super::{Ended, Output, exit, out};
use crate::seal::Opener;
use crate::verify::{Audit, Scope, Signing, audit};

/// The longest file of keys, in bytes.
const KEYS: u64 = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A clone of the state repository on this machine
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// The status branch
    #[arg(long, value_name = "REF", default_value = "status")]
    status: String,
    /// The branch of desired state, which names who may sign
    #[arg(long, value_name = "BRANCH", default_value = "main")]
    branch: String,
    /// Check this status commit alone, with all agents in its tree
    #[arg(long, value_name = "COMMIT", conflicts_with = "range")]
    at: Option<String>,
    /// Check the status commits after A, up to B
    #[arg(long, value_name = "A..B")]
    range: Option<String>,
    /// Keys that may sign, one a line, instead of those that the desired state names
    #[arg(long, value_name = "FILE")]
    signers: Option<PathBuf>,
    /// An auditor's identities, as age-keygen writes them, to open what is sealed; may be given again
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

pub(super) fn run(args: &Args) -> Ended {
    let past = Past::open(&args.repo)?;
    let scope = scope(&past, args)?;
    let signing = match &args.signers {
        Some(file) => Signing::given(given(file)?),
        None => Signing::desired(&past, &args.branch).map_err(anyhow::Error::msg)?,
    };
    let opener = opener(&args.identity)?;
    let found = audit(&past, signing, scope, opener.as_ref())?;
    if found.verdicts.not_opened > 0 {
        for file in opener.iter().flat_map(Opener::idle) {
            out::tell(format_args!("{file} opens nothing of this"));
        }
    }
    match args.output {
        Output::Text => out::answer(text(&found, args))?,
        Output::Json => out::answer(format_args!("{}\n", serde_json::to_string_pretty(&found)?))?,
    }
    Ok(match found.findings.is_empty() {
        true => exit::OK,
        false => exit::FAILED,
    })
}

fn scope(past: &Past, args: &Args) -> anyhow::Result<Scope> {
    if let Some(at) = &args.at {
        return Ok(Scope::At(past.resolve(at)?));
    }
    let Some(range) = &args.range else {
        return Ok(Scope::Upto(past.resolve(&args.status)?));
    };
    let (after, to) = range
        .split_once("..")
        .context("--range is two commits, such as A..B")?;
    let to = if to.is_empty() { &args.status } else { to };
    Ok(Scope::Range(past.resolve(after)?, past.resolve(to)?))
}

/// Reads the identities; none when no file is named.
fn opener(files: &[PathBuf]) -> anyhow::Result<Option<Opener>> {
    let mut opener = Opener::default();
    for file in files {
        let name = || format!("identity {}", file.display());
        let taken = opener.take(file.display().to_string(), &read(file).with_context(name)?);
        taken.with_context(name)?;
    }
    Ok((!files.is_empty()).then_some(opener))
}

/// A file of keys.
fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = File::open(file)?.take(KEYS + 1).read_to_string(&mut text)?;
    if read as u64 > KEYS {
        bail!("it has more than {KEYS} bytes");
    }
    Ok(text)
}

fn given(file: &Path) -> anyhow::Result<Signers> {
    let name = || format!("keys in {}", file.display());
    let text = read(file).with_context(name)?;
    let signers = Signers::parse(text.lines()).with_context(name)?;
    if signers.is_empty() {
        bail!(
            "{} names nobody who may sign: add a line `ssh-ed25519 AAAA…`",
            file.display()
        );
    }
    Ok(signers)
}

fn text(found: &Audit, args: &Args) -> String {
    let mut text = String::new();
    for finding in &found.findings {
        let path = finding.path.as_deref().map(|path| format!(" {path}"));
        let (path, kind) = (path.unwrap_or_default(), finding.kind);
        let kind = paint(BAD, kind);
        let _ = writeln!(
            text,
            "{}{path}: {kind}: {}",
            finding.commit, finding.message
        );
    }
    if found.more > 0 {
        let _ = writeln!(text, "and {} more findings", found.more);
    }
    if found.builds_on > 0 {
        let _ = writeln!(
            text,
            "{} commits after these build on one that was changed, so their signatures do not hold either",
            found.builds_on
        );
    }
    let word = match found.findings.is_empty() {
        true => paint(GOOD, "good"),
        false => paint(BAD, "not good"),
    };
    let _ = writeln!(
        text,
        "{word}: {} commits up to {}",
        found.commits, found.commit
    );
    counted(&mut text, found, args);
    text
}

/// What the answer covers, and what it does not.
fn counted(text: &mut String, found: &Audit, args: &Args) {
    let by = match &args.signers {
        Some(file) => format!(
            "keys in {}; the desired state was not looked at",
            file.display()
        ),
        None => format!("keys that fleet.yaml on {} names", args.branch),
    };
    let _ = writeln!(text, "  signed by      {by}");
    let tally = &found.verdicts;
    let _ = writeln!(
        text,
        "  verdicts       {} made again from their evidence, {} of them simulated",
        tally.recomputed, tally.simulated
    );
    let rest = [
        (tally.not_kept, "not made again: digests only"),
        (
            tally.sealed,
            "not made again: sealed; auditors open them with --identity FILE",
        ),
        (
            tally.not_opened,
            "not made again: sealed for others than the given identities",
        ),
        (
            tally.not_accepted,
            "refused, and seen again only not to be accepted",
        ),
        (
            tally.without_evidence,
            "times in an agent's file without evidence",
        ),
        (found.without_sums, "commits do not say what they wrote"),
    ];
    for (count, what) in rest.into_iter().filter(|(count, _)| *count > 0) {
        let _ = writeln!(
            text,
            "  {}",
            paint(DIM, format_args!("               {count} {what}"))
        );
    }
}
