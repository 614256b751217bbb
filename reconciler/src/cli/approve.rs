//! `easyenclave approve DIGEST`: approves a held plan by a commit to the state repository.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use easyenclave_schemas::Digest;

use super::{Ended, edit, exit, out, read};

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
    /// The branch of desired state [default: the installation's, or else main]
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
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
        out::tell(format_args!("  {action}"));
    }
    let place = args.from.desired(args.branch.as_deref())?;
    let path = format!("approvals/{}.yaml", held.digest.short(16));
    let files = BTreeMap::from([(
        path,
        Some(document(
            &held.digest,
            &status.fleet.desired_commit,
            &args.reason,
        )),
    )]);
    let message = format!("approve: {}", held.reason);
    let commit = edit::commit(&place, files, &message).await;
    let commit = commit.context("the approval was not committed")?;
    out::answer(format_args!("{commit}\n"))?;
    Ok(exit::OK)
}

/// Everything is quoted: digits alone, or with one `e` among them, would read as a number.
fn document(digest: &Digest, revision: &str, reason: &str) -> Vec<u8> {
    let reason = serde_json::to_string(reason).unwrap_or_default();
    let name = digest.short(16);
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: Approval\nmetadata:\n  name: \"{name}\"\nspec:\n  \
         planDigest: \"{digest}\"\n  revision: \"{revision}\"\n  reason: {reason}\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use easyenclave_schemas::decode::decode;

    use super::*;

    #[test]
    fn a_digest_that_looks_like_a_number_is_approved_too() {
        for digits in [
            "1234567890".repeat(7),
            "12e4567890".repeat(7),
            "ab12345678".repeat(7),
        ] {
            let digest: Digest = serde_json::from_value(digits[..64].into()).expect("a digest");
            let text = document(&digest, &digits[..40], "it is meant: \"all\" of it\nreally");
            decode(&text).expect("a valid document");
        }
    }
}
