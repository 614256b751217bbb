//! Google's discovery document as a judge of requests and answers: paths, verbs, query, bodies, enums, formats, what may
//! not be sent and what has to be. It knows shapes, and nothing of what such a request would do.

use easyenclave_gcp::fake::Said;
use serde_json::{Map, Value, json};

/// Whose words are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side<'a> {
    /// A request of this method.
    Request(&'a str),
    Answer,
}

/// The document.
pub(crate) struct Contract {
    document: Value,
}

impl Contract {
    pub(crate) fn new(document: Value) -> Self {
        assert_eq!(
            document["name"], "compute",
            "the document of Compute Engine"
        );
        Self { document }
    }

    /// What is wrong with a request and its answer.
    pub(crate) fn judge(&self, said: &Said) -> Vec<String> {
        let mut wrong = Vec::new();
        let Some(method) = self.method(said, &mut wrong) else {
            return vec![format!("{} {}: no such method", said.method, said.path)];
        };
        self.query(method, said, &mut wrong);
        let id = method["id"].as_str().expect("an id");
        match (method["request"]["$ref"].as_str(), &said.body) {
            (None, None) => {}
            (None, Some(_)) => wrong.push("a body that nobody reads".into()),
            (Some(_), None) => wrong.push("no body".into()),
            (Some(name), Some(body)) => {
                let schema = &self.document["schemas"][name];
                self.value(schema, body, "", Side::Request(id), &mut wrong);
            }
        }
        if said.status == 200 {
            let name = method["response"]["$ref"].as_str().expect("an answer");
            let schema = &self.document["schemas"][name];
            self.value(schema, &said.answer, "answer", Side::Answer, &mut wrong);
        }
        wrong
    }

    /// The method of a request, whose path's parts fit their patterns.
    fn method(&self, said: &Said, wrong: &mut Vec<String>) -> Option<&Value> {
        let base = self.document["servicePath"].as_str().expect("a path");
        let path = said.path.strip_prefix('/')?.strip_prefix(base)?;
        let parts: Vec<&str> = path.split('/').collect();
        let method = methods(&self.document["resources"])
            .into_iter()
            .find(|method| {
                let template: Vec<&str> = method["flatPath"]
                    .as_str()
                    .unwrap_or_default()
                    .split('/')
                    .collect();
                method["httpMethod"] == *said.method
                    && template.len() == parts.len()
                    && template
                        .iter()
                        .zip(&parts)
                        .all(|(want, is)| want.starts_with('{') || want == is)
            })?;
        let template = method["flatPath"].as_str().expect("a path").split('/');
        for (name, value) in template.zip(parts) {
            let name = name.trim_matches(['{', '}']);
            let parameter = &method["parameters"][name];
            if !parameter.is_null() && !matches(parameter, value) {
                wrong.push(format!("path: {name} is {value:?}"));
            }
        }
        Some(method)
    }

    fn query(&self, method: &Value, said: &Said, wrong: &mut Vec<String>) {
        let declared = method["parameters"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        for (name, value) in said.query.iter().filter(|(name, _)| !name.starts_with('$')) {
            let here = declared
                .get(name)
                .filter(|parameter| parameter["location"] == "query");
            let Some(parameter) = here.or(self.document["parameters"].get(name)) else {
                wrong.push(format!("query: there is no {name}"));
                continue;
            };
            let fits = match parameter["type"].as_str() {
                Some("integer") => value
                    .parse()
                    .is_ok_and(|number| in_range(parameter, number)),
                Some("boolean") => ["true", "false"].contains(&value.as_str()),
                _ => {
                    is_format(parameter, value)
                        && is_member(parameter, value)
                        && matches(parameter, value)
                }
            };
            if !fits {
                wrong.push(format!("query: {name} is {value:?}"));
            }
        }
        for (name, parameter) in &declared {
            let given = said.query.iter().any(|(given, _)| given == name);
            if parameter["location"] == "query" && parameter["required"] == true && !given {
                wrong.push(format!("query: {name} is required"));
            }
        }
    }

    fn value(
        &self,
        schema: &Value,
        value: &Value,
        at: &str,
        side: Side<'_>,
        wrong: &mut Vec<String>,
    ) {
        if let Some(name) = schema["$ref"].as_str() {
            return self.value(&self.document["schemas"][name], value, at, side, wrong);
        }
        match (schema["type"].as_str(), value) {
            (Some("object"), Value::Object(fields)) => self.object(schema, fields, at, side, wrong),
            (Some("array"), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(
                        &schema["items"],
                        item,
                        &format!("{at}/{index}"),
                        side,
                        wrong,
                    );
                }
            }
            (Some("string"), Value::String(text)) => {
                if !(is_format(schema, text) && is_member(schema, text) && matches(schema, text)) {
                    wrong.push(format!("{at}: {text:?}"));
                }
            }
            (Some("integer"), Value::Number(number)) if number.is_i64() => {}
            (Some("number"), Value::Number(_))
            | (Some("boolean"), Value::Bool(_))
            | (Some("any"), _) => {}
            (kind, _) => wrong.push(format!("{at}: {value} is no {}", kind.unwrap_or("?"))),
        }
    }

    fn object(
        &self,
        schema: &Value,
        fields: &Map<String, Value>,
        at: &str,
        side: Side<'_>,
        wrong: &mut Vec<String>,
    ) {
        let none = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        for (name, value) in fields {
            let at = format!("{at}/{name}");
            let property = properties.get(name).or(schema.get("additionalProperties"));
            match property {
                None => wrong.push(format!("{at}: there is no such field")),
                Some(property) if side != Side::Answer && is_output_only(property) => {
                    wrong.push(format!("{at}: it may not be sent"));
                }
                Some(property) => self.value(property, value, &at, side, wrong),
            }
        }
        let Side::Request(method) = side else {
            return;
        };
        for (name, property) in properties {
            let required = property["annotations"]["required"].as_array();
            let required = required.is_some_and(|by| by.contains(&json!(method)));
            if required && !fields.contains_key(name) {
                wrong.push(format!("{at}/{name}: it is required"));
            }
        }
    }
}

fn methods(resources: &Value) -> Vec<&Value> {
    let resources = resources.as_object().into_iter().flat_map(Map::values);
    resources
        .flat_map(|resource| {
            resource["methods"]
                .as_object()
                .into_iter()
                .flat_map(Map::values)
        })
        .collect()
}

/// Some fields are marked, and some only say so.
fn is_output_only(property: &Value) -> bool {
    let text = property["description"].as_str().unwrap_or_default();
    property["readOnly"] == true || text.contains("[Output Only]")
}

fn is_member(schema: &Value, text: &str) -> bool {
    schema["enum"]
        .as_array()
        .is_none_or(|members| members.contains(&json!(text)))
}

/// Long numbers are texts.
fn is_format(schema: &Value, text: &str) -> bool {
    match schema["format"].as_str() {
        Some("int64") => text.parse::<i64>().is_ok(),
        Some("uint64") => text.parse::<u64>().is_ok(),
        _ => true,
    }
}

fn in_range(parameter: &Value, number: i64) -> bool {
    let bound = |name: &str| {
        parameter[name]
            .as_str()
            .and_then(|bound| bound.parse::<i64>().ok())
    };
    bound("minimum").is_none_or(|least| number >= least)
        && bound("maximum").is_none_or(|most| number <= most)
}

fn matches(schema: &Value, text: &str) -> bool {
    let Some(pattern) = schema["pattern"].as_str() else {
        return true;
    };
    let whole = json!({"pattern": format!("^(?:{pattern})$")});
    jsonschema::is_valid(&whole, &json!(text))
}

mod tests {
    use super::*;
    use crate::oracle::contract;

    /// A good request for a machine.
    fn insert() -> Said {
        Said {
            method: "POST".into(),
            path: "/compute/v1/projects/p/zones/us-central1-a/instances".into(),
            query: vec![(
                "requestId".into(),
                "00000000-0000-4000-8000-000000000001".into(),
            )],
            body: Some(json!({
                "name": "a",
                "disks": [{"boot": true, "initializeParams": {"diskSizeGb": "80"}}],
                "scheduling": {"onHostMaintenance": "TERMINATE"},
                "metadata": {"items": [{"key": "k", "value": "v"}]},
                "labels": {"a": "b"},
            })),
            status: 200,
            answer: json!({"kind": "compute#operation", "id": "7", "status": "PENDING"}),
        }
    }

    fn body(said: &mut Said) -> &mut Value {
        said.body.as_mut().expect("a body")
    }

    #[test]
    fn it_refuses_what_google_would() {
        let Some(contract) = contract() else {
            return;
        };
        assert_eq!(contract.judge(&insert()), Vec::<String>::new());
        type Change = fn(&mut Said);
        let wrong: [(&str, Change); 17] = [
            ("/nickname: there is no such field", |s| {
                body(s)["nickname"] = json!("x")
            }),
            ("/disks/0/colour: there is no such field", |s| {
                body(s)["disks"][0]["colour"] = json!("x")
            }),
            ("/scheduling/onHostMaintenance: \"STAY\"", |s| {
                body(s)["scheduling"]["onHostMaintenance"] = json!("STAY")
            }),
            ("/id: it may not be sent", |s| body(s)["id"] = json!("7")),
            ("/status: it may not be sent", |s| {
                body(s)["status"] = json!("RUNNING")
            }),
            ("/disks/0/index: it may not be sent", |s| {
                body(s)["disks"][0]["index"] = json!(0)
            }),
            (
                "/disks/0/initializeParams/diskSizeGb: 80 is no string",
                |s| body(s)["disks"][0]["initializeParams"]["diskSizeGb"] = json!(80),
            ),
            ("/disks/0/initializeParams/diskSizeGb: \"much\"", |s| {
                body(s)["disks"][0]["initializeParams"]["diskSizeGb"] = json!("much")
            }),
            ("/labels/a: 7 is no string", |s| {
                body(s)["labels"]["a"] = json!(7)
            }),
            ("/name: it is required", |s| {
                body(s).as_object_mut().expect("fields").remove("name");
            }),
            ("/name: \"A\"", |s| body(s)["name"] = json!("A")),
            ("/metadata/items/0/value: it is required", |s| {
                body(s)["metadata"]["items"][0] = json!({"key": "k"})
            }),
            ("query: there is no colour", |s| {
                s.query.push(("colour".into(), "red".into()))
            }),
            ("path: zone is \"US\"", |s| {
                s.path = "/compute/v1/projects/p/zones/US/instances".into()
            }),
            ("answer/status: \"FINISHED\"", |s| {
                s.answer["status"] = json!("FINISHED")
            }),
            ("answer/id: 7 is no string", |s| s.answer["id"] = json!(7)),
            ("no body", |s| s.body = None),
        ];
        for (expected, change) in wrong {
            let mut said = insert();
            change(&mut said);
            assert_eq!(contract.judge(&said), [expected]);
        }
        let serial = |name: &str, value: &str| Said {
            method: "GET".into(),
            path: "/compute/v1/projects/p/zones/z/instances/7/serialPort".into(),
            query: vec![(name.into(), value.into()), ("$alt".into(), "json".into())],
            body: None,
            status: 404,
            answer: Value::Null,
        };
        assert_eq!(contract.judge(&serial("port", "4")), Vec::<String>::new());
        for (name, value) in [("port", "5"), ("port", "one"), ("start", "late")] {
            let wrong = format!("query: {name} is {value:?}");
            assert_eq!(contract.judge(&serial(name, value)), [wrong]);
        }
        let mut nowhere = insert();
        nowhere.path = "/compute/v1/projects/p/instances".into();
        assert_eq!(
            contract.judge(&nowhere),
            ["POST /compute/v1/projects/p/instances: no such method"]
        );
    }
}
