//! `easyenclave verify`: checks a status branch in a plain clone. No network, no running system, no secret.

mod text;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use easyenclave_git::{CommitId, Past, Signers, unbundle};
use tokio::sync::oneshot;

use super::{Ended, Output, exit, out, read, shutdown};
use crate::clock::{Clock, System};
use crate::config;
use crate::seal::Opener;
use crate::verify::{Audit, Scope, Signing, Today, audit, is_status_commit, today};

/// A bundle is unpacked within this time.
const UNPACK: Duration = Duration::from_secs(30 * 60);

/// The longest file of keys, in bytes.
const KEYS: u64 = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A clone of the state repository on this machine
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// Instead of a clone, a file that `git bundle create FILE main origin/status` made
    #[arg(long, value_name = "FILE", conflicts_with = "repo")]
    bundle: Option<PathBuf>,
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
    /// Judge each agent's newest evidence under the policies of today too, at today's time. What is found so does not
    /// change the exit code
    #[arg(long)]
    today: bool,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

pub(super) async fn run(args: Args) -> Ended {
    match args.bundle.clone() {
        Some(bundle) => unpacked(args, &bundle).await,
        None => answered(&args, look(&args, &read::clone(&args.repo)?)?),
    }
}

/// What was found, and what else is to be said.
struct Looked {
    found: Audit,
    /// Files of identities that open nothing of it.
    idle: Vec<String>,
    /// Why today cannot be told of.
    unsaid: Option<anyhow::Error>,
    /// The clone's own branch of desired state has not all that was fetched.
    is_behind: bool,
}

/// What is unpacked goes away with the command, also when that is interrupted: then nothing more is said, and nothing
/// waited for.
async fn unpacked(args: Args, bundle: &Path) -> Ended {
    let folder = config::scratch()?;
    let place = folder.path().join("state.git");
    let looked = async {
        let past = unbundle(bundle, &place, UNPACK).await?;
        let args = Arc::new(args);
        let (theirs, ours) = (Arc::clone(&args), args);
        let looked = beside(move || look(&theirs, &past)).await??;
        beside(move || answered(&ours, looked)).await?
    };
    tokio::select! {
        biased;
        () = shutdown() => bail!("interrupted"),
        looked = looked => looked,
    }
}

/// Does what takes long on a thread that ends with the program; threads of the runtime are waited for.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new().spawn(move || drop(tell.send(work())))?;
    told.await.context("the check broke off")
}

fn look(args: &Args, past: &Past) -> anyhow::Result<Looked> {
    let scope = scope(past, args)?;
    let signing = match &args.signers {
        Some(file) => Signing::given(given(file)?),
        None => Signing::desired(past, &args.branch).map_err(anyhow::Error::msg)?,
    };
    let opener = opener(&args.identity)?;
    let opener = opener.as_ref();
    let mut found = audit(past, signing, scope, opener)?;
    // Said after what was found, which holds without it.
    let today = args.today.then(|| of_today(past, &found, args, opener));
    let unsaid = match today.transpose() {
        Ok(today) => {
            found.today = today;
            None
        }
        Err(error) => Some(error),
    };
    let opener = opener.filter(|_| found.verdicts.not_opened > 0);
    let idle = opener.into_iter().flat_map(Opener::idle);
    Ok(Looked {
        idle: idle.map(str::to_owned).collect(),
        found,
        unsaid,
        is_behind: is_behind(past, &args.branch),
    })
}

/// Whether commits of a branch were fetched that the clone's own branch has not. That one says who may sign, so it is not
/// passed over for what a remote gave.
fn is_behind(past: &Past, branch: &str) -> bool {
    let fetched = past.resolve(&format!("origin/{branch}"));
    let (Ok(own), Ok(fetched)) = (past.resolve(branch), fetched) else {
        return false;
    };
    own != fetched && past.descends(fetched, own).unwrap_or(false)
}

fn answered(args: &Args, looked: Looked) -> Ended {
    for file in looked.idle {
        out::tell(format_args!("{file} opens nothing of this"));
    }
    let found = &looked.found;
    if looked.is_behind && !found.findings.is_empty() {
        out::tell(format_args!(
            "{0} is behind origin/{0} here, and what it has not yet is not in its history: `git pull --rebase`, and verify again",
            args.branch
        ));
    }
    match args.output {
        Output::Text => out::answer(text::text(found, args))?,
        Output::Json => out::data(&(serde_json::to_string_pretty(found)? + "\n"))?,
    }
    match (looked.unsaid, found.findings.is_empty()) {
        (Some(error), _) => Err(error),
        (None, true) => Ok(exit::OK),
        (None, false) => Ok(exit::FAILED),
    }
}

fn of_today(
    past: &Past,
    found: &Audit,
    args: &Args,
    opener: Option<&Opener>,
) -> anyhow::Result<Today> {
    let status = past.resolve(&found.commit)?;
    let desired = past.resolve(&args.branch).with_context(|| {
        format!(
            "--today needs the desired state, on the branch {}",
            args.branch
        )
    })?;
    Ok(today(past, status, desired, System.now(), opener)?)
}

fn scope(past: &Past, args: &Args) -> anyhow::Result<Scope> {
    if let Some(at) = &args.at {
        return Ok(Scope::At(status_commit(past, at, &args.status)?));
    }
    let Some(range) = &args.range else {
        return Ok(Scope::Upto(past.resolve(&args.status)?));
    };
    let (after, to) = range
        .split_once("..")
        .context("--range is two commits, such as A..B")?;
    let to = if to.is_empty() { &args.status } else { to };
    let of = |commit| status_commit(past, commit, &args.status);
    Ok(Scope::Range(of(after)?, of(to)?))
}

/// A commit that is named as one of the status branch. One that was taken back from it says itself what it is.
pub(super) fn status_commit(past: &Past, name: &str, branch: &str) -> anyhow::Result<CommitId> {
    let commit = past.resolve(name)?;
    let tip = past.resolve(branch).ok();
    let is_there = |tip| tip == commit || past.descends(tip, commit).unwrap_or(false);
    if tip.is_some_and(is_there) || is_status_commit(past, commit)? {
        return Ok(commit);
    }
    bail!(
        "{name} is no status commit: expected one of the branch {branch}, such as {branch} or {branch}~1; \
         {commit} is not in its history"
    )
}

/// Reads the identities; none when no file is named.
pub(super) fn opener(files: &[PathBuf]) -> anyhow::Result<Option<Opener>> {
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
