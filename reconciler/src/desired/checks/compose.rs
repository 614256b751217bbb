//! Compose files and what the fleet asks of them. Of a file and a fleet that do not fit, the one that changed is at fault: a
//! fleet that asks for more stops nothing that runs. Where nothing tells which one that is, the deployment is frozen.

use easyenclave_schemas::documents::{DeploymentSpec, WorkloadRules};

use super::super::blobs::Part;
use super::super::facts::{Facts, Held, Standing};
use super::{Finding, Spot};
use easyenclave_schemas::decode::Problem;

/// A rule that fleets may ask for: the code of what breaks it, the field, and whether it is asked.
struct Rule {
    code: &'static str,
    pointer: &'static str,
    is_asked: fn(&WorkloadRules) -> bool,
    broken: &'static str,
}

const RULES: [Rule; 2] = [
    Rule {
        code: "compose-unpinned",
        pointer: "/spec/workloads/pinned",
        is_asked: |rules| rules.pinned,
        broken: "runs an image that no digest names",
    },
    Rule {
        code: "compose-host-network",
        pointer: "/spec/workloads/hostNetwork",
        is_asked: |rules| !rules.host_network,
        broken: "is in the network of its machine",
    },
];

pub(super) fn files_obey_the_fleet(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let Some(fleet) = &facts.fleet else { return };
    for rule in &RULES {
        let is_read = fleet.version.read.located.knows(rule.pointer);
        if !is_read || !(rule.is_asked)(&fleet.object.spec.workloads) {
            continue;
        }
        let broken: Vec<_> = facts
            .deployments
            .iter()
            .filter(|held| breaks(held, rule).next().is_some())
            .collect();
        let novelty = fleet.version.standing.novelty();
        // Beside a fleet's document of which none was in force before, nothing tells what ran.
        let is_known = fleet.version.standing != Standing::New;
        let before = broken
            .iter()
            .find(|held| is_known && held.version.standing.novelty() < novelty);
        match before {
            Some(held) => {
                let message = format!(
                    "deployment {}/{} {}",
                    held.owner(),
                    held.name(),
                    rule.broken
                );
                findings.push(Finding::new(
                    fleet.version,
                    rule.pointer,
                    rule.code,
                    message,
                ));
            }
            None => findings.extend(broken.iter().flat_map(|held| blame(held, rule))),
        }
    }
}

fn breaks<'a>(
    held: &'a Held<'_, DeploymentSpec>,
    rule: &Rule,
) -> impl Iterator<Item = &'a (Part, Problem)> {
    let composed = held.version.read.composed.iter();
    let code = rule.code;
    composed
        .flat_map(|it| &it.strict)
        .filter(move |(_, problem)| problem.code == code)
}

fn blame(held: &Held<'_, DeploymentSpec>, rule: &Rule) -> Vec<Finding> {
    let finding = |(part, problem): &(Part, Problem)| Finding {
        file: held.version.file,
        spot: Spot::Compose(*part, problem.clone()),
        code: rule.code,
        message: String::new(),
        suggestion: None,
    };
    breaks(held, rule).map(finding).collect()
}
