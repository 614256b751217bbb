//! The document that runs: what was checked, and nothing else. Variables, anchors and merges are resolved, dollar signs doubled
//! so that no engine's Compose resolves anything again, and what has no effect on an agent is left out. It is JSON, which every
//! reader of YAML reads alike.

use serde_json::{Map, Number, Value as Json};

use crate::decode::scalar::Scalar;
use crate::decode::tree::{Entry, Node, Value};

use super::shape::{Shape, Take};
use super::walk::truth;

/// What an agent has no use for: it names projects, attaches to nothing, and publishes ports itself.
const WITHOUT_EFFECT: [&str; 4] = ["attach", "name", "ports", "version"];

/// The document as JSON, its fields sorted.
pub(super) fn render(root: &Node<'_>, shape: &Shape) -> String {
    let mut document = json(root, shape);
    let fields = document.as_object_mut().expect("the document is a mapping");
    fields.retain(|name, _| !WITHOUT_EFFECT.contains(&name.as_str()));
    let services = fields.get_mut("services").and_then(Json::as_object_mut);
    for service in services.into_iter().flat_map(Map::values_mut) {
        let fields = service.as_object_mut().expect("a service is a mapping");
        fields.retain(|name, _| !WITHOUT_EFFECT.contains(&name.as_str()));
    }
    // Another crate of a build may make JSON maps keep the order of insertion, and the order is no version.
    document.sort_all_objects();
    document.to_string()
}

/// The value of a name: Compose makes a text of true and false, which its first generation does not take.
static WORD: Shape = Shape::Text(super::forms::any);

fn json(node: &Node<'_>, shape: &Shape) -> Json {
    match (shape, &node.value) {
        (Shape::Optional(shape), _) => json(node, shape),
        (Shape::ByKind { scalar, list, map }, value) => {
            let chosen = match value {
                Value::List(_) => list,
                Value::Map(_) => map,
                _ => scalar,
            };
            json(node, chosen.unwrap_or(&Shape::Any))
        }
        (Shape::Bool | Shape::Off(_), Value::Scalar(scalar)) => {
            truth(scalar).map_or(Json::Null, Json::Bool)
        }
        (Shape::Text(_), Value::Scalar(Scalar::Bool(_, value))) => value.to_string().into(),
        (Shape::Number(_), Value::Scalar(Scalar::Text(text))) => match text.parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => plain(&Scalar::Text(text.clone())),
        },
        (Shape::Fields(fields), Value::Map(entries)) => {
            // A known field without a value is one that is not there; some versions of Compose fail of it.
            let given = entries.iter().filter(|entry| !is_null(&entry.node));
            let known = given.filter_map(|entry| {
                let field = fields.iter().find(|field| field.name == entry.key)?;
                match field.take {
                    Take::Shape(shape) => Some((entry.key.to_string(), json(&entry.node, shape))),
                    Take::Refuse(_) => None,
                }
            });
            Json::Object(known.collect())
        }
        (Shape::Named(_, shape), Value::Map(entries)) => named(entries, shape),
        (Shape::Pairs(_), Value::Map(entries)) => named(entries, &WORD),
        (_, Value::Map(entries)) => named(entries, &Shape::Any),
        (Shape::List(shape), Value::List(items)) => list(items, shape),
        (_, Value::List(items)) => list(items, &Shape::Any),
        (_, Value::Scalar(scalar)) => plain(scalar),
        (_, Value::Broken) => Json::Null,
    }
}

fn is_null(node: &Node<'_>) -> bool {
    matches!(node.value, Value::Scalar(Scalar::Null(_)))
}

fn named(entries: &[Entry<'_>], shape: &Shape) -> Json {
    let field = |entry: &Entry<'_>| (entry.key.to_string(), json(&entry.node, shape));
    Json::Object(entries.iter().map(field).collect())
}

fn list(items: &[Node<'_>], shape: &Shape) -> Json {
    Json::Array(items.iter().map(|item| json(item, shape)).collect())
}

fn plain(scalar: &Scalar<'_>) -> Json {
    let text = |text: &str| Json::String(text.replace('$', "$$"));
    match scalar {
        Scalar::Null(_) => Json::Null,
        Scalar::Bool(_, value) => Json::Bool(*value),
        Scalar::Integer(_, value) => Json::Number(Number::from(*value)),
        Scalar::Float(raw) => {
            let value = raw.replace('_', "").parse().ok().and_then(Number::from_f64);
            value.map_or_else(|| text(raw), Json::Number)
        }
        Scalar::Text(raw) => text(raw),
    }
}
