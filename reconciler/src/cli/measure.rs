//! `easyenclave measure`: makes a policy change of measurements that were seen and are not known. It writes a file or
//! a branch; to merge it is a person's decision, and the reconciler has no way to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use easyenclave_schemas::decode::did_you_mean;
use easyenclave_schemas::status::Sighting;

use super::{Ended, absent, edit, exit, out, read};
use crate::clock::{Clock, System};
use crate::reference::{entry, widened};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only what the agent of this launch order showed, or whose MRTD begins so
    #[arg(value_name = "AGENT|MRTD")]
    only: Option<String>,
    /// What the new measurement is called in the policy [default: from agent and day]
    #[arg(long)]
    name: Option<String>,
    /// Writes the changed policy to this file instead of showing the entry
    #[arg(long, value_name = "FILE", conflicts_with = "branch")]
    write: Option<PathBuf>,
    /// Commits the changed policy to this new branch, for a pull request
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// The branch of desired state that the change starts from [default: the installation's, or else main]
    #[arg(long, value_name = "BRANCH")]
    base: Option<String>,
    #[command(flatten)]
    from: read::From,
}

pub(super) async fn run(args: Args) -> Ended {
    let read::Shown { status, seen } = args.from.status().await?;
    let sightings = status.fleet.sightings;
    let chosen: Vec<_> = sightings
        .iter()
        .filter(|seen| is_meant(&args, seen))
        .collect();
    if let (Some(only), true) = (&args.only, chosen.is_empty()) {
        bail!("{}", unseen(only, &sightings));
    }
    if chosen.is_empty() {
        let age = seen.age(System.now());
        out::tell(format_args!(
            "no unknown image was seen (as of {age}): there is nothing to add to a policy"
        ));
        return Ok(exit::OK);
    }
    if args.write.is_none() && args.branch.is_none() {
        for seen in chosen {
            show(seen, args.name.as_deref())?;
        }
        return Ok(exit::OK);
    }
    let [seen] = chosen[..] else {
        bail!(
            "one change is for one measurement: name it{}",
            known(&sightings)
        );
    };
    change(&args, seen).await?;
    Ok(exit::OK)
}

fn show(seen: &Sighting, name: Option<&str>) -> anyhow::Result<()> {
    out::tell(format_args!(
        "for policy {}, refused as {}",
        seen.policy, seen.refused
    ));
    out::answer(entry(seen, name))?;
    Ok(())
}

/// Writes the changed policy to where it was asked for.
async fn change(args: &Args, seen: &Sighting) -> anyhow::Result<()> {
    let place = args.from.desired(args.base.as_deref())?;
    let (path, text) = policy_file(&place, seen).await?;
    let text = widened(&text, &entry(seen, args.name.as_deref()))
        .with_context(|| format!("{path} cannot be changed by a program: add the entry by hand"))?;
    if let Some(file) = &args.write {
        std::fs::write(file, text)
            .map_err(|error| absent::because("the folder of", file, error))?;
        out::tell(format_args!(
            "{} is {path} with the new measurement",
            file.display()
        ));
    } else if let Some(branch) = &args.branch {
        let files = BTreeMap::from([(path, Some(text.into_bytes()))]);
        let message = format!("policy {}: trust what {} showed", seen.policy, seen.agent);
        let commit = edit::propose(&place, branch, &files, &message)?;
        out::tell(format_args!(
            "committed to the new branch {branch} of {}: compare the values with those of the build, then merge it",
            easyenclave_git::redact(&place.repository)
        ));
        out::answer(format_args!("{commit}\n"))?;
    }
    Ok(())
}

fn is_meant(args: &Args, seen: &Sighting) -> bool {
    args.only
        .as_ref()
        .is_none_or(|only| seen.agent == *only || seen.mrtd.to_string().starts_with(only))
}

/// Why nothing is meant, with what was seen, or nearly is what was meant.
fn unseen(only: &str, sightings: &[Sighting]) -> String {
    let agents = sightings.iter().map(|seen| seen.agent.as_str());
    let near = did_you_mean(only, agents).map(|near| format!("; did you mean `{near}`?"));
    let near = near.unwrap_or_default();
    match sightings {
        [] => format!("no unknown image was seen of {only}, nor of anybody"),
        _ => format!(
            "no unknown image was seen of {only}{near}{}",
            known(sightings)
        ),
    }
}

fn known(sightings: &[Sighting]) -> String {
    let mut text = String::new();
    for seen in sightings {
        text += &format!(
            "\n  {} for policy {}, MRTD {:.16}",
            seen.agent,
            seen.policy,
            seen.mrtd.to_string()
        );
    }
    text
}

/// The file that holds the policy on the base branch, and its text.
async fn policy_file(place: &read::Place, seen: &Sighting) -> anyhow::Result<(String, String)> {
    let base = &place.branch;
    let files = read::documents(place).await?;
    let of_policy = |text: &String| crate::reference::is_policy(text, &seen.policy);
    files
        .into_iter()
        .filter_map(|(path, text)| Some((path, text?)))
        .find(|(_, text)| of_policy(text))
        .with_context(|| format!("no document on {base} is the policy {}", seen.policy))
}
