//! A tree that fits its schema, as a typed document.

use serde::de::DeserializeOwned;
use serde_json::{Error, Map, Number, Value as Json};

use super::scalar::Scalar;
use super::tree::{Node, Value};
use crate::documents::{Document, Identity, Kind, Metadata, Object};

/// The document that a tree holds.
pub(super) fn document(root: &Node<'_>) -> Result<Document, Error> {
    let kind = root.field("kind").and_then(Node::text).unwrap_or_default();
    let kind: Kind = serde_json::from_value(Json::from(kind))?;
    let value = json(root);
    Ok(match kind {
        Kind::Fleet => Document::Fleet(object(value)?),
        Kind::Owner => Document::Owner(object(value)?),
        Kind::AttestationPolicy => Document::AttestationPolicy(object(value)?),
        Kind::Provider => Document::Provider(object(value)?),
        Kind::CapacityTarget => Document::CapacityTarget(object(value)?),
        Kind::CapacityReservation => Document::CapacityReservation(object(value)?),
        Kind::Deployment => Document::Deployment(object(value)?),
        Kind::Secret => Document::Secret(object(value)?),
        Kind::Approval => Document::Approval(object(value)?),
    })
}

fn object<S: DeserializeOwned>(value: Json) -> Result<Object<S>, Error> {
    serde_json::from_value(value)
}

/// What identifies a document.
pub(super) fn identity(document: &Document) -> Identity {
    let (kind, metadata): (_, &Metadata) = match document {
        Document::Fleet(object) => (Kind::Fleet, &object.metadata),
        Document::Owner(object) => (Kind::Owner, &object.metadata),
        Document::AttestationPolicy(object) => (Kind::AttestationPolicy, &object.metadata),
        Document::Provider(object) => (Kind::Provider, &object.metadata),
        Document::CapacityTarget(object) => (Kind::CapacityTarget, &object.metadata),
        Document::CapacityReservation(object) => (Kind::CapacityReservation, &object.metadata),
        Document::Deployment(object) => (Kind::Deployment, &object.metadata),
        Document::Secret(object) => (Kind::Secret, &object.metadata),
        Document::Approval(object) => (Kind::Approval, &object.metadata),
    };
    let owner = metadata.owner.as_ref().map(ToString::to_string);
    Identity {
        kind,
        owner,
        name: metadata.name.clone(),
    }
}

/// The identity that a tree claims, when its kind, name and owner can be read.
pub(super) fn claimed(root: &Node<'_>) -> Option<Identity> {
    let kind = root.field("kind")?.text()?;
    let kind = Kind::ALL.into_iter().find(|other| other.as_str() == kind)?;
    let metadata = root.field("metadata")?;
    let text = |field| {
        metadata
            .field(field)
            .and_then(Node::text)
            .map(str::to_owned)
    };
    let owner = if kind.is_owned() {
        Some(text("owner")?)
    } else {
        None
    };
    Some(Identity {
        kind,
        owner,
        name: text("name")?,
    })
}

/// The tree as JSON, numbers with fractions as texts: no field takes one.
pub(super) fn json(node: &Node<'_>) -> Json {
    match &node.value {
        Value::Scalar(Scalar::Null(_)) | Value::Broken => Json::Null,
        Value::Scalar(Scalar::Bool(_, value)) => Json::Bool(*value),
        Value::Scalar(Scalar::Integer(_, value)) => Json::Number(Number::from(*value)),
        Value::Scalar(Scalar::Float(raw) | Scalar::Text(raw)) => Json::String(raw.to_string()),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(entries) => {
            let fields = entries
                .iter()
                .map(|entry| (entry.key.to_string(), json(&entry.node)));
            Json::Object(fields.collect::<Map<_, _>>())
        }
    }
}
