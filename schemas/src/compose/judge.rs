//! Rules across the fields of a document: names that lead somewhere, no circles, profiles that go together, an image for each
//! service. What a service extends counts as its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::decode::path::push_field;
use crate::decode::problem::{At, Problem, Problems, did_you_mean, shorten};
use crate::decode::scalar::Scalar;
use crate::decode::tree::{Entry, Node, Value};

use super::uses::{self, Use, What};

/// More services than anybody writes by hand; what the engine is asked for is bounded with it.
const MAX_SERVICES: usize = 100;

/// The services of a document, each with what it names.
pub(super) struct Services<'t>(BTreeMap<&'t str, Facts<'t>>);

/// A service as it was written.
pub(super) struct Facts<'t> {
    pub(super) at: At,
    pub(super) node: &'t Node<'t>,
    uses: Vec<Use<'t>>,
    base: Option<Use<'t>>,
}

impl<'t> Services<'t> {
    /// Reads what can be read.
    pub(super) fn of(root: &'t Node<'t>) -> Self {
        let facts = |entry: &'t Entry<'t>| {
            let facts = Facts {
                at: entry.at,
                node: &entry.node,
                uses: uses::of(entry),
                base: uses::extends(entry),
            };
            (entry.key.as_ref(), facts)
        };
        Self(section(root, "services").iter().map(facts).collect())
    }

    /// All services with their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'t str, &Facts<'t>)> {
        self.0.iter().map(|(name, facts)| (*name, facts))
    }

    /// A service, what it extends, what that extends, and so on; each once.
    pub(super) fn lineage(&self, name: &str) -> Vec<&Facts<'t>> {
        let mut seen = BTreeSet::new();
        let mut lineage = Vec::new();
        let mut next = self.0.get_key_value(name);
        while let Some((name, facts)) = next.filter(|(name, _)| seen.insert(**name)) {
            _ = name;
            lineage.push(facts);
            let base = facts.base.as_ref();
            next = base.and_then(|base| self.0.get_key_value(base.name));
        }
        lineage
    }

    /// The profiles in which a service runs; none means always.
    pub(super) fn profiles(&self, name: &str) -> BTreeSet<&'t str> {
        let lineage = self.lineage(name).into_iter();
        let lists = lineage.filter_map(|facts| facts.node.field("profiles"));
        let texts = lists.flat_map(|list| match &list.value {
            Value::List(items) => items.iter().filter_map(Node::text).collect(),
            _ => Vec::new(),
        });
        texts.collect()
    }

    /// The first of a service and its bases that has a field.
    pub(super) fn field(&self, name: &str, field: &str) -> Option<&'t Node<'t>> {
        let mut lineage = self.lineage(name).into_iter();
        lineage.find_map(|facts| facts.node.field(field))
    }

    fn services_of(&self, name: &str) -> Vec<&Use<'t>> {
        let lineage = self.lineage(name).into_iter();
        let uses = lineage.flat_map(|facts| &facts.uses);
        uses.filter(|used| used.what == What::Service).collect()
    }
}

fn section<'t>(root: &'t Node<'t>, name: &str) -> &'t [Entry<'t>] {
    match root.field(name).map(|node| &node.value) {
        Some(Value::Map(entries)) => entries,
        _ => &[],
    }
}

/// Reports all that does not go together.
pub(super) fn judge(root: &Node<'_>, services: &Services<'_>, problems: &mut Problems) {
    if services.0.len() > MAX_SERVICES {
        let at = root.entry("services").map_or(root.at, |entry| entry.at);
        let message = format!("`services`: more than {MAX_SERVICES} services");
        problems.add(Problem::new(at, "too-large", message).of("/services"));
        return;
    }
    let mut judge = Judge {
        root,
        services,
        problems,
    };
    for (name, facts) in services.iter() {
        judge.names(name, facts);
        judge.image(name, facts);
        judge.network(name, facts);
        judge.replicas(name, facts);
        judge.health(name, facts);
        judge.profiles(name);
    }
    judge.configs();
    judge.circles();
}

struct Judge<'j, 't> {
    root: &'t Node<'t>,
    services: &'j Services<'t>,
    problems: &'j mut Problems,
}

impl<'t> Judge<'_, 't> {
    /// What is named has to be there.
    fn names(&mut self, service: &str, facts: &Facts<'t>) {
        for used in facts.uses.iter().chain(&facts.base) {
            let section = used.what.section();
            let declared = section_names(self.root, section);
            let is_default = used.what == What::Network && used.name == "default";
            if declared.contains(&used.name) || is_default {
                continue;
            }
            let (word, name) = (used.what.word(), shorten(used.name, 60));
            let near = did_you_mean(used.name, declared.iter().copied());
            let there = match (near, declared.as_slice()) {
                (Some(_), _) => String::new(),
                (None, []) => format!("; declare it under `{section}`"),
                (None, declared) => format!("; `{section}` has {}", few(declared)),
            };
            let message = format!(
                "`services.{}.{}`: there is no {word} `{name}`{there}",
                shorten(service, 60),
                used.field
            );
            let code = match used.what {
                What::Service => "compose-unknown-service",
                _ => "compose-unknown-name",
            };
            let problem = Problem::new(used.at, code, message).suggest(near);
            self.problems.add(problem.of(used.pointer.clone()));
        }
    }

    fn image(&mut self, service: &str, facts: &Facts<'t>) {
        let known = ["image", "build", "provider"];
        let has_any = known
            .iter()
            .any(|field| self.services.field(service, field).is_some());
        let Value::Map(fields) = &facts.node.value else {
            return;
        };
        let mut meant = fields
            .iter()
            .filter_map(|field| did_you_mean(&field.key, ["image"]));
        if !has_any && meant.next().is_none() {
            let message = format!(
                "missing field `image` in `services.{}`",
                shorten(service, 60)
            );
            self.at(facts.at, service, "", "missing-field", message);
        }
    }

    /// A service is in networks, or in another's.
    fn network(&mut self, service: &str, facts: &Facts<'t>) {
        let has_networks = self.services.field(service, "networks").is_some();
        let has_mode = self.services.field(service, "network_mode").is_some();
        if has_networks && has_mode {
            let field = ["network_mode", "networks"].into_iter();
            let at = field.filter_map(|field| facts.node.entry(field)).next();
            let at = at.map_or(facts.at, |entry| entry.at);
            let message = format!(
                "`services.{}`: `network_mode` and `networks` exclude each other; leave one out",
                shorten(service, 60)
            );
            self.at(at, service, "/network_mode", "compose-conflict", message);
        }
    }

    fn replicas(&mut self, service: &str, facts: &Facts<'t>) {
        let scale = self.services.field(service, "scale").and_then(number);
        let deploy = self.services.field(service, "deploy");
        let replicas = deploy.and_then(|deploy| deploy.field("replicas"));
        if let (Some(scale), Some(replicas)) = (scale, replicas.and_then(number))
            && scale != replicas
        {
            let at = facts.node.entry("scale").map_or(facts.at, |entry| entry.at);
            let message = format!(
                "`services.{}.scale`: {scale} is not `deploy.replicas`, which is {replicas}; leave one out",
                shorten(service, 60)
            );
            self.at(at, service, "/scale", "compose-conflict", message);
        }
    }

    /// A test that is a list says first how it is run.
    fn health(&mut self, service: &str, facts: &Facts<'t>) {
        let test = facts
            .node
            .field("healthcheck")
            .and_then(|health| health.field("test"));
        let Some(Value::List(items)) = test.map(|test| &test.value) else {
            return;
        };
        let first = items.first().and_then(Node::text).unwrap_or_default();
        if !matches!(first, "CMD" | "CMD-SHELL" | "NONE") {
            let at = items.first().or(test).map_or(facts.at, |node| node.at);
            let message = format!(
                "`services.{}.healthcheck.test`: a list begins with CMD, CMD-SHELL or NONE; write [\"CMD\", …], or one text for a shell",
                shorten(service, 60)
            );
            self.at(at, service, "/healthcheck/test", "bad-format", message);
        }
    }

    /// Whoever runs, runs with what it needs.
    fn profiles(&mut self, service: &str) {
        let own = self.services.profiles(service);
        for used in self.services.services_of(service) {
            let needed = self.services.profiles(used.name);
            let is_there = needed.is_empty() || (!own.is_empty() && own.is_subset(&needed));
            if is_there || used.is_optional || used.name == service {
                continue;
            }
            let (service, name) = (shorten(service, 60), shorten(used.name, 60));
            let needed = few(&needed.into_iter().collect::<Vec<_>>());
            let message = format!(
                "`services.{service}.{}`: `{name}` runs in the profile {needed} only, and `{service}` without it as well; give both \
                 the same profiles, or write `required: false`",
                used.field
            );
            let problem = Problem::new(used.at, "compose-profile", message);
            self.problems.add(problem.of(used.pointer.clone()));
        }
    }

    /// A config has its text here.
    fn configs(&mut self) {
        let sources = ["content", "file", "environment", "external"];
        for entry in section(self.root, "configs") {
            let has_source = sources
                .iter()
                .any(|source| entry.node.field(source).is_some());
            if !has_source && matches!(entry.node.value, Value::Map(_)) {
                let name = shorten(&entry.key, 60);
                let message = format!("missing field `content` in `configs.{name}`");
                let mut pointer = String::from("/configs");
                push_field(&mut pointer, &entry.key);
                let problem = Problem::new(entry.at, "missing-field", message);
                self.problems.add(problem.of(pointer));
            }
        }
    }

    /// No service waits for itself, and none extends itself.
    fn circles(&mut self) {
        let extended = |name: &str| -> Vec<&Use<'t>> {
            let facts = self.services.0.get(name);
            facts
                .and_then(|facts| facts.base.as_ref())
                .into_iter()
                .collect()
        };
        let mut found = circles(self.services, &extended);
        if found.is_empty() {
            found = circles(self.services, &|name| self.services.services_of(name));
        }
        for (way, used) in found {
            let message = format!(
                "`{}`: a circle: {}",
                used.pointer.trim_start_matches('/').replace('/', "."),
                way.join(" → ")
            );
            let problem = Problem::new(used.at, "compose-cycle", shorten(&message, 300));
            self.problems.add(problem.of(used.pointer.clone()));
        }
    }

    fn at(&mut self, at: At, service: &str, step: &str, code: &'static str, message: String) {
        let mut pointer = String::from("/services");
        push_field(&mut pointer, service);
        pointer.push_str(step);
        self.problems
            .add(Problem::new(at, code, message).of(pointer));
    }
}

fn section_names<'t>(root: &'t Node<'t>, name: &str) -> Vec<&'t str> {
    section(root, name)
        .iter()
        .map(|entry| entry.key.as_ref())
        .collect()
}

fn few(names: &[&str]) -> String {
    let mut shown: Vec<_> = names
        .iter()
        .take(8)
        .map(|name| format!("`{}`", shorten(name, 60)))
        .collect();
    if names.len() > shown.len() {
        shown.push("…".into());
    }
    shown.join(", ")
}

/// A whole number, written as one or as a text.
pub(super) fn number(node: &Node<'_>) -> Option<u32> {
    match &node.value {
        Value::Scalar(Scalar::Integer(_, value)) => u32::try_from(*value).ok(),
        Value::Scalar(Scalar::Text(text)) => text.parse().ok(),
        _ => None,
    }
}

/// A circle: the names on the way round, and the use that closes it.
type Circle<'t> = (Vec<String>, Use<'t>);

/// The circles of a graph, each once: by what it is closed.
fn circles<'j, 't: 'j>(
    services: &'j Services<'t>,
    next: &dyn Fn(&str) -> Vec<&'j Use<'t>>,
) -> Vec<Circle<'t>> {
    let mut search = Search {
        next,
        done: BTreeSet::new(),
        way: Vec::new(),
        found: Vec::new(),
    };
    for (name, _) in services.iter() {
        search.visit(name);
    }
    search.found
}

struct Search<'s, 'j, 't> {
    next: &'s dyn Fn(&str) -> Vec<&'j Use<'t>>,
    done: BTreeSet<&'t str>,
    way: Vec<&'t str>,
    found: Vec<Circle<'t>>,
}

impl<'t> Search<'_, '_, 't> {
    fn visit(&mut self, name: &'t str) {
        self.way.push(name);
        for used in (self.next)(name) {
            if let Some(begin) = self.way.iter().position(|on| *on == used.name) {
                let way = self.way[begin..].iter().chain([&used.name]);
                let way = way.map(|name| shorten(name, 60)).collect();
                self.found.push((way, used.clone()));
            } else if !self.done.contains(used.name) {
                self.visit(used.name);
            }
        }
        self.way.pop();
        self.done.insert(name);
    }
}
