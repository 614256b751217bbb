//! The OpenAPI document: the routes of owners, made from a table and the types of their messages, beside those of
//! launchers, which are written by hand. What is served is both; a test holds the table against what is committed.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    DeployCall, DeployRefusal, Deployed, DeploymentView, LAUNCHER_OPENAPI, LOG_LINES, Me,
    Preflight, routes,
};
use crate::status::DeploymentPhase;

/// A route of owners.
struct Route {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    request: bool,
    answers: &'static [Answer],
    refusals: &'static [(u16, &'static str)],
    /// Names of query parameters with their schemas and what they mean.
    query: fn() -> Vec<Value>,
}

/// A good answer: its status, when it is given, and what it holds.
struct Answer(u16, &'static str, Holds);

#[derive(Clone, Copy)]
enum Holds {
    Me,
    Preflight,
    Deployed,
    One,
    All,
    Text,
}

/// Refusals that every route of owners may answer.
const ALWAYS: &[(u16, &str)] = &[
    (
        401,
        "`missing_auth`, `invalid_api_key`, `api_key_expired`, `oidc_…`: who calls is not proved.",
    ),
    (
        403,
        "`oidc_organization`, `oidc_repository`, `oidc_ref`, `oidc_environment`, `oidc_ambiguous`: whoever calls acts for no owner.",
    ),
    (408, "`body_too_slow`: the body did not arrive in time."),
    (
        413,
        "`body_too_long`: the body is longer than 256 KiB, or broke off.",
    ),
    (
        503,
        "`not_ready`, `busy`, `oidc_unavailable`, `repository_unavailable`: try again.",
    ),
];

const UNKNOWN: (u16, &str) = (
    404,
    "`deployment_not_found`: there is none of this name, or it is another owner's.",
);

const BY_HAND: &str = "`written_by_hand`: a person wrote the document. `changes_others`: another one would change, too.";

const ONE: &str = "/api/v1/deployments/{owner}/{name}";

const ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: routes::ME,
        id: "me",
        summary: "Tell who calls",
        description: "The way to try a key or a token. Does nothing.",
        request: false,
        answers: &[Answer(200, "Who calls.", Holds::Me)],
        refusals: &[],
        query: Vec::new,
    },
    Route {
        method: "post",
        path: routes::OWNER_DEPLOY,
        id: "deploy",
        summary: "Run something, or another version of it",
        description: "Commits a document of the caller's owner to the state repository, after a plan that includes it. With `dry_run` the plan is the answer, and nothing is changed. A call that changes nothing makes no commit.",
        request: true,
        answers: &[
            Answer(200, "With `dry_run`: what would happen.", Holds::Preflight),
            Answer(
                202,
                "It is committed. An agent is named if one was told within two seconds.",
                Holds::Deployed,
            ),
        ],
        refusals: &[
            (
                400,
                "`invalid_body`: the call cannot be read, or says two things. `invalid_deploy`: the document would not come into force; `problems` says why.",
            ),
            (
                404,
                "`agent_not_found`: no agent has the name that the call gives.",
            ),
            (
                409,
                "`no_capacity`: nothing could run it until another document changes; `issues` says why. `written_by_hand`: a person wrote the document. `changes_others`: another one would change, too.",
            ),
        ],
        query: Vec::new,
    },
    Route {
        method: "get",
        path: routes::DEPLOYMENTS,
        id: "listDeployments",
        summary: "List the owner's deployments",
        description: "As they were last seen.",
        request: false,
        answers: &[Answer(200, "The deployments, by name.", Holds::All)],
        refusals: &[(400, "`invalid_query`")],
        query: of_list,
    },
    Route {
        method: "get",
        path: ONE,
        id: "getDeployment",
        summary: "Show a deployment",
        description: "As it was last seen.",
        request: false,
        answers: &[Answer(200, "The deployment.", Holds::One)],
        refusals: &[UNKNOWN],
        query: Vec::new,
    },
    Route {
        method: "delete",
        path: ONE,
        id: "deleteDeployment",
        summary: "Take a deployment away",
        description: "Commits that its document goes. Removals that the fleet's breaker holds wait for a person's approval; `held` has what is approved.",
        request: false,
        answers: &[Answer(202, "It is committed.", Holds::Deployed)],
        refusals: &[UNKNOWN, (409, BY_HAND)],
        query: Vec::new,
    },
    Route {
        method: "get",
        path: "/api/v1/deployments/{owner}/{name}/logs",
        id: "deploymentLogs",
        summary: "Read what a replica prints",
        description: "The header `easyenclave-agent` names the agent. With `follow`, what comes is sent until the replica ends or the caller goes, for ten minutes at most.",
        request: false,
        answers: &[Answer(200, "The last lines.", Holds::Text)],
        refusals: &[
            (400, "`invalid_query`"),
            (
                404,
                "`deployment_not_found`: there is none of this name, or it is another owner's. `service_not_found`: the version that runs has no such service.",
            ),
            (
                409,
                "`not_running`: no agent has been told to run it yet, or not the one that is named.",
            ),
            (
                502,
                "`agent_unavailable`: the agent does not answer. `agent_outdated`: it is of an earlier version, which does not say whose output it gives.",
            ),
        ],
        query: of_logs,
    },
];

fn parameter(name: &str, description: &str, schema: Value) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": schema})
}

fn of_list() -> Vec<Value> {
    let schema = json!({"type": "string", "enum": DeploymentPhase::ALL});
    vec![parameter("status", "Only those with this status.", schema)]
}

fn of_logs() -> Vec<Value> {
    vec![
        parameter(
            "lines",
            "So many of the last lines.",
            json!({"type": "integer", "minimum": 1, "maximum": LOG_LINES, "default": 200}),
        ),
        parameter(
            "service",
            "One service of a Compose file.",
            json!({"type": "string", "pattern": "^[-._A-Za-z0-9]{1,100}$"}),
        ),
        parameter(
            "agent",
            "The agent; the first that runs it when left out.",
            json!({"type": "string"}),
        ),
        parameter(
            "follow",
            "Whether to go on.",
            json!({"type": "boolean", "default": false}),
        ),
    ]
}

/// The owners' part of the document, as it is committed.
pub fn owners_openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for route in ROUTES {
        let operation = operation(route, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation;
    }
    json!({
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {
                "owner": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (`ee_…`), or an identity token of GitHub Actions. docs/owners.md tells how to get one.",
                },
            },
        },
    })
}

/// The routes of owners, as method and path.
pub fn owners_routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.iter().map(|route| (route.method, route.path))
}

/// The whole document: launchers' part and owners'.
pub fn openapi() -> Value {
    let mut whole: Value = serde_json::from_str(LAUNCHER_OPENAPI).expect("it is committed as JSON");
    let owners: Value = serde_json::from_str(OWNERS_OPENAPI).expect("it is committed as JSON");
    whole["info"]["title"] = "EasyEnclave".into();
    whole["info"]["summary"] = "What owners and workers say to a reconciler.".into();
    for part in [
        "/paths",
        "/components/schemas",
        "/components/securitySchemes",
    ] {
        let (from, to) = (owners.pointer(part), whole.pointer_mut(part));
        let (Some(Value::Object(from)), Some(Value::Object(to))) = (from, to) else {
            continue;
        };
        to.extend(from.clone());
    }
    whole
}

/// The owners' part as it is committed.
const OWNERS_OPENAPI: &str = include_str!("../../openapi/owners.json");

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let mut answers = Map::new();
    for Answer(status, when, holds) in route.answers {
        let answer = json!({"description": when, "content": content(*holds, schemas)});
        answers.insert(status.to_string(), answer);
    }
    let refusal = schemas.subschema_for::<DeployRefusal>();
    for (status, when) in route.refusals.iter().chain(ALWAYS) {
        let content = json!({"application/json": {"schema": refusal}});
        let answer = json!({"description": when, "content": content});
        answers.insert(status.to_string(), answer);
    }
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "description": route.description,
        "security": [{"owner": []}],
        "responses": answers,
    });
    let parameters = parameters(route);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if route.request {
        let schema = schemas.subschema_for::<DeployCall>();
        let content = json!({"schema": schema, "examples": {"a process": {"value": example()}}});
        operation["requestBody"] =
            json!({"required": true, "content": {"application/json": content}});
        operation["responses"]["202"]["links"] = links();
    }
    operation
}

/// A call that most fleets can serve.
fn example() -> Value {
    json!({
        "app_name": "web",
        "app_version": "1.4.2",
        "process": {"command": ["easyenclave", "hello-tdx"], "env": {"COLOUR": "blue"}},
        "health": {"probe": {"http": {"path": "/healthz"}}},
    })
}

/// What is there after a deploy.
fn links() -> Value {
    let link =
        |id: &str| json!({"operationId": id, "parameters": {"name": "$request.body#/app_name"}});
    json!({
        "deployment": link("getDeployment"),
        "logs": link("deploymentLogs"),
        "removal": link("deleteDeployment"),
    })
}

fn parameters(route: &Route) -> Vec<Value> {
    let names = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = names.map(|name| {
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "description": format!("The deployment's {name}."),
            "schema": {"type": "string", "maxLength": 40, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        })
    });
    in_path.chain((route.query)()).collect()
}

fn content(holds: Holds, schemas: &mut SchemaGenerator) -> Value {
    let schema = match holds {
        Holds::Text => return json!({"text/plain": {"schema": {"type": "string"}}}),
        Holds::Me => schemas.subschema_for::<Me>(),
        Holds::Preflight => schemas.subschema_for::<Preflight>(),
        Holds::Deployed => schemas.subschema_for::<Deployed>(),
        Holds::One => schemas.subschema_for::<DeploymentView>(),
        Holds::All => schemas.subschema_for::<Vec<DeploymentView>>(),
    };
    json!({"application/json": {"schema": schema}})
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::*;

    #[test]
    fn what_is_committed_is_what_the_types_say() {
        let mut document = owners_openapi();
        // Whether JSON keeps the order of fields depends on what else is built.
        document.sort_all_objects();
        let text = serde_json::to_string_pretty(&document).expect("JSON") + "\n";
        expect_file!["../../openapi/owners.json"].assert_eq(&text);
    }

    #[test]
    fn the_parts_have_nothing_under_one_name() {
        let launchers: Value = serde_json::from_str(LAUNCHER_OPENAPI).expect("JSON");
        for part in [
            "/paths",
            "/components/schemas",
            "/components/securitySchemes",
        ] {
            let names = |document: &Value| -> Vec<String> {
                let part = document.pointer(part).and_then(Value::as_object);
                part.expect("both have it").keys().cloned().collect()
            };
            let of_launchers = names(&launchers);
            let both = names(&owners_openapi())
                .into_iter()
                .filter(|name| of_launchers.contains(name));
            assert_eq!(both.collect::<Vec<_>>(), [] as [&str; 0], "{part}");
            assert!(names(&openapi()).len() > of_launchers.len());
        }
    }

    /// Every reference leads somewhere, and every schema is one.
    #[test]
    fn the_whole_is_a_document() {
        let whole = openapi();
        let text = whole.to_string();
        for reference in text.split("\"$ref\":\"").skip(1) {
            let reference = reference.split('"').next().expect("an end");
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(whole.pointer(pointer).is_some(), "{reference}");
        }
        let mut schema = whole;
        schema["$ref"] = "#/components/schemas/DeployCall".into();
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let good = example();
        assert!(validator.is_valid(&good));
        assert!(serde_json::from_value::<DeployCall>(good.clone()).is_ok());
        for (field, value) in [
            ("app_name", json!("A")),
            ("node_sise", json!("tiny")),
            ("replicas", json!(-1)),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            assert!(!validator.is_valid(&bad), "{field}");
        }
    }
}
