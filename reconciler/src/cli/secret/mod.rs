//! `easyenclave secret`: seals values for the fleet and commits them. A value comes from stdin or a file, never from the
//! command line, and is shown nowhere.

mod documents;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use easyenclave_schemas::documents::{SecretContent, SecretSpec};
use easyenclave_schemas::{OwnerName, Secret, SecretName};

use super::{Ended, absent, edit, exit, out, read};
use crate::seal::{self, Sealer};
use crate::secrets::Keyring;
use documents::State;

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Seal a value to the fleet and commit it: a new secret, or a new value of one that is there
    Set(Set),
    /// Give a secret that is there a new value, or seal all again to the recipients of now
    Rotate(Rotate),
    /// List secrets and what uses them; never a value
    List(List),
    /// Print who this installation's secrets have to be sealed to, for `spec.secrets.recipients` of fleet.yaml
    Recipient(Recipient),
}

#[derive(Debug, clap::Args)]
#[command(mut_arg("repo", |repo| repo.help(COMMITS)))]
pub(super) struct Set {
    /// The secret: its owner and its name
    #[arg(value_name = "OWNER/NAME")]
    secret: Name,
    /// The file whose bytes are the value [default: what comes on stdin]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    fleet: read::Fleet,
}

#[derive(Debug, clap::Args)]
#[command(mut_arg("repo", |repo| repo.help(COMMITS)))]
pub(super) struct Rotate {
    /// The secret: its owner and its name
    #[arg(value_name = "OWNER/NAME", required_unless_present = "recipients")]
    secret: Option<Name>,
    /// The file whose bytes are the new value [default: what comes on stdin]
    #[arg(long, value_name = "FILE", conflicts_with = "recipients")]
    file: Option<PathBuf>,
    /// Seal the same values again, of this secret or of all, to the recipients that fleet.yaml names now
    #[arg(long)]
    recipients: bool,
    /// The file of identities that open them [default: keys/fleet.age of the data folder]
    #[arg(long, value_name = "FILE", requires = "recipients")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    fleet: read::Fleet,
}

#[derive(Debug, clap::Args)]
#[command(mut_arg("repo", |repo| repo.help("Read this state repository instead")))]
pub(super) struct List {
    /// Only the secrets of this owner
    #[arg(value_name = "OWNER")]
    owner: Option<OwnerName>,
    #[command(flatten)]
    fleet: read::Fleet,
}

#[derive(Debug, clap::Args)]
pub(super) struct Recipient {
    /// The data directory of `up` or `serve` on this machine [default: easyenclave-data, here or in a folder above]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What `--repo` means where something is committed.
const COMMITS: &str =
    "Commit to this state repository instead; from a clone on this machine you push it yourself";

/// Whose a secret is, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    owner: OwnerName,
    name: SecretName,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl std::str::FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (owner, name) = text.split_once('/').ok_or("expected OWNER/NAME")?;
        let owner = OwnerName::new(owner).map_err(|error| error.to_string())?;
        let name = SecretName::new(name).map_err(|error| error.to_string())?;
        Ok(Self { owner, name })
    }
}

pub(super) async fn run(what: What) -> Ended {
    match what {
        What::Set(args) => set(args).await,
        What::Rotate(args) => rotate(args).await,
        What::List(args) => list(args).await,
        What::Recipient(args) => recipient(&args),
    }
}

async fn set(args: Set) -> Ended {
    let place = args.fleet.desired()?;
    let state = State::read(&place).await?;
    change(&place, &state, &args.secret, args.file.as_deref()).await
}

async fn rotate(args: Rotate) -> Ended {
    let place = args.fleet.desired()?;
    let state = State::read(&place).await?;
    if let Some(name) = &args.secret
        && !state.secrets.contains_key(name)
    {
        bail!(
            "{} has no secret {name}: `secret set` makes one",
            place.branch
        );
    }
    match &args.secret {
        Some(name) if !args.recipients => change(&place, &state, name, args.file.as_deref()).await,
        only => {
            let keyring = keyring(args.identity.as_deref(), &args.fleet.from)?;
            again(&place, &state, only.as_ref(), &keyring).await
        }
    }
}

/// Commits a value.
async fn change(place: &read::Place, state: &State, name: &Name, file: Option<&Path>) -> Ended {
    // Before somebody types a value for nothing.
    let sealer = sealer(state, place)?;
    state.owned_by(&name.owner, &place.branch)?;
    let value = value(file)?;
    if value.reveal().ends_with(b"\n") {
        out::tell("the value ends with a line break, which is a part of it");
    }
    let content = SecretContent::new(name.owner.clone(), name.name.clone(), value.reveal());
    let sealed = STANDARD.encode(sealer.seal(&content.write())?);
    let (path, text) = state.with(name, &sealed);
    let files = BTreeMap::from([(path.clone(), Some(text))]);
    let verb = match state.secrets.contains_key(name) {
        true => "change",
        false => "add",
    };
    let commit = edit::commit(place, files, &format!("secret: {verb} {name}")).await?;
    out::tell(format_args!(
        "committed {path}: what uses {name} gets the value with its next roll-out, which this begins"
    ));
    out::answer(format_args!("{commit}\n"))?;
    Ok(exit::OK)
}

/// Commits the same values, sealed to whom fleet.yaml names now.
async fn again(
    place: &read::Place,
    state: &State,
    only: Option<&Name>,
    keyring: &Keyring,
) -> Ended {
    let sealer = sealer(state, place)?;
    let mut files = BTreeMap::new();
    for (name, found) in &state.secrets {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let value = keyring.value(&name.owner, &name.name, &found.sealed);
        let value = value.with_context(|| format!("{}: secret {name}", found.path))?;
        let content = SecretContent::new(name.owner.clone(), name.name.clone(), value.reveal());
        let sealed = STANDARD.encode(sealer.seal(&content.write())?);
        let (path, text) = state.with(name, &sealed);
        files.insert(path, Some(text));
    }
    if files.is_empty() {
        bail!("{} has no secrets", place.branch);
    }
    let count = files.len();
    let commit = edit::commit(place, files, "secret: seal again to the recipients of now").await?;
    out::tell(format_args!(
        "sealed {count} again: a version of its own for each, so what uses them rolls out once more"
    ));
    out::answer(format_args!("{commit}\n"))?;
    Ok(exit::OK)
}

async fn list(args: List) -> Ended {
    let place = args.fleet.desired()?;
    let state = State::read(&place).await?;
    let is_asked = |name: &Name| args.owner.as_ref().is_none_or(|one| *one == name.owner);
    let mut text = String::new();
    for (name, found) in state.secrets.iter().filter(|(name, _)| is_asked(name)) {
        let used = match state.users(name) {
            none if none.is_empty() => "not used".to_owned(),
            users => format!("used by {}", users.join(", ")),
        };
        let _ = writeln!(text, "{name}  {}  {used}", found.path);
    }
    match text.is_empty() {
        true => out::tell("no secrets"),
        false => out::answer(text)?,
    }
    Ok(exit::OK)
}

fn recipient(args: &Recipient) -> Ended {
    let data = read::installation(args.data.as_deref())?;
    let path = data.fleet_identities();
    if !path.exists() {
        bail!("neither `up` nor `serve` has made {} yet", path.display());
    }
    for recipient in Keyring::open_or_create(&path)?.recipients() {
        out::answer(format_args!("{recipient}\n"))?;
    }
    Ok(exit::OK)
}

/// Seals for everybody whom the fleet's document names.
fn sealer(state: &State, place: &read::Place) -> anyhow::Result<Sealer> {
    for text in &state.recipients {
        seal::recipient(text).context("`spec.secrets.recipients` of fleet.yaml")?;
    }
    Sealer::of(&state.recipients).with_context(|| {
        format!(
            "fleet.yaml on {} names nobody to seal to: add `spec.secrets.recipients`, with what `secret recipient` prints \
             where the reconciler runs",
            place.branch
        )
    })
}

/// The value, from a file or stdin.
fn value(file: Option<&Path>) -> anyhow::Result<Secret<Vec<u8>>> {
    let bytes = match file.filter(|file| *file != Path::new("-")) {
        Some(file) => {
            let opened = std::fs::File::open(file);
            let opened =
                opened.map_err(|error| absent::because("the file of the value", file, error))?;
            bounded(opened)
        }
        None if std::io::stdin().is_terminal() => bail!(
            "a value that is typed would be seen: give it on stdin, or name a file with --file"
        ),
        None => bounded(std::io::stdin().lock()),
    };
    let bytes = bytes.context("reading the value")?;
    match bytes.len() {
        0 => bail!("the value is empty"),
        length if length > SecretSpec::MAX => bail!(
            "the value is longer than {} KiB, which no secret may be",
            SecretSpec::MAX / 1024
        ),
        _ => Ok(Secret::new(bytes)),
    }
}

fn bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(SecretSpec::MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What opens secrets: the file that is named, or else the installation's.
fn keyring(identity: Option<&Path>, from: &read::From) -> anyhow::Result<Keyring> {
    let path = match identity {
        Some(path) => path.to_owned(),
        None => read::installation(from.data.as_deref())?.fleet_identities(),
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| absent::because("the file of identities", &path, error))?;
    Ok(Keyring::of(path.display().to_string(), &text)?)
}
