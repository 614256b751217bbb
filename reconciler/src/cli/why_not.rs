//! `easyenclave why-not NAME`: why a deployment has no more agents than it has. A clone is enough: what is comes from the
//! status branch, and what is wanted from the revision that is named, merged or not.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::bail;
use easyenclave_plan::{Deployment, Desired, Frozen, Issue, Wait, plan};
use easyenclave_schemas::decode::did_you_mean;
use easyenclave_schemas::{AgentId, Cloud, DeploymentId};
use serde_json::{Value, json};

use super::outlook::{Of, Outlook};
use super::style::{BAD, DIM, GOOD, HEAD, paint};
use super::{Ended, Output, exit, leftout, out};
use crate::whynot::{WARM, WhyNot, summary};
use crate::words::plural;

/// The most agents of which a text says why not; JSON has all of them.
const AGENTS: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A deployment (owner/name or name)
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    of: Of,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// A deployment, and how it stands with every agent.
struct Answer {
    id: DeploymentId,
    wanted: Deployment,
    found: WhyNot,
    outlook: Outlook,
}

pub(super) async fn run(args: Args) -> Ended {
    let (of, name) = (args.of.clone(), args.name);
    let look = move || Answer::new(Outlook::new(&of)?, &name);
    let answer = tokio::task::spawn_blocking(look).await??;
    if let Some(note) = leftout::note(Path::new(&args.of.repo), answer.outlook.head) {
        out::tell(note);
    }
    let rejected = answer.outlook.problems.len();
    if rejected > 0 {
        let problems = plural(rejected, "problem");
        out::tell(format_args!(
            "documents of this revision have {problems}, see `plan`: what they said before holds"
        ));
    }
    match args.output {
        Output::Text => out::answer(answer.text())?,
        Output::Json => out::data(&(serde_json::to_string_pretty(&answer.json())? + "\n"))?,
    }
    Ok(exit::OK)
}

impl Answer {
    fn new(outlook: Outlook, name: &str) -> anyhow::Result<Self> {
        let desired = &outlook.model.desired;
        let id = chosen(desired, name)?;
        let Some(wanted) = desired.deployments.get(&id).cloned() else {
            bail!("the document of {id} is rejected, and nothing of it is touched: see `plan`");
        };
        let (world, now) = (&outlook.foreseen, outlook.against.judged_at);
        let planned = plan(desired, world, now);
        Ok(Self {
            found: WhyNot::of(&id, desired, world, &planned, now),
            id,
            wanted,
            outlook,
        })
    }

    /// So many replicas neither have an agent nor are given one.
    fn missing(&self) -> usize {
        self.found.missing(&self.wanted)
    }

    /// The one code for what is missing, if anything is.
    fn code(&self) -> Option<&'static str> {
        let (world, now) = (&self.outlook.foreseen, self.outlook.against.judged_at);
        (self.missing() > 0).then(|| summary(world, &self.wanted, now))
    }

    fn text(&self) -> String {
        let mut lines = vec![paint(DIM, &self.outlook.against)];
        let (wanted, found) = (self.wanted.replicas, &self.found);
        let (has, gets, missing) = (found.has.len(), found.gets.len(), self.missing());
        lines.push(format!(
            "{}: replicas wanted: {wanted}; with an agent: {has}; given one now: {gets}; missing: {missing}",
            paint(HEAD, format_args!("deployment {}", self.id))
        ));
        let style = if missing == 0 { GOOD } else { BAD };
        lines.extend(self.code().map(|code| format!("  {}", paint(style, code))));
        lines.extend(found.waits.iter().map(|wait| format!("  {}", waits(wait))));
        for (agent, target) in &found.warm {
            lines.push(format!(
                "  {WARM}: {agent} is kept free in target {target}, and is what the deployment is given"
            ));
        }
        lines.extend(self.others());
        lines.join("\n") + "\n"
    }

    /// The agents that were not chosen: how many for which reason, then one by one.
    fn others(&self) -> Vec<String> {
        let not = &self.found.not;
        if not.is_empty() {
            return vec!["there is no agent that was not chosen".into()];
        }
        let mut counts: BTreeMap<Issue, usize> = BTreeMap::new();
        for (_, why) in not {
            *counts.entry(*why).or_default() += 1;
        }
        let counts = counts
            .iter()
            .map(|(why, count)| format!("{count} {}", why.code()));
        let counts = counts.collect::<Vec<_>>().join(", ");
        let mut lines = vec![format!(
            "agents that were not chosen: {} ({counts})",
            not.len()
        )];
        let named = not.iter().take(AGENTS);
        lines.extend(named.map(|(agent, why)| {
            let seen = &self.outlook.foreseen.agents[agent];
            let (target, size, datacenter) = (&seen.target, &seen.size, &seen.datacenter);
            let (code, words) = (why.code(), self.words(agent, *why));
            format!("  {agent} of target {target}, {size} in {datacenter}: {code}: {words}")
        }));
        if not.len() > AGENTS {
            let more = not.len() - AGENTS;
            lines.push(format!("  and {more} more, which `--output json` names"));
        }
        lines
    }

    /// Why not this one. Whose evidence is simulated is said so.
    fn words(&self, agent: &AgentId, why: Issue) -> String {
        let seen = self.outlook.status.agents.get(agent);
        let stamp = match why {
            Issue::NotVerified => seen.map(|seen| seen.trust.stamp()),
            _ => None,
        };
        format!("{why}{}", stamp.unwrap_or_default())
    }

    fn json(&self) -> Value {
        let (outlook, found) = (&self.outlook, &self.found);
        let wait = |wait: &Wait| {
            json!({
                "reason": wait.reason.code(),
                "message": wait.reason.to_string(),
                "until": wait.until,
            })
        };
        let note = |(agent, target): &(AgentId, _)| json!({ "code": WARM, "agent": agent, "target": target });
        let not = found.not.iter();
        json!({
            "deployment": self.id.to_string(),
            "revision": outlook.head.to_string(),
            "base": outlook.against.base.to_string(),
            "status": { "commit": outlook.against.status, "seenAt": outlook.against.seen_at },
            "judgedAt": outlook.against.judged_at,
            "wanted": self.wanted.replicas,
            "has": found.has,
            "gets": found.gets,
            "missing": self.missing(),
            "code": self.code(),
            "waits": found.waits.iter().map(wait).collect::<Vec<_>>(),
            "notes": found.warm.iter().map(note).collect::<Vec<_>>(),
            "agents": not.map(|(agent, why)| self.agent(agent, *why)).collect::<Vec<_>>(),
        })
    }

    fn agent(&self, agent: &AgentId, why: Issue) -> Value {
        let seen = &self.outlook.foreseen.agents[agent];
        json!({
            "agent": agent,
            "target": seen.target,
            "nodeSize": seen.size,
            "datacenter": seen.datacenter,
            "cloud": Cloud::of(&seen.datacenter),
            "code": why.code(),
            "message": self.words(agent, why),
        })
    }
}

fn waits(wait: &Wait) -> String {
    let until = wait.until.map(|until| format!(" (until {until})"));
    let (code, until) = (wait.reason.code(), until.unwrap_or_default());
    format!("waits for {code}: {}{until}", wait.reason)
}

/// The deployment of a name.
fn chosen(desired: &Desired, name: &str) -> anyhow::Result<DeploymentId> {
    let frozen = desired.frozen.keys().filter_map(|frozen| match frozen {
        Frozen::Deployment(id) => Some(id),
        Frozen::Target(_) => None,
    });
    let mut all: Vec<&DeploymentId> = desired.deployments.keys().chain(frozen).collect();
    all.sort_unstable();
    all.dedup();
    let is_it = |id: &&&DeploymentId| id.to_string() == name || id.name.as_str() == name;
    let named: Vec<_> = all.iter().filter(is_it).collect();
    match named.as_slice() {
        [id] => Ok((**id).clone()),
        [] => {
            let names = all
                .iter()
                .flat_map(|id| [id.to_string(), id.name.to_string()]);
            let names: Vec<_> = names.collect();
            let near = did_you_mean(name, names.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `{near}`?"));
            bail!(
                "this revision has no deployment {name}{}",
                near.unwrap_or_default()
            )
        }
        several => {
            let several: Vec<_> = several.iter().map(ToString::to_string).collect();
            bail!(
                "several deployments are named {name}: {}",
                several.join(", ")
            )
        }
    }
}
