//! The document of the launcher protocol says what the messages are: each of them, with all of its fields, is as the
//! document has it, and the document's examples are read and written as they stand.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::{Datacenter, FailureCause, Stage, Timestamp};

fn document() -> Value {
    serde_json::from_str(LAUNCHER_OPENAPI).expect("JSON")
}

/// No field is left but those that are named: a reader takes more, what we send has no more.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.contains_key("properties") && fields.get("type") == Some(&json!("object")) {
                fields.insert("additionalProperties".into(), false.into());
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// What is wrong with a message by the schema of this name.
fn wrong(name: &str, message: &Value) -> Vec<String> {
    let mut schema = document();
    close(&mut schema["components"]["schemas"]);
    schema["$ref"] = format!("#/components/schemas/{name}").into();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors = validator.iter_errors(message);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a name")
}

fn fits(name: &str, message: &impl Serialize) {
    let message = serde_json::to_value(message).expect("plain data");
    assert_eq!(
        wrong(name, &message),
        Vec::<String>::new(),
        "{name} {message}"
    );
}

fn launch(machine: Machine) -> Order {
    let spec = LaunchSpec {
        node_size: name("tiny"),
        max_units: 16,
        reconciler_url: "https://fleet.example.org".into(),
        reconciler_key: "d7".repeat(32),
        machine: Some(machine),
        simulated: false,
    };
    Order {
        order_id: name("tiny-1"),
        fleet_id: name("demo"),
        datacenter: name("metal-1"),
        provider: name("metal"),
        epoch: crate::Epoch(7),
        fence: 1,
        claim_expires_at: Timestamp::from_millis(1_777_636_801_234),
        worker_lost_after_millis: Some(600_000),
        work: OrderWork::Launch(spec),
    }
}

fn machines() -> [Machine; 2] {
    use crate::documents::{Accelerator, TdxUse};
    let qemu = QemuMachine {
        vcpus: 4,
        memory_mib: 4096,
        data_gib: 80,
        accelerator: Accelerator::Auto,
        tdx: TdxUse::Required,
        image: Some(crate::Digest::of(b"image")),
    };
    let gcp = GcpMachine {
        project: "p".into(),
        zone: name("us-central1-a"),
        machine_type: name("c3-standard-4"),
        image: "projects/p/global/images/i".into(),
        disk_gib: 80,
        network: "default".into(),
        subnetwork: Some("inner".into()),
        external_address: true,
        service_account: Some("agent@p".into()),
        preemptible: true,
    };
    [Machine::Qemu(qemu), Machine::Gcp(Box::new(gcp))]
}

/// Written out field by field: a new one does not compile here before it is in the document.
#[test]
fn every_field_of_claims_and_orders_is_in_the_document() {
    fits(
        "ClaimRequest",
        &ClaimRequest {
            worker_id: name("w"),
            provider: name("metal"),
            datacenter: Some(name("metal-1")),
            node_size: Some(name("tiny")),
            in_hand: vec![name("tiny-1")],
            wait_millis: 20_000,
            work: Some(WorkKind::Launch),
        },
    );
    for machine in machines() {
        let response = ClaimResponse {
            claimed: true,
            order: Some(launch(machine)),
            bootstrap_token: Some(crate::Secret::new("t".into())),
        };
        fits("ClaimResponse", &response);
    }
    let mut retire = launch(machines()[0].clone());
    retire.work = OrderWork::Retire {
        unit: name("tiny-1"),
    };
    fits("Order", &retire);
    fits(
        "OrderStatus",
        &OrderStatus {
            order_id: name("tiny-1"),
            status: "open".into(),
            claim_expires_at: Some(retire.claim_expires_at),
            epoch: Some(retire.epoch),
        },
    );
}

#[test]
fn every_field_of_listings_and_refusals_is_in_the_document() {
    let unit = Unit {
        order_id: name("tiny-1"),
        alive: true,
        fence: Some(1),
    };
    fits(
        "InventoryRequest",
        &InventoryRequest {
            worker_id: name("w"),
            provider: name("metal"),
            datacenter: name::<Datacenter>("metal-1"),
            fleet: Some(name("f")),
            project: Some("p".into()),
            units: vec![unit],
        },
    );
    let superseded = Superseded {
        order_id: name("tiny-1"),
        fence: 2,
    };
    fits(
        "InventoryResponse",
        &InventoryResponse {
            epoch: crate::Epoch(7),
            superseded: vec![superseded],
        },
    );
    fits(
        "Refusal",
        &ErrorBody {
            request_id: Some("r".into()),
            epoch: Some(crate::Epoch(7)),
            ..ErrorBody::new("claim_lost", "no")
        },
    );
}

#[test]
fn every_word_of_a_report_is_in_the_document() {
    for status in [
        OrderReport::Provisioning,
        OrderReport::Removed,
        OrderReport::Failed,
    ] {
        for cause in FailureCause::ALL {
            let update = OrderUpdate {
                worker_id: name("w"),
                fence: 1,
                status,
                error: Some("no room".into()),
                cause: Some(cause),
                console: Some("panic".into()),
                stage: Some(Stage::Made),
                remains: true,
            };
            fits("OrderUpdate", &update);
        }
    }
}

/// The example as the program reads and writes it. What it writes beside the example's own fields is null or empty.
fn same<T: DeserializeOwned + Serialize>(example: &Value) -> Vec<String> {
    let read: T = serde_json::from_value(example.clone()).expect("an example is read");
    let written = serde_json::to_value(&read).expect("plain data");
    let fields = written.as_object().expect("fields").clone();
    let odd = fields.into_iter().filter(|(field, value)| {
        let said = example.get(field).cloned().unwrap_or_default();
        let is_empty = value.as_array().is_some_and(Vec::is_empty) || *value == json!(0);
        // A token is written as the name that it is read as.
        let is_token =
            field == "datacenter" && said.as_str().is_some_and(|said| said.contains(':'));
        *value != said && !(is_empty && said.is_null()) && !is_token
    });
    odd.map(|(field, value)| format!("{field}: {value} in {example}"))
        .collect()
}

#[test]
fn the_examples_are_what_the_program_reads_and_writes() {
    let document = document();
    let mut count = 0;
    for path in document["paths"].as_object().expect("paths").values() {
        let post = &path["post"];
        for content in [&post["requestBody"], &post["responses"]["200"]] {
            let content = &content["content"]["application/json"];
            let schema = content["schema"]["$ref"].as_str().unwrap_or_default();
            let schema = schema.rsplit('/').next().unwrap_or_default();
            for example in content["examples"].as_object().into_iter().flatten() {
                let value = &example.1["value"];
                let odd = match schema {
                    "ClaimRequest" => same::<ClaimRequest>(value),
                    "ClaimResponse" => same::<ClaimResponse>(value),
                    "OrderUpdate" => same::<OrderUpdate>(value),
                    "OrderStatus" => same::<OrderStatus>(value),
                    "InventoryRequest" => same::<InventoryRequest>(value),
                    "InventoryResponse" => same::<InventoryResponse>(value),
                    other => vec![format!("no message is called {other:?}")],
                };
                assert_eq!(odd, Vec::<String>::new());
                assert_eq!(wrong(schema, value), Vec::<String>::new(), "{value}");
                count += 1;
            }
        }
    }
    assert_eq!(count, 14, "examples");
}

#[test]
fn what_is_wrong_is_found() {
    let listing = json!({"worker_id": "w", "provider": "p", "datacenter": "x", "units": []});
    assert_eq!(wrong("InventoryRequest", &listing), Vec::<String>::new());
    for (field, value) in [
        ("worker_id", json!("No name")),
        ("units", json!([{"order_id": "tiny-1"}])),
        ("unknown", json!(1)),
        ("provider", Value::Null),
    ] {
        let mut listing = listing.clone();
        listing[field] = value;
        assert_eq!(wrong("InventoryRequest", &listing).len(), 1, "{listing}");
    }
}
