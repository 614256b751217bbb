//! What services name: other services, networks, volumes, configs; read from a tree that may be wrong elsewhere.

use crate::decode::path::push_field;
use crate::decode::problem::At;
use crate::decode::tree::{Entry, Node, Value};

use super::forms::Mount;

/// What is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Service,
    Network,
    Volume,
    Config,
}

impl What {
    /// The field of the document in which it is declared.
    pub(super) fn section(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::Network => "networks",
            Self::Volume => "volumes",
            Self::Config => "configs",
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Config => "config",
        }
    }
}

/// A place of a service that names something.
#[derive(Debug, Clone)]
pub(super) struct Use<'t> {
    pub(super) what: What,
    pub(super) name: &'t str,
    /// The field of the service.
    pub(super) field: &'static str,
    /// The service starts without it as well.
    pub(super) is_optional: bool,
    pub(super) at: At,
    pub(super) pointer: String,
}

/// All that a service names, but what it extends.
pub(super) fn of<'t>(service: &'t Entry<'_>) -> Vec<Use<'t>> {
    let mut uses = Vec::new();
    let mut take = |what, field, found: Vec<Found<'t>>| {
        for Found {
            name,
            node,
            at,
            step,
        } in found
        {
            let mut pointer = pointer(&service.key, field);
            pointer.push_str(&step);
            let is_optional = field == "depends_on" && is_optional(node);
            uses.push(Use {
                what,
                name,
                field,
                is_optional,
                at,
                pointer,
            });
        }
    };
    let node = &service.node;
    take(What::Service, "depends_on", names(node.field("depends_on")));
    take(
        What::Service,
        "links",
        before_colon(names(node.field("links"))),
    );
    take(
        What::Service,
        "volumes_from",
        of_the_file(names(node.field("volumes_from"))),
    );
    for field in ["network_mode", "pid", "ipc"] {
        take(What::Service, field, namespace(node.field(field)));
    }
    take(What::Network, "networks", names(node.field("networks")));
    take(What::Volume, "volumes", volumes(node.field("volumes")));
    take(What::Config, "configs", configs(node.field("configs")));
    uses
}

/// The service of the same file that a service extends.
pub(super) fn extends<'t>(service: &'t Entry<'_>) -> Option<Use<'t>> {
    let node = service.node.field("extends")?;
    if node.field("file").is_some() {
        return None;
    }
    let (node, step) = match node.field("service") {
        Some(inner) => (inner, "/service"),
        None => (node, ""),
    };
    Some(Use {
        what: What::Service,
        name: node.text()?,
        field: "extends",
        is_optional: false,
        at: node.at,
        pointer: pointer(&service.key, "extends") + step,
    })
}

/// The JSON pointer of a service's field.
pub(super) fn pointer(service: &str, field: &str) -> String {
    let mut pointer = String::from("/services");
    push_field(&mut pointer, service);
    push_field(&mut pointer, field);
    pointer
}

struct Found<'t> {
    name: &'t str,
    node: &'t Node<'t>,
    at: At,
    step: String,
}

/// The texts of a list, or the names of a mapping.
fn names<'t>(node: Option<&'t Node<'_>>) -> Vec<Found<'t>> {
    match node.map(|node| &node.value) {
        Some(Value::Map(entries)) => entries
            .iter()
            .map(|entry| {
                let mut step = String::new();
                push_field(&mut step, &entry.key);
                Found {
                    name: &entry.key,
                    node: &entry.node,
                    at: entry.at,
                    step,
                }
            })
            .collect(),
        Some(Value::List(items)) => texts(items),
        _ => Vec::new(),
    }
}

fn texts<'t>(items: &'t [Node<'_>]) -> Vec<Found<'t>> {
    let text = |(index, node): (usize, &'t Node<'_>)| {
        let (name, step) = (node.text()?, format!("/{index}"));
        Some(Found {
            name,
            node,
            at: node.at,
            step,
        })
    };
    items.iter().enumerate().filter_map(text).collect()
}

/// `NAME:…` names what stands before the colon.
fn before_colon(mut found: Vec<Found<'_>>) -> Vec<Found<'_>> {
    for one in &mut found {
        one.name = one.name.split(':').next().unwrap_or_default();
    }
    found
}

/// `container:…` is refused, and names nothing of the file.
fn of_the_file(mut found: Vec<Found<'_>>) -> Vec<Found<'_>> {
    found.retain(|one| !one.name.starts_with("container:"));
    before_colon(found)
}

fn namespace<'t>(node: Option<&'t Node<'_>>) -> Vec<Found<'t>> {
    let found = node.and_then(|node| {
        let name = node.text()?.strip_prefix("service:")?;
        Some(Found {
            name,
            node,
            at: node.at,
            step: String::new(),
        })
    });
    found.into_iter().collect()
}

fn volumes<'t>(node: Option<&'t Node<'_>>) -> Vec<Found<'t>> {
    let Some(Value::List(items)) = node.map(|node| &node.value) else {
        return Vec::new();
    };
    let volume = |(index, node): (usize, &'t Node<'_>)| {
        let is_long = node.field("type").and_then(Node::text) == Some("volume");
        let name = match node.field("source") {
            Some(source) if is_long => source.text()?,
            Some(_) => return None,
            None => match Mount::parse(node.text()?)? {
                Mount::Volume(name) => name,
                Mount::Anonymous | Mount::Host => return None,
            },
        };
        Some(Found {
            name,
            node,
            at: node.at,
            step: format!("/{index}"),
        })
    };
    items.iter().enumerate().filter_map(volume).collect()
}

fn configs<'t>(node: Option<&'t Node<'_>>) -> Vec<Found<'t>> {
    let Some(Value::List(items)) = node.map(|node| &node.value) else {
        return Vec::new();
    };
    let config = |(index, node): (usize, &'t Node<'_>)| {
        let name = node.field("source").unwrap_or(node).text()?;
        Some(Found {
            name,
            node,
            at: node.at,
            step: format!("/{index}"),
        })
    };
    items.iter().enumerate().filter_map(config).collect()
}

fn is_optional(dependency: &Node<'_>) -> bool {
    let required = dependency.field("required").map(|node| &node.value);
    matches!(required, Some(Value::Scalar(scalar)) if super::walk::truth(scalar) == Some(false))
}
