//! JSON Schemas of the kinds, generated from the Rust types and made as strict as the decoder: what an
//! editor accepts by them is what `check` accepts, but for the rules that a schema cannot say.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::documents::{
    API_VERSION, ApprovalSpec, DeploymentSpec, FleetSpec, Kind, Object, OwnerSpec, PolicySpec,
    ProviderSpec, ReservationSpec, SecretSpec, TargetSpec,
};

/// The JSON Schema of a kind of document.
pub fn json_schema(kind: Kind) -> Value {
    let mut schema = match kind {
        Kind::Fleet => generate::<FleetSpec>(),
        Kind::Owner => generate::<OwnerSpec>(),
        Kind::AttestationPolicy => generate::<PolicySpec>(),
        Kind::Provider => generate::<ProviderSpec>(),
        Kind::CapacityTarget => generate::<TargetSpec>(),
        Kind::CapacityReservation => generate::<ReservationSpec>(),
        Kind::Deployment => generate::<DeploymentSpec>(),
        Kind::Secret => generate::<SecretSpec>(),
        Kind::Approval => generate::<ApprovalSpec>(),
    };
    tighten(&mut schema);
    narrow(&mut schema, kind);
    sorted(schema)
}

/// Another crate of a build may make JSON maps keep the order of insertion; schemas, and what is said
/// from them, must not depend on that.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().collect();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(
                fields
                    .into_iter()
                    .map(|(name, value)| (name, sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn generate<S: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    generator.into_root_schema_for::<Object<S>>().to_value()
}

/// Says what the types mean and the generator leaves out, at every level.
fn tighten(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            refuse_null(fields);
            bound(fields);
            fields.values_mut().for_each(tighten);
        }
        Value::Array(items) => items.iter_mut().for_each(tighten),
        _ => {}
    }
}

/// A field is left out or given; `field:` with nothing behind it is neither.
fn refuse_null(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
        choices.retain(|choice| choice != &json!({"type": "null"}));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            fields.remove("anyOf");
            fields.extend(only);
        }
    }
    fields.retain(|name, value| name != "default" || !value.is_null());
}

/// The formats `uint16` and `uint32` are no standard ones; their bounds are.
fn bound(fields: &mut Map<String, Value>) {
    let most = match fields.get("format").and_then(Value::as_str) {
        Some("uint16") => json!(u16::MAX),
        Some("uint32") => json!(u32::MAX),
        _ => return,
    };
    fields.remove("format");
    fields.entry("maximum").or_insert(most);
}

/// What holds for this kind only: its names, the text of `kind`, and whether there is an owner.
fn narrow(schema: &mut Value, kind: Kind) {
    schema["$id"] = json!(format!("https://{API_VERSION}/{kind}.schema.json"));
    schema["title"] = json!(kind.as_str());
    schema["properties"]["kind"] = json!({ "const": kind.as_str() });
    let metadata = &mut schema["$defs"]["Metadata"];
    if kind.is_owned() {
        metadata["required"] = json!(["name", "owner"]);
    } else {
        metadata["properties"]["owner"] = json!(false);
    }
    if kind == Kind::Owner {
        metadata["properties"]["name"]["maxLength"] = json!(crate::OwnerName::MAX);
    }
    if let Some(defs) = schema["$defs"].as_object_mut() {
        defs.remove("Kind");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_schemas_are_current() {
        for kind in Kind::ALL {
            let text = serde_json::to_string_pretty(&json_schema(kind)).expect("plain data") + "\n";
            expect_test::expect_file![format!(
                "{}/json/{kind}.schema.json",
                env!("CARGO_MANIFEST_DIR")
            )]
            .assert_eq(&text);
        }
    }
}
