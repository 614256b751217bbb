//! Answers to requests, and what is refused of them: what the real one says of machines that it would not make.

use serde_json::{Map, Value, json};

use super::state::{NOW, Operation, State};
use super::{Fault, Partial, Said, Verb, filter};

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

fn good(body: Value) -> Answer {
    Answer { status: 200, body }
}

fn refused(status: u16, reason: &str, message: &str) -> Answer {
    let error = json!({"message": message, "domain": "global", "reason": reason});
    let body = json!({"error": {"code": status, "message": message, "errors": [error]}});
    Answer { status, body }
}

fn missing(what: &str) -> Answer {
    refused(
        404,
        "notFound",
        &format!("The resource '{what}' was not found"),
    )
}

fn invalid(message: &str) -> Answer {
    refused(400, "invalid", message)
}

/// Where the paths of projects begin.
const BASE: &str = "/compute/v1/projects/";

/// Answers a request, and says whether nobody is to hear of it.
pub(super) fn answer(state: &mut State, said: &Said) -> (Answer, bool) {
    let path = said.path.strip_prefix(BASE).unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    let verb = match (said.method.as_str(), parts.as_slice()) {
        ("GET", [_, "aggregated", "instances"] | [_, "zones", _, "instances"]) => Verb::List,
        ("POST", [_, "zones", _, "instances"]) => Verb::Insert,
        ("GET", [_, "zones", _, "instances", _]) => Verb::Get,
        ("DELETE", [_, "zones", _, "instances", _]) => Verb::Delete,
        ("GET", [_, "zones", _, "instances", _, "serialPort"]) => Verb::Serial,
        ("GET", [_, "zones", _, "operations", _])
        | ("POST", [_, "zones", _, "operations", _, "wait"]) => Verb::Operation,
        _ => return (missing(&said.path), false),
    };
    let fault = state.fault(verb);
    if let Some(Fault::Refused(_, status, reason, message)) = fault {
        return (refused(status, reason, message), false);
    }
    let lost = matches!(fault, Some(Fault::LostAnswer(_)));
    (by_verb(state, said, verb, &parts, fault), lost)
}

fn by_verb(
    state: &mut State,
    said: &Said,
    verb: Verb,
    parts: &[&str],
    fault: Option<Fault>,
) -> Answer {
    if parts[1] == "aggregated" {
        return all(state, said);
    }
    let zone = parts[2];
    if !state.zones.iter().any(|known| known == zone) {
        return missing(&format!("projects/{}/zones/{zone}", parts[0]));
    }
    match (verb, parts.get(4)) {
        (Verb::List, _) => in_zone(state, said, zone),
        (Verb::Insert, _) => insert(state, said, zone, fault),
        (Verb::Operation, Some(name)) => operation(state, zone, name),
        (_, Some(name)) => match state.find(zone, name) {
            None => missing(&format!(
                "projects/{}/zones/{zone}/instances/{name}",
                parts[0]
            )),
            Some(key) => match verb {
                Verb::Delete => delete(state, said, key, fault),
                Verb::Serial => serial(state, said, &key),
                _ => good(state.machines[&key].clone()),
            },
        },
        (_, None) => missing(&said.path),
    }
}

fn query<'a>(said: &'a Said, name: &str) -> Option<&'a str> {
    let found = said.query.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

/// Machines with their zones, and the token of the next page.
type Page = (Vec<(String, Value)>, Option<String>);

/// One page of what a filter finds.
fn page(state: &State, said: &Said) -> Result<Page, Answer> {
    let text = query(said, "filter").unwrap_or_default();
    let mut found = Vec::new();
    for ((zone, name), machine) in &state.machines {
        match filter::holds(text, machine) {
            Err(why) => return Err(invalid(&why)),
            Ok(holds) if holds && !state.hidden.contains(name) => {
                found.push((zone.clone(), machine.clone()));
            }
            Ok(_) => {}
        }
    }
    let token = query(said, "pageToken").unwrap_or("0");
    let Ok(from) = token.parse::<usize>() else {
        return Err(invalid("Invalid value for field 'pageToken'"));
    };
    let most = query(said, "maxResults").and_then(|most| most.parse().ok());
    let size = most.unwrap_or(500).min(state.page);
    let next = (found.len() > from + size).then(|| (from + size).to_string());
    Ok((found.into_iter().skip(from).take(size).collect(), next))
}

fn all(state: &State, said: &Said) -> Answer {
    let (machines, next) = match page(state, said) {
        Ok(page) => page,
        Err(answer) => return answer,
    };
    let mut items = Map::new();
    for zone in &state.zones {
        let here = machines.iter().filter(|(of, _)| of == zone);
        let here: Vec<_> = here.map(|(_, machine)| machine.clone()).collect();
        let scope = match here.is_empty() {
            false => json!({"instances": here}),
            true => json!({"warning": warning("NO_RESULTS_ON_PAGE", zone)}),
        };
        items.insert(format!("zones/{zone}"), scope);
    }
    let mut body = json!({
        "kind": "compute#instanceAggregatedList",
        "id": "projects/p/aggregated/instances",
        "selfLink": "https://www.googleapis.com/compute/v1/projects/p/aggregated/instances",
    });
    let first = state.zones.first().cloned().unwrap_or_default();
    match state.partial {
        None => {}
        Some(Partial::Unreachable) => body["unreachables"] = json!([format!("zones/{first}")]),
        Some(Partial::Warning) => body["warning"] = warning("PARTIAL_SUCCESS", &first),
        Some(Partial::InZone) => {
            items.insert(
                format!("zones/{first}"),
                json!({"warning": warning("UNREACHABLE", &first)}),
            );
        }
    }
    body["items"] = Value::Object(items);
    if let Some(next) = next {
        body["nextPageToken"] = json!(next);
    }
    good(body)
}

fn warning(code: &str, zone: &str) -> Value {
    let data = json!([{"key": "scope", "value": format!("zones/{zone}")}]);
    json!({"code": code, "message": format!("{code} in scope zones/{zone}"), "data": data})
}

fn in_zone(state: &State, said: &Said, zone: &str) -> Answer {
    let (machines, next) = match page(state, said) {
        Ok(page) => page,
        Err(answer) => return answer,
    };
    let here = machines.into_iter().filter(|(of, _)| of == zone);
    let here: Vec<_> = here.map(|(_, machine)| machine).collect();
    let mut body = json!({"kind": "compute#instanceList", "id": "list", "items": here});
    if let Some(next) = next {
        body["nextPageToken"] = json!(next);
    }
    good(body)
}

/// The operation that an earlier request of this id has started.
fn earlier(state: &State, said: &Said, verb: Verb) -> Option<Answer> {
    let id = query(said, "requestId")?;
    let is = |operation: &&Operation| {
        operation.verb == verb && operation.request_id.as_deref() == Some(id)
    };
    state
        .operations
        .iter()
        .find(is)
        .map(|operation| good(show(operation)))
}

const FULL: &str = "ZONE_RESOURCE_POOL_EXHAUSTED";
const NO_ROOM: &str = "The zone does not have enough resources available to fulfill the request.";

fn insert(state: &mut State, said: &Said, zone: &str, fault: Option<Fault>) -> Answer {
    let request_id = query(said, "requestId").map(str::to_owned);
    if let Some(answer) = request_id.as_deref().and_then(not_a_uuid) {
        return answer;
    }
    if let Some(answer) = earlier(state, said, Verb::Insert) {
        return answer;
    }
    let Some(body) = &said.body else {
        return invalid("Required field 'resource' not specified");
    };
    if let Err(message) = would_be_made(body, zone) {
        return invalid(&message);
    }
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    if state.find(zone, &name).is_some() {
        let message =
            format!("The resource 'projects/p/zones/{zone}/instances/{name}' already exists");
        return refused(409, "alreadyExists", &message);
    }
    let shape = body["machineType"].as_str().unwrap_or_default();
    let shape = shape.rsplit('/').next().unwrap_or_default().to_owned();
    let fault = match state.full.contains(&(zone.to_owned(), shape)) {
        true => Some(Fault::Fails(Verb::Insert, FULL, NO_ROOM)),
        false => fault,
    };
    let mut machine = body.clone();
    machine["status"] = json!("PROVISIONING");
    state.put(zone, machine);
    let operation = state.start(Verb::Insert, (zone.into(), name), request_id, fault);
    good(show(&operation))
}

fn delete(state: &mut State, said: &Said, key: (String, String), fault: Option<Fault>) -> Answer {
    if let Some(answer) = earlier(state, said, Verb::Delete) {
        return answer;
    }
    if state.machines[&key]["deletionProtection"] == true {
        return invalid(
            "Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion'",
        );
    }
    let request_id = query(said, "requestId").map(str::to_owned);
    if let Some(machine) = state.machines.get_mut(&key) {
        machine["status"] = json!("STOPPING");
    }
    let operation = state.start(Verb::Delete, key, request_id, fault);
    good(show(&operation))
}

fn operation(state: &State, zone: &str, name: &str) -> Answer {
    let is = |operation: &&Operation| operation.zone == zone && operation.name == name;
    match state.operations.iter().find(is) {
        None => missing(&format!("projects/p/zones/{zone}/operations/{name}")),
        Some(operation) => good(show(operation)),
    }
}

/// The buffer of a serial port holds so much, in bytes; older ones are gone.
const BUFFER: usize = 1 << 20;

/// A machine that is off says nothing any more, of before either.
fn serial(state: &State, said: &Said, key: &(String, String)) -> Answer {
    let name = &key.1;
    let is_off = state.machines[key]["status"] == "TERMINATED";
    let text = state.serial.get(name).filter(|_| !is_off);
    let text = text.cloned().unwrap_or_default();
    let all = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let oldest = text.len().saturating_sub(BUFFER);
    let asked: i64 = query(said, "start")
        .and_then(|start| start.parse().ok())
        .unwrap_or(0);
    let from = if asked < 0 { all + asked } else { asked };
    let from = usize::try_from(from).unwrap_or(0).clamp(oldest, text.len());
    let contents = String::from_utf8_lossy(&text.as_bytes()[from..]).into_owned();
    good(json!({
        "kind": "compute#serialPortOutput",
        "contents": contents,
        "start": from.to_string(),
        "next": all.to_string(),
        "selfLink": format!("https://www.googleapis.com/compute/v1/projects/p/zones/z/instances/{name}/serialPort"),
    }))
}

/// An operation as it is shown.
fn show(operation: &Operation) -> Value {
    let Operation {
        name, zone, target, ..
    } = operation;
    let link = format!("https://www.googleapis.com/compute/v1/projects/p/zones/{zone}");
    let status = match operation.left {
        Some(0) => "DONE",
        Some(1 | 2) | None => "RUNNING",
        Some(_) => "PENDING",
    };
    let mut shown = json!({
        "kind": "compute#operation",
        "id": operation.id.to_string(),
        "name": name,
        "zone": link,
        "selfLink": format!("{link}/operations/{name}"),
        "operationType": if operation.verb == Verb::Insert { "insert" } else { "delete" },
        "targetLink": format!("{link}/instances/{target}"),
        "targetId": operation.target_id.to_string(),
        "status": status,
        "progress": if status == "DONE" { 100 } else { 0 },
        "insertTime": NOW,
        "startTime": NOW,
    });
    if let Some(id) = &operation.request_id {
        shown["clientOperationId"] = json!(id);
    }
    if operation.is_over() {
        shown["endTime"] = json!(NOW);
        if let Some((code, message)) = &operation.failure {
            shown["error"] = json!({"errors": [{"code": code, "message": message}]});
            shown["httpErrorStatusCode"] = json!(if code == "QUOTA_EXCEEDED" { 403 } else { 503 });
            shown["httpErrorMessage"] = json!("SERVICE UNAVAILABLE");
        }
    }
    shown
}

fn not_a_uuid(id: &str) -> Option<Answer> {
    let groups: Vec<_> = id.split('-').map(str::len).collect();
    let digits = id.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    let zero = id.chars().all(|c| c == '-' || c == '0');
    let good = digits && !zero && groups == [8, 4, 4, 4, 12];
    (!good).then(|| invalid("Invalid value for field 'requestId'"))
}

/// Whether such a machine would be made: names, labels, and what confidential machines need.
fn would_be_made(body: &Value, zone: &str) -> Result<(), String> {
    let field = |path: &str| body.pointer(path).cloned().unwrap_or_default();
    let wrong = |field: &str| Err(format!("Invalid value for field 'resource.{field}'"));
    if !is_name(body["name"].as_str().unwrap_or_default()) {
        return wrong("name");
    }
    let machine_type = field("/machineType");
    let prefix = format!("zones/{zone}/machineTypes/");
    if !machine_type
        .as_str()
        .is_some_and(|text| text.contains(&prefix))
    {
        return wrong("machineType");
    }
    if field("/confidentialInstanceConfig/confidentialInstanceType") == "TDX"
        && field("/scheduling/onHostMaintenance") != "TERMINATE"
    {
        return Err("Instances with confidential compute do not support live migration".into());
    }
    let image = field("/disks/0/initializeParams/sourceImage");
    if field("/disks/0/boot") != true
        || !image.as_str().is_some_and(|text| text.contains("/images/"))
    {
        return wrong("disks[0].initializeParams.sourceImage");
    }
    if field("/networkInterfaces/0").is_null() {
        return wrong("networkInterfaces");
    }
    let labels = body["labels"].as_object().cloned().unwrap_or_default();
    let bad = labels
        .iter()
        .find(|(key, value)| !is_label(key, value.as_str().unwrap_or("?")));
    match bad {
        Some((key, _)) => wrong(&format!("labels.{key}")),
        None if labels.len() > 64 => wrong("labels"),
        None => Ok(()),
    }
}

fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(inner)
        && !name.ends_with('-')
}

fn is_label(key: &str, value: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    (1..=63).contains(&key.len())
        && key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.chars().all(inner)
        && value.len() <= 63
        && value.chars().all(inner)
}
