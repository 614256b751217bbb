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
    from: read::From,
    /// The branch of desired state [default: the installation's, or else main]
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(mut_arg("repo", |repo| repo.help("Read this state repository instead")))]
pub(super) struct List {
    /// Only the keys of this owner
    #[arg(value_name = "OWNER")]
    owner: Option<OwnerName>,
    #[command(flatten)]
    from: read::From,
    /// The branch of desired state [default: the installation's, or else main]
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(mut_arg("repo", |repo| repo.help(COMMITS)))]
pub(super) struct Revoke {
    /// The key's id; never the whole key
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    from: read::From,
    /// The branch of desired state [default: the installation's, or else main]
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
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

/// The documents of owners that can be read, by their paths.
async fn owners(place: &read::Place) -> anyhow::Result<Vec<Owned>> {
    let documents = read::documents(place).await?;
    let owned = |(path, text): (String, String)| {
        let is_owner = identify(text.as_bytes()).is_some_and(|id| id.kind == Kind::Owner);
        let located = is_owner.then(|| decode(text.as_bytes()).ok()).flatten()?;
        Some(Owned {
            path,
            text,
            located,
        })
    };
    Ok(documents.into_iter().filter_map(owned).collect())
}

async fn new(args: New) -> Ended {
    let length = args.name.chars().count();
    if !(1..=100).contains(&length) || args.name.chars().any(char::is_control) {
        bail!("--name takes 1 to 100 characters on one line");
    }
    let place = args.from.desired(args.branch.as_deref())?;
    let owners = owners(&place).await?;
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
    let place = args.from.desired(args.branch.as_deref())?;
    let now = System.now();
    let mut text = String::new();
    for owned in owners(&place).await? {
        let is_asked = args
            .owner
            .as_ref()
            .is_none_or(|one| one.as_str() == owned.name());
        for key in owned.spec().keys.iter().filter(|_| is_asked) {
            let _ = writeln!(text, "{}", line(owned.name(), key, now));
        }
    }
    match text.is_empty() {
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
    let place = args.from.desired(args.branch.as_deref())?;
    let owners = owners(&place).await?;
    let has = |one: &&Owned| one.spec().keys.iter().any(|key| key.id == args.id);
    let owned = owners
        .iter()
        .find(has)
        .with_context(|| format!("{} has no key with the id {}", place.branch, args.id))?;
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
