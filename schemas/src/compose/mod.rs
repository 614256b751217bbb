//! Compose files: text → tree → variables filled in → held against the grammar and our rules → `Composition`. Every
//! finding has its place in the text; no bytes make it panic. docs/compose.md has the rules.

mod environment;
mod fields;
mod forms;
mod interpolate;
mod judge;
mod render;
mod shape;
#[cfg(test)]
mod tests;
mod uses;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use crate::Digest;
use crate::decode::Problem;
use crate::decode::problem::Problems;
use crate::decode::tree::{self, Dialect, Node, Value};
pub use crate::documents::WorkloadRules;
use forms::Image;
use judge::Services;

/// The longest Compose file, in bytes, and the longest that one may come to.
pub const MAX_BYTES: usize = crate::documents::ComposeSource::MAX;

/// A Compose file that may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composition {
    /// Its services.
    pub services: BTreeMap<String, Service>,
    /// The document that an agent runs, as JSON, and no other: what was checked is what runs. It reads the same to every
    /// version of Compose and needs no variables; equal documents mean the same, however they were written.
    pub document: String,
    /// What its author may not expect, and nothing is refused for.
    pub warnings: Vec<Problem>,
}

/// A service, with what it has of those that it extends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name of its image.
    pub image: String,
    /// The digest that the image's name asks for.
    pub digest: Option<Digest>,
    /// The profiles in which it runs; none means always.
    pub profiles: BTreeSet<String>,
    /// How many containers of it one agent runs.
    pub replicas: u32,
    /// Whose network it is in, where it is in none of the file's.
    pub network_mode: Option<String>,
}

/// Reads a Compose file. `env` is all that its variables are resolved from.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text, up to a bound.
pub fn read(
    text: &[u8],
    rules: &WorkloadRules,
    env: &BTreeMap<String, String>,
) -> Result<Composition, Vec<Problem>> {
    let mut problems = Problems::default();
    let composition = compose(text, rules, env, &mut problems);
    match composition {
        Some(composition) if problems.is_empty() => Ok(composition),
        _ => Err(distinct(problems)),
    }
}

/// All of them, in the order of the text; what several services take over from one text is wrong once.
fn distinct(problems: Problems) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let mut problems = problems.into_sorted();
    problems.retain(|problem| {
        let service = problem.pointer.split('/').nth(2).unwrap_or_default();
        let said = problem
            .message
            .replace(&format!("services.{service}"), "services");
        seen.insert((problem.line, problem.column, problem.code, said))
    });
    problems
}

fn compose(
    text: &[u8],
    rules: &WorkloadRules,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<Composition> {
    let text = crate::decode::utf8(text, MAX_BYTES, problems)?;
    let mut root = tree::parse(text, Dialect::Compose, problems)?;
    interpolate::interpolate(&mut root, env, problems);
    environment::hand_on(&mut root, env, problems);
    walk::walk(&root, &fields::DOCUMENT, rules, problems);
    let services = Services::of(&root);
    judge::judge(&root, &services, problems);
    if !problems.is_empty() {
        return None;
    }
    let document = render::render(&root, &fields::DOCUMENT);
    if document.len() > MAX_BYTES {
        let message = format!("the document comes to more than {} KiB", MAX_BYTES / 1024);
        problems.add(Problem::new(root.at, "too-large", message));
        return None;
    }
    let summary = services
        .iter()
        .filter_map(|(name, _)| Some((name.to_owned(), service(&services, name)?)));
    Some(Composition {
        services: summary.collect(),
        document,
        warnings: warnings(&services),
    })
}

fn service(services: &Services<'_>, name: &str) -> Option<Service> {
    let image = services.field(name, "image")?.text()?;
    let deploy = services.field(name, "deploy");
    let replicas = services
        .field(name, "scale")
        .or_else(|| deploy?.field("replicas"));
    let profiles = services.profiles(name).into_iter();
    Some(Service {
        image: image.to_owned(),
        digest: Image::parse(image)?.digest,
        profiles: profiles.map(str::to_owned).collect(),
        replicas: replicas.and_then(judge::number).unwrap_or(1),
        network_mode: services
            .field(name, "network_mode")
            .and_then(|mode| mode.text().map(str::to_owned)),
    })
}

/// Ports of the machine are the agent's to publish.
fn warnings(services: &Services<'_>) -> Vec<Problem> {
    let mut problems = Problems::default();
    for (name, facts) in services.iter() {
        let Some(Value::List(ports)) = facts.node.field("ports").map(|node| &node.value) else {
            continue;
        };
        for (index, port) in ports.iter().enumerate().filter(|(_, port)| is_fixed(port)) {
            let name = crate::decode::problem::shorten(name, 60);
            let message = format!(
                "`services.{name}.ports[{index}]`: the machine publishes none of its ports by this; the deployment's `web` says which \
                 service and port the agent makes reachable, once it is trusted and ready"
            );
            let pointer = format!("{}/{index}", uses::pointer(&name, "ports"));
            problems.add(Problem::new(port.at, "compose-fixed-port", message).of(pointer));
        }
    }
    distinct(problems)
}

fn is_fixed(port: &Node<'_>) -> bool {
    match port.text() {
        Some(text) => forms::published_ports(text).is_some_and(|(_, is_fixed)| is_fixed),
        None => port.field("published").is_some(),
    }
}

/// A field of the Compose specification, as this reader takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRule {
    /// Where it stands, such as `services.build`: names of services and items of lists are left out.
    pub path: String,
    /// The code of the rule that refuses it.
    pub refused: Option<&'static str>,
    /// Why it is refused and what to write instead, or what holds for it.
    pub note: &'static str,
}

/// Every field that is known, in the order of the specification.
pub fn field_rules() -> Vec<FieldRule> {
    let rule = |(path, field): (String, &shape::Field)| {
        let (refused, note) = match &field.take {
            shape::Take::Refuse(refusal) => (Some(refusal.code), refusal.why),
            shape::Take::Shape(_) => (None, field.note),
        };
        FieldRule {
            path,
            refused,
            note,
        }
    };
    fields::all().into_iter().map(rule).collect()
}
