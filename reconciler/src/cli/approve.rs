//! `easyenclave approve DIGEST`: approves a held plan by a commit to the state repository.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use easyenclave_plan::Approval;
use easyenclave_schemas::Digest;
use easyenclave_schemas::status::HeldStatus;

use super::approved::{self, Approved};
use super::{Ended, edit, exit, held, out, read};
use crate::report::Status;

#[derive(Debug, clap::Args)]
#[command(mut_arg("repo", |repo| repo.help(REPO)))]
pub(super) struct Args {
    /// The held plan's digest, or its first 8 or more digits
    #[arg(value_name = "DIGEST")]
    digest: String,
    /// Why, for those who read the history
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    fleet: read::Fleet,
}

/// What `--repo` means here, which is more than to commands that only read.
const REPO: &str = "The state repository: its status branch is read, and the approval is committed to it; from a clone \
                    on this machine you push it yourself";

/// The longest reason, in characters, that an approval may carry.
const REASON: usize = 500;

pub(super) async fn run(args: Args) -> Ended {
    if args.reason.chars().count() > REASON {
        bail!("--reason has more than {REASON} characters, which no approval may have");
    }
    let read::Shown { status, .. } = args.fleet.from.status().await?;
    let place = args.fleet.desired()?;
    let approved = approved::of(&place, &args.digest.to_lowercase()).await?;
    let held = match held::chosen(&status.fleet.held, &args.digest) {
        Ok(held) => held,
        Err(why) => return gone(&args, &status, &approved, &why),
    };
    match approved.iter().find(|one| counts(&status, one, held)) {
        Some(one) => already(one, &nothing_committed(&args)),
        None => commit(&args, &status, held, &place).await,
    }
}

/// Whether an approval is one of this plan, on this occasion.
fn counts(status: &Status, approved: &Approved, held: &HeldStatus) -> bool {
    let Approval { held: of, revision } = &approved.approval;
    let mut spent = status.fleet.spent_approvals.iter();
    *of == held.digest && !spent.any(|one| one.plan_digest == *of && one.revision == *revision)
}

/// What is not held may have gone ahead meanwhile.
fn gone(args: &Args, status: &Status, approved: &[Approved], why: &str) -> Ended {
    let digits = args.digest.to_lowercase();
    let begins = |digest: &Digest| digest.to_string().starts_with(&digits);
    let is_held = status.fleet.held.iter().any(|held| begins(&held.digest));
    let approved = approved.iter().find(|one| begins(&one.approval.held));
    match approved.filter(|_| !is_held && digits.len() >= held::FEWEST) {
        Some(one) => already(one, "it is no longer held"),
        _ if digits.len() >= held::FEWEST && begins(&status.fleet.plan_digest) => bail!(
            "{}; `{}` shows what is held",
            held::whole(&status.fleet.held),
            args.fleet.from.hints().line("status")
        ),
        _ => bail!(
            "{why}; `{}` shows what is",
            args.fleet.from.hints().line("status")
        ),
    }
}

/// A clone's commits are its own until somebody pushes them, so that the reconciler may not have read this one.
fn nothing_committed(args: &Args) -> String {
    let is_here = |repository: &String| Path::new(repository).exists();
    let push = match args.fleet.from.repo.as_ref().is_some_and(is_here) {
        true => "; push it, if this is a clone",
        false => "",
    };
    format!("nothing is committed{push}")
}

/// The answer is the same as that of the first time.
fn already(approved: &Approved, so: &str) -> Ended {
    let (words, path) = (approved.words(), approved.path());
    out::tell(format_args!("{words} ({path}): {so}"));
    out::answer(format_args!("{}\n", approved.commit()))?;
    Ok(exit::OK)
}

async fn commit(args: &Args, status: &Status, held: &HeldStatus, place: &read::Place) -> Ended {
    let path = format!("approvals/{}.yaml", held.digest.short(16));
    let document = document(&held.digest, &status.fleet.desired_commit, &args.reason);
    let files = BTreeMap::from([(path.clone(), Some(document))]);
    // Before it is done: whoever stops the program here has approved nothing.
    out::tell(format_args!("this approves: {}", held.reason));
    for removal in held::removals(held, usize::MAX, None) {
        out::tell(format_args!("  {removal}"));
    }
    let message = format!("approve: {}", held.reason);
    let commit = edit::commit(place, files, &message).await;
    let commit = commit.context("the approval was not committed")?;
    out::tell(format_args!(
        "approved: committed {path} to {} of {}: it goes ahead when the reconciler has read that, within moments; \
         in a clone, `git pull --rebase` before your next push",
        place.branch,
        easyenclave_git::redact(&place.repository)
    ));
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
    fn the_help_says_that_the_approval_is_committed_to_the_repository_that_is_named() {
        let mut command = <Args as clap::Args>::augment_args(clap::Command::new("approve"));
        let help = command.render_help().to_string();
        let words: Vec<_> = help.split_whitespace().collect();
        let help = words.join(" ");
        assert!(help.contains("the approval is committed to it"), "{help}");
    }

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
