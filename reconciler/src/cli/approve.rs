//! `easyenclave approve DIGEST`: approves a held plan by a commit to the state repository.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use easyenclave_schemas::Digest;

use super::{Ended, edit, exit, read};
use crate::config::DataDir;
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The held plan's digest, or its first 8 or more digits
    #[arg(value_name = "DIGEST")]
    digest: String,
    /// Why, for those who read the history
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    from: read::From,
    /// The branch of desired state
    #[arg(long, default_value = "main")]
    branch: String,
}

/// The longest reason, in characters, that an approval may carry.
const REASON: usize = 500;

pub(super) async fn run(args: Args) -> Ended {
    if args.reason.chars().count() > REASON {
        bail!("--reason has more than {REASON} characters, which no approval may have");
    }
    let status = args.from.status().await?;
    let held: Vec<_> = status
        .fleet
        .held
        .iter()
        .filter(|held| args.digest.len() >= 8 && held.digest.to_string().starts_with(&args.digest))
        .collect();
    let [held] = held.as_slice() else {
        bail!(
            "no held plan has the digest {}: see `easyenclave status`",
            args.digest
        );
    };
    for action in &held.actions {
        anstream::eprintln!("  {action}");
    }
    let repository = match &args.from.repo {
        Some(repository) => repository.clone(),
        None => Settings::load(&DataDir::new(&args.from.data)?)?.repository,
    };
    let path = format!("approvals/{}.yaml", held.digest.short(16));
    let files = BTreeMap::from([(path, Some(document(&held.digest, &args.reason)))]);
    let message = format!("approve: {}", held.reason);
    let commit = edit::commit(&repository, &args.branch, files, &message).await;
    println!("{}", commit.context("the approval was not committed")?);
    Ok(exit::OK)
}

fn document(digest: &Digest, reason: &str) -> Vec<u8> {
    let reason = serde_json::to_string(reason).unwrap_or_default();
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: Approval\nmetadata:\n  name: {}\nspec:\n  \
         planDigest: {digest}\n  reason: {reason}\n",
        digest.short(16)
    )
    .into_bytes()
}
