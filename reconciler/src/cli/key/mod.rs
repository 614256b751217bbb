//! `easyenclave key`: keys for the deploy API. A new one is printed once, and its hash committed to the owner's document;
//! revoking one is a commit too.

mod text;

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, bail};
use clap::Subcommand;
use easyenclave_schemas::decode::{Located, decode, identify};
use easyenclave_schemas::documents::{ApiKey, Document, Kind, OwnerSpec, Span};
use easyenclave_schemas::{OwnerName, Timestamp};

use super::{Ended, edit, exit, out, read};
use crate::auth::keys;
use crate::clock::{Clock, System};

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Make a key for an owner, print it once, and commit its hash to the owner's document
    New(New),
    /// List the keys of owners: id, name, and when they expire
    List(List),
    /// Take a key out of its owner's document: it is refused as soon as that commit is in force
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
#[command(mut_arg("repo", |repo| repo.help(COMMITS)))]
pub(super) struct New {
    /// The owner that the key acts for
    #[arg(value_name = "OWNER")]
    owner: OwnerName,
    /// What it is for, such as `ci`
    #[arg(long, value_name = "NAME")]
    name: String,
    /// How long it is good for
    #[arg(long, value_name = "SPAN", default_value = "90d")]
    expires_in: Span,
    #[command(flatten)]
    fleet: read::Fleet,
}

#[derive(Debug, clap::Args)]
#[command(mut_arg("repo", |repo| repo.help("Read this state repository instead")))]
pub(super) struct List {
    /// Only the keys of this owner
    #[arg(value_name = "OWNER")]
    owner: Option<OwnerName>,
    #[command(flatten)]
    fleet: read::Fleet,
}

#[derive(Debug, clap::Args)]
#[command(mut_arg("repo", |repo| repo.help(COMMITS)))]
pub(super) struct Revoke {
    /// The key's id; never the whole key
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    fleet: read::Fleet,
}

/// What `--repo` means where something is committed.
const COMMITS: &str =
    "Commit to this state repository instead; from a clone on this machine you push it yourself";

pub(super) async fn run(what: What) -> Ended {
    match what {
        What::New(args) => new(args).await,
        What::List(args) => list(args).await,
        What::Revoke(args) => revoke(args).await,
    }
}

/// An owner's document, and where it lies.
struct Owned {
    path: String,
    text: String,
    located: Located,
}

impl Owned {
    fn spec(&self) -> &OwnerSpec {
        match &self.located.document {
            Document::Owner(object) => &object.spec,
            _ => unreachable!("only owners are kept"),
        }
    }

    fn name(&self) -> &str {
        &self.located.identity.name
    }

    /// The same document as it would be with another text.
    fn with(&self, text: String) -> anyhow::Result<Vec<u8>> {
        let changed = decode(text.as_bytes()).ok();
        let is_owner = |located: &Located| located.identity == self.located.identity;
        match changed.filter(is_owner) {
            Some(_) => Ok(text.into_bytes()),
            None => bail!("{} cannot be edited by this program", self.path),
        }
    }
}

/// The documents of owners at the head of a branch.
#[derive(Default)]
struct Owners {
    read: Vec<Owned>,
    /// Where those are that cannot be read. Their last good versions are in force, with the keys that they had.
    unreadable: Vec<String>,
}

impl Owners {
    async fn at(place: &read::Place) -> anyhow::Result<Self> {
        let mut owners = Self::default();
        for (path, text) in read::documents(place).await? {
            owners.add(path, text);
        }
        Ok(owners)
    }

    fn add(&mut self, path: String, text: Option<String>) {
        let claimed = text.as_ref().and_then(|text| identify(text.as_bytes()));
        let is_owner = match claimed {
            Some(identity) => identity.kind == Kind::Owner,
            None => path.starts_with("owners/"),
        };
        let read = text.and_then(|text| Some((decode(text.as_bytes()).ok()?, text)));
        match read {
            _ if !is_owner => {}
            Some((located, text)) => self.read.push(Owned {
                path,
                text,
                located,
            }),
            None => self.unreadable.push(path),
        }
    }

    /// What of all this is missing, in words.
    fn missing(&self) -> Option<String> {
        let paths = self.unreadable.join(", ");
        (!paths.is_empty()).then(|| {
            format!("{paths} cannot be read (see `easyenclave check`): keys that were there before may be in force still")
        })
    }
}

async fn new(args: New) -> Ended {
    let length = args.name.chars().count();
    if !(1..=100).contains(&length) || args.name.chars().any(char::is_control) {
        bail!("--name takes 1 to 100 characters on one line");
    }
    let place = args.fleet.desired()?;
    let owners = Owners::at(&place).await?.read;
    let owned = owners.iter().find(|one| one.name() == args.owner.as_str());
    let owned = owned.with_context(|| {
        let owner = &args.owner;
        format!("{} has no readable document of owner {owner}", place.branch)
    })?;
    let made = keys::new()?;
    let key = ApiKey {
        id: made.id.clone(),
        hash: made.hash,
        name: args.name,
        expires: System.now().plus(args.expires_in.get()).trunc_secs(),
    };
    let text = text::with_key(owned, &key)?;
    let message = format!("key: add {} ({}) of {}", key.id, key.name, args.owner);
    commit(&place, owned, text, &message).await?;
    out::tell(format_args!(
        "committed the hash of key {} to {}: it is good until {}; this is the only time that the key is shown",
        key.id, owned.path, key.expires
    ));
    out::data(&format!("{}\n", made.key.reveal()))?;
    Ok(exit::OK)
}

async fn list(args: List) -> Ended {
    let place = args.fleet.desired()?;
    let now = System.now();
    let mut text = String::new();
    let owners = Owners::at(&place).await?;
    for owned in &owners.read {
        let is_asked = args
            .owner
            .as_ref()
            .is_none_or(|one| one.as_str() == owned.name());
        for key in owned.spec().keys.iter().filter(|_| is_asked) {
            let _ = writeln!(text, "{}", line(owned.name(), key, now));
        }
    }
    if let Some(missing) = owners.missing() {
        out::tell(missing);
    }
    match text.is_empty() {
        true if !owners.unreadable.is_empty() => out::tell("no keys that can be read"),
        true => out::tell("no keys"),
        false => out::answer(text)?,
    }
    Ok(exit::OK)
}

fn line(owner: &str, key: &ApiKey, now: Timestamp) -> String {
    let ApiKey {
        id, name, expires, ..
    } = key;
    let state = if *expires <= now { "expired" } else { "until" };
    format!("{id}  {owner}  {state} {expires}  {name}")
}

async fn revoke(args: Revoke) -> Ended {
    if args.id.contains('_') {
        bail!("name the key by its id alone: what is typed here is seen by others on this machine");
    }
    let place = args.fleet.desired()?;
    let owners = Owners::at(&place).await?;
    let has = |one: &&Owned| one.spec().keys.iter().any(|key| key.id == args.id);
    let owned = owners.read.iter().find(has).with_context(|| {
        let none = format!("{} has no key with the id {}", place.branch, args.id);
        let missing = owners.missing();
        missing.map_or(none.clone(), |missing| {
            format!("{none} in a document that can be read; {missing}")
        })
    })?;
    let text = text::without_key(owned, &args.id)?;
    let message = format!("key: revoke {} of {}", args.id, owned.name());
    let commit = commit(&place, owned, text, &message).await?;
    out::tell(format_args!(
        "took key {} out of {}: it is refused as soon as that is in force",
        args.id, owned.path
    ));
    out::answer(format_args!("{commit}\n"))?;
    Ok(exit::OK)
}

async fn commit(
    place: &read::Place,
    owned: &Owned,
    text: String,
    message: &str,
) -> anyhow::Result<String> {
    let files = BTreeMap::from([(owned.path.clone(), Some(owned.with(text)?))]);
    edit::commit(place, files, message).await
}
