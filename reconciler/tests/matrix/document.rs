//! The launcher protocol's document, as the reconciler serves it: whatever a test says to a route of workers, and whatever
//! comes back, is held against it.

use std::collections::BTreeSet;
use std::sync::Mutex;

use easyenclave_schemas::wire::routes;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::api::Served;

/// A refusal: the route as the document has it, the status, the code.
pub(crate) type Refusal = (String, u16, String);

/// Speaks as a worker, with the document at hand.
pub(crate) struct Worker<'a> {
    served: &'a Served,
    http: reqwest::Client,
    document: Value,
    refusals: Mutex<BTreeSet<Refusal>>,
}

/// The route of an order as the document has it.
const ORDER: &str = "/api/v1/launchers/capacity/orders/{order}";

impl<'a> Worker<'a> {
    pub(crate) async fn of(served: &'a Served) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build();
        let http = http.expect("a client");
        let document = http.get(format!("{}{}", served.url, routes::OPENAPI));
        let document = document.send().await.expect("an answer");
        let kind = document.headers()["content-type"].to_str().expect("text");
        assert_eq!(
            (document.status(), kind),
            (StatusCode::OK, "application/json")
        );
        let document: Value = document.json().await.expect("JSON");
        assert_eq!(document["openapi"], "3.1.0");
        Self {
            served,
            http,
            document,
            refusals: Mutex::default(),
        }
    }

    /// Says this with this key. Answers the status and the body; both messages are as the document has them.
    pub(crate) async fn say(&self, path: &str, key: Option<&str>, body: Vec<u8>) -> (u16, Value) {
        let call = self.http.post(format!("{}{path}", self.served.url));
        let call = key
            .into_iter()
            .fold(call, |call, key| call.bearer_auth(key));
        let answer = call.body(body.clone()).send().await.expect("an answer");
        let status = answer.status().as_u16();
        let answer: Value = answer.json().await.expect("JSON");
        let route = route(path);
        let operation = &self.document["paths"][route]["post"];
        self.asked(operation, status, &body);
        self.answered(operation, status, &answer);
        if status != 200 {
            let code = answer["code"].as_str().unwrap_or_default().to_owned();
            let refusal = (route.to_owned(), status, code);
            self.refusals.lock().expect("no panic").insert(refusal);
        }
        (status, answer)
    }

    /// What is served has the document's shape, and what is refused as unreadable has not.
    fn asked(&self, operation: &Value, status: u16, body: &[u8]) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let message: Option<Value> = serde_json::from_slice(body).ok();
        let wrong = message.map(|message| self.wrong(schema, &message));
        match status {
            200 | 404 | 409 => assert_eq!(wrong, Some(Vec::new()), "it was served"),
            400 | 422 => assert_ne!(wrong, Some(Vec::new()), "it was refused for its shape"),
            _ => {}
        }
    }

    fn answered(&self, operation: &Value, status: u16, answer: &Value) {
        let mut response = &operation["responses"][status.to_string()];
        if let Some(name) = response["$ref"].as_str() {
            response = self
                .document
                .pointer(&name[1..])
                .expect("the document's own");
        }
        let schema = &response["content"]["application/json"]["schema"];
        assert!(
            schema.is_object(),
            "{status} is not in the document: {answer}"
        );
        assert_eq!(self.wrong(schema, answer), Vec::<String>::new(), "{answer}");
    }

    /// What is wrong with a message that should have no more fields than the document.
    fn wrong(&self, schema: &Value, message: &Value) -> Vec<String> {
        let mut whole = schema.clone();
        whole["components"] = self.document["components"].clone();
        close(&mut whole["components"]["schemas"]);
        let validator = jsonschema::validator_for(&whole).expect("a schema");
        let errors = validator.iter_errors(message);
        errors
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }

    /// The refusals that the document has and nobody has heard.
    pub(crate) fn unheard(&self) -> BTreeSet<Refusal> {
        let heard = self.refusals.lock().expect("no panic").clone();
        let mut all = BTreeSet::new();
        for (route, item) in self.document["paths"].as_object().expect("paths") {
            let responses = item["post"]["responses"].as_object();
            for (status, response) in responses.into_iter().flatten() {
                let name = response["$ref"].as_str().unwrap_or("#/none");
                let response = self.document.pointer(&name[1..]).unwrap_or(&Value::Null);
                let schema = &response["content"]["application/json"]["schema"];
                let codes = schema["properties"]["code"]["enum"].as_array();
                for code in codes.into_iter().flatten().filter_map(Value::as_str) {
                    let status = status.parse().expect("a status");
                    all.insert((route.clone(), status, code.to_owned()));
                }
            }
        }
        assert!(all.len() > 20, "{all:?}");
        all.difference(&heard).cloned().collect()
    }
}

fn route(path: &str) -> &str {
    match path {
        routes::CLAIM | routes::INVENTORY => path,
        _ => ORDER,
    }
}

/// A reader takes fields that it does not know; what is sent here has none but those of the document.
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
